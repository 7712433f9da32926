"""Table-driven kernels of the numba backend: they work on rows of a workspace and compile once, whatever the model.

A workspace is a flat array of rows; a row holds one component for ``width`` lanes (atoms of a block, or edges of an
atom), a multiple of the vector length. All sizes are arguments, so that neither a new model nor new weights compile
anything.
"""

from __future__ import annotations

from typing import Any

import numba

from etn_gpu.backend.cpu.simd import vbetween, vdiv, vfma, vload, vmul, vsplat, vsqrt, vstore, vsub, vsum

_jit: Any = numba.njit(cache=True, nogil=True, error_model="numpy", inline="never")


@_jit
def couple(
    out: Any, o: int, a_rows: Any, a: int, b_rows: Any, b: int, width: int, lanes: int, used: int,
    counts: Any, strides: Any, groups: Any, entries: Any, values: Any, first: int, last: int, scale: float,
) -> None:  # fmt: skip
    """out[mo] += scale C[mo, ma, mb] a[ma] b[mb] for all multiplicities; each group first..last-1 holds one mo."""
    for i in range(counts[0]):
        for j in range(counts[1]):
            for k in range(counts[2]):
                oo = o + i * strides[0] + j * strides[1] + k * strides[2]
                aa = a + i * strides[3] + j * strides[4] + k * strides[5]
                bb = b + i * strides[6] + j * strides[7] + k * strides[8]
                for g in range(first, last):
                    row = (oo + groups[g, 0]) * width
                    start, stop = groups[g, 1], groups[g, 2]
                    v = 0
                    while v + 4 * lanes <= used:
                        s0 = vload(out, row + v)
                        s1 = vload(out, row + v + lanes)
                        s2 = vload(out, row + v + 2 * lanes)
                        s3 = vload(out, row + v + 3 * lanes)
                        for e in range(start, stop):
                            c = vsplat(out, values[e] * scale)
                            ra = (aa + entries[e, 0]) * width + v
                            rb = (bb + entries[e, 1]) * width + v
                            s0 = vfma(vmul(c, vload(a_rows, ra)), vload(b_rows, rb), s0)
                            s1 = vfma(vmul(c, vload(a_rows, ra + lanes)), vload(b_rows, rb + lanes), s1)
                            s2 = vfma(vmul(c, vload(a_rows, ra + 2 * lanes)), vload(b_rows, rb + 2 * lanes), s2)
                            s3 = vfma(vmul(c, vload(a_rows, ra + 3 * lanes)), vload(b_rows, rb + 3 * lanes), s3)
                        vstore(out, row + v, s0)
                        vstore(out, row + v + lanes, s1)
                        vstore(out, row + v + 2 * lanes, s2)
                        vstore(out, row + v + 3 * lanes, s3)
                        v += 4 * lanes
                    while v < used:
                        s0 = vload(out, row + v)
                        for e in range(start, stop):
                            c = vsplat(out, values[e] * scale)
                            ra = (aa + entries[e, 0]) * width + v
                            rb = (bb + entries[e, 1]) * width + v
                            s0 = vfma(vmul(c, vload(a_rows, ra)), vload(b_rows, rb), s0)
                        vstore(out, row + v, s0)
                        v += lanes


@_jit
def mix(
    rows: Any, out: int, n_out: int, source: int, n_in: int, length: int,
    weights: Any, w: int, stride_out: int, stride_in: int, scale: float, lanes: int,
) -> None:  # fmt: skip
    """out[r] += scale sum_k weights[w + r stride_out + k stride_in] source[k]; a row is ``length`` numbers."""
    r = 0
    while r + 4 <= n_out:
        v = 0
        while v < length:
            pair = v + lanes < length
            second = v + lanes if pair else v
            a0 = vsplat(rows, 0.0)
            a1, a2, a3, b0, b1, b2, b3 = a0, a0, a0, a0, a0, a0, a0
            at = w + r * stride_out
            for k in range(n_in):
                x = vload(rows, source + k * length + v)
                y = vload(rows, source + k * length + second)
                w0 = vsplat(rows, weights[at])
                w1 = vsplat(rows, weights[at + stride_out])
                w2 = vsplat(rows, weights[at + 2 * stride_out])
                w3 = vsplat(rows, weights[at + 3 * stride_out])
                a0 = vfma(w0, x, a0)
                a1 = vfma(w1, x, a1)
                a2 = vfma(w2, x, a2)
                a3 = vfma(w3, x, a3)
                b0 = vfma(w0, y, b0)
                b1 = vfma(w1, y, b1)
                b2 = vfma(w2, y, b2)
                b3 = vfma(w3, y, b3)
                at += stride_in
            c = vsplat(rows, scale)
            o = out + r * length + v
            vstore(rows, o, vfma(c, a0, vload(rows, o)))
            vstore(rows, o + length, vfma(c, a1, vload(rows, o + length)))
            vstore(rows, o + 2 * length, vfma(c, a2, vload(rows, o + 2 * length)))
            vstore(rows, o + 3 * length, vfma(c, a3, vload(rows, o + 3 * length)))
            if pair:
                o += lanes
                vstore(rows, o, vfma(c, b0, vload(rows, o)))
                vstore(rows, o + length, vfma(c, b1, vload(rows, o + length)))
                vstore(rows, o + 2 * length, vfma(c, b2, vload(rows, o + 2 * length)))
                vstore(rows, o + 3 * length, vfma(c, b3, vload(rows, o + 3 * length)))
            v += 2 * lanes
        r += 4
    while r < n_out:
        v = 0
        while v < length:
            pair = v + lanes < length
            second = v + lanes if pair else v
            a0 = vsplat(rows, 0.0)
            b0 = a0
            at = w + r * stride_out
            for k in range(n_in):
                w0 = vsplat(rows, weights[at])
                a0 = vfma(w0, vload(rows, source + k * length + v), a0)
                b0 = vfma(w0, vload(rows, source + k * length + second), b0)
                at += stride_in
            c = vsplat(rows, scale)
            o = out + r * length + v
            vstore(rows, o, vfma(c, a0, vload(rows, o)))
            if pair:
                vstore(rows, o + lanes, vfma(c, b0, vload(rows, o + lanes)))
            v += 2 * lanes
        r += 1


@_jit
def mix_weights(
    rows: Any, target: int, n_rows: int, source: int, n_cols: int, length: int,
    gradient: Any, w: int, row_stride: int, scale: float, lanes: int,
) -> None:  # fmt: skip
    """gradient[w + r row_stride + k] += scale target[r] . source[k]: the gradient of :func:`mix` in its weights."""
    r = 0
    while r < n_rows:
        r1 = r + 1 if r + 1 < n_rows else r
        k = 0
        while k < n_cols:
            k1 = k + 1 if k + 1 < n_cols else k
            k2 = k + 2 if k + 2 < n_cols else k
            k3 = k + 3 if k + 3 < n_cols else k
            a0 = vsplat(rows, 0.0)
            a1, a2, a3, b0, b1, b2, b3 = a0, a0, a0, a0, a0, a0, a0
            for v in range(0, length, lanes):
                x = vload(rows, target + r * length + v)
                y = vload(rows, target + r1 * length + v)
                s0 = vload(rows, source + k * length + v)
                s1 = vload(rows, source + k1 * length + v)
                s2 = vload(rows, source + k2 * length + v)
                s3 = vload(rows, source + k3 * length + v)
                a0 = vfma(x, s0, a0)
                a1 = vfma(x, s1, a1)
                a2 = vfma(x, s2, a2)
                a3 = vfma(x, s3, a3)
                b0 = vfma(y, s0, b0)
                b1 = vfma(y, s1, b1)
                b2 = vfma(y, s2, b2)
                b3 = vfma(y, s3, b3)
            at = w + r * row_stride + k
            gradient[at] += scale * vsum(a0)
            if k1 > k:
                gradient[at + 1] += scale * vsum(a1)
            if k2 > k:
                gradient[at + 2] += scale * vsum(a2)
            if k3 > k:
                gradient[at + 3] += scale * vsum(a3)
            if r1 > r:
                at += row_stride
                gradient[at] += scale * vsum(b0)
                if k1 > k:
                    gradient[at + 1] += scale * vsum(b1)
                if k2 > k:
                    gradient[at + 2] += scale * vsum(b2)
                if k3 > k:
                    gradient[at + 3] += scale * vsum(b3)
            k += 4
        r += 2


@_jit
def edge_sum(
    atoms: Any, target: int, width: int, edges: Any, f: int, count: int, y: int, dim: int,
    edge_width: int, runs: Any, n_runs: int, scale: float, lanes: int,
) -> None:  # fmt: skip
    """S[species, b, m] of one atom += scale sum_e f[b, e] y[m, e]; a run is (species, first lane, last lane + 1)."""
    for run in range(n_runs):
        base = target + runs[run, 0] * count * dim
        first, last, lane = runs[run, 1], runs[run, 2], runs[run, 3]
        for m in range(0, dim, 2):
            m1 = m + 1 if m + 1 < dim else m
            b = 0
            while b < count:
                b1 = b + 1 if b + 1 < count else b
                b2 = b + 2 if b + 2 < count else b
                b3 = b + 3 if b + 3 < count else b
                p0 = vsplat(atoms, 0.0)
                p1, p2, p3, q0, q1, q2, q3 = p0, p0, p0, p0, p0, p0, p0
                for v in range(first, last, lanes):
                    ya = vload(edges, (y + m) * edge_width + v)
                    yb = vload(edges, (y + m1) * edge_width + v)
                    f0 = vload(edges, (f + b) * edge_width + v)
                    f1 = vload(edges, (f + b1) * edge_width + v)
                    f2 = vload(edges, (f + b2) * edge_width + v)
                    f3 = vload(edges, (f + b3) * edge_width + v)
                    p0 = vfma(ya, f0, p0)
                    p1 = vfma(ya, f1, p1)
                    p2 = vfma(ya, f2, p2)
                    p3 = vfma(ya, f3, p3)
                    q0 = vfma(yb, f0, q0)
                    q1 = vfma(yb, f1, q1)
                    q2 = vfma(yb, f2, q2)
                    q3 = vfma(yb, f3, q3)
                at = (base + b * dim + m) * width + lane
                step = dim * width
                atoms[at] += scale * vsum(p0)
                if b1 > b:
                    atoms[at + step] += scale * vsum(p1)
                if b2 > b:
                    atoms[at + 2 * step] += scale * vsum(p2)
                if b3 > b:
                    atoms[at + 3 * step] += scale * vsum(p3)
                if m1 > m:
                    at += width
                    atoms[at] += scale * vsum(q0)
                    if b1 > b:
                        atoms[at + step] += scale * vsum(q1)
                    if b2 > b:
                        atoms[at + 2 * step] += scale * vsum(q2)
                    if b3 > b:
                        atoms[at + 3 * step] += scale * vsum(q3)
                b += 4


@_jit
def edge_spread(
    atoms: Any, total: int, width: int, edges: Any, out: int, n_out: int, stride_out: int,
    source: int, n_in: int, stride_in: int, per_species: int, edge_width: int, runs: Any, n_runs: int,
    scale: float, lanes: int,
) -> None:  # fmt: skip
    """out[i, e] += scale sum_k S[species(e), i, k] source[k, e]: adjoint of :func:`edge_sum` in f or y."""
    for run in range(n_runs):
        base, lane = total + runs[run, 0] * per_species, runs[run, 3]
        for v in range(runs[run, 1], runs[run, 2], lanes):
            i = 0
            while i < n_out:
                i1 = i + 1 if i + 1 < n_out else i
                i2 = i + 2 if i + 2 < n_out else i
                i3 = i + 3 if i + 3 < n_out else i
                a0 = vsplat(atoms, 0.0)
                a1, a2, a3 = a0, a0, a0
                for k in range(n_in):
                    x = vload(edges, (source + k) * edge_width + v)
                    at = (base + k * stride_in) * width + lane
                    a0 = vfma(vsplat(atoms, atoms[at + i * stride_out * width]), x, a0)
                    a1 = vfma(vsplat(atoms, atoms[at + i1 * stride_out * width]), x, a1)
                    a2 = vfma(vsplat(atoms, atoms[at + i2 * stride_out * width]), x, a2)
                    a3 = vfma(vsplat(atoms, atoms[at + i3 * stride_out * width]), x, a3)
                c = vsplat(atoms, scale)
                row = (out + i) * edge_width + v
                vstore(edges, row, vfma(c, a0, vload(edges, row)))
                if i1 > i:
                    row += edge_width
                    vstore(edges, row, vfma(c, a1, vload(edges, row)))
                if i2 > i:
                    row += edge_width
                    vstore(edges, row, vfma(c, a2, vload(edges, row)))
                if i3 > i:
                    row += edge_width
                    vstore(edges, row, vfma(c, a3, vload(edges, row)))
                i += 4


@_jit
def radial(
    edges: Any, s_row: int, out: int, count: int, lmax: int, order: int, cutoff: float, inner: float,
    edge_width: int, used: int, scratch: int, scale: float, lanes: int,
) -> None:  # fmt: skip
    """Radial functions or their derivatives in s (order <= 2).

    The 3 (lmax + 1) rows from ``scratch`` on hold the envelopes r^-l (1 - s/rc^2)^3 and their two derivatives.
    """
    limit = cutoff * cutoff
    slope = 2.0 / (cutoff - inner)
    zero, one, two = vsplat(edges, 0.0), vsplat(edges, 1.0), vsplat(edges, 2.0)
    rc2, c = vsplat(edges, limit), vsplat(edges, scale)
    for v in range(0, used, lanes):
        raw = vload(edges, s_row * edge_width + v)
        inside = vbetween(raw, zero, rc2, c, zero)
        s = vbetween(raw, zero, rc2, raw, rc2)
        r = vsqrt(s)
        over = vdiv(one, s)
        u = vsub(one, vdiv(s, rc2))
        q0 = vmul(u, vmul(u, u))
        q1 = vmul(vsplat(edges, -3.0 / limit), vmul(u, u))
        q2 = vmul(vsplat(edges, 6.0 / (limit * limit)), u)
        inverse = vmul(r, over)
        p0 = one
        for l in range(lmax + 1):
            p1 = vmul(vsplat(edges, -0.5 * l), vmul(p0, over))
            p2 = vmul(vsplat(edges, -0.5 * l - 1.0), vmul(p1, over))
            row = (scratch + 3 * l) * edge_width + v
            vstore(edges, row, vmul(q0, p0))
            vstore(edges, row + edge_width, vfma(q1, p0, vmul(q0, p1)))
            vstore(edges, row + 2 * edge_width, vfma(q2, p0, vfma(vmul(two, q1), p1, vmul(q0, p2))))
            p0 = vmul(p0, inverse)
        x0 = vfma(vsplat(edges, slope), r, vsplat(edges, -1.0 - slope * inner))
        x1 = vmul(vsplat(edges, 0.5 * slope), inverse)
        x2 = vmul(vsplat(edges, -0.5), vmul(x1, over))
        a0, a1, a2 = one, zero, zero
        b0, b1, b2 = x0, x1, x2
        for b in range(count):
            for l in range(lmax + 1):
                row = (scratch + 3 * l) * edge_width + v
                e0 = vload(edges, row)
                value = vmul(a0, e0)
                if order > 0:
                    e1 = vload(edges, row + edge_width)
                    value = vfma(a0, e1, vmul(a1, e0))
                    if order > 1:
                        e2 = vload(edges, row + 2 * edge_width)
                        value = vfma(a0, e2, vfma(vmul(two, a1), e1, vmul(a2, e0)))
                at = (out + l * count + b) * edge_width + v
                vstore(edges, at, vfma(inside, value, vload(edges, at)))
            n0 = vsub(vmul(two, vmul(x0, b0)), a0)
            n1 = vsub(vmul(two, vfma(x0, b1, vmul(x1, b0))), a1)
            n2 = vsub(vmul(two, vfma(x0, b2, vfma(vmul(two, x1), b1, vmul(x2, b0)))), a2)
            a0, a1, a2 = b0, b1, b2
            b0, b1, b2 = n0, n1, n2


@_jit
def add_rows(out: Any, o: int, source: Any, a: int, length: int, scale: float, lanes: int) -> None:
    """out += scale source over ``length`` contiguous numbers."""
    c = vsplat(out, scale)
    for v in range(0, length, lanes):
        vstore(out, o + v, vfma(c, vload(source, a + v), vload(out, o + v)))


@_jit
def mask_rows(rows: Any, o: int, a: int, count: int, width: int, masks: Any, mask: int, lanes: int) -> None:
    """``count`` rows at ``o`` = rows at ``a``, lane by lane times the mask."""
    for k in range(count):
        for v in range(0, width, lanes):
            vstore(rows, (o + k) * width + v, vmul(vload(rows, (a + k) * width + v), vload(masks, mask + v)))
