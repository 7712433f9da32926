"""Scales, their ticks, and the frame of a plot."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from etn_gpu.screening.html import svg
from etn_gpu.screening.html.content import Array

__all__ = ["Frame", "Scale", "tick_text"]

_HEIGHT_OF_TEXT = 13.0


@dataclass(frozen=True)
class Scale:
    """From values between `low` and `high` to lengths between `start` and `end`."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, values: Array | float) -> Array:
        """Places of values; those outside of the scale at its ends."""
        share = (np.asarray(values, np.float64) - self.low) / (self.high - self.low)
        return self.start + np.clip(share, 0.0, 1.0) * (self.end - self.start)

    def at(self, value: float) -> float:
        """The place of a value."""
        return float(self(value))

    def ticks(self, most: int = 6) -> list[float]:
        """Round values between the ends: multiples of 1, 2 or 5 times a power of ten."""
        rough = (self.high - self.low) / most
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(s * power for s in (1.0, 2.0, 5.0, 10.0) if s * power >= rough * 0.999)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [i * step for i in range(first, last + 1)]


def tick_text(value: float, ticks: list[float]) -> str:
    """A value with the digits that tell the ticks apart, and a minus sign that is one."""
    step = ticks[1] - ticks[0] if len(ticks) > 1 else abs(value) or 1.0
    largest = max(map(abs, ticks), default=0.0)
    if largest >= 1e6 or step < 1e-6:
        shown = f"{value:.{math.ceil(math.log10(largest / step) + 1.0)}g}"
    else:
        shown = f"{value:.{max(0, -math.floor(math.log10(step) + 1e-9))}f}"
    return (shown if float(shown) else shown.lstrip("-")).replace("-", "−")


@dataclass(frozen=True)
class Frame:
    """The frame of a plot: both axes, their ticks, and what they show.

    Attributes:
        width, height: of the drawing.
        x, y: the scales.
        x_label, y_label: quantities and units.
    """

    width: float
    height: float
    x: Scale
    y: Scale
    x_label: str
    y_label: str

    #: Room left of, above, right of and below the axes.
    LEFT, TOP, RIGHT, BOTTOM = 66.0, 14.0, 16.0, 50.0

    @staticmethod
    def around(
        width: float, height: float, x: tuple[float, float], y: tuple[float, float], x_label: str, y_label: str
    ) -> Frame:
        """A frame of a given size that shows the ranges `x` and `y`."""
        return Frame(
            width,
            height,
            Scale(*x, Frame.LEFT, width - Frame.RIGHT),
            Scale(*y, height - Frame.BOTTOM, Frame.TOP),
            x_label,
            y_label,
        )

    def beyond(self, x: Array, y: Array) -> NDArray[np.bool_]:
        """Which points [n] lie outside."""
        return (x < self.x.low) | (x > self.x.high) | (y < self.y.low) | (y > self.y.high)

    def drawn(self, x_ticks: list[tuple[float, str]] | None = None) -> str:
        """Grid lines, ticks and labels.

        Args:
            x_ticks: values and text of the ticks of the x axis, by default round numbers.
        """
        x, y = self.x, self.y
        left, right, top, bottom = x.start, x.end, y.end, y.start
        rounds, parts = x.ticks(), []
        y_ticks = y.ticks(5)
        for value in y_ticks:
            at = y.at(value)
            parts.append(svg.polyline([(left, at), (right, at)], class_="grid"))
            parts.append(svg.text(left - 8, at + 4.5, tick_text(value, y_ticks), class_="tick", text_anchor="end"))
        for value, shown in x_ticks or [(v, tick_text(v, rounds)) for v in rounds]:
            at = x.at(value)
            parts.append(svg.polyline([(at, bottom), (at, bottom + 5)], class_="axis"))
            parts.append(svg.text(at, bottom + 7 + _HEIGHT_OF_TEXT, shown, class_="tick", text_anchor="middle"))
        parts.append(svg.polyline([(left, bottom), (right, bottom)], class_="axis"))
        parts.append(svg.text((left + right) / 2, self.height - 8, self.x_label, class_="label", text_anchor="middle"))
        middle = (top + bottom) / 2
        turned = f"rotate(-90 15 {svg.number(middle)})"
        parts.append(svg.text(15.0, middle, self.y_label, class_="label", text_anchor="middle", transform=turned))
        return "".join(parts)
