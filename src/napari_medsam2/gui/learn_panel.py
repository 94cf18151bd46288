"""Panel: let the model learn from what was corrected, then keep or discard it."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import QLabel, QProgressBar, QSpinBox, QWidget

from napari_medsam2.training.corrections import LEAST_FRAMES, MINUTES

from .lesson import Material
from .parts import Choice, Fold, button, row, show_bar

if TYPE_CHECKING:
    from collections.abc import Iterator

    from qtpy.QtWidgets import QPushButton

    from .controller import Controller
    from .lesson import Lesson

__all__ = ["LearnPanel"]

_MOST_MINUTES = 240
_STEPS = 1000
_FRAMES = {"prompted": "Slices with prompts", "segmented": "All slices with a mask"}
_LEARN = "Fine-tune the model in use on these slices; the window stays free for other work"
# As they stand in the scores of a model; others are not for people in a hurry.
_PROMPTS = {
    "click1": "One click",
    "click3": "Three clicks",
    "click5": "Five clicks",
    "box": "A box",
    "track": "Carried on",
}
_PRESELECTED = "font-weight: bold; border: 2px solid #26a69a"


class LearnPanel(Fold):
    """What there is to learn from, `Learn`, how far it is, and `Keep` or `Discard`."""

    def __init__(self, controller: Controller) -> None:
        super().__init__(
            "Learn from my corrections",
            "Fine-tune the model on the slices of this image that you have corrected",
        )
        # It stands among sections, whose titles are bold.
        self.toggle.setStyleSheet(f"{self.toggle.styleSheet()}; font-weight: bold")
        # Counting slices is work, which is done when they are to be seen.
        self.toggle.clicked.connect(lambda *_: self.refresh())
        self._controller, self._learner = controller, controller.learner
        self._known = Material({})
        self.material = _text()
        self.frames = Choice("Which slices count as correct", _FRAMES)
        self.minutes = QSpinBox()
        self.minutes.setRange(1, _MOST_MINUTES)
        self.minutes.setValue(round(MINUTES))
        self.minutes.setSuffix(" min")
        self.minutes.setToolTip("How long to learn; looking at the slices comes on top")
        self.minutes.setFixedWidth(112)
        self.learn = button("Learn", _LEARN, self._learn)
        self.bar = QProgressBar()
        self.bar.setTextVisible(True)
        self.cancel = button(
            "Cancel", "Stop; the best until now can still be kept", self._learner.cancel
        )
        self.cancel.setFixedWidth(76)
        self.live, self.verdict = _text(), _text()
        self.verdict.setTextFormat(Qt.TextFormat.RichText)
        self.keep = button(
            "Keep", "Put it on the list of models and use it from now on", self._learner.keep
        )
        self.discard = button("Discard", "Delete what was learnt", self._learner.discard)
        self.preselected: QPushButton | None = None
        self._asking, self._running, self._deciding = QWidget(), QWidget(), QWidget()
        self._asking.setLayout(row(self.minutes, self.learn))
        self._running.setLayout(row(self.bar, self.cancel))
        self._deciding.setLayout(row(self.keep, self.discard))
        self.form.addRow(self.material)
        self.form.addRow("From", self.frames)
        for widget in (self._asking, self._running, self.live, self.verdict, self._deciding):
            self.form.addRow(widget)
        self.frames.on_chosen(lambda _: self.refresh())
        self._learner.progressed.connect(self._show_stage)

    def refresh(self) -> None:
        """Show what can be done now."""
        state = self._learner.state
        is_running, is_deciding = state in ("running", "stopping"), state in ("deciding", "keeping")
        for widget, shown in (
            (self.material, not is_running and not is_deciding),
            (self.frames, not is_running and not is_deciding),
            (self._asking, not is_running and not is_deciding),
            (self._running, is_running),
            (self.live, is_running),
            (self.verdict, is_deciding),
            (self._deciding, is_deciding),
        ):
            self.form.setRowVisible(widget, shown)
        self.cancel.setEnabled(state == "running")
        if is_running:
            self._show_stage()
        elif is_deciding:
            self._show_lesson(is_open=state == "deciding")
        else:
            self.show_note("")
            self._show_material()

    # Inside

    def _learn(self) -> None:
        self._controller.learn(self.minutes.value(), self.frames.currentData())

    def _show_material(self) -> None:
        obstacle = self._learner.obstacle()
        if obstacle is None and self._controller.bench.desk is None:
            obstacle = "Open an image first"
        can_begin = obstacle is None
        if self.frames.currentData() == "segmented":
            self.material.setText(
                "Every slice with a mask counts as correct, whoever made it: look through them "
                "first. A quarter of them is held back, to judge what was learnt."
            )
        else:
            # While anything runs, slices change: what was counted before holds until then.
            if self.toggle.isChecked() and self._controller.state == "idle":
                self._known = self._learner.material()
                self.material.setText(_counted(self._known))
            can_begin = can_begin and self._known.is_enough
            if obstacle is None and not self._known.is_enough:
                obstacle = f"{LEAST_FRAMES} corrected slices of an object are needed"
        self.learn.setEnabled(can_begin)
        self.learn.setToolTip(obstacle or _LEARN)

    def _show_stage(self) -> None:
        learner = self._learner
        stage = learner.stage
        text = "stopping…" if learner.state == "stopping" else str(stage)
        # Until its end is known the bar runs to and fro.
        value = round(_STEPS * stage.done / stage.total) if stage.total else 0
        show_bar(self.bar, min(value, _STEPS), _STEPS if stage.total else 0, text)
        said = [] if math.isnan(stage.loss) else [f"Loss {stage.loss:.3f}"]
        if not math.isnan(stage.score):
            said.append(f"Held-back Dice {stage.score:.3f}, before {stage.before:.3f}")
        self.live.setText("\n".join(said) or "Looking at the slices…")
        # The title is long, and leaves room for little.
        is_counting = stage.name == "training" and stage.total
        self.show_note(f"{100 * stage.done // stage.total} %" if is_counting else "0 %")

    def _show_lesson(self, *, is_open: bool) -> None:
        lesson = self._learner.lesson
        if lesson is None:
            return
        self.verdict.setText(_told(lesson))
        self.preselected = self.keep if lesson.is_better else self.discard
        for push in (self.keep, self.discard):
            push.setEnabled(is_open)
            push.setStyleSheet(_PRESELECTED if push is self.preselected else "")
        self.keep.setText("Keep" if is_open else "Keeping…")
        self.show_note("done")


def _counted(material: Material) -> str:
    """Return what there is to learn from, in words."""
    if not material.is_enough:
        most = max(material.frames.values(), default=0)
        there = f"{most} so far" if most else "none so far"
        return (
            f"Correct an object on {LEAST_FRAMES} slices or more, by boxes or clicks on each of "
            f"them: {there}."
        )
    n = sum(count >= LEAST_FRAMES for count in material.frames.values())
    left = len(material.frames) - n
    objects = f"{n} object{'s' * (n > 1)}"
    text = (
        f"Corrected slices of {objects}: {material.learnt} to learn from, {material.held_back} "
        "held back to judge by."
    )
    if left:
        others = "1 object has" if left == 1 else f"{left} objects have"
        text += f" {others} fewer than {LEAST_FRAMES} of them, and nothing is learnt of it."
    return text


def _told(lesson: Lesson) -> str:
    """Return verdict and scores as rich text."""
    rows = "".join(_rows(lesson))
    head = "<tr><td></td><td align='right'>before</td><td align='right'>after</td></tr>"
    table = f"<table cellspacing='0' cellpadding='1'>{head}{rows}</table>" if rows else ""
    slices = f"{lesson.learnt} slice{'s' * (lesson.learnt > 1)}"
    return f"<b>{lesson}</b><br>Learnt from {slices} of {escape(lesson.image)}.{table}"


def _rows(lesson: Lesson) -> Iterator[str]:
    for name, text in _PROMPTS.items():
        if name in lesson.before and name in lesson.after:
            cells = "".join(
                f"<td align='right'>&nbsp;&nbsp;&nbsp;{scores[name]:.3f}</td>"
                for scores in (lesson.before, lesson.after)
            )
            yield f"<tr><td>{text}</td>{cells}</tr>"


def _text() -> QLabel:
    label = QLabel("")
    label.setWordWrap(True)
    return label
