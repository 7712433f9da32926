"""Access to the text of the CUDA C++ sources in this folder, which is installed as ``etn_gpu._kernels``."""

from __future__ import annotations

from importlib.resources import files

from etn_gpu.errors import BackendError


def available() -> tuple[str, ...]:
    """Names of the kernel sources (``*.cu``) and headers (``*.cuh``) that are installed, sorted."""
    return tuple(sorted(entry.name for entry in files(__name__).iterdir() if entry.name.endswith((".cu", ".cuh"))))


def source(name: str) -> str:
    """Text of one kernel source.

    Args:
        name: file name with its suffix, one of :func:`available`.

    Raises:
        BackendError: there is no such source; the message lists those there are.
    """
    names = available()
    if name not in names:
        listing = ", ".join(names) if names else "none"
        raise BackendError(
            f"There is no kernel source named {name!r}; installed sources: {listing}. "
            "Give a file name with its suffix; if the file should be there, reinstall etn_gpu."
        )
    return files(__name__).joinpath(name).read_text(encoding="utf-8")
