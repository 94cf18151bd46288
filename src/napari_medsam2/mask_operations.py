"""What can be done to the mask of an object: fill, keep, drop, smooth, restrict.

scipy is imported when needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from .errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DropSmall", "FillHoles", "KeepLargest", "Operation", "Restrict", "Smooth", "Spacing"]

Spacing = tuple[float, float, float]
"""Size of a voxel along (frame, y, x), in one unit."""

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


def _check_positive(value: float, what: str) -> None:
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{what} must be a positive number, got {value!r}")
