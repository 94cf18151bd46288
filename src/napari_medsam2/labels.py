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
from .masks import bounding_box, inside, moved, pack, union, unpack, value_box

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from .masks import BBox
    from .volume import View

__all__ = ["Edit", "LabelStore", "MaskUpdate", "Write"]


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
    view : View or None
        Whose frame it is; None is the view that the session is at.
    """

    frame: int
    object_id: int
    bbox: BBox
    mask: NDArray[np.bool_] = field(repr=False)
    score: float
    view: View | None = None

    @classmethod
    def from_mask(
        cls,
        frame: int,
        object_id: int,
        mask: NDArray[np.bool_],
        score: float,
        view: View | None = None,
    ) -> MaskUpdate:
        """Crop a full-frame (y, x) mask to its bounding box."""
        box = bounding_box(mask)
        return cls(frame, object_id, box, mask[inside(box)].copy(), float(score), view)

    @property
    def area(self) -> int:
        """Number of pixels of the object."""
        return int(np.count_nonzero(self.mask))

    def full_mask(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Return the mask in a frame of `shape` (y, x)."""
        full = np.zeros(shape, dtype=bool)
        full[inside(self.bbox)] = self.mask
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
    view: View | None = None

    @property
    def nbytes(self) -> int:
        """Memory held by the two compressed boxes."""
        return len(self.before) + len(self.after)


@dataclass(frozen=True)
class Write:
    """A mask that was written as it is, packed so that a history can hold many.

    Attributes
    ----------
    frame, object_id, bbox, score, view
        As in `MaskUpdate`.
    bits : bytes
        The mask inside the box, row by row, eight pixels a byte, compressed.
    """

    frame: int
    object_id: int
    bbox: BBox
    bits: bytes = field(repr=False)
    score: float
    view: View | None = None

    @classmethod
    def of(cls, update: MaskUpdate) -> Write:
        """Pack a mask."""
        bits = pack(update.mask)
        return cls(update.frame, update.object_id, update.bbox, bits, update.score, update.view)

    def update(self) -> MaskUpdate:
        """Unpack the mask."""
        y0, x0, y1, x1 = self.bbox
        mask = unpack(self.bits, (y1 - y0, x1 - x0))
        return MaskUpdate(self.frame, self.object_id, self.bbox, mask, self.score, self.view)


class LabelStore:
    """A label array seen as frames, the scores of its objects, and how to change them.

    Parameters
    ----------
    frames : ndarray of unsigned int
        (frame, y, x); a view is written through, so the caller's array changes.
    view : View, optional
        Which frames of the volume these are, for the journal.
    changed : callable, optional
        Called with the view and the frame of every write.
    """

    def __init__(
        self,
        frames: NDArray[Any],
        view: View | None = None,
        changed: Callable[[View | None, int], None] | None = None,
    ) -> None:
        if frames.ndim != 3 or frames.dtype.kind != "u":
            raise InputError(
                f"labels must be unsigned integers (frame, y, x), got {frames.dtype} {frames.shape}"
            )
        self.frames = frames
        self.view = view
        self._changed = changed
        self._scores: dict[int, NDArray[np.float64]] = {}

    @property
    def scores(self) -> dict[int, NDArray[np.float64]]:
        """Confidence per object and frame, nan where the object was not segmented."""
        return {i: s.copy() for i, s in sorted(self._scores.items()) if not np.isnan(s).all()}

    def mask(self, object_id: int, frame: int) -> NDArray[np.bool_]:
        """Return an object's mask (y, x) on a frame, a copy."""
        mask: NDArray[np.bool_] = self.frames[frame] == object_id
        return mask

    def written(self, edit: Edit) -> Write:
        """Return the mask that an edit has just left, to write it again one day."""
        image = self.frames[edit.frame]
        box = value_box(image, edit.object_id)
        bits = pack(image[inside(box)] == edit.object_id)
        return Write(edit.frame, edit.object_id, box, bits, edit.score_after, edit.view)

    def apply(
        self,
        update: MaskUpdate,
        keep: frozenset[int] = frozenset(),
        fixed: NDArray[np.bool_] | None = None,
    ) -> Edit | None:
        """Make one object's mask on one frame what the update says.

        Pixels that the object had and has no more become background; pixels that it gains are taken
        from whatever was there (the newest statement wins; within one pass the models have already
        settled overlaps by their logits).

        Parameters
        ----------
        update : MaskUpdate
        keep : frozenset of int
            Objects whose pixels are not taken.
        fixed : ndarray of bool, optional
            (y, x); pixels that stay as they are.

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
        box = union(value_box(image, update.object_id), update.bbox)
        before = image[inside(box)].copy()
        after = np.where(before == update.object_id, 0, before).astype(before.dtype)
        gained = after[inside(update.bbox, box)]
        mask = update.mask
        if keep:
            mask = mask & ~np.isin(gained, list(keep))
        gained[mask] = update.object_id
        if fixed is not None:
            np.copyto(after, before, where=fixed[inside(box)])
        return self._commit(update.frame, update.object_id, box, after, update.score)

    def erase(self, object_id: int) -> list[Edit]:
        """Remove an object from every frame, with its scores."""
        scores = self._scores.get(object_id)
        edits = []
        for frame, image in enumerate(self.frames):
            box = value_box(image, object_id)
            if not box[2] and (scores is None or np.isnan(scores[frame])):
                continue
            before = image[inside(box)]
            after = np.where(before == object_id, 0, before).astype(image.dtype)
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

    def set_scores(self, scores: Mapping[int, NDArray[np.float64]]) -> None:
        """Take over scores of a saved session, without a journal."""
        self._scores = {i: np.array(s, dtype=np.float64) for i, s in scores.items()}

    def _commit(
        self, frame: int, object_id: int, box: BBox, after: NDArray[Any], score: float
    ) -> Edit | None:
        before = self.frames[frame][inside(box)]
        scores = self._scores.setdefault(object_id, np.full(len(self.frames), np.nan))
        old = float(scores[frame])
        # A stroke far from the rest of its object changes little of the box around both.
        crop = bounding_box(before != after)
        if not crop[2] and (old == score or (np.isnan(old) and np.isnan(score))):
            return None
        before, after = before[inside(crop)], after[inside(crop)]
        changed = moved(crop, box)
        edit = Edit(
            frame, object_id, changed, _pack(before), _pack(after), old, float(score), self.view
        )
        self.redo(edit)
        return edit

    def _write(self, edit: Edit, packed: bytes, score: float) -> None:
        y0, x0, y1, x1 = edit.bbox
        box = np.frombuffer(zlib.decompress(packed), dtype=self.frames.dtype)
        self.frames[edit.frame, y0:y1, x0:x1] = box.reshape(y1 - y0, x1 - x0)
        scores = self._scores.setdefault(edit.object_id, np.full(len(self.frames), np.nan))
        scores[edit.frame] = score
        if self._changed is not None:
            self._changed(self.view, edit.frame)


def _pack(box: NDArray[Any]) -> bytes:
    return zlib.compress(np.ascontiguousarray(box).tobytes(), 1)
