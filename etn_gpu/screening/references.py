"""The line that says what formation energies are relative to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["DETAILED", "describe_references"]

#: With more elements than this, the line names the elements and the energies only.
DETAILED = 8


def describe_references(metadata: Mapping[str, Any]) -> str:
    """One line on the references in a model's metadata; empty where there are none.

    Models of earlier versions know the energies only, not the structures that have them.
    """
    references = metadata.get("formation_references")
    if not isinstance(references, Mapping) or not references:
        return ""
    structures = metadata.get("formation_reference_structures")
    known = structures if isinstance(structures, Mapping) else {}
    parts = []
    for symbol, energy in references.items():
        details = _details(known.get(symbol), brief=len(references) > DETAILED)
        parts.append(f"{symbol} {energy:.4f}" + (f" ({details})" if details else ""))
    text = f"formation energies relative to, in eV/atom: {', '.join(parts)}"
    if not known:
        return f"{text}: the lowest structure of each element in the training data, relaxed or not"
    strained = [s for s in references if isinstance(known.get(s), Mapping) and known[s].get("relaxed") is False]
    return f"{text}; not relaxed: {', '.join(strained)}" if strained else text


def _details(structure: Any, brief: bool) -> str:
    if not isinstance(structure, Mapping):
        return ""
    parts = []
    if not brief:
        parts.append(str(structure.get("formula", "")))
        if isinstance(volume := structure.get("volume_per_atom"), (int, float)):
            parts.append(f"{volume:.1f} A^3/atom")
        if structure.get("config_type"):
            parts.append(str(structure["config_type"]))
        if (index := structure.get("index")) is not None:
            parts.append(f"training structure {index}")
    if structure.get("relaxed") is False:
        parts.append("not relaxed")
    elif structure.get("relaxed") is None and not brief:
        parts.append("perhaps not relaxed")
    return ", ".join(part for part in parts if part)
