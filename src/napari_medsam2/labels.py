"""Composing mask updates into a label array, with a journal for undo and redo.

Numpy only. Every write touches the bounding box that changed and nothing else, and the journal
keeps that box, compressed, so that undo over hundreds of slices costs kilobytes.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["BBox", "Edit", "LabelStore", "MaskUpdate", "bounding_box"]

BBox = tuple[int, int, int, int]


@dataclass(frozen=True)
class MaskUpdate:
    """The whole mask of one object on one frame, cropped to its bounding box.

    Attributes
    ----------
    frame : int
    object_id : int
    bbox : (y0, x0, y1, x1)
        Half-open; (0, 0, 0, 0) if the object is not on the frame.
    mask : ndarray of bool
        (y1 - y0, x1 - x0).
    score : float
        Confidence in [0, 1].
    """

    frame: int
    object_id: int
    bbox: BBox
    mask: NDArray[np.bool_] = field(repr=False)
    score: float

    @classmethod
    def from_mask(
        cls, frame: int, object_id: int, mask: NDArray[np.bool_], score: float
    ) -> MaskUpdate:
        """Crop a full-frame (y, x) mask to its bounding box."""
        box = bounding_box(mask)
        y0, x0, y1, x1 = box
        return cls(frame, object_id, box, mask[y0:y1, x0:x1].copy(), float(score))

    @property
    def area(self) -> int:
        """Number of pixels of the object."""
        return int(np.count_nonzero(self.mask))

    def full_mask(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Return the mask in a frame of `shape` (y, x)."""
        full = np.zeros(shape, dtype=bool)
        y0, x0, y1, x1 = self.bbox
        full[y0:y1, x0:x1] = self.mask
        return full


@dataclass(frozen=True)
class Edit:
    """One change of a label frame that can be put back: a box before and after, and the score."""

    frame: int
    object_id: int
    bbox: BBox
    before: bytes = field(repr=False)
    after: bytes = field(repr=False)
    score_before: float
    score_after: float

    @property
    def nbytes(self) -> int:
        """Memory held by the two compressed boxes."""
        return len(self.before) + len(self.after)


class LabelStore:
    """A label array seen as frames, the scores of its objects, and how to change them.

    Parameters
    ----------
    frames : ndarray of unsigned int
        (frame, y, x); a view is written through, so the caller's array changes.
    """

    def __init__(self, frames: NDArray[Any]) -> None:
        if frames.ndim != 3 or frames.dtype.kind != "u":
            raise InputError(
                f"labels must be unsigned integers (frame, y, x), got {frames.dtype} {frames.shape}"
            )
        self.frames = frames
        self._scores: dict[int, NDArray[np.float64]] = {}

    @property
    def scores(self) -> dict[int, NDArray[np.float64]]:
        """Confidence per object and frame, nan where the object was not segmented."""
        return {i: s.copy() for i, s in sorted(self._scores.items()) if not np.isnan(s).all()}

    def apply(self, update: MaskUpdate) -> Edit | None:
        """Make one object's mask on one frame what the update says.

        Pixels that the object had and has no more become background; pixels that it gains are taken
        from whatever was there (the newest statement wins; within one pass the models have already
        settled overlaps by their logits).

        Returns
        -------
        Edit or None
            What changed, None if nothing did.
        """
        if not 0 <= update.frame < len(self.frames):
            raise InputError(f"labels have frames 0 to {len(self.frames) - 1}, not {update.frame}")
        if update.object_id > np.iinfo(self.frames.dtype).max:
            raise InputError(f"labels of {self.frames.dtype} cannot hold object {update.object_id}")
        image = self.frames[update.frame]
        box = _union(bounding_box(image == update.object_id), update.bbox)
        y0, x0, y1, x1 = box
        before = image[y0:y1, x0:x1].copy()
        after = np.where(before == update.object_id, 0, before).astype(before.dtype)
        my0, mx0, my1, mx1 = update.bbox
        after[my0 - y0 : my1 - y0, mx0 - x0 : mx1 - x0][update.mask] = update.object_id
        return self._commit(update.frame, update.object_id, box, after, update.score)

    def erase(self, object_id: int) -> list[Edit]:
        """Remove an object from every frame, with its scores."""
        scores = self._scores.get(object_id)
        edits = []
        for frame, image in enumerate(self.frames):
            mask = image == object_id
            if not mask.any() and (scores is None or np.isnan(scores[frame])):
                continue
            y0, x0, y1, x1 = box = bounding_box(mask)
            after = np.where(mask, 0, image)[y0:y1, x0:x1].astype(image.dtype)
            edit = self._commit(frame, object_id, box, after, np.nan)
            if edit is not None:
                edits.append(edit)
        return edits

    def revert(self, edit: Edit) -> None:
        """Put back what was before an edit; edits are reverted newest first."""
        self._write(edit, edit.before, edit.score_before)

    def redo(self, edit: Edit) -> None:
        """Apply an edit again."""
        self._write(edit, edit.after, edit.score_after)

    def replace(self, frames: NDArray[Any], scores: dict[int, NDArray[np.float64]]) -> None:
        """Load labels and scores from a saved session, without a journal."""
        if frames.shape != self.frames.shape:
            raise InputError(f"labels have shape {frames.shape}, the image {self.frames.shape}")
        self.frames[...] = frames
        self._scores = {i: np.array(s, dtype=np.float64) for i, s in scores.items()}

    def _commit(
        self, frame: int, object_id: int, box: BBox, after: NDArray[Any], score: float
    ) -> Edit | None:
        y0, x0, y1, x1 = box
        before = self.frames[frame, y0:y1, x0:x1]
        scores = self._scores.setdefault(object_id, np.full(len(self.frames), np.nan))
        old = float(scores[frame])
        if np.array_equal(before, after) and (old == score or (np.isnan(old) and np.isnan(score))):
            return None
        edit = Edit(frame, object_id, box, _pack(before), _pack(after), old, float(score))
        self.redo(edit)
        return edit

    def _write(self, edit: Edit, packed: bytes, score: float) -> None:
        y0, x0, y1, x1 = edit.bbox
        box = np.frombuffer(zlib.decompress(packed), dtype=self.frames.dtype)
        self.frames[edit.frame, y0:y1, x0:x1] = box.reshape(y1 - y0, x1 - x0)
        scores = self._scores.setdefault(edit.object_id, np.full(len(self.frames), np.nan))
        scores[edit.frame] = score


def bounding_box(mask: NDArray[np.bool_]) -> BBox:
    """Return the half-open (y0, x0, y1, x1) of a 2D mask, (0, 0, 0, 0) if it is empty."""
    rows = np.flatnonzero(mask.any(axis=1))
    if rows.size == 0:
        return (0, 0, 0, 0)
    cols = np.flatnonzero(mask[rows[0] : rows[-1] + 1].any(axis=0))
    return int(rows[0]), int(cols[0]), int(rows[-1]) + 1, int(cols[-1]) + 1


def _union(a: BBox, b: BBox) -> BBox:
    if a[2] <= a[0]:
        return b
    if b[2] <= b[0]:
        return a
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def _pack(box: NDArray[Any]) -> bytes:
    return zlib.compress(np.ascontiguousarray(box).tobytes(), 1)
