"""Entry point of the command line: every deliberate error becomes one red line and exit code 2."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from etn_gpu.cli.app import app
from etn_gpu.cli.console import WRONG_USE, error_console
from etn_gpu.cli.streams import sturdy_streams
from etn_gpu.errors import EtnGpuError

__all__ = ["main"]


@sturdy_streams()
def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line on `arguments` (by default those of the process) and exits.

    Raises:
        SystemExit: always; with 0 when all is fine, 1 when some structures failed, 2 on wrong use, 130 when
            interrupted.
    """
    try:
        app(args=None if arguments is None else list(arguments), prog_name="etn-gpu")
    except EtnGpuError as error:
        error_console().print(f"Error: {error}", style="bold red", soft_wrap=True)
        sys.exit(WRONG_USE)


if __name__ == "__main__":
    main()
