"""A strip of small tiles: one row an object, one column a frame, coloured by a measure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QEvent, QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QFont, QHelpEvent, QPainter, QPen, QPixmap
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from .tiles import NOTHING, Columns, draw_mark, draw_ramp, tiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qtpy.QtGui import QMouseEvent, QPaintEvent, QResizeEvent

__all__ = ["ScoreStrip", "StripRow"]

_SWATCH = 8  # width of the colours of the objects, at the left
_AIR = 3
_TOP = 5  # room for the mark above the rows
_LEGEND = 18
_TALL, _LOW, _ROOM = 14, 4, 120


@dataclass(frozen=True)
class StripRow:
    """One object of the strip.

    Attributes
    ----------
    name : str
    colour : tuple of float
        RGBA, each 0 to 1.
    values : tuple of float
        One a frame, nan where there is nothing to show.
    """

    name: str
    colour: tuple[float, ...]
    values: tuple[float, ...]


class ScoreStrip(QWidget):
    """Rows of tiles.

    Parameters
    ----------
    picked : callable
        Called with the frame that was clicked on.
    """

    def __init__(self, picked: Callable[[int], Any]) -> None:
        super().__init__()
        self._picked = picked
        self._rows: tuple[StripRow, ...] = ()
        self._current: int | None = None
        self._measure = ""
        self._picture: QPixmap | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)

    @property
    def rows(self) -> tuple[StripRow, ...]:
        """What is shown."""
        return self._rows

    @property
    def current(self) -> int | None:
        """The frame that is marked."""
        return self._current

    def show_rows(self, rows: Sequence[StripRow], measure: str = "Dice") -> None:
        """Show other objects or another measure; all have a value for each frame."""
        if measure != self._measure:
            self._measure = measure
            self.setAccessibleName(f"{measure} of each object on each frame")
            self.update()
        if tuple(rows) != self._rows:
            self._rows = tuple(rows)
            self._picture = None
            self.setFixedHeight(round(_TOP + len(self._rows) * self._row_height() + _LEGEND))
            self.update()

    def mark(self, frame: int | None) -> None:
        """Mark a frame, or none."""
        if frame != self._current:
            self._current = frame
            self.update()

    def frame_at(self, x: float) -> int | None:
        """Return the frame at a place, None if there are no frames."""
        return self._columns().frame_at(x)

    def x_of(self, frame: int) -> float:
        """Return the middle of a frame's column."""
        return self._columns().x_of(frame)

    def y_of(self, row: int) -> float:
        """Return the middle of a row."""
        return _TOP + (row + 0.5) * self._row_height()

    def told(self, x: float, y: float) -> str:
        """Return in words what is shown at a place, "" if nothing."""
        row, frame = math.floor((y - _TOP) / self._row_height()), self.frame_at(x)
        if frame is None or not 0 <= row < len(self._rows):
            return ""
        value, name = self._rows[row].values[frame], self._rows[row].name
        score = "on neither" if math.isnan(value) else f"{self._measure} {value:.2f}"
        return f"frame {frame}: {score}\n{name}"

    def event(self, event: QEvent | None) -> bool:
        """Show a tip for what lies below the pointer."""
        if isinstance(event, QHelpEvent):
            told = self.told(event.pos().x(), event.pos().y())
            if told:
                QToolTip.showText(event.globalPos(), told, self)
            else:
                QToolTip.hideText()
            return True
        return bool(super().event(event))

    def mousePressEvent(self, event: QMouseEvent | None) -> None:
        """Pick a frame."""
        if event is not None and event.button() == Qt.MouseButton.LeftButton:
            self._pick(event.position())

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Pick frames while the button is held."""
        if event is not None and event.buttons() & Qt.MouseButton.LeftButton:
            self._pick(event.position())

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Draw the tiles anew."""
        self._picture = None
        super().resizeEvent(event)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw tiles, legend and mark."""
        if not self._rows:
            return
        if self._picture is None:
            self._picture = self._draw()
        painter = QPainter(self)
        painter.drawPixmap(0, 0, self._picture)
        self._draw_legend(painter)
        if self._current is not None and self._current < self._n_frames():
            self._draw_mark(painter, self._current)
        painter.end()

    def _pick(self, where: QPointF) -> None:
        frame = self.frame_at(where.x())
        if frame is not None and where.y() < self.height() - _LEGEND:
            self._picked(frame)

    def _draw(self) -> QPixmap:
        ratio = self.devicePixelRatioF()
        picture = QPixmap(round(self.width() * ratio), round(self.height() * ratio))
        picture.setDevicePixelRatio(ratio)
        picture.fill(Qt.GlobalColor.transparent)
        painter = QPainter(picture)
        height = self._row_height()
        for number, row in enumerate(self._rows):
            y = _TOP + number * height
            painter.fillRect(QRectF(0, y, _SWATCH, height - 1), QColor.fromRgbF(*row.colour))
            values = np.array(row.values, dtype=np.float64)
            image = tiles(values, np.isnan(values), self._columns().room, height - 1, ratio)
            painter.drawImage(QPointF(self._left(), y), image)
        painter.end()
        return picture

    def _draw_legend(self, painter: QPainter) -> None:
        font = QFont(self.font())
        font.setPointSizeF(max(6.0, font.pointSizeF() * 0.85))
        painter.setFont(font)
        painter.setPen(QPen(self.palette().text().color()))
        top = self.height() - _LEGEND
        middle, x = top + _LEGEND / 2 + 1, float(self._left())
        width = painter.fontMetrics().horizontalAdvance

        def write(text: str) -> None:
            nonlocal x
            where = QRectF(x, top + 2, width(text) + 2, _LEGEND - 2)
            painter.drawText(where, Qt.AlignmentFlag.AlignVCenter, text)
            x += width(text) + 5

        write(f"{self._measure} 0")
        draw_ramp(painter, x, middle - 4, 48, 8)
        x += 48 + 5
        write("1")
        x += 10
        painter.fillRect(QRectF(x, middle - 1.5, 12, 3), NOTHING)
        x += 12 + 5
        write("on neither")

    def _draw_mark(self, painter: QPainter, frame: int) -> None:
        bottom = _TOP + len(self._rows) * self._row_height()
        draw_mark(painter, self._columns(), frame, _TOP - 2, bottom)

    def _left(self) -> int:
        return _SWATCH + _AIR

    def _columns(self) -> Columns:
        room = max(1, self.width() - self._left() - _AIR)
        return Columns(self._n_frames(), self._left(), room)

    def _row_height(self) -> int:
        return min(_TALL, max(_LOW, _ROOM // max(1, len(self._rows))))

    def _n_frames(self) -> int:
        return len(self._rows[0].values) if self._rows else 0
