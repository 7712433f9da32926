"""Rows of a workspace: first-fit allocation, with reuse after the last use."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Rows:
    """Allocated values by name; ``count`` is the number of rows that the workspace must have."""

    count: int = 0
    at: dict[str, int] = field(default_factory=dict)
    free: list[tuple[int, int]] = field(default_factory=list)

    def allocate(self, name: str, size: int) -> int:
        """First row of ``size`` consecutive free rows, now held by ``name``."""
        for i, (start, length) in enumerate(self.free):
            if length >= size:
                self.free[i : i + 1] = [(start + size, length - size)] if length > size else []
                self.at[name] = start
                return start
        self.at[name] = self.count
        self.count += size
        return self.at[name]

    def release(self, name: str, size: int) -> None:
        """Give the rows of ``name`` back."""
        merged: list[tuple[int, int]] = []
        for start, length in sorted([*self.free, (self.at.pop(name), size)]):
            if merged and sum(merged[-1]) == start:
                merged[-1] = (merged[-1][0], merged[-1][1] + length)
            else:
                merged.append((start, length))
        self.free = merged
