"""The tensor library with its arrays on the device, against NumPy in double precision.

Factors are unique up to a gauge: what is compared is their product, their singular values or eigenvalues, and that
isometries are some.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from gpu.program_checks import LIMITS
from gpu.section import WATCHED, Bench, Case, Row, Section, compared, relative
from numpy.typing import NDArray

from etn_gpu import tensor as tn
from etn_gpu.backend.cuda.device import CupyDevice

DTYPES = ("float32", "float64", "complex128")
#: Share of the singular values that a truncated decomposition keeps.
KEPT = 0.4

#: What was found and what was expected.
Pairs = Iterator[tuple[NDArray[Any], NDArray[Any]]]


@dataclass(frozen=True)
class Given:
    """A map from two legs to two, and one from one leg to two."""

    square: tn.Tensor
    tall: tn.Tensor

    @staticmethod
    def random(leg: str, dtype: str, seed: int) -> Given:
        """On the host."""
        rng = np.random.default_rng(seed)
        columns: list[list[str]] = [[leg, leg], [leg]]
        return Given(*(tn.random([leg, leg], names, rng=rng, dtype=dtype) for names in columns))

    def to(self, library: Any) -> Given:
        """In another library."""
        return Given(self.square.to(library), self.tall.to(library))

    def double(self) -> Given:
        """In double precision."""
        return Given(_double(self.square), _double(self.tall))


def difference(operation: str, library: Any, dtype: str, leg: str, seed: int) -> float:
    """The largest relative difference of an operation with arrays of ``library`` from NumPy's in double precision."""
    host = Given.random(leg, dtype, seed)
    pairs = OPERATIONS[operation](host.to(library), host.double())
    return max(relative(_reals(found), _reals(expected)) for found, expected in pairs)


def cases(bench: Bench) -> Iterator[Case]:
    """Every operation in every precision, where there is CuPy. Most of what runs is CUDA's own libraries, which are not
    what compute-sanitizer should look at."""
    if bench.sizes is WATCHED:
        return
    if not isinstance(bench.device, CupyDevice):
        yield Case("all", lambda: {"not_run": "needs a GPU: its arrays are those of CuPy"})
        return
    for operation in OPERATIONS:
        for dtype in DTYPES:
            yield Case(f"{operation}, {dtype}", partial(_check, bench, operation, dtype))


SECTION = Section("tensors", "Tensors on the device against NumPy", cases, until=0.92, measures=False)


def _check(bench: Bench, operation: str, dtype: str) -> Row:
    import cupy

    found = difference(operation, cupy, dtype, bench.sizes.leg, bench.seed)
    return compared(found, LIMITS["float32" if dtype == "float32" else "float64"])


def _plain(operation: Callable[[Given], tn.Tensor]) -> Callable[[Given, Given], Pairs]:
    """The check of an operation whose result is one tensor."""

    def compare(device: Given, host: Given) -> Pairs:
        found, expected = _home(operation(device)), operation(host)
        assert found.structure == expected.structure
        yield found.data, expected.data

    return compare


def _qr(device: Given, host: Given) -> Pairs:
    q, r = map(_home, tn.qr(device.tall))
    yield _product(q, r), host.tall.data
    yield from _isometry(q)


def _svd(device: Given, host: Given) -> Pairs:
    found = tn.svd(device.tall)
    u, s, v = map(_home, (found.u, found.s.tensor(), found.v))
    yield s.data, tn.svd(host.tall).s.tensor().data
    yield _product(u, s, v), host.tall.data
    yield from _isometry(u)
    yield from _isometry(tn.adjoint(v))


def _truncated_svd(device: Given, host: Given) -> Pairs:
    most = max(int(KEPT * sum(block.mul for block in tn.svd(host.square).s.leg)), 1)
    found, expected = (tn.truncated_svd(given.square, max_bond=most) for given in (device, host))
    u, s, v = map(_home, (found.u, found.s.tensor(), found.v))
    yield s.data, expected.s.tensor().data
    yield np.array([found.discarded_weight]), np.array([expected.discarded_weight])
    yield _product(u, s, v), _product(expected.u, expected.s.tensor(), expected.v)
    yield from _isometry(u)
    yield from _isometry(tn.adjoint(v))


def _eigh(device: Given, host: Given) -> Pairs:
    hermitian = host.square + tn.adjoint(host.square)
    found = tn.eigh(device.square + tn.adjoint(device.square))
    values, vectors = _home(found.values.tensor()), _home(found.vectors)
    yield values.data, tn.eigh(hermitian).values.tensor().data
    yield _product(vectors, values, tn.adjoint(vectors)), hermitian.data
    yield from _isometry(vectors)


def _pinv(device: Given, host: Given) -> Pairs:
    inverse = _home(tn.pinv(device.tall))
    yield inverse.data, tn.pinv(host.tall).data
    yield _product(host.tall, inverse, host.tall), host.tall.data


OPERATIONS: dict[str, Callable[[Given, Given], Pairs]] = {
    "permute": _plain(lambda given: tn.permute(given.square, [3, 1], [0, 2])),
    "contract": _plain(lambda given: tn.contract(given.square, given.tall, [(2, 1), (3, 0)])),
    "einsum": _plain(lambda given: tn.einsum("abcd,cbe,ffa->de", given.square, given.tall, given.tall)),
    "qr": _qr,
    "svd": _svd,
    "truncated_svd": _truncated_svd,
    "eigh": _eigh,
    "pinv": _pinv,
}


def _double(tensor: tn.Tensor) -> tn.Tensor:
    return tensor.astype(np.result_type(tensor.dtype, np.float64))


def _home(tensor: tn.Tensor) -> tn.Tensor:
    """On the host, in double precision."""
    return _double(tensor.to(np))


def _product(*factors: tn.Tensor) -> NDArray[Any]:
    """Numbers of a product of maps, each from the leg that the next one has as its row."""
    product, *others = factors
    for factor in others:
        shared = product.structure.n_legs - product.n_rows
        legs = [(product.n_rows + k, k) for k in range(shared)]
        product = tn.contract(product, factor, legs)
    data: NDArray[Any] = product.data
    return data


def _isometry(tensor: tn.Tensor) -> Pairs:
    for matrix in tensor.blocks.values():
        yield matrix.conj().T @ matrix, np.eye(matrix.shape[1])


def _reals(array: NDArray[Any]) -> NDArray[np.float64]:
    """Real and imaginary parts apart."""
    return np.stack([array.real, array.imag]).astype(np.float64)
