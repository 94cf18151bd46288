"""The review along the slider: a strip of all slices, and how to go through them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal
from qtpy.QtCore import QEvent, QSignalBlocker, Qt, QTimer
from qtpy.QtWidgets import (
    QCheckBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QScrollArea,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from .parts import Choice, button, row
from .review_strip import ReviewLegend, ReviewStrip

if TYPE_CHECKING:
    from qtpy.QtGui import QResizeEvent

    from .controller import Controller

__all__ = ["ReviewPanel"]

_INTERVAL = 0.1  # seconds between two looks at what a run has done
# How long the slider of another axis must rest before the strip turns to where it stands.
_REST_MS = 150
_TALLEST = 91  # of the strip, before it scrolls
_SCOPE_WIDTH = 126
_GAP = 6
_NARROWEST = 300
_COMPACT = "padding: 2px 6px; min-height: 14px"
_SCOPES = {"all": "All objects", "selected": "Selected object"}


class ReviewPanel(QWidget):
    """Buttons, the statistic and the legend in one line, the strip below.

    Parameters
    ----------
    controller : Controller
    """

    # napari has taken the panel out of its dock.
    undocked = Signal()

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self._review = review = controller.review
        self._was_docked = False
        self._is_open = True
        self._refreshed_at = 0.0
        self._told = ""
        self.strip = ReviewStrip(review.go_to, review.select)
        self.accept = _button(
            "✓ Accept slice",
            "The masks of this slice are right: they never change again, and propagation starts\n"
            "from them (A). Again: take it back. Shift+A: the selected object alone",
            self._accept,
        )
        self.accept.setCheckable(True)
        self.back = _button("◂", "Back to the slice before (Shift+W)", review.previous_worst)
        self.worst = _button(
            "Next worst ▸",
            "To the least confident slice that is neither accepted nor shown in this round (W)",
            review.next_worst,
        )
        self.previous_prompt = _button(
            "◂", "Previous slice with a prompt (comma)", review.previous_prompt
        )
        self.next_prompt = _button("Prompt ▸", "Next slice with a prompt (.)", review.next_prompt)
        self.goes_on = QCheckBox("then next")
        self.goes_on.setToolTip("Go to the next worst slice after accepting one")
        self.goes_on.toggled.connect(self._set_goes_on)
        self.scope = Choice("Which objects decide which slice is worst, and are counted", _SCOPES)
        self.scope.setFixedWidth(_SCOPE_WIDTH)
        self.scope.on_chosen(review.set_scope)
        self.statistic = QLabel("")
        self.statistic.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.legend = ReviewLegend()
        for widget in (self.goes_on, self.scope):
            # Keys belong to the canvas.
            widget.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._lay_out()
        self._later = QTimer(self)
        self._later.setSingleShot(True)
        self._later.timeout.connect(self.refresh)
        self._turn_later = QTimer(self)
        self._turn_later.setSingleShot(True)
        self._turn_later.setInterval(_REST_MS)
        self._turn_later.timeout.connect(review.keep_up)
        self._dims = controller.viewer.dims.events
        self._dims.current_step.connect(self.follow)
        controller.changed.connect(self._refresh_soon)
        controller.state_changed.connect(self._refresh_soon)
        self.refresh()

    def refresh(self) -> None:
        """Show the present state."""
        if not self._is_open:
            return
        self._refreshed_at = time.monotonic()
        review = self._review
        rows, n = review.rows(), review.n_frames
        self.strip.show_rows(rows, n, review.selected)
        self._told = review.statistic(rows)
        self._make_room()
        for widget in (self.accept, self.back, self.worst, self.previous_prompt, self.next_prompt):
            widget.setEnabled(n > 0)
        self.scope.show_choices(_SCOPES.items(), review.scope)
        self.goes_on.setChecked(review.goes_on)
        self.follow()

    def follow(self, *_: Any) -> None:
        """Mark the slice on show, and say whether it is accepted."""
        if not self._is_open:
            return
        if self._review.is_elsewhere and self._controller.state == "idle":
            self._turn_later.start()
        frame = self._review.frame_on_show()
        self.strip.mark(frame)
        # After a turn of the view the rows are those of the other axis until they are refreshed.
        known = [r for r in self.strip.rows if frame is not None and frame < len(r.scores)]
        found = [r for r in known if not np.isnan(r.scores[frame])]
        with QSignalBlocker(self.accept):
            is_accepted = bool(found) and all(bool(r.accepted[frame]) for r in found)
            self.accept.setChecked(is_accepted)
            self.accept.setText("✓ Accepted" if is_accepted else "✓ Accept slice")

    def close_down(self) -> None:
        """Let go of viewer and controller."""
        if self._is_open:
            self._is_open = False
            self._later.stop()
            self._turn_later.stop()
            self._dims.current_step.disconnect(self.follow)
            self._controller.changed.disconnect(self._refresh_soon)
            self._controller.state_changed.disconnect(self._refresh_soon)

    def event(self, event: QEvent | None) -> bool:
        """Notice that napari has taken the panel out of its dock, which no other event tells."""
        if event is not None and event.type() == QEvent.Type.ParentChange:
            if self.parentWidget() is not None:
                self._was_docked = True
            elif self._was_docked:
                self.undocked.emit()
        return bool(super().event(event))

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Leave the legend out where there is no room for it."""
        super().resizeEvent(event)
        self._make_room()

    def _lay_out(self) -> None:
        # Its two texts shall not move what stands beside it.
        self.accept.setMinimumWidth(self.accept.sizeHint().width() + 4)
        self._buttons = QWidget()
        line = QHBoxLayout(self._buttons)
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(4)
        for group in (
            (self.accept, self.goes_on),
            (self.back, self.worst),
            (self.previous_prompt, self.next_prompt),
            (self.scope,),
        ):
            for widget in group:
                line.addWidget(widget)
            line.addSpacing(_GAP)
        header = row(self._buttons, self.statistic, self.legend)
        header.setStretch(1, 1)
        self._scroll = QScrollArea()
        self._scroll.setWidget(self.strip)
        self._scroll.setWidgetResizable(True)
        self._scroll.setFrameShape(QFrame.Shape.NoFrame)
        self._scroll.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self._scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        column = QVBoxLayout(self)
        column.setContentsMargins(4, 1, 4, 0)
        column.setSpacing(2)
        column.addLayout(header)
        column.addWidget(self._scroll)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        # Else the line would not let the window become narrower than it is.
        self.setMinimumWidth(_NARROWEST)

    def _make_room(self) -> None:
        """Fit the strip; where the window is narrow, leave the legend to a tip and shorten."""
        metrics = self.statistic.fontMetrics()
        room = self.width() - self._buttons.sizeHint().width() - 4 * _GAP
        told = metrics.horizontalAdvance(self._told)
        self.legend.setVisible(room >= told + self.legend.width())
        self.statistic.setText(
            metrics.elidedText(self._told, Qt.TextElideMode.ElideRight, max(room, 0))
        )
        self.statistic.setToolTip(f"{self._told}\n\n{self.legend.toolTip()}")
        # napari's style draws a border also around an area without a frame.
        margins = self._scroll.contentsMargins()
        height = min(self.strip.height(), _TALLEST) + margins.top() + margins.bottom()
        self._scroll.setFixedHeight(height)

    def _refresh_soon(self, *_: Any) -> None:
        """Refresh at once, or when the last time is long enough ago."""
        if self._is_open and not self._later.isActive():
            rest = self._refreshed_at + _INTERVAL - time.monotonic()
            self._later.start(max(0, round(1000 * rest)))

    def _accept(self) -> None:
        self._review.accept()
        # The click has already pressed the button, whatever came of it.
        self.refresh()

    def _set_goes_on(self, on: bool) -> None:
        self._review.goes_on = on


def _button(text: str, tip: str, clicked: Any) -> QPushButton:
    push = button(text, tip, clicked)
    push.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
    push.setStyleSheet(_COMPACT)
    return push
