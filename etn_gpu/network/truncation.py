r"""Truncation of bonds by singular value decomposition, with its exact error.

With the centre at one end of a bond the singular values of that one node are those of the full tensor across the bond,
so that dropping some changes the full tensor T by exactly their weight, |T - T'|^2 = sum of (2l+1) s^2, and no tensor
with the same sectors of that bond is closer to T.

Several bonds are truncated one after the other, from the leaves inwards (Oseledets, SIAM J. Sci. Comput. 33, 2295;
Grasedyck, SIAM J. Matrix Anal. Appl. 31, 2029). Each truncation projects what lies behind a bond, the later projections
are nested into the earlier ones or act elsewhere, so the changes are orthogonal and the weights add up to the exact
squared error of the whole. It is at most the number of bonds times the least possible one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from etn_gpu import tensor as tn
from etn_gpu.errors import NetworkError
from etn_gpu.network.canonical import as_map, canonicalise, lay_out, pass_on, require_bond
from etn_gpu.network.ranks import cut_dead_sectors
from etn_gpu.network.tree import Step, TensorTree
from etn_gpu.symmetry import Irreps
from etn_gpu.tensor import Spectrum, Tensor

#: Largest bond: the total multiplicity, or one per irrep such as "8x0e+4x1o"; None for no limit.
BondLimit = int | Irreps | str | None


class Truncation(NamedTuple):
    """A network after one truncation, the singular values kept, and the squared error |T - T'|^2 of the full tensor."""

    network: TensorTree
    spectrum: Spectrum
    discarded_weight: float


@dataclass(frozen=True)
class Compression:
    """A network after the truncation of all its bonds, and the weight discarded at each of them."""

    network: TensorTree
    discarded_weights: Mapping[str, float]

    @property
    def discarded_weight(self) -> float:
        """The exact squared error |T - T'|^2 of the full tensor."""
        return sum(self.discarded_weights.values())

    @property
    def relative_error(self) -> float:
        """|T - T'| / |T|; 0 for a network that is zero."""
        centre = self.network.nodes[str(self.network.centre)]
        # T' is a projection of T, hence |T|^2 = |T'|^2 + |T - T'|^2.
        squared = centre.squared_norm() + self.discarded_weight
        return float(np.sqrt(self.discarded_weight / squared)) if squared > 0 else 0.0


def spectrum(network: TensorTree, bond: str) -> Spectrum:
    """Singular values of the full tensor across a bond, descending in every sector, each standing for 2l+1 of them."""
    start, _ = network.ends(bond)
    return tn.svd(as_map(canonicalise(network, start).nodes[start], bond)).s


def truncate(network: TensorTree, bond: str, *, max_bond: BondLimit = None, cutoff: float = 0.0) -> Truncation:
    """The best approximation of the network with a smaller bond; see :func:`~etn_gpu.tensor.truncated_svd`.

    The centre of the result is at an end of the bond; if it was at one before, it is at the other end then.

    Raises :class:`~etn_gpu.errors.NetworkError` for an unknown bond or if nothing is left of it, and
    :class:`~etn_gpu.errors.TensorError` for limits that cannot be read.
    """
    first, second = network.ends(bond)
    step = Step(second, bond, first) if network.centre == second else Step(first, bond, second)
    return _truncate_step(canonicalise(network, step.node), step, max_bond, cutoff)


def compress(
    network: TensorTree,
    centre: str,
    *,
    max_bond: BondLimit | Mapping[str, BondLimit] = None,
    cutoff: float = 0.0,
) -> Compression:
    """Truncate all bonds, from the leaves towards `centre`, which is the centre of the result.

    Parameters: `max_bond`, one limit for every bond or a mapping from bonds to limits (bonds that are not in it keep
    their size); `cutoff`, relative to the largest singular value of each bond. Sectors that lead nowhere, once others
    are gone, are dropped.

    Raises :class:`~etn_gpu.errors.NetworkError` for an unknown node or bond or if nothing is left of a bond, and
    :class:`~etn_gpu.errors.TensorError` for limits that cannot be read.
    """
    limits = _limits(network, max_bond)
    discarded: dict[str, float] = {}
    for step in network.towards(centre):
        network = canonicalise(network, step.node)
        network, _, discarded[step.bond] = _truncate_step(network, step, limits[step.bond], cutoff)
    return Compression(cut_dead_sectors(canonicalise(network, centre)), discarded)


def merge(network: TensorTree, bond: str) -> Tensor:
    """The two-site tensor of the nodes at the ends of a bond: rows the other legs of the first, columns of the second.

    Raises :class:`~etn_gpu.errors.NetworkError` for an unknown bond.
    """
    first, second = (network.nodes[end] for end in network.ends(bond))
    return tn.contract(first, second, [(bond, bond)])


def split(
    network: TensorTree,
    bond: str,
    pair: Tensor,
    *,
    centre: str,
    max_bond: BondLimit = None,
    cutoff: float = 0.0,
) -> Truncation:
    """The network with `pair` in place of the two nodes at the ends of `bond`, split by a truncated decomposition.

    `pair` has the legs of :func:`merge`, in any order, with any numbers: in a sweep, the result of an optimisation.
    The node `centre`, one of the two, takes the singular values and is the centre of the result. The centre of
    `network` has to be one of the two as well: all others are isometric then, and the discarded weight is the exact
    squared error of the full tensor.

    Raises :class:`~etn_gpu.errors.NetworkError` for an unknown bond, if a centre is not at an end of the bond, or if
    nothing is left of the bond; :class:`~etn_gpu.errors.TensorError` if `pair` does not have those legs.
    """
    ends = network.ends(bond)
    if network.centre not in ends or centre not in ends:
        raise NetworkError(
            f"splitting the bond {bond!r} needs the centre at {ends[0]} or {ends[1]}, before and after; got "
            f"{network.centre} and {centre}. Call canonicalise(network, {ends[0]!r}) before merge"
        )
    first, second = (network.nodes[end] for end in ends)
    rows, cols = ([str(name) for name in node.names if name != bond] for node in (first, second))
    u, s, v, weight = tn.truncated_svd(tn.permute(pair, rows, cols), max_bond=max_bond, cutoff=cutoff, name=bond)
    require_bond(network, bond, s.leg)
    diagonal = s.tensor(names=(bond, bond))
    if centre == ends[0]:
        u = tn.contract(u, diagonal, [(bond, 0)])
    else:
        v = tn.contract(diagonal, v, [(1, bond)])
    nodes = {**network.nodes, ends[0]: lay_out(u, first), ends[1]: lay_out(v, second)}
    return Truncation(TensorTree(nodes, centre), s, weight)


def _truncate_step(network: TensorTree, step: Step, max_bond: BondLimit, cutoff: float) -> Truncation:
    """Truncate the bond of a step from the centre to a neighbour, which becomes the centre."""
    u, s, v, weight = tn.truncated_svd(
        as_map(network.nodes[step.node], step.bond), max_bond=max_bond, cutoff=cutoff, name=step.bond
    )
    rest = tn.contract(s.tensor(), v, [(1, 0)])
    return Truncation(TensorTree(pass_on(network, step, u, rest).nodes, step.neighbour), s, weight)


def _limits(network: TensorTree, max_bond: BondLimit | Mapping[str, BondLimit]) -> dict[str, BondLimit]:
    if not isinstance(max_bond, Mapping):
        return dict.fromkeys(network.bonds, max_bond)
    for bond in max_bond:
        network.ends(bond)
    return dict.fromkeys(network.bonds) | dict(max_bond)
