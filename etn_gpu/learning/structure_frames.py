"""Bare structures as frames of extended XYZ, every number with all its digits, and back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from etn_gpu.learning.bare import STATE, bare
from etn_gpu.screening.frame_values import Column
from etn_gpu.screening.frames import FrameWriter

if TYPE_CHECKING:
    from ase import Atoms

#: Charge and spin have other names in a file: readers of extended XYZ take `charge` for a result.
_NAMES = {name: f"total_{name}" for name in STATE}


def structure_frame(atoms: Atoms, entries: Iterable[str], columns: Mapping[str, Column] | None = None) -> str:
    """The frame of a structure with these entries in its header and these columns beside its positions."""
    structure = bare(atoms)
    state = {name: structure.info.pop(name) for name in STATE if name in structure.info}
    own = [f"{_NAMES[name]}={value!r}" for name, value in state.items()]
    return FrameWriter().frame(structure, columns or {}, [*entries, *own])


def structure_of(frame: Atoms) -> Atoms:
    """The bare structure of a frame that was read."""
    named = frame.copy()
    for name, written in _NAMES.items():
        if written in named.info:
            named.info[name] = named.info[written]
    return bare(named)
