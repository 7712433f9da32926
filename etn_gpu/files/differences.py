"""Where two values as JSON has them differ, and files from what they were, for messages."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

from etn_gpu.files.identity import AnyPath

__all__ = ["change", "difference", "shown"]

_LONGEST_SHOWN = 200


def difference(name: str, one: Any, other: Any) -> tuple[str, Any, Any]:
    """Where two values differ, and these; only the part that differs of those too long to be shown."""
    if max(len(_text(one)), len(_text(other))) <= _LONGEST_SHOWN:
        return name, one, other
    if isinstance(one, dict) and isinstance(other, dict):
        pairs = [(key, one.get(key), other.get(key)) for key in other | one]
    elif isinstance(one, list) and isinstance(other, list):
        pairs = [(f"number {k}", a, b) for k, (a, b) in enumerate(zip_longest(one, other), start=1)]
    else:
        return name, one, other
    return next(difference(f"{name}, {key}", a, b) for key, a, b in pairs if a != b)


def _text(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def shown(value: Any) -> str:
    text = _text(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."


def change(paths: Sequence[AnyPath], lengths: Sequence[int]) -> str:
    """The first of some files that has not so many bytes as it had, in words; '' where there is none."""
    for path, before in zip(paths, lengths, strict=True):
        try:
            length = os.path.getsize(path)
        except OSError:
            return f"{os.fspath(path)} is not there"
        if length != before:
            return f"{os.fspath(path)} had {before} bytes, and has {length}"
    return ""
