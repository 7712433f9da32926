"""The loops of relaxations: each thread takes some structures at a time; formulas as in :mod:`.oracle`."""

from __future__ import annotations

from typing import Any

import numpy as np

from etn_gpu.backend.cpu.loops import compiled, take

#: Structures that one thread takes at a time.
CHUNK = 16
_HALVINGS, _DEGREE = 4, 14


@compiled
def _multiply(a: Any, b: Any, out: Any) -> None:
    for i in range(3):
        for j in range(3):
            out[i, j] = a[i, 0] * b[0, j] + a[i, 1] * b[1, j] + a[i, 2] * b[2, j]


@compiled
def _exponential(a: Any, x: Any, value: Any, by: Any, work: Any) -> None:
    """exp(A) into ``value`` and its derivative along X into ``by``; ``work`` [6, 3, 3]. A and X are scaled in place."""
    power, power_by, one, other = work[0], work[1], work[2], work[3]
    for i in range(3):
        for j in range(3):
            a[i, j] /= 2.0**_HALVINGS
            x[i, j] /= 2.0**_HALVINGS
            power[i, j] = value[i, j] = 1.0 if i == j else 0.0
            power_by[i, j] = by[i, j] = 0.0
    for k in range(1, _DEGREE + 1):
        _multiply(power_by, a, one)
        _multiply(power, x, other)
        for i in range(3):
            for j in range(3):
                power_by[i, j] = (one[i, j] + other[i, j]) / k
        _multiply(power, a, one)
        for i in range(3):
            for j in range(3):
                power[i, j] = one[i, j] / k
                value[i, j] += power[i, j]
                by[i, j] += power_by[i, j]
    for _ in range(_HALVINGS):
        _multiply(value, by, one)
        _multiply(by, value, other)
        for i in range(3):
            for j in range(3):
                by[i, j] = one[i, j] + other[i, j]
        _multiply(value, value, one)
        for i in range(3):
            for j in range(3):
                value[i, j] = one[i, j]


@compiled
def _invert(a: Any, out: Any) -> None:
    for i in range(3):
        for j in range(3):
            p, q, r, s = (j + 1) % 3, (j + 2) % 3, (i + 1) % 3, (i + 2) % 3
            out[i, j] = a[p, r] * a[q, s] - a[p, s] * a[q, r]
    det = a[0, 0] * out[0, 0] + a[0, 1] * out[1, 0] + a[0, 2] * out[2, 0]
    for i in range(3):
        for j in range(3):
            out[i, j] /= det


@compiled
def place(
    counter: Any, worker: int, size: int, rows: Any, start_cells: Any, atom_offsets: Any, positions: Any, cells: Any,
    deformations: Any,
) -> None:  # fmt: skip
    """See :meth:`~.arithmetic.Arithmetic.place`."""
    u, x, by, work = np.empty((3, 3)), np.zeros((3, 3)), np.empty((3, 3)), np.empty((6, 3, 3))
    first = take(counter) * size
    while first < len(cells):
        for s in range(first, min(len(cells), first + size)):
            begin, end = atom_offsets[s], atom_offsets[s + 1]
            f = deformations[s]
            for i in range(3):
                for j in range(3):
                    u[i, j] = rows[end + 3 * s + i, j] / (end - begin)
            _exponential(u, x, f, by, work)
            for k in range(begin, end):
                r = k + 3 * s
                for i in range(3):
                    positions[k, i] = rows[r, 0] * f[i, 0] + rows[r, 1] * f[i, 1] + rows[r, 2] * f[i, 2]
            for k in range(3):
                c = start_cells[s, k]
                for i in range(3):
                    cells[s, k, i] = c[0] * f[i, 0] + c[1] * f[i, 1] + c[2] * f[i, 2]
        first = take(counter) * size


@compiled
def generalised(
    counter: Any, worker: int, size: int, rows: Any, deformations: Any, forces: Any, virials: Any, pressed: Any,
    spans: Any, fixed: Any, atom_offsets: Any, hydrostatic: bool, out: Any,
) -> None:  # fmt: skip
    """See :meth:`~.arithmetic.Arithmetic.generalised`, without symmetry."""
    u, x, by, value = np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3)), np.empty((3, 3))
    strain, inverse, work = np.empty((3, 3)), np.empty((3, 3)), np.empty((6, 3, 3))
    first = take(counter) * size
    while first < len(spans):
        for s in range(first, min(len(spans), first + size)):
            begin, end = atom_offsets[s], atom_offsets[s + 1]
            n, f, span, v = end - begin, deformations[s], spans[s], virials[s]
            for k in range(begin, end):
                r = k + 3 * s
                a = 0.0 if fixed[k, 0] else forces[k, 0]
                b = 0.0 if fixed[k, 1] else forces[k, 1]
                c = 0.0 if fixed[k, 2] else forces[k, 2]
                for j in range(3):
                    out[r, j] = a * f[0, j] + b * f[1, j] + c * f[2, j]
            strain[0, 0], strain[1, 1], strain[2, 2] = -v[0] - pressed[s], -v[1] - pressed[s], -v[2] - pressed[s]
            strain[1, 2] = strain[2, 1] = -v[3]
            strain[0, 2] = strain[2, 0] = -v[4]
            strain[0, 1] = strain[1, 0] = -v[5]
            _multiply(span, strain, x)
            _multiply(x, span, strain)
            if hydrostatic:
                dimensions = span[0, 0] + span[1, 1] + span[2, 2]
                mean = (strain[0, 0] + strain[1, 1] + strain[2, 2]) / (dimensions if dimensions > 0.0 else 1.0)
                for i in range(3):
                    for j in range(3):
                        strain[i, j] = mean * span[i, j]
            _invert(f, inverse)
            for i in range(3):
                for j in range(3):
                    x[i, j] = strain[i, 0] * inverse[j, 0] + strain[i, 1] * inverse[j, 1] + strain[i, 2] * inverse[j, 2]
                    u[i, j] = rows[end + 3 * s + j, i] / n
            _exponential(u, x, value, by, work)
            for i in range(3):
                for j in range(3):
                    out[end + 3 * s + i, j] = by[i, j] / n
        first = take(counter) * size


@compiled
def largest(rows: Any, atom_offsets: Any, atoms: Any, cell: Any) -> None:
    """See :meth:`~.arithmetic.Arithmetic.largest`."""
    for s in range(len(atoms)):
        begin, end = atom_offsets[s] + 3 * s, atom_offsets[s + 1] + 3 * s
        most = most_cell = 0.0
        for r in range(begin, end):
            most = max(most, rows[r, 0] ** 2 + rows[r, 1] ** 2 + rows[r, 2] ** 2)
        for r in range(end, end + 3):
            most_cell = max(most_cell, rows[r, 0] ** 2 + rows[r, 1] ** 2 + rows[r, 2] ** 2)
        atoms[s], cell[s] = np.sqrt(most), np.sqrt(most_cell)


@compiled
def _dot(a: Any, b: Any, begin: int, end: int) -> float:
    # as many sums side by side as a register holds, always the same ones
    p, q, r, t = 0.0, 0.0, 0.0, 0.0
    k = begin
    while k + 4 <= end:
        p += a[k] * b[k]
        q += a[k + 1] * b[k + 1]
        r += a[k + 2] * b[k + 2]
        t += a[k + 3] * b[k + 3]
        k += 4
    while k < end:
        p += a[k] * b[k]
        k += 1
    return (p + q) + (r + t)


@compiled
def lbfgs(
    counter: Any, worker: int, size: int, rows: Any, forces: Any, enthalpies: Any, atom_offsets: Any,
    last_rows: Any, last_forces: Any, moves: Any, changes: Any, weights: Any, newest: Any, scales: Any, before: Any,
    stiffness: float, bulk: float, tolerance: float, shortest: float, longest: float, largest_strain: float, step: Any,
) -> None:  # fmt: skip
    """See :meth:`~.arithmetic.Arithmetic.lbfgs`; rows are flat, [3 M] and [memory, 3 M]."""
    memory = len(weights)
    shares = np.empty(memory)
    first = take(counter) * size
    while first < len(scales):
        for s in range(first, min(len(scales), first + size)):
            begin, middle = 3 * atom_offsets[s] + 9 * s, 3 * atom_offsets[s + 1] + 9 * s
            end, n = middle + 9, atom_offsets[s + 1] - atom_offsets[s]
            of_atoms, of_cell = 1.0 / stiffness, n / bulk
            if before[s] < np.inf:
                rise = enthalpies[s] - before[s]
                if rise > tolerance * n:
                    for k in range(begin, end):
                        step[k] = rows[k] - last_rows[k]
                    fall = _dot(last_forces, step, begin, end)
                    kept = min(max(0.5 * fall / (rise + fall), shortest), 0.5)
                    for k in range(begin, end):
                        step[k] *= kept - 1.0
                    continue
                newest[s] = (newest[s] + 1) % memory
                move, change = moves[newest[s]], changes[newest[s]]
                for k in range(begin, end):
                    move[k], change[k] = rows[k] - last_rows[k], last_forces[k] - forces[k]
                product = _dot(move, change, begin, end)
                ahead, behind = _dot(move, move, begin, end), _dot(change, change, begin, end)
                square = of_atoms * _dot(change, change, begin, middle) + of_cell * _dot(change, change, middle, end)
                weights[newest[s], s] = 0.0
                if product > 1e-10 * np.sqrt(ahead * behind):
                    weights[newest[s], s] = 1.0 / product
                    scales[s] = product / square
            before[s] = enthalpies[s]
            for k in range(begin, end):
                last_rows[k], last_forces[k], step[k] = rows[k], forces[k], forces[k]
            for k in range(memory):
                slot = (newest[s] - k) % memory
                shares[k] = 0.0
                if weights[slot, s] > 0.0:
                    shares[k] = weights[slot, s] * _dot(moves[slot], step, begin, end)
                    for r in range(begin, end):
                        step[r] -= shares[k] * changes[slot, r]
            for k in range(begin, middle):
                step[k] *= scales[s] * of_atoms
            for k in range(middle, end):
                step[k] *= scales[s] * of_cell
            for k in range(memory - 1, -1, -1):
                slot = (newest[s] - k) % memory
                if weights[slot, s] > 0.0:
                    other = shares[k] - weights[slot, s] * _dot(changes[slot], step, begin, end)
                    for r in range(begin, end):
                        step[r] += other * moves[slot, r]
            if not _dot(step, forces, begin, end) > 0.0:
                for k in range(memory):
                    weights[k, s] = 0.0
                for k in range(begin, end):
                    step[k] = forces[k] * (of_atoms if k < middle else of_cell)
            most = most_cell = 0.0
            for k in range(begin, middle, 3):
                most = max(most, step[k] ** 2 + step[k + 1] ** 2 + step[k + 2] ** 2)
            for k in range(middle, end, 3):
                most_cell = max(most_cell, step[k] ** 2 + step[k + 1] ** 2 + step[k + 2] ** 2)
            beyond = max(np.sqrt(most) / longest, np.sqrt(most_cell) / max(longest, largest_strain * n))
            if beyond > 1.0:
                for k in range(begin, end):
                    step[k] /= beyond
        first = take(counter) * size


@compiled
def fire(
    counter: Any, worker: int, size: int, forces: Any, atom_offsets: Any, velocities: Any, time_steps: Any,
    mixing: Any, downhill: Any, longest_time: float, growth: float, shrinkage: float, first_mixing: float,
    less_mixing: float, patience: int, longest: float, step: Any,
) -> None:  # fmt: skip
    """See :meth:`~.arithmetic.Arithmetic.fire`; rows are flat, [3 M]."""
    first = take(counter) * size
    while first < len(time_steps):
        for s in range(first, min(len(time_steps), first + size)):
            begin, end = 3 * atom_offsets[s] + 9 * s, 3 * atom_offsets[s + 1] + 9 * s + 9
            if downhill[s] < 0:
                downhill[s] = 0
            elif _dot(forces, velocities, begin, end) > 0.0:
                speed = np.sqrt(_dot(velocities, velocities, begin, end))
                norm = np.sqrt(_dot(forces, forces, begin, end))
                for k in range(begin, end):
                    velocities[k] = (1.0 - mixing[s]) * velocities[k] + mixing[s] * speed / norm * forces[k]
                if downhill[s] > patience:
                    time_steps[s] = min(time_steps[s] * growth, longest_time)
                    mixing[s] *= less_mixing
                downhill[s] += 1
            else:
                for k in range(begin, end):
                    velocities[k] = 0.0
                mixing[s] = first_mixing
                time_steps[s] *= shrinkage
                downhill[s] = 0
            for k in range(begin, end):
                velocities[k] += time_steps[s] * forces[k]
                step[k] = time_steps[s] * velocities[k]
            beyond = np.sqrt(_dot(step, step, begin, end)) / longest
            if beyond > 1.0:
                for k in range(begin, end):
                    step[k] /= beyond
        first = take(counter) * size


@compiled
def advance(rows: Any, step: Any, fixed: Any, atom_offsets: Any, new: Any) -> None:
    """See :meth:`~.arithmetic.Arithmetic.advance`."""
    u, x, by, work = np.empty((3, 3)), np.zeros((3, 3)), np.empty((3, 3)), np.empty((6, 3, 3))
    f, inverse, moved = np.empty((3, 3)), np.empty((3, 3)), np.empty(3)
    for r in range(len(rows)):
        for i in range(3):
            new[r, i] = rows[r, i] + step[r, i]
    for s in range(len(atom_offsets) - 1):
        begin, end, known = atom_offsets[s], atom_offsets[s + 1], False
        for k in range(begin, end):
            if fixed[k, 0] or fixed[k, 1] or fixed[k, 2]:
                if not known:
                    for i in range(3):
                        for j in range(3):
                            u[i, j] = new[end + 3 * s + i, j] / (end - begin)
                    _exponential(u, x, f, by, work)
                    _invert(f, inverse)
                    known = True
                r = k + 3 * s
                for i in range(3):
                    move = f[i, 0] * step[r, 0] + f[i, 1] * step[r, 1] + f[i, 2] * step[r, 2]
                    moved[i] = 0.0 if fixed[k, i] else move
                for i in range(3):
                    back = inverse[i, 0] * moved[0] + inverse[i, 1] * moved[1] + inverse[i, 2] * moved[2]
                    new[r, i] = rows[r, i] + back


@compiled
def symmetrise(
    rows: Any, atom_offsets: Any, structures: Any, rotations: Any, rotation_offsets: Any, sources: Any,
    source_offsets: Any,
) -> None:  # fmt: skip
    """See :meth:`~.symmetries.Symmetries.apply`."""
    for t in range(len(structures)):
        s = structures[t]
        begin, n = atom_offsets[s] + 3 * s, atom_offsets[s + 1] - atom_offsets[s]
        low, order = rotation_offsets[t], rotation_offsets[t + 1] - rotation_offsets[t]
        old, cell = rows[begin : begin + n].copy(), rows[begin + n : begin + n + 3].copy()
        for k in range(n):
            for i in range(3):
                rows[begin + k, i] = 0.0
            for o in range(order):
                f = old[sources[source_offsets[t] + k * order + o]]
                for i in range(3):
                    a = rotations[low + o, i]
                    rows[begin + k, i] += (a[0] * f[0] + a[1] * f[1] + a[2] * f[2]) / order
        for i in range(3):
            for j in range(3):
                mean = 0.0
                for o in range(order):
                    a = rotations[low + o]
                    for p in range(3):
                        for q in range(3):
                            mean += a[p, i] * cell[p, q] * a[q, j]
                rows[begin + n + i, j] = mean / order
