"""Numbers that LLVM functions read from memory: constants by their places in one table, and tables of their own."""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np

#: A table of numbers that LLVM takes for variables. Literals it would load once before a loop, all of them: they would
#: push what the loop works on out of the registers, while a number in memory is a free operand of an instruction.
CONSTANTS = "@constants"


def literal(value: float) -> str:
    """A number as LLVM writes it without rounding: the bits of a double, also for values of type float."""
    return "0x" + struct.pack(">d", value).hex()


class Tables:
    """The numbers of a module, equal ones only once."""

    def __init__(self, dtype: np.dtype, scalar: str) -> None:
        self._dtype, self._scalar = dtype, scalar
        self._constants: dict[str, int] = {}
        self._tables: dict[str, str] = {}

    def place(self, value: float) -> int:
        """Place of ``value`` in the table CONSTANTS."""
        return self._constants.setdefault(self._literal(value), len(self._constants))

    def integers(self, values: Sequence[int]) -> str:
        """Name of a table of 64-bit integers."""
        return self._table("i64", [str(v) for v in values])

    def numbers(self, values: Sequence[float]) -> str:
        """Name of a table of numbers of the module's type."""
        return self._table(self._scalar, [self._literal(v) for v in values])

    def lines(self) -> list[str]:
        """The definitions."""
        numbers = ", ".join(f"{self._scalar} {number}" for number in self._constants)
        constants = f"{CONSTANTS} = internal global [{len(self._constants)} x {self._scalar}] [{numbers}]"
        return [constants, *(f"{name} = internal constant {content}" for content, name in self._tables.items())]

    def _literal(self, value: float) -> str:
        return literal(float(self._dtype.type(value)))

    def _table(self, kind: str, values: Sequence[str]) -> str:
        content = f"[{len(values)} x {kind}] [{', '.join(f'{kind} {v}' for v in values)}]"
        return self._tables.setdefault(content, f"@table{len(self._tables)}")
