"""Canonical forms: all nodes isometric towards one of them, the centre.

Decomposing the map from the bond towards the centre to all other legs of a node, T = Q R, keeps the isometry Q and
lets the neighbour absorb R: the network as a whole does not change. On a train the centre G1 gives the right canonical
form, the last core the left canonical form, any other one the mixed canonical form.

With isometric Clebsch-Gordan coefficients Q is an isometry of full tensors although only one small matrix per sector is
decomposed (:mod:`etn_gpu.tensor.decompose`). Hence the norm of the whole network is that of the centre.
"""

from __future__ import annotations

from etn_gpu import tensor as tn
from etn_gpu.errors import NetworkError
from etn_gpu.network.tree import Step, TensorTree
from etn_gpu.symmetry import Irreps
from etn_gpu.tensor import Tensor
from etn_gpu.tensor.debug import require_finite


def canonicalise(network: TensorTree, centre: str) -> TensorTree:
    """The same network with `centre` as its centre.

    Moving a centre that is known costs one QR decomposition for each node on the way. A bond that is larger than one
    of its sides can use shrinks, and sectors that nothing on one side couples to leave it.

    Raises :class:`~etn_gpu.errors.NetworkError` for an unknown node, or if nothing is left of a bond: the legs of the
    network do not couple. Raises :class:`~etn_gpu.errors.TensorError` for numbers that are not finite.
    """
    network.node(centre)
    for step in network.towards(centre) if network.centre is None else network.path(network.centre, centre):
        q, r = tn.qr(as_map(network.nodes[step.node], step.bond), name=step.bond)
        network = pass_on(network, step, q, r)
    require_finite(network.nodes[centre])
    return TensorTree(network.nodes, centre)


def norm(network: TensorTree) -> float:
    """Frobenius norm of the tensor that the network stands for."""
    centre = next(iter(network.nodes)) if network.centre is None else network.centre
    return canonicalise(network, centre).nodes[centre].norm()


def as_map(tensor: Tensor, bond: str) -> Tensor:
    """The tensor as a map from one leg to all others."""
    return tn.permute(tensor, [name for name in tensor.names if name != bond and name is not None], [bond])


def lay_out(tensor: Tensor, like: Tensor) -> Tensor:
    """The tensor with its legs ordered and divided into rows and columns as those of the same names in `like`."""
    names = [str(name) for name in like.names]
    return tn.permute(tensor, names[: like.n_rows], names[like.n_rows :])


def pass_on(network: TensorTree, step: Step, node: Tensor, rest: Tensor) -> TensorTree:
    """The network after a node was divided into `node` and `rest`, (new bond | old bond), which the neighbour absorbs.

    Raises :class:`~etn_gpu.errors.NetworkError` if the new bond is empty.
    """
    require_bond(network, step.bond, node.legs[node.axis(step.bond)])
    neighbour = network.nodes[step.neighbour]
    absorbed = tn.contract(rest.rename((step.bond, None)), neighbour, [(1, step.bond)])
    changed = {step.node: lay_out(node, network.nodes[step.node]), step.neighbour: lay_out(absorbed, neighbour)}
    return TensorTree({**network.nodes, **changed})


def require_bond(network: TensorTree, bond: str, left: Irreps) -> None:
    """NetworkError if `left`, what is left of a bond, is nothing."""
    if not left.dim:
        first, second = network.ends(bond)
        raise NetworkError(
            f"nothing is left of the bond {bond!r} ({network.leg(bond)}) between {first} and {second}: no sector "
            "couples on both of its sides, or all that do are zero or were dropped. A bond needs at least one irrep on "
            "a path through the network: allow more sectors, or lower the cutoff"
        )
