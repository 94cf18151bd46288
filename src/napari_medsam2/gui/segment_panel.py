"""Panel: segment a slice, propagate, pause, stop, undo."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker
from qtpy.QtWidgets import QCheckBox, QLabel, QProgressBar, QPushButton, QSpinBox

from napari_medsam2.errors import InputError

from .course import ways
from .frame_range import FrameRange
from .parts import Choice, Section, button, row, show_bar

if TYPE_CHECKING:
    from napari_medsam2.tracking.tracker import Direction

    from .controller import Controller
    from .runner import Progress

__all__ = ["SegmentPanel"]

_MOST_PATIENCE = 999
# Text, direction, whether as far as the next prompt, tip.
_STEPS: tuple[tuple[str, Direction, bool, str], ...] = (
    ("⇤\u2009Prompt", "backward", True, "From this slice back to the one with the next prompt"),
    ("←\u2009Slice", "backward", False, "Carry the masks to the slice before, and go there"),
    ("Slice\u2009→", "forward", False, "Carry the masks to the next slice, and go there"),
    ("Prompt\u2009⇥", "forward", True, "From this slice on to the one with the next prompt"),
)


class SegmentPanel(Section):
    """Everything that makes labels."""

    def __init__(self, controller: Controller) -> None:
        super().__init__("Segment")
        self._controller = controller
        self.while_drawing = QCheckBox("While drawing")
        self.while_drawing.setToolTip("Segment the slice as soon as a box or point is drawn on it")
        self.while_drawing.setChecked(controller.segment_while_drawing)
        self.while_drawing.toggled.connect(self._on_while_drawing)
        self.slice = button(
            "Segment slice",
            "Segment the objects that have prompts on this slice (S)",
            controller.segment_slice,
        )
        self.way = Choice(
            "From the frames with prompts forward, backward or both ways; in volumes by a vote "
            "among the axes, in movies of volumes from one time point to the next"
        )
        self.way.on_chosen(partial(setattr, controller.course, "way"))
        self.propagate = button(
            "Propagate",
            "Carry the objects through the other frames; accepted slices stay as they are",
            controller.propagate_as_set,
        )
        self.range = FrameRange()
        self.range.chosen.connect(self._on_range)
        self.only_object = QCheckBox("Only the selected object")
        self.only_object.setToolTip(
            "Propagate the object selected above, not all that have prompts"
        )
        self.only_object.toggled.connect(partial(setattr, controller.course, "only_selected"))
        self.patience = _patience_box()
        self.patience.valueChanged.connect(self._on_patience)
        self.steps = tuple(self._step_button(*step) for step in _STEPS)
        self.bar = QProgressBar()
        self.bar.setTextVisible(True)
        self.pause = button(
            "Pause",
            "Wait before the next frame; look around meanwhile (H)",
            controller.toggle_pause,
        )
        self.stop = button(
            "Stop", "Stop after the frame in work; what is done stays (Esc)", controller.cancel
        )
        self.undo = button("Undo", "Take back the last step (Ctrl+Z)", controller.undo)
        self.redo = button("Redo", "Bring it back (Ctrl+Shift+Z)", controller.redo)
        self._lay_out()
        controller.progressed.connect(self._on_progress)

    def refresh(self) -> None:
        """Show what can be done now."""
        controller = self._controller
        desk, state, course = controller.bench.desk, controller.state, controller.course
        has_image, n = desk is not None, self._n_frames()
        is_free = has_image and state == "idle" and n > 1
        self.slice.setEnabled(has_image and not controller.is_propagating)
        self.propagate.setEnabled(is_free)
        for push in self.steps:
            push.setEnabled(is_free)
        for widget in (self.way, self.range, self.only_object, self.patience):
            widget.setEnabled(has_image and n > 1)
        self.range.show_range(*course.frames(n), n)
        if self.patience.value() != (course.patience or 0):
            with QSignalBlocker(self.patience):
                self.patience.setValue(course.patience or 0)
        with QSignalBlocker(self.only_object):
            self.only_object.setChecked(course.only_selected)
        self._show_ways()
        can_stop = state in ("loading", "running", "paused") and controller.can_stop
        self.stop.setEnabled(can_stop)
        self.pause.setEnabled(controller.can_pause or controller.is_paused)
        self.pause.setText("Resume" if controller.is_paused else "Pause")
        session = None if desk is None else desk.session
        for push, text, what in (
            (self.undo, session and session.undo_text, "Take back: {} (Ctrl+Z)"),
            (self.redo, session and session.redo_text, "Bring back: {} (Ctrl+Shift+Z)"),
        ):
            push.setEnabled(text is not None)
            push.setToolTip(what.format(text) if text else "Nothing yet")
        self._show_state(state)

    def _show_ways(self) -> None:
        controller, course = self._controller, self._controller.course
        desk = controller.bench.desk
        found = ways("", 0)
        if desk is not None:
            try:
                axis = desk.axis(controller.bench.settings)
                found = ways(desk.volume().label_axes, axis)
            except InputError:
                pass  # it will be told when the image is to be segmented
        if course.way not in found:
            course.way = "both"
        self.way.show_choices(found.items(), course.way)

    def _lay_out(self) -> None:
        self.body.addLayout(row(self.slice, self.while_drawing))
        self.body.addLayout(row(self.way, self.propagate))
        self.body.addWidget(self.range)
        self.body.addWidget(self.only_object)
        ending = row(QLabel("Stop when gone for"), self.patience)
        ending.addStretch(1)
        self.body.addLayout(ending)
        carry = QLabel("Carry")
        carry.setToolTip("From the slice on show, whose masks stay as they are")
        here = row(carry, *self.steps)
        here.setSpacing(2)
        self.body.addLayout(here)
        self.body.addWidget(self.bar)
        self.body.addLayout(row(self.pause, self.stop, self.undo, self.redo))

    def _step_button(self, text: str, direction: Direction, is_far: bool, tip: str) -> QPushButton:
        controller = self._controller
        go = controller.propagate_to_next_prompt if is_far else controller.carry
        key = f"{'Ctrl+' if is_far else ''}Shift+{'→' if direction == 'forward' else '←'}"
        push = button(text, f"{tip} ({key})", lambda: go(direction))
        push.setStyleSheet("padding: 3px 1px")
        return push

    def _show_state(self, state: str) -> None:
        bar = self.bar
        if state == "idle":
            show_bar(bar, 0, 1, "ready")
        elif state == "stopping":
            show_bar(bar, bar.value(), bar.maximum(), "stopping after this frame…")
        elif state == "paused":
            told = f" at frame {bar.value()} of {bar.maximum()}" if bar.value() else ""
            show_bar(bar, bar.value(), bar.maximum(), f"paused{told}")
        elif state == "loading":
            show_bar(bar, 0, 1, "starting…")
        elif not self._controller.can_stop:
            show_bar(bar, 0, 0, "reading or writing…")

    def _on_progress(self, progress: Progress) -> None:
        state = self._controller.state
        text = str(progress) if state == "running" else self.bar.format()
        show_bar(self.bar, progress.done, max(1, progress.total), text)
        if state == "paused":
            self._show_state(state)

    def _on_range(self, first: int, last: int) -> None:
        self._controller.course.limit(first, last, self._n_frames())

    def _on_patience(self, frames: int) -> None:
        self._controller.course.patience = frames or None

    def _on_while_drawing(self, checked: bool) -> None:
        self._controller.segment_while_drawing = checked

    def _n_frames(self) -> int:
        return max(1, self._controller.review.n_frames)


def _patience_box() -> QSpinBox:
    box = QSpinBox()
    box.setRange(0, _MOST_PATIENCE)
    box.setSpecialValueText("automatic")
    box.setSuffix(" frames")
    box.setToolTip(
        "An object that is not found on so many frames in a row is gone, and no further frame is "
        "looked at. Automatic leaves it to the model: LiteMedSAM-track waits longer in movies than "
        "in volumes, LiteMedSAM not at all, SAM 2 and MedSAM2 for ever"
    )
    return box
