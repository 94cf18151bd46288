"""One request at a time: begin now or when the thread is free, and tell what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_medsam2.errors import MedSAM2Error

from . import notify
from .relay import relay
from .runner import Runner

if TYPE_CHECKING:
    from collections.abc import Callable

    from .runner import Outcome, State

__all__ = ["Requests"]


class Requests:
    """What every request has in common; errors become notifications and `last_error`.

    Attributes
    ----------
    last_error : MedSAM2Error or None
        Of the last request.
    """

    # "idle", "loading", "running", "paused" or "stopping".
    state_changed = Signal(str)
    # A Progress.
    progressed = Signal(object)
    # One line on what has happened; one on model, device and window.
    message = Signal(str)
    ready = Signal(str)
    # Objects, prompts, labels, history, image or settings are not what they were.
    changed = Signal()
    # A model was loaded ahead of its use, or could not be.
    warmed_up = Signal()
    # Polling is needed.
    woken = Signal()

    def __init__(self) -> None:
        self.last_error: MedSAM2Error | None = None
        self._runner = Runner()
        self._next: Callable[[], Any] | None = None
        self._is_closed = False
        relay(self._runner.state_changed, self.state_changed)
        relay(self._runner.progressed, self.progressed)
        relay(self._runner.ready, self.ready)

    @property
    def state(self) -> State:
        """The state: "idle", "loading", "running", "paused" or "stopping"."""
        return self._runner.state

    @property
    def is_propagating(self) -> bool:
        """Whether a propagation is under way."""
        return self._runner.kind == "propagate"

    @property
    def seconds_segmenting(self) -> float | None:
        """For how long a slice has been at work, None if none is."""
        return self._runner.seconds if self._runner.kind == "segment" else None

    @property
    def can_stop(self) -> bool:
        """Whether what is under way can be stopped in between."""
        return self._runner.kind in ("segment", "propagate", "write")

    @property
    def can_pause(self) -> bool:
        """Whether what is under way can wait before its next frame."""
        return self.is_propagating and self.state in ("loading", "running")

    @property
    def is_paused(self) -> bool:
        """Whether a propagation waits for `resume` or `cancel`."""
        return self.state == "paused"

    def pause(self) -> bool:
        """Let a propagation wait before its next frame; False if there is none that could.

        What is done stays on the screen, and the frame that is being computed comes after
        `resume`.
        """
        return self.can_pause and self._runner.pause()

    def resume(self) -> bool:
        """Let a propagation go on; False if none is paused."""
        return self._runner.resume()

    def toggle_pause(self) -> bool:
        """Pause, or go on; False if there is nothing to pause."""
        return self.resume() or self.pause()

    def cancel(self) -> None:
        """Stop after the frame that is being computed; what is done stays.

        A paused run stops where it is.
        """
        self._next = None
        self._runner.cancel()

    def _abandon(self) -> None:
        self._next = None
        self._runner.abandon()

    def _guarded(self, action: Callable[[], Any]) -> bool:
        """Do something; an error becomes a notification."""
        self.last_error = None
        try:
            action()
        except MedSAM2Error as error:
            self._fail(error)
        return self.last_error is None

    def _fail(self, error: MedSAM2Error) -> None:
        self.last_error = error
        self.message.emit(str(error))
        notify.report(error)

    def _when_idle(self, action: Callable[[], Any], *, stop: bool = False) -> bool:
        """Do something now, or once the present run has ended; the newest request counts."""
        if self._is_closed:
            return False
        if not self._runner.is_busy:
            return self._guarded(action)
        self._next = lambda: self._guarded(action)
        if stop:
            self._runner.cancel()
        return True

    def _begin_task(self, task: Callable[[], Any], then: Callable[[Outcome], None]) -> None:
        self._runner.start_task(task, then)
        self.woken.emit()

    def _conclude(self, outcome: Outcome, text: str) -> None:
        """Tell how a run or task has ended, and begin what has been waiting for it."""
        if outcome.error is not None:
            self._fail(outcome.error)
        elif self.last_error is None:
            self.message.emit(text)
        self.changed.emit()
        following, self._next = self._next, None
        if following is not None:
            following()
