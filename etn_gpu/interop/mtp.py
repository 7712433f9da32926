"""Moment tensor potentials (MTP) of MLIP-2, MLIP-3 and motep as Programs.

The energy of an atom i of species z_i, with unit vectors u to its neighbours j at distances r below ``max``:

    E_i = species_coeffs[z_i] + sum_s moment_coeffs[s] M[mapping[s]]
    M(mu, a, b, c) = sum_j f_mu(r) u_x^a u_y^b u_z^c
    f_mu(r) = scaling sum_b radial_coeffs[z_i, z_j, mu, b] T_b((2 r - min - max) / (max - min)) (r - max)^2

Chebyshev polynomials T_b go on below ``min``. The other moments are sums of products of two of them, row by row of
``alpha_index_times``. Files and references: :mod:`etn_gpu.interop.mtp_file`.

A sum over neighbours is made for each b and each species of neighbours, and only then mixed into radial functions: that
takes the coefficients to atoms instead of edges. Which sums and moments there are: :mod:`etn_gpu.interop.mtp_moments`.
The parameters are the numbers of the file, so that those who train them have a file again (:func:`write_mtp`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from etn_gpu.errors import ModelFileError
from etn_gpu.interop.mtp_file import MtpFile, read_mtp_file, write_mtp_file
from etn_gpu.interop.mtp_moments import Degree, Moments, Monomial, moments_of, runs
from etn_gpu.interop.translation import Translation
from etn_gpu.plan import Program, ProgramBuilder, Term
from etn_gpu.plan.formula import Formula
from etn_gpu.plan.operations import (
    Constant,
    Copy,
    CopyBlock,
    EdgeSum,
    EdgeSumBlock,
    Fold,
    Functions,
    Mix,
    MixBlock,
    Products,
    View,
)
from etn_gpu.plan.program import Value
from etn_gpu.potential.edge_steps import directions, vectors
from etn_gpu.potential.formulation import Formulation
from etn_gpu.structures.species_map import check_species

METHOD = "MTP"
#: Component of x, y and z in a direction.
_AXES = (2, 0, 1)


def read_mtp(path: str | os.PathLike[str], *, species: Sequence[str]) -> Translation:
    """Read a potential; ``species`` are chemical symbols in the order of its types (``0-0`` is the first).

    Raises:
        ModelFileError: as :func:`~etn_gpu.interop.mtp_file.read_mtp_file`, or another number of species.
        DataError: something in ``species`` is no chemical symbol.
    """
    file = read_mtp_file(path)
    symbols = check_species(species)
    if len(symbols) != len(file.types) or len(set(symbols)) != len(symbols):
        raise ModelFileError(
            f"{os.fspath(path)} has {len(file.types)} species and no names for them; got {', '.join(symbols)}, "
            f"expected {len(file.types)} different elements in the order of the types"
        )
    return translate(file, symbols)


def translate(file: MtpFile, species: Sequence[str]) -> Translation:
    """The Program of a file, and its numbers under the names that they have there."""
    energy = _energy(file)
    parameters = {
        "radial_coeffs": file.radial_coeffs.ravel(),
        "scaling": np.array([file.scaling]),
        "moment_coeffs": file.moment_coeffs,
    }
    metadata = {
        "potential_name": file.potential_name,
        "potential_tag": file.potential_tag,
        "types": list(file.types),
        "min_dist": file.min_dist,
        "max_dist": file.max_dist,
        "alpha_moments_count": file.alpha_moments_count,
        "alpha_index_basic": file.alpha_index_basic.tolist(),
        "alpha_index_times": file.alpha_index_times.tolist(),
        "alpha_moment_mapping": file.alpha_moment_mapping.tolist(),
    }
    if file.active_set is not None:
        metadata["active_set"] = {"coefficients": file.active_set.coefficients, **file.active_set.weights}
    form = Formulation(METHOD, tuple(species), file.max_dist, energy)
    return Translation(form, parameters, file.species_coeffs, {"mtp": metadata})


def write_mtp(path: str | os.PathLike[str], translation: Translation) -> None:
    """Write a potential as a file of MLIP-2, all numbers with as many digits as they have.

    The active set of the file that was read is not in it: it is that of the numbers which that file has.

    Raises:
        ModelFileError: this is no MTP, or the file cannot be written.
    """
    write_mtp_file(path, mtp_file(translation))


def mtp_file(translation: Translation) -> MtpFile:
    """The file of a potential.

    Raises:
        ModelFileError: this is no MTP.
    """
    if translation.formulation.method != METHOD or "mtp" not in translation.metadata:
        raise ModelFileError(f"a potential of the method {translation.formulation.method} cannot be written as an MTP")
    metadata, parameters = translation.metadata["mtp"], translation.parameters
    basic = np.array(metadata["alpha_index_basic"], np.int64).reshape(-1, 4)
    n = len(metadata["types"])
    (scaling,) = parameters["scaling"].tolist()
    size = _radial_size(translation.formulation.energy)
    return MtpFile(
        potential_name=metadata["potential_name"],
        potential_tag=metadata["potential_tag"],
        scaling=scaling,
        types=tuple(metadata["types"]),
        min_dist=metadata["min_dist"],
        max_dist=metadata["max_dist"],
        radial_coeffs=parameters["radial_coeffs"].reshape(n, n, -1, size),
        alpha_moments_count=metadata["alpha_moments_count"],
        alpha_index_basic=basic,
        alpha_index_times=np.array(metadata["alpha_index_times"], np.int64).reshape(-1, 4),
        alpha_moment_mapping=np.array(metadata["alpha_moment_mapping"], np.int64),
        species_coeffs=translation.references,
        moment_coeffs=parameters["moment_coeffs"],
    )


def _radial_size(energy: Program) -> int:
    """Number of functions of the distance."""
    operations = (term.operation for step in energy.steps for term in step.terms)
    return next(len(o.results) for o in operations if isinstance(o, Functions))


def _energy(file: MtpFile) -> Program:
    moments = moments_of(file)
    builder = ProgramBuilder()
    x, s = vectors(builder, builder.input("x", "edge", 3))
    radial = _radial(file)
    f = builder.step("radial", "edge", (Term(radial, 1, (s.name,)),))
    y, starts = _monomials(builder, directions(builder, x, s), moments.degrees)
    values = [_basic(builder, file, moments, f, y, starts)]
    for level in moments.levels[1:]:
        terms = []
        for (a, b), rows in level.rows.items():
            operation = Products((values[a].size, values[b].size, level.size), rows)
            terms.append(Term(operation, 2, (values[a].name, values[b].name)))
        values.append(builder.step(f"moments{len(values)}", "atom", terms))
    return builder.build({"e": _linear_form(builder, file, moments, values).name}, ("radial_coeffs", "scaling"))


def _radial(file: MtpFile) -> Functions:
    """T_b(xi) (r - max)^2 as functions of r^2, zero from max on."""
    formula = Formula()
    s = formula.variable
    low, high = file.min_dist, file.max_dist
    r = s**0.5
    xi = (2.0 * r - (low + high)) / (high - low)
    envelope = (r - high) ** 2.0
    numbers = [formula.number(1.0), xi]
    while len(numbers) < file.radial_coeffs.shape[3]:
        numbers.append(2.0 * xi * numbers[-1] - numbers[-2])
    polynomials = numbers[: file.radial_coeffs.shape[3]]
    return formula.functions([s.below(high**2, t * envelope, 0.0) for t in polynomials])


def _monomials(builder: ProgramBuilder, direction: Value, degrees: Sequence[Degree]) -> tuple[Value, list[int]]:
    """All monomials of the direction, degree by degree, and where each degree begins."""
    needed: dict[int, set[Monomial]] = {sum(d.monomials[0]): set(d.monomials) for d in degrees}
    for degree in range(max(needed), 1, -1):
        parents = {_divided(m)[1] for m in needed.get(degree, ())}
        needed.setdefault(degree - 1, set()).update(parents)
    starts = [sum(len(d.monomials) for d in degrees[:n]) for n in range(len(degrees) + 1)]
    size = starts.pop()
    terms, below, values = [], dict[Monomial, int](), {1: direction}
    for n, d in enumerate(degrees):
        if d.monomials[0] == (0, 0, 0):
            terms.append(Term(Constant(size, starts[n], 1, 1.0), 0, ()))
    at_degree = {sum(d.monomials[0]): (d, start) for d, start in zip(degrees, starts, strict=True)}
    for degree in range(1, max(needed) + 1):
        if degree == 1:
            below = {(1, 0, 0): _AXES[0], (0, 1, 0): _AXES[1], (0, 0, 1): _AXES[2]}
        else:
            ordered = sorted(needed[degree], reverse=True)
            rows = []
            for place, monomial in enumerate(ordered):
                axis, parent = _divided(monomial)
                rows.append((_AXES[axis], below[parent], place, 1.0))
            operation = Products((3, values[degree - 1].size, len(ordered)), tuple(rows))
            names = (direction.name, values[degree - 1].name)
            values[degree] = builder.step(f"monomials{degree}", "edge", (Term(operation, 2, names),))
            below = {monomial: place for place, monomial in enumerate(ordered)}
        if degree in at_degree:
            d, start = at_degree[degree]
            once = ((1, 0, 0), (1, 0, 0))
            blocks = tuple(CopyBlock((below[m], start + k), (1, 1, 1), once) for k, m in enumerate(d.monomials))
            terms.append(Term(Copy((values[degree].size, size), blocks), 1, (values[degree].name,)))
    return builder.step("monomials", "edge", terms), starts


def _divided(monomial: Monomial) -> tuple[int, Monomial]:
    """The last axis that a monomial has, and the monomial without it."""
    axis = max(k for k in range(3) if monomial[k])
    a, b, c = (e - (k == axis) for k, e in enumerate(monomial))
    return axis, (a, b, c)


def _basic(
    builder: ProgramBuilder, file: MtpFile, moments: Moments, f: Value, y: Value, starts: Sequence[int]
) -> Value:
    """Basic moments: sums over the neighbours of each species, mixed into radial functions, and their combinations."""
    species, _, functions, size = file.radial_coeffs.shape
    sums, mixes, source, target = [], [], 0, 0
    for degree, start in zip(moments.degrees, starts, strict=True):
        dim = len(degree.monomials)
        sums.append(EdgeSumBlock(0, size, start, dim, source))
        weight = degree.first * species * size
        mixes.append(MixBlock(weight, species * size, degree.count, species * size, dim, source, target))
        source += species * size * dim
        target += degree.size
    edge_sum = EdgeSum((f.size, y.size, source), tuple(sums), species)
    summed = builder.step("sums", "atom", (Term(edge_sum, 2, (f.name, y.name)),))
    weights = _weights(builder, file)
    mix = Mix((weights.size, source, target), tuple(mixes), functions * species * size)
    mixed = builder.step("mixed", "atom", (Term(mix, 2, (weights.name, summed.name)),))
    one = builder.step("one", "atom", (Term(Constant(1, 0, 1, 1.0), 0, ()),))
    combined = Products((target, 1, moments.levels[0].size), moments.basic)
    return builder.step("moments0", "atom", (Term(combined, 2, (mixed.name, one.name)),))


def _weights(builder: ProgramBuilder, file: MtpFile) -> Value:
    """scaling radial_coeffs[i, j, mu, b] in the order [i, mu, j, b]."""
    species, _, functions, size = file.radial_coeffs.shape
    total = file.radial_coeffs.size
    coefficients = builder.input("radial_coeffs", "param", total)
    scaling = builder.input("scaling", "param", 1)
    strides = (species * functions * size, functions * size, size, 1)
    views = (
        View("ijmb", 0, file.radial_coeffs.shape, strides),
        View("", 0, (), ()),
        View("imjb", 0, (species, functions, species, size), (strides[0], species * size, size, 1)),
    )
    return builder.step(
        "weights", "param", (Term(Fold((total, 1, total), views), 2, (coefficients.name, scaling.name)),)
    )


def _linear_form(builder: ProgramBuilder, file: MtpFile, moments: Moments, values: Sequence[Value]) -> Value:
    """The energy: moments times their coefficients, which are brought into the order of the moments."""
    n = len(file.moment_coeffs)
    given = builder.input("moment_coeffs", "param", n)
    once = ((1, 0, 0), (1, 0, 0))
    blocks = tuple(CopyBlock((number, at), (1, 1, 1), once) for at, (_, _, number) in enumerate(moments.energy))
    order = builder.step("coefficients", "param", (Term(Copy((n, n), blocks), 1, (given.name,)),))
    mixes: dict[int, list[MixBlock]] = {}
    for level, component, at, count in runs(moments.energy):
        mixes.setdefault(level, []).append(MixBlock(at, n, 1, count, 1, component, 0))
    terms = [
        Term(Mix((n, values[level].size, 1), tuple(of_level)), 2, (order.name, values[level].name))
        for level, of_level in mixes.items()
    ]
    return builder.step("energy", "atom", terms)
