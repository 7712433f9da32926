"""On a device the number of launches and of round trips does not depend on the number of sectors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from etn_gpu import tensor as tn
from etn_gpu.tensor.arrays import namespace
from tests.tensor.lookalike import CALLS

FEW = "2x0e+1x1e+1x1o"
MANY = ("2x0e+1x0o+1x1e+1x1o+1x2e", "2x0e+1x0o+1x1e+1x1o+1x2e+1x2o+1x3e")

OPERATIONS: dict[str, Callable[[tn.Tensor, tn.Tensor], object]] = {
    "contract": lambda a, b: tn.contract(a, b, [(2, 0)]),
    "contract two legs": lambda a, b: tn.contract(a, a, [(1, 1), (0, 0)]),
    "contract permuted legs": lambda a, b: tn.contract(a, a, [(1, 0), (0, 2)]),
    "contract all legs": lambda a, b: tn.contract(a, a, [(1, 0), (0, 1), (2, 2)]),
    "outer product": lambda a, b: tn.contract(a, a, ()),
    "permute three legs": lambda a, b: tn.permute(a, [2], [1, 0]),
    "permute four legs": lambda a, b: tn.permute(b, [2, 0], [3, 1]),
    "adjoint": lambda a, b: tn.adjoint(b),
    "fuse": lambda a, b: tn.fuse(b, [3, 1]),
    "split": lambda a, b: tn.split(tn.fuse(a, [2, 1]), 0, [a.legs[2], a.legs[1]]),
    "scale and add": lambda a, b: 2.0 * b - b / 3 + (-b).conj(),
    "norm": lambda a, b: b.norm(),
    "inner": lambda a, b: b.inner(b),
    "to dense": lambda a, b: tn.to_dense(a),
    "identity": lambda a, b: tn.identity(a.legs[:2], xp=_library(a)),
    "from blocks": lambda a, b: tn.from_blocks(a.legs[:2], a.legs[2:], a.blocks),
    "qr": lambda a, b: tn.qr(a),
    "lq": lambda a, b: tn.lq(a),
    "svd": lambda a, b: tn.svd(a),
    "svd of wide matrices": lambda a, b: tn.svd(tn.permute(a, [0], [1, 2])),
    "svd of square matrices": lambda a, b: tn.svd(b),
    "truncated svd": lambda a, b: tn.truncated_svd(a, max_bond=3),
    "truncated svd of square matrices": lambda a, b: tn.truncated_svd(b, max_bond=3),
    "eigh": lambda a, b: tn.eigh(b, tolerance=10.0),
    "pinv": lambda a, b: tn.pinv(a),
    "spectrum": lambda a, b: tn.svd(b).s.tensor(),
    "norm of a spectrum": lambda a, b: tn.svd(b).s.squared_norm(),
}

#: Every operation that checks its input for finite numbers or gives a number waits once; these wait also for the
#: singular values that decide on the ranks, and for the norms of the tensor and of its anti-Hermitian part.
ROUND_TRIPS = {"truncated svd": 2, "truncated svd of square matrices": 2, "eigh": 3, "norm of a spectrum": 2}


def _library(tensor: tn.Tensor) -> Any:
    return namespace(tensor.data)


def count(xp: Any, leg: str, dtype: str, operation: Callable[[tn.Tensor, tn.Tensor], object]) -> Counter[str]:
    """Calls of an operation whose plan exists."""
    rng = np.random.default_rng(0)
    three = tn.random([leg, leg], [leg], rng=rng, dtype=dtype, xp=xp)
    four = tn.random([leg, leg], [leg, leg], rng=rng, dtype=dtype, xp=xp)
    operation(three, four)
    CALLS.clear()
    operation(three, four)
    return CALLS.copy()


@pytest.mark.parametrize("dtype", ["float64", "complex64"])
@pytest.mark.parametrize("name", OPERATIONS)
def test_no_more_for_many_sectors_than_for_few(lookalike: Any, name: str, dtype: str) -> None:
    few, *others = (count(lookalike, leg, dtype, OPERATIONS[name]) for leg in (FEW, *MANY))
    for many in others:
        assert many - few == Counter(), "what exceeds the count for few sectors"
    assert few["round trip"] <= ROUND_TRIPS.get(name, 1)
