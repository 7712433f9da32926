"""Compiles kernel text and the emulator into a shared library, kept by the hash of all that decides it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import pytest

from etn_gpu.backend.cache import folder, make_private

_HERE = Path(__file__).parent
_RUNTIME = ("fibers.cpp", "scheduler.cpp", "checker.cpp")
_COMMON = ("-std=c++20", "-g1", "-fPIC", "-ffp-contract=off", "-w", "-fno-omit-frame-pointer", f"-I{_HERE}")
_UNDEFINED = "undefined,float-cast-overflow"
#: mode -> flags for the kernels, for the emulator itself, for the linker
MODES: dict[str, tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]] = {
    # Calls of the checker in place of those of ThreadSanitizer and UndefinedBehaviorSanitizer. Without optimisation no
    # access is left out, and what the tests wait for is the compiler.
    "check": (
        ("-O0", f"-fsanitize=thread,{_UNDEFINED}", "--param=tsan-instrument-func-entry-exit=0"),
        ("-O2", "-DEMU_CHECK"),
        (),
    ),
    "fast": (("-O2",), ("-O2",), ()),
    # the real AddressSanitizer and UndefinedBehaviorSanitizer; the process must have been started with libasan
    "address": (
        ("-O0", f"-fsanitize=address,{_UNDEFINED}", "-fno-sanitize-recover=all"),
        ("-O1", "-fsanitize=address"),
        ("-fsanitize=address,undefined",),
    ),
}
_DYNAMIC = re.compile(r"extern\s+__shared__\s+(?:__align__\s*\(\s*\d+\s*\)\s*)?([\w ]+?)\s+(\w+)\s*\[\s*\]\s*;")
_STATIC = re.compile(r"__shared__\s+(?:__align__\s*\(\s*(\d+)\s*\)\s*)?([\w *]+[\s*])(\w+)\s*((?:\[[^\]]+\]\s*)*);")


def require_compiler() -> None:
    """Skip the test that asks where the emulator cannot be built; in continuous integration, fail it."""
    if shutil.which("g++") is None:
        reason = "g++ is not installed; it compiles the kernels for the emulator (apt-get install g++)"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)


def to_cpp(text: str) -> str:
    """Kernel text as C++: declarations of shared memory become calls of the emulator, line by line."""
    text = _DYNAMIC.sub(r"\1* const \2 = (\1*)emu::dynamic_shared();", text)
    return _STATIC.sub(_static_shared, text)


def _static_shared(match: re.Match[str]) -> str:
    align, kind, name, extents = match.groups()
    kind, least = kind.strip(), align or "1"
    return (
        f"using emu_{name} = {kind}{extents}; static char emu_id_{name}; "
        f"emu_{name}& {name} = *(emu_{name}*)emu::static_shared(&emu_id_{name}, sizeof(emu_{name}), "
        f'alignof({kind}) > {least} ? alignof({kind}) : {least}, sizeof({kind}) < 4 ? sizeof({kind}) : 4, "{name}");'
    )


def library(text: str, kernels: tuple[str, ...], mode: str) -> Path:
    """The shared library with ``kernels`` of ``text``, each as a C function ``emu_call_<kernel>(void**)``."""
    flags, _, linking = MODES[mode]
    calls = "".join(f'extern "C" void emu_call_{name}(void** a) {{ emu::call({name}, a); }}\n' for name in kernels)
    code = f'#include "cuda.h"\n{to_cpp(text)}\n#line 1 "calls"\n{calls}'
    made_once, runtime = _runtime(mode)
    target = folder() / "emulator" / f"{_digest(code, *flags, *linking, *map(str, runtime))}.so"
    if not target.exists():
        with tempfile.TemporaryDirectory() as scratch:
            source, made = Path(scratch) / "kernels.cpp", Path(scratch) / "kernels.o"
            source.write_text(code, encoding="utf-8")
            _run("-c", source, "-o", made, f"-I{made_once}", *_COMMON, *flags)
            linked = target.with_suffix(f".{os.getpid()}")
            _run("-shared", "-Wl,-Bsymbolic", made, *runtime, "-o", linked, *linking)
            linked.replace(target)
    return target


@cache
def _runtime(mode: str) -> tuple[Path, tuple[Path, ...]]:
    """A folder with the header as the compiler reads it fastest, and the object files of the emulator itself."""
    kernels, own, _ = MODES[mode]
    texts = [path.read_text("utf-8") for path in sorted([*_HERE.glob("*.h"), *_HERE.glob("*.cpp")])]
    made = folder() / "emulator" / f"runtime-{_digest(*texts, *kernels, *own)}"
    objects = tuple(made / Path(name).with_suffix(".o") for name in _RUNTIME)
    header = made / "cuda.h.gch"
    if not all(path.exists() for path in (*objects, header)):
        make_private(made)
        jobs = [(("-c", _HERE / name), path, own) for name, path in zip(_RUNTIME, objects, strict=True)]
        for source, path, flags in [*jobs, (("-x", "c++-header", _HERE / "cuda.h"), header, kernels)]:
            partial = path.with_suffix(f".{os.getpid()}")
            _run(*source, "-o", partial, *_COMMON, *flags)
            partial.replace(path)
    return made, objects


def _run(*arguments: str | Path) -> None:
    # A process that was started with a sanitizer must not start the compiler with it, which would be slow.
    environment = {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"}
    command = ["g++", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    if done.returncode != 0:
        raise RuntimeError(f"g++ failed on the emulated kernels:\n{done.stderr}")


def _digest(*parts: str) -> str:
    version = subprocess.run(["g++", "--version"], capture_output=True, text=True, check=True).stdout
    return hashlib.sha256("|".join((version, *_COMMON, *parts)).encode()).hexdigest()[:24]
