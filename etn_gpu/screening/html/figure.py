"""A figure with its caption, and the rows that can be asked for their numbers with the pointer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etn_gpu.screening.html import svg
from etn_gpu.screening.html.content import Array, ReportContent
from etn_gpu.screening.html.groups import Group
from etn_gpu.screening.html.sampling import chosen_points
from etn_gpu.screening.html.units import QUANTITIES
from etn_gpu.screening.text import escaped

__all__ = ["Figure", "Hover", "json_script", "points"]

_SHOWN = (
    "formation_energy",
    "energy_above_hull",
    "energy_per_atom",
    "volume_per_atom",
    "max_force",
    "extrapolation_grade",
)


@dataclass(frozen=True)
class Figure:
    """A drawing and the words around it, all of them markup but the caption."""

    drawing: str
    caption: str
    legend: str = ""
    kind: str = ""

    @property
    def markup(self) -> str:
        """The figure as an element."""
        words = svg.tag("figcaption", svg.written(self.caption))
        return svg.tag("figure", self.drawing + self.legend + words, class_=f"figure {self.kind}".rstrip())


class Hover:
    """Collects the structures that are drawn, so that a script can show their numbers; each once, whatever plots it is
    in."""

    def __init__(self, content: ReportContent) -> None:
        self._content = content
        self._columns = {name: column for name in _SHOWN if np.isfinite(column := content.numbers(name)).any()}
        self._place: dict[int, int] = {}

    def places(self, rows: Iterable[int]) -> str:
        """Where structures stand in the table, as an attribute."""
        return " ".join(str(self._place.setdefault(row, len(self._place))) for row in rows)

    @property
    def script(self) -> str:
        """The table as data for the script of the page."""
        heads = [[quantity.label, quantity.unit] for quantity in map(self._content.quantity, self._columns)]
        rows = np.fromiter(self._place, np.int64, len(self._place))
        columns = []
        for name, column in self._columns.items():
            values = np.round(column[rows], QUANTITIES[name].digits or 0)
            columns.append([value if value == value else None for value in values.tolist()])
        names = [escaped(self._content.formulas[row] or "") for row in rows]
        table = [list(entry) for entry in zip(names, *columns, strict=True)]
        return json_script("structures", {"columns": heads, "rows": table})


def json_script(name: str, value: object) -> str:
    """Data for the script of a page. No text in it can end the element."""
    shown = json.dumps(value, ensure_ascii=True, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="{name}">{shown}</script>'


def points(
    x: Array,
    y: Array,
    rows: NDArray[np.int64],
    groups: list[Group],
    hover: Hover,
    limit: int,
    order: Array | None = None,
    beyond: NDArray[np.bool_] | None = None,
) -> tuple[str, int]:
    """Dots at places [n] of structures `rows`, a path for each group, and how many there are.

    Args:
        x, y: places in the drawing.
        rows: which structures they are.
        groups: of all structures.
        hover: gets to know the structures.
        limit: the largest number of dots.
        beyond: [n], which of them lie outside of the axes and are drawn paler.
        order: [n], what is lowest is kept in any case and is drawn last; by default what is lowest in the drawing.
    """
    height = -y if order is None else order
    kept = chosen_points(x, height, limit)
    kept = kept[np.argsort(-height[kept], kind="stable")]
    outside = np.zeros(len(x), dtype=bool) if beyond is None else beyond
    parts = []
    for group in groups:
        mine = kept[group.members[rows[kept]]]
        for name, some in (("beyond", mine[outside[mine]]), ("", mine[~outside[mine]])):
            if len(some):
                look = f"dots {group.name} {name}".rstrip()
                parts.append(
                    svg.path_of_dots(x[some], y[some], class_=look, data_rows=hover.places(rows[some].tolist()))
                )
    return "".join(parts), len(kept)
