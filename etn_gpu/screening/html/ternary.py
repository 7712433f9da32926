"""The triangle of three elements: energies above the hull, stable phases and the tie lines between them."""

from __future__ import annotations

import math
from itertools import combinations, pairwise

import numpy as np

from etn_gpu.screening.html import svg
from etn_gpu.screening.html.axes import tick_text
from etn_gpu.screening.html.compositions import Compositions, Phases
from etn_gpu.screening.html.content import Array, ReportContent
from etn_gpu.screening.html.figure import Figure, Hover, points
from etn_gpu.screening.html.groups import Group, legend
from etn_gpu.screening.html.plots import chosen_of

__all__ = ["ternary_diagram", "tie_lines"]

_WIDTH, _HEIGHT, _SIDE = 520.0, 470.0, 400.0
_TOP = 34.0
_COLOURS = 7
#: Names of phases are that far apart, along or across.
_ROOM = (90.0, 16.0)
_TOLERANCE = 1e-9
_FAR_ABOVE = 1e4
_CORNERS = np.array([[-0.5, 1.0], [0.5, 1.0], [0.0, 0.0]]) * [_SIDE, _SIDE * math.sqrt(0.75)] + [_WIDTH / 2, _TOP]


def ternary_diagram(
    content: ReportContent,
    compositions: Compositions,
    phases: Phases,
    system: tuple[str, str, str],
    hover: Hover,
    limit: int,
) -> Figure | None:
    """The diagram of three elements, None where no structure of theirs has an energy.

    Colours are energies above the hull; without a hull they are the formation energies of the run.
    """
    rows, shares = compositions.within(system)
    name = "energy_above_hull"
    if not np.isfinite(content.numbers(name)[rows]).any():
        name = "formation_energy"
    values = content.numbers(name)[rows]
    known = np.isfinite(values)
    rows, shares, values = rows[known], shares[known], values[known]
    if not len(rows):
        return None
    edges = _levels(_lowest(shares, values))
    level = np.full(content.n_rows, -1)
    level[rows] = np.clip(np.searchsorted(edges[1:-1], values, side="right"), 0, _COLOURS - 1)
    groups = [Group(f"level{i}", "", level == i) for i in reversed(range(_COLOURS))]
    places = shares @ _CORNERS
    dots, n = points(places[:, 0], places[:, 1], rows, groups, hover, limit, order=values)

    mine = phases.within(system)
    corners = mine.shares @ _CORNERS
    ties = "".join(svg.polyline([tuple(corners[p]), tuple(corners[q])], class_="tie") for p, q in tie_lines(mine))
    title = "–".join(system)
    quantity = content.quantity(name)
    caption = f"{title}: {quantity.label} by composition{chosen_of(n, len(rows))}; the lowest is on top."
    entries = []
    if len(mine.shares):
        entries = [("stable", "stable phase"), ("tie", "tie line")]
    drawing = svg.drawing(
        _WIDTH,
        _HEIGHT,
        _triangle(system) + dots + ties + _stable(corners, mine) + _colour_bar(edges, quantity.axis),
        caption,
        data_system=title,
    )
    return Figure(drawing, caption, legend(entries))


def tie_lines(phases: Phases) -> list[tuple[int, int]]:
    """The pairs of phases that are stable together: the edges of the lower hull of energies over shares."""
    from scipy.spatial import ConvexHull

    shares, n = phases.shares[:, :2], len(phases.shares)
    span = shares - shares.mean(axis=0) if n else shares
    if np.linalg.matrix_rank(span, tol=_TOLERANCE) < 2:
        along = np.lexsort(shares.T).tolist()
        return sorted((min(pair), max(pair)) for pair in pairwise(along))
    # Planes can be taken off, and with energies of order one what is flat is so for Qhull.
    plane = np.column_stack([shares, np.ones(n)])
    energies = phases.energies - plane @ np.linalg.lstsq(plane, phases.energies, rcond=None)[0]
    energies /= max(float(np.abs(energies).max()), _TOLERANCE)
    # With a point far above, phases in one plane have a hull too. Facets that face downwards do not have it.
    above = np.append(shares.mean(axis=0), _FAR_ABOVE)
    hull = ConvexHull(np.vstack([np.column_stack([shares, energies]), above]))
    below = np.sort(hull.simplices[hull.equations[:, 2] < -_TOLERANCE], axis=1).tolist()
    return sorted({(p, q) for corners in below for p, q in combinations(corners, 2)})


def _lowest(shares: Array, values: Array) -> Array:
    """The lowest value of each composition."""
    keys = np.round(shares[:, :2] * 1e6).astype(np.int64) @ np.array([2_000_000, 1])
    order = np.lexsort((values, keys))
    first = np.diff(keys[order], prepend=-1) != 0
    lowest: Array = values[order][first]
    return lowest


def _levels(values: Array) -> list[float]:
    """Limits of the colours, round numbers: from the lowest value to what nearly all are below."""
    low = min(0.0, float(values.min())) if values.min() > -1e-6 else float(values.min())
    high = float(np.quantile(values, 0.9))
    width = max((high - low) / _COLOURS, 1e-4, 1e-9 * abs(low))
    power = 10.0 ** math.floor(math.log10(width))
    step = next(s * power for s in (1.0, 2.0, 2.5, 5.0, 10.0) if s * power >= width * 0.999)
    first = math.floor(low / step + 1e-9)
    return [(first + i) * step for i in range(_COLOURS + 1)]


def _triangle(system: tuple[str, str, str]) -> str:
    """The sides, lines of constant shares, and the elements at the corners."""
    parts = []
    for share in (0.2, 0.4, 0.6, 0.8):
        for z in range(3):
            ends = np.zeros((2, 3))
            ends[:, z] = share
            ends[0, (z + 1) % 3] = ends[1, (z + 2) % 3] = 1.0 - share
            (a, b), (c, d) = ends @ _CORNERS
            parts.append(svg.polyline([(a, b), (c, d)], class_="grid"))
    parts.append(svg.polyline([(x, y) for x, y in _CORNERS], closed=True, class_="axis"))
    for (x, y), symbol, (dx, dy, anchor) in zip(
        _CORNERS, system, ((-6, 20, "end"), (6, 20, "start"), (0, -12, "middle")), strict=True
    ):
        parts.append(svg.text(x + dx, y + dy, symbol, class_="corner", text_anchor=anchor))
    return "".join(parts)


def _stable(corners: Array, phases: Phases) -> str:
    """Diamonds for the phases on the hull; their names where there is room, the shortest first."""
    parts: list[str] = []
    labelled: list[tuple[float, float]] = []
    for place in sorted(range(len(corners)), key=lambda p: (len(phases.formulas[p]), p)):
        (x, y), formula = corners[place], phases.formulas[place]
        parts.append(svg.tag("path", d=f"M{svg.number(x)} {svg.number(y - 5)}l5 5l-5 5l-5 -5z", class_="stable"))
        roomy = all(abs(x - other) >= _ROOM[0] or abs(y - below) >= _ROOM[1] for other, below in labelled)
        if phases.shares[place].max() < 1.0 and roomy:
            labelled.append((x, y))
            left = x < _WIDTH / 2 - 1.0
            anchor, shift = ("end", -9.0) if left else ("start", 9.0)
            parts.append(svg.text(x + shift, y - 5, svg.subscripted(formula), class_="name", text_anchor=anchor))
    return "".join(parts)


def _colour_bar(edges: list[float], label: str) -> str:
    """The colours with their limits; the last one is that of everything above."""
    width, top = 44.0, _HEIGHT - 46.0
    left = (_WIDTH - _COLOURS * width) / 2
    parts = [svg.text(_WIDTH / 2, top - 7, label, class_="label", text_anchor="middle")]
    for i in range(_COLOURS):
        at = left + i * width
        parts.append(svg.tag("rect", x=at, y=top, width=width, height=12.0, class_=f"level{i}"))
        parts.append(svg.text(at, top + 28, tick_text(edges[i], edges), class_="tick", text_anchor="middle"))
    parts.append(svg.text(left + _COLOURS * width, top + 28, "more", class_="tick", text_anchor="middle"))
    return "".join(parts)
