"""JSON form of the frozen dataclasses a Program is made of: exact for floats, tuples become lists and back."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from numbers import Integral
from typing import Any

from etn_gpu.plan import operations

_OPERATIONS = {
    cls.__name__: cls
    for cls in vars(operations).values()
    if isinstance(cls, type) and dataclasses.is_dataclass(cls) and cls.__module__ == operations.__name__
}


def encode(item: Any) -> Any:
    """Nested lists, numbers, strings and {"type": class, field: ...} dictionaries."""
    if type(item) in (int, float, str):  # nearly everything in a large table
        return item
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        fields = {f.name: encode(getattr(item, f.name)) for f in dataclasses.fields(item)}
        # 1 and 1.0 are equal numbers, so that equal Programs must write them alike.
        floats = {f.name: float(fields[f.name]) for f in dataclasses.fields(item) if f.type == "float"}
        return {"type": type(item).__name__, **fields, **floats}
    if isinstance(item, tuple):
        return [encode(x) for x in item]
    return int(item) if isinstance(item, Integral) else item


def decode(item: Any, classes: Mapping[str, type]) -> Any:
    """Inverse of :func:`encode`; ``classes`` adds to the operation classes. KeyError for an unknown class."""
    if isinstance(item, dict):
        known = {**_OPERATIONS, **classes}
        kind = item["type"]
        if kind not in known:
            raise KeyError(f"unknown class {kind!r}")
        return known[kind](**{k: decode(v, classes) for k, v in item.items() if k != "type"})
    if isinstance(item, list):
        return tuple(decode(x, classes) for x in item)
    return item
