"""Kernels of a compiled library, called like those of CuPy."""

from __future__ import annotations

import ctypes
import re
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from etn_gpu.backend.cuda.signatures import Signature


class EmulatorError(Exception):
    """A kernel did something that is wrong on a GPU; the message says what and where."""


class _Array(ctypes.Structure):
    _fields_ = (
        ("address", ctypes.c_uint64),
        ("size", ctypes.c_uint64),
        ("element", ctypes.c_uint64),
        ("name", ctypes.c_char_p),
    )


class EmulatedBinary:
    """A loaded library; ``order()`` gives the order of threads and blocks for each launch, see EmulatedDevice."""

    def __init__(self, path: Path, signatures: dict[str, Signature], order: Callable[[], int]) -> None:
        self.path = path
        self.library = ctypes.CDLL(str(path))
        self.library.emu_message.restype = ctypes.c_char_p
        self.signatures = signatures
        self.order = order

    def get_function(self, name: str) -> EmulatedFunction:
        """The kernel ``name``."""
        return EmulatedFunction(self, self.signatures[name])


class EmulatedFunction:
    """One kernel."""

    def __init__(self, binary: EmulatedBinary, signature: Signature) -> None:
        self._binary = binary
        self._signature = signature
        self._body = getattr(binary.library, f"emu_call_{signature.name}")

    def __call__(self, grid: tuple[int, ...], block: tuple[int, ...], args: Sequence[Any], shared_mem: int) -> None:
        """Run the kernel to its end.

        Raises:
            EmulatorError: it did something wrong.
        """
        threads = int(np.prod(block))
        if threads % 32 or not 0 < threads <= 1024:
            raise EmulatorError(f"blocks of {threads} threads: expected a multiple of 32 up to 1024")
        held, arrays = [], []
        for value, parameter in zip(args, self._signature.parameters, strict=True):
            if isinstance(value, np.ndarray):
                address = value.ctypes.data
                arrays.append(_Array(address, value.nbytes, value.itemsize, parameter.name.encode()))
                held.append(ctypes.create_string_buffer(np.uint64(address).tobytes(), 8))
            elif isinstance(value, np.generic):
                held.append(ctypes.create_string_buffer(value.tobytes(), value.itemsize))
            else:
                raise EmulatorError(f"{type(value).__name__} was passed: expected an array or a scalar of NumPy")
        pointers = (ctypes.c_void_p * len(held))(*(ctypes.addressof(buffer) for buffer in held))
        sizes = (ctypes.c_uint * 6)(*(*grid, 1, 1)[:3], *(*block, 1, 1)[:3])
        failed = self._binary.library.emu_launch(
            ctypes.cast(self._body, ctypes.c_void_p), sizes, ctypes.c_size_t(shared_mem), pointers,
            ctypes.c_int(self._binary.order()), (_Array * len(arrays))(*arrays), ctypes.c_int(len(arrays)),
        )  # fmt: skip
        if failed:
            message = self._binary.library.emu_message().decode()
            raise EmulatorError(f"kernel {self._signature.name}: {self._with_lines(message)}")

    def _with_lines(self, message: str) -> str:
        """The message with file and line in place of addresses."""
        return re.sub(r"@(0x[0-9a-f]+)", lambda match: self._line(int(match.group(1), 16)), message)

    def _line(self, address: int) -> str:
        base = _load_address(self._binary.path)
        if shutil.which("addr2line") is None or base is None:
            return f"address {address:#x}"
        command = ["addr2line", "-s", "-e", str(self._binary.path), hex(address - 1 - base)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split(" ")[0].strip()


def _load_address(path: Path) -> int | None:
    for line in Path("/proc/self/maps").read_text("utf-8").splitlines():
        if line.endswith(str(path)):
            return int(line.partition("-")[0], 16)
    return None
