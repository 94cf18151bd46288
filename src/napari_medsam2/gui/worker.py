"""One background thread, whose jobs report through a queue that the GUI thread empties.

No Qt here. The thread never touches a layer or a widget, a job can be told to stop, and no
exception is lost, whatever its type (generator workers of Qt lose every RuntimeError).
"""

from __future__ import annotations

import contextlib
import os
import queue
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from napari_medsam2.errors import MedSAM2Error

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Ended", "InternalError", "Job", "Worker"]


_NICENESS = 2


class InternalError(MedSAM2Error):
    """Something that should not have happened; the cause is attached."""


@dataclass(frozen=True)
class Ended:
    """The last message of every job.

    Attributes
    ----------
    value : object
        What the work returned, None if it failed.
    error : MedSAM2Error or None
    """

    value: Any = None
    error: MedSAM2Error | None = None


class Job:
    """Work that was handed to the thread.

    Parameters
    ----------
    work : callable
        Takes the job; calls `report` with its messages and returns early once `is_cancelled`.
    """

    def __init__(self, work: Callable[[Job], Any]) -> None:
        self._work = work
        self._cancelled = threading.Event()
        self._may_go_on = threading.Event()
        self._may_go_on.set()
        self._is_paused = False
        self._messages: queue.SimpleQueue[Any] = queue.SimpleQueue()

    @property
    def is_cancelled(self) -> bool:
        """Whether the job should end at the next occasion."""
        return self._cancelled.is_set()

    def cancel(self) -> None:
        """Ask the job to end, also one that is paused."""
        self._cancelled.set()
        self._may_go_on.set()

    def pause(self) -> None:
        """Ask the job to wait the next time that it calls `hold`."""
        if not self.is_cancelled:
            self._is_paused = True
            self._may_go_on.clear()

    def resume(self) -> None:
        """Let the job go on."""
        self._is_paused = False
        self._may_go_on.set()

    def hold(self) -> bool:
        """Wait as long as the job is paused; called in the thread.

        Returns
        -------
        bool
            False if the job was cancelled while it was paused.
        """
        self._may_go_on.wait()
        return not (self._is_paused and self.is_cancelled)

    def report(self, message: Any) -> None:
        """Send a message; called in the thread."""
        self._messages.put(message)

    def receive(self, timeout: float = 0.0) -> Any | None:
        """Take the oldest message, None if there is none within `timeout` seconds."""
        try:
            return self._messages.get(block=timeout > 0, timeout=timeout or None)
        except queue.Empty:
            return None

    def run(self) -> None:
        """Do the work; called in the thread."""
        try:
            self.report(Ended(value=self._work(self)))
        except Exception as error:
            self.report(Ended(error=as_plain_error(error)))


class Worker:
    """A thread that does one job after the other; started by the first."""

    def __init__(self) -> None:
        self._executor = ThreadPoolExecutor(
            max_workers=1, thread_name_prefix="napari-medsam2", initializer=_step_back
        )

    def submit(self, work: Callable[[Job], Any]) -> Job:
        """Queue work behind what was queued before."""
        job = Job(work)
        self._executor.submit(job.run)
        return job

    def finish(self) -> None:
        """Take no more jobs; the thread ends once all are done, and the program not before."""
        self._executor.shutdown(wait=False)

    def close(self) -> None:
        """Take no more jobs; the thread ends with the one that it is at."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def _step_back() -> None:
    """Let the window have the processor first, where the system knows priorities of threads.

    The threads that torch starts from this one inherit it. On an idle machine it costs nothing.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)


def as_plain_error(error: Exception) -> MedSAM2Error:
    """Return an error that a person can read, with the original as its cause."""
    if isinstance(error, MedSAM2Error):
        return error
    if isinstance(error, MemoryError):
        detail = f" ({error})" if str(error) else ""
        plain: MedSAM2Error = MedSAM2Error(
            f"the computer is out of memory{detail}; close other programs or images and try again"
        )
    elif isinstance(error, OSError):
        plain = MedSAM2Error(f"{error.filename or 'file'}: {error.strerror or error}")
    else:
        plain = InternalError(f"unexpected {type(error).__name__}: {error}")
    plain.__cause__ = error
    return plain
