"""The work on every image of the viewer, written in the background while somebody is at it.

The window never waits. Labels are copied a few milliseconds at a time into an array of our own,
and when that is whole, prompts, decisions and runs of the same moment go with it to the thread that
writes them.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_medsam2.errors import MedSAM2Error
from napari_medsam2.io.autosave import Autosave

from .shadow import Shadow
from .worker import Ended, Worker

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_medsam2.history import RunRecord
    from napari_medsam2.io.sessions import SavedSession
    from napari_medsam2.session import Session
    from napari_medsam2.state import State, Told
    from napari_medsam2.volume import View

    from .bench import Bench
    from .desk import Desk
    from .worker import Job

__all__ = ["Autosaver"]

_log = logging.getLogger("napari_medsam2")

_BUDGET = 0.003  # seconds of the GUI thread for copying, each poll
_EVERY = 60.0
# Bytes of labels above which a second copy of them could be what makes the computer fail.
_MOST = 4 * 2**30


@dataclass(frozen=True, eq=False)
class Mark:
    """What a session was at one moment, to tell whether it has changed since."""

    state: State
    runs: tuple[RunRecord, ...]
    settings: dict[str, Any]

    @classmethod
    def of(cls, saved: SavedSession) -> Mark:
        """Return the mark of what is to be saved; labels change with the runs alone."""
        return cls(saved.state, saved.runs, dict(saved.settings))

    @property
    def has_work(self) -> bool:
        """Whether anything was said or done."""
        told = (self.state.told, *self.state.elsewhere.values())
        return bool(self.runs) or any(t.accepted or t.prompts.objects for t in told)

    def is_like(self, other: Mark | None) -> bool:
        """Whether nothing has changed between the two."""
        return (
            other is not None
            and self.state is other.state
            and self.settings == other.settings
            and self.runs == other.runs
        )

    def has_same_work(self, other: Mark | None) -> bool:
        """Whether the work is the same; which frames are looked at, and settings, may differ."""
        return (
            other is not None
            and self.state.standing == other.state.standing
            and self._said == other._said
            and self.runs == other.runs
        )

    @property
    def _said(self) -> dict[View, Told]:
        told = {**self.state.elsewhere, self.state.view: self.state.told}
        return {v: t for v, t in told.items() if t.accepted or t.prompts.prompted_ids}


class Work:
    """The work on one image, and what is known of its files.

    Parameters
    ----------
    desk : Desk

    Attributes
    ----------
    place : Autosave
        For the thread alone.
    written, saved, exported : Mark or None
        What the autosave holds, what a person has saved as a session, and of what as labels.
    """

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.place = Autosave()
        self.session: Session | None = None
        self.shadow: Shadow | None = None
        self.written: Mark | None = None
        self.saved: Mark | None = None
        self.exported: Mark | None = None

    def follow(self) -> None:
        """Take note of changed labels, and of another session in the place of the one before."""
        before, session = self.session, self.desk.session
        self.session = session
        if session is None:
            return
        changes = session.take_changes()
        if before is not None and before is not session:
            changes |= before.take_changes()
        if self.shadow is not None and self.shadow.serves(session):
            self.shadow.note(changes)
        else:
            self.shadow = None

    def last(self) -> SavedSession | None:
        """Return all there is, None if there is nothing; for when it changes no more.

        A viewer that closes takes its layers away one by one. What a session lacks of that, the
        one that was followed last still has.
        """
        session, now = self.session, self.desk.session
        if now is not None and (session is None or now.labels is session.labels):
            session = now
        return None if session is None else session.saved(session.labels)

    @property
    def mark(self) -> Mark | None:
        """The mark of the present session."""
        return None if self.session is None else Mark.of(self.session.saved(self.session.labels))

    @property
    def is_unwritten(self) -> bool:
        """Whether the autosave lacks something."""
        mark = self.mark
        if mark is None or mark.is_like(self.written):
            return False
        return mark.has_work or self.written is not None


@dataclass(frozen=True, eq=False)
class _Writing:
    """What the thread is at."""

    work: Work
    job: Job
    mark: Mark


class Autosaver:
    """Writes the sessions of all images; whoever owns it calls `poll` at least every second.

    Parameters
    ----------
    bench : Bench

    Attributes
    ----------
    is_on : bool
        Off until `configure` says otherwise.
    saved_at : datetime or None
        When the work on an image was written last.
    """

    # Polling is needed, more often than every second.
    woken = Signal()
    # The session of an image was written.
    saved = Signal()
    # It could not be: why, in one sentence, told once until it could be again.
    failed = Signal(str)

    def __init__(self, bench: Bench) -> None:
        self.is_on = False
        self.saved_at: datetime | None = None
        self._bench = bench
        self._worker = Worker()
        self._works: dict[Desk, Work] = {}
        self._every = _EVERY
        self._started = time.monotonic()
        self._took = 0.0
        self._next = self._started + self._every
        self._queue: deque[Work] = deque()
        self._copying: Work | None = None
        self._writing: _Writing | None = None
        self._told: set[str] = set()

    @property
    def is_busy(self) -> bool:
        """Whether it is copying or writing."""
        return self._copying is not None or self._writing is not None

    def configure(self, is_on: bool, seconds: float) -> None:
        """Say whether to write, and how much work may be lost at most, in seconds."""
        self.is_on, self._every = is_on, seconds
        self._next = min(self._next, time.monotonic() + seconds)

    def poll(self) -> None:
        """Copy, begin and end writing; some milliseconds at most."""
        self._receive()
        if not self.is_on:
            self._copying = None
            self._queue.clear()
            return
        for desk in self._bench.desks:
            self._works.setdefault(desk, Work(desk)).follow()
        for work in [w for desk, w in self._works.items() if desk not in self._bench.desks]:
            self._finish(self._works.pop(work.desk))
        if not self.is_busy and time.monotonic() >= self._next:
            self._begin()
        if self._copying is not None and self._writing is None:
            self._copy(self._copying)

    def being_saved(self, session: Session, *, whole: bool) -> Callable[[], None]:
        """Note that the work on the image in use is being saved by hand, or is as it was saved.

        Parameters
        ----------
        session : Session
        whole : bool
            Whether as a session; else its labels alone.

        Returns
        -------
        callable
            To be called once the file is there.
        """
        desk = self._bench.require_desk()
        work = self._works.setdefault(desk, Work(desk))
        mark = Mark.of(session.saved(session.labels))

        def done() -> None:
            if whole:
                work.saved = mark
            else:
                work.exported = mark

        return done

    def adopt(self, session: Session, place: Autosave) -> None:
        """Go on with what was left behind, in its place; the image in use has its session."""
        desk = self._bench.require_desk()
        old, work = self._works.get(desk), Work(desk)
        if old is not None:
            self._worker.submit(lambda job: old.place.discard())
        if old is self._copying:
            self._copying = None
        work.place = place
        work.follow()
        work.written = Mark.of(session.saved(session.labels))
        self._works[desk] = work

    def close(self) -> None:
        """Write what is not written yet, in the thread, and stop.

        What a person has saved is not kept, nor where nothing was done.
        """
        for desk in self._bench.desks if self.is_on else ():
            self._works.setdefault(desk, Work(desk))
        for work in self._works.values():
            self._finish(work)
        self._works.clear()
        self._copying = self._writing = None
        self._queue.clear()
        self.is_on = False
        self._worker.finish()

    # Inside

    def _begin(self) -> None:
        self._started = time.monotonic()
        self._queue.extend(work for work in self._works.values() if work.is_unwritten)
        self._advance()

    def _advance(self) -> None:
        """Turn to the next image that has to be written."""
        self._copying = self._queue.popleft() if self._queue else None
        if self._copying is not None:
            self.woken.emit()
            return
        # What is done after a copy is at risk until the next one is on the disk.
        lead = min(self._took, self._every / 2)
        self._next = max(time.monotonic() + 1.0, self._started + self._every - lead)

    def _copy(self, work: Work) -> None:
        session = work.session
        if session is None or self._works.get(work.desk) is not work:
            self._advance()
            return
        if session.labels.nbytes > _MOST:
            self._tell("size", "its labels are too large; save the session by hand now and then")
            self._advance()
            return
        if work.shadow is None:
            work.shadow = Shadow(session)
        if work.shadow.copy(session, _BUDGET):
            saved = session.saved(work.shadow.labels)
            job = self._worker.submit(lambda job: work.place.write(saved))
            self._copying, self._writing = None, _Writing(work, job, Mark.of(saved))

    def _receive(self) -> None:
        writing = self._writing
        ended = None if writing is None else writing.job.receive()
        if writing is None or not isinstance(ended, Ended):
            return
        self._writing, work = None, writing.work
        work.written = writing.mark if ended.error is None else None
        if work.desk is not self._bench.desk:
            work.shadow = None
        if ended.error is None:
            self._told.discard("write")
            self._took, self.saved_at = (
                time.monotonic() - self._started,
                datetime.now().astimezone(),
            )
            self.saved.emit()
        else:
            self._tell("write", str(ended.error))
        self._advance()

    def _finish(self, work: Work) -> None:
        """Write what is left to write, and let go of the place."""
        end, saved = work.place.release, work.last()
        if saved is not None:
            mark = Mark.of(saved)
            is_exported = mark.has_same_work(work.exported)
            if not mark.has_work or mark.has_same_work(work.saved):
                end = work.place.discard
            elif self.is_on and (is_exported or not mark.is_like(work.written)):
                end = partial(_conclude, work.place, saved, is_exported)
        self._worker.submit(lambda job: end())

    def _tell(self, kind: str, problem: str) -> None:
        if kind not in self._told:
            self._told.add(kind)
            self.failed.emit(f"the work is not saved in the background: {problem}")


def _conclude(place: Autosave, saved: SavedSession, is_exported: bool) -> None:
    """Write a last time; there may be no window any more to tell an error."""
    try:
        place.write(saved, is_exported=is_exported)
    except MedSAM2Error as error:
        _log.warning("the last work could not be saved in the background: %s", error)
    finally:
        place.release()
