"""What the widget does, without a widget; also the handle for scripts."""

from __future__ import annotations

import math
import time
from functools import partial
from typing import TYPE_CHECKING, Any

from napari_medsam2 import models
from napari_medsam2.errors import InputError, MedSAM2Error
from napari_medsam2.models import DownloadCancelled
from napari_medsam2.session import Session

from . import files, notify
from .bench import Bench
from .comparison import Comparer
from .lookahead import Lookahead
from .model_files import ModelFiles
from .objects import ObjectInfo, free_id, list_objects
from .relay import relay
from .requests import Requests
from .tools import Tools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from napari.components import ViewerModel
    from napari.layers import Labels

    from napari_medsam2.models import ModelCard
    from napari_medsam2.session import Run
    from napari_medsam2.tracking.tracker import Direction

    from .comparison import Comparison
    from .runner import Kind, Outcome
    from .worker import Job

__all__ = ["Controller"]

_DEBOUNCE = 0.15  # seconds that a layer must rest before its prompts are read


class Controller(Requests):
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
    segment_while_drawing : bool
        Whether a slice is segmented as soon as a prompt is drawn on it.
    last_error : MedSAM2Error or None
    """

    def __init__(self, viewer: ViewerModel, make_session: Callable[..., Session] = Session) -> None:
        super().__init__()
        self.viewer = viewer
        self.segment_while_drawing = True
        # Called by `wait` between polls, to keep a window alive.
        self.pump: Callable[[], None] | None = None
        self.bench = Bench(viewer, make_session)
        self.tools = Tools(self.bench)
        self.model_files = ModelFiles()
        self.lookahead = Lookahead()
        self.comparer = Comparer(self.bench)
        self._edited_at = 0.0
        self._warming: Job | None = None
        self._runner.applied.connect(self._on_applied)
        self._runner.state_changed.connect(self._on_state)
        self.model_files.began.connect(self._on_download)
        self.model_files.ended.connect(self._on_downloaded)
        self.bench.leaving.connect(self._abandon)
        self.bench.changed.connect(self._on_bench)
        self.bench.edited.connect(self._on_edited)
        self.bench.begun.connect(self._on_begun)
        self.comparer.ended.connect(self._on_compared)
        self.comparer.stopped.connect(self._on_truth_gone)
        relay(self.comparer.changed, self.changed)
        relay(self.tools.changed, self.changed)
        for event in (viewer.dims.events.order, viewer.dims.events.ndisplay):
            event.connect(self._on_view)
        self.tools.apply()

    @property
    def session(self) -> Session:
        """The session of the image, for the present settings and view.

        Prompts that a script gives to it appear in the layers with the next request.

        Raises
        ------
        InputError
            If there is no image, or it cannot be segmented.
        """
        desk = self.bench.require_desk()
        if desk.session is not None and self._runner.is_busy:
            return desk.session
        return desk.open(self.bench.settings)

    def warm_up(self) -> None:
        """Load the model in the thread, so that the first slice need not wait for it.

        An error is not shown: it will come again, and be shown, when the model is needed.
        """
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

    # Objects

    @property
    def objects(self) -> list[ObjectInfo]:
        """The objects of the image, with the one that is drawn now."""
        desk = self.bench.desk
        if desk is None:
            return []
        return list_objects(desk.session, self.tools.object_id, desk.prompts.colour)

    def new_object(self) -> int:
        """Select the next id that has neither prompts nor labels, and return it."""
        self._read_prompts()
        desk = self.bench.desk
        layer = None if desk is None else desk.results.layer
        self.tools.select(free_id(None if desk is None else desk.session, layer))
        how = "draw a box around it" + (" or click on it" if self.tools.takes_points else "")
        self.message.emit(f"Object {self.tools.object_id}: {how}")
        return self.tools.object_id

    def use_box_tool(self) -> bool:
        """Get ready to draw boxes around the object in use."""
        return self._guarded(self.tools.use_box)

    def use_point_tool(self) -> bool:
        """Get ready to click on the object in use, or beside it."""
        return self._guarded(self.tools.use_points)

    def rename_object(self, object_id: int, name: str) -> bool:
        """Give an object a name."""
        return self._guarded(lambda: self._change(lambda s: s.rename_object(object_id, name)))

    def remove_object(self, object_id: int) -> bool:
        """Remove an object with its prompts and labels; undo brings it back."""

        def remove() -> None:
            session = self._session_in_line()
            if object_id in session.prompts or object_id in session.scores:
                self._change(lambda s: s.remove_object(object_id))
                self.comparer.note_change()
            left = [o.id for o in self.objects if o.id != object_id]
            if object_id == self.tools.object_id:
                self.tools.select(left[-1] if left else 1)

        return self._when_idle(remove, stop=True)

    # Work

    def segment_slice(
        self, frame: int | None = None, object_ids: Iterable[int] | None = None
    ) -> bool:
        """Segment the objects that have prompts on a frame, the one on show by default.

        An older request of this kind is dropped.

        Returns
        -------
        bool
            False if it could not begin; `last_error` and a notification say why.
        """

        def begin() -> None:
            session = self._session_to_run()
            at = self.bench.require_desk().current_frame() if frame is None else frame
            self._start("segment", session, session.start_segment(at, object_ids), 1)

        return self._unless_propagating(begin)

    def propagate(
        self,
        direction: Direction = "both",
        start: int | None = None,
        stop: int | None = None,
        object_ids: Iterable[int] | None = None,
    ) -> bool:
        """Carry objects along the axis, as `Session.propagate` does.

        Returns
        -------
        bool
            False if it could not begin; `last_error` and a notification say why.
        """
        wanted = None if object_ids is None else tuple(object_ids)

        def begin() -> None:
            session = self._session_to_run()
            ids = session.prompts.prompted_ids if wanted is None else wanted
            run = session.start_propagation(direction, start, stop, wanted)
            self._start("propagate", session, run, len(set(ids)))

        return self._unless_propagating(begin)

    def undo(self) -> bool:
        """Take back the last step, prompts and masks together; stops a run first."""
        return self._when_idle(lambda: self._travel("undo"), stop=True)

    def redo(self) -> bool:
        """Bring back the step that was undone last."""
        return self._when_idle(lambda: self._travel("redo"), stop=True)

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
            the largest overlap if the truth lacks that.

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

    # Files

    def save_labels(self, path: str | Path) -> bool:
        """Write the labels to a file, in the thread; an older file is replaced."""
        return self._when_idle(lambda: self._save(path, files.save_labels))

    def save_session(self, path: str | Path) -> bool:
        """Write prompts, settings, scores and labels to a session file, in the thread."""
        return self._when_idle(lambda: self._save(path, files.save_session))

    def open_session(self, path: str | Path) -> bool:
        """Open a session file on the image in use, or with its own image if there is none."""

        def begin() -> None:
            volume = None if self.bench.desk is None else self.bench.desk.volume()
            device = self.bench.settings.device
            self._begin_task(lambda: files.open_session(path, volume, device), self._on_opened)

        return self._when_idle(begin)

    # Time

    @property
    def is_awake(self) -> bool:
        """Whether `poll` has anything to do, now or soon."""
        desk = self.bench.desk
        others = (self._runner, self.model_files, self.comparer)
        if any(other.is_busy for other in others) or self._warming is not None:
            return True
        return desk is not None and (
            (desk.is_edited and not desk.prompts.is_drawing) or desk.results.is_stale
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
        if self._warming is not None and self._warming.receive() is not None:
            self._warming = None
            self.warmed_up.emit()
        desk = self.bench.desk
        if desk is None:
            return self.is_awake
        has_rested = time.monotonic() - self._edited_at > _DEBOUNCE
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
            False if time ran out.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.poll(wait=0.02):
            if deadline is not None and time.monotonic() > deadline:
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
            for event in (self.viewer.dims.events.order, self.viewer.dims.events.ndisplay):
                event.disconnect(self._on_view)
            self.bench.close()

    # Inside

    def _unless_propagating(self, action: Callable[[], Any]) -> bool:
        if self.is_propagating:

            def refuse() -> None:
                raise InputError("a propagation is running: let it finish or stop it first (Esc)")

            return self._guarded(refuse)
        return self._when_idle(action, stop=True)

    def _session_to_run(self) -> Session:
        """Return the session in line, if there is a model for it (`InputError` if not)."""
        session = self._session_in_line()
        settings = self.bench.settings
        if not self.bench.require_desk().keeper.has_model(settings.network):
            self.model_files.require(settings)
        return session

    def _session_in_line(self) -> Session:
        """Return the session, with the prompts that the layers show and the reverse."""
        session = self.session
        self._read_prompts()
        return session

    def _read_prompts(self) -> frozenset[int]:
        """Take in what was drawn; return the frames on which it differs."""
        desk = self.bench.desk
        if desk is None or (desk.session is None and not desk.is_edited):
            return frozenset()
        _ = self.session
        frames, problems = desk.read_prompts()
        for problem in problems:
            notify.warn(problem)
        if frames:
            self.changed.emit()
        return frames

    def _preview(self) -> None:
        frames = self._read_prompts()
        desk = self.bench.desk
        assert desk is not None
        assert desk.session is not None
        prompted = frames & set(desk.session.prompts.frames)
        if not prompted or not self.segment_while_drawing:
            return
        settings = self.bench.settings
        if settings.checkpoint is None and self.model_files.transfer(settings.model) is not None:
            return  # the panel shows that the model is on its way
        shown = desk.shown_frame()
        frame = shown if shown in prompted else min(prompted)
        if self.is_propagating:
            self._when_idle(lambda: self.segment_slice(frame))
        else:
            self.segment_slice(frame)

    def _start(self, kind: Kind, session: Session, run: Run, n_objects: int) -> None:
        desk = self.bench.require_desk()
        desk.show_results()
        self.tools.apply()
        self.message.emit("Working…" if session.has_model else f"Loading {session.model_name}…")
        lend = desk.keeper.lender()
        self._runner.start_run(kind, session, run, n_objects, lend, self._on_ended)
        self.woken.emit()

    def _change(self, edit: Callable[[Session], Any]) -> None:
        session = self._session_in_line()
        edit(session)
        self._show_all()

    def _travel(self, way: str) -> None:
        session = self._session_in_line()
        text = session.undo_text if way == "undo" else session.redo_text
        n_runs = len(session.runs)
        moved = session.undo() if way == "undo" else session.redo()
        if len(session.runs) != n_runs:  # else it was a step of prompts and names alone
            self.comparer.note_change()
        self._show_all()
        done = "Undone" if way == "undo" else "Redone"
        self.message.emit(f"{done}: {text}" if moved else f"Nothing to {way}")

    def _show_all(self) -> None:
        """Show prompts and labels after a step that may have changed them everywhere."""
        desk = self.bench.require_desk()
        desk.write_prompts()
        desk.touch_all()
        desk.results.refresh(now=True)
        self.changed.emit()

    def _save(self, path: str | Path, save: Callable[[Session, str | Path], Path]) -> None:
        session = self._session_in_line()
        self._begin_task(lambda: save(session, path), self._on_saved)

    # Events

    def _on_state(self, state: str) -> None:
        if state == "idle":
            self.lookahead.resume()
        else:
            self.lookahead.pause()

    def _on_download(self, name: str) -> None:
        self.message.emit(f"Downloading {models.get(name).title}…")
        self.woken.emit()

    def _on_downloaded(self, card: ModelCard, error: MedSAM2Error | None) -> None:
        if error is None:
            self.message.emit(f"{card.title} is ready")
            return
        self.message.emit(str(error))
        if not isinstance(error, DownloadCancelled):
            notify.report(error)

    def _on_ended(self, outcome: Outcome) -> None:
        desk = self.bench.desk
        if desk is not None:
            desk.keeper.shelve()
            desk.results.refresh(now=True)
        self._conclude(outcome, str(outcome))

    def _on_compared(self, error: MedSAM2Error | None) -> None:
        if error is not None:
            self._fail(error)
        elif self.comparison is not None:
            mean = self.comparison.mean_dice
            said = "no object has a partner there" if math.isnan(mean) else f"mean Dice {mean:.3f}"
            self.message.emit(f"Compared with {self.comparison.truth}: {said}")

    def _on_truth_gone(self, name: str) -> None:
        self.message.emit(f"The comparison was stopped: {name} is gone")

    def _on_saved(self, outcome: Outcome) -> None:
        self._conclude(outcome, f"Saved {outcome.value}")

    def _on_opened(self, outcome: Outcome) -> None:
        if outcome.error is None:
            self._guarded(lambda: self.bench.adopt(outcome.value))
            self.tools.select(min(self.session.prompts.ids, default=1))
            self._guarded(self._show_all)
        self._conclude(outcome, "Opened the session")

    def _on_applied(self, frames: frozenset[int]) -> None:
        if self.bench.desk is not None:
            self.bench.desk.touch(frames)
            self.comparer.note_change()
            self.changed.emit()

    def _on_bench(self) -> None:
        self.tools.apply()
        self.changed.emit()

    def _on_view(self, event: Any = None) -> None:
        desk = self.bench.desk
        if desk is not None and desk.session is not None:
            self._guarded(lambda: self.session)
        self.changed.emit()

    def _on_edited(self) -> None:
        self._edited_at = time.monotonic()
        self.woken.emit()

    def _on_begun(self) -> None:
        # So that what is drawn now is told from what was there before, also after a change of axis.
        self._guarded(lambda: self.session)
