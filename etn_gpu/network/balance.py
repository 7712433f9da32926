"""The balanced gauge: every bond's singular values shared equally by its two ends.

Of all networks of the same full tensor over the same bonds it is the one whose nodes have the least sum of squares, so
that an optimisation of all nodes at once with a ridge on each starts where the ridge is content.
"""

from __future__ import annotations

import numpy as np

from etn_gpu import tensor as tn
from etn_gpu.network.canonical import as_map, lay_out, require_bond
from etn_gpu.network.tree import TensorTree
from etn_gpu.tensor import Spectrum

PASSES = 5


def balance(network: TensorTree) -> TensorTree:
    """The same network in the balanced gauge, without a centre.

    Alternating over the bonds; each step is the optimum for its bond. Raises
    :class:`~etn_gpu.errors.NetworkError` if nothing is left of a bond, :class:`~etn_gpu.errors.TensorError` for numbers
    that are not finite.
    """
    for _ in range(PASSES):
        for bond in network.bonds:
            network = _balance_bond(network, bond)
    return TensorTree(network.nodes)


def _balance_bond(network: TensorTree, bond: str) -> TensorTree:
    first, second = network.ends(bond)
    isometries, rests = [], []
    for end in (first, second):
        q, r = tn.qr(as_map(network.nodes[end], bond))
        isometries.append(q)
        rests.append(r)
    u, s, v = tn.svd(tn.contract(rests[0], tn.adjoint(rests[1]), [(1, 0)]))
    require_bond(network, bond, s.leg)
    root = Spectrum(s.leg, np.sqrt(s.data)).tensor()
    turns = (tn.contract(u, root, [(1, 0)]), tn.contract(tn.adjoint(v), root, [(1, 0)]))
    nodes = dict(network.nodes)
    for end, q, turn in zip((first, second), isometries, turns, strict=True):
        turned = tn.contract(q, turn.rename((None, bond)), [(-1, 0)])
        nodes[end] = lay_out(turned, network.nodes[end])
    return TensorTree(nodes)
