"""Whether kernels can run here, and what to do where they cannot."""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
from typing import Any

from etn_gpu.backend.cuda import nvrtc
from etn_gpu.errors import BackendError

#: CUDA versions that there is an extra for; with the first driver that supports each, for Linux.
_EXTRAS = {12: "525", 13: "580"}
#: Before this version of CuPy, memory that runs out while sorting goes unnoticed, and the order is wrong (cupy#9894).
OLDEST_CUPY = (14, 1)
#: Warps of older GPUs cannot wait for one another within a warp the way the kernels do.
OLDEST_ARCHITECTURE = 70
_INSTALL = "pip install 'etn_gpu[cuda13]' (drivers from 580 on) or 'etn_gpu[cuda12]' (from 525 on)"


def unavailable() -> str | None:
    """None where kernels can run on a GPU here, else the reason and what to do about it."""
    if importlib.util.find_spec("cupy") is None:
        return f"CuPy is not installed: {_INSTALL}; nvidia-smi shows the driver"
    try:
        cupy = importlib.import_module("cupy")
    except Exception as error:  # whatever a broken installation raises must not look like a failure of ours
        return f"CuPy is installed but cannot be imported ({error}): reinstall it with {_INSTALL}"
    return _too_old(cupy.__version__) or _unusable(cupy.cuda.runtime)


def _too_old(version: str) -> str | None:
    if tuple(map(int, re.findall(r"\d+", version)[:2])) >= OLDEST_CUPY:
        return None
    return f"CuPy {version} is installed, {'.'.join(map(str, OLDEST_CUPY))} or newer is needed: {_INSTALL}"


def _unusable(runtime: Any) -> str | None:
    if runtime.is_hip:
        return f"this CuPy is built for AMD GPUs: replace it by {_INSTALL}"
    version = int(runtime.runtimeGetVersion())
    major = version // 1000
    if major not in _EXTRAS:
        return f"this CuPy is built for CUDA {_dotted(version)}: replace it by {_INSTALL}"
    return _no_driver(runtime, major) or _no_device(runtime) or _no_compiler(major)


def _no_driver(runtime: Any, major: int) -> str | None:
    driver = int(runtime.driverGetVersion())
    if driver == 0:
        return "no NVIDIA driver is installed (libcuda.so was not found): install one, or run on a machine with a GPU"
    if driver // 1000 >= major:
        return None
    extra = max((m for m in _EXTRAS if m <= driver // 1000), default=None)
    remedy = f", or pip install 'etn_gpu[cuda{extra}]' after pip uninstall cupy-cuda{major}x" if extra else ""
    return (
        f"the NVIDIA driver supports CUDA {_dotted(driver)} and CuPy is built for CUDA {major}: "
        f"update the driver to {_EXTRAS[major]} or newer{remedy}"
    )


def _no_device(runtime: Any) -> str | None:
    try:
        count = int(runtime.getDeviceCount())
    except runtime.CUDARuntimeError as error:
        return f"the driver finds no GPU ({error}){_hidden()}"
    if count == 0:
        return f"the driver finds no GPU{_hidden()}"
    properties = runtime.getDeviceProperties(0)
    architecture = 10 * int(properties["major"]) + int(properties["minor"])
    if architecture < OLDEST_ARCHITECTURE:
        return (
            f"{properties['name'].decode()} is sm_{architecture}; sm_{OLDEST_ARCHITECTURE} (Volta, 2017) or newer is "
            "needed"
        )
    return None


def _hidden() -> str:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return "; nvidia-smi lists those there are"
    return f"; the environment variable CUDA_VISIBLE_DEVICES={visible!r} decides which can be seen"


def _no_compiler(major: int) -> str | None:
    try:
        nvrtc.compiler(major)
    except BackendError as error:
        return str(error)
    return None


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"
