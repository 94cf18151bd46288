"""What the widget does, without a widget; also the handle for scripts."""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from napari_medsam2.errors import MedSAM2Error
from napari_medsam2.session import Session

from . import files
from .comparison import Comparer
from .copying import Copier
from .keeping import Keeping
from .layers import rehearse
from .learning import Learner
from .lookahead import Lookahead
from .news import News
from .relay import relay
from .review import Review

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from napari.components import ViewerModel
    from napari.layers import Labels

    from napari_medsam2.evaluation.datasets_session import TrueFrames
    from napari_medsam2.history import RunRecord
    from napari_medsam2.reproduce import Copied

    from .copying import Form
    from .desk import Desk
    from .runner import Outcome
    from .scoring import Comparison
    from .worker import Job

__all__ = ["Controller"]

_DEBOUNCE = 0.15  # seconds that what is moved must rest before it is read


class Controller(Keeping):
    """Segment the images of a viewer.

    Requests return at once; the work happens in a thread. Whoever shows the controller calls `poll`
    some twenty times a second while `is_awake`; `woken` says when to begin. Scripts call `wait`.
    What goes wrong becomes a napari notification, and `last_error` until the next request.

    Parameters
    ----------
    viewer : ViewerModel
    make_session : callable
        Builds sessions; for tests.

    Attributes
    ----------
    bench : Bench
        The image and the settings in use.
    tools : Tools
        The object in use and how it is drawn.
    model_files : ModelFiles
        The models and their downloads.
    lookahead : Lookahead
        Frames embedded in advance.
    comparer : Comparer
        Compares the result with a true segmentation.
    learner : Learner
        Fine-tunes the model on corrections.
    cleaner : Cleaner
        Previews what cleaning up would change.
    measurer : Measurer
        Measures the objects.
    copier : Copier
        Writes the session as a script or a command.
    review : Review
        Goes through the result and accepts slices.
    autosaver : Autosaver
        Writes the work on all images in the background.
    recovery : Recovery
        Offers what a crash has left behind.
    segment_while_drawing : bool
        Whether a slice is segmented as soon as a prompt is drawn on it.
    last_error : MedSAM2Error or None
    """

    def __init__(self, viewer: ViewerModel, make_session: Callable[..., Session] = Session) -> None:
        super().__init__(viewer, make_session)
        self.segment_while_drawing = True
        # Called by `wait` between polls, to keep a window alive.
        self.pump: Callable[[], None] | None = None
        self.copier = Copier()
        self.lookahead = Lookahead()
        self.comparer = Comparer(self.bench)
        self.learner = Learner(self.bench, self.model_files)
        self.review = Review(self.bench, self.tools, self._guarded, self._session_in_line)
        self._warming: Job | None = None
        self._runner.applied.connect(self._on_applied)
        self._runner.state_changed.connect(self._on_state)
        self.bench.leaving.connect(self._abandon)
        self.relabelled.connect(self.comparer.note_change)
        relay(self.comparer.changed, self.changed)
        relay(self.learner.changed, self.changed)
        relay(self.review.changed, self.changed)
        relay(self.review.told, self.message)
        relay(self.learner.told, self.message)
        relay(self.learner.woken, self.woken)
        self.learner.failed.connect(self._fail)
        # Kept, for signals hold their listeners weakly.
        self._news = News(self.message, self.woken, self._fail, self.model_files, self.comparer)

    def warm_up(self) -> None:
        """Load the model in the thread, so that the first tool and slice need not wait for it.

        An error is not shown: it will come again, and be shown, when the model is needed.
        """
        self._runner.start_unseen(rehearse)
        network = self.bench.settings.network
        self._warming = self._runner.start_unseen(partial(self.bench.shelf.load, network))
        self.woken.emit()

    def look_ahead(self) -> None:
        """Embed the frames around the one on show in advance; returns at once.

        Nothing happens while a run is under way, or before the model is loaded.
        """
        desk, settings = self.bench.desk, self.bench.settings
        if self._is_closed or self._runner.is_busy:
            return
        try:
            found = desk.outlook(settings) if desk is not None and settings.prefetch else None
        except (MedSAM2Error, MemoryError):
            # It will come again, and be shown, when the image is to be segmented.
            found = None
        if found is None:
            self.lookahead.forget()
        else:
            self.lookahead.look(*found)

    # The truth

    @property
    def comparison(self) -> Comparison | None:
        """The comparison of the image in use that ended last, None if there is none."""
        return self.comparer.comparison

    def compare(self, layer: Labels, partners: Mapping[int, int] | None = None) -> bool:
        """Compare the result with a labels layer that holds the truth, in a thread.

        Parameters
        ----------
        layer : Labels
        partners : mapping of int to int, optional
            True value of some objects. By default it is the object's own id, or the value with
            the largest overlap if the truth has nothing of that there.

        Returns
        -------
        bool
            False if it could not begin; `last_error` and a notification say why.
        """
        if self._is_closed:
            return False

        def begin() -> None:
            self.bench.require_desk()
            self.comparer.start(self.session, layer, partners)
            self.message.emit(f"Comparing with {layer.name}…")
            self.woken.emit()

        return self._guarded(begin)

    # Learning

    def learn(self, minutes: float | None = None, frames: TrueFrames = "prompted") -> bool:
        """Fine-tune the model in use on what was corrected in this image, in a thread.

        What comes of it waits as `learner.lesson` for `learner.keep` or `learner.discard`.

        Parameters
        ----------
        minutes : float, optional
        frames : {"prompted", "segmented"}
            Which frames count as truth: those with prompts and a mask, or all with a mask.

        Returns
        -------
        bool
            False if it could not begin; `last_error` and a notification say why.
        """
        return self._when_idle(lambda: self.learner.start(self._session_in_line(), minutes, frames))

    # Files

    def save_labels(self, path: str | Path, values: files.Values = "instances") -> bool:
        """Write the labels to a file, in the thread; an older file is replaced.

        Parameters
        ----------
        path : path
        values : {"instances", "names"}
            One value an object, or one a name, with a table of the names beside the labels.
        """
        save = partial(files.save_labels, values=values)
        return self._when_idle(lambda: self._save(path, save, whole=False))

    def save_session(self, path: str | Path) -> bool:
        """Write prompts, settings, scores and labels to a session file, in the thread."""
        return self._when_idle(lambda: self._save(path, files.save_session, whole=True))

    def open_session(self, path: str | Path) -> bool:
        """Open a session file on the image in use, or with its own image if there is none."""

        def begin() -> None:
            volume = None if self.bench.desk is None else self.bench.desk.volume()
            device = self.bench.settings.device
            self._begin_task(lambda: files.open_session(path, volume, device), self._on_opened)

        return self._when_idle(begin)

    def copy_as(self, form: Form) -> Copied | None:
        """Return the session as text that makes its labels again, None if there is no session."""
        found: list[Copied] = []
        self._guarded(lambda: found.append(self.copier.copy(self._session_in_line(), form)))
        return found[0] if found else None

    # Time

    @property
    def is_awake(self) -> bool:
        """Whether `poll` has anything to do, now or soon."""
        desk = self.bench.desk
        others = (self._runner, self.model_files, self.comparer, self.learner)
        is_busy = any(other.is_busy for other in others) or self._is_finishing
        is_busy = is_busy or self._is_keeping or self.census.is_busy
        if is_busy or self._warming is not None:
            return True
        return desk is not None and (
            (desk.is_edited and not desk.prompts.is_drawing)
            or desk.results.is_stale
            or desk.wants_results
            or self._has_paint
        )

    def poll(self, wait: float = 0.0) -> bool:
        """Take in results, read edited prompts, refresh the screen; some milliseconds at most.

        Parameters
        ----------
        wait : float
            Seconds to wait for the thread if there is nothing to take in.

        Returns
        -------
        bool
            Whether to call again soon.
        """
        self._runner.poll(wait)
        self.model_files.poll()
        self.comparer.poll()
        self.learner.poll()
        self._poll_finishing()
        self._count()
        self._poll_keeping()
        if self._warming is not None and self._warming.receive() is not None:
            self._warming = None
            self.warmed_up.emit()
        desk = self.bench.desk
        if desk is None:
            return self.is_awake
        if desk.wants_results:
            self._show_results(desk)
        self._take_paint()
        has_rested = self._is_whole or time.monotonic() - self._edited_at > _DEBOUNCE
        if desk.is_edited and not desk.prompts.is_drawing and has_rested:
            self._guarded(self._preview)
        desk.results.refresh()
        return self.is_awake

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until all is done; the window stays alive meanwhile.

        Parameters
        ----------
        timeout : float, optional
            Seconds; None waits for ever.

        Returns
        -------
        bool
            False if time ran out, or if a run is paused and so waits for somebody.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.poll(wait=0.02):
            if self.is_paused or (deadline is not None and time.monotonic() > deadline):
                return False
            if self.pump is not None:
                self.pump()
            if not self._runner.is_busy:
                time.sleep(0.005)
        return True

    def close(self) -> None:
        """Stop what runs and let go of the viewer; layers stay."""
        if not self._is_closed:
            self._is_closed = True
            self._next = None
            self._warming = None
            self._runner.close()
            self.model_files.close()
            self.lookahead.close()
            self.comparer.close()
            self.learner.close()
            self._close_finishing()
            self.census.close()
            self._close_keeping()
            self._let_go()

    # Inside

    def _show_results(self, desk: Desk) -> None:
        try:
            if desk.show_wanted_results():
                self.tools.apply()
        except MedSAM2Error as error:
            self._fail(error)

    def _preview(self) -> None:
        frames, bare = self._read_prompts(), self._take_bare()
        desk = self.bench.desk
        assert desk is not None
        assert desk.session is not None
        prompted = frames & set(desk.session.prompts.frames)
        settings = self.bench.settings
        if settings.checkpoint is None and self.model_files.transfer(settings.model) is not None:
            prompted = frozenset()  # the panel shows that the model is on its way
        if not (prompted or bare) or not self.segment_while_drawing:
            return
        shown = desk.shown_frame()
        frame = shown if shown in prompted else min(prompted, default=None)

        def follow() -> None:
            self._erase_bare(bare)
            if frame is not None:
                self.segment_slice(frame)

        self._when_idle(follow, stop=not self.is_propagating)

    def _save(
        self, path: str | Path, save: Callable[[Session, str | Path], Path], *, whole: bool
    ) -> None:
        session = self._session_in_line()
        done = self.autosaver.being_saved(session, whole=whole)
        self._begin_task(lambda: save(session, path), partial(self._on_saved, session.runs, done))

    # Events

    def _on_state(self, state: str) -> None:
        if state == "idle":
            self.lookahead.resume()
        else:
            self.lookahead.pause()

    def _on_saved(
        self, runs: tuple[RunRecord, ...], done: Callable[[], None], outcome: Outcome
    ) -> None:
        if outcome.error is None:
            done()
        self.copier.note_saved(outcome.value, runs)
        self._conclude(outcome, f"Saved {outcome.value}")

    def _on_opened(self, outcome: Outcome) -> None:
        if outcome.error is None:
            self._guarded(lambda: self.bench.adopt(outcome.value))
            self.tools.select(min(self.session.prompts.ids, default=1))
            self._guarded(self._show_all)
            self.autosaver.being_saved(self.session, whole=True)()
        self._conclude(outcome, "Opened the session")

    def _on_applied(self, frames: frozenset[int]) -> None:
        if self.bench.desk is not None:
            self.bench.desk.touch(frames)
            self.relabelled.emit()
            self.changed.emit()
