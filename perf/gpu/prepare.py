"""Machine code of all Programs, compiled side by side on the cores of the host, before it is needed.

No Program is compiled in the process that checks and times: NVRTC cannot be interrupted, and some take minutes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from functools import partial

from gpu.background import Background
from gpu.compile_only import CompileOnly, compile_sources, dotted, environment
from gpu.program_checks import EVALUATED
from gpu.section import FULL, Bench, Case, Clock, Code, Row, Section

from etn_gpu.backend.cache import folder
from etn_gpu.backend.cores import usable_cores
from etn_gpu.backend.cuda import nvrtc
from etn_gpu.backend.cuda.device import CupyDevice
from etn_gpu.errors import BackendError

#: Shares of the time until which code is waited for: that of the figures that count, and all other.
FIRST_UNTIL, REST_UNTIL = 0.5, 0.6
#: Versions of CUDA whose NVRTC may be here, where no CuPy says which; the first that is.
CUDA = (13, 12)
TOO_LATE = "not compiled in time; --compile does so beforehand"


class Compilation:
    """Programs that are being compiled, in their order, for one GPU, by as many processes as there are cores."""

    def __init__(self, codes: Iterable[Code], compiler: nvrtc.Compiler, architecture: int) -> None:
        self.codes = tuple(dict.fromkeys(codes))
        target = ["-m", "gpu.compile_only", dotted(compiler), str(architecture)]
        commands = {code.name: [*target, *code] for code in self.codes}
        self._background = Background(commands, usable_cores(), environment(compiler))

    def wait(self, code: Code, seconds: float | None) -> Row:
        """The row of a Program: how long it took, or why it is not there."""
        try:
            return self._background.result(code.name, seconds)
        except TimeoutError:
            return {"not_run": TOO_LATE}

    def obstacle(self, code: Code) -> str | None:
        """Why the machine code of a Program is not there at this moment, None where it is."""
        try:
            return self.wait(code, 0.0).get("not_run")
        except BackendError as error:
            return f"not compiled: {error}"

    def paused(self) -> contextlib.AbstractContextManager[None]:
        """Nothing is compiled inside."""
        return self._background.paused()

    def stop(self) -> None:
        """What has not been compiled never will be; no process is left."""
        self._background.stop()


def started(bench: Bench, sections: Iterable[Section]) -> Compilation | None:
    """Begin with all that the sections need, in their order; an emulator compiles by itself."""
    if not isinstance(bench.device, CupyDevice):
        return None
    import cupy

    compiler = nvrtc.compiler(cupy.cuda.runtime.runtimeGetVersion() // 1000)
    return Compilation(needed(bench, sections), compiler, bench.device.architecture)


def needed(bench: Bench, sections: Iterable[Section]) -> list[Code]:
    """All that the cases of the sections need, each once."""
    return list(dict.fromkeys(code for s in sections for case in s.cases(bench) for code in case.needs))


def _first(bench: Bench, code: Code) -> bool:
    return code.model == bench.sizes.presets[0] and code.program in EVALUATED


def first(bench: Bench) -> Iterator[Case]:
    """What evaluations by the first preset need."""
    if (compilation := bench.compilation) is not None:
        for code in compilation.codes:
            if _first(bench, code):
                yield Case(code.name, partial(_wait, compilation, code, bench, FIRST_UNTIL))


def rest(bench: Bench) -> Iterator[Case]:
    """All other Programs; what has not been compiled after them is given up."""
    if (compilation := bench.compilation) is not None:
        for code in compilation.codes:
            if not _first(bench, code):
                yield Case(code.name, partial(_wait, compilation, code, bench, REST_UNTIL))
        compilation.stop()


FIRST = Section("compilation", "Compilation of what counts, seconds", first, measures=False)
REST = Section("other_compilation", "Compilation of all other Programs, seconds", rest, measures=False)


def _wait(compilation: Compilation, code: Code, bench: Bench, until: float) -> Row:
    return compilation.wait(code, bench.clock.left(until))


def beforehand(architecture: int, sections: Iterable[Section]) -> bool:
    """Compile all that the sections need at full size, and all kernels; whether that succeeded."""
    compiler = _compiler()
    version = dotted(compiler)
    print(f"NVRTC {version}, which must be that of the machine with the GPU; sm_{architecture}; into {folder()}")
    device = CompileOnly(version, architecture)
    print(f"kernels: {compile_sources(device)['seconds']:.1f} s", flush=True)
    bench = Bench(device.device, FULL, 0, Clock(0.0))
    compilation, failures = Compilation(needed(bench, sections), compiler, architecture), 0
    try:
        for code in compilation.codes:
            try:
                said = f"{compilation.wait(code, None)['seconds']:.1f} s"
            except BackendError as error:
                said, failures = f"FAILED: {error}", failures + 1
            print(f"{code.name}: {said}", flush=True)
    finally:
        compilation.stop()
    size = sum(path.stat().st_size for path in folder().glob("*.cubin"))
    print(f"{len(compilation.codes) - failures} of {len(compilation.codes)} Programs; {size / 2**20:.0f} MiB")
    return failures == 0


def _compiler() -> nvrtc.Compiler:
    """The newest NVRTC that is here."""
    for cuda in CUDA:
        with contextlib.suppress(BackendError):
            return nvrtc.compiler(cuda)
    raise BackendError("NVRTC is not installed: pip install 'nvidia-cuda-nvrtc>=13,<14'")
