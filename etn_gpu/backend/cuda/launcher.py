"""The one way to start a kernel: arguments by name, checked against the signature in the source.

A CUDA kernel reads whatever bytes it is given. So an array of another dtype, a view with strides, an array of another
device or an int where a long long belongs would be a silent wrong number; here each is an error that names kernel and
argument, or, for scalars, converted.
"""

from __future__ import annotations

from typing import Any, NoReturn

import numpy as np

from etn_gpu.backend.cuda import sources
from etn_gpu.backend.cuda.device import Device, Function
from etn_gpu.backend.cuda.signatures import Parameter, Signature, parse
from etn_gpu.errors import BackendError

#: A launch has at most this many blocks along x.
MOST_BLOCKS = 2**31 - 1


class Module:
    """A compiled source: ``module["name"]`` is one of its kernels.

    ``text`` may include headers of ``kernels/``; :meth:`of_source` takes a whole file from there.

    Raises:
        BackendError: the text holds no kernel, or one whose arguments cannot be passed, or it does not compile.
    """

    def __init__(self, device: Device, text: str, origin: str) -> None:
        text = sources.inline(text, origin)
        signatures = parse(text, origin)
        try:
            binary = device.load(text, origin)
        except BackendError as error:
            raise BackendError(f"{error}\n(kernels of {origin}: {', '.join(signatures)})") from error
        self._kernels = {
            name: Kernel(device, signature, binary.get_function(name), origin) for name, signature in signatures.items()
        }
        self.origin = origin

    @staticmethod
    def of_source(device: Device, name: str) -> Module:
        """The source ``name`` of the folder ``kernels/``."""
        return Module(device, sources.read(name), name)

    def __getitem__(self, name: str) -> Kernel:
        if name not in self._kernels:
            raise BackendError(f"{self.origin} has no kernel {name!r}; it has {', '.join(self._kernels)}")
        return self._kernels[name]

    @property
    def launches(self) -> int:
        """How many kernels were started so far."""
        return sum(kernel.launches for kernel in self._kernels.values())

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """All kernels, in the order of the source."""
        return tuple(self._kernels.values())


class Kernel:
    """One kernel on one device; ``launches`` counts how often it was started."""

    def __init__(self, device: Device, signature: Signature, function: Function, origin: str) -> None:
        self._device = device
        self._function = function
        self._where = f"{origin}, kernel {signature.name}"
        self.signature = signature
        self._names = {parameter.name for parameter in signature.parameters}
        self.launches = 0

    def launch(self, blocks: int, shared_bytes: int = 0, /, **arguments: Any) -> None:
        """Start ``blocks`` blocks of the threads in ``__launch_bounds__``; none at all where ``blocks`` is 0.

        Args:
            blocks: number of blocks.
            shared_bytes: bytes of dynamic shared memory for each block.
            arguments: every argument of the kernel by its name; scalars are converted to the type in the signature.

        Raises:
            BackendError: arguments that do not fit, too many blocks, too much shared memory.
        """
        values = self._values(arguments)
        if not 0 <= blocks <= MOST_BLOCKS:
            raise BackendError(f"{self._where}: {blocks} blocks were asked for, expected 0 to {MOST_BLOCKS}")
        if shared_bytes > self._device.max_shared_bytes:
            raise BackendError(
                f"{self._where}: {shared_bytes} bytes of shared memory for a block were asked for, {self._device.name} "
                f"has {self._device.max_shared_bytes}"
            )
        if blocks == 0:
            return
        self._function((blocks,), (self.signature.threads,), values, shared_bytes)
        self.launches += 1

    def over(self, n: int, lanes: int = 1, /, **arguments: Any) -> None:
        """Start ``lanes`` threads for each of ``n`` items, rounded up to whole blocks."""
        self.launch(-(-n * lanes // self.signature.threads), **arguments)

    def _values(self, arguments: dict[str, Any]) -> list[Any]:
        """The arguments in order. Checks first ask what nearly always holds: small batches wait for nothing else."""
        if arguments.keys() != self._names:
            self._fail_names(arguments)
        values = [
            self._array(p, arguments[p.name]) if p.is_array else self._scalar(p, arguments[p.name])
            for p in self.signature.parameters
        ]
        arrays = [id(v) for p, v in zip(self.signature.parameters, values, strict=True) if p.is_array]
        if len(set(arrays)) < len(arrays):
            self._check_outputs(arguments)
        return values

    def _fail_names(self, arguments: dict[str, Any]) -> NoReturn:
        expected = [parameter.name for parameter in self.signature.parameters]
        missing = [name for name in expected if name not in arguments]
        unknown = [name for name in arguments if name not in expected]
        raise BackendError(
            f"{self._where}: expected the arguments {', '.join(expected)}; "
            + "; ".join(f"{what}: {', '.join(n)}" for what, n in (("missing", missing), ("unknown", unknown)) if n)
        )

    def _check_outputs(self, arguments: dict[str, Any]) -> None:
        """A compiler may keep what it read of one array although it is written through another."""
        for written in (p.name for p in self.signature.parameters if p.is_output):
            for name, value in arguments.items():
                if name != written and value is arguments[written]:
                    raise BackendError(
                        f"{self._where}, argument {written}: the array is written, and given as {name} as well; "
                        "pass a copy"
                    )

    def _array(self, parameter: Parameter, value: Any) -> Any:
        if self._device.holds(value) and value.dtype == parameter.dtype and value.flags.c_contiguous:
            return value
        where = f"{self._where}, argument {parameter.name}"
        if not self._device.holds(value):
            kind = f"{type(value).__module__}.{type(value).__qualname__}"
            raise BackendError(f"{where}: {kind} was given, expected an array on {self._device.name}")
        if value.dtype != parameter.dtype:
            raise BackendError(f"{where}: an array of {value.dtype} was given, expected {parameter.dtype}")
        raise BackendError(
            f"{where}: an array of shape {value.shape} with strides {value.strides} was given, expected a "
            "contiguous one in C order; copy it first"
        )

    def _scalar(self, parameter: Parameter, value: Any) -> Any:
        if parameter.holds(value):
            return parameter.dtype.type(value)
        where = f"{self._where}, argument {parameter.name}"
        if np.ndim(value) != 0 or not np.can_cast(np.asarray(value).dtype, np.float64, casting="same_kind"):
            raise BackendError(f"{where}: {value!r} was given, expected a number of type {parameter.dtype}")
        with np.errstate(invalid="ignore", over="ignore"):
            cast: Any = np.asarray(value).astype(parameter.dtype)[()]
        if cast.item() != np.asarray(value).item() and (parameter.dtype.kind != "f" or np.isinf(cast)):
            raise BackendError(f"{where}: {value!r} was given, which a number of type {parameter.dtype} cannot hold")
        return cast
