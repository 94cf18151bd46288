"""What a comparison with the truth comes to, and how it is computed in the thread."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medsam2.evaluation.metrics import frames_beyond, measure_object, nsd

from .partners import overlaps, partner_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .adapters import FrameView
    from .worker import Job

__all__ = ["Comparison", "ObjectScore", "Sums", "Task", "checksum", "frame_key"]


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
    frame_dice, frame_nsd : tuple of float
        One a frame, nan where neither shows the object; the surfaces of a frame are its contours.
    """

    id: int
    true_id: int | None
    dice: float
    nsd: float
    beyond: int
    frame_dice: tuple[float, ...]
    frame_nsd: tuple[float, ...]


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


@dataclass(frozen=True)
class Sums:
    """Checksums of the frames that are compared."""

    found: tuple[int, ...]
    truth: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class Task:
    """All that the thread needs to know.

    Attributes
    ----------
    truth : str
        Name of the layer.
    view : FrameView
    found_data, truth_data : array-like
        Labels where they lie, of one shape.
    spacing : tuple of float
        (frame, y, x), in `unit`.
    unit : str
    tolerance : float
        Of the NSD.
    solid : bool
        Whether the frames are slices of a body, not moments of a movie.
    known : tuple of int
        Objects that count though they may have no pixel.
    partners : dict of int to int
        True values that were chosen by hand.
    """

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
        job.report(Sums(tuple(map(checksum, found)), tuple(map(checksum, truth))))
        shared = overlaps(found, truth)
        true_ids = sorted({t for _, t in shared if t})
        ids = sorted({f for f, _ in shared if f} | set(self.known))
        scores: list[ObjectScore] = []
        for object_id in ids:
            if job.is_cancelled:
                return None
            job.report((len(scores), len(ids)))
            partner = self.partners.get(object_id)
            if partner is None:
                partner = partner_of(object_id, true_ids, shared)
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
        labels = np.asarray(data[frame_key(self.view)])
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
            return ObjectScore(object_id, None, math.nan, math.nan, 0, nothing, nothing)
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
            tuple(
                nsd(one, other, self.spacing[1:], self.tolerance)
                if one.any() or other.any()
                else math.nan
                for one, other in zip(a, b, strict=True)
            ),
        )


def frame_key(view: FrameView, frame: int | None = None) -> tuple[int | slice, ...]:
    """Return the index of a frame in labels, or that of all frames."""
    key: list[int | slice] = [slice(None)] * len(view.shape)
    for axis, at in view.fixed:
        key[axis] = at
    if frame is not None and view.axis is not None:
        key[view.axis] = frame
    return tuple(key)


def checksum(labels: NDArray[Any]) -> int:
    """Return a number that tells a frame from what it was before."""
    return zlib.crc32(np.ascontiguousarray(labels).data)


def _cropped(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Cut away the rows and columns in which neither has anything."""
    either = np.any(a | b, axis=0)
    rows = np.flatnonzero(np.any(either, axis=1))
    columns = np.flatnonzero(np.any(either, axis=0))
    if not rows.size:
        return a[:, :1, :1], b[:, :1, :1]
    box = (slice(None), slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return a[box], b[box]
