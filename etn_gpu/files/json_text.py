"""Reports as JSON that every reader takes: it has no word for NaN and infinity, which become null."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

__all__ = ["json_text"]


def json_text(value: Any) -> str:
    """Indented JSON with a line break at the end; numbers that are not finite are null.

    Raises:
        TypeError: something in ``value`` has no JSON.
    """
    return json.dumps(_finite(value), indent=1, allow_nan=False) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not isfinite(value) else value
