"""Values in headers of extended XYZ that ASE's reader refuses, or misreads without a word."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from etn_gpu.structures.label_keys import looks_like
from etn_gpu.structures.label_values import is_missing

if TYPE_CHECKING:
    from ase import Atoms

_ENTRY = re.compile(
    r"""(?<!\S)(?P<key>stress|virial)\s*=\s*(?:["'\[{](?P<values>[^"'\]}]*)["'\]}]|(?P<word>[A-Za-z/-]*)(?!\S))"""
)
_NUMBER_BEGINS = "+-.0123456789"

#: An entry with no value: ASE's reader would take the next entry, key and all, for it.
_EMPTY = re.compile(r"""(?<!\S)(?P<key>[^\s="']+)=(?:(?:""|''|\{\s*\}|\[\s*\])(?!\S)|(?=\s+[^\s="']+=\S))""")
#: Rows in brackets of their own, as the specification of extended XYZ has matrices: ASE's reader ends at the first ].
_MATRIX = re.compile(r"(?<!\S)(?P<key>[^\s=\"']+)=\[\s*(?P<rows>\[[^\[\]]*\](?:\s*,?\s*\[[^\[\]]*\])*)\s*\](?!\S)")


def usual_values(header: str) -> str:
    """A header that ASE's reader takes as it is meant.

    Six Voigt values (xx, yy, zz, yz, xz, xy) of `stress` or `virial` become a matrix, and so does a word for a value
    that is missing, such as `stress=nan`; entries without a value are NaN if they look like labels, and left out if
    not; matrices in nested brackets keep their rows.
    """
    if "=[" in header:
        header = _MATRIX.sub(_quoted_matrix, header)
    if '=""' in header or "=''" in header or "={" in header or "=[" in header or "= " in header:  # a loop takes longer
        header = _EMPTY.sub(lambda found: f"{found['key']}=nan" if looks_like(found["key"]) else "", header)
    for found in [*_entries(header)][::-1]:
        if (usual := _nine_values(found)) != found[0]:
            header = header[: found.start()] + usual + header[found.end() :]
    return header


def _entries(header: str) -> Iterator[re.Match[str]]:
    """The entries of stress and virial in their order; looking for the words is quicker than for the pattern."""
    places = []
    for key in ("stress", "virial"):
        place = header.find(key)
        while place >= 0:
            places.append(place)
            place = header.find(key, place + 1)
    return (match for place in sorted(places) if (match := _ENTRY.match(header, place)) is not None)


def restore_lopsided(atoms: Atoms, header: str) -> None:
    """Give a structure the whole of a `stress` that is not symmetric: ASE's reader drops one triangle without a word,
    and whoever takes it for a label shall see it."""
    if atoms.calc is None or "stress" not in atoms.calc.results:
        return
    for found in _entries(header):
        values = (found["values"] or "").split()
        if found["key"] != "stress" or len(values) != 9:
            continue
        _, xy, xz, yx, _, yz, zx, zy, _ = values
        if (xy, xz, yz) != (yx, zx, zy):
            matrix = np.array(values, dtype=np.float64).reshape(3, 3)
            if not np.array_equal(matrix, matrix.T, equal_nan=True):
                atoms.calc.results["stress"] = matrix


def _quoted_matrix(found: re.Match[str]) -> str:
    rows = [row.replace(",", " ").split() for row in re.findall(r"\[([^\[\]]*)\]", found["rows"])]
    key = found["key"]
    if key in ("Lattice", "stress", "virial"):
        return f'{key}="{" ".join(" ".join(row) for row in rows)}"'
    try:
        matrix = json.dumps([[float(value) for value in row] for row in rows])
    except ValueError:
        return found[0]
    return f'{key}="_JSON {matrix}"'


def _nine_values(found: re.Match[str]) -> str:
    values = (found["values"] if found["word"] is None else found["word"]).split()
    if len(values) == 6:
        xx, yy, zz, yz, xz, xy = values
        return f'{found["key"]}="{xx} {xy} {xz} {xy} {yy} {yz} {xz} {yz} {zz}"'
    if values and values[0][0] in _NUMBER_BEGINS:
        return found[0]
    return f'{found["key"]}="{" ".join(["nan"] * 9)}"' if is_missing(" ".join(values)) else found[0]
