"""A small builder of plots as inline SVG.

Owns geometry: scales, ticks, axes, bars. Colours are CSS classes, so one drawing serves light,
dark and print. Knows nothing of sessions.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from app.report.markup import Child, Markup, element

WIDTH = 560.0


@dataclass(frozen=True, slots=True)
class Scale:
    """A linear map from a domain to pixels."""

    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        """Map a value, kept inside the drawing."""
        span = self.high - self.low
        share = 0.0 if span <= 0 else (value - self.low) / span
        return self.start + min(max(share, 0.0), 1.0) * (self.stop - self.start)


def ticks(high: float, *, count: int = 5) -> tuple[float, ...]:
    """Round numbers from 0 that reach `high`, about `count` of them (steps of 1, 2 or 5)."""
    if not high > 0 or not math.isfinite(high):
        return (0.0, 1.0)
    raw = high / count
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if raw <= m * power * (1 + 1e-9))
    return tuple(step * i for i in range(math.ceil(high / step - 1e-9) + 1))


def drawing(height: float, *children: Child, label: str, width: float = WIDTH) -> Markup:
    """Wrap children as one picture with a description for screen readers."""
    return element(
        "svg",
        element("title", label),
        *children,
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        cls="plot",
        xmlns="http://www.w3.org/2000/svg",
    )


def rect(x: float, y: float, width: float, height: float, cls: str, *, tip: str = "") -> Markup:
    """Draw a bar; `tip` shows when pointed at."""
    return element(
        "rect",
        element("title", tip) if tip else None,
        x=x,
        y=y,
        width=max(width, 0.0),
        height=max(height, 0.0),
        rx=2.0,
        cls=cls,
    )


def line(x1: float, y1: float, x2: float, y2: float, cls: str) -> Markup:
    """Draw a straight line."""
    return element("line", x1=x1, y1=y1, x2=x2, y2=y2, cls=cls)


def dot(x: float, y: float, radius: float, cls: str, *, tip: str = "") -> Markup:
    """Draw a dot; `tip` shows when pointed at."""
    title = element("title", tip) if tip else None
    return element("circle", title, cx=x, cy=y, r=radius, cls=cls)


def text(x: float, y: float, content: str, cls: str = "", *, anchor: str = "start") -> Markup:
    """Write text; `anchor` is `start`, `middle` or `end`."""
    return element("text", content, x=x, y=y, cls=cls or None, text_anchor=anchor)


def x_axis(
    scale: Scale,
    values: tuple[float, ...],
    *,
    top: float,
    bottom: float,
    form: Callable[[float], str] = lambda value: f"{value:g}",
    title: str = "",
) -> list[Markup]:
    """Draw vertical grid lines, their numbers below, and the axis title under those."""
    parts = []
    for value in values:
        parts.append(line(scale(value), top, scale(value), bottom, "grid"))
        parts.append(text(scale(value), bottom + 15, form(value), "tick", anchor="middle"))
    if title:
        middle = (scale.start + scale.stop) / 2
        parts.append(text(middle, bottom + 33, title, "axis", anchor="middle"))
    return parts


def y_axis(
    scale: Scale,
    values: tuple[float, ...],
    *,
    left: float,
    right: float,
    form: Callable[[float], str] = lambda value: f"{value:g}",
) -> list[Markup]:
    """Draw horizontal grid lines with their numbers on the left."""
    parts = []
    for value in values:
        parts.append(line(left, scale(value), right, scale(value), "grid"))
        parts.append(text(left - 7, scale(value) + 4, form(value), "tick", anchor="end"))
    return parts
