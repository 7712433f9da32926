"""The little of SVG that the drawings need: elements, numbers, text, dots."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable

import numpy as np

from etn_gpu.screening.html.content import Array
from etn_gpu.screening.text import escaped

__all__ = ["drawing", "number", "path_of_dots", "polyline", "subscripted", "tag", "text", "written"]

_FORMULA = re.compile(r"(?:[A-Z][a-z]?(?:[0-9]+(?:\.[0-9]+)?)?)+")
_SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


def written(content: str) -> str:
    """Text from outside for HTML, XML and attributes in quotes: what is unsafe is escaped."""
    return html.escape(escaped(content))


def subscripted(formula: str) -> str:
    """A chemical formula with the numbers of atoms as subscripts; other text as it is."""
    return formula.translate(_SUBSCRIPTS) if _FORMULA.fullmatch(formula) and "." not in formula else formula


def number(value: float) -> str:
    """A coordinate, to a hundredth of a unit."""
    return f"{value:.2f}".rstrip("0").rstrip(".")


def tag(name: str, content: str = "", /, **attributes: str | float) -> str:
    """An element; names of attributes with ``_`` for ``-``, and ``class_``. The content is markup already."""
    shown = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{written(value) if isinstance(value, str) else number(value)}"'
        for key, value in attributes.items()
    )
    return f"<{name}{shown}>{content}</{name}>" if content else f"<{name}{shown}/>"


def text(x: float, y: float, content: str, /, **attributes: str | float) -> str:
    """Text at a place."""
    return tag("text", written(content), x=x, y=y, **attributes)


def polyline(points: Iterable[tuple[float, float]], /, *, closed: bool = False, **attributes: str | float) -> str:
    """Straight lines through points."""
    d = "M" + "L".join(f"{number(x)} {number(y)}" for x, y in points) + ("Z" if closed else "")
    return tag("path", d=d, **attributes)


def path_of_dots(x: Array, y: Array, /, **attributes: str | float) -> str:
    """Dots at places [N], as lines of no length with round or square ends: a few bytes for each."""
    places = zip(np.round(x, 1).tolist(), np.round(y, 1).tolist(), strict=True)
    return tag("path", d="".join(f"M{a:g} {b:g}h0" for a, b in places), **attributes)


def drawing(width: float, height: float, content: str, label: str, **attributes: str | float) -> str:
    """A whole drawing, scaled to the width of what it stands in; `label` is what it shows in words."""
    return tag(
        "svg",
        content,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {number(width)} {number(height)}",
        role="img",
        aria_label=label,
        **attributes,
    )
