"""The log of a run as a picture: losses above, scores on what is held back below.

Losses are smoothed; of their sum the raw values are shown, too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medsam2.errors import ReadError
from napari_medsam2.evaluation.svg import Scale, shorten, spread_apart
from napari_medsam2.io.atomic import atomic_path
from napari_medsam2.overlays import COLOURS

from .log import Log

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from PIL import ImageDraw

__all__ = ["draw_curves", "smoothed"]

_WIDTH, _PANEL, _GAP = 1000, 300, 62
_LEFT, _RIGHT, _TOP, _BOTTOM = 74, 236, 44, 56
# Drawn larger and reduced, which smooths the lines.
_FINE = 2
_FONT, _TITLE = 14, 17
_PAPER, _FRAME, _GRID = (16, 18, 22), (96, 102, 112), (40, 44, 52)
_INK, _FAINT = (236, 238, 242), (168, 174, 184)
# Share of a curve over which it is averaged, and of its ink that is left for the raw values.
_SMOOTH, _RAW = 0.04, 0.28
_ROW = 20.0
_VAL = "val "
_MAIN = ("loss", "score")


@dataclass(frozen=True, eq=False)
class _Curve:
    """One line of a panel."""

    name: str
    steps: NDArray[np.float64]
    values: NDArray[np.float64]
    colour: tuple[int, int, int]


def draw_curves(log: Path, path: Path) -> None:
    """Draw the curves of a run.

    Parameters
    ----------
    log : Path
        The CSV file that `Log` writes.
    path : Path
        The PNG file, replaced if it is there.

    Raises
    ------
    ReadError
        If the log is missing or holds no values yet.
    WriteError
        If the picture cannot be written.
    """
    from PIL import Image, ImageDraw

    named = Log(log).read()
    losses = _curves({n: v for n, v in named.items() if not n.startswith(_VAL)})
    scores = _curves({n[len(_VAL) :]: v for n, v in named.items() if n.startswith(_VAL)})
    if not losses and not scores:
        raise ReadError(f"{log}: holds no curves; train at least one step first")
    panels = [p for p in ((losses, "Losses (log scale)"), (scores, "Held back")) if p[0]]
    height = _TOP + len(panels) * _PANEL + (len(panels) - 1) * _GAP + _BOTTOM
    sheet = Image.new("RGB", (_WIDTH * _FINE, height * _FINE), _PAPER)
    draw = ImageDraw.Draw(sheet)
    last = max(1.0, *(float(curve.steps[-1]) for curves, _ in panels for curve in curves))
    for number, (curves, title) in enumerate(panels):
        top = _TOP + number * (_PANEL + _GAP)
        _Panel(draw, top, last, curves, is_log=curves is losses).paint(title)
    small = sheet.resize((_WIDTH, height), Image.Resampling.LANCZOS)
    with atomic_path(path, overwrite=True) as temporary:
        small.save(temporary)


def smoothed(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the mean around each value, over fewer ones near the ends."""
    reach = max(0, round(len(values) * _SMOOTH / 2))
    sums = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low, high = np.maximum(index - reach, 0), np.minimum(index + reach + 1, len(values))
    mean: NDArray[np.float64] = (sums[high] - sums[low]) / (high - low)
    return mean


class _Panel:
    """Axes with curves in them, and their names beside."""

    def __init__(
        self,
        draw: ImageDraw.ImageDraw,
        top: float,
        last: float,
        curves: Sequence[_Curve],
        *,
        is_log: bool,
    ) -> None:
        self.draw, self.top, self.curves, self.is_log = draw, top, curves, is_log
        every = np.concatenate([curve.values for curve in curves])
        self.low, self.high = _log_range(every) if is_log else _range(every)
        self.x = Scale((0.0, last), (_LEFT, _WIDTH - _RIGHT))
        ends = (math.log10(self.low), math.log10(self.high)) if is_log else (self.low, self.high)
        scale = Scale(ends, (top + _PANEL, top))
        self.y: Callable[[float], float] = scale
        if is_log:
            self.y = lambda value: scale(math.log10(max(value, self.low)))

    def paint(self, title: str) -> None:
        self._axes(title)
        for curve in self.curves:
            if self.is_log and curve.name in _MAIN:
                self._line(curve, curve.values, _faded(curve.colour), 1)
        # The one that matters most lies above the others.
        for curve in reversed(self.curves):
            values = self._shown(curve)
            self._line(curve, values, curve.colour, 3 if curve.name in _MAIN else 2)
            if not self.is_log:
                for step, value in zip(curve.steps, values, strict=True):
                    self._dot(self.x(step), self.y(value), curve.colour)
        self._legend()

    def _axes(self, title: str) -> None:
        left, right, bottom = _LEFT, _WIDTH - _RIGHT, self.top + _PANEL
        ticks = _log_ticks(self.low, self.high) if self.is_log else _ticks(self.low, self.high)
        for value in ticks:
            y = self.y(value)
            self._segment([(left, y), (right, y)], _GRID, 1)
            self._text((left - 10, y), f"{value:g}", _FAINT, "rm")
        for step in _ticks(*self.x.values):
            x = self.x(step)
            self._segment([(x, self.top), (x, bottom)], _GRID, 1)
            self._segment([(x, bottom), (x, bottom + 5)], _FRAME, 1)
            self._text((x, bottom + 9), f"{step:,.0f}", _FAINT, "ma")
        self._segment([(left, self.top), (left, bottom), (right, bottom)], _FRAME, 1)
        self._text((left, self.top - 10), title, _INK, "ls", _TITLE)
        self._text((right, bottom + 30), "step", _FAINT, "ra")

    def _legend(self) -> None:
        """Name each curve at the height where it ends, with its last value."""
        ends = [self.y(float(self._shown(c)[-1])) for c in self.curves]
        places = spread_apart(ends, _ROW, self.top + 8, self.top + _PANEL - 8)
        x = _WIDTH - _RIGHT + 14
        for curve, y in zip(self.curves, places, strict=True):
            self._segment([(x, y), (x + 18, y)], curve.colour, 3)
            text = f"{shorten(curve.name, 125, _FONT)}  {float(self._shown(curve)[-1]):.3g}"
            self._text((x + 26, y), text, _INK, "lm")

    def _shown(self, curve: _Curve) -> NDArray[np.float64]:
        return smoothed(curve.values) if self.is_log else curve.values

    def _line(
        self, curve: _Curve, values: NDArray[np.float64], ink: tuple[int, int, int], width: int
    ) -> None:
        points = [
            (self.x(float(s)), self.y(float(v))) for s, v in zip(curve.steps, values, strict=True)
        ]
        if len(points) > 1:
            self._segment(points, ink, width)
        else:
            self._dot(*points[0], ink)

    def _segment(
        self, points: Sequence[tuple[float, float]], ink: tuple[int, int, int], width: int
    ) -> None:
        fine = [(x * _FINE, y * _FINE) for x, y in points]
        self.draw.line(fine, fill=ink, width=width * _FINE, joint="curve")

    def _dot(self, x: float, y: float, ink: tuple[int, int, int]) -> None:
        box = ((x - 3) * _FINE, (y - 3) * _FINE, (x + 3) * _FINE, (y + 3) * _FINE)
        self.draw.ellipse(box, fill=ink)

    def _text(
        self,
        where: tuple[float, float],
        text: str,
        ink: tuple[int, int, int],
        anchor: str,
        size: int = _FONT,
    ) -> None:
        place = (where[0] * _FINE, where[1] * _FINE)
        self.draw.text(place, text, fill=ink, font=_font(size * _FINE), anchor=anchor)


def _curves(named: dict[str, list[tuple[int, float]]]) -> list[_Curve]:
    """Return the curves that have finite values, the one that matters most first."""
    order = sorted(named, key=lambda name: (name not in _MAIN, name))
    found: list[_Curve] = []
    for name in order:
        pairs = np.array([pair for pair in named[name] if math.isfinite(pair[1])], dtype=float)
        if len(pairs):
            others = len([curve for curve in found if curve.name not in _MAIN])
            colour = _INK if name in _MAIN else COLOURS[others % len(COLOURS)]
            found.append(_Curve(name, pairs[:, 0], pairs[:, 1], colour))
    return found


def _range(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return a range with room around the values; 0 to 1 is not left without need."""
    low, high = float(values.min()), float(values.max())
    room = 0.08 * (high - low) or 0.05
    low, high = low - room, high + room
    if values.min() >= 0 and values.max() <= 1:
        low, high = max(low, 0.0), min(high, 1.0)
    return low, high


def _log_range(values: NDArray[np.float64]) -> tuple[float, float]:
    """Return the range of what is above 0, of at most six powers of ten."""
    positive = values[values > 0]
    if not len(positive):
        return 0.1, 1.0
    high = float(positive.max()) * 1.3
    # A few values near 0 would press all others to the top.
    return max(float(np.quantile(positive, 0.02)) / 1.3, high * 1e-6), high


def _ticks(low: float, high: float) -> list[float]:
    """Return four to ten round values in a range."""
    rough = (high - low) / 6
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(f * power for f in (1, 2, 5, 10) if f * power >= rough)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def _log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 of each power of ten, or the powers alone if there are many."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if math.log10(high / low) <= 2.5 else (1,)
    every = [float(f"{f}e{p}") for p in powers for f in factors]
    return [value for value in every if low <= value <= high]


def _faded(ink: tuple[int, int, int]) -> tuple[int, int, int]:
    mixed = [round(p + _RAW * (i - p)) for i, p in zip(ink, _PAPER, strict=True)]
    return mixed[0], mixed[1], mixed[2]


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)
