"""What the figures were measured on."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from functools import partial

import common
from gpu.compile_only import dotted
from gpu.section import Bench, Case, Row, Section

from etn_gpu.backend.cuda.device import CupyDevice

_QUERIES = ("name", "driver_version", "clocks.sm", "clocks.max.sm", "clocks.mem", "power.limit", "temperature.gpu")


def cases(bench: Bench) -> Iterator[Case]:
    """The host, and the device where it is a GPU."""
    yield Case("host", partial(_host, bench))
    if isinstance(bench.device, CupyDevice):
        yield Case("CUDA", partial(_cuda, bench.device))
        yield Case("nvidia-smi", _driver)


def afterwards(bench: Bench) -> Iterator[Case]:
    """The clocks once more, after all work: whether the GPU was slowed down."""
    yield Case("nvidia-smi", _driver)


SECTION = Section("machine", "Machine", cases, measures=False)
AFTERWARDS = Section("machine_afterwards", "Machine after all work", afterwards)


def _driver() -> Row:
    """Name, driver and clocks of the first GPU, as the driver gives them at this moment."""
    if shutil.which("nvidia-smi") is None:
        return {"not_run": "nvidia-smi is not installed"}
    command = ["nvidia-smi", "--id=0", f"--query-gpu={','.join(_QUERIES)}", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
    answers = [answer.strip() for answer in done.stdout.split(",")]
    if len(answers) != len(_QUERIES):
        return {"not_run": (done.stdout + done.stderr).strip()}
    return dict(zip(_QUERIES, answers, strict=True))


def _host(bench: Bench) -> Row:
    return {**common.machine(bench.commit), "device": bench.device.name, "seed": bench.seed}


def _cuda(device: CupyDevice) -> Row:
    import cupy

    from etn_gpu.backend.cuda import nvrtc

    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(0)
    version = runtime.runtimeGetVersion()
    return {
        "gpu": device.name,
        "multiprocessors": properties["multiProcessorCount"],
        "memory": properties["totalGlobalMem"],
        "l2_cache": properties["l2CacheSize"],
        "driver_cuda": runtime.driverGetVersion(),
        "runtime_cuda": version,
        "nvrtc": dotted(nvrtc.compiler(version // 1000)),
        "cupy": cupy.__version__,
    }
