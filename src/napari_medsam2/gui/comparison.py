"""Comparing the result with a labels layer that holds the truth, in a thread; no Qt here.

The thread reads the labels where they lie, copying the frames first, so that the window waits for
nothing. A change in that moment is told like any later one: the comparison is stale.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from psygnal import Signal

from napari_medsam2.errors import InputError
from napari_medsam2.evaluation.metrics import default_tolerance, frames_beyond, measure_object

from .adapters import FrameView
from .layers import labels_name
from .views import position, shows_frames
from .worker import Ended, Worker

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_medsam2.session import Session
    from napari_medsam2.volume import Volume

    from .bench import Bench
    from .worker import Job

__all__ = ["Comparer", "Comparison", "ObjectScore"]


@dataclass(frozen=True)
class ObjectScore:
    """How well one object agrees with the truth.

    Attributes
    ----------
    id : int
    true_id : int or None
        The value in the truth that it was compared with; None if it has no partner there, and then
        all measures are nan.
    dice, nsd : float
        Of all frames together.
    beyond : int
        Frames with a mask before the first or after the last true one.
    frame_dice : tuple of float
        One a frame, nan where neither shows the object.
    """

    id: int
    true_id: int | None
    dice: float
    nsd: float
    beyond: int
    frame_dice: tuple[float, ...]


@dataclass(frozen=True)
class Comparison:
    """The result of an image beside the truth.

    Attributes
    ----------
    truth : str
        Name of the layer.
    view : FrameView
        How the frames lie in the layers.
    tolerance : float
        Of the NSD, in `unit`.
    unit : str
    objects : tuple of ObjectScore
        Ascending ids.
    missed : tuple of int
        Values in the truth that no object was compared with.
    """

    truth: str
    view: FrameView
    tolerance: float
    unit: str
    objects: tuple[ObjectScore, ...]
    missed: tuple[int, ...]

    @property
    def mean_dice(self) -> float:
        """Mean Dice of the objects that have a partner, nan if none has."""
        values = [o.dice for o in self.objects if o.true_id is not None]
        return float(np.mean(values)) if values else math.nan


class Comparer:
    """Compares the result of the image in use with another labels layer.

    Parameters
    ----------
    bench : Bench

    Attributes
    ----------
    is_stale : bool
        Whether labels have changed since the comparison began, or a layer is gone.
    progress : (int, int)
        Objects done, objects in all; (0, 0) while that is unknown.
    """

    # Something to show has changed.
    changed = Signal()
    # It has ended, with an error or None.
    ended = Signal(object)
    # It was stopped, since this layer is gone.
    stopped = Signal(str)

    def __init__(self, bench: Bench) -> None:
        self.is_stale = False
        self.progress = (0, 0)
        self._bench = bench
        self._worker = Worker()
        self._job: Job | None = None
        self._comparison: Comparison | None = None
        self._image: Image | None = None
        self._layers: tuple[Labels, ...] = ()
        self._view: FrameView | None = None
        self._sums: _Sums | None = None
        bench.leaving.connect(self.cancel)
        bench.viewer.layers.events.removed.connect(self._on_removed)

    @property
    def comparison(self) -> Comparison | None:
        """The comparison of the image in use, None if there is none."""
        return self._comparison if self._image is self._bench.image else None

    @property
    def is_busy(self) -> bool:
        """Whether a comparison is under way."""
        return self._job is not None

    def candidates(self) -> list[Labels]:
        """Return the labels layers that could be the truth of the image in use."""
        desk = self._bench.desk
        if desk is None:
            return []
        try:
            shape = desk.volume().label_shape
        except InputError:
            return []
        own = desk.results.layer
        return [
            layer
            for layer in self._bench.viewer.layers
            if isinstance(layer, Labels)
            and layer is not own
            and (own is not None or layer.name != labels_name(desk.image))
            and _shape(layer) == shape
        ]

    def start(
        self, session: Session, truth: Labels, partners: Mapping[int, int] | None = None
    ) -> None:
        """Begin; an older comparison that is under way is dropped.

        Parameters
        ----------
        session : Session
            Of the image in use.
        truth : Labels
        partners : mapping of int to int, optional
            True value of some objects, where it is not the one that would be chosen.

        Raises
        ------
        InputError
            For a layer that cannot be the truth.
        """
        desk = self._bench.require_desk()
        result = desk.results.layer
        if result is None:
            raise InputError("there is nothing to compare yet: segment something first")
        if truth is result:
            raise InputError(f"{truth.name} is the result itself; choose another labels layer")
        if not isinstance(truth, Labels) or _shape(truth) != session.labels.shape:
            raise InputError(
                f"{truth.name} is no labels layer of shape {session.labels.shape}, as the result is"
            )
        self.cancel()
        self._forget()
        view, volume = FrameView.of(session.stack), session.volume
        unit = _unit(volume, view)
        spacing = session.stack.spacing
        task = _Task(
            truth=truth.name,
            view=view,
            found_data=session.labels,
            truth_data=truth.data[0] if truth.multiscale else truth.data,
            spacing=spacing,
            unit=unit,
            tolerance=default_tolerance(spacing, unit),
            solid=view.axis is not None and volume.label_axes[view.axis] != "t",
            known=tuple(session.scores),
            partners=dict(partners or {}),
        )
        self._image, self._layers, self._view = desk.image, (result, truth), view
        for layer in self._layers:
            layer.events.set_data.connect(self._look)
            for event in _edits(layer):
                event.connect(self.note_change)
        self._job = self._worker.submit(task.run)
        self.changed.emit()

    def poll(self) -> None:
        """Take in what the thread has done."""
        job = self._job
        while job is not None and job is self._job:
            message = job.receive()
            if message is None:
                return
            if isinstance(message, Ended):
                self._job = None
                if message.error is not None:
                    self._forget()
                self._comparison = message.value
                self.ended.emit(message.error)
            elif isinstance(message, _Sums):
                self._sums = message
            else:
                self.progress = message
            self.changed.emit()

    def note_change(self, *_: Any) -> None:
        """Note that labels are not what they were."""
        if not self.is_stale and self._image is not None:
            self.is_stale = True
            self.changed.emit()

    def frame_on_show(self) -> int | None:
        """Return which of the compared frames the viewer shows, None if it shows none of them."""
        view, image, dims = self._view, self._image, self._bench.viewer.dims
        if view is None or image is None or image is not self._bench.image:
            return None
        if view.axis is None:
            return 0
        if not shows_frames(dims, image, view):
            return None
        if any(position(dims, image, axis) != at for axis, at in view.fixed):
            return None
        return position(dims, image, view.axis)

    def show_frame(self, frame: int) -> None:
        """Move the sliders to one of the compared frames."""
        view, image, dims = self._view, self._image, self._bench.viewer.dims
        if view is None or image is None or view.axis is None:
            return
        offset = dims.ndim - image.ndim
        to = dict((*view.fixed, (view.axis, frame)))
        index = [to.get(axis, position(dims, image, axis)) for axis in range(image.ndim)]
        world = image.data_to_world(index)
        for axis in to:
            dims.set_point(axis + offset, world[axis])

    def cancel(self) -> None:
        """Drop what is under way; the thread ends with the object that it is at."""
        if self._job is not None:
            self._job.cancel()
            self._job = None
            self._forget()
            self.changed.emit()

    def close(self) -> None:
        """Stop for good and let go of the layers."""
        self.cancel()
        self._forget()
        self._bench.viewer.layers.events.removed.disconnect(self._on_removed)
        self._worker.close()

    def _forget(self) -> None:
        for layer in self._layers:
            layer.events.set_data.disconnect(self._look)
            for event in _edits(layer):
                event.disconnect(self.note_change)
        self._layers, self._image, self._comparison = (), None, None
        self._view = self._sums = None
        self.is_stale, self.progress = False, (0, 0)

    def _look(self, *_: Any) -> None:
        """Check the frame on show, as not every change is told: napari's own undo is not."""
        frame = self.frame_on_show()
        if frame is None or self._view is None or self._sums is None or self.is_stale:
            return
        key = _key(self._view, frame)
        for layer, sums in zip(self._layers, (self._sums.found, self._sums.truth), strict=True):
            if isinstance(layer.data, np.ndarray) and _sum(layer.data[key]) != sums[frame]:
                self.note_change()

    def _on_removed(self, event: Any) -> None:
        layer = event.value
        if layer is self._image:
            self.cancel()
            self._forget()
            self.changed.emit()
        elif any(layer is own for own in self._layers):
            if self.is_busy:
                self.cancel()
                self.stopped.emit(layer.name)
            else:
                self.note_change()


@dataclass(frozen=True)
class _Sums:
    """Checksums of the frames that are compared."""

    found: tuple[int, ...]
    truth: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class _Task:
    """All that the thread needs to know."""

    truth: str
    view: FrameView
    found_data: Any
    truth_data: Any
    spacing: tuple[float, float, float]
    unit: str
    tolerance: float
    solid: bool
    known: tuple[int, ...]
    partners: dict[int, int]

    def run(self, job: Job) -> Comparison | None:
        """Measure; called in the thread."""
        found, truth = self._frames(self.found_data), self._frames(self.truth_data)
        job.report(_Sums(tuple(map(_sum, found)), tuple(map(_sum, truth))))
        shared = _overlaps(found, truth)
        true_ids = sorted({t for _, t in shared if t})
        ids = sorted({f for f, _ in shared if f} | set(self.known))
        scores: list[ObjectScore] = []
        for object_id in ids:
            if job.is_cancelled:
                return None
            job.report((len(scores), len(ids)))
            partner = self.partners.get(object_id)
            if partner is None:
                partner = _partner(object_id, true_ids, shared)
            scores.append(self._measure(object_id, partner, found, truth))
        taken = {score.true_id for score in scores}
        return Comparison(
            self.truth,
            self.view,
            self.tolerance,
            self.unit,
            tuple(scores),
            tuple(t for t in true_ids if t not in taken),
        )

    def _frames(self, data: Any) -> NDArray[Any]:
        """Copy labels as (frame, y, x)."""
        labels = np.asarray(data[_key(self.view)])
        if self.view.axis is None:
            labels = labels[np.newaxis]
        else:
            index = sorted([self.view.axis, *self.view.plane]).index(self.view.axis)
            labels = np.moveaxis(labels, index, 0)
        return np.array(labels, dtype=np.uint8 if labels.dtype == bool else None, order="C")

    def _measure(
        self, object_id: int, partner: int | None, found: NDArray[Any], truth: NDArray[Any]
    ) -> ObjectScore:
        if partner is None:
            nothing = (math.nan,) * len(found)
            return ObjectScore(object_id, None, math.nan, math.nan, 0, nothing)
        a, b = _cropped(found == object_id, truth == partner)
        measures = measure_object(
            a, b, self.spacing, kind="3d" if self.solid else "2d", tolerance_mm=self.tolerance
        )
        return ObjectScore(
            object_id,
            partner,
            measures["dice"],
            measures["nsd"],
            frames_beyond(a, b),
            tuple(value for _, value in measures["frame_dice"]),
        )


def _key(view: FrameView, frame: int | None = None) -> tuple[int | slice, ...]:
    """Return the index of a frame in labels, or that of all frames."""
    key: list[int | slice] = [slice(None)] * len(view.shape)
    for axis, at in view.fixed:
        key[axis] = at
    if frame is not None and view.axis is not None:
        key[view.axis] = frame
    return tuple(key)


def _sum(labels: NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(labels).data)


def _overlaps(found: NDArray[Any], truth: NDArray[Any]) -> Counter[tuple[int, int]]:
    """Count the pixels of each pair of (found, true) values but (0, 0)."""
    counts: Counter[tuple[int, int]] = Counter()
    for a, b in zip(found, truth, strict=True):
        shown = (a != 0) | (b != 0)
        ids, i = np.unique(a[shown], return_inverse=True)
        true_ids, j = np.unique(b[shown], return_inverse=True)
        table = np.bincount(i * len(true_ids) + j, minlength=len(ids) * len(true_ids))
        for cell in np.flatnonzero(table):
            row, column = divmod(int(cell), len(true_ids))
            counts[int(ids[row]), int(true_ids[column])] += int(table[cell])
    return counts


def _partner(
    object_id: int, true_ids: Iterable[int], shared: Mapping[tuple[int, int], int]
) -> int | None:
    """Return the same value if the truth has it, else the one with the largest overlap."""
    if object_id in true_ids:
        return object_id
    overlaps = {t: shared.get((object_id, t), 0) for t in true_ids}
    best = max(overlaps, key=lambda t: overlaps[t], default=None)
    return best if best is not None and overlaps[best] else None


def _cropped(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Cut away the rows and columns in which neither has anything."""
    either = np.any(a | b, axis=0)
    rows = np.flatnonzero(np.any(either, axis=1))
    columns = np.flatnonzero(np.any(either, axis=0))
    if not rows.size:
        return a[:, :1, :1], b[:, :1, :1]
    box = (slice(None), slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return a[box], b[box]


def _unit(volume: Volume, view: FrameView) -> str:
    """Return the unit that surfaces are measured in, "px" if the axes differ in it."""
    letters = volume.label_axes
    axes = {*view.plane, *(() if view.axis is None or letters[view.axis] == "t" else (view.axis,))}
    units = {volume.units[axis] for axis in axes}
    return units.pop() if len(units) == 1 else "px"


def _shape(layer: Labels) -> tuple[int, ...]:
    data = layer.data[0] if layer.multiscale else layer.data
    return tuple(int(n) for n in data.shape)


def _edits(layer: Labels) -> tuple[Any, ...]:
    """Return the events that tell of changed labels."""
    return layer.events.data, layer.events.paint, layer.events.labels_update
