"""Sectors and ranks of bonds: which sectors lie on a path through the network, and larger bonds for the same tensor."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from etn_gpu import tensor as tn
from etn_gpu.errors import NetworkError
from etn_gpu.network.canonical import lay_out, require_bond
from etn_gpu.network.tree import TensorTree
from etn_gpu.symmetry import Irrep, Irreps
from etn_gpu.tensor import Tensor
from etn_gpu.tensor.arrays import namespace


def live_bonds(network: TensorTree) -> dict[str, Irreps]:
    """The bonds without the sectors to which one of their sides cannot couple. Numbers play no part in it."""
    known: dict[tuple[str, str], frozenset[Irrep]] = {}

    def coupled(node: str, bond: str) -> frozenset[Irrep]:
        """Irreps of a bond to which all that lies on the side of `node` couples."""
        if (node, bond) not in known:
            neighbours = network.neighbours(node)
            legs = []
            for name in (str(name) for name in network.nodes[node].names if name != bond):
                allowed = coupled(neighbours[name], name) if name in neighbours else _irreps(network.leg(name))
                legs.append(Irreps([(1, ir) for ir in sorted(allowed)]))
            known[node, bond] = _irreps(tn.fused_leg(legs)) & _irreps(network.leg(bond))
        return known[node, bond]

    live = {bond: coupled(first, bond) & coupled(second, bond) for bond, (first, second) in network.bonds.items()}
    return {bond: Irreps([(mul, ir) for mul, ir in network.leg(bond) if ir in live[bond]]) for bond in live}


def cut_dead_sectors(network: TensorTree) -> TensorTree:
    """The same network without the sectors that are on no path through it; the centre stays the centre.

    Raises :class:`~etn_gpu.errors.NetworkError` if nothing is left of a bond.
    """
    for bond, leg in live_bonds(network).items():
        require_bond(network, bond, leg)
        network = relabel_bond(network, bond, leg)
    return network


def grow(
    network: TensorTree,
    bonds: Mapping[str, Irreps | str],
    *,
    rng: np.random.Generator | None = None,
    noise: float = 0.1,
) -> TensorTree:
    """The same network with larger bonds: the full tensor does not change, but an optimisation gains parameters.

    Parameters: `bonds`, the new irreps of each bond to grow. The new components are zero at the second end of the bond;
    at the first end they are random if there is an `rng`, with a root mean square of `noise` times that of the node,
    so that derivatives with respect to the second end do not vanish. Without `rng` both ends are zero. Sectors that are
    on no path through the network are dropped.

    The result has no centre. :func:`~etn_gpu.network.canonicalise` it towards the second end to make the random
    components orthonormal to the present ones, a subspace expansion.

    Raises :class:`~etn_gpu.errors.NetworkError` for an unknown bond, one that is empty or would lose components, or a
    `noise` that is negative or not finite.
    """
    if not (np.isfinite(noise) and noise >= 0):
        raise NetworkError(f"the noise of new components must be a number >= 0, got {noise}")
    for bond, irreps in bonds.items():
        first, _ = network.ends(bond)
        old, new = network.leg(bond), Irreps(irreps).sort().simplify()
        require_bond(network, bond, old)
        if lost := [str(block) for block in old if new.count(block.ir) < block.mul]:
            raise NetworkError(
                f"growing the bond {bond!r} from {old} to {new} would lose components of {', '.join(lost)}; "
                "ask for at least as many, and reduce ranks with compress or truncate"
            )
        network = TensorTree(relabel_bond(network, bond, new).nodes)
        if rng is not None:
            extra = random_components(network.nodes[first], bond, old, rng) * noise
            network = TensorTree({**network.nodes, first: network.nodes[first] + extra})
    return cut_dead_sectors(network)


def relabel_bond(network: TensorTree, bond: str, irreps: Irreps) -> TensorTree:
    """The network with other irreps on a bond: components are kept as far as there are places, new ones are zero."""
    if irreps == network.leg(bond):
        return network
    changed = {}
    for end in network.ends(bond):
        tensor = network.nodes[end]
        places = _places(network.leg(bond), irreps, tensor).rename((None, bond))
        changed[end] = lay_out(tn.contract(tensor, places, [(bond, 0)]), tensor)
    return TensorTree({**network.nodes, **changed}, network.centre)


def random_components(node: Tensor, bond: str, old: Irreps, rng: np.random.Generator) -> Tensor:
    """Random numbers as large as those of `node` were before its leg `bond` grew from `old`, on what is new there."""
    xp = namespace(node.data)
    leg = node.legs[node.axis(bond)]
    numbers = tn.random(node.legs[: node.n_rows], node.legs[node.n_rows :], rng=rng, dtype=node.dtype, xp=xp)
    kept = _places(leg, old, node)
    present = tn.contract(node, kept, [(bond, 0)]).structure.size
    new = tn.identity((leg,), dtype=node.dtype, xp=xp) - tn.contract(kept, tn.adjoint(kept), [(1, 0)])
    random = tn.contract(numbers.rename(node.names), new.rename((None, bond)), [(bond, 0)])
    return lay_out(random, node) * (node.norm() / np.sqrt(present))


def _places(old: Irreps, new: Irreps, like: Tensor) -> Tensor:
    """The map (old | new) that puts each component in its place of the same sector, as far as both have it."""
    xp = namespace(like.data)
    shared = [ir for _, ir in old if ir in new]
    return tn.from_blocks((old,), (new,), {ir: xp.eye(old.count(ir), new.count(ir), dtype=like.dtype) for ir in shared})


def _irreps(leg: Irreps) -> frozenset[Irrep]:
    return frozenset(ir for mul, ir in leg if mul)
