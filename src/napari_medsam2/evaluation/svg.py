"""Small drawings as SVG text, to stand inside an HTML page.

Colours, fonts and line widths are classes of the page's style sheet, so that a drawing follows
the page into dark mode and onto paper.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["Drawing", "Scale", "shorten", "spread_apart", "text_width"]

_ELLIPSIS = "…"


@dataclass(frozen=True)
class Scale:
    """A linear map from values to a length on the drawing."""

    values: tuple[float, float]
    pixels: tuple[float, float]

    def __call__(self, value: float) -> float:
        """Return where a value lies; values outside are held at the ends."""
        low, high = self.values
        part = min(1.0, max(0.0, (value - low) / (high - low)))
        return self.pixels[0] + part * (self.pixels[1] - self.pixels[0])


class Drawing:
    """Elements of one picture, in the order in which they are painted.

    Parameters
    ----------
    width, height : float
        Size in pixels of the page; the picture shrinks with its column.
    title : str
        What it shows, for those who hear the page.
    """

    def __init__(self, width: float, height: float, title: str) -> None:
        self._size = (width, height)
        self._title = title
        self._elements: list[str] = []

    def text(
        self,
        x: float,
        y: float,
        text: str,
        anchor: str = "start",
        style: str = "label",
        full: str = "",
    ) -> None:
        """Write text with its baseline at y; `full` is told when the pointer rests on it."""
        hint = f"<title>{escape(full)}</title>" if full and full != text else ""
        self._elements.append(
            f'<text class="{style}" x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}">'
            f"{hint}{escape(text)}</text>"
        )

    def line(self, x0: float, y0: float, x1: float, y1: float, style: str) -> None:
        """Draw a straight line."""
        self.lines([((x0, y0), (x1, y1))], style)

    def lines(self, paths: Iterable[Sequence[tuple[float, float]]], style: str) -> None:
        """Draw open lines as one element."""
        self._path("".join(map(_trace, paths)), style)

    def area(self, outline: Sequence[tuple[float, float]], style: str) -> None:
        """Fill the inside of an outline."""
        self._path(_trace(outline) + "Z", style)

    def dots(self, centres: Iterable[tuple[float, float]], style: str) -> None:
        """Draw dots as one element: lines of no length, whose round caps are the dots."""
        self._path("".join(f"M{_n(x)} {_n(y)}h0" for x, y in centres), style)

    def rectangle(self, x: float, y: float, width: float, height: float, style: str) -> None:
        """Draw a rectangle."""
        self._elements.append(
            f'<rect class="{style}" x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" '
            f'height="{_n(height)}"/>'
        )

    def render(self) -> str:
        """Return the element to put into a page."""
        width, height = map(_n, self._size)
        return (
            f'<svg role="img" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
            f"<title>{escape(self._title)}</title>{''.join(self._elements)}</svg>"
        )

    def _path(self, d: str, style: str) -> None:
        if d:
            self._elements.append(f'<path class="{style}" d="{d}"/>')


def text_width(text: str, size: float) -> float:
    """Return about how wide text is in a sans-serif font; wide enough for most."""
    narrow = sum(c in "iIjl.,:;|!'()[] ftr1" for c in text)
    wide = sum(c.isupper() or c in "mwMW@%" for c in text)
    return size * (0.62 * len(text) - 0.24 * narrow + 0.16 * wide)


def shorten(text: str, room: float, size: float) -> str:
    """Cut text in its middle until it fits; both ends of a model's name tell something."""
    shown, kept = text, len(text)
    while text_width(shown, size) > room and kept > 4:
        kept -= 1
        tail = kept // 2
        shown = text[: kept - tail] + _ELLIPSIS + text[-tail:]
    return shown


def spread_apart(wanted: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Move positions apart by at least `gap`, as little as needed, between low and high.

    If there is no room for all, the gaps shrink.
    """
    if not wanted:
        return []
    gap = min(gap, (high - low) / max(1, len(wanted) - 1))
    order = sorted(range(len(wanted)), key=lambda i: wanted[i])
    placed = [0.0] * len(wanted)
    lowest = low
    for i in order:
        lowest = placed[i] = max(wanted[i], lowest)
        lowest += gap
    highest = high
    for i in reversed(order):
        highest = placed[i] = min(placed[i], highest)
        highest -= gap
    return placed


def _trace(points: Sequence[tuple[float, float]]) -> str:
    kept = [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
    return "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in kept) if len(kept) > 1 else ""


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
