"""The text of CUDA sources, with the headers of ``kernels/`` put in place of their ``#include`` lines.

One text then says all that a compiler will see, so its hash identifies the compiled code.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType

from etn_gpu.errors import BackendError

_INCLUDE = re.compile(r'[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"][ \t]*(?://.*)?')


@cache
def _kernels() -> ModuleType:
    """The package in ``kernels/``: as it is installed, else beside the package, where etn_gpu runs from its sources."""
    name = "etn_gpu._kernels"
    if importlib.util.find_spec(name) is not None:
        return importlib.import_module(name)
    folder = Path(__file__).parents[3] / "kernels"
    spec = importlib.util.spec_from_file_location(
        name, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None or not folder.is_dir():
        raise BackendError(f"{name} is missing: the CUDA sources were not installed; reinstall etn_gpu.")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def available() -> tuple[str, ...]:
    """Names of all kernel sources and headers."""
    return tuple(_kernels().available())


def source(name: str) -> str:
    """Text of the kernel source ``name`` with its headers in place.

    Raises:
        BackendError: there is no such source, or it includes something else than a header of ``kernels/``.
    """
    return inline(read(name), name)


def read(name: str) -> str:
    """Text of one file of ``kernels/`` as it is."""
    return str(_kernels().source(name))


def inline(text: str, name: str, header: Callable[[str], str] | None = None) -> str:
    """``text``, a source called ``name``, with every header in place of its first ``#include`` and of no other.

    ``header`` gives the text of a header, by default that of ``kernels/``.

    ``#line`` keeps messages of compilers at the file and line where people find the code.

    Raises:
        BackendError: an include in angle brackets, which no compiler at run time would find.
    """
    return "\n".join([f'#line 1 "{name}"', *_expand(text, name, header or read, set())]) + "\n"


def _expand(text: str, name: str, read_header: Callable[[str], str], done: set[str]) -> list[str]:
    lines: list[str] = []
    for number, line in enumerate(text.splitlines(), start=1):
        match = _INCLUDE.fullmatch(line)
        if match is None:
            lines.append("" if line.strip() == "#pragma once" else line)
            continue
        bracket, header = match.groups()
        if bracket == "<":
            raise BackendError(
                f"{name}, line {number}: #include <{header}> cannot be found at run time; "
                'only headers of the folder kernels/, in "quotes", can be included.'
            )
        if header in done:
            lines.append("")
            continue
        done.add(header)
        lines += [
            f'#line 1 "{header}"',
            *_expand(read_header(header), header, read_header, done),
            f'#line {number + 1} "{name}"',
        ]
    return lines
