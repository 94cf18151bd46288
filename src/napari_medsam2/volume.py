"""An n-dimensional image with axes, spacing and geometry, seen lazily as 2D frames.

Numpy only. The array may be anything that has ``shape``, ``dtype`` and slicing (numpy, dask, zarr,
a tifffile store): frames are read one at a time and the whole array never is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from .axes import check_axes, check_dtype, guess_axes
from .errors import InputError
from .levels import check_levels

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .frames import FrameStack

__all__ = ["ArrayLike", "Geometry", "View", "Volume"]

_UNKNOWN_UNIT = "px"


@runtime_checkable
class ArrayLike(Protocol):
    """What a volume needs of an array: its shape, its dtype, and slicing."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of every axis."""

    @property
    def dtype(self) -> Any:
        """Type of the elements."""

    def __getitem__(self, key: Any) -> Any:
        """Return a slice of the array."""


@dataclass(frozen=True)
class Geometry:
    """Where the image lies in the patient or on the stage, as the file states it.

    Kept untouched from reading to writing, so that labels land on the very voxels of their image.

    Parameters
    ----------
    origin : tuple of float
        Position of the centre of the first voxel, in ITK's order (x, y[, z]), LPS millimetres.
    direction : tuple of float
        Row-major direction cosines, ITK's convention, ``len(origin) ** 2`` values.
    """

    origin: tuple[float, ...]
    direction: tuple[float, ...]

    def __post_init__(self) -> None:
        """Check that the direction matrix fits the origin."""
        if len(self.direction) != len(self.origin) ** 2:
            raise InputError(
                f"geometry: {len(self.origin)} origin values need {len(self.origin) ** 2} "
                f"direction cosines, got {len(self.direction)}"
            )


@dataclass(frozen=True)
class View:
    """Which frames of a volume are looked at.

    Attributes
    ----------
    axis : int or None
        Index of the frame axis among the label axes; None for a 2D image.
    at : tuple of int
        Positions along the axes that are neither frame axis nor in the plane of a frame.
    """

    axis: int | None
    at: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Volume:
    """An image of any dimension with named axes.

    Parameters
    ----------
    data : array-like
        Numpy, dask or zarr array, or anything with ``shape``, ``dtype`` and slicing.
    axes : str
        One letter an axis: ``t`` time, ``z`` ``y`` ``x`` space, ``c`` channels or colours.
        "" guesses from the shape: yx, zyx, yxc / zyxc where the last axis has 3 or 4 entries, tzyx.
    spacing : tuple of float
        Physical size of a voxel, one value for every axis but ``c``, in the order of the array.
        () means 1 along each.
    units : tuple of str
        Unit of each spacing value ("mm", "um", "s", "px"). () means "px" throughout.
    geometry : Geometry, optional
        Origin and direction as stated by the file.
    name : str
        What to call the image in layers and messages.
    display : tuple of float, optional
        (low, high) intensities that the file or viewer shows as black and white.
    modality : str
        DICOM modality code where it is known ("CT", "MR", "US"), else "".
    source : str
        The file or folder that the image was read from, "" if it comes from memory.
    metadata : dict
        Further facts about the image; never about the patient.
    levels : tuple of array-like
        Coarser copies of the data, finest first, each with the same axes; see `levels`.

    Raises
    ------
    InputError
        For axes that do not fit the array, spacing that is not positive, a dtype that is no
        intensity (complex, text, objects), or levels that are no pyramid.
    """

    data: ArrayLike
    axes: str = ""
    spacing: tuple[float, ...] = ()
    units: tuple[str, ...] = ()
    geometry: Geometry | None = None
    name: str = "image"
    display: tuple[float, float] | None = None
    modality: str = ""
    source: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)
    levels: tuple[ArrayLike, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        """Fill in what was left out and check the rest."""
        if not isinstance(self.data, ArrayLike):
            object.__setattr__(self, "data", np.asarray(self.data))
        shape = tuple(int(n) for n in self.data.shape)
        axes = self.axes or guess_axes(shape)
        object.__setattr__(self, "axes", axes)
        check_axes(axes, shape, self.name)
        check_dtype(np.dtype(self.data.dtype), self.name)
        n_spatial = len(axes.replace("c", ""))
        spacing = tuple(float(s) for s in self.spacing) or (1.0,) * n_spatial
        units = tuple(self.units) or (_UNKNOWN_UNIT,) * n_spatial
        if len(spacing) != n_spatial or not all(math.isfinite(s) and s > 0 for s in spacing):
            raise InputError(
                f"{self.name}: spacing {spacing} must be {n_spatial} positive numbers, one for "
                f"each of the axes {axes.replace('c', '')!r}"
            )
        if len(units) != n_spatial:
            raise InputError(f"{self.name}: {n_spatial} units are needed, got {units}")
        object.__setattr__(self, "spacing", spacing)
        object.__setattr__(self, "units", units)
        object.__setattr__(self, "levels", tuple(self.levels))
        check_levels(self.data, self.levels, axes, self.name)

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of every axis of ``data``, channels included."""
        return tuple(int(n) for n in self.data.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the intensities."""
        dtype: np.dtype[Any] = np.dtype(self.data.dtype)
        return dtype

    @property
    def label_axes(self) -> str:
        """The axes of a label array for this volume: all but ``c``."""
        return self.axes.replace("c", "")

    @property
    def label_shape(self) -> tuple[int, ...]:
        """Shape of a label array for this volume."""
        return tuple(n for n, a in zip(self.shape, self.axes, strict=True) if a != "c")

    @property
    def n_channels(self) -> int:
        """Entries of the channel axis, 1 where there is none."""
        return self.shape[self.axes.index("c")] if "c" in self.axes else 1

    @property
    def has_colour(self) -> bool:
        """Whether the channels are RGB(A): three or four of them, last or of 8 bits.

        Anything else is channels of a microscope, of which one is chosen or several are blended.
        """
        last = self.axes.endswith("c") or self.dtype == np.uint8
        return "c" in self.axes and self.n_channels in (3, 4) and last

    @property
    def nbytes(self) -> int:
        """Size of the whole array in memory, in bytes, were it loaded."""
        return math.prod(self.shape) * self.dtype.itemsize

    def axis_index(self, axis: int | str) -> int:
        """Return the index of an axis among the label axes.

        Parameters
        ----------
        axis : int or str
            An index (negative counts from the end) or one of the letters of `label_axes`.

        Raises
        ------
        InputError
            If there is no such axis.
        """
        n = len(self.label_axes)
        if isinstance(axis, str):
            if len(axis) == 1 and axis in self.label_axes:
                return self.label_axes.index(axis)
            if axis.lstrip("-").isdigit():
                return self.axis_index(int(axis))
        elif -n <= axis < n:
            return int(axis) % n
        raise InputError(
            f"{self.name}: there is no axis {axis!r}; its axes are "
            f"{', '.join(f'{i} ({a})' for i, a in enumerate(self.label_axes))}"
        )

    def stack(
        self,
        axis: int | str = 0,
        at: Sequence[int] | None = None,
        channel: int | Sequence[int] | None = None,
        level: int | None = None,
    ) -> FrameStack:
        """See the volume as 2D frames along one axis.

        Parameters
        ----------
        axis : int or str
            The propagation axis, by index among the label axes or by letter. Ignored for a 2D
            image, which is a stack of one frame.
        at : sequence of int, optional
            Fixed positions along the axes that are neither the frame axis nor the frame's plane
            (the last two that remain), in the order of the array; needed from 4D on.
        channel : int or sequence of int, optional
            The channel to use, or several to blend. Colour (see `has_colour`) is taken whole
            unless one is chosen.
        level : int, optional
            The level of a pyramid that the model sees, 0 the full image; see `levels.auto_level`
            for the default.

        Returns
        -------
        FrameStack

        Raises
        ------
        InputError
            For an axis, position, channel or level that does not exist, or a choice that is
            missing.
        """
        from .frames import FrameStack

        return FrameStack.of(self, axis, at, channel, level)

    def with_data(self, data: ArrayLike, **changes: Any) -> Volume:
        """Return a copy with another array and, by keyword, other fields.

        Other data have no coarser levels unless those are given, too.
        """
        if data is not self.data:
            changes.setdefault("levels", ())
        return replace(self, data=data, **changes)
