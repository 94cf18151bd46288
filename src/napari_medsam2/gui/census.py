"""How many pixels each object has, counted in a thread of its own while labels change."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_medsam2.tally import Tally, pixel_counts

from .worker import Ended, Worker

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from .worker import Job

__all__ = ["Census"]

_AT_ONCE = 16  # frames of a job


class Census:
    """Pixel counts of the objects on the frames of a session.

    The owner calls `poll` as long as `is_busy`. A frame that changes while it is counted is counted
    again, for then it was touched again.
    """

    changed = Signal()

    def __init__(self) -> None:
        self._worker = Worker()
        self._frames: NDArray[Any] | None = None
        self._tally: Tally | None = None
        self._job: Job | None = None

    @property
    def is_busy(self) -> bool:
        """Whether there is something to count."""
        return self._job is not None or (self._tally is not None and self._tally.is_stale)

    @property
    def object_ids(self) -> tuple[int, ...]:
        """The objects that have a pixel, ascending; also those that no session knows of."""
        return () if self._tally is None else self._tally.object_ids

    def watch(self, frames: NDArray[Any] | None) -> None:
        """Count other frames (frame, y, x) from now on; the same view again changes nothing."""
        if _is_same(frames, self._frames):
            return
        self._frames = frames
        self._tally = None if frames is None else Tally(frames)
        self._job = None
        self.changed.emit()

    def touch(self, frames: Iterable[int] | None = None) -> None:
        """Note that frames have changed, by default all."""
        if self._tally is not None:
            self._tally.touch(frames)

    def pixels(self, object_id: int) -> int | None:
        """Return how many pixels an object has, None while that is not known."""
        if self._tally is None or (self._tally.is_stale and not self._tally.object_ids):
            return None
        return self._tally.pixels(object_id)

    def poll(self) -> None:
        """Take in what was counted, and have more counted."""
        tally, frames = self._tally, self._frames
        if tally is None or frames is None:
            return
        if self._job is not None:
            message = self._job.receive()
            while message is not None and not isinstance(message, Ended):
                tally.take(*message)
                message = self._job.receive()
            if message is None:
                return
            self._job = None
            self.changed.emit()
        if tally.is_stale:
            asked = tally.next_frames(_AT_ONCE)
            self._job = self._worker.submit(partial(_count, frames, asked))

    def close(self) -> None:
        """Count no more."""
        self._tally = self._frames = self._job = None
        self._worker.close()


def _count(frames: NDArray[Any], asked: list[int], job: Job) -> None:
    for frame in asked:
        if job.is_cancelled:
            return
        job.report((frame, pixel_counts(frames[frame])))


def _is_same(a: NDArray[Any] | None, b: NDArray[Any] | None) -> bool:
    """Whether two views show the same memory in the same way."""
    if a is None or b is None:
        return a is b
    one, other = a.__array_interface__, b.__array_interface__
    keys = ("data", "shape", "typestr")
    return all(one[key] == other[key] for key in keys) and a.strides == b.strides
