"""Square buttons with drawn icons that take the colour of the theme's text."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QPointF, QRectF, QSize, Qt
from qtpy.QtGui import QColor, QPainter, QPainterPath, QPen
from qtpy.QtWidgets import QToolButton

from .object_glyphs import OBJECT_GLYPHS

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtGui import QPaintEvent

__all__ = ["GLYPHS", "ToolButton"]

_SIDE = 20.0  # of the square that glyphs are drawn in
_WIDTH, _HEIGHT = 36, 30
_FAINT = 0.35
_CHECKED = "#00897b"  # teal, readable below white in both themes


class ToolButton(QToolButton):
    """A checkable button with a glyph.

    Parameters
    ----------
    glyph : str
        A key of `GLYPHS`.
    name : str
        What it is, for those who do not see it.
    clicked : callable
    checkable : bool
    """

    def __init__(
        self, glyph: str, name: str, clicked: Callable[[], Any], *, checkable: bool = True
    ) -> None:
        super().__init__()
        self.glyph = glyph
        self.setAccessibleName(name)
        self.setCheckable(checkable)
        # Keys belong to the canvas: a button that took the focus would swallow them.
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setStyleSheet(
            f"QToolButton {{min-width: {_WIDTH}px; max-width: {_WIDTH}px; min-height: {_HEIGHT}px; "
            f"max-height: {_HEIGHT}px; padding: 0px; border-radius: 3px}} "
            f"QToolButton:checked {{background: {_CHECKED}}}"
        )
        self.clicked.connect(lambda *_: clicked())

    def sizeHint(self) -> QSize:
        """Return the one size there is."""
        return QSize(_WIDTH, _HEIGHT)

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the button, and the glyph on it."""
        super().paintEvent(event)
        colour = QColor("white") if self.isChecked() else self.palette().buttonText().color()
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setOpacity(1.0 if self.isEnabled() else _FAINT)
        painter.translate((self.width() - _SIDE) / 2, (self.height() - _SIDE) / 2)
        painter.setPen(
            QPen(colour, 1.7, cap=Qt.PenCapStyle.RoundCap, join=Qt.PenJoinStyle.RoundJoin)
        )
        GLYPHS[self.glyph](painter, colour)
        painter.end()


def _box(painter: QPainter, colour: QColor) -> None:
    painter.drawRect(QRectF(3, 4.5, 14, 11))
    painter.setPen(Qt.PenStyle.NoPen)
    for x in (3, 17):
        for y in (4.5, 15.5):
            painter.fillRect(QRectF(x - 1.7, y - 1.7, 3.4, 3.4), colour)


def _point(painter: QPainter, colour: QColor) -> None:
    painter.drawEllipse(QPointF(10, 10), 6.2, 6.2)
    for x0, y0, x1, y1 in ((10, 1, 10, 5), (10, 15, 10, 19), (1, 10, 5, 10), (15, 10, 19, 10)):
        painter.drawLine(QPointF(x0, y0), QPointF(x1, y1))
    painter.setBrush(colour)
    painter.drawEllipse(QPointF(10, 10), 1.6, 1.6)


def _lasso(painter: QPainter, colour: QColor) -> None:
    loop = QPainterPath(QPointF(6, 14.5))
    loop.cubicTo(0, 11, 2.5, 3, 10, 2.6)
    loop.cubicTo(17.5, 2.2, 20.5, 9, 15.5, 12.3)
    loop.cubicTo(12.5, 14.3, 8.5, 14.6, 6, 14.5)
    painter.drawPath(loop)
    painter.drawEllipse(QPointF(6, 14.6), 1.9, 1.9)
    tail = QPainterPath(QPointF(6.6, 16.4))
    tail.cubicTo(8, 18.5, 5.5, 19.2, 4.2, 19)
    painter.drawPath(tail)


def _scribble(painter: QPainter, colour: QColor) -> None:
    stroke = QPainterPath(QPointF(2, 14))
    stroke.cubicTo(4, 3, 7.5, 2, 7.5, 8)
    stroke.cubicTo(7.5, 16, 10, 17.5, 12, 10)
    stroke.cubicTo(13.2, 5, 15.5, 5.5, 15, 10)
    stroke.cubicTo(14.8, 12.5, 16.5, 12.8, 18, 11)
    painter.setPen(QPen(colour, 2.2, cap=Qt.PenCapStyle.RoundCap))
    painter.drawPath(stroke)


def _brush(painter: QPainter, colour: QColor) -> None:
    painter.setPen(QPen(colour, 2.4, cap=Qt.PenCapStyle.RoundCap))
    painter.drawLine(QPointF(17.5, 2.5), QPointF(10.5, 10))
    tip = QPainterPath(QPointF(10, 8.8))
    tip.cubicTo(6, 8.5, 5.5, 11.5, 5, 14)
    tip.cubicTo(4.7, 15.6, 3.6, 16.4, 2.2, 16.8)
    tip.cubicTo(6.5, 18.6, 12, 17.2, 12, 11)
    tip.closeSubpath()
    painter.setPen(Qt.PenStyle.NoPen)
    painter.fillPath(tip, colour)


def _plus(painter: QPainter, colour: QColor) -> None:
    _signed(painter, colour)
    painter.drawLine(QPointF(10, 6.2), QPointF(10, 13.8))


def _minus(painter: QPainter, colour: QColor) -> None:
    _signed(painter, colour)


def _signed(painter: QPainter, colour: QColor) -> None:
    painter.drawEllipse(QPointF(10, 10), 8, 8)
    painter.setPen(QPen(colour, 2.2, cap=Qt.PenCapStyle.RoundCap))
    painter.drawLine(QPointF(6.2, 10), QPointF(13.8, 10))


GLYPHS: dict[str, Callable[[QPainter, QColor], None]] = {
    "box": _box,
    "point": _point,
    "lasso": _lasso,
    "scribble": _scribble,
    "brush": _brush,
    "plus": _plus,
    "minus": _minus,
    **OBJECT_GLYPHS,
}
