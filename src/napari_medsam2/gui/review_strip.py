"""The strip of the review: one row an object, one column a frame, coloured by confidence."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from qtpy.QtCore import QEvent, QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QFont, QHelpEvent, QPainter, QPen, QPixmap, QPolygonF
from qtpy.QtWidgets import QSizePolicy, QToolTip, QWidget

from .tiles import NOTHING, Columns, draw_mark, draw_ramp, tiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from qtpy.QtGui import QMouseEvent, QPaintEvent, QResizeEvent

    from .review_rows import ReviewRow

__all__ = ["ReviewLegend", "ReviewStrip"]

_SWATCH = 8  # width of the colours of the objects, at the left
_NAMES = 100
_AIR = 3
_TOP, _BOTTOM = 5, 2  # room for the mark
_TALL, _LOW, _ROOM = 22, 7, 72
_NAMED_FROM = 13  # pixels a row, from which on each has its name
_LANE = 3  # below the tiles of a row, for what is accepted
_DIAMOND = 4.0


class ReviewStrip(QWidget):
    """Rows of tiles, with marks at prompts and a line below what was accepted.

    Parameters
    ----------
    picked : callable
        Called with the frame that was clicked on or dragged to.
    chosen : callable
        Called with the id of the object that was clicked on.
    """

    def __init__(self, picked: Callable[[int], object], chosen: Callable[[int], object]) -> None:
        super().__init__()
        self._picked, self._chosen = picked, chosen
        self._rows: tuple[ReviewRow, ...] = ()
        self._n_frames = 0
        self._current: int | None = None
        self._selected: int | None = None
        self._is_dragging = False
        self._picture: QPixmap | None = None
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setAccessibleName("Confidence of each object on each slice")

    @property
    def rows(self) -> tuple[ReviewRow, ...]:
        """What is shown."""
        return self._rows

    @property
    def current(self) -> int | None:
        """The frame that is marked."""
        return self._current

    @property
    def row_height(self) -> int:
        """Height of a row in pixels: less of it for many objects, to a limit."""
        return min(_TALL, max(_LOW, _ROOM // max(1, len(self._rows))))

    def show_rows(self, rows: Sequence[ReviewRow], n_frames: int, selected: int) -> None:
        """Show other objects, or another one as the selected one; nothing if all is as before."""
        stays = len(rows) == len(self._rows) and all(
            new.is_as(old) for new, old in zip(rows, self._rows, strict=True)
        )
        if stays and (n_frames, selected) == (self._n_frames, self._selected):
            return
        self._rows, self._n_frames, self._selected = tuple(rows), n_frames, selected
        self.setFixedHeight(_TOP + len(rows) * self.row_height + _BOTTOM)
        self._draw_anew()

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
        """Return the middle of the tiles of a row."""
        return _TOP + row * self.row_height + self._tile_height() / 2

    def told(self, x: float, y: float) -> str:
        """Return in words what is shown at a place, "" if nothing."""
        row, frame = self._row_at(y), self.frame_at(x)
        if row is None or frame is None:
            return ""
        if x < self._columns().left:
            return f"{row.title}: click to draw it further"
        return f"Slice {frame}, {row.title}\n{row.told(frame)}"

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
        """Choose the object of the row, and go to the frame."""
        if event is None or event.button() != Qt.MouseButton.LeftButton:
            return
        row = self._row_at(event.position().y())
        if row is not None:
            self._chosen(row.object_id)
        self._is_dragging = event.position().x() >= self._columns().left - _AIR
        self._go_to(event.position())

    def mouseMoveEvent(self, event: QMouseEvent | None) -> None:
        """Go along while the button is held."""
        if event is not None and event.buttons() & Qt.MouseButton.LeftButton:
            self._go_to(event.position())

    def mouseReleaseEvent(self, event: QMouseEvent | None) -> None:
        """End the drag."""
        self._is_dragging = False

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Draw the tiles anew."""
        super().resizeEvent(event)
        self._draw_anew()

    def changeEvent(self, event: QEvent | None) -> None:
        """Draw anew in the colours of another theme."""
        super().changeEvent(event)
        if event is not None and event.type() in (
            QEvent.Type.PaletteChange,
            QEvent.Type.StyleChange,
            QEvent.Type.FontChange,
        ):
            self._draw_anew()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw tiles and mark."""
        if not self._rows or not self._n_frames:
            return
        if self._picture is None:
            self._picture = self._draw()
        painter = QPainter(self)
        painter.drawPixmap(0, 0, self._picture)
        if self._current is not None and self._current < self._n_frames:
            bottom = _TOP + len(self._rows) * self.row_height
            draw_mark(painter, self._columns(), self._current, _TOP - 3, bottom - 1, least=5)
        painter.end()

    # Inside

    def _go_to(self, where: QPointF) -> None:
        frame = self.frame_at(where.x())
        if self._is_dragging and frame is not None and frame != self._current:
            self._picked(frame)

    def _draw_anew(self) -> None:
        self._picture = None
        self.update()

    def _draw(self) -> QPixmap:
        ratio = self.devicePixelRatioF()
        picture = QPixmap(round(self.width() * ratio), round(self.height() * ratio))
        picture.setDevicePixelRatio(ratio)
        picture.fill(Qt.GlobalColor.transparent)
        painter = QPainter(picture)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        for number, row in enumerate(self._rows):
            self._draw_row(painter, row, _TOP + number * self.row_height, ratio)
        painter.end()
        return picture

    def _draw_row(self, painter: QPainter, row: ReviewRow, top: int, ratio: float) -> None:
        columns, tall, lane = self._columns(), self._tile_height(), self._lane()
        is_selected = row.object_id == self._selected
        # Also where nothing was segmented one sees how far the frames go.
        paper = QColor(self._ink())
        paper.setAlpha(48 if is_selected else 22)
        painter.fillRect(QRectF(columns.left, top, columns.room, tall), paper)
        painter.fillRect(QRectF(0, top, _SWATCH, tall + lane), QColor.fromRgbF(*row.colour))
        self._draw_name(painter, row, top, is_selected)
        image = tiles(row.scores, row.absent, columns.room, tall, ratio)
        painter.drawImage(QPointF(columns.left, top), image)
        accepted = np.flatnonzero(np.diff(row.accepted, prepend=False, append=False))
        for first, end in accepted.reshape(-1, 2):
            left = columns.left + first * columns.width
            width = max(2.0, (end - first) * columns.width - 1)
            painter.fillRect(QRectF(left, top + tall, width, lane), self._ink())
        for frame in np.flatnonzero(row.prompted):
            _draw_prompt(painter, columns.x_of(int(frame)), top + tall / 2, tall)

    def _draw_name(self, painter: QPainter, row: ReviewRow, top: int, is_selected: bool) -> None:
        """Write an object's name; of rows that are too low, that of the selected one alone."""
        if self.row_height < _NAMED_FROM and not is_selected:
            return
        font = QFont(self.font())
        font.setBold(is_selected)
        font.setPixelSize(min(12, max(10, self.row_height - 3)))
        painter.setFont(font)
        painter.setPen(QPen(self._ink()))
        room = _NAMES - 2 * _AIR
        text = painter.fontMetrics().elidedText(row.title, Qt.TextElideMode.ElideRight, room)
        height = max(self.row_height, _NAMED_FROM)
        middle = min(max(top + self.row_height / 2, height / 2), self.height() - height / 2)
        where = QRectF(_SWATCH + _AIR + 1, middle - height / 2, room, height)
        painter.drawText(where, Qt.AlignmentFlag.AlignVCenter, text)

    def _row_at(self, y: float) -> ReviewRow | None:
        number = math.floor((y - _TOP) / self.row_height)
        return self._rows[number] if 0 <= number < len(self._rows) else None

    def _columns(self) -> Columns:
        left = _SWATCH + _NAMES + _AIR
        return Columns(self._n_frames, left, max(1, self.width() - left - _AIR))

    def _lane(self) -> int:
        return _LANE if self.row_height >= _NAMED_FROM else _LANE - 1

    def _tile_height(self) -> int:
        return self.row_height - self._lane() - 1

    def _ink(self) -> QColor:
        return self.palette().text().color()


class ReviewLegend(QWidget):
    """What the signs of the strip mean, in one line."""

    def __init__(self) -> None:
        super().__init__()
        self.setToolTip(
            "Confidence from 0 to 1; a thin line: looked at, but not seen there;\n"
            "a diamond: a prompt; a line below: accepted; the frame: the slice on show"
        )
        self.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        self.setFixedSize(self._width(), 18)

    def changeEvent(self, event: QEvent | None) -> None:
        """Fit another font."""
        super().changeEvent(event)
        if event is not None and event.type() in (
            QEvent.Type.FontChange,
            QEvent.Type.StyleChange,
        ):
            self.setFixedSize(self._width(), 18)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the signs, each before its meaning."""
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        ink, middle, x = self.palette().text().color(), self.height() / 2, 0.0
        metrics = self.fontMetrics()

        def write(text: str) -> None:
            nonlocal x
            painter.setPen(QPen(ink))
            where = QRectF(x, 0, metrics.horizontalAdvance(text) + 2, self.height())
            painter.drawText(where, Qt.AlignmentFlag.AlignVCenter, text)
            x += metrics.horizontalAdvance(text) + _AIR

        for text in _LEGEND:
            if text == "1":
                draw_ramp(painter, x, middle - 4, 40, 8)
                x += 40 + _AIR
            elif text == "not seen":
                painter.fillRect(QRectF(x, middle - 1.5, 12, 3), NOTHING)
                x += 12 + _AIR
            elif text == "prompt":
                _draw_prompt(painter, x + _DIAMOND + 1, middle, 16)
                x += 2 * _DIAMOND + 2 + _AIR
            elif text == "accepted":
                painter.fillRect(QRectF(x, middle + 2, 12, 3), ink)
                x += 12 + _AIR
            write(text)
            x += 0 if text == "0" else 2 * _AIR
        painter.end()

    def _width(self) -> int:
        signs = 40 + 12 + 2 * _DIAMOND + 2 + 12
        words = sum(self.fontMetrics().horizontalAdvance(text) + 4 * _AIR for text in _LEGEND)
        return round(signs + words)


_LEGEND = ("0", "1", "not seen", "prompt", "accepted")


def _draw_prompt(painter: QPainter, x: float, y: float, room: float) -> None:
    """Draw a diamond; black around white can be seen on every colour."""
    size = min(_DIAMOND, room / 2)
    corners = [QPointF(x, y - size), QPointF(x + size, y), QPointF(x, y + size)]
    painter.setPen(QPen(QColor("black"), 1.4))
    painter.setBrush(QColor("white"))
    painter.drawPolygon(QPolygonF([*corners, QPointF(x - size, y)]))
    painter.setBrush(Qt.BrushStyle.NoBrush)
