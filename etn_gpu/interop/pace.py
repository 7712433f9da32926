"""PACE potentials (.yace): the atomic cluster expansion as a Program, with exact radial functions.

    E_i = E0 + f(rho_core) sum_p w_p F_p(rho_p) + rho_core,    rho_p = sum of c_p Re(A_1 A_2 ... A_rank)

R. Drautz, Phys. Rev. B 99, 014104 (2019); Y. Lysogorskiy et al., npj Comput. Mater. 7, 97 (2021). Neighbours are summed
with the functions g_k, shared by all n and l: R_nl = sum_k c_nlk g_k is formed after the sum.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from etn_gpu.errors import ModelFileError
from etn_gpu.interop.pace_basis import complex_basis
from etn_gpu.interop.pace_energy import Embeddings, core_ramp, core_switch
from etn_gpu.interop.pace_file import PaceFile, read_pace_file
from etn_gpu.interop.pace_radial import RadialPart, radial_part
from etn_gpu.interop.pace_write import pace_text
from etn_gpu.interop.translation import Translation
from etn_gpu.plan import Program, ProgramBuilder, Term
from etn_gpu.plan.operations import (
    Constant,
    Copy,
    CopyBlock,
    EdgeSum,
    EdgeSumBlock,
    Mix,
    MixBlock,
    Nearest,
    PairTable,
    Products,
)
from etn_gpu.plan.polynomial_steps import Monomials, product_steps
from etn_gpu.plan.polynomials import share_products
from etn_gpu.plan.program import Value, identity
from etn_gpu.potential.edge_steps import directions, harmonics, vectors
from etn_gpu.potential.formulation import Formulation

Array = NDArray[np.float64]


def read_pace(path: str | Path, species: Sequence[str] | None = None) -> Translation:
    """The potential of a `.yace` file; ``species``, if given, must be those that the file names, in any order.

    Raises:
        ModelFileError: the file cannot be read, is no PACE potential, or says what is not done here.
    """
    file = read_pace_file(path)
    if species is not None and sorted(species) != sorted(file.elements):
        raise ModelFileError(f"{path} is for the species {list(file.elements)}, but {list(species)} were given")
    return translate(file, str(path))


def translate(file: PaceFile, name: str) -> Translation:
    """The Program of a file and its numbers; ``name`` it has in errors."""
    if file.bonds[0][0].inner_kind != "zbl":
        _check_core(file, name)
    build = _Build(file)
    form = Formulation("PACE", file.elements, max(b.cutoff for r in file.bonds for b in r), build.program)
    functions = [len(f) for f in file.functions]
    metadata = {"functions": functions, "spline_step": file.spline_step, "yace": pace_text(file)}
    return Translation(form, build.parameters, np.array(file.references), metadata)


def _check_core(file: PaceFile, name: str) -> None:
    """Refuse a switch by the density of cores that would jump, or be on where there is none."""
    for e, row in zip(file.embeddings, file.bonds, strict=True):
        if e.core_width <= 0 and any(b.core_prefactor for b in row):
            raise ModelFileError(f"{name}: the energy would jump at rho_core_cutoff: drho_core_cutoff must be above 0")
        if e.core_cutoff < e.core_width:
            raise ModelFileError(
                f"{name}: rho_core_cutoff - drho_core_cutoff is {e.core_cutoff - e.core_width:g}, below 0: the energy "
                f"of atoms far from others would be switched off"
            )


class _Build:
    """The Program of a file, and the arrays that it takes."""

    def __init__(self, file: PaceFile) -> None:
        self.file, self.n = file, len(file.elements)
        self.builder = ProgramBuilder()
        self.parameters: dict[str, Array] = {}
        self.embeddings = Embeddings(file.embeddings)
        self.basis = complex_basis(file.functions, self.embeddings.n_densities)
        self.n_base = max(b.n_base for row in file.bonds for b in row)
        self.radial: RadialPart = radial_part(file.bonds, self.n_base, file.elements)
        summed, starts = self._sum()
        rho = self._densities(summed, starts)
        energy = self._embed(rho)
        if self.radial.marked:
            energy = self._with_zbl(energy, summed)
        elif self.radial.core:
            energy = self._with_core(energy, summed)
        self.program: Program = self.builder.build({"e": energy.name})

    @property
    def _width(self) -> int:
        """Sums of l = 0 for each species of neighbours: g_k, the core, and whether the nearest is close."""
        return self.radial.size

    def _input(self, name: str, numbers: Array) -> Value:
        self.parameters[name] = np.ascontiguousarray(numbers, np.float64).ravel()
        return self.builder.input(name, "param", self.parameters[name].size)

    def _sum(self) -> tuple[Value, dict[int, int]]:
        """S[l][species, k, m], and where each l begins."""
        builder, radial = self.builder, self.radial
        x, s = vectors(builder, builder.input("x", "edge", 3))
        lmax = max(self.basis.radial, default=0)
        y = harmonics(builder, lmax, directions(builder, x, s))
        operands = [s.name]
        if radial.operation.parameters:
            table = self._input("pairs", radial.pairs)
            numbers = PairTable(radial.operation.parameters, self.n)
            operands.append(builder.step("pair_numbers", "edge", (Term(numbers, 1, (table.name,)),)).name)
        g = builder.step("radial", "edge", (Term(radial.operation, len(operands), tuple(operands)),))
        if radial.marked:
            g = self._of_nearest(g)
        starts, blocks, at = {}, [], 0
        for l in sorted({0, *self.basis.radial}):
            count = self._width if l == 0 else self.n_base
            starts[l] = at
            blocks.append(EdgeSumBlock(0, count, l * l, 2 * l + 1, at))
            at += self.n * count * (2 * l + 1)
        edge_sum = EdgeSum((g.size, y.size, at), tuple(blocks), self.n)
        return builder.step("S", "atom", (Term(edge_sum, 2, (g.name, y.name)),)), starts

    def _of_nearest(self, g: Value) -> Value:
        """The last of the radial functions for the nearest neighbour alone, measured from where it has no part."""
        starts = np.array([[b.inner_cutoff - b.inner_width for b in row] for row in self.file.bonds])
        cutoffs = np.array([[b.cutoff for b in row] for row in self.file.bonds])
        table = self._input("inner", np.stack([starts, cutoffs]))
        mark = self.builder.step("nearest", "edge", (Term(Nearest(self.n), 2, ("x", table.name)),))
        last = g.size - 1
        keep = Copy((g.size, g.size), (CopyBlock((0, 0), (last, 1, 1), ((1, 0, 0), (1, 0, 0))),))
        times = Products((g.size, 1, g.size), ((last, 0, last, 1.0),))
        return self.builder.step("marked", "edge", (Term(keep, 1, (g.name,)), Term(times, 2, (g.name, mark.name))))

    def _densities(self, summed: Value, starts: dict[int, int]) -> Value:
        """rho_p, from sums of g_k directly and from monomials."""
        first, linear = self._rank_one()
        products = self._monomials(summed, starts) if self.basis.monomials else None
        parts = [linear.reshape(self.n, -1)]
        if products is not None:
            parts.append(products.weights(self.basis.coefficients))
        weights = self._input("coefficients", np.concatenate(parts, axis=1))
        stride, outputs = weights.size // self.n, self.embeddings.n_densities
        block = MixBlock(0, first, outputs, first, 1, 0, 0)
        terms = [Term(Mix((weights.size, summed.size, outputs), (block,), stride), 2, (weights.name, summed.name))]
        if products is not None:
            terms += products.linear_forms(outputs, weights, outputs * first, stride)
        return self.builder.step("rho", "atom", terms)

    def _rank_one(self) -> tuple[int, Array]:
        """How many sums of l = 0 there are, and the weights [species, densities, sums] of functions of rank 1."""
        weights = np.zeros((self.n, self.embeddings.n_densities, self.n, self._width))
        for species, functions in enumerate(self.file.functions):
            for f in functions:
                if len(f.ns) == 1:
                    (c,) = f.coefficients
                    weights[species, : len(c), f.species[0], f.ns[0] - 1] += c
        return self.n * self._width, weights

    def _monomials(self, summed: Value, starts: dict[int, int]) -> Monomials:
        basis = self.basis
        site, places = self._site(summed, starts)
        found = []
        for mu, n, l, m in basis.variables:
            centre = places[mu, n, l] + l
            found.append((site, centre + m, centre - m if m else None))
        return product_steps(self.builder, share_products(basis.monomials, basis.real), found)

    def _site(self, summed: Value, starts: dict[int, int]) -> tuple[Value, dict[tuple[int, int, int], int]]:
        """The real and imaginary parts z of all A, and where those of species, n and l begin."""
        basis, blocks = self.basis, []
        places: dict[tuple[int, int, int], int] = {}
        at = weight = 0
        parts: list[Array] = []
        for mu in range(self.n):
            for l, ns in basis.radial.items():
                dim, count = 2 * l + 1, self._width if l == 0 else self.n_base
                blocks.append(
                    MixBlock(weight, self.n_base, len(ns), self.n_base, dim, starts[l] + mu * count * dim, at)
                )
                parts.append(self._radial_weights(mu, l, ns))
                weight += len(ns) * self.n_base
                for n in ns:
                    places[mu, n, l] = at
                    at += dim
        weights = self._input("radial_weights", np.concatenate(parts, axis=1))
        mix = Mix((weights.size, summed.size, at), tuple(blocks), weight)
        return self.builder.step("A", "atom", (Term(mix, 2, (weights.name, summed.name)),)), places

    def _radial_weights(self, mu: int, l: int, ns: Sequence[int]) -> Array:
        """sqrt(2l + 1) c_nlk for neighbours of species ``mu``, [species of the centre, n and k]."""
        weights = np.zeros((self.n, len(ns), self.n_base))
        for species, row in enumerate(self.file.bonds):
            bond = row[mu]
            for at, n in enumerate(ns):
                if n < bond.n_radial and l <= bond.lmax:
                    weights[species, at, : bond.n_base] = (2 * l + 1) ** 0.5 * np.array(bond.coefficients[n][l])
        return weights.reshape(self.n, -1)

    def _embed(self, rho: Value) -> Value:
        embeddings, builder = self.embeddings, self.builder
        f = builder.step("embedded", "atom", (Term(embeddings.operation, 1, (rho.name,)),))
        weights = self._input("embedding", embeddings.weights)
        return self._mixed("e_densities", weights, f, 0, f.size, f.size)

    def _mixed(self, hint: str, weights: Value, x: Value, source: int, cols: int, stride: int, first: int = 0) -> Value:
        """One linear form of components of atoms, its weights by species."""
        return self.builder.step(hint, "atom", (self._form(weights, x, source, cols, stride, first),))

    def _form(self, weights: Value, x: Value, source: int, cols: int, stride: int, first: int) -> Term:
        mix = Mix((weights.size, x.size, 1), (MixBlock(first, cols, 1, cols, 1, source, 0),), stride)
        return Term(mix, 2, (weights.name, x.name))

    def _with_zbl(self, energy: Value, summed: Value) -> Value:
        """The energy, or the repulsion of the cores in its place where the nearest neighbour is close."""
        cols = self.n * self._width
        table = np.zeros((2, cols))
        table[0, self.n_base :: self._width] = table[1, self.n_base + 1 :: self._width] = 1.0
        weights = self._input("core", table)
        core = self._mixed("core_sum", weights, summed, 0, cols, 0)
        close = self._mixed("close", weights, summed, 0, cols, 0, cols)
        times = Products((1, 1, 1), ((0, 0, 0, 1.0),))
        terms = (Term(times, 2, (core.name, close.name)), Term(times, 2, (energy.name, close.name), -1.0))
        return self.builder.step("e", "atom", (*terms, identity(energy, energy.name)))

    def _with_core(self, energy: Value, summed: Value) -> Value:
        """The energy switched off where cores come close, and their repulsion."""
        builder, cols = self.builder, self.n * self._width
        one = builder.step("one", "atom", (Term(Constant(1, 0, 1, 1.0), 0, ()),))
        # For each species: the sum of the repulsions, the variable of the switch, its offset.
        table = np.zeros((self.n, 2 * cols + 1))
        for species, e in enumerate(self.file.embeddings):
            factor, offset = core_ramp(e)
            table[species, self.n_base : cols : self._width] = 1.0
            table[species, cols + self.n_base : 2 * cols : self._width] = factor
            table[species, -1] = offset
        weights = self._input("core", table)
        stride = table.shape[1]
        core = self._mixed("core_sum", weights, summed, 0, cols, stride)
        forms = (self._form(weights, summed, 0, cols, stride, cols), self._form(weights, one, 0, 1, stride, 2 * cols))
        u = builder.step("core_ramp", "atom", forms)
        switch = builder.step("core_switch", "atom", (Term(core_switch(), 1, (u.name,)),))
        times = Products((1, 1, 1), ((0, 0, 0, 1.0),))
        return builder.step("e", "atom", (Term(times, 2, (energy.name, switch.name)), identity(core, core.name)))
