"""The active set behind the coefficients of a potential: what MLIP's selection has left for extrapolation grades.

It begins with the line ``#MVS_v1.1``; lines with five weights follow, then ``#``, and in binary the active set A and
its inverse, n x n float64 for the n = species^2 functions basis + species + moments coefficients of the potential; then
the selected configurations. etn_gpu keeps it for writing, and does not evaluate MLIP's grade.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from etn_gpu.errors import ModelFileError

MARK = b"#MVS_v1.1"
_WEIGHTS = ("energy_weight", "force_weight", "stress_weight", "site_en_weight", "weight_scaling")
_HEADER = re.compile(rb"#MVS_v1\.1\r?\n" + b"".join(name.encode() + rb"[ \t]+(\S+)\r?\n" for name in _WEIGHTS) + b"#")


@dataclass(frozen=True)
class ActiveSet:
    """An active set: the weights of its selection, the number n of coefficients, and all bytes as they are."""

    weights: Mapping[str, float]
    coefficients: int
    content: bytes


def read_active_set(content: bytes, coefficients: int, name: str) -> ActiveSet:
    """The active set of a potential with so many coefficients; ``content`` starts with its mark.

    Raises:
        ModelFileError: it does not begin as above, or ends before its matrices do.
    """
    header = _HEADER.match(content)
    try:
        weights = {w: float(text) for w, text in zip(_WEIGHTS, header.groups() if header else (), strict=True)}
    except ValueError:
        raise ModelFileError(
            f"{name}: the active set behind the potential does not begin with the line {MARK.decode()} and the weights "
            f"{', '.join(_WEIGHTS)}; get a fresh copy, or cut off the file before that line"
        ) from None
    assert header is not None
    there, expected = len(content) - header.end(), 2 * 8 * coefficients**2
    if there < expected:
        raise ModelFileError(
            f"{name}: the active set behind the potential ends after {there} bytes of its matrices, expected "
            f"{expected} for {coefficients} coefficients; the file is cut off"
        )
    return ActiveSet(weights, coefficients, content)
