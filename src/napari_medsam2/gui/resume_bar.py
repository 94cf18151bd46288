"""The bar that offers work which was left behind: resume it, discard it, or later."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFrame, QLabel, QSizePolicy, QVBoxLayout

from .parts import button, row

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_medsam2.io.autosave import Leftover

    from .controller import Controller

__all__ = ["ResumeBar"]

_LONGEST = 30  # characters of a name

_CARD = """
ResumeBar { background: rgba(255, 159, 28, 40); border-radius: 6px; }
ResumeBar QLabel { background: transparent; }
"""


class ResumeBar(QFrame):
    """`Resume`, `Discard` and `Later`; what would delete anything asks again, in the bar itself.

    Parameters
    ----------
    controller : Controller
    """

    def __init__(self, controller: Controller) -> None:
        super().__init__()
        self._controller = controller
        self._recovery = controller.recovery
        self._question: tuple[Leftover, str, Callable[[], object]] | None = None
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.text.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self.resume = button(
            "Resume",
            "Go on where it stopped: objects, prompts, accepted slices, labels",
            self._resume,
        )
        self.discard = button("Discard", "Delete this unsaved work", self._ask_to_discard)
        self.later = button(
            "Later", "Keep it, and offer it when the widget opens again", self._recovery.put_off
        )
        self.confirm = button("", "There is no way back", self._confirm)
        self.keep = button("Keep", "Change nothing", self._keep)
        self._choices = (self.resume, self.discard, self.later)
        self._answers = (self.confirm, self.keep)
        self.setStyleSheet(_CARD)
        column = QVBoxLayout(self)
        column.setContentsMargins(10, 6, 8, 6)
        column.addWidget(self.text)
        column.addLayout(row(*self._choices, *self._answers))
        self.refresh()

    def refresh(self) -> None:
        """Show the newest offer, or nothing."""
        offer = self._recovery.offer
        if self._question is not None and self._question[0] is not offer:
            self._question = None
        asks = self._question is not None
        for push in self._choices:
            push.setVisible(not asks)
        for push in self._answers:
            push.setVisible(asks)
        self.resume.setEnabled(self._controller.state == "idle")
        if self._question is not None:
            self.text.setText(self._question[1])
        elif offer is not None:
            self.text.setText(_told(offer, self._recovery.name, len(self._recovery.offers) - 1))
            self.text.setToolTip(offer.source)
        self.setVisible(offer is not None)

    def _resume(self) -> None:
        offer = self._recovery.offer
        if offer is None:
            return
        if self._recovery.has_work:
            question = "Resuming replaces the work that is on this image now."
            self._ask(offer, question, "Replace", partial(self._controller.recover, offer))
        else:
            self._controller.recover(offer)

    def _ask_to_discard(self) -> None:
        offer = self._recovery.offer
        if offer is not None:
            question = f"Delete the unsaved work from {_when(offer.time)} for good?"
            self._ask(offer, question, "Delete", lambda: self._recovery.discard(offer))

    def _ask(self, offer: Leftover, question: str, answer: str, then: Callable[[], object]) -> None:
        self._question = (offer, question, then)
        self.confirm.setText(answer)
        self.refresh()

    def _confirm(self) -> None:
        question, self._question = self._question, None
        if question is not None:
            question[2]()
        self.refresh()

    def _keep(self) -> None:
        self._question = None
        self.refresh()


def _told(offer: Leftover, name: str, others: int) -> str:
    # A space that no line ends at.
    objects = f"{offer.n_objects}\u00a0object{'' if offer.n_objects == 1 else 's'}"
    more = f", and {others} more" if others else ""
    return f"Unsaved work on {_shortened(name)} from {_when(offer.time)} ({objects}){more}"


def _shortened(name: str) -> str:
    """Return a name that fits a line: one without spaces cannot be wrapped."""
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 13]}…{name[-12:]}"


def _when(time: datetime) -> str:
    """Return a time as short as it is clear today."""
    local, now = time.astimezone(), datetime.now().astimezone()
    if local.date() == now.date():
        return f"{local:%H:%M}"
    if local.date() == (now - timedelta(days=1)).date():
        return f"yesterday {local:%H:%M}"
    return f"{local:%Y-%m-%d %H:%M}"
