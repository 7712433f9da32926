"""NEP potentials (nep.txt of GPUMD) as Programs.

With the real, orthonormal harmonics Y and the neighbours j of atom i,

    f_k = T_k(2 (r/rc - 1)^2 - 1) fc,  fc = (1 + cos(pi r/rc))/2,  rc the mean of the cutoffs of both species
    q_n = sum_j g_n(r_ij),  A_nlm = sum_j h_n(r_ij) Y_lm,  g and h sums of c_nk f_k with numbers of the pair of species
    q_nl = sum_m A_nlm^2,  l >= 1, and the invariants of FLAGS, coupled from A_n of several degrees
    E_i = w1 . tanh(w0 s q - b0) - b_species - b1 + 1/2 sum_j V(r_ij)

Z. Fan et al., J. Chem. Phys. 157, 114801 (2022); K. Song et al., Nat. Commun. 15, 10208 (2024). The files have
(T_k + 1)/2 in place of T_k for k >= 1, which the coefficients take up, as w0 does the scales s.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import ModelFileError
from etn_gpu.interop.nep_descriptors import Layout, angular_terms
from etn_gpu.interop.nep_file import NepFile, parse_nep
from etn_gpu.interop.nep_radial import Radial
from etn_gpu.interop.nep_repulsion import reach
from etn_gpu.interop.translation import Translation
from etn_gpu.plan import Program, ProgramBuilder, Term
from etn_gpu.plan.formula import Formula
from etn_gpu.plan.operations import (
    Constant,
    Copy,
    CopyBlock,
    EdgeSum,
    EdgeSumBlock,
    Functions,
    Mix,
    MixBlock,
    PairTable,
)
from etn_gpu.plan.program import Value
from etn_gpu.potential.edge_steps import directions, harmonics, vectors
from etn_gpu.potential.formulation import Formulation

Array = NDArray[np.float64]


def read_nep(path: str | Path, species: Sequence[str] | None = None) -> Translation:
    """The potential in a file ``nep.txt``.

    ``species`` chooses some of those of the file, in any order: what is left of a potential for many is quicker.
    ModelFileError where the file is no NEP of energies, is damaged, or lacks one of ``species``.
    """
    file = parse_nep(path)
    names = file.species if species is None else tuple(species)
    if missing := [s for s in names if s not in file.species]:
        raise ModelFileError(
            f"{path}: has no {', '.join(missing)}: its species are {' '.join(file.species)}; choose among these"
        )
    if not names or len(set(names)) != len(names):
        raise ModelFileError(f"{path}: species must be one or more different ones, got {' '.join(names) or 'none'}")
    return translate_nep(file, names)


def translate_nep(file: NepFile, species: Sequence[str]) -> Translation:
    """The part of a file that belongs to ``species``."""
    chosen = np.array([file.species.index(s) for s in species])
    networks = np.zeros(1, np.int64) if file.version == 3 else chosen
    radial = Radial.of(file, chosen)
    layout = Layout.of(file, radial.repulsion)
    w0, b0, w1 = file.w0[networks] * file.scale, file.b0[networks], file.w1[networks]
    # An atom without neighbours has no descriptors: its energy is the reference.
    alone = np.sum(w1 * np.tanh(-b0), axis=1)
    parameters = {
        "radial": radial.weights(file.radial, chosen, True),
        "angular": radial.weights(file.angular, chosen, False),
        "w0": w0,
        "b0": -b0,
        "w1": w1,
        "alone": -alone,
        "pairs": radial.pairs,
    }
    program = _program(len(species), len(networks) > 1, file.b0.shape[1], radial, layout)
    cutoffs = np.stack([file.radial_cutoffs, file.angular_cutoffs])[:, chosen]
    cutoff = float(cutoffs[0].max())
    if radial.repulsion:
        cutoff = max(cutoff, min(reach(file, chosen), float(file.angular_cutoffs.max())))
    return Translation(
        Formulation("NEP", tuple(species), cutoff, program),
        {v.name: np.ascontiguousarray(parameters[v.name]).ravel() for v in program.inputs if v.space == "param"},
        np.broadcast_to(alone, len(species)) - file.species_bias[chosen] - file.bias,
        {
            "kind": file.kind,
            "radial_cutoffs": cutoffs[0].tolist(),
            "angular_cutoffs": cutoffs[1].tolist(),
            "degree": file.degree,
            "terms": list(file.flags),
            "neurons": file.b0.shape[1],
            "descriptors": len(file.scale),
        },
    )


def _program(n_species: int, own_network: bool, neurons: int, radial: Radial, layout: Layout) -> Program:
    builder = ProgramBuilder()
    x, s = vectors(builder, builder.input("x", "edge", 3))
    f = _functions(builder, n_species, radial, s)
    one = builder.step("one", "atom", (Term(Constant(1, 0, 1, 1.0), 0, ()),))
    sums = _sums(builder, n_species, radial, layout, f, x, s)
    a = _mixed(builder, n_species, radial, layout, sums)
    q = builder.step("q", "atom", terms) if (terms := angular_terms(builder, layout, a)) else None

    stride = int(own_network)
    n_networks, size = (n_species if own_network else 1), layout.size
    w0 = builder.input("w0", "param", n_networks * neurons * size)
    b0 = builder.input("b0", "param", n_networks * neurons)
    w1 = builder.input("w1", "param", n_networks * neurons)
    alone = builder.input("alone", "param", n_networks)
    first = MixBlock(0, size, neurons, layout.n_radial, 1, 0, 0)
    terms = [Term(Mix((w0.size, a.size, neurons), (first,), stride * neurons * size), 2, (w0.name, a.name))]
    if q is not None:
        rest = MixBlock(layout.n_radial, size, neurons, q.size, 1, 0, 0)
        terms.append(Term(Mix((w0.size, q.size, neurons), (rest,), stride * neurons * size), 2, (w0.name, q.name)))
    shift = Mix((b0.size, 1, neurons), (MixBlock(0, 1, neurons, 1, 1, 0, 0),), stride * neurons)
    terms.append(Term(shift, 2, (b0.name, one.name)))
    inner = builder.step("inner", "atom", terms)
    hidden = builder.step("hidden", "atom", (Term(_tanh(neurons), 1, (inner.name,)),))
    single = MixBlock(0, neurons, 1, neurons, 1, 0, 0)
    energy = [
        Term(Mix((w1.size, neurons, 1), (single,), stride * neurons), 2, (w1.name, hidden.name)),
        Term(Mix((alone.size, 1, 1), (MixBlock(0, 1, 1, 1, 1, 0, 0),), stride), 2, (alone.name, one.name)),
    ]
    if radial.repulsion:
        once = ((1, 0, 0), (1, 0, 0))
        place = Copy((a.size, 1), (CopyBlock((layout.n_radial, 0), (1, 1, 1), once),))
        energy.append(Term(place, 1, (a.name,)))
    return builder.build({"e": builder.step("energy", "atom", energy).name})


def _functions(builder: ProgramBuilder, n_species: int, radial: Radial, s: Value) -> Value:
    """All functions of the distance: the radial ones, V / 2, the angular ones."""
    operation = radial.functions()
    operands = [s.name]
    if count := operation.parameters:
        w = builder.input("pairs", "param", n_species**2 * count)
        table = Term(PairTable(count, n_species), 1, (w.name,))
        operands.append(builder.step("p", "edge", (table,)).name)
    return builder.step("f", "edge", (Term(operation, len(operands), tuple(operands)),))


def _sums(
    builder: ProgramBuilder, n_species: int, radial: Radial, layout: Layout, f: Value, x: Value, s: Value
) -> list[tuple[EdgeSum, Value]]:
    """Sums over the neighbours of each species: of the functions alone, and times harmonics of degree 1 and more."""
    one = builder.step("always", "edge", (Term(Constant(1, 0, 1, 1.0), 0, ()),))
    count = radial.n_alone
    alone = EdgeSum((f.size, 1, n_species * count), (EdgeSumBlock(0, count, 0, 1, 0),), n_species)
    sums = [(alone, builder.step("R", "atom", (Term(alone, 2, (f.name, one.name)),)))]
    if layout.degree:
        y = harmonics(builder, layout.degree, directions(builder, x, s))
        blocks, start = [], 0
        for l in range(1, layout.degree + 1):
            blocks.append(EdgeSumBlock(radial.first_angular, radial.angular, l * l, 2 * l + 1, start))
            start += n_species * radial.angular * (2 * l + 1)
        angular = EdgeSum((f.size, y.size, start), tuple(blocks), n_species)
        sums.append((angular, builder.step("S", "atom", (Term(angular, 2, (f.name, y.name)),))))
    return sums


def _mixed(
    builder: ProgramBuilder, n_species: int, radial: Radial, layout: Layout, sums: list[tuple[EdgeSum, Value]]
) -> Value:
    """q_n, the repulsion, and A_nlm."""
    terms = []
    for name, (operation, value), rows in zip(
        ("radial", "angular"), sums, (layout.n_radial + radial.repulsion, layout.n_angular), strict=False
    ):
        cols = n_species * operation.blocks[0].count
        w = builder.input(name, "param", n_species * rows * cols)
        targets = [0] if name == "radial" else [layout.offset(l) for l in range(1, layout.degree + 1)]
        blocks = tuple(
            MixBlock(0, cols, rows, cols, b.dim, b.target, target)
            for b, target in zip(operation.blocks, targets, strict=True)
        )
        terms.append(Term(Mix((w.size, value.size, layout.total), blocks, rows * cols), 2, (w.name, value.name)))
    return builder.step("A", "atom", terms)


def _tanh(count: int) -> Functions:
    formula = Formula()
    return formula.functions([formula.variable.tanh()], count)
