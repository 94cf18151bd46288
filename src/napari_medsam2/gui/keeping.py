"""Keeping work from getting lost: written in the background, offered again, resumed."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from . import files, notify
from .autosave import Autosaver
from .finishing import Finishing
from .recovery import Recovery
from .relay import relay

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel

    from napari_medsam2.io.autosave import Leftover
    from napari_medsam2.session import Session

    from .runner import Outcome

__all__ = ["Keeping"]


class Keeping(Finishing):
    """Autosave, and going on with what a crash has left behind.

    Parameters
    ----------
    viewer : ViewerModel
    make_session : callable
        Builds sessions; for tests.

    Attributes
    ----------
    autosaver : Autosaver
        Writes the work on all images in the background, once it is told to.
    recovery : Recovery
        Offers what was left behind, once it is started.
    """

    def __init__(self, viewer: ViewerModel, make_session: Callable[..., Session]) -> None:
        super().__init__(viewer, make_session)
        self.autosaver = Autosaver(self.bench)
        self.recovery = Recovery(self.bench)
        relay(self.autosaver.woken, self.woken)
        relay(self.autosaver.saved, self.changed)
        relay(self.recovery.woken, self.woken)
        relay(self.recovery.changed, self.changed)
        self.autosaver.failed.connect(self._on_unkept)
        self.recovery.failed.connect(self._on_unkept)

    def recover(self, leftover: Leftover) -> bool:
        """Go on with work that was left behind, on the image in use or with its own image.

        What is there now is replaced.

        Parameters
        ----------
        leftover : Leftover
            One of `recovery.offers`.

        Returns
        -------
        bool
            False if it could not begin; `last_error` and a notification say why.
        """

        def begin() -> None:
            desk, device = self.bench.desk, self.bench.settings.device
            task = partial(files.recover, leftover, None if desk is None else desk.volume(), device)
            self._begin_task(task, partial(self._on_recovered, leftover))

        return self._when_idle(begin)

    # Inside

    @property
    def _is_keeping(self) -> bool:
        return self.autosaver.is_busy or self.recovery.is_busy

    def _poll_keeping(self) -> None:
        self.autosaver.poll()
        self.recovery.poll()

    def _close_keeping(self) -> None:
        self.autosaver.close()
        self.recovery.close()

    # Events

    def _on_recovered(self, leftover: Leftover, outcome: Outcome) -> None:
        if outcome.error is None:
            session, place = outcome.value
            if self._guarded(lambda: self.bench.adopt(session)):
                self.tools.select(min(session.prompts.ids, default=1))
                self._guarded(self._show_all)
                self.autosaver.adopt(session, place)
                self.recovery.withdraw(leftover)
            else:
                place.release()
        self._conclude(outcome, f"Resumed the work of {leftover.time.astimezone():%H:%M}")

    def _on_unkept(self, problem: str) -> None:
        self.message.emit(problem[0].upper() + problem[1:])
        notify.warn(problem)
