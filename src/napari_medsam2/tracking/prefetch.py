"""Embedding frames before they are asked for, while nothing else is to be done. No Qt."""

from __future__ import annotations

import atexit
import os
import sys
import threading
from collections import deque
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_medsam2.errors import DeviceError, InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .embeddings import FrameEncoder

__all__ = ["Prefetcher"]

# Of 19: other programs and the window come first, yet a frame that is under way gets done.
_NICENESS = 10


@dataclass(eq=False)
class _Plan:
    """Frames to embed, in order, and what the cache holds of them so far."""

    frames: deque[int] = field(default_factory=deque)
    nbytes: int = 0


class Prefetcher:
    """Embeds the frames around the one that is looked at, in a thread of its own.

    A window uses it so::

        prefetcher = Prefetcher(lambda: session.encoder if session.has_model else None)
        prefetcher.want(frame, step)    # whenever the slider moves by `step`, or a run has ended
        with prefetcher.busy():         # in the thread that computes, around all real work
            ...
        prefetcher.close()              # when the window closes

    or, where work starts and ends in different callbacks, `pause` and `resume`. None of these but
    `close` ever waits: real work starts at once. A frame that is just being encoded cannot be
    interrupted; if real work wants that very frame, it waits for it instead of encoding it twice
    (see `EmbeddingCache.get_or_make`). All methods may be called from any thread.

    Parameters
    ----------
    get_encoder : callable
        Returns the `FrameEncoder` to use now, or None if there is none yet. Asked before every
        frame, in the background thread, so a change of window or image needs no more than another
        `want`.
    ahead, behind : int
        How many frames to embed in the direction of travel and against it.
    share : float
        The part of the memory cache that may be filled in advance, 0 to 1.

    Attributes
    ----------
    error : Exception or None
        The last one that embedding in advance has met.

    Raises
    ------
    InputError
        For a negative number of frames or a share outside 0 to 1.
    """

    def __init__(
        self,
        get_encoder: Callable[[], FrameEncoder | None],
        *,
        ahead: int = 8,
        behind: int = 2,
        share: float = 0.5,
    ) -> None:
        if ahead < 0 or behind < 0 or not 0 <= share <= 1:
            raise InputError(
                "prefetching needs 0 frames or more on either side and a share of 0 to 1 of the "
                f"cache, got {ahead}, {behind} and {share!r}"
            )
        self.error: Exception | None = None
        self._get_encoder = get_encoder
        self._ahead = ahead
        self._behind = behind
        self._share = share
        self._direction = 1
        self._plan = _Plan()
        # Bytes an embedding takes, by the key of the model that makes it.
        self._sizes: dict[str, int] = {}
        self._changed = threading.Condition()
        self._paused = False
        self._busy = 0
        self._closed = False
        self._working = False
        self._thread: threading.Thread | None = None

    def want(self, frame: int, direction: int = 0) -> None:
        """Say where the user is, which replaces what was still to be done.

        Parameters
        ----------
        frame : int
            The frame that is looked at; it comes first.
        direction : int
            Positive towards higher frames, negative towards lower ones, 0 as before.
        """
        with self._changed:
            if self._closed:
                return
            if direction:
                self._direction = 1 if direction > 0 else -1
            step = self._direction
            ahead = (frame + step * i for i in range(1, self._ahead + 1))
            behind = (frame - step * i for i in range(1, self._behind + 1))
            self._plan = _Plan(deque([frame, *ahead, *behind]))
            self._start()
            self._changed.notify_all()

    def pause(self) -> None:
        """Begin no further frame until `resume`; repeating it changes nothing."""
        with self._changed:
            self._paused = True
            self._changed.notify_all()

    def resume(self) -> None:
        """Go on with what was wanted last."""
        with self._changed:
            self._paused = False
            self._changed.notify_all()

    @contextmanager
    def busy(self) -> Iterator[None]:
        """Begin no further frame while real work is done; may be nested."""
        with self._changed:
            self._busy += 1
            self._changed.notify_all()
        try:
            yield
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is being embedded and nothing will be; False if time ran out."""
        with self._changed:
            return self._changed.wait_for(lambda: not (self._working or self._may_go_on), timeout)

    def close(self, timeout: float | None = None) -> bool:
        """Stop for good, waiting for a frame that is just being encoded.

        Parameters
        ----------
        timeout : float, optional
            Seconds to wait; without end by default.

        Returns
        -------
        bool
            Whether the thread has ended. If not, it ends after its frame.
        """
        with self._changed:
            self._closed = True
            self._plan = _Plan()
            thread = self._thread
            self._changed.notify_all()
        if thread is None:
            return True
        thread.join(timeout)
        if not thread.is_alive():
            atexit.unregister(self.close)
        return not thread.is_alive()

    @property
    def _may_go_on(self) -> bool:
        return bool(self._plan.frames) and not (self._paused or self._busy or self._closed)

    def _start(self) -> None:
        if self._thread is None:
            # A daemon, so that the interpreter can end if nobody calls close; torch must not be
            # running by then, so close is called at exit.
            self._thread = threading.Thread(target=self._run, name="prefetch", daemon=True)
            atexit.register(self.close)
            self._thread.start()

    def _run(self) -> None:
        _step_back()
        while (task := self._next()) is not None:
            plan, frame = task
            try:
                self._embed(plan, frame)
            except Exception as error:
                # Nobody asked for this frame yet. Whoever does will meet the same error and be
                # told; a dialog about a frame that was never opened would help nobody.
                self.error = error
                if isinstance(error, DeviceError):
                    # Out of memory, most likely: what is left is for real work.
                    plan.frames.clear()

    def _next(self) -> tuple[_Plan, int] | None:
        with self._changed:
            self._working = False
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._may_go_on or self._closed)
            if self._closed:
                return None
            self._working = True
            return self._plan, self._plan.frames.popleft()

    def _embed(self, plan: _Plan, frame: int) -> None:
        encoder = self._get_encoder()
        if encoder is None:
            plan.frames.clear()
            return
        if not 0 <= frame < len(encoder.stack):
            return
        model = encoder.model.key
        most = self._share * encoder.cache.max_bytes
        if plan.nbytes + self._sizes.get(model, 1) > most:
            # One more would drop what was just made, or what real work has left there.
            plan.frames.clear()
            return
        # One that is cached costs nothing here, and becomes a recent one that stays.
        self._sizes[model] = encoder(frame).nbytes
        plan.nbytes += self._sizes[model]


def _step_back() -> None:
    """Give this thread, and those that torch starts for it, a lower priority; Linux only."""
    # Elsewhere niceness is that of the whole process.
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with suppress(OSError):
            niceness = os.getpriority(os.PRIO_PROCESS, thread)
            os.setpriority(os.PRIO_PROCESS, thread, min(19, niceness + _NICENESS))
