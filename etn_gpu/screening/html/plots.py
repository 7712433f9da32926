"""Distributions, and energy against volume."""

from __future__ import annotations

import math

import numpy as np

from etn_gpu.screening.html import svg
from etn_gpu.screening.html.axes import Frame, Scale
from etn_gpu.screening.html.content import Array, ReportContent
from etn_gpu.screening.html.figure import Figure, Hover, points
from etn_gpu.screening.html.groups import Group, entries_of, legend
from etn_gpu.screening.html.sampling import axis_range

__all__ = ["chosen_of", "distribution", "energy_of_volume", "outside_of"]

WIDTH, HEIGHT = 520.0, 340.0
_BINS = 40
_DECADES = 1.5


def distribution(content: ReportContent, name: str, groups: list[Group], limit: float | None = None) -> Figure | None:
    """How often which values of a column come up, None where there are fewer than two.

    Args:
        content: the report.
        name: of the column.
        groups: drawn on top of each other, so that the height is that of all.
        limit: a value to mark.
    """
    values = content.numbers(name)
    known = np.isfinite(values)
    if known.sum() < 2:
        return None
    positive = values[known & (values > 0.0)]
    # Forces and grades are above zero and differ by orders of magnitude.
    log = (
        name in ("max_force", "extrapolation_grade") and len(positive) == known.sum() and _decades(positive) > _DECADES
    )
    drawn = np.log10(values, out=np.full_like(values, np.nan), where=known & (values > 0.0)) if log else values
    if limit is not None and log:
        limit = math.log10(limit)
    low, high = axis_range(drawn[known], margin=0.0)
    if limit is not None:
        low, high = min(low, limit), max(high, limit)
    room = 0.02 * (high - low)
    edges = np.linspace(low, high, _BINS + 1)
    if limit is not None and low < limit < high:
        # No bin has values on both sides of the limit.
        width = (high - low) / (_BINS - 1)
        edges = limit + width * (np.arange(_BINS + 1.0) - math.ceil((limit - low) / width))
        low, high = float(edges[0]), float(edges[-1])
    counts = [np.histogram(np.clip(drawn[known & group.members], low, high), edges)[0] for group in reversed(groups)]
    total = np.sum(counts, axis=0)
    quantity = content.quantity(name)
    frame = Frame.around(
        WIDTH, HEIGHT, (low - room, high + room), (0.0, 1.06 * float(total.max())), quantity.axis, "Structures"
    )
    parts, base = [], np.zeros(_BINS)
    for group, n in zip(reversed(groups), counts, strict=True):
        parts.append(_bars(frame, edges, base, base + n, group.name))
        base = base + n
    entries = entries_of(groups, known, "bars ")
    if limit is not None:
        at = frame.x.at(limit)
        parts.append(svg.polyline([(at, frame.y.start), (at, frame.y.end)], class_="limit"))
        entries.append(("limit", "threshold"))
    middle = float(np.median(values[known]))
    unit = f" {quantity.unit}" if quantity.unit else ""
    number = int(known.sum())
    caption = (
        f"Distribution of the {quantity.label}: {number:,} structures, median {middle:.4g}{unit}, "
        f"from {values[known].min():.4g} to {values[known].max():.4g}{unit}."
    ).replace("-", "−")
    caption += " Logarithmic axis." if log else ""
    if beyond := int(((drawn[known] < low) | (drawn[known] > high)).sum()):
        caption += f" {beyond:,} outside of the axis count in its outermost bins."
    drawing = svg.drawing(WIDTH, HEIGHT, frame.drawn(_powers(frame.x) if log else None) + "".join(parts), caption)
    return Figure(drawing, caption, legend(entries))


def _decades(positive: Array) -> float:
    inner = np.quantile(positive, [0.01, 0.99])
    return float(np.log10(inner[1] / inner[0]))


def _bars(frame: Frame, edges: Array, low: Array, high: Array, name: str) -> str:
    left, right = frame.x(edges[:-1]), frame.x(edges[1:])
    bottom, top = frame.y(low), frame.y(high)
    d = "".join(
        f"M{svg.number(a + 0.5)} {svg.number(y)}V{svg.number(z)}H{svg.number(b - 0.5)}V{svg.number(y)}Z"
        for a, b, y, z in zip(left, right, bottom, top, strict=True)
        if y - z > 0.0
    )
    return svg.tag("path", d=d, class_=f"bars {name}")


def _powers(scale: Scale) -> list[tuple[float, str]]:
    """Ticks of a logarithmic axis: the powers of ten, with 2 and 5 times them where there are few."""
    first, last = math.floor(scale.low), math.ceil(scale.high)
    step = max(1, (last - first) // 6)
    factors = (1.0, 2.0, 5.0) if last - first <= 3 else (1.0,)
    ticks = [(p + math.log10(f), f * 10.0**p) for p in range(first, last + 1, step) for f in factors]
    return [(place, f"{value:g}") for place, value in ticks if scale.low <= place <= scale.high]


def energy_of_volume(content: ReportContent, groups: list[Group], hover: Hover, limit: int) -> Figure | None:
    """Energies over volumes, None where there is nothing to draw."""
    name = "formation_energy" if np.isfinite(content.numbers("formation_energy")).any() else "energy_per_atom"
    x, y = content.numbers("volume_per_atom"), content.numbers(name)
    rows = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if not len(rows):
        return None
    x, y = x[rows], y[rows]
    frame = Frame.around(
        WIDTH,
        HEIGHT,
        axis_range(x),
        axis_range(y),
        content.quantity("volume_per_atom").axis,
        content.quantity(name).axis,
    )
    dots, n = points(frame.x(x), frame.y(y), rows, groups, hover, limit, beyond=frame.beyond(x, y))
    caption = f"{content.quantity(name).label.capitalize()} against volume per atom{chosen_of(n, len(rows))}."
    caption += outside_of(frame, x, y)
    drawing = svg.drawing(WIDTH, HEIGHT, frame.drawn() + dots, caption)
    return Figure(drawing, caption, legend(entries_of(groups, rows)))


def chosen_of(shown: int, number: int) -> str:
    """The words of a caption that say how many structures are drawn."""
    if shown == number:
        return f", {number:,} structure{'s' if number != 1 else ''}"
    return f", {shown:,} of {number:,} structures: the extremes, the lowest ones, and others spread evenly"


def outside_of(frame: Frame, x: Array, y: Array) -> str:
    """The sentence of a caption on what lies outside of the axes."""
    beyond = int(frame.beyond(x, y).sum())
    return f" {beyond:,} outside of the axes, at their ends in pale colours." if beyond else ""
