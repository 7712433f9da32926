"""What to tell a person about how labels were found: what was passed over, missing, converted or contradictory."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from etn_gpu.structures.labels import LabelledSet

_UNITS = {"energy": "eV/atom", "forces": "eV/A", "stress": "eV/A^3"}
_INSIDE = {"energy": "eV", "forces": "eV/A", "stress": "eV/A^3 (virial: eV)"}
_FRAMES_SHOWN = 8


def reading_warnings(labels: LabelledSet) -> list[str]:
    """Warnings about the keys, the missing values and the units of a labelled set, the gravest first."""
    found = []
    if labels.unused:
        keys = ", ".join(f"{key} ({_structures(count)})" for key, count in sorted(labels.unused.items()))
        found.append(
            f"not used, though named like labels: {keys}. If they are, rename them, or choose them with --energy-key, "
            "--forces-key, --stress-key, --virial-key."
        )
    for (name, used, other), disagreement in labels.disagreements.items():
        found.append(
            f"{used} was taken as the {name}; {other} is there as well and differs by up to "
            f"{disagreement.largest:.3g} {_UNITS[name]} in {_structures(disagreement.n)}."
        )
    for name, count in labels.n_nan.items():
        partly = f", in {labels.n_partly_nan} of them for some atoms only" if name == "forces" else ""
        partly = partly if labels.n_partly_nan else ""
        found.append(f"{name} NaN or empty in {_structures(count)}{partly}: left out as missing.")
    if set(labels.foreign_units) - {"stress"}:  # a stress in GPa beside labels in eV is usual
        for name, count in labels.unstated_units.items():
            if name not in labels.foreign_units:
                found.append(
                    f"units are stated ({', '.join(labels.foreign_units)}), but none for the {name} in "
                    f"{_structures(count)}: read as {_INSIDE[name]}."
                )
    if labels.unconverged:
        found.append(
            f"{_structures(len(labels.unconverged))} left out: the electronic loop ended without reaching EDIFF "
            f"({_frames(labels.unconverged)})."
        )
    return found


def _structures(count: int) -> str:
    return "1 structure" if count == 1 else f"{count} structures"


def _frames(indices: Sequence[int]) -> str:
    shown = ", ".join(str(k) for k in indices[:_FRAMES_SHOWN])
    more = len(indices) - _FRAMES_SHOWN
    return f"frame {shown}" if len(indices) == 1 else f"frames {shown}" + (f" and {more} more" if more > 0 else "")
