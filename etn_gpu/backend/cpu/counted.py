"""Counted loops of LLVM functions: a basic block with an index and carried values, which its end sends back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from etn_gpu.backend.cpu.ir import Function, Vector


class Loop:
    """A loop that is being written: its index, and the carried values as they are inside."""

    def __init__(self, function: Function, start: str, count: str, carried: Sequence[Vector]) -> None:
        self._function, self._count = function, count
        self._before = function.label
        function.line("br label %{}", label := function.new_label())
        function.open_label(label)
        self._label = label
        self.index = function.new_name()
        self._start = start
        self._phi = function.placeholder()
        self.values = [type(v)(function.new_name(), v.lanes) for v in carried]
        self._initial = list(carried)
        self._phis = [function.placeholder() for _ in carried]

    def close(self, values: Sequence[Vector] = ()) -> list[Vector]:
        """End the loop; ``values`` are carried on to the next pass and returned as they are after the last."""
        f = self._function
        following = f.emit(f"add nsw i64 {self.index}, 1")
        more = f.emit(f"icmp slt i64 {following}, {self._count}")
        last = f.label
        after = f.new_label()
        f.line(f"br i1 {more}, label %{self._label}, label %{after}")
        f.fill(self._phi, f"{self.index} = phi i64 [ {self._start}, %{self._before} ], [ {following}, %{last} ]")
        for slot, inner, initial, new in zip(self._phis, self.values, self._initial, values, strict=True):
            kind = f.kind(inner.lanes)
            f.fill(slot, f"{inner.name} = phi {kind} [ {initial.name}, %{self._before} ], [ {new.name}, %{last} ]")
        f.open_label(after)
        return list(values)
