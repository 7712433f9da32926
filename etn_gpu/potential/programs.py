"""The Programs of a potential, derived from one energy Program by jvp and vjp; the energy Program of a network.

Inputs: ``x`` the edge vectors in A, components (x, y, z); the parameters of the network under their names. Derived
Programs add ``dx``, a tangent of the edge vectors, and cotangents of the outputs. Reference energies are no part of
them: see :mod:`etn_gpu.potential.references`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

from etn_gpu.plan import (
    ContractionPlan,
    Program,
    ProgramBuilder,
    Term,
    jvp,
    lower_network,
    plan_contraction,
    prune,
    vjp,
)
from etn_gpu.plan.operations import (
    Constant,
    Copy,
    CopyBlock,
    EdgeSum,
    EdgeSumBlock,
    Fold,
    Mix,
    MixBlock,
    View,
)
from etn_gpu.plan.program import Value
from etn_gpu.potential.architecture import Architecture
from etn_gpu.potential.edge_steps import directions, harmonics, vectors
from etn_gpu.potential.formulation import Form


@dataclass(frozen=True)
class Programs:
    """All Programs of one potential; made lazily and once."""

    form: Form

    @cached_property
    def plan(self) -> ContractionPlan | None:
        """The contraction of the train of a network, planned by opt_einsum."""
        return plan_contraction(self.form.train.expression) if isinstance(self.form, Architecture) else None

    @cached_property
    def energy(self) -> Program:
        """Atomic energies beyond the references ``e`` [atom, 1], or the covariant output ``e`` [atom, 2l+1]."""
        if not isinstance(self.form, Architecture):
            return self.form.energy
        assert self.plan is not None
        return _energy_program(self.form, self.plan)

    @cached_property
    def gradient(self) -> Program:
        """``e`` and ``g`` [edge, 3] = sum over atoms of ``e_bar`` de/dx."""
        return vjp(self.energy, {"e": "e_bar"}, {"x": "g"})

    @cached_property
    def directional(self) -> Program:
        """``e`` and ``d_e``: the derivative of each atomic energy along ``dx``."""
        return jvp(self.energy, {"x": "dx"})

    @cached_property
    def parameter_gradient(self) -> Program:
        """Gradient of ``sum e_bar . e + de_bar . (de/dx dx)`` with respect to each parameter p, as output ``p_bar``.

        With dx the cotangent of the edge gradients this is the gradient of any loss of energies, forces and stresses
        (the derivative of E along dx is linear in dx, and d/dx commutes with d/dp); with dx a displacement it is a row
        of the Jacobian of a force.
        """
        names = {p: f"{p}_bar" for p in self.form.network_shapes}
        program = vjp(self.directional, {"e": "e_bar", "d_e": "de_bar"}, names, keep=False)
        return prune(program, tuple(names.values()))

    @cached_property
    def energy_parameter_gradient(self) -> Program:
        """Gradient of ``sum e_bar . e`` with respect to each parameter p, as output ``p_bar``."""
        names = {p: f"{p}_bar" for p in self.form.network_shapes}
        return vjp(self.energy, {"e": "e_bar"}, names, keep=False)

    @cached_property
    def hessian_vector(self) -> Program:
        """``d_g`` [edge, 3]: the derivative of the edge gradients along ``dx``."""
        return prune(jvp(self.gradient, {"x": "dx"}), ("d_g",))


@lru_cache(maxsize=32)
def programs(form: Form) -> Programs:
    """The Programs of a potential of this form."""
    return Programs(form)


def _energy_program(architecture: Architecture, plan: ContractionPlan) -> Program:
    builder = ProgramBuilder()
    x = builder.input("x", "edge", 3)
    sizes = {}
    for name, shape in architecture.network_shapes.items():
        size = 1
        for n in shape:
            size *= n
        sizes[name] = builder.input(name, "param", size)
    one = builder.step("one", "atom", (Term(Constant(1, 0, 1, 1.0), 0, ()),))
    site = _site_vector(builder, architecture, x, one)
    train = architecture.train
    sites = {f"v{t + 1}": site.name for t in range(train.order)}
    result = lower_network(builder, train.expression, plan, sites, {c.name: c.name for c in train.cores})
    return builder.build({"e": result.name})


def _site_vector(builder: ProgramBuilder, architecture: Architecture, x: Value, one: Value) -> Value:
    """Steps from the edge vectors to the site vector."""
    x, s = vectors(builder, x)
    radial, channels = architecture.radial, architecture.channels
    n_species, n_radial = architecture.n_species, architecture.n_radial
    f = builder.step("radial", "edge", (Term(radial, 1, (s.name,)),))
    y = harmonics(builder, architecture.lmax, directions(builder, x, s))

    degrees = [l for l, n in enumerate(channels) if n]
    sum_blocks, start, at = [], 0, {}
    for l in degrees:
        sum_blocks.append(EdgeSumBlock(0, n_radial, l * l, 2 * l + 1, start))
        at[l] = start
        start += n_species * n_radial * (2 * l + 1)
    edge_sum = EdgeSum((f.size, y.size, start), tuple(sum_blocks), n_species)
    basis = builder.step("S", "atom", (Term(edge_sum, 2, (f.name, y.name)),))

    components = n_species
    if architecture.neighbour_rank < n_species:
        basis, at = _embed(builder, architecture, basis, sum_blocks)
        components = architecture.neighbour_rank
    weights, offsets, stride = _radial_weights(builder, architecture, degrees, embedded=components < n_species)
    feature, mix_blocks = architecture.feature, []
    target = 1
    cols = components * n_radial
    for l in range(architecture.lmax + 1):
        if channels[l]:
            mix_blocks.append(MixBlock(offsets[l], cols, channels[l], cols, 2 * l + 1, at[l], target))
        target += channels[l] * (2 * l + 1)
    mix = Mix((weights.size, basis.size, feature.dim), tuple(mix_blocks), stride)
    terms = [Term(Constant(feature.dim, 0, 1, 1.0), 0, ()), Term(mix, 2, (weights.name, basis.name))]
    if channels[0]:
        n0 = channels[0]
        shift = builder.step("A:species", "param", (_transpose("A", n0, n_species),))
        constant = Mix((shift.size, 1, feature.dim), (MixBlock(0, 1, n0, 1, 1, 0, 1),), n0)
        terms.append(Term(constant, 2, (shift.name, one.name)))
    return builder.step("v", "atom", terms)


def _transpose(name: str, rows: int, cols: int) -> Term:
    block = CopyBlock((0, 0), (rows, cols, 1), ((cols, 1, 0), (1, rows, 0)))
    return Term(Copy((rows * cols, rows * cols), (block,)), 1, (name,))


def _embed(
    builder: ProgramBuilder, architecture: Architecture, basis: Value, blocks: Sequence[EdgeSumBlock]
) -> tuple[Value, dict[int, int]]:
    """Sums with the species of the neighbour embedded, T[s, b, m] = sum_c U[s, c] S[c, b, m], and where each l begins.

    With fewer components than species everything after this step is as cheap as for that many species.
    """
    species, rank = architecture.n_species, architecture.neighbour_rank
    mixes, at, start = [], {}, 0
    for b in blocks:
        at[(b.dim - 1) // 2] = start
        mixes.append(MixBlock(0, species, rank, species, b.count * b.dim, b.target, start))
        start += rank * b.count * b.dim
    mix = Mix((rank * species, basis.size, start), tuple(mixes))
    return builder.step("T", "atom", (Term(mix, 2, ("U", basis.name)),)), at


def _radial_weights(
    builder: ProgramBuilder, architecture: Architecture, degrees: list[int], embedded: bool
) -> tuple[Value, dict[int, int], int]:
    """R[z_i][l, n, c, b] = sum_{s,t} B_l[n, b, s, t] U[s, c] W[t, z_i]: value, offset of each l, stride of z_i.

    ``embedded``: U has been applied already, so that R[z_i][l, n, s, b] = sum_t B_l[n, b, s, t] W[t, z_i].
    """
    species, radial = architecture.n_species, architecture.n_radial
    ns, nt = architecture.neighbour_rank, architecture.centre_rank
    components = ns if embedded else species
    offsets, stride = {}, 0
    for l in degrees:
        offsets[l] = stride
        stride += architecture.channels[l] * components * radial
    size = stride * species
    terms = []
    for l in degrees:
        n = architecture.channels[l]
        core = View("nbst", 0, (n, radial, ns, nt), (radial * ns * nt, ns * nt, nt, 1))
        neighbour = View("sc", 0, (ns, species), (species, 1))
        centre = View("tz", 0, (nt, species), (species, 1))
        out = View(
            "znsb" if embedded else "zncb",
            offsets[l],
            (species, n, components, radial),
            (stride, components * radial, radial, 1),
        )
        views = (core, centre, out) if embedded else (core, neighbour, centre, out)
        names = (f"B{l}", "W") if embedded else (f"B{l}", "U", "W")
        sizes = (n * radial * ns * nt, *(() if embedded else (ns * species,)), nt * species, size)
        terms.append(Term(Fold(sizes, views), len(names), names))
    return builder.step("R", "param", terms), offsets, stride
