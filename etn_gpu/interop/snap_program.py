"""SNAP as a Program: sums over neighbours, their couplings, and what becomes of them.

A linear SNAP folds its coefficients into weights of the couplings before anything is evaluated, E = sum y . W . u,
which takes no more for many components than for one. A quadratic one needs each component by itself.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from math import pi, sqrt

from etn_gpu.interop.snap_bispectrum import Triple, components, radial_factor
from etn_gpu.interop.snap_layout import Layout, terms, weights
from etn_gpu.interop.zbl import NUMBERS, ZBL
from etn_gpu.plan import Program, ProgramBuilder, Term
from etn_gpu.plan.formula import Formula, Number
from etn_gpu.plan.operations import (
    Constant,
    Copy,
    CopyBlock,
    Couple,
    CoupleBlock,
    EdgeSum,
    EdgeSumBlock,
    Functions,
    Mix,
    MixBlock,
    PairTable,
    Products,
)
from etn_gpu.plan.program import Value
from etn_gpu.potential.edge_steps import directions, harmonics, vectors

ONE_BY_ONE = ((1, 0, 0), (1, 0, 0), (0, 0, 0))


@dataclass(frozen=True)
class SnapArchitecture:
    """All of a SNAP that is no number of its fit or of its species.

    ``channels`` is the number of elements of neighbours that are told apart (chemflag), else 1; ``cutoff`` in A is
    None where it depends on the pair.
    """

    twojmax: int
    n_species: int
    channels: int
    cutoff: float | None
    rmin0: float
    rfac0: float
    switch: bool
    inner: bool
    quadratic: bool
    normalised: bool
    zbl: ZBL | None = None

    @property
    def layout(self) -> Layout:
        """Where the sums over neighbours lie."""
        return Layout(self.twojmax, self.channels)

    @property
    def pair_numbers(self) -> tuple[str, ...]:
        """What the Program takes for each pair of species, in its order."""
        names = ["weight"]
        if self.cutoff is None:
            names.append("scale")
        if self.inner:
            names += ["centre", "inverse width"]
        if self.zbl:
            names += [f"zbl {k}" for k in range(NUMBERS)]
        return tuple(names)

    def stride(self, count: int) -> int:
        """Numbers from the table of one species of the centre to that of the next; 0 where there is one species."""
        return count if self.n_species > 1 else 0

    @property
    def invariants(self) -> int:
        """Number of bispectrum components."""
        return self.channels**3 * len(components(self.twojmax))


@lru_cache(maxsize=16)
def energy_program(architecture: SnapArchitecture) -> Program:
    """The Program of the energy beyond that of the isolated atom.

    Inputs beside ``x``: ``pair`` [species, species, pair_numbers]; ``self`` what an atom adds to its own sums, of
    degree 0 [species, channels and q]; ``shift`` [species] or, with quadratic terms, [species, components] minus the
    values of an isolated atom; ``W`` weights of couplings [species, ...] or ``beta`` [species, components] and
    ``alpha`` [species, components, components].
    """
    builder = ProgramBuilder()
    layout = architecture.layout
    x, s = vectors(builder, builder.input("x", "edge", 3))
    y = harmonics(builder, architecture.twojmax, directions(builder, x, s))
    table = PairTable(len(architecture.pair_numbers), architecture.n_species)
    pair = builder.step("pairs", "edge", (Term(table, 1, (builder.input("pair", "param", table.sizes[0]).name,)),))
    radial = radial_functions(architecture)
    f = builder.step("radial", "edge", (Term(radial, 2, (s.name, pair.name)),))
    one = builder.step("one", "atom", (Term(Constant(1, 0, 1, 1.0), 0, ()),))
    u = _sums(builder, architecture, f, y, one)
    couplings = {}
    for ls in layout.triples:
        couple = Couple((u.size, u.size, layout.pairs(ls)), layout.blocks(ls))
        couplings[ls] = builder.step("y" + "-".join(map(str, ls)), "atom", (Term(couple, 2, (u.name, u.name)),))
    make = _quadratic if architecture.quadratic else _linear
    energies = make(builder, architecture, u, one, couplings)
    if architecture.zbl:
        blocks = tuple(
            CopyBlock((layout.size + k, 0), (1, 1, 1), ((1, 0, 0), (1, 0, 0))) for k in range(architecture.channels)
        )
        energies.append(Term(Copy((u.size, 1), blocks), 1, (u.name,)))
    return builder.build({"e": builder.step("e", "atom", energies).name})


def radial_functions(architecture: SnapArchitecture) -> Functions:
    """The radial part of u_qlm with cutoff and weight, for all l, parities of q and q, and half of ZBL."""
    formula = Formula()
    numbers = {name: formula.parameter(k) for k, name in enumerate(architecture.pair_numbers)}
    r = formula.variable**0.5
    rmin0 = architecture.rmin0
    scale = numbers["scale"] if architecture.cutoff is None else formula.number(pi / (architecture.cutoff - rmin0))
    phase = (r - rmin0) * scale
    window = phase.below(0.0, 1.0, 0.5 * phase.cos() + 0.5) if rmin0 else 0.5 * phase.cos() + 0.5
    window = phase.below(pi, window if architecture.switch else 1.0, 0.0)
    if architecture.inner:
        t = (r - numbers["centre"]) * numbers["inverse width"]
        rise = 0.5 + 0.5 * (t * (pi / 2)).sin()
        window = window * t.below(-1.0, 0.0, t.below(1.0, rise, 1.0))
    theta = phase * architecture.rfac0
    sine, cosine = theta.sin(), theta.cos()
    if rmin0 or architecture.rfac0 > 1:
        # LAMMPS takes the rotation whose half angle has a positive sine: r / tan(theta) with r > 0.
        sine, cosine = sine.below(0.0, -sine, sine), sine.below(0.0, -cosine, cosine)
    results: list[Number | float] = []
    power = window * numbers["weight"]
    layout = architecture.layout
    for l in range(architecture.twojmax + 1):
        values = _gegenbauer(formula, cosine, l + 1, architecture.twojmax - l)
        results += [power * values[q - l] * radial_factor(q, l) for p in (0, 1) for q in layout.qs(l, p)]
        power = power * sine
    if architecture.zbl:
        zbl = [numbers[f"zbl {k}"] for k in range(NUMBERS)]
        results.append(0.5 * architecture.zbl.energy(r, zbl))
    return formula.functions(results)


def _gegenbauer(formula: Formula, x: Number, order: int, degree: int) -> list[Number]:
    """C^(order)_n(x) for n = 0 .. degree."""
    values = [formula.number(1.0), 2.0 * order * x]
    for n in range(2, degree + 1):
        ahead = x * values[-1] * (2.0 * (n + order - 1) / n)
        values.append(ahead - values[-2] * ((n + 2.0 * order - 2) / n))
    return values[: degree + 1]


def _sums(builder: ProgramBuilder, architecture: SnapArchitecture, f: Value, y: Value, one: Value) -> Value:
    layout = architecture.layout
    merged = architecture.channels == 1
    blocks, at = [], 0
    for l in range(architecture.twojmax + 1):
        # Both parities lie side by side unless each has its own channels.
        counts = [len(layout.qs(l, parity)) for parity in (0, 1)]
        for parity, count in enumerate([sum(counts)] if merged else counts):
            if count:
                blocks.append(EdgeSumBlock(at, count, l * l, 2 * l + 1, layout.start(l, parity)))
            at += count
    size = layout.size
    if architecture.zbl:
        blocks.append(EdgeSumBlock(at, 1, 0, 1, size))
        size += architecture.channels
    edge_sum = EdgeSum((f.size, y.size, size), tuple(blocks), architecture.channels, merged)
    own = layout.count(0)
    weight = builder.input("self", "param", architecture.n_species * own)
    mix = Mix((weight.size, 1, size), (MixBlock(0, 1, own, 1, 1, 0, 0),), architecture.stride(own))
    return builder.step("u", "atom", (Term(edge_sum, 2, (f.name, y.name)), Term(mix, 2, (weight.name, one.name))))


def _shift(builder: ProgramBuilder, architecture: SnapArchitecture, count: int, one: Value) -> Term:
    shift = builder.input("shift", "param", architecture.n_species * count)
    mix = Mix((shift.size, 1, count), (MixBlock(0, 1, count, 1, 1, 0, 0),), architecture.stride(count))
    return Term(mix, 2, (shift.name, one.name))


def _linear(
    builder: ProgramBuilder, architecture: SnapArchitecture, u: Value, one: Value, couplings: dict[Triple, Value]
) -> list[Term]:
    layout = architecture.layout
    places = weights(layout)
    weight = builder.input("W", "param", architecture.n_species * (places[-1].first + places[-1].size))
    stride = architecture.stride(places[-1].first + places[-1].size)
    mixed = []
    for ls, y in couplings.items():
        blocks = tuple(
            MixBlock(
                w.first, w.run.columns, w.rows, w.run.columns, 2 * ls[2] + 1, w.run.first,
                layout.start(ls[2], sum(w.run.parities) % 2),
            )
            for w in places
            if w.ls == ls
        )  # fmt: skip
        mixed.append(Term(Mix((weight.size, y.size, u.size), blocks, stride), 2, (weight.name, y.name)))
    z = builder.step("z", "atom", mixed)
    reached = sorted({ls[2] for ls in couplings})
    dots = tuple(
        CoupleBlock(
            (l, l, 0), (layout.start(l), layout.start(l), 0), (layout.count(l), 1, 1), ONE_BY_ONE, sqrt(2 * l + 1)
        )
        for l in reached
    )
    dot = Term(Couple((u.size, u.size, 1), dots), 2, (z.name, u.name))
    return [dot, _shift(builder, architecture, 1, one)]


def _quadratic(
    builder: ProgramBuilder, architecture: SnapArchitecture, u: Value, one: Value, couplings: dict[Triple, Value]
) -> list[Term]:
    species, count = architecture.n_species, architecture.invariants
    found = [_shift(builder, architecture, count, one)]
    for ls, y in couplings.items():
        t = terms(architecture.layout, architecture.normalised)[ls]
        rows = tuple(
            (int(pair) + m, int(row) + m, int(k), float(c))
            for pair, row, k, c in zip(t.pair, t.row, t.invariant, t.coefficient, strict=True)
            for m in range(2 * ls[2] + 1)
        )
        found.append(Term(Products((y.size, u.size, count), rows), 2, (y.name, u.name)))
    b = builder.step("B", "atom", found)
    alpha = builder.input("alpha", "param", species * count**2)
    mix = Mix((alpha.size, count, count), (MixBlock(0, count, count, count, 1, 0, 0),), architecture.stride(count**2))
    slope = builder.step("half slope", "atom", (Term(mix, 2, (alpha.name, b.name), 0.5),))
    beta = builder.input("beta", "param", species * count)
    linear = Mix((beta.size, count, 1), (MixBlock(0, count, 1, count, 1, 0, 0),), architecture.stride(count))
    block = CoupleBlock((0, 0, 0), (0, 0, 0), (count, 1, 1), ONE_BY_ONE)
    dot = Couple((count, count, 1), (block,))
    return [Term(linear, 2, (beta.name, b.name)), Term(dot, 2, (slope.name, b.name))]
