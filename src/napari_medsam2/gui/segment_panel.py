"""Panel: segment a slice, propagate, stop, undo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QCheckBox, QLabel, QProgressBar, QSpinBox

from .parts import Choice, Section, button, row, show_bar

if TYPE_CHECKING:
    from .controller import Controller
    from .runner import Progress

__all__ = ["SegmentPanel"]

_DIRECTIONS = {"both": "Both ways", "forward": "Forward", "backward": "Backward"}


class SegmentPanel(Section):
    """Everything that makes labels."""

    def __init__(self, controller: Controller) -> None:
        super().__init__("Segment")
        self._controller = controller
        self.while_drawing = QCheckBox("Segment while drawing")
        self.while_drawing.setToolTip("Segment the slice as soon as a box or point is drawn on it")
        self.while_drawing.setChecked(controller.segment_while_drawing)
        self.while_drawing.toggled.connect(self._on_while_drawing)
        self.slice = button(
            "Segment slice",
            "Segment the objects that have prompts on this slice (S)",
            controller.segment_slice,
        )
        self.direction = Choice(
            "From the frames with prompts forward, backward, or both ways", _DIRECTIONS
        )
        self.propagate = button(
            "Propagate", "Carry the objects through the other frames", self._on_propagate
        )
        self.only_object = QCheckBox("Only the selected object")
        self.only_object.setToolTip(
            "Propagate the object selected above, not all that have prompts"
        )
        self.only_range = QCheckBox("Only frames")
        self.only_range.setToolTip("Propagate within these frames, both included")
        self.first, self.last = QSpinBox(), QSpinBox()
        self.first.setToolTip("First frame to fill")
        self.last.setToolTip("Last frame to fill")
        for spin in (self.first, self.last):
            spin.setButtonSymbols(QSpinBox.ButtonSymbols.NoButtons)
            # napari's style makes them so wide that the row would be cut off.
            spin.setStyleSheet("min-width: 30px; max-width: 30px; padding: 1px 5px")
        self.only_range.toggled.connect(self._show_range)
        self.bar = QProgressBar()
        self.bar.setTextVisible(True)
        self.stop = button(
            "Stop", "Stop after the frame in work; what is done stays (Esc)", controller.cancel
        )
        self.stop.setFixedWidth(64)
        self.undo = button("Undo", "Take back the last step (Ctrl+Z)", controller.undo)
        self.redo = button("Redo", "Bring it back (Ctrl+Shift+Z)", controller.redo)
        self.body.addWidget(self.while_drawing)
        self.body.addWidget(self.slice)
        self.body.addLayout(row(self.direction, self.propagate))
        self.body.addWidget(self.only_object)
        to = QLabel("to")
        within = row(self.only_range, self.first, to, self.last)
        within.addStretch(1)
        self.body.addLayout(within)
        self.body.addLayout(row(self.bar, self.stop))
        self.body.addLayout(row(self.undo, self.redo))
        controller.progressed.connect(self._on_progress)
        self._show_range()

    def refresh(self) -> None:
        """Show what can be done now."""
        controller = self._controller
        desk = controller.bench.desk
        state = controller.state
        with QSignalBlocker(self.while_drawing):
            self.while_drawing.setChecked(controller.segment_while_drawing)
        is_idle = state == "idle"
        has_image = desk is not None
        n = self._n_frames()
        is_propagating = controller.is_propagating
        self.slice.setEnabled(has_image and not is_propagating)
        self.propagate.setEnabled(has_image and is_idle and n > 1)
        self.direction.setEnabled(has_image and n > 1)
        self.only_object.setEnabled(has_image and n > 1)
        self.only_range.setEnabled(has_image and n > 1)
        self.stop.setEnabled(state in ("loading", "running") and controller.can_stop)
        session = None if desk is None else desk.session
        for push, text, what in (
            (self.undo, session and session.undo_text, "Take back: {} (Ctrl+Z)"),
            (self.redo, session and session.redo_text, "Bring back: {} (Ctrl+Shift+Z)"),
        ):
            push.setEnabled(text is not None)
            push.setToolTip(what.format(text) if text else "Nothing yet")
        for spin in (self.first, self.last):
            with QSignalBlocker(spin):
                at_end = spin.value() == spin.maximum()
                spin.setMaximum(n - 1)
                if spin is self.last and (at_end or not self.only_range.isChecked()):
                    spin.setValue(n - 1)
        self._show_state(state)

    def _show_state(self, state: str) -> None:
        if state == "idle":
            show_bar(self.bar, 0, 1, "ready")
        elif state == "stopping":
            show_bar(self.bar, self.bar.value(), self.bar.maximum(), "stopping after this frame…")
        elif state == "loading":
            show_bar(self.bar, 0, 1, "starting…")
        elif not self._controller.can_stop:
            show_bar(self.bar, 0, 0, "reading or writing…")

    def _on_progress(self, progress: Progress) -> None:
        is_running = self._controller.state == "running"
        text = str(progress) if is_running else self.bar.format()
        show_bar(self.bar, progress.done, max(1, progress.total), text)

    def _on_propagate(self) -> None:
        controller = self._controller
        options: dict[str, Any] = {}
        if self.only_range.isChecked():
            first, last = sorted((self.first.value(), self.last.value()))
            options = {"start": first, "stop": last + 1}
        if self.only_object.isChecked():
            options["object_ids"] = [controller.tools.object_id]
        controller.propagate(self.direction.currentData(), **options)

    def _on_while_drawing(self, checked: bool) -> None:
        self._controller.segment_while_drawing = checked

    def _show_range(self) -> None:
        for spin in (self.first, self.last):
            spin.setEnabled(self.only_range.isChecked())

    def _n_frames(self) -> int:
        desk = self._controller.bench.desk
        if desk is None or desk.image.ndim < 3:
            return 1
        return int(desk.image.data.shape[desk.axis(self._controller.bench.settings)])
