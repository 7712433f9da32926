"""Conditions on rows as users write them: ``status == 'ok' and formation_energy < 0``.

A condition is a Python expression of column names, numbers, strings, ``and or not``, comparisons, ``in``, ``+ - * /``
and ``abs()``, and nothing else of Python. A comparison with an empty field is false, as in SQL; ``== None`` and
``!= None`` ask for empty fields. Names that are none in Python stand in back-quotes: ```my key` > 3``.
"""

from __future__ import annotations

import ast
import difflib
import operator
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

from etn_gpu.errors import DataError
from etn_gpu.screening.columns import Kind
from etn_gpu.screening.quoted_names import QuotedNames
from etn_gpu.screening.where_kinds import check_kinds

__all__ = ["Condition"]

_Values = Mapping[str, Any]
_Function = Callable[[_Values], Any]

_COMPARISONS: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt, ast.LtE: operator.le, ast.Gt: operator.gt, ast.GtE: operator.ge,
    ast.Eq: operator.eq, ast.NotEq: operator.ne,
    ast.In: lambda a, b: a in b, ast.NotIn: lambda a, b: a not in b,
}  # fmt: skip
_ARITHMETIC: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add, ast.Sub: operator.sub, ast.Mult: operator.mul, ast.Div: operator.truediv,
}  # fmt: skip
_EXAMPLE = "\"status == 'ok' and formation_energy < 0\""
#: Names that may be written for themselves.
_LITERALS = {"true": True, "false": False, "none": None}


class Condition:
    """A condition on rows.

    Args:
        text: the expression.
        columns: names that it may use, and their kinds, None where these are not known yet.

    Raises:
        DataError: it is no such expression, names a column that there is not, or brings text and numbers together.

    >>> columns = {"n_atoms": Kind.integer, "formula": Kind.text}
    >>> Condition("n_atoms <= 8 and 'W' in formula", columns)({"n_atoms": 2, "formula": "MoW"})
    True
    """

    def __init__(self, text: str, columns: Mapping[str, Kind | None]) -> None:
        self.text = text
        self._columns = columns
        #: The columns that it uses.
        self.names: set[str] = set()
        try:
            self._quoted = QuotedNames(text.strip())
            expression = ast.parse(self._quoted.text, mode="eval").body
            self._function = self._of(expression)
            if problem := check_kinds(expression, {self._quoted.written(name): columns[name] for name in self.names}):
                raise DataError(f"the condition {text!r} does not fit the columns: {self._quoted.restored(problem)}")
        except DataError:
            raise
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            reason = error.msg if isinstance(error, SyntaxError) else str(error)
            raise DataError(
                f"the condition {text!r} cannot be read ({reason}): expected an expression like {_EXAMPLE}"
            ) from None

    @property
    def of_unknown_kind(self) -> bool:
        """Whether it uses a column whose kind was not known."""
        return any(self._columns[name] is None for name in self.names)

    def __call__(self, values: Mapping[str, Any]) -> bool:
        """Whether a row, by the names of its columns, fulfils it.

        Raises:
            DataError: it compares or combines text with numbers.
        """
        try:
            return bool(self._function(values))
        except ZeroDivisionError:
            return False
        except TypeError as error:
            raise DataError(f"the condition {self.text!r} does not fit the columns: {error}") from None

    def _of(self, node: ast.expr) -> _Function:
        if isinstance(node, ast.Constant) and isinstance(node.value, str | int | float | None):
            value = node.value
            return lambda values: value
        if isinstance(node, ast.Name):
            return self._column(self._quoted.meant(node.id))
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            members = [self._of(member) for member in node.elts]
            return lambda values: [member(values) for member in members]
        if isinstance(node, ast.BoolOp):
            parts = [self._of(part) for part in node.values]
            if isinstance(node.op, ast.And):
                return lambda values: all(part(values) for part in parts)
            return lambda values: any(part(values) for part in parts)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub | ast.UAdd):
            return self._unary(node)
        if isinstance(node, ast.BinOp) and type(node.op) in _ARITHMETIC:
            return _with_numbers(_ARITHMETIC[type(node.op)], self._of(node.left), self._of(node.right))
        if isinstance(node, ast.Compare) and all(type(op) in _COMPARISONS for op in node.ops):
            return self._compare(node)
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id == "abs"
            and not node.keywords
            and len(node.args) == 1
        ):
            argument = self._of(node.args[0])
            return lambda values: None if (value := argument(values)) is None else abs(value)
        raise ValueError(f"{self._quoted.restored(ast.unparse(node))!r} is not allowed in it")

    def _column(self, name: str) -> _Function:
        if name in self._columns:
            self.names.add(name)
            return lambda values: values[name]
        if name.lower() in _LITERALS:
            value = _LITERALS[name.lower()]
            return lambda values: value
        close = difflib.get_close_matches(name, self._columns, 1)
        hint = f"; did you mean {self._quoted.shown(close[0])}?" if close else "."
        raise DataError(
            f"the condition {self.text!r} names {name}, which is no column{hint} There are "
            f"{', '.join(map(self._quoted.shown, self._columns))}. Text stands in quotes"
        )

    def _unary(self, node: ast.UnaryOp) -> _Function:
        operand = self._of(node.operand)
        if isinstance(node.op, ast.Not):
            return lambda values: not operand(values)
        signed = operator.neg if isinstance(node.op, ast.USub) else operator.pos
        return lambda values: None if (value := operand(values)) is None else signed(value)

    def _compare(self, node: ast.Compare) -> _Function:
        operands = [self._of(operand) for operand in (node.left, *node.comparators)]
        for operand in (node.left, *node.comparators):
            if isinstance(operand, ast.Constant) and operand.value is None and len(node.ops) == 1:
                return self._empty(node, operands)
        comparisons = [_COMPARISONS[type(op)] for op in node.ops]

        def holds(values: _Values) -> bool:
            found = [operand(values) for operand in operands]
            if None in found:
                return False
            pairs = list(pairwise(found))
            for a, b in pairs:
                _check_comparable(a, b)
            return all(comparison(a, b) for comparison, (a, b) in zip(comparisons, pairs, strict=True))

        return holds

    def _empty(self, node: ast.Compare, operands: list[_Function]) -> _Function:
        """Asks whether a field is empty."""
        if not isinstance(node.ops[0], ast.Eq | ast.NotEq):
            raise ValueError("None can be compared by == and != only")
        wanted = isinstance(node.ops[0], ast.Eq)
        first, second = operands
        return lambda values: (first(values) == second(values)) is wanted


def _check_comparable(a: Any, b: Any) -> None:
    """TypeError for text and a number, which Python calls different and so would answer what was not asked."""
    for member in b if isinstance(b, list) else [b]:
        if not isinstance(member, list | None) and isinstance(a, str) is not isinstance(member, str):
            raise TypeError(f"{a!r} cannot be compared with {member!r}")


def _with_numbers(function: Callable[[Any, Any], Any], left: _Function, right: _Function) -> _Function:
    def value(values: _Values) -> Any:
        a, b = left(values), right(values)
        if a is None or b is None:
            return None
        for operand in (a, b):
            if not isinstance(operand, int | float):  # a text times a number could fill the memory
                raise TypeError(f"{operand!r} is no number to compute with")
        return function(a, b)

    return value
