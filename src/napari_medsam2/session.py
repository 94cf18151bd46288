"""The one facade: an image, a model and prompts in; labels, scores, undo and files out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .conditioning import chosen, with_accepted
from .errors import InputError, PromptError
from .history import ModelChoice, RunRecord, corrections
from .labels import MaskUpdate
from .models.catalogue import DEFAULT_MODEL
from .models.slot import ModelSlot
from .object_editor import ObjectEditor
from .prompts import PromptSet
from .stores import LabelStores
from .tracking.embeddings import FrameEncoder, open_cache
from .tracking.memory import MEMORY_BANKS
from .tracking.runs import Run, compute, count, replay
from .volume import Volume
from .windows import resolve_window, window_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import ArrayLike, NDArray

    from .channels import Channels
    from .history import Step
    from .io.sessions import SavedSession
    from .labels import Edit, Write
    from .models.base import Segmenter
    from .prompts import Prompt
    from .tracking.collection import CollectedMask
    from .tracking.tracker import Direction
    from .volume import FrameStack, View
    from .windows import Window, WindowChoice

__all__ = ["Run", "Session"]

Zoom = Literal["auto", "off"]
_ZOOMS: tuple[Zoom, ...] = ("auto", "off")


class Session(ObjectEditor):
    """Segment the objects of one image, correct them, undo, and save.

    Nothing heavy happens on construction: the model is loaded and the window measured when the
    first frame is segmented.

    Parameters
    ----------
    image : Volume or array-like
        (z or t, y, x), (y, x), with or without a last colour axis, or more axes with `at`.
    model : str or path
        A name of the catalogue, see `models.list`, or a path as `models.get` takes it.
    axis : int or str
        The axis to propagate along, by index among the label axes or by letter.
    spacing : sequence of float, optional
        Physical size of a voxel along each label axis; replaces the volume's.
    window : str or tuple of float
        Intensities shown to the model, see `windows.resolve_window`.
    device : str
        "auto", "cpu", "cuda", "cuda:N" or "mps".
    checkpoint : path, optional
        A file whose weights replace the catalogue's.
    image_size : int, optional
        Side of the network's input, for models that can change it.
    precision : str
        "auto", "fp32", "bf16" or "fp16": numerical form of the image encoder.
    cache : float or path, optional
        A number: megabytes of embeddings to keep in memory; None keeps up to 1024. A path (or any
        str): a folder that keeps up to 10 GiB of them for other sessions, too; see
        `tracking.embedding_store.EmbeddingStore`.
    memory : str
        The memory bank of models that carry a memory, see `tracking.memory`; LiteMedSAM has none.
    at : sequence of int, optional
        For 4D and more: the position on each remaining axis, see `Volume.stack`.
    channel : int or sequence of int, optional
        The channel to segment, or several to blend, see `channels.blend`; three or four channels
        count as RGB unless one is chosen.
    level : int, optional
        The level of a pyramid that the model sees, see `Volume.stack`; labels are always those of
        the full image.
    labels : ndarray of unsigned int, optional
        An array to write into, of the volume's label shape; a new uint16 one by default.
    compiled : bool
        Whether torch compiles the image encoder, see `models.build`.
    zoom : {"auto", "off"}
        Whether frames much larger than the network's input are segmented in crops around the
        prompts, see `tracking.zoom`.

    Raises
    ------
    InputError
        For an image, axis, spacing or option that cannot be used.
    ModelError, ReadError
        For a model that is unknown or whose card cannot be read.
    """

    def __init__(
        self,
        image: Volume | ArrayLike,
        model: str | Path = DEFAULT_MODEL,
        axis: int | str = 0,
        spacing: Sequence[float] | None = None,
        window: WindowChoice = "auto",
        device: str = "auto",
        checkpoint: str | Path | None = None,
        image_size: int | None = None,
        precision: str = "auto",
        cache: float | str | Path | None = None,
        memory: str = "sam2",
        *,
        at: Sequence[int] | None = None,
        channel: int | Sequence[int] | None = None,
        level: int | None = None,
        labels: NDArray[Any] | None = None,
        compiled: bool = False,
        zoom: Zoom = "auto",
    ) -> None:
        from . import models

        volume = image if isinstance(image, Volume) else Volume(image)  # type: ignore[arg-type]
        if spacing is not None:
            volume = volume.with_data(volume.data, spacing=tuple(spacing))
        if precision not in models.PRECISIONS:
            raise InputError(f"unknown precision {precision!r}; use {', '.join(models.PRECISIONS)}")
        if memory not in MEMORY_BANKS:
            raise InputError(f"unknown memory {memory!r}; use {', '.join(MEMORY_BANKS)}")
        if zoom not in _ZOOMS:
            raise InputError(f"unknown zoom {zoom!r}; use {', '.join(_ZOOMS)}")
        self.volume = volume
        super().__init__(volume.stack(axis, at, channel, level), _label_array(volume, labels))
        self._first_view = self.stack.view
        self.model_name = models.get(model).name
        self.settings: dict[str, Any] = {
            "model": self.model_name,
            "axis": self.stack.axis or 0,
            "window": window if isinstance(window, str) else [float(v) for v in window],
            "checkpoint": None if checkpoint is None else str(checkpoint),
            "image_size": image_size,
            "precision": precision,
            "memory": memory,
            "at": list(self.stack.at),
            "channel": _as_json(self.stack.channel),
            "level": level,
            "zoom": zoom,
        }
        chosen = {f.name: self.settings[f.name] for f in fields(ModelChoice)}
        self._slot = ModelSlot(ModelChoice(**chosen), device, compiled=compiled)
        self.cache = open_cache(cache)
        self._run: Run | None = None
        # What a run in progress would leave in the history if it ended now.
        self._pending: Callable[[], tuple[RunRecord, ...]] | None = None
        self._window: Window | None = None

    @property
    def model(self) -> Segmenter:
        """The model, loaded on first use."""
        return self._slot.model

    @property
    def has_model(self) -> bool:
        """Whether the model is loaded already."""
        return self._slot.is_loaded

    @property
    def device_name(self) -> str:
        """The device as it was asked for."""
        return self._slot.device

    def use_model(self, model: Segmenter) -> None:
        """Use a model that is loaded already, instead of loading one on first use."""
        self._slot.use(model)

    @property
    def window(self) -> Window:
        """The intensities that become 0 and 255, measured on first use."""
        if self._window is None:
            choice = self.settings["window"]
            self._window = resolve_window(
                self.stack, choice if isinstance(choice, str) else tuple(choice)
            )
        return self._window

    @property
    def encoder(self) -> FrameEncoder:
        """What embeds the frames of this session, through its cache."""
        return FrameEncoder(self.stack, self.window, self.model, self.cache)

    def turn(self, axis: int | str, at: Sequence[int] | None = None) -> None:
        """Look at other frames of the image: along another axis, or at another position.

        Prompts and accepted masks belong to the frames that they were given on, and are there again
        when one comes back; labels, objects and history belong to the image.

        Parameters
        ----------
        axis, at
            As in `Session`.

        Raises
        ------
        InputError
            For frames that do not exist, or while a run is in progress.
        """
        self._check_idle()
        self._look(self._stack_of(axis, at))

    # Segmentation

    def segment(self, frame: int, object_ids: Iterable[int] | None = None) -> list[MaskUpdate]:
        """Segment the objects that have prompts on a frame, on this frame alone.

        Parameters
        ----------
        frame : int
        object_ids : iterable of int, optional
            Only these objects.

        Returns
        -------
        list of MaskUpdate
            Already written to `labels`.

        Raises
        ------
        PromptError
            If there is nothing to segment there or the model cannot honour a prompt.
        """
        return list(self.start_segment(frame, object_ids).complete())

    def propagate(
        self,
        direction: Direction = "both",
        start: int | None = None,
        stop: int | None = None,
        object_ids: Iterable[int] | None = None,
        patience: int | None = None,
    ) -> Iterator[MaskUpdate]:
        """Carry objects from their prompted frames along the axis.

        Each update is already in `labels` when it is yielded. Leaving the loop early keeps what is
        done; one `undo` takes all of it back.

        Parameters
        ----------
        direction : {"both", "forward", "backward"}
        start, stop : int, optional
            Half-open range of frames to fill.
        object_ids : iterable of int, optional
            Only these objects; by default all that have prompts or accepted masks.
        patience : int, optional
            Stop an object that has not been seen for so many frames in a row; None leaves it to
            the model.

        Yields
        ------
        MaskUpdate
            One for each object and frame; an empty mask where the object has ended.

        Raises
        ------
        PromptError, InputError
            Before the first frame, for anything that cannot be done.
        """
        run = self.start_propagation(direction, start, stop, object_ids, patience)
        yield from run.complete()

    def start_segment(self, frame: int, object_ids: Iterable[int] | None = None) -> Run:
        """Begin `segment` as a `Run`, whose parts may live in different threads."""
        self.stack.check_frame(frame)
        prompts = self._chosen(object_ids)
        accepted = {i for i, frames in self.accepted.items() if frame in frames}
        free = [i for i in prompts.ids if i not in accepted]
        here = [o.id for o in prompts.objects if o.on(frame)]
        if here and not {*here} - accepted:
            raise PromptError(
                f"frame {frame} is accepted for object {', '.join(map(str, here))}: take that back "
                "to change it"
            )
        return self._open(RunRecord("segment", prompts.only(free), frame=frame))

    def start_propagation(
        self,
        direction: Direction = "both",
        start: int | None = None,
        stop: int | None = None,
        object_ids: Iterable[int] | None = None,
        patience: int | None = None,
    ) -> Run:
        """Begin `propagate` as a `Run`, whose parts may live in different threads."""
        if patience is not None and patience < 1:
            raise InputError(f"patience is a number of frames from 1, got {patience!r}")
        from . import models

        accepted = self.accepted
        takes_masks = "mask" in models.get(self.model_name).prompts
        prompts = with_accepted(
            self._chosen(object_ids, accepted), accepted, self._store.mask, takes_masks=takes_masks
        )
        record = RunRecord(
            "propagate", prompts, direction=direction, start=start, stop=stop, patience=patience
        )
        return self._open(record)

    def start_writing(
        self, compute: Callable[[], Iterator[MaskUpdate]], total: int, text: str
    ) -> Run:
        """Begin `write_masks` as a `Run`: masks are computed in one thread, written in another.

        Parameters
        ----------
        compute : callable
            Returns the masks; must not read `labels`, which change while it computes.
        total : int
            About how many there will be, for progress.
        text : str
        """
        self._check_idle()
        kept, view = self._kept, self.stack.view
        writes: list[Write] = []

        def write(update: MaskUpdate) -> Edit | None:
            edit = self._stores.apply(update, view, kept)
            if edit is not None:
                writes.append(self._stores.written(edit))
            return edit

        def done() -> RunRecord:
            return RunRecord("write", view=view, writes=tuple(writes))

        def on_close(edits: tuple[Edit, ...], applied: int) -> None:
            self._run = self._pending = None
            if edits:
                self._step(text, self._state, edits, done())

        self._run = Run(compute, lambda: total, write, on_close)
        self._pending = lambda: (done(),) if writes else ()
        return self._run

    def segment_collection(
        self, images: Sequence[Volume | ArrayLike], prompt: Prompt | Sequence[Prompt]
    ) -> list[CollectedMask]:
        """Segment the same kind of object in an unordered set of images from one prompted image.

        One-prompt segmentation of Medical SAM 2, see `tracking.collection`; needs a model with a
        memory. The session lends its model and its choice of window; its image and its labels are
        not touched.

        Parameters
        ----------
        images : sequence of Volume or array-like
            (y, x) each, with or without a last colour axis; sizes may differ.
        prompt : Prompt or sequence of Prompt
            On one image, whose index is the prompt's `frame`.

        Returns
        -------
        list of CollectedMask
            One an image, in their order, with `mask` and `score`.

        Raises
        ------
        ModelError, InputError, PromptError
        """
        from .tracking.collection import segment_collection

        choice = self.settings["window"]
        return segment_collection(
            [i if isinstance(i, Volume) else Volume(i) for i in images],  # type: ignore[arg-type]
            list(prompt) if isinstance(prompt, Sequence) else [prompt],
            self.model,
            choice if isinstance(choice, str) else tuple(choice),
            self.cache,
        )

    # Undo and redo

    @property
    def undo_text(self) -> str | None:
        """What `undo` would take back, None if nothing."""
        return self._history.undo_text

    @property
    def redo_text(self) -> str | None:
        """What `redo` would bring back, None if nothing."""
        return self._history.redo_text

    def undo(self) -> bool:
        """Take back the last step, prompts and masks together; False if there is none.

        The session looks at the frames that it looked at then.
        """
        return self.travel("undo") is not None

    def redo(self) -> bool:
        """Bring back the step that was undone last; False if there is none."""
        return self.travel("redo") is not None

    def travel(self, way: Literal["undo", "redo"]) -> Step | None:
        """Undo or redo, and return the step; None if there is none."""
        self._check_idle()
        back = way == "undo"
        step = self._history.undo() if back else self._history.redo()
        if step is None:
            return None
        if back:
            self._stores.revert(step.edits)
        else:
            self._stores.redo(step.edits)
        state = step.before if back else step.after
        self._look(self._stack_of(state.view.axis or 0, state.view.at))
        self._state = state
        return step

    def note(self, text: str, before: Any, after: Any) -> None:
        """Enter a step of somebody else into the history, such as other settings of a window.

        `travel` returns the step, whose `note` is (before, after); the session does nothing.
        """
        self._step(text, self._state, note=(before, after))

    def begin_history(self) -> None:
        """Make the present state the one that `undo` cannot go back from."""
        self._check_idle()
        self._history.clear()

    def take_over(self, old: Session) -> None:
        """Go on with prompts, labels, scores and history of a session on the same image.

        Parameters
        ----------
        old : Session
            With other settings; it is not to be used further.

        Raises
        ------
        InputError
            If the two do not share their labels.
        """
        old._check_idle()
        if self._labels is not old._labels:
            raise InputError("only a session on the same image and labels can be taken over")
        self._stores, self._history = old._stores, old._history
        self._first_view = old._first_view
        self._state = old._state.turned(self.stack.view)

    # Files

    def save(self, path: str | Path) -> Path:
        """Save prompts, settings, runs, scores and labels.

        The JSON file is written last and under a temporary name, so that a crash leaves the old
        session whole.

        Parameters
        ----------
        path : path
            Ends in ``.json``; the labels are written beside it.

        Returns
        -------
        Path
            The JSON file.
        """
        from .io.sessions import write_session

        self._check_idle()
        return write_session(Path(path), self.saved(self._labels))

    def saved(self, labels: NDArray[Any]) -> SavedSession:
        """Return what `save` writes, with labels that do not change meanwhile.

        Also while a run is in progress: what it has done until now counts.
        """
        from .io.sessions import SavedSession

        pending = () if self._pending is None else self._pending()
        return SavedSession(
            state=self._state,
            first_view=self._first_view,
            settings=self._present_settings(),
            runs=(*self.runs, *pending),
            scores=self._stores.scores(),
            labels=labels,
            volume=self.volume,
        )

    def snapshot(self) -> SavedSession:
        """Return a copy of all that `save` writes, to be written in another thread."""
        return self.saved(self._labels.copy())

    def take_changes(self) -> frozenset[tuple[View, int]]:
        """Return the views and frames whose labels were written since the last call."""
        return self._stores.take_changes()

    def frames_of(self, view: View, labels: NDArray[Any] | None = None) -> NDArray[Any]:
        """See labels of the image's shape, by default the session's, as frames of a view."""
        return self._stores.frames(view, labels)

    @classmethod
    def load(
        cls, path: str | Path, image: Volume | ArrayLike | None = None, *, device: str = "auto"
    ) -> Session:
        """Load a saved session.

        Parameters
        ----------
        path : path
            The JSON file that `save` wrote.
        image : Volume or array-like, optional
            The image; None reads it from where it was when the session was saved.
        device : str

        Raises
        ------
        ReadError, ModelError
            If the file is no session, or its image, labels or model are missing or not the same.
        """
        from .io.sessions import read_session

        saved = read_session(Path(path), image)
        session = cls(saved.volume, device=device, **saved.settings)
        for view, told in {**saved.state.elsewhere, saved.state.view: saved.state.told}.items():
            stack = session._stack_of(view.axis or 0, view.at)
            told.prompts.check(len(stack), stack.shape)
        session._state, session._first_view = saved.state, saved.first_view
        session._labels[...] = saved.labels
        for view, scores in saved.scores.items():
            session._stores.of(view).set_scores(scores)
        session._history.begin_after(saved.runs)
        return session

    @property
    def runs(self) -> tuple[RunRecord, ...]:
        """What led to the present labels, in order."""
        return self._history.runs

    def replay(
        self,
        runs: Sequence[RunRecord] | None = None,
        told: Callable[[int], Any] | None = None,
    ) -> NDArray[Any]:
        """Make the labels anew, by asking again all that was asked.

        Parameters
        ----------
        runs : sequence of RunRecord, optional
            This session's own by default.
        told : callable, optional
            Called with the number of runs that are done.

        Returns
        -------
        ndarray
            A new label array; this session is not changed.
        """
        fresh = np.zeros_like(self._labels)
        models: dict[ModelChoice | None, Segmenter] = {}

        def encoder_of(record: RunRecord) -> FrameEncoder:
            if record.model not in models:
                models[record.model] = self._slot.like(record.model)
            view = record.view or self._first_view
            channel = _recorded_channel(record, self.stack)
            stack = self.volume.stack(view.axis or 0, view.at, channel, record.level)
            window = self.window if record.window is None else window_of(record.window)
            return FrameEncoder(stack, window, models[record.model], self.cache)

        stores = LabelStores(self.volume, fresh)
        records = self.runs if runs is None else runs
        for number, record in enumerate(records, start=1):
            replay(encoder_of, stores, record.view or self._first_view, record)
            if told is not None:
                told(number)
        return fresh

    # Inside

    def _stack_of(self, axis: int | str, at: Sequence[int] | None) -> FrameStack:
        return self.volume.stack(axis, at, self.stack.channel, self.settings["level"])

    def _look(self, stack: FrameStack) -> None:
        if stack.view != self.stack.view:
            self.stack = stack
            self._state = self._state.turned(stack.view)
            # It was measured on other frames.
            self._window = None

    def _present_settings(self) -> dict[str, Any]:
        view = self.stack.view
        return {**self.settings, "axis": view.axis or 0, "at": list(view.at)}

    def _chosen(self, object_ids: Iterable[int] | None, others: Iterable[int] = ()) -> PromptSet:
        return chosen(self.prompts, object_ids, self.locked, others)

    def _open(self, record: RunRecord) -> Run:
        self._check_idle()
        scores, view = self._store.scores, self.stack.view

        def is_tracked(object_id: int, frame: int) -> bool:
            return object_id in scores and bool(np.isfinite(scores[object_id][frame]))

        before = [run for run in self.runs if (run.view or self._first_view) == view]
        record = replace(
            record,
            corrections=corrections(record.prompts, before, is_tracked),
            model=self._slot.choice,
            view=view,
            channel=_channels(self.stack),
            level=self.stack.level,
            kept=self._kept,
            zoom=self.settings["zoom"],
        )

        def done(updates: int) -> RunRecord:
            return replace(record, updates=updates, window=self.window.values)

        def on_close(edits: tuple[Edit, ...], updates: int) -> None:
            self._run = self._pending = None
            if edits:
                ids = ", ".join(map(str, record.prompts.ids))
                self._step(f"{record.kind} object {ids}", self._state, edits, done(updates))

        run = Run(
            lambda: compute(self.encoder, record, self.settings["memory"]),
            lambda: count(self.encoder, record, self.settings["memory"]),
            lambda update: self._stores.apply(update, view, record.kept),
            on_close,
        )
        self._pending = lambda: (done(run.applied),) if run.applied else ()
        self._run = run
        return run

    def _check_idle(self) -> None:
        if self._run is not None:
            raise InputError("a run is in progress: let it finish or stop it first")


def _channels(stack: FrameStack) -> tuple[int, ...]:
    channel = stack.channel
    if channel is None:
        return ()
    return (channel,) if isinstance(channel, int) else tuple(channel)


def _recorded_channel(record: RunRecord, stack: FrameStack) -> Channels:
    if record.channel is None:
        return stack.channel
    # An image that was alone then may be the first of several channels now.
    alone = 0 if stack.volume.n_channels > 1 and not stack.volume.has_colour else None
    return record.channel or alone


def _as_json(channel: Channels) -> int | list[int] | None:
    return list(channel) if isinstance(channel, tuple) else channel


def _label_array(volume: Volume, labels: NDArray[Any] | None) -> NDArray[Any]:
    if labels is None:
        return np.zeros(volume.label_shape, dtype=np.uint16)
    if labels.shape != volume.label_shape:
        raise InputError(f"labels have shape {labels.shape}, the image {volume.label_shape}")
    if labels.dtype.kind != "u":
        raise InputError(f"labels must be unsigned integers, got {labels.dtype}")
    return labels
