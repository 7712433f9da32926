"""What a potential costs before it evaluates its first atom, from the sizes in its architecture alone.

A small file can ask for minutes of compilation. What follows here is cheap for any architecture, planning or lowering
its Programs is not. Measured on one core, compilation of energy and forces took 1 to 2 s and 8 to 15 MB of memory for
each MB of code, whatever the architecture; the estimate of the code was within a factor of 2 of what the numba backend
makes (0.1 to 60 MB).
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from etn_gpu.plan import Program
from etn_gpu.plan.count import work
from etn_gpu.potential.architecture import Architecture
from etn_gpu.potential.formulation import Form

#: Characters of LLVM's language for each term that a coupling of three irreps may have, for each path of a core, for
#: each component of the harmonics, and for each pair of such a component and a radial function.
_PER_COUPLING, _PER_PATH, _PER_HARMONIC, _PER_BASIS = 1_000, 10_000, 20_000, 1_800
#: The same for each operation and each value on edges of a Program.
_PER_FLOP, _PER_VALUE = 100, 300
#: Neighbours of an atom in a dense metal.
_NEIGHBOURS = 80
#: Energies with their gradients take so many operations and values as energies alone, about.
_WITH_GRADIENT = 3.0


@dataclass(frozen=True)
class Size:
    """Code to compile in bytes; operations and bytes of intermediate values per atom; bytes of tables per model."""

    n_radial: float
    code: float
    flops_per_atom: float
    bytes_per_atom: float
    table_bytes: float


#: Above these a potential has to be asked for by name. The preset 'large' has 9 MB of code, and with the elements up to
#: 90 a million operations and 0.5 MB per atom; it may double its code by sweeps.
LIMITS = Size(n_radial=100, code=32e6, flops_per_atom=1e8, bytes_per_atom=2e7, table_bytes=1e9)


def size_of(architecture: Architecture) -> Size:
    """The estimate; that of a network far beyond the limits ends when it has passed them."""
    a = architecture
    harmonics = (a.lmax + 1) ** 2
    basis = float(a.n_radial * harmonics)
    components = min(a.neighbour_rank, a.n_species)
    code = _PER_HARMONIC * harmonics + _PER_BASIS * basis
    flops = 2.0 * basis * (_NEIGHBOURS + a.n_species * components)
    flops += sum(2.0 * n * components * a.n_radial * (2 * l + 1) for l, n in enumerate(a.channels))
    values = basis * (a.n_species + components) + a.feature.dim
    tables = float(a.n_species * sum(a.channels) * components * a.n_radial)
    for layer in a.layers:
        channels = layer.channels(a.degrees)
        widths = sum((2 * l + 1) * n for l, n in channels.items())
        code += _PER_HARMONIC * (layer.lmax + 1) ** 2 + _PER_BASIS * layer.n_radial * widths
        flops += 2.0 * layer.n_radial * widths * _NEIGHBOURS
        flops += sum(2.0 * a.channels[l] * layer.n_radial * n * (2 * l + 1) for l, n in channels.items())
        values += layer.n_radial * widths + _NEIGHBOURS * (layer.irreps.dim + 3) + a.feature.dim
        tables += a.n_species * layer.n_radial * sum(a.channels[l] * n for l, n in channels.items())
    functions = set()
    for core in (core for train in (a.train, *a.heads) for core in train.cores):
        for p in core.paths:
            pairs = p.left.mul * p.feature.mul
            # Whichever two of three components are given, real coefficients are zero but for two values of the third.
            smaller, larger, _ = sorted((p.left.dim, p.feature.dim, p.out.dim))
            terms = 2 * smaller * larger
            kind = (p.left.l, p.feature.l, p.out.l, p.left.mul, p.feature.mul, p.out.mul)
            code += _PER_PATH + (0 if kind in functions else _PER_COUPLING * terms)
            functions.add(kind)
            flops += pairs * (3.0 * terms + 2.0 * p.out.mul * p.out.dim)
            values += pairs * p.out.dim
            tables += pairs * p.out.mul
        if code > 10 * LIMITS.code:
            break
    return Size(a.n_radial, code, _WITH_GRADIENT * flops, 8.0 * _WITH_GRADIENT * values, 16.0 * tables)


def size_of_program(program: Program) -> Size:
    """The estimate for a Program: operations on edges become straight-line code, those on atoms read tables."""
    done = work(program)
    edge = sum(v.size for v in program.values.values() if v.space == "edge")
    atom = sum(v.size for v in program.values.values() if v.space == "atom")
    parameters = sum(v.size for v in program.values.values() if v.space == "param")
    code = _PER_FLOP * done.per_edge + _PER_VALUE * edge + _PER_PATH * len(program.steps)
    flops = done.per_atom + _NEIGHBOURS * done.per_edge
    # Radial functions are part of the code; what matters is how much there is of it.
    return Size(0.0, code, _WITH_GRADIENT * flops, 8.0 * _WITH_GRADIENT * atom, 16.0 * parameters)


def too_large(form: Form) -> str | None:
    """Why a potential is refused unless large ones are allowed, with the numbers; None for one of ordinary size."""
    found = size_of(form) if isinstance(form, Architecture) else size_of_program(form.energy)
    if all(getattr(found, f.name) <= getattr(LIMITS, f.name) for f in fields(Size)):
        return None
    parts = {
        "n_radial": f"{found.n_radial:,.0f} radial functions ({LIMITS.n_radial:,.0f})",
        "code": f"{found.code / 1e6:,.0f} MB of code, that is about {1.5 * found.code / 1e6:,.0f} s and "
        f"{0.2 + 0.012 * found.code / 1e6:,.1f} GB to compile ({LIMITS.code / 1e6:,.0f} MB)",
        "flops_per_atom": f"{found.flops_per_atom / 1e6:,.0f} million operations per atom "
        f"({LIMITS.flops_per_atom / 1e6:,.0f})",
        "bytes_per_atom": f"{found.bytes_per_atom / 1e6:,.0f} MB of values per atom "
        f"({LIMITS.bytes_per_atom / 1e6:,.0f})",
        "table_bytes": f"{found.table_bytes / 1e9:,.1f} GB of tables ({LIMITS.table_bytes / 1e9:,.0f})",
    }
    excess = [text for name, text in parts.items() if getattr(found, name) > getattr(LIMITS, name)]
    return (
        f"its architecture is very large: {'; '.join(excess)}, the limit being in brackets. If that is meant, allow it "
        "with --allow-large, in Python with allow_large=True"
    )
