"""Entries of `info` that are kept as columns: own names and whatever else comes along with the structures."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from etn_gpu.errors import DataError
from etn_gpu.screening.batching import Candidate
from etn_gpu.screening.columns import Field, Kind, ResultColumn, common_kind, kind_of, scalar

__all__ = ["ID", "Kept"]

#: The column of own names.
ID = "id"
_PREFIX = "input_"


class Kept:
    """Columns of entries of `info`, and what these have held so far.

    Args:
        keys: entries to keep; an entry whose name is that of another column gets the prefix ``input_``.
        id: the entry with a name for each structure, kept as the column ``id``.
        taken: names of other columns.

    Raises:
        DataError: an entry is named twice, or these are no keys.
    """

    def __init__(self, keys: Sequence[str] = (), id: str | None = None, taken: Collection[str] = ()) -> None:
        if isinstance(keys, str) or not all(isinstance(key, str) for key in (*keys, *([] if id is None else [id]))):
            raise DataError(f"keep = {keys!r}, id = {id!r}: expected a list of keys of info, and one key")
        self._keys: dict[str, str] = {} if id is None else {ID: id}
        for key in keys:
            name = key if key not in {*taken, ID} else _PREFIX + key
            if name in self._keys or name in taken:
                raise DataError(f"the entry {key!r} is to be kept twice: name it once")
            self._keys[name] = key
        self._kinds: dict[str, set[Kind]] = {name: set() for name in self._keys}
        #: For each column, how many structures have something else than a scalar there, or nothing.
        self.other: Counter[str] = Counter()
        self.missing: Counter[str] = Counter()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self._keys)

    def identity(self) -> dict[str, str]:
        """The entries by the names of their columns."""
        return dict(self._keys)

    def columns(self) -> list[ResultColumn]:
        """The columns with the kinds that hold all that was seen."""
        return [ResultColumn(name, common_kind(kinds)) for name, kinds in self._kinds.items()]

    def of(self, candidates: Sequence[Candidate]) -> list[dict[str, Field]]:
        """The fields of structures by the names of the columns, empty ones for those that could not be read."""
        return [
            dict.fromkeys(self._keys) if atoms is None else {name: self._value(name, atoms.info) for name in self._keys}
            for atoms in (candidate.atoms for candidate in candidates)
        ]

    def _value(self, name: str, info: Mapping[Any, Any]) -> Field:
        entry = info.get(self._keys[name])
        value = scalar(entry)
        if value is None:
            (self.missing if entry is None else self.other)[name] += 1
            return None
        self._kinds[name].add(kind_of(value))
        return value

    def fresh(self) -> Kept:
        """The same columns, with nothing seen so far."""
        fresh = Kept()
        fresh._keys, fresh._kinds = self._keys, {name: set() for name in self._keys}
        return fresh

    def notes(self) -> list[str]:
        """What users may not expect: entries that no structure has, names that are missing, values that are dropped."""
        found = []
        for name, key in self._keys.items():
            missing, other = self.missing[name], self.other[name]
            if missing and (name == ID or not (self._kinds[name] or other)):
                found.append(f"{missing} structures have no entry {key!r}: the column {name} is empty there")
            if other:
                found.append(
                    f"{other} structures have something else than a scalar as {key!r}: the column {name} is empty there"
                )
        return found

    def to_state(self) -> dict[str, Any]:
        """What has been seen, as JSON has it."""
        return {
            "kinds": {name: sorted(kinds) for name, kinds in self._kinds.items()},
            "other": dict(self.other),
            "missing": dict(self.missing),
        }

    def add(self, state: Mapping[str, Any]) -> None:
        """Takes up what had been seen elsewhere."""
        for name, kinds in state["kinds"].items():
            self._kinds[name] |= {Kind(kind) for kind in kinds}
        self.other.update(state["other"])
        self.missing.update(state["missing"])
