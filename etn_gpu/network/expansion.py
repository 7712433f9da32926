r"""Controlled bond expansion: new components of a bond in the directions that a gradient asks for.

The two-site space at a bond is that of both nodes at its ends, merged. An optimisation in one node reaches only what
the present bond lets through; enlarged by all of the complement it is the two-site one. Of a large complement the part
that matters is small: the range of the gradient of the loss with respect to the merged pair, with what the bond lets
through already projected out (Gleis, Li, von Delft, Phys. Rev. Lett. 130, 246402; Hubig, McCulloch, Schollwoeck, Wolf,
Phys. Rev. B 91, 155115). A few random combinations of its columns span that range (Halko, Martinsson, Tropp, SIAM Rev.
53, 217), and they are gradients with respect to single nodes:

1. :func:`probe`: new components that are random at the centre and zero at the other end, the *near* node;
2. :func:`turn_towards`: at the near node, the directions of the gradient there, orthonormal to the present ones; zero
   at the centre;
3. :func:`sort_by_gradient`: the same directions, sorted by the gradient at the centre.

None of them changes the full tensor.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from etn_gpu import tensor as tn
from etn_gpu.errors import NetworkError
from etn_gpu.network.canonical import as_map, lay_out, require_bond
from etn_gpu.network.ranks import random_components, relabel_bond
from etn_gpu.network.tree import TensorTree
from etn_gpu.symmetry import Irrep, Irreps
from etn_gpu.tensor import Tensor

Array = NDArray[np.float64]


def near_node(network: TensorTree, bond: str) -> str:
    """The node across a bond from the centre.

    Raises :class:`~etn_gpu.errors.NetworkError` for an unknown bond, or if the centre is not at an end of it.
    """
    first, second = network.ends(bond)
    if network.centre not in (first, second):
        raise NetworkError(
            f"expanding the bond {bond!r} needs the centre at {first} or {second}, got {network.centre}; "
            f"call canonicalise(network, {second!r}) before"
        )
    return first if network.centre == second else second


def room(network: TensorTree, bond: str) -> Irreps:
    """Components that a bond may get: the near node's complement of the present ones, where the centre couples to it.

    Raises :class:`~etn_gpu.errors.NetworkError` for an unknown bond, or if the centre is not at an end of it.
    """
    spaces = []
    for end in (near_node(network, bond), str(network.centre)):
        tensor = network.nodes[end]
        spaces.append(tn.fused_leg([leg for leg, name in zip(tensor.legs, tensor.names, strict=True) if name != bond]))
    near, centre = spaces
    free = [(near.count(ir) - network.leg(bond).count(ir), ir) for _, ir in near.sort() if centre.count(ir)]
    return Irreps([(mul, ir) for mul, ir in free if mul > 0])


def probe(network: TensorTree, bond: str, extra: Irreps, rng: np.random.Generator) -> TensorTree:
    """The network with the components `extra` added to a bond, random at the centre and zero at the near node.

    Raises :class:`~etn_gpu.errors.NetworkError` for an unknown bond, or if the centre is not at an end of it.
    """
    near_node(network, bond)
    old = network.leg(bond)
    network = relabel_bond(network, bond, (old + extra).sort().simplify())
    centre = str(network.centre)
    node = network.nodes[centre]
    return TensorTree({**network.nodes, centre: node + random_components(node, bond, old, rng)}, centre)


def turn_towards(network: TensorTree, bond: str, old: Irreps, gradient: Tensor) -> TensorTree:
    """The network of :func:`probe` with its new components turned into the directions of `gradient`.

    Parameters: `old`, the bond before the probe; `gradient`, the gradient with respect to the near node of the probe.
    The near node gets orthonormal components, the centre zeros. The near node has to be isometric on `old`, and has
    room for what is new.
    """
    near = near_node(network, bond)
    node = as_map(network.nodes[near], bond)
    directions = as_map(gradient, bond).blocks
    blocks: dict[Irrep, Array] = {}
    for ir, matrix in node.blocks.items():
        kept = old.count(ir)
        basis, _ = np.linalg.qr(np.concatenate((matrix[:, :kept], directions[ir][:, kept:]), axis=1))
        blocks[ir] = np.concatenate((matrix[:, :kept], basis[:, kept:]), axis=1)
    centre = str(network.centre)
    emptied = relabel_bond(relabel_bond(network, bond, old), bond, network.leg(bond)).nodes[centre]
    return TensorTree({**network.nodes, near: _with_blocks(node, blocks, network.nodes[near]), centre: emptied}, centre)


def sort_by_gradient(
    network: TensorTree, bond: str, old: Irreps, gradient: Tensor
) -> tuple[TensorTree, Mapping[Irrep, Array]]:
    """The network of :func:`turn_towards` with the new components of each sector sorted, and what they promise.

    `gradient` is that with respect to the centre. Within a sector the new components become its singular vectors; the
    singular values, descending, are the gradient along each of them.
    """
    near = near_node(network, bond)
    node = as_map(network.nodes[near], bond)
    slopes = as_map(gradient, bond).blocks
    blocks, promised = dict(node.blocks), {}
    for ir, matrix in node.blocks.items():
        kept = old.count(ir)
        if matrix.shape[1] > kept and ir in slopes:
            _, values, turn = np.linalg.svd(slopes[ir][:, kept:])
            blocks[ir] = np.concatenate((matrix[:, :kept], matrix[:, kept:] @ turn.T), axis=1)
            promised[ir] = np.pad(values, (0, len(turn) - len(values)))
    nodes = {**network.nodes, near: _with_blocks(node, blocks, network.nodes[near])}
    return TensorTree(nodes, network.centre), promised


def turn_to_singular(network: TensorTree, bond: str, used: Irreps) -> tuple[TensorTree, Mapping[Irrep, Array]]:
    """The same network with the components of a bond turned into singular vectors, by descending singular value.

    In each sector the first components, as many as `used` has, are turned by an orthogonal matrix V, which comes with
    the network: the centre x becomes x V. Others have to be zero at the centre.
    """
    near = near_node(network, bond)
    maps = {end: as_map(network.nodes[end], bond) for end in network.ends(bond)}
    blocks = {end: dict(node.blocks) for end, node in maps.items()}
    turns = {}
    for ir, matrix in maps[str(network.centre)].blocks.items():
        count = used.count(ir)
        _, _, turn = np.linalg.svd(matrix[:, :count])
        turns[ir] = turn.T
        for end in (near, str(network.centre)):
            if ir in blocks[end]:
                whole = blocks[end][ir]
                blocks[end][ir] = np.concatenate((whole[:, :count] @ turn.T, whole[:, count:]), axis=1)
    nodes = {end: _with_blocks(maps[end], blocks[end], network.nodes[end]) for end in maps}
    return TensorTree({**network.nodes, **nodes}, network.centre), turns


def select(network: TensorTree, bond: str, components: Mapping[Irrep, Sequence[int]]) -> TensorTree:
    """The network with only these components of a bond, by irrep; the centre stays the centre.

    Raises :class:`~etn_gpu.errors.NetworkError` for an unknown bond, or if nothing is left of it.
    """
    changed = {}
    for end in network.ends(bond):
        node = network.nodes[end]
        chosen = Irreps([(len(components.get(ir, ())), ir) for _, ir in network.leg(bond)]).simplify()
        require_bond(network, bond, chosen)
        eye = {ir: np.eye(network.leg(bond).count(ir))[:, list(components[ir])] for _, ir in chosen}
        picked = tn.contract(
            node, tn.from_blocks((network.leg(bond),), (chosen,), eye, names=(None, bond)), [(bond, 0)]
        )
        changed[end] = lay_out(picked, node)
    return TensorTree({**network.nodes, **changed}, network.centre)


def _with_blocks(node: Tensor, blocks: Mapping[Irrep, Array], like: Tensor) -> Tensor:
    n = node.n_rows
    return lay_out(tn.from_blocks(node.legs[:n], node.legs[n:], blocks, names=node.names), like)
