"""A device that notes how long each of its kernels ran and how many bytes it was given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

from gpu.timing import Moment
from numpy.typing import NDArray

from etn_gpu.backend.cuda.device import Binary, Device, DeviceArray, Function
from etn_gpu.backend.cuda.signatures import Signature, parse

#: Arguments that are no data: what a stage needs for itself while it runs.
SCRATCH = ("workspace",)


@dataclass(frozen=True)
class Run:
    """One launch: the kernel, seconds between the moments around it, bytes of its arrays, each counted once."""

    kernel: str
    seconds: float
    bytes: int


class Stopwatch:
    """Another device that is timed. Kernels loaded through it are noted inside of :meth:`noting`."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._open: list[tuple[str, Moment, Moment, int]] | None = None

    def __getattr__(self, name: str) -> Any:
        """Everything else is left to the device itself."""
        return getattr(self._device, name)

    @property
    def device(self) -> Device:
        """Itself, as what it acts as."""
        return cast(Device, self)

    @contextmanager
    def noting(self) -> Iterator[list[Run]]:
        """A list that holds all launches in their order once the block has ended."""
        runs: list[Run] = []
        noted = self._open = []
        yield runs
        self._open = None
        runs += [Run(kernel, end.since(begin), size) for kernel, begin, end, size in noted]

    def load(self, text: str, origin: str) -> Binary:
        """See :class:`Device`."""
        return _Binary(self, self._device.load(text, origin), parse(text, origin))

    def stable_order(self, keys: DeviceArray) -> DeviceArray:
        """See :class:`Device`."""
        with self.noted("sort", 2 * keys.nbytes):
            return self._device.stable_order(keys)

    def cumulative(self, counts: DeviceArray) -> DeviceArray:
        """See :class:`Device`."""
        with self.noted("running sums", 2 * counts.nbytes):
            return self._device.cumulative(counts)

    def to_device(self, array: NDArray[Any]) -> DeviceArray:
        """See :class:`Device`."""
        with self.noted("copies to the device", array.nbytes):
            return self._device.to_device(array)

    def to_host(self, array: DeviceArray) -> NDArray[Any]:
        """See :class:`Device`."""
        with self.noted("copies to the host", array.nbytes):
            return self._device.to_host(array)

    @contextmanager
    def noted(self, kernel: str, size: int) -> Iterator[None]:
        """Moments around what is started inside."""
        if self._open is None:
            yield
            return
        begin = Moment(self._device)
        yield
        self._open.append((kernel, begin, Moment(self._device), size))


@dataclass(frozen=True)
class _Binary:
    stopwatch: Stopwatch
    binary: Binary
    signatures: dict[str, Signature]

    def get_function(self, name: str) -> Function:
        return _Function(self.stopwatch, self.binary.get_function(name), self.signatures[name])


@dataclass(frozen=True)
class _Function:
    stopwatch: Stopwatch
    function: Function
    signature: Signature

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: Sequence[Any], shared_mem: int) -> None:
        arrays = [
            value.nbytes
            for parameter, value in zip(self.signature.parameters, args, strict=True)
            if parameter.is_array and parameter.name not in SCRATCH
        ]
        with self.stopwatch.noted(self.signature.name, sum(arrays)):
            self.function(grid, block, args, shared_mem)
