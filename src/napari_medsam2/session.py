"""The one facade: an image, a model and prompts in; labels, scores, undo and files out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .stores import LabelStores
from .tracking.embeddings import FrameEncoder
from .tracking.runs import Run, replay
from .windows import window_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, NDArray

    from .history import ModelChoice, RunRecord
    from .io.sessions import SavedSession
    from .models.base import Segmenter
    from .prompts import PromptSet
    from .volume import View, Volume
from .session_base import recorded_channel
from .session_runs import SessionRuns

__all__ = ["Run", "Session"]


class Session(SessionRuns):
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

    def take_changes(self, reader: str = "") -> frozenset[tuple[View, int]]:
        """Return the views and frames whose labels were written since the last call.

        Parameters
        ----------
        reader : str
            Each reader is told of every change once, from its first call on.
        """
        return self._stores.take_changes(reader)

    @property
    def elsewhere(self) -> dict[View, PromptSet]:
        """The prompts of views that were looked at before."""
        return {view: told.prompts for view, told in self._state.elsewhere.items()}

    @property
    def parallel_views(self) -> tuple[View, ...]:
        """The views along the present axis that together show every voxel once.

        The present one is among them: in a movie of volumes there is one for each time point, or
        along time one for each slice.
        """
        return tuple(self._stores.parallel(self.stack.view))

    def frames_of(self, view: View, labels: NDArray[Any] | None = None) -> NDArray[Any]:
        """See labels of the image's shape, by default the session's, as frames of a view.

        Parameters
        ----------
        view : View
        labels : ndarray, optional
            Of the volume's label shape.

        Returns
        -------
        ndarray
            (frame, y, x), sharing the memory of the labels.
        """
        return self._stores.frames(view, labels)

    def scores_of(self, view: View) -> dict[int, NDArray[np.float64]]:
        """Return the confidence per object and frame of any view, as `scores` is of this one.

        Parameters
        ----------
        view : View

        Returns
        -------
        dict of int to ndarray of float64
            Copies, (frame,) each, in [0, 1], nan where the object was not segmented.
        """
        return self._stores.scores_of(view)

    def accepted_of(self, view: View) -> dict[int, frozenset[int]]:
        """Return the accepted frames per object of any view, as `accepted` is of this one.

        Parameters
        ----------
        view : View

        Returns
        -------
        dict of int to frozenset of int
        """
        return self._state.told_in(view).accepted_frames

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
        # Labels of before may have larger numbers than an object of ours can have.
        labels = saved.labels.astype(np.promote_types(np.uint16, saved.labels.dtype))
        session = cls(saved.volume, device=device, labels=labels, **saved.settings)
        for view, told in {**saved.state.elsewhere, saved.state.view: saved.state.told}.items():
            stack = session._stack_of(view.axis or 0, view.at)
            told.prompts.check(len(stack), stack.shape)
        session._state, session._first_view = saved.state, saved.first_view
        for view, scores in saved.scores.items():
            session._stores.of(view).set_scores(scores)
        session._history.begin_after(saved.runs)
        return session

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
            channel = recorded_channel(record, self.stack)
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
