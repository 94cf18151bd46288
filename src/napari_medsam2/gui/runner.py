"""Runs in the background: idle, loading, running, paused, stopping, and idle again."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from psygnal import Signal

from napari_medsam2.labels import MaskUpdate

from .unnoticed import Undisturbed
from .worker import Ended, Job, Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_medsam2.errors import MedSAM2Error
    from napari_medsam2.session import Run, Session

__all__ = ["Outcome", "Progress", "Runner", "State"]

State = Literal["idle", "loading", "running", "paused", "stopping"]
Kind = Literal["segment", "propagate", "write", "file"]

_BUDGET = 0.012  # seconds of the GUI thread for one poll
_PACE = 9  # frames that the time left is estimated from


@dataclass(frozen=True)
class Progress:
    """How far a run is.

    Attributes
    ----------
    done, total : int
        Frames; total is 0 while it is unknown.
    seconds_left : float or None
        None until it can be told.
    """

    done: int
    total: int
    seconds_left: float | None = None

    def __str__(self) -> str:
        """Return it in words."""
        if not self.total:
            return ""
        text = f"frame {self.done} of {self.total}"
        if self.seconds_left is None:
            return text
        seconds = round(self.seconds_left)
        left = f"{seconds} s" if seconds < 100 else f"{seconds / 60:.0f} min"
        return f"{text} – {left} left"


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes
    ----------
    kind : {"segment", "propagate", "write", "file"}
    value : object
        What a file task returned.
    error : MedSAM2Error or None
    cancelled : bool
    progress : Progress
        At the end.
    seconds : float
    """

    kind: Kind
    value: Any
    error: MedSAM2Error | None
    cancelled: bool
    progress: Progress
    seconds: float

    def __str__(self) -> str:
        """Return it in words, for runs."""
        if self.kind == "segment":
            return f"Segmented the slice in {self.seconds:.1f} s"
        done, total = self.progress.done, self.progress.total
        if self.cancelled:
            return f"Stopped after {done} of {total} frames; what is done stays (Ctrl+Z undoes)"
        return f"Propagated through {done} frames in {self.seconds:.0f} s"


@dataclass(frozen=True)
class _Ready:
    """Sent when the model is loaded and the work known."""

    total: int
    summary: str


@dataclass
class _Activity:
    kind: Kind
    job: Job
    run: Run | None
    then: Callable[[Outcome], None]
    n_objects: int
    started: float
    total: int = 0
    done: int = 0
    is_ready: bool = False
    paused_at: float | None = None


class Runner:
    """Runs one thing at a time; the owner calls `poll` as long as `is_busy`."""

    state_changed = Signal(str)
    progressed = Signal(object)
    # Model, device and window, once they are known.
    ready = Signal(str)
    # Frames whose labels have changed.
    applied = Signal(object)

    def __init__(self) -> None:
        self._worker = Worker()
        self._activity: _Activity | None = None
        self._pace: deque[tuple[float, int]] = deque(maxlen=_PACE)
        self._undisturbed = Undisturbed()
        self.state: State = "idle"

    @property
    def is_busy(self) -> bool:
        """Whether something is under way."""
        return self._activity is not None

    @property
    def kind(self) -> Kind | None:
        """What is under way."""
        return None if self._activity is None else self._activity.kind

    @property
    def seconds(self) -> float:
        """For how long it has been under way, pauses apart."""
        return 0.0 if self._activity is None else time.monotonic() - self._activity.started

    def start_run(
        self,
        kind: Kind,
        session: Session,
        run: Run,
        n_objects: int,
        before: Callable[[], None],
        then: Callable[[Outcome], None],
    ) -> None:
        """Begin a run of a session; updates are applied by `poll`, in the caller's thread.

        Parameters
        ----------
        kind : {"segment", "propagate", "write"}
            A "write" needs no model.
        session : Session
        run : Run
        n_objects : int
            Updates that each frame brings, for progress.
        before : callable
            Called in the thread first.
        then : callable
            Called with the outcome by `poll`.
        """

        def work(job: Job) -> None:
            before()
            if job.is_cancelled:
                return
            total = run.total()
            job.report(_Ready(total, "" if kind == "write" else _summary(session)))
            frame = None
            for update in run.updates():
                # Between frames, so that a pause shows none with a part of its objects.
                if update.frame != frame and not job.hold():
                    break
                frame = update.frame
                job.report(update)
                if job.is_cancelled:
                    break

        self._begin(kind, work, run, n_objects, then)

    def start_unseen(self, task: Callable[[], Any]) -> Job:
        """Do something in the thread that is no run; nobody will hear of its errors."""
        return self._worker.submit(lambda job: task())

    def start_task(self, task: Callable[[], Any], then: Callable[[Outcome], None]) -> None:
        """Begin a task that touches files."""
        self._begin("file", lambda job: task(), None, 1, then)

    def pause(self) -> bool:
        """Wait before the next frame; False if there is nothing that could wait."""
        activity = self._activity
        if activity is None or activity.run is None or self.state not in ("loading", "running"):
            return False
        activity.job.pause()
        activity.paused_at = time.monotonic()
        self._enter("paused")
        return True

    def resume(self) -> bool:
        """Go on after a pause; False if there is none."""
        activity = self._activity
        if activity is None or activity.paused_at is None or self.state != "paused":
            return False
        # What is told of the time that a run takes is without its pauses.
        activity.started += time.monotonic() - activity.paused_at
        activity.paused_at = None
        self._pace.clear()
        self._pace.append((time.monotonic(), activity.done))
        self._enter("running" if activity.is_ready else "loading")
        activity.job.resume()
        return True

    def cancel(self) -> None:
        """Stop after the frame that is being computed; harmless if nothing runs."""
        if self._activity is not None and self._activity.run is not None:
            self._activity.job.cancel()
            self._enter("stopping")

    def abandon(self) -> None:
        """Stop now: what is still being computed will be dropped."""
        activity, self._activity = self._activity, None
        if activity is not None:
            activity.job.cancel()
            if activity.run is not None:
                activity.run.close()
            self._enter("idle")

    def poll(self, wait: float = 0.0) -> None:
        """Take in what the thread has done, for at most some milliseconds of work.

        Parameters
        ----------
        wait : float
            Seconds to wait for a first message.
        """
        activity = self._activity
        if activity is None:
            return
        deadline = time.monotonic() + wait + _BUDGET
        frames: set[int] = set()
        ended: Ended | None = None
        message = activity.job.receive(wait)
        while message is not None:
            if isinstance(message, MaskUpdate):
                assert activity.run is not None
                activity.run.apply(message)
                activity.done += 1
                frames.add(message.frame)
            elif isinstance(message, _Ready):
                activity.total, activity.is_ready = message.total, True
                if message.summary:
                    self.ready.emit(message.summary)
                if self.state == "loading":
                    self._enter("running")
                self._pace.append((time.monotonic(), 0))
                self.progressed.emit(self._progress(activity))
            else:
                ended = message
                break
            if time.monotonic() > deadline:
                break
            message = activity.job.receive()
        if frames:
            self.applied.emit(frozenset(frames))
            self._pace.append((time.monotonic(), activity.done))
            self.progressed.emit(self._progress(activity))
        if ended is not None and self._activity is activity:
            self._end(activity, ended)

    def close(self) -> None:
        """Abandon what runs and take no more."""
        self.abandon()
        self._worker.close()

    # Inside

    def _begin(
        self,
        kind: Kind,
        work: Callable[[Job], Any],
        run: Run | None,
        n_objects: int,
        then: Callable[[Outcome], None],
    ) -> None:
        assert self._activity is None
        self._pace.clear()
        job = self._worker.submit(work)
        self._activity = _Activity(kind, job, run, then, max(1, n_objects), time.monotonic())
        self._enter("running" if run is None else "loading")

    def _end(self, activity: _Activity, ended: Ended) -> None:
        self._activity = None
        if activity.run is not None:
            activity.run.close()
        outcome = Outcome(
            kind=activity.kind,
            value=ended.value,
            error=ended.error,
            cancelled=activity.job.is_cancelled,
            progress=self._progress(activity),
            seconds=time.monotonic() - activity.started,
        )
        self._enter("idle")
        activity.then(outcome)

    def _enter(self, state: State) -> None:
        if state != self.state:
            if state in ("idle", "paused"):
                self._undisturbed.end()
            else:
                self._undisturbed.begin()
            self.state = state
            self.state_changed.emit(state)

    def _progress(self, activity: _Activity) -> Progress:
        """Return progress in frames; updates come one an object and frame."""
        n = activity.n_objects
        total = -(-activity.total // n)
        done = min(total, -(-activity.done // n))
        left = None
        if len(self._pace) > 2:
            (start, first), (end, last) = self._pace[0], self._pace[-1]
            rest = max(0, activity.total - activity.done)
            left = (end - start) / max(1, last - first) * rest
        return Progress(done, total, left)


def _summary(session: Session) -> str:
    from napari_medsam2 import models
    from napari_medsam2.models.device import choose_device

    parts = [models.get(session.model_name).title]
    if session.settings["checkpoint"] is not None:
        parts.append(f"with {Path(session.settings['checkpoint']).name}")
    if (precision := getattr(session.model, "precision", None)) is not None:
        parts.append(f"in {precision}")
    return (
        f"{' '.join(parts)} on {choose_device(session.device_name).reason}; window {session.window}"
    )
