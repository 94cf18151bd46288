"""The one facade: an image, a model and prompts in; labels, scores, undo and files out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError, PromptError
from .history import ModelChoice, RunRecord, Step, corrections
from .labels import LabelStore
from .models.catalogue import DEFAULT_MODEL
from .models.slot import ModelSlot
from .prompt_editor import PromptEditor
from .prompts import PromptSet, check_object_id
from .tracking.embeddings import FrameEncoder, open_cache
from .tracking.memory import MEMORY_BANKS
from .tracking.runs import Run, compute, count, replay
from .volume import Volume
from .windows import resolve_window

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import ArrayLike, NDArray

    from .labels import Edit, MaskUpdate
    from .models.base import Segmenter
    from .prompts import Prompt
    from .tracking.collection import CollectedMask
    from .tracking.tracker import Direction
    from .windows import Window, WindowChoice

__all__ = ["Run", "Session"]


class Session(PromptEditor):
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
    window : str or (low, high)
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
    channel : int, optional
        The channel to segment; three or four channels count as RGB unless one is chosen.
    labels : ndarray of unsigned int, optional
        An array to write into, of the volume's label shape; a new uint16 one by default.
    compiled : bool
        Whether torch compiles the image encoder, see `models.build`.

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
        channel: int | None = None,
        labels: NDArray[Any] | None = None,
        compiled: bool = False,
    ) -> None:
        from . import models

        volume = image if isinstance(image, Volume) else Volume(image)  # type: ignore[arg-type]
        if spacing is not None:
            volume = volume.with_data(volume.data, spacing=tuple(spacing))
        if precision not in models.PRECISIONS:
            raise InputError(f"unknown precision {precision!r}; use {', '.join(models.PRECISIONS)}")
        if memory not in MEMORY_BANKS:
            raise InputError(f"unknown memory {memory!r}; use {', '.join(MEMORY_BANKS)}")
        self.volume = volume
        super().__init__(volume.stack(axis, at, channel))
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
            "channel": channel,
        }
        chosen = {f.name: self.settings[f.name] for f in fields(ModelChoice)}
        self._slot = ModelSlot(ModelChoice(**chosen), device, compiled=compiled)
        self.cache = open_cache(cache)
        self._labels = _label_array(volume, labels)
        self._store = LabelStore(self.stack.of_labels(self._labels))
        self._earlier_runs: tuple[RunRecord, ...] = ()
        self._run: Run | None = None
        self._window: Window | None = None

    @property
    def labels(self) -> NDArray[Any]:
        """The labels, shaped like the volume without channels; live, so copy what must stay."""
        return self._labels

    @property
    def scores(self) -> dict[int, NDArray[np.float64]]:
        """Confidence in [0, 1] per object and frame, nan where the object was not segmented."""
        return self._store.scores

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
            choice = choice if isinstance(choice, str) else (choice[0], choice[1])
            self._window = resolve_window(self.stack, choice)
        return self._window

    @property
    def encoder(self) -> FrameEncoder:
        """What embeds the frames of this session, through its cache."""
        return FrameEncoder(self.stack, self.window, self.model, self.cache)

    def remove_object(self, object_id: int) -> None:
        """Remove an object: its prompts, its labels on every frame, its scores."""
        self._check_idle()
        object_id = check_object_id(object_id)
        known = object_id in self._prompts
        if not known and object_id not in self._store.scores:
            self._prompts[object_id]
        after = self._prompts.remove(object_id) if known else self._prompts
        gone = self._prompts.only([object_id]) if known else PromptSet().add(object_id)
        edits = tuple(self._store.erase(object_id))
        record = RunRecord("remove", gone)
        text = f"remove object {object_id}"
        self._history.push(Step(text, self._prompts, after, edits, record))
        self._prompts = after

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
            Only these objects; by default all that have prompts.

        Yields
        ------
        MaskUpdate
            One for each object and frame; an empty mask where the object has ended.

        Raises
        ------
        PromptError, InputError
            Before the first frame, for anything that cannot be done.
        """
        yield from self.start_propagation(direction, start, stop, object_ids).complete()

    def start_segment(self, frame: int, object_ids: Iterable[int] | None = None) -> Run:
        """Begin `segment` as a `Run`, whose parts may live in different threads."""
        self.stack.check_frame(frame)
        prompts = self._chosen(object_ids)
        return self._open(RunRecord("segment", prompts, frame=frame))

    def start_propagation(
        self,
        direction: Direction = "both",
        start: int | None = None,
        stop: int | None = None,
        object_ids: Iterable[int] | None = None,
    ) -> Run:
        """Begin `propagate` as a `Run`, whose parts may live in different threads."""
        prompts = self._chosen(object_ids)
        return self._open(
            RunRecord("propagate", prompts, direction=direction, start=start, stop=stop)
        )

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
            choice if isinstance(choice, str) else (choice[0], choice[1]),
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
        """Take back the last step, prompts and masks together; False if there is none."""
        self._check_idle()
        step = self._history.undo()
        if step is not None:
            for edit in reversed(step.edits):
                self._store.revert(edit)
            self._prompts = step.before
        return step is not None

    def redo(self) -> bool:
        """Bring back the step that was undone last; False if there is none."""
        self._check_idle()
        step = self._history.redo()
        if step is not None:
            for edit in step.edits:
                self._store.redo(edit)
            self._prompts = step.after
        return step is not None

    def begin_history(self) -> None:
        """Make the present state the one that `undo` cannot go back from."""
        self._check_idle()
        self._earlier_runs = self.runs
        self._history.clear()

    def take_over(self, old: Session) -> None:
        """Go on with prompts, labels, scores and history of a session on the same frames.

        Parameters
        ----------
        old : Session
            With other settings; it is not to be used further.

        Raises
        ------
        InputError
            If the two do not see the same frames or do not share their labels.
        """
        old._check_idle()
        if self._labels is not old._labels or self._store.frames.shape != old._store.frames.shape:
            raise InputError("only a session on the same frames and labels can be taken over")
        self._prompts, self._store = old._prompts, old._store
        self._history, self._earlier_runs = old._history, old._earlier_runs

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
        from .io.sessions import SavedSession, write_session

        self._check_idle()
        saved = SavedSession(
            prompts=self._prompts,
            settings=self.settings,
            runs=self.runs,
            scores=self._store.scores,
            labels=self._labels,
            volume=self.volume,
        )
        return write_session(Path(path), saved)

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
        session._prompts = saved.prompts
        saved.prompts.check(len(session.stack), session.stack.shape)
        session._store.replace(session.stack.of_labels(saved.labels), saved.scores)
        session._labels[...] = saved.labels
        session._earlier_runs = saved.runs
        return session

    @property
    def runs(self) -> tuple[RunRecord, ...]:
        """What led to the present labels, in order."""
        return (*self._earlier_runs, *self._history.runs)

    def replay(self, runs: Sequence[RunRecord] | None = None) -> NDArray[Any]:
        """Make the labels anew, by asking again all that was asked.

        Parameters
        ----------
        runs : sequence of RunRecord, optional
            This session's own by default.

        Returns
        -------
        ndarray
            A new label array; this session is not changed.
        """
        fresh = np.zeros_like(self._labels)
        store = LabelStore(self.stack.of_labels(fresh))
        encoders: dict[ModelChoice | None, FrameEncoder] = {}

        def encoder_of(choice: ModelChoice | None) -> FrameEncoder:
            if choice not in encoders:
                model = self._slot.like(choice)
                encoders[choice] = FrameEncoder(self.stack, self.window, model, self.cache)
            return encoders[choice]

        replay(encoder_of, store, self.runs if runs is None else runs)
        return fresh

    # Inside

    def _chosen(self, object_ids: Iterable[int] | None) -> PromptSet:
        if object_ids is not None:
            return self._prompts.only(object_ids)
        if not self._prompts.prompted_ids:
            raise PromptError("there are no prompts yet: draw a box around an object first")
        return self._prompts.only(self._prompts.prompted_ids)

    def _open(self, record: RunRecord) -> Run:
        self._check_idle()
        scores = self._store.scores

        def is_tracked(object_id: int, frame: int) -> bool:
            return object_id in scores and bool(np.isfinite(scores[object_id][frame]))

        corrected = corrections(record.prompts, self.runs, is_tracked)
        record = replace(record, corrections=corrected, model=self._slot.choice)

        def on_close(edits: tuple[Edit, ...], updates: int) -> None:
            self._run = None
            if edits:
                window = (self.window.low, self.window.high)
                done = replace(record, updates=updates, window=window)
                ids = ", ".join(map(str, record.prompts.ids))
                text = f"{record.kind} object {ids}"
                self._history.push(Step(text, self._prompts, self._prompts, edits, done))

        self._run = Run(
            lambda: compute(self.encoder, record, self.settings["memory"]),
            lambda: count(self.encoder, record, self.settings["memory"]),
            self._store,
            on_close,
        )
        return self._run

    def _check_idle(self) -> None:
        if self._run is not None:
            raise InputError("a run is in progress: let it finish or stop it first")


def _label_array(volume: Volume, labels: NDArray[Any] | None) -> NDArray[Any]:
    if labels is None:
        return np.zeros(volume.label_shape, dtype=np.uint16)
    if labels.shape != volume.label_shape:
        raise InputError(f"labels have shape {labels.shape}, the image {volume.label_shape}")
    if labels.dtype.kind != "u":
        raise InputError(f"labels must be unsigned integers, got {labels.dtype}")
    return labels
