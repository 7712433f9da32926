"""Extended XYZ as other programs write it: the labels of alloys under any keys and in any units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .conftest import Labelled

Entries = Callable[[Labelled], Mapping[str, Any]]


def write_dialect(
    path: Path, alloys: Sequence[Labelled], entries: Entries, columns: Entries | None = None, length: float = 1.0
) -> Path:
    """Write the alloys with `entries` in the header and `columns` (n, 3) or (n,); lengths divided by `length`."""
    frames = []
    for item in alloys:
        arrays = {"pos": item.atoms.positions / length, **({} if columns is None else columns(item))}
        widths = {name: np.reshape(value, (len(item.atoms), -1)) for name, value in arrays.items()}
        properties = "species:S:1" + "".join(f":{name}:R:{value.shape[1]}" for name, value in widths.items())
        header = [f'Lattice="{text(item.atoms.cell.array / length)}"', f"Properties={properties}"]
        header += [f'{key}="{text(value)}"' for key, value in entries(item).items()]
        rows = np.hstack(list(widths.values()))
        lines = [f"{symbol} {text(row)}" for symbol, row in zip(item.atoms.symbols, rows, strict=True)]
        frames.append("\n".join((str(len(lines)), " ".join(header), *lines)) + "\n")
    path.write_text("".join(frames))
    return path


def text(value: Any) -> str:
    """Numbers with all their digits; a text as it is."""
    return value if isinstance(value, str) else " ".join(repr(float(x)) for x in np.ravel(value))


def matrix(item: Labelled) -> Any:
    """The stress of an alloy as a matrix in eV/A^3."""
    return -item.virial / item.atoms.get_volume()
