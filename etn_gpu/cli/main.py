"""Entry point of the command line: every error becomes one red line and its exit code, a warning one yellow line."""

from __future__ import annotations

import os
import sys
import traceback
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from etn_gpu.cli.app import app
from etn_gpu.cli.console import INTERRUPTED, UNEXPECTED, WRONG_USE, error_console
from etn_gpu.cli.streams import sturdy_streams
from etn_gpu.errors import EtnGpuError, ModelWarning
from etn_gpu.files import is_system_failure

__all__ = ["main"]

_TRACEBACK = "ETN_GPU_TRACEBACK"


@contextmanager
def _plain_warnings() -> Iterator[None]:
    """Shows what this library warns of as lines of their own, without the line of the program that it came from."""
    others = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *place: Any, **options: Any) -> None:
        if issubclass(category, ModelWarning):
            from etn_gpu.screening.text import escaped

            error_console().print(f"warning: {escaped(str(message))}", style="yellow", soft_wrap=True)
        else:
            others(message, category, *place, **options)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = others


@sturdy_streams()
@_plain_warnings()
def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line on `arguments` (by default those of the process) and exits.

    With the variable ETN_GPU_TRACEBACK set to 1, an error shows where in the program it arose.

    Raises:
        SystemExit: always; with 0 when all is fine, 1 when some structures failed, 2 on wrong use, 3 on a failure that
            is none (a full disk, want of memory, an error in this program), 130 when interrupted.
    """
    try:
        app(args=None if arguments is None else list(arguments), prog_name="etn-gpu")
    except KeyboardInterrupt:
        _end("interrupted", INTERRUPTED)
    except EtnGpuError as error:
        _end(f"Error: {error}", UNEXPECTED if is_system_failure(error) else WRONG_USE)
    except MemoryError as error:
        _end(f"Error: out of memory{f': {error}' if str(error) else ''}; try smaller batches or files", UNEXPECTED)
    except OSError as error:
        _end(f"Error: {error}; {_TRACEBACK}=1 shows where it happened", UNEXPECTED)
    except Exception as error:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        _end(f"Error: unexpected {what}. Please report it; {_TRACEBACK}=1 shows where it happened", UNEXPECTED)


def _end(message: str, code: int) -> None:
    console = error_console()
    if os.environ.get(_TRACEBACK, "0") != "0":
        console.print(traceback.format_exc(), soft_wrap=True)
    console.print(message, style="bold red", soft_wrap=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
