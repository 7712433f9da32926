"""The hull of two elements: formation energies over the composition."""

from __future__ import annotations

import numpy as np

from etn_gpu.screening.html import svg
from etn_gpu.screening.html.axes import Frame
from etn_gpu.screening.html.compositions import Compositions, Phases
from etn_gpu.screening.html.content import Array, ReportContent
from etn_gpu.screening.html.figure import Figure, Hover, points
from etn_gpu.screening.html.groups import Group, entries_of, legend
from etn_gpu.screening.html.plots import chosen_of, outside_of
from etn_gpu.screening.html.sampling import axis_range

__all__ = ["binary_diagram"]

_WIDTH, _HEIGHT = 520.0, 380.0
#: Labels keep this distance from one another.
_ROOM = 46.0
#: Energies beyond so many depths of the hull above it tell little about it.
_DEPTHS = 12.0
#: Less than that above the hull is shown in any case [eV/atom].
_LEAST = 0.02


def binary_diagram(
    content: ReportContent,
    compositions: Compositions,
    phases: Phases,
    system: tuple[str, str],
    groups: list[Group],
    hover: Hover,
    limit: int,
) -> Figure | None:
    """The diagram of two elements, None where no structure of both or one of them has an energy.

    Energies are what structures have above the hull plus the hull, so that they fit the line; without a hull they are
    the formation energies of the run.
    """
    rows, shares = compositions.within(system)
    mine = phases.within(system)
    order = np.argsort(mine.shares[:, 1], kind="stable")
    hull_x, hull_y, whole = mine.shares[order, 1], mine.formation[order], len(order) > 1
    whole = whole and bool(np.isfinite(hull_y).all())
    x = shares[:, 1]
    if whole:
        y = content.numbers("energy_above_hull")[rows] + np.interp(x, hull_x, hull_y)
    else:
        y = content.numbers("formation_energy")[rows]
    known = np.isfinite(y)
    rows, x, y = rows[known], x[known], y[known]
    if not len(rows):
        return None
    frame = Frame.around(
        _WIDTH,
        _HEIGHT,
        (-0.03, 1.03),
        _energies(y, hull_y if whole else np.zeros(1)),
        f"Share of {system[1]}",
        content.quantity("formation_energy").axis,
    )
    dots, n = points(frame.x(x), frame.y(y), rows, groups, hover, limit, beyond=frame.beyond(x, y))
    zero = svg.polyline([(frame.x.start, frame.y.at(0.0)), (frame.x.end, frame.y.at(0.0))], class_="zero")
    parts = [frame.drawn(), zero, dots]
    entries = entries_of(groups, rows)
    name = "–".join(system)
    caption = f"{name}: {content.quantity('formation_energy').label} over composition{chosen_of(n, len(rows))}."
    if whole:
        places = list(zip(frame.x(hull_x).tolist(), frame.y(hull_y).tolist(), strict=True))
        parts += [svg.polyline(places, class_="hull"), _stable(places, [mine.formulas[p] for p in order])]
        entries += [("line", "hull"), ("stable", "stable phase")]
        caption += " Energies are relative to the pure elements on the hull."
    caption += outside_of(frame, x, y)
    drawing = svg.drawing(_WIDTH, _HEIGHT, "".join(parts), caption, data_system=name)
    return Figure(drawing, caption, legend(entries))


def _energies(y: Array, hull: Array) -> tuple[float, float]:
    """The range of the axis: all of the hull, and what is not too far above it."""
    depth = float(hull.max() - hull.min())
    low, high = axis_range(y, margin=0.0)
    low, high = min(low, float(hull.min())), max(high, float(hull.max()))
    high = min(
        high, max(float(hull.max()) + _DEPTHS * depth, 1.3 * float(np.quantile(y, 0.9)), float(hull.max()) + _LEAST)
    )
    # Below the hull is room for the names of the phases.
    return axis_range(np.array([low - 0.08 * (high - low), high]))


def _stable(places: list[tuple[float, float]], formulas: list[str]) -> str:
    """Diamonds for the phases on the hull; their names where there is room, those of the deepest first."""
    parts: list[str] = []
    labelled: list[float] = []
    for place in sorted(range(len(places)), key=lambda p: (-places[p][1], places[p][0])):
        x, y = places[place]
        parts.append(svg.tag("path", d=f"M{svg.number(x)} {svg.number(y - 5)}l5 5l-5 5l-5 -5z", class_="stable"))
        if all(abs(x - other) >= _ROOM for other in labelled):
            labelled.append(x)
            anchor = {0: "start", len(places) - 1: "end"}.get(place, "middle")
            name = svg.subscripted(formulas[place])
            parts.append(svg.text(x, y + 20, name, class_="name", text_anchor=anchor))
    return "".join(parts)
