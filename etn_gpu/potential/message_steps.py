"""Steps of layers of message passing in the Program of a network: see :mod:`etn_gpu.network.messages`."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod

from etn_gpu.network import MessageLayer, MessagePath
from etn_gpu.plan import ProgramBuilder, Term, lower_network, plan_contraction
from etn_gpu.plan.operations import (
    Copy,
    CopyBlock,
    Couple,
    CoupleBlock,
    EdgeSum,
    EdgeSumBlock,
    Fold,
    Gather,
    Mix,
    MixBlock,
    View,
)
from etn_gpu.plan.program import Value, identity
from etn_gpu.potential.architecture import Architecture
from etn_gpu.potential.edge_steps import functions
from etn_gpu.symmetry import Irreps

#: Name of the site vector on which the last train acts.
SITE = "v"


@dataclass
class Messages:
    """Adds the layers of an architecture to a Program with the edge vectors ``x``, one after the other.

    What a layer computes from the vectors is its own: between passes, gradients in three numbers of an edge are kept.
    """

    builder: ProgramBuilder
    architecture: Architecture
    x: Value
    _hidden: list[Value] = field(default_factory=list)

    def layer(self, number: int, site: Value) -> Value:
        """The site vector after layer ``number`` (from 1), from the one before."""
        layer, head = self.architecture.layers[number - 1], self.architecture.heads[number - 1]
        plan = plan_contraction(head.expression)
        sites = {f"v{t + 1}": site.name for t in range(head.order)}
        hidden = lower_network(self.builder, head.expression, plan, sites, {c.name: c.name for c in head.cores})
        self._hidden.append(hidden)
        gather = Gather(hidden.size)
        of_neighbour = self.builder.step(f"{hidden.name}:neighbour", "edge", (Term(gather, 1, (hidden.name,)),))
        scores = self._scores(number, layer, hidden, of_neighbour) if layer.attention else None
        radial = replace(self.architecture.radial, count=layer.n_radial)
        f, y = functions(self.builder, self.x, radial, layer.lmax, apart=True)
        messages = self._messages(layer, y, of_neighbour, scores)
        summed, at = self._sum(number, layer, f, messages)
        return self._mixed(number, layer, site, summed, at)

    def with_readouts(self, result: Value) -> Value:
        """The output with what layers add to it."""
        terms = [identity(result, result.name)]
        for number, (layer, hidden) in enumerate(zip(self.architecture.layers, self._hidden, strict=True), 1):
            if (sector := layer.readout_sector(Irreps(self.architecture.target))) is not None:
                mix = MixBlock(0, sector.mul, 1, sector.mul, sector.dim, sector.offset, 0)
                operation = Mix((sector.mul, hidden.size, result.size), (mix,))
                terms.append(Term(operation, 2, (f"P{number}", hidden.name)))
        return result if len(terms) == 1 else self.builder.step("output", "atom", terms)

    def _scores(self, number: int, layer: MessageLayer, hidden: Value, of_neighbour: Value) -> Value:
        """s_a on the edges: invariants of what both atoms have."""
        size, blocks = layer.attention * hidden.size, []
        for place in layer.queries:
            s, target = place.hidden, (place.head - 1) * hidden.size + place.hidden.offset
            blocks.append(MixBlock(place.at.start, s.mul, s.mul, s.mul, s.dim, s.offset, target))
        mix = Mix((layer.query_size, hidden.size, size), tuple(blocks))
        queries = self.builder.step(f"query{number}", "atom", (Term(mix, 2, (f"Q{number}", hidden.name)),))
        product = EdgeSumBlock(0, layer.attention, 0, hidden.size, 0)
        scores = EdgeSum((layer.attention, hidden.size, size), (product,), 1, merged=True)
        term = Term(scores, 0, (of_neighbour.name, queries.name), float(hidden.size) ** -0.5)
        return self.builder.step(f"scores{number}", "edge", (term,))

    def _messages(self, layer: MessageLayer, y: Value, of_neighbour: Value, scores: Value | None) -> Value:
        """(Y x h_j) on the edges, for each degree [channels, 2l+1]: without attention, then times each score."""
        paths = layer.paths(self.architecture.degrees)
        size = sum((2 * l + 1) * sum(p.hidden.mul for p in of) for l, of in paths.items())
        plain = self.builder.step("message", "edge", (self._coupling(paths, size, y, of_neighbour),))
        if scores is None:
            return plain
        total = size * (1 + layer.attention)
        start, target, copies, products = 0, 0, [], []
        for l, of in paths.items():
            width = (2 * l + 1) * sum(p.hidden.mul for p in of)
            copies.append(CopyBlock((start, target), (width, 1, 1), ((1, 0, 0), (1, 0, 0))))
            products.append(
                CoupleBlock(
                    (0, 0, 0),
                    (start, 0, target + width),
                    (layer.attention, width, 1),
                    ((0, 1, 0), (1, 0, 0), (width, 1, 0)),
                )
            )
            start, target = start + width, target + width * (1 + layer.attention)
        terms = (
            Term(Copy((size, total), tuple(copies)), 1, (plain.name,)),
            Term(Couple((size, scores.size, total), tuple(products)), 2, (plain.name, scores.name)),
        )
        return self.builder.step("attended", "edge", terms)

    def _coupling(self, paths: dict[int, tuple[MessagePath, ...]], size: int, y: Value, of_neighbour: Value) -> Term:
        blocks, start = [], 0
        for of in paths.values():
            for p in of:
                strides = ((0, 0, 0), (0, 1, 0), (0, 1, 0))
                ls, offsets = (p.l1, p.hidden.l, p.l), (p.l1**2, p.hidden.offset, start)
                blocks.append(CoupleBlock(ls, offsets, (1, p.hidden.mul, 1), strides))
                start += p.hidden.mul * (2 * p.l + 1)
        return Term(Couple((y.size, of_neighbour.size, size), tuple(blocks)), 2, (y.name, of_neighbour.name))

    def _sum(self, number: int, layer: MessageLayer, radial: Value, messages: Value) -> tuple[Value, dict[int, int]]:
        """The messages summed over the edges, for each degree [radial functions, channels, 2l+1], and where it is."""
        blocks, at, angular, start = [], {}, 0, 0
        for l, n in layer.channels(self.architecture.degrees).items():
            width = n * (2 * l + 1)
            blocks.append(EdgeSumBlock(0, layer.n_radial, angular, width, start))
            at[l] = start
            angular, start = angular + width, start + layer.n_radial * width
        operation = EdgeSum((radial.size, messages.size, start), tuple(blocks), 1, merged=True)
        term = Term(operation, 2, (radial.name, messages.name))
        return self.builder.step(f"m{number}", "atom", (term,)), at

    def _mixed(self, number: int, layer: MessageLayer, site: Value, summed: Value, at: dict[int, int]) -> Value:
        """The site vector with the messages mixed to its channels."""
        architecture, channels = self.architecture, layer.channels(self.architecture.degrees)
        weights, offsets, stride = self._weights(number, layer, channels)
        blocks, target = [], 1
        for l, n in enumerate(architecture.channels):
            if n and l in channels:
                cols = layer.n_radial * channels[l]
                blocks.append(MixBlock(offsets[l], cols, n, cols, 2 * l + 1, at[l], target))
            target += n * (2 * l + 1)
        mix = Mix((weights.size, summed.size, site.size), tuple(blocks), stride)
        last = number == len(architecture.layers)
        terms = (identity(site, site.name), Term(mix, 2, (weights.name, summed.name)))
        return self.builder.step(SITE if last else f"v{number}", "atom", terms)

    def _weights(self, number: int, layer: MessageLayer, channels: dict[int, int]) -> tuple[Value, dict[int, int], int]:
        """M[z_i][l, n, b, c] = sum_t M_l[n, b, c, t] W[t, z_i]: value, offset of each l, stride of z_i."""
        a = self.architecture
        offsets, stride = {}, 0
        for l, c in channels.items():
            offsets[l] = stride
            stride += a.channels[l] * layer.n_radial * c
        size, terms = stride * a.n_species, []
        for l, c in channels.items():
            shape = (a.channels[l], layer.n_radial, c, a.centre_rank)
            core = View("nbct", 0, shape, _row_major(shape))
            centre = View("tz", 0, (a.centre_rank, a.n_species), (a.n_species, 1))
            out = View("znbc", offsets[l], (a.n_species, *shape[:3]), (stride, *_row_major(shape[:3])))
            sizes = (prod(shape), a.centre_rank * a.n_species, size)
            terms.append(Term(Fold(sizes, (core, centre, out)), 2, (f"M{number}_{l}", "W")))
        return self.builder.step(f"M{number}", "param", terms), offsets, stride


def _row_major(shape: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(prod(shape[axis + 1 :]) for axis in range(len(shape)))
