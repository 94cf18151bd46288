"""Cleaning up masks: fill holes, keep the largest part, smooth, drop small parts, restrict.

Each operation works on one object at a time, slice by slice or in 3D, and gives it no pixel but of
the background: what belongs to another object stays there. scipy is imported when needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .errors import InputError
from .labels import MaskUpdate

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

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

Spacing = tuple[float, float, float]

_REACH = 4.0  # sigmas, as far as scipy's gaussian looks
_SAME = 1e-4  # relative difference of values that are meant to be equal


class Operation(Protocol):
    """What can be done to an object.

    Attributes
    ----------
    solid : bool
        In 3D, across frames, not slice by slice; for frames that are slices of a body.
    """

    @property
    def solid(self) -> bool:
        """Whether it works across frames."""

    @property
    def text(self) -> str:
        """What it does, for the history ("fill holes")."""

    def margin(self, spacing: Spacing) -> tuple[int, int, int]:
        """Return how many voxels around an object may become part of it, along each axis."""

    def apply(
        self, mask: NDArray[np.bool_], spacing: Spacing, where: tuple[slice, slice, slice]
    ) -> NDArray[np.bool_]:
        """Return another mask in place of one.

        Parameters
        ----------
        mask : ndarray of bool
            (frame, y, x), cut to the object and the margin around it.
        spacing : (float, float, float)
        where : tuple of slice
            Which part of all frames the mask is.
        """


@dataclass(frozen=True)
class FillHoles:
    """Fill background that an object encloses; diagonal gaps do not open a hole.

    Parameters
    ----------
    solid : bool
        Holes are enclosed in 3D, not on their slice alone.
    """

    solid: bool = False
    text: str = field(default="fill holes", init=False)

    def margin(self, spacing: Spacing) -> tuple[int, int, int]:
        """Return none: holes lie inside."""
        return 0, 0, 0

    def apply(
        self, mask: NDArray[np.bool_], spacing: Spacing, where: tuple[slice, slice, slice]
    ) -> NDArray[np.bool_]:
        """Return the mask with its holes."""
        from scipy import ndimage

        around = ((1, 1) if self.solid else (0, 0), (1, 1), (1, 1))
        structure = ndimage.generate_binary_structure(3, 1)
        if not self.solid:
            structure[[0, 2]] = False
        parts, _ = ndimage.label(~np.pad(mask, around), structure)
        # The corner lies outside the object, as does all the background that is joined with it.
        outside = parts[:1, :1, :1] if self.solid else parts[:, :1, :1]
        filled: NDArray[np.bool_] = (parts != outside)[:, 1:-1, 1:-1]
        return filled[1:-1] if self.solid else filled


@dataclass(frozen=True)
class KeepLargest:
    """Keep the largest connected part of an object; what shares a corner is connected.

    Parameters
    ----------
    solid : bool
        The largest in 3D, not one on every slice.
    """

    solid: bool = True
    text: str = field(default="keep the largest part", init=False)

    def margin(self, spacing: Spacing) -> tuple[int, int, int]:
        """Return none: it only takes away."""
        return 0, 0, 0

    def apply(
        self, mask: NDArray[np.bool_], spacing: Spacing, where: tuple[slice, slice, slice]
    ) -> NDArray[np.bool_]:
        """Return the largest part, or those of every slice; of equal ones the first."""
        parts, sizes, frames = _parts(mask, self.solid)
        kept = np.zeros(len(sizes), dtype=bool)
        for frame in np.unique(frames[1:]):
            here = np.flatnonzero(frames == frame)
            kept[here[np.argmax(sizes[here])]] = True
        largest: NDArray[np.bool_] = kept[parts]
        return largest


@dataclass(frozen=True)
class DropSmall:
    """Remove connected parts that are too small; an object may vanish with its parts.

    Parameters
    ----------
    size : float
        The least volume that stays, in the cube of the spacing's unit, or for slices the least
        area, in its square.
    solid : bool
        Parts are connected in 3D, not on their slice alone.

    Raises
    ------
    InputError
        If the size is no positive number.
    """

    size: float
    solid: bool = True
    text: str = field(default="drop small parts", init=False)

    def __post_init__(self) -> None:
        """Check the size."""
        _check_positive(self.size, "the least size of a part")

    def margin(self, spacing: Spacing) -> tuple[int, int, int]:
        """Return none: it only takes away."""
        return 0, 0, 0

    def apply(
        self, mask: NDArray[np.bool_], spacing: Spacing, where: tuple[slice, slice, slice]
    ) -> NDArray[np.bool_]:
        """Return the parts that are large enough."""
        parts, sizes, _ = _parts(mask, self.solid)
        voxel = math.prod(spacing if self.solid else spacing[1:])
        # What is exactly of the least size stays, whatever the rounding of the product.
        kept = sizes * voxel >= self.size * (1 - 1e-9)
        kept[0] = False
        large: NDArray[np.bool_] = kept[parts]
        return large


@dataclass(frozen=True)
class Smooth:
    """Even out the border of an object and keep its size.

    The mask is blurred with a Gaussian and cut where as many voxels lie above as the object had, so
    that neither round nor thin objects shrink (a cut at one half would eat both). Ends, bumps and
    dents that are thin beside sigma go, as do specks far from the rest.

    Parameters
    ----------
    sigma : float
        Of the Gaussian, in the unit of the spacing.
    solid : bool
        In 3D, not slice by slice.

    Raises
    ------
    InputError
        If sigma is no positive number.
    """

    sigma: float
    solid: bool = True
    text: str = field(default="smooth", init=False)

    def __post_init__(self) -> None:
        """Check sigma."""
        _check_positive(self.sigma, "the strength of smoothing")

    def margin(self, spacing: Spacing) -> tuple[int, int, int]:
        """Return how far the Gaussian reaches."""
        f, y, x = (math.ceil(_REACH * s) for s in self._sigmas(spacing))
        return f, y, x

    def apply(
        self, mask: NDArray[np.bool_], spacing: Spacing, where: tuple[slice, slice, slice]
    ) -> NDArray[np.bool_]:
        """Return a mask of the same size with smooth borders."""
        from scipy import ndimage

        sigmas = self._sigmas(spacing)
        blurred = ndimage.gaussian_filter(
            mask.astype(np.float32), sigmas, mode="nearest", truncate=_REACH
        )
        if self.solid:
            return _top(blurred, mask)
        return np.stack([_top(b, m) for b, m in zip(blurred, mask, strict=True)])

    def _sigmas(self, spacing: Spacing) -> tuple[float, float, float]:
        f, y, x = (self.sigma / s for s in spacing)
        return (f if self.solid else 0.0), y, x


@dataclass(frozen=True, eq=False)
class Restrict:
    """Keep only what lies inside a mask.

    Parameters
    ----------
    inside : ndarray
        (frame, y, x) of all frames; what is not 0 counts as inside.
    name : str
        What the mask is called.
    """

    inside: NDArray[Any] = field(repr=False)
    name: str = "the mask"
    solid: bool = field(default=False, init=False)

    @property
    def text(self) -> str:
        """What it does."""
        return f"restrict to {self.name}"

    def margin(self, spacing: Spacing) -> tuple[int, int, int]:
        """Return none: it only takes away."""
        return 0, 0, 0

    def apply(
        self, mask: NDArray[np.bool_], spacing: Spacing, where: tuple[slice, slice, slice]
    ) -> NDArray[np.bool_]:
        """Return what lies inside."""
        restricted: NDArray[np.bool_] = mask & (np.asarray(self.inside[where]) != 0)
        return restricted


def cleaned(
    frames: NDArray[Any],
    spacing: Sequence[float],
    operation: Operation,
    object_ids: Iterable[int],
    *,
    locked: Collection[int] = (),
    accepted: Mapping[int, Collection[int]] | None = None,
    scores: Mapping[int, NDArray[np.float64]] | None = None,
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
    return _cleaned(frames, _spacing(spacing), operation, ids, accepted or {}, scores or {})


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
    present = np.array(frames)
    for object_id in object_ids:
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


def _parts(
    mask: NDArray[np.bool_], solid: bool
) -> tuple[NDArray[Any], NDArray[np.intp], NDArray[np.intp]]:
    """Return connected parts, 1 and up, how large each is, and the first frame of each in 2D.

    In 3D all are told to be on frame 0; entry 0 of both lists is that of the background, of size 0.
    """
    from scipy import ndimage

    structure = np.ones((3, 3, 3), dtype=bool)
    if not solid:
        structure[[0, 2]] = False
    parts, n = ndimage.label(mask, structure)
    sizes = np.bincount(parts.ravel(), minlength=n + 1)
    sizes[0] = 0
    frames = np.full(n + 1, -1)
    frames[1:] = 0 if solid else [box[0].start for box in ndimage.find_objects(parts)]
    return parts, sizes, frames


def _top(blurred: NDArray[np.float32], mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return where the blurred mask is highest, on about as many pixels as the mask has."""
    n = int(np.count_nonzero(mask))
    if not n:
        return mask
    cut = np.partition(blurred, blurred.size - n, axis=None)[blurred.size - n]
    # Symmetric places differ by rounding alone: they stay or go together.
    within: NDArray[np.bool_] = blurred >= cut * (1 - _SAME)
    above: NDArray[np.bool_] = blurred > cut * (1 + _SAME)
    missing, extra = n - np.count_nonzero(above), np.count_nonzero(within) - n
    return above if above.any() and missing < extra else within


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


def _check_positive(value: float, what: str) -> None:
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{what} must be a positive number, got {value!r}")


def _check_shape(operation: Operation, frames: NDArray[Any]) -> None:
    if isinstance(operation, Restrict) and operation.inside.shape != frames.shape:
        raise InputError(
            f"{operation.name}: has the shape {operation.inside.shape}, the frames {frames.shape}; "
            "only a mask of the same shape can restrict them"
        )
