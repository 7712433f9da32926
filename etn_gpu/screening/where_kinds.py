"""Whether a condition compares and computes with what can be compared and computed with, as far as kinds are known."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Literal

from etn_gpu.screening.columns import Kind

__all__ = ["check_kinds"]

#: What an expression gives: flags count as numbers; None where it is not known, or nothing.
_Sort = Literal["text", "number", "list", None]
_WORDS = {"text": "text", "number": "a number", "list": "a list"}


def check_kinds(expression: ast.expr, kinds: Mapping[str, Kind | None]) -> str:
    """What brings text and numbers together, in words; empty where nothing does.

    Args:
        expression: a condition that is one (:class:`~etn_gpu.screening.where.Condition`).
        kinds: of the names in it.
    """
    try:
        _sort(expression, kinds)
    except _MisfitError as error:
        return str(error)
    return ""


class _MisfitError(Exception):
    """Text and numbers together."""


def _sort(node: ast.expr, kinds: Mapping[str, Kind | None]) -> _Sort:
    if isinstance(node, ast.Constant):
        return None if node.value is None else "text" if isinstance(node.value, str) else "number"
    if isinstance(node, ast.Name):
        kind = kinds.get(node.id)
        return None if kind is None else "text" if kind is Kind.text else "number"
    if isinstance(node, ast.Tuple | ast.List | ast.Set):
        return "list"
    if isinstance(node, ast.BoolOp):
        for part in node.values:
            _sort(part, kinds)
        return "number"
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        _sort(node.operand, kinds)
        return "number"
    if isinstance(node, ast.Compare):
        for op, left, right in zip(node.ops, (node.left, *node.comparators), node.comparators, strict=False):
            _compare(op, left, right, kinds)
        return "number"
    operands = [child for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
    for operand in operands[1:] if isinstance(node, ast.Call) else operands:
        if (sort := _sort(operand, kinds)) in ("text", "list"):
            raise _MisfitError(f"{ast.unparse(operand)} is {_WORDS[sort]}, no number to compute with")
    return "number"


def _compare(op: ast.cmpop, left: ast.expr, right: ast.expr, kinds: Mapping[str, Kind | None]) -> None:
    first, second = _sort(left, kinds), _sort(right, kinds)
    if isinstance(op, ast.In | ast.NotIn):
        if isinstance(right, ast.Tuple | ast.List | ast.Set):
            for member in right.elts:
                _compare(ast.Eq(), left, member, kinds)
            return
        if second == "number":
            raise _MisfitError(f"{ast.unparse(right)} is a number, and nothing is in it")
    if first is not None and second is not None and first != second:
        raise _MisfitError(
            f"{ast.unparse(left)} is {_WORDS[first]}, {ast.unparse(right)} is {_WORDS[second]}: they cannot be compared"
        )
