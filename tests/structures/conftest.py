"""Every frame of extended XYZ that a test here reads is read twice, quickly and by ASE, with equal results."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest

from etn_gpu.structures import reader, xyz_parse
from etn_gpu.structures.frame import Frame
from etn_gpu.structures.xyz_frames import RawFrame, xyz_frames


def slowly(raw: Any, index: int, source: str, species: Sequence[str] | None = None) -> Frame:
    """The frame as it is without the quick reader."""
    if raw.fault is None:
        (line_by_line,) = xyz_frames(io.StringIO(raw.text), raw.line)
        raw = line_by_line if line_by_line.fault is None else raw
    with (
        patch.object(xyz_parse, "quick_atoms", lambda header, frame: None),
        patch.object(xyz_parse, "known_atoms", lambda frame: None),
    ):
        return xyz_parse.parse_frame(raw, index, source, species)


def assert_same(one: Any, two: Any) -> None:
    """Equal to the last bit, and of one type; both may hold others."""
    assert type(one) is type(two)
    if isinstance(one, dict):
        assert [*one] == [*two]
        for key in one:
            assert_same(one[key], two[key])
    elif isinstance(one, np.ndarray | np.generic):
        assert one.dtype == two.dtype
        assert one.shape == two.shape
        assert one.tolist() == two.tolist() if one.dtype == object else one.tobytes() == two.tobytes()
    elif isinstance(one, list | tuple):
        assert len(one) == len(two)
        for a, b in zip(one, two, strict=True):
            assert_same(a, b)
    else:
        assert one == two or one != one


def assert_same_frames(one: Frame, two: Frame) -> None:
    """The same structure, or the same error."""
    assert (one.index, str(one.error), one.untried) == (two.index, str(two.error), two.untried)
    assert (one.atoms is None) == (two.atoms is None)
    if one.atoms is None or two.atoms is None:
        return
    parts = [
        (a.arrays, a.info, a.cell.array, a.pbc, a.get_celldisp(), getattr(a.calc, "results", None))
        for a in (one.atoms, two.atoms)
    ]
    assert_same(*parts)
    assert [c.todict() for c in one.atoms.constraints] == [c.todict() for c in two.atoms.constraints]
    assert vars(one.atoms).keys() == vars(two.atoms).keys()


@pytest.fixture(autouse=True)
def _both_ways() -> Iterator[None]:
    def both(raw: RawFrame, index: int, source: str, species: Sequence[str] | None = None) -> Frame:
        found = xyz_parse.parse_frame(raw, index, source, species)
        assert_same_frames(found, slowly(raw, index, source, species))
        return found

    with patch.object(reader, "parse_frame", both):
        yield
