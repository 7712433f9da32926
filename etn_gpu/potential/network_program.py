"""The energy Program of a network: from edge vectors to the site vector, through layers of messages, to the output."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from etn_gpu.plan import ContractionPlan, Program, ProgramBuilder, Term, lower_network
from etn_gpu.plan.operations import Constant, Copy, CopyBlock, EdgeSum, EdgeSumBlock, Fold, Mix, MixBlock, View
from etn_gpu.plan.program import Value
from etn_gpu.potential.architecture import Architecture
from etn_gpu.potential.edge_steps import functions
from etn_gpu.potential.message_steps import SITE, Messages


def energy_program(architecture: Architecture, plan: ContractionPlan) -> Program:
    """Atomic energies beyond the references ``e`` [atom, 1], or the covariant output ``e`` [atom, 2l+1]."""
    builder = ProgramBuilder()
    x = builder.input("x", "edge", 3)
    for name, shape in architecture.network_shapes.items():
        builder.input(name, "param", prod(shape))
    one = builder.step("one", "atom", (Term(Constant(1, 0, 1, 1.0), 0, ()),))
    site = _site_vector(builder, architecture, x, one)
    messages = Messages(builder, architecture, x)
    for number in range(1, len(architecture.layers) + 1):
        site = messages.layer(number, site)
    train = architecture.train
    sites = {f"v{t + 1}": site.name for t in range(train.order)}
    result = lower_network(builder, train.expression, plan, sites, {c.name: c.name for c in train.cores})
    return builder.build({"e": messages.with_readouts(result).name})


def _site_vector(builder: ProgramBuilder, architecture: Architecture, x: Value, one: Value) -> Value:
    """Steps from the edge vectors to the site vector."""
    f, y = functions(builder, x, architecture.radial, architecture.lmax)
    channels = architecture.channels
    n_species, n_radial = architecture.n_species, architecture.n_radial
    degrees = list(architecture.degrees)
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
    return builder.step(SITE if not architecture.layers else "v0", "atom", terms)


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
