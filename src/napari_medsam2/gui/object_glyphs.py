"""Glyphs of the object panel, drawn in a square of 20."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QPointF, QRectF, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPainterPath, QPen, QPixmap, QPolygonF

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["OBJECT_GLYPHS", "mark"]

_MARK = 16  # side of a mark in the table
_FAINT = 0.45


def _new(painter: QPainter, colour: QColor) -> None:
    painter.drawEllipse(QPointF(8, 11.5), 6, 6)
    painter.setPen(QPen(colour, 2.2, cap=Qt.PenCapStyle.RoundCap))
    painter.drawLine(QPointF(15.5, 2), QPointF(15.5, 9))
    painter.drawLine(QPointF(12, 5.5), QPointF(19, 5.5))


def _merge(painter: QPainter, colour: QColor) -> None:
    for y in (4.5, 15.5):
        painter.drawLine(QPointF(2, y), QPointF(6, y))
        painter.drawLine(QPointF(6, y), QPointF(11, 10))
    painter.drawLine(QPointF(11, 10), QPointF(16, 10))
    painter.setBrush(colour)
    painter.drawPolygon(QPolygonF([QPointF(14.5, 7), QPointF(18.5, 10), QPointF(14.5, 13)]))


def _delete(painter: QPainter, colour: QColor) -> None:
    painter.drawLine(QPointF(3, 5.5), QPointF(17, 5.5))
    painter.drawLine(QPointF(8, 2.8), QPointF(12, 2.8))
    painter.drawPolyline(
        QPolygonF([QPointF(4.8, 5.5), QPointF(6, 17.5), QPointF(14, 17.5), QPointF(15.2, 5.5)])
    )
    for x in (8.3, 11.7):
        painter.drawLine(QPointF(x, 8.5), QPointF(x, 14.5))


def _up(painter: QPainter, colour: QColor) -> None:
    painter.drawPolyline(QPolygonF([QPointF(4.5, 9), QPointF(10, 3.5), QPointF(15.5, 9)]))
    painter.drawLine(QPointF(10, 3.5), QPointF(10, 16.5))


def _down(painter: QPainter, colour: QColor) -> None:
    painter.drawPolyline(QPolygonF([QPointF(4.5, 11), QPointF(10, 16.5), QPointF(15.5, 11)]))
    painter.drawLine(QPointF(10, 3.5), QPointF(10, 16.5))


def _order(painter: QPainter, colour: QColor) -> None:
    painter.drawRect(QRectF(2.5, 8, 10, 9.5))
    painter.setBrush(colour)
    painter.drawRect(QRectF(7.5, 2.5, 10, 9.5))


def _eye(painter: QPainter, colour: QColor) -> None:
    lids = QPainterPath(QPointF(1.5, 10))
    lids.cubicTo(5, 3.5, 15, 3.5, 18.5, 10)
    lids.cubicTo(15, 16.5, 5, 16.5, 1.5, 10)
    painter.drawPath(lids)
    painter.setBrush(colour)
    painter.drawEllipse(QPointF(10, 10), 2.6, 2.6)


def _closed_eye(painter: QPainter, colour: QColor) -> None:
    lid = QPainterPath(QPointF(1.5, 9))
    lid.cubicTo(5, 15.5, 15, 15.5, 18.5, 9)
    painter.drawPath(lid)
    for x0, y0, x1, y1 in ((4.5, 12.5, 2.5, 15), (10, 14, 10, 17), (15.5, 12.5, 17.5, 15)):
        painter.drawLine(QPointF(x0, y0), QPointF(x1, y1))


def _lock(painter: QPainter, colour: QColor) -> None:
    painter.drawArc(QRectF(6, 2.5, 8, 10), 0, 180 * 16)
    painter.setBrush(colour)
    painter.drawRoundedRect(QRectF(4, 8.5, 12, 9), 1.5, 1.5)


def _open_lock(painter: QPainter, colour: QColor) -> None:
    painter.drawArc(QRectF(9, 2.5, 8, 10), 0, 180 * 16)
    painter.drawRoundedRect(QRectF(3, 8.5, 12, 9), 1.5, 1.5)


def _prompts(painter: QPainter, colour: QColor) -> None:
    """Draw a box and a click in it: what a person says of an object."""
    painter.drawRect(QRectF(2.5, 3.5, 15, 13))
    painter.setBrush(colour)
    painter.drawEllipse(QPointF(10, 10), 2.2, 2.2)


OBJECT_GLYPHS: dict[str, Callable[[QPainter, QColor], None]] = {
    "new": _new,
    "merge": _merge,
    "delete": _delete,
    "up": _up,
    "down": _down,
    "order": _order,
}
_MARKS = {
    "shown": (_eye, 1.0),
    "hidden": (_closed_eye, 0.6),
    "locked": (_lock, 1.0),
    "unlocked": (_open_lock, _FAINT),
    "prompts": (_prompts, 1.0),
}


def mark(name: str, colour: QColor) -> QIcon:
    """Return the mark of a state: "shown", "hidden", "locked" or "unlocked"."""
    draw, opacity = _MARKS[name]
    pixmap = QPixmap(2 * _MARK, 2 * _MARK)
    pixmap.setDevicePixelRatio(2)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setOpacity(opacity)
    painter.scale(_MARK / 20, _MARK / 20)
    painter.setPen(QPen(colour, 1.8, cap=Qt.PenCapStyle.RoundCap, join=Qt.PenJoinStyle.RoundJoin))
    draw(painter, colour)
    painter.end()
    icon = QIcon(pixmap)
    # Else Qt tints it while its row is selected.
    icon.addPixmap(pixmap, QIcon.Mode.Selected)
    return icon
