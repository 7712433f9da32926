r"""Equivariant tensors: irrep-labelled and block-sparse, over any number of O(3) legs, usable on their own.

>>> import numpy as np
>>> from etn_gpu import tensor
>>> rng = np.random.default_rng(0)
>>> core = tensor.random(("4x0e+2x1o",), ("3x0e+1x1o", "4x0e+2x1o"), rng=rng, names=("left", "site", "right"))
>>> next_core = tensor.random(("4x0e+2x1o",), ("3x0e+1x1o", "2x0e"), rng=rng, names=("right", "next", "end"))
>>> pair = tensor.contract(core, next_core)
>>> pair.names
('left', 'site', 'next', 'end')
>>> u, s, v, discarded_weight = tensor.truncated_svd(pair, max_bond=4, cutoff=1e-8)
>>> v.legs[0].num_irreps
4

A tensor is an equivariant map from its column legs to its row legs: one matrix per coupled sector, whose rows and
columns run over fusion trees and multiplicities (:mod:`etn_gpu.tensor.structure`). The buffer of numbers is flat, the
layout an immutable object shared by all tensors over the same legs, and so are the index arrays of every operation: the
first call on given legs makes a plan, the others only compute. With isometric couplings norms, products and
decompositions of the full tensor are those of the matrices, weighted by 2l+1. Legs have no direction: the irreps of
O(3) are real and their own duals, so that any two equal legs may be contracted, and a contraction conjugates nothing.

Dense arrays of tensors (:func:`to_dense`, :func:`from_dense`) have one axis per leg, rows first; conventions of irreps
and components are those of :mod:`etn_gpu.symmetry`. Buffers are NumPy or CuPy arrays; a result lives where its operands
do, and on a device the number of launches does not depend on that of the sectors (:mod:`etn_gpu.tensor.batches`).
Nothing here holds state apart from caches of plans and of freed buffers.
"""

from __future__ import annotations

from etn_gpu.tensor.contract import contract
from etn_gpu.tensor.create import from_blocks, identity, random, zeros
from etn_gpu.tensor.debug import debug
from etn_gpu.tensor.decompose import LQ, QR, SVD, lq, qr, svd
from etn_gpu.tensor.dense import from_dense, to_dense
from etn_gpu.tensor.eigen import Eigh, eigh, pinv
from etn_gpu.tensor.einsum import EinsumPlan, einsum, plan_einsum
from etn_gpu.tensor.fuse import fuse, fused_leg, split
from etn_gpu.tensor.permute import adjoint, permute
from etn_gpu.tensor.spectrum import Spectrum
from etn_gpu.tensor.structure import Structure
from etn_gpu.tensor.tensor import Tensor
from etn_gpu.tensor.truncate import TruncatedSVD, truncated_svd

__all__ = [
    "LQ",
    "QR",
    "SVD",
    "Eigh",
    "EinsumPlan",
    "Spectrum",
    "Structure",
    "Tensor",
    "TruncatedSVD",
    "adjoint",
    "contract",
    "debug",
    "eigh",
    "einsum",
    "from_blocks",
    "from_dense",
    "fuse",
    "fused_leg",
    "identity",
    "lq",
    "permute",
    "pinv",
    "plan_einsum",
    "qr",
    "random",
    "split",
    "svd",
    "to_dense",
    "truncated_svd",
    "zeros",
]
