"""Equivariant tensor networks: trains of cores over a feature leg, and canonical forms and truncation of any tree.

>>> import numpy as np
>>> from etn_gpu.network import Train, compress_train
>>> from etn_gpu.symmetry import Irreps
>>> train = Train(Irreps("4x0e+3x1o"), (Irreps("4x0e+3x1o"), Irreps("4x0e+3x1o")))
>>> weights = {core.name: np.random.default_rng(0).normal(size=core.size) for core in train.cores}
>>> smaller, compression = compress_train(train, weights, max_bond="2x0e+1x1o")
>>> [str(bond) for bond in smaller.train.bonds]
['2x0e+1x1o', '2x0e+1x1o']
>>> 0 < compression.relative_error < 1
True

:mod:`~etn_gpu.network.cores` goes from the weights of a train to its cores as tensors and back. Everything else works
on a :class:`TensorTree`, of which a train is the special case.
"""

from __future__ import annotations

from etn_gpu.network.balance import balance
from etn_gpu.network.canonical import canonicalise, norm
from etn_gpu.network.cores import TrainState, canonicalise_train, compress_train, from_train, grow_train, to_train
from etn_gpu.network.expansion import probe, room, select, sort_by_gradient, turn_to_singular, turn_towards
from etn_gpu.network.layer_gauge import canonicalise_layer
from etn_gpu.network.messages import MessageLayer, MessagePath
from etn_gpu.network.ranks import cut_dead_sectors, grow, live_bonds
from etn_gpu.network.train import Train
from etn_gpu.network.tree import Step, TensorTree
from etn_gpu.network.truncation import Compression, Truncation, compress, merge, spectrum, split, truncate
from etn_gpu.network.weighted_norm import Matrices, NormDerivatives, gram, norm_derivatives, squared_norm

__all__ = [
    "Compression",
    "Matrices",
    "MessageLayer",
    "MessagePath",
    "NormDerivatives",
    "Step",
    "TensorTree",
    "Train",
    "TrainState",
    "Truncation",
    "balance",
    "canonicalise",
    "canonicalise_layer",
    "canonicalise_train",
    "compress",
    "compress_train",
    "cut_dead_sectors",
    "from_train",
    "gram",
    "grow",
    "grow_train",
    "live_bonds",
    "merge",
    "norm",
    "norm_derivatives",
    "probe",
    "room",
    "select",
    "sort_by_gradient",
    "spectrum",
    "split",
    "squared_norm",
    "to_train",
    "truncate",
    "turn_to_singular",
    "turn_towards",
]
