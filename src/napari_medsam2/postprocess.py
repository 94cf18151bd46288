"""Cleaning up labels: an operation on some objects, as the masks that come of it.

An object gets no pixel but of the background: what belongs to another one stays there. The
operations are those of `mask_operations`.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError
from .labels import MaskUpdate
from .mask_operations import DropSmall, FillHoles, KeepLargest, Operation, Restrict, Smooth
from .tally import pixel_counts

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from .mask_operations import Spacing
    from .volume import View

__all__ = [
    "DropSmall",
    "FillHoles",
    "KeepLargest",
    "Operation",
    "Restrict",
    "Smooth",
    "cleaned",
    "cleaned_frame",
]


def cleaned(
    frames: NDArray[Any],
    spacing: Sequence[float],
    operation: Operation,
    object_ids: Iterable[int],
    *,
    locked: Collection[int] = (),
    accepted: Mapping[int, Collection[int]] | None = None,
    scores: Mapping[int, NDArray[np.float64]] | None = None,
    view: View | None = None,
) -> Iterator[MaskUpdate]:
    """Clean up objects one after the other; what an earlier one gained, a later one leaves alone.

    Parameters
    ----------
    frames : ndarray of int
        Labels (frame, y, x). They are copied before the first mask is yielded, so that masks may be
        written as they come.
    spacing : (float, float, float)
        Physical size along frame, y and x, in one unit.
    operation : Operation
    object_ids : iterable of int
    locked : collection of int
        Objects that stay as they are.
    accepted : mapping of int to collection of int, optional
        Frames on which an object stays as it is.
    scores : mapping of int to ndarray, optional
        Confidence per object and frame, which is kept.
    view : View, optional
        Whose frames they are, for the masks; None is the view that the session is at.

    Yields
    ------
    MaskUpdate
        The masks that differ, an object after the other, by frame.

    Raises
    ------
    InputError
        At once, if there is no object to change or the mask to restrict to has another shape.
    """
    ids = _free(object_ids, locked)
    _check_shape(operation, frames)
    found = _cleaned(frames, _spacing(spacing), operation, ids, accepted or {}, scores or {})
    return (replace(update, view=view) for update in found)


def cleaned_frame(
    frames: NDArray[Any],
    frame: int,
    spacing: Sequence[float],
    operation: Operation,
    object_ids: Iterable[int],
    *,
    locked: Collection[int] = (),
    accepted: Mapping[int, Collection[int]] | None = None,
) -> NDArray[Any]:
    """Return what the labels of one frame would become, a copy; parameters as in `cleaned`.

    Slice by slice only this frame is worked on, in 3D every frame that the objects are on.
    """
    after: NDArray[Any] = frames[frame].copy()
    first = 0
    if not operation.solid:
        first = frame
        if isinstance(operation, Restrict):
            operation = Restrict(operation.inside[frame : frame + 1], operation.name)
        frames = frames[frame : frame + 1]
        accepted = {i: [f - first for f in at] for i, at in (accepted or {}).items()}
    for update in cleaned(frames, spacing, operation, object_ids, locked=locked, accepted=accepted):
        if update.frame == frame - first:
            after[after == update.object_id] = 0
            y0, x0, y1, x1 = update.bbox
            after[y0:y1, x0:x1][update.mask] = update.object_id
    return after


def _cleaned(
    frames: NDArray[Any],
    spacing: Spacing,
    operation: Operation,
    object_ids: Sequence[int],
    accepted: Mapping[int, Collection[int]],
    scores: Mapping[int, NDArray[np.float64]],
) -> Iterator[MaskUpdate]:
    there = _there(frames, object_ids)
    if not there:
        return
    present = np.array(frames)
    for object_id in there:
        where = _region(present, object_id, operation.margin(spacing))
        if where is None:
            continue
        block = present[where]
        before = block == object_id
        after = operation.apply(before, spacing, where) & (before | (block == 0))
        first, y, x = (s.start for s in where)
        for k in np.flatnonzero((before != after).any(axis=(1, 2))).tolist():
            if first + k in accepted.get(object_id, ()):
                continue
            block[k][before[k]] = 0
            block[k][after[k]] = object_id
            score = float(scores[object_id][first + k]) if object_id in scores else math.nan
            yield _placed(MaskUpdate.from_mask(first + k, object_id, after[k], score), y, x)


def _there(frames: NDArray[Any], object_ids: Sequence[int]) -> list[int]:
    """Return the objects that have a pixel, in their order."""
    missing = set(object_ids)
    for frame in frames:
        if not missing:
            break
        if frame.any():
            missing -= pixel_counts(frame).keys()
    return [i for i in object_ids if i not in missing]


def _placed(update: MaskUpdate, y: int, x: int) -> MaskUpdate:
    y0, x0, y1, x1 = update.bbox
    return replace(update, bbox=(y0 + y, x0 + x, y1 + y, x1 + x)) if y1 > y0 else update


def _region(
    frames: NDArray[Any], object_id: int, margin: tuple[int, int, int]
) -> tuple[slice, slice, slice] | None:
    """Return the box of an object and the margin around it, as far as there are pixels."""
    mask = frames == object_id
    along = mask.any(axis=2)
    hits = (along.any(axis=1), along.any(axis=0), mask.any(axis=(0, 1)))
    if not hits[0].any():
        return None
    spans = [(int(h.argmax()), len(h) - int(h[::-1].argmax())) for h in hits]
    f, y, x = (
        slice(max(0, low - m), min(n, high + m))
        for (low, high), m, n in zip(spans, margin, frames.shape, strict=True)
    )
    return f, y, x


def _free(object_ids: Iterable[int], locked: Collection[int]) -> tuple[int, ...]:
    wanted = tuple(dict.fromkeys(object_ids))
    if not wanted:
        raise InputError("there is no object to clean up: segment or choose one first")
    free = tuple(i for i in wanted if i not in locked)
    if not free:
        names = ", ".join(map(str, wanted))
        raise InputError(f"object {names} is locked: unlock it to clean it up")
    return free


def _spacing(spacing: Sequence[float]) -> Spacing:
    f, y, x = (float(s) for s in spacing)
    return f, y, x


def _check_shape(operation: Operation, frames: NDArray[Any]) -> None:
    if isinstance(operation, Restrict) and operation.inside.shape != frames.shape:
        raise InputError(
            f"{operation.name}: has the shape {operation.inside.shape}, the frames {frames.shape}; "
            "only a mask of the same shape can restrict them"
        )
