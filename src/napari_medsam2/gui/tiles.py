"""Frames side by side: where their columns are, and what colour their tiles have."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QRectF
from qtpy.QtGui import QColor, QImage, QPen

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from qtpy.QtGui import QPainter

__all__ = ["NOTHING", "Columns", "draw_mark", "draw_ramp", "ramp", "tiles"]

# As viridis: brighter is better in every form of colour vision, and in print. Its dark end is
# lifted, for the worst tiles must not sink into a dark window.
_RAMP = ("#9c1f8f", "#6b4ab0", "#3f70ae", "#2b8fa0", "#28a486", "#44b874", "#5ec962", "#addc30")
_BEST = "#fde725"
_STOPS = np.array([[int(c[i : i + 2], 16) for i in (1, 3, 5)] for c in (*_RAMP, _BEST)])
NOTHING = QColor("#808080")
"""The colour of a frame that was looked at and has no value."""
_GAPS_FROM = 5  # pixels a column, from which on there is room for a gap


@dataclass(frozen=True)
class Columns:
    """One column a frame.

    Attributes
    ----------
    n : int
        Number of frames.
    left, room : int
        Where the first column begins, and the width of all together, in pixels.
    """

    n: int
    left: int
    room: int

    @property
    def width(self) -> float:
        """Width of a column; less than a pixel where there are many frames."""
        return self.room / max(1, self.n)

    def frame_at(self, x: float) -> int | None:
        """Return the frame at a place, the first or last one beyond; None if there are none."""
        if not self.n:
            return None
        return min(max(math.floor((x - self.left) / self.room * self.n), 0), self.n - 1)

    def x_of(self, frame: int) -> float:
        """Return the middle of a frame's column."""
        return self.left + (frame + 0.5) * self.width


def ramp(value: float) -> QColor:
    """Return the colour of a value from 0 to 1."""
    return QColor.fromRgba(int(_ramp(np.array([value]))[0]))


def tiles(
    values: NDArray[np.float64],
    thin: NDArray[np.bool_],
    width: int,
    height: int,
    ratio: float = 1.0,
) -> QImage:
    """Draw the tiles of one object.

    All columns at once: a strip of twelve objects and a thousand frames is drawn many times while
    a propagation fills it.

    Parameters
    ----------
    values : ndarray of float64
        One a frame, 0 to 1; nan where there is none. Of several frames in one column of pixels
        the worst is seen.
    thin : ndarray of bool
        One a frame: where a thin line says that there is no value.
    width, height : int
        Of the image, in the pixels of the window.
    ratio : float
        Pixels of the screen for each pixel of the window.
    """
    across, down = max(1, round(width * ratio)), max(1, round(height * ratio))
    count = min(len(values), across)
    starts = np.arange(count) * len(values) // max(1, count)
    worst = np.fmin.reduceat(values, starts) if count else values
    is_thin = np.logical_or.reduceat(thin, starts) if count else thin
    # Whole pixels, so that neighbours neither overlap nor leave a gap.
    edges = np.rint(np.arange(count + 1) * across / max(1, count)).astype(int)
    has_value = ~np.isnan(worst)
    colours = np.where(has_value, _ramp(np.where(has_value, worst, 0)), 0).astype(np.uint32)
    lines = np.where(is_thin & ~has_value, NOTHING.rgba(), colours).astype(np.uint32)
    drawn = np.zeros((down, across), np.uint32)
    tall, low = (np.repeat(line, np.diff(edges)) for line in (colours, lines))
    thickness = max(1, round(down / 4))
    middle = (down - thickness) // 2
    drawn[:, : len(tall)] = tall
    drawn[middle : middle + thickness, : len(low)] = low
    if count and across / count >= _GAPS_FROM * ratio:
        drawn[:, edges[1:] - 1] = 0
    return _image(drawn, ratio)


def draw_ramp(painter: QPainter, x: float, y: float, width: int, height: float) -> None:
    """Draw the colours from 0 to 1."""
    for step in range(width):
        painter.fillRect(QRectF(x + step, y, 1, height), ramp(step / max(1, width - 1)))


def draw_mark(
    painter: QPainter, columns: Columns, frame: int, top: float, bottom: float, least: float = 3.0
) -> None:
    """Draw an outline around the column of a frame."""
    width = max(least, columns.width)
    left = round(columns.x_of(frame) - width / 2)
    outline = QRectF(left - 1, top, round(width) + 1, bottom - top)
    # Black around white can be seen on every colour.
    painter.setPen(QPen(QColor("black"), 3))
    painter.drawRect(outline)
    painter.setPen(QPen(QColor("white"), 1))
    painter.drawRect(outline)


def _ramp(values: NDArray[np.float64]) -> NDArray[np.uint32]:
    """Return the colours of values from 0 to 1 as 0xAARRGGBB."""
    at = np.linspace(0, 1, len(_STOPS))
    red, green, blue = (
        np.rint(np.interp(values, at, _STOPS[:, i])).astype(np.uint32) for i in range(3)
    )
    colours: NDArray[np.uint32] = 0xFF000000 | red << 16 | green << 8 | blue
    return colours


def _image(pixels: NDArray[Any], ratio: float) -> QImage:
    height, width = pixels.shape
    form = QImage.Format.Format_ARGB32_Premultiplied
    # A copy, for Qt does not keep the bytes alive.
    image = QImage(pixels.tobytes(), width, height, 4 * width, form).copy()
    image.setDevicePixelRatio(ratio)
    return image
