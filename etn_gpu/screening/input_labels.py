"""Labels that come with structures to screen: no use is made of them, and whoever keeps the structures is told so."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ase import Atoms

__all__ = ["InputLabels"]

#: Results, which those of a run replace.
_REPLACED = frozenset(("energy", "free_energy", "energies", "forces", "stress", "stresses"))


class InputLabels:
    """The keys that look like labels, of all structures that were seen; its size is that of the distinct key sets."""

    def __init__(self) -> None:
        from etn_gpu.structures.label_keys import KeyPlans

        self._plans = KeyPlans()
        self._before: set[str] = set()

    def see(self, structures: Iterable[Atoms | None]) -> None:
        """Takes note of the keys of structures."""
        for atoms in structures:
            if atoms is not None:
                self._plans(atoms)

    def note(self, fate: str = "replaced by the results of this run") -> str | None:
        """What became of the labels, in one sentence; None when there were none. ``fate`` is that of results."""
        keys = self._keys()
        if not keys:
            return None
        parts = [
            f"{', '.join(sorted(some))} ({what})"
            for some, what in (
                (keys & _REPLACED, fate),
                (keys - _REPLACED, "of the input, not compared"),
            )
            if some
        ]
        return f"labels in the input were not used: {'; '.join(parts)}"

    def to_state(self) -> list[str]:
        """The keys, as JSON has them."""
        return sorted(self._keys())

    def add(self, keys: Iterable[str]) -> None:
        """Takes up keys that had been seen elsewhere."""
        self._before |= set(keys)

    def _keys(self) -> set[str]:
        return self._before | {
            source.key
            for plan in self._plans.plans
            for source in (*(s for sources in plan.sources.values() for s in sources), *plan.unused)
        }
