"""A volume seen as 2D frames along one of its axes, read one at a time; numpy only."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .channels import Channels, check_channels
from .errors import InputError
from .levels import auto_level, position_at
from .volume import ArrayLike, View, Volume

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

__all__ = ["FrameStack"]


@dataclass(frozen=True, eq=False)
class FrameStack:
    """The frames of a volume along one axis, read one at a time.

    Frames are (y, x) or, in colour, (y, x, 3), or (y, x, n) with several channels: the two axes
    that remain, in the order of the array. Their shape is that of the full image, whatever level of
    a pyramid the model sees.

    Attributes
    ----------
    volume : Volume
    axis : int or None
        Index of the frame axis among the label axes; None for a 2D image.
    at : tuple of int
        Positions along the axes that are neither frame axis nor plane.
    channel : int, tuple of int or None
        The chosen channel or channels, None for grey or RGB.
    level : int
        The level of a pyramid that the model sees.
    region : (y0, x0, y1, x1) or None
        The part of every frame that is seen, half-open, in pixels of the full image; None is all.
    """

    volume: Volume
    axis: int | None
    at: tuple[int, ...]
    channel: Channels
    level: int = 0
    region: tuple[int, int, int, int] | None = None

    @classmethod
    def of(
        cls,
        volume: Volume,
        axis: int | str,
        at: Sequence[int] | None,
        channel: int | Sequence[int] | None,
        level: int | None = None,
    ) -> FrameStack:
        """Check the choices and build the view; see `Volume.stack`."""
        n = len(volume.label_axes)
        index = None if n == 2 else volume.axis_index(axis)
        others = [i for i in range(n) if i != index][:-2]
        at = tuple(int(i) for i in at or ())
        if len(at) != len(others):
            names = ", ".join(volume.label_axes[i] for i in others)
            raise InputError(
                f"{volume.name}: has axes {volume.label_axes!r}; to work along "
                f"{volume.label_axes[index or 0]!r} fix a position for each of: {names or 'none'} "
                f"(got {len(at)})"
            )
        for position, i in zip(at, others, strict=True):
            if not 0 <= position < volume.label_shape[i]:
                raise InputError(
                    f"{volume.name}: position {position} on axis {volume.label_axes[i]!r} is "
                    f"outside 0..{volume.label_shape[i] - 1}"
                )
        stack = cls(volume, index, at, check_channels(volume, channel))
        return replace(stack, level=_chosen_level(stack, level))

    @property
    def view(self) -> View:
        """Which frames these are."""
        return View(self.axis, self.at)

    def __len__(self) -> int:
        """Return the number of frames."""
        return 1 if self.axis is None else self.volume.label_shape[self.axis]

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Read the frames in order."""
        return (self.frame(i) for i in range(len(self)))

    @property
    def shape(self) -> tuple[int, int]:
        """(height, width) of a frame in pixels."""
        if self.region is not None:
            y0, x0, y1, x1 = self.region
            return y1 - y0, x1 - x0
        height, width = (self.volume.label_shape[i] for i in self._plane)
        return height, width

    def cropped(self, region: tuple[int, int, int, int]) -> FrameStack:
        """See a part of every frame, and read no more than that.

        Parameters
        ----------
        region : (y0, x0, y1, x1)
            Half-open, inside the frame.

        Returns
        -------
        FrameStack
            Of a pyramid it sees the coarsest level that holds enough pixels of the region, none
            coarser than this stack sees.
        """
        y0, x0, y1, x1 = region
        height, width = self.shape
        if region == (0, 0, height, width):
            return self
        if self.region is not None or not (0 <= y0 < y1 <= height and 0 <= x0 < x1 <= width):
            raise InputError(
                f"{self.volume.name}: region {region} is no part of frames of {self.shape}"
            )
        parts = [((y1 - y0) * h // height, (x1 - x0) * w // width) for h, w in self.frame_shapes()]
        return replace(self, level=min(self.level, auto_level(parts)), region=region)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Physical size along (frame, y, x)."""
        y, x = (self.volume.spacing[i] for i in self._plane)
        return (1.0 if self.axis is None else self.volume.spacing[self.axis]), y, x

    @property
    def is_rgb(self) -> bool:
        """Whether the model sees colours: those of the image, or channels blended."""
        return isinstance(self.channel, tuple) or (self.channel is None and self.volume.has_colour)

    def frame(self, index: int) -> NDArray[Any]:
        """Read one frame.

        Parameters
        ----------
        index : int
            0-based position along the frame axis.

        Returns
        -------
        ndarray
            (y, x), (y, x, 3) in colour or (y, x, n) with several channels, native byte order, the
            volume's own dtype and intensities.

        Raises
        ------
        InputError
            If there is no such frame.
        """
        return self._read(self.volume.data, index)

    def seen(self, index: int) -> NDArray[Any]:
        """Read what the model sees of a frame: the frame itself, or a coarser level of it.

        Returns
        -------
        ndarray
            As `frame` returns it, smaller where `level` is not 0.
        """
        return self._read((self.volume.data, *self.volume.levels)[self.level], index)

    def frame_shapes(self) -> list[tuple[int, int]]:
        """Return (height, width) of a frame at every level of the pyramid, the full one first."""
        axes = [self.volume.axes.index(self.volume.label_axes[i]) for i in self._plane]
        arrays = (self.volume.data, *self.volume.levels)
        return [(int(a.shape[axes[0]]), int(a.shape[axes[1]])) for a in arrays]

    def _read(self, data: ArrayLike, index: int) -> NDArray[Any]:
        self.check_frame(index)
        axes = self.volume.axes
        key: dict[str, int | slice] = dict(
            zip(self.volume.label_axes, self._label_key(index), strict=True)
        )
        for axis, n, full in zip(axes, data.shape, self.volume.shape, strict=True):
            at = key.get(axis)
            if isinstance(at, int):
                key[axis] = position_at(at, full, int(n))
        key |= self._cut(data)
        if isinstance(self.channel, tuple):
            # One at a time: not every array can be indexed by a list.
            planes = [_sliced(data, axes, key | {"c": c}) for c in self.channel]
            image = np.stack(planes, axis=-1)
        elif self.is_rgb:
            image = _sliced(data, axes, key | {"c": slice(0, 3)})
            kept = [a for a in axes if a == "c" or isinstance(key[a], slice)]
            image = np.moveaxis(image, kept.index("c"), -1)
        else:
            image = _sliced(data, axes, key | {"c": self.channel or 0})
        return image.astype(image.dtype.newbyteorder("="), copy=False)

    def check_frame(self, index: int) -> None:
        """Raise `InputError` if there is no frame of this index."""
        if not 0 <= index < len(self):
            raise InputError(
                f"{self.volume.name}: there is no frame {index}; frames run from 0 to "
                f"{len(self) - 1}"
            )

    def of_labels(self, labels: NDArray[Any]) -> NDArray[Any]:
        """See a label array of the volume as (frame, y, x), sharing its memory."""
        y0, x0, y1, x1 = self.region or (0, 0, *self.shape)
        if self.axis is None:
            return labels[np.newaxis, y0:y1, x0:x1]
        key = list(self._label_key(0))
        key[self.axis] = slice(None)
        return np.moveaxis(labels[tuple(key)], self._axis_in_view, 0)[:, y0:y1, x0:x1]

    def _cut(self, data: ArrayLike) -> dict[str, slice]:
        """Return which rows and columns of an array, the image or a level of it, are seen."""
        if self.region is None:
            return {}
        cut = {}
        for side, i in enumerate(self._plane):
            axis, full = self.volume.label_axes[i], self.volume.label_shape[i]
            n = int(data.shape[self.volume.axes.index(axis)])
            first, last = self.region[side], self.region[side + 2]
            cut[axis] = slice(first * n // full, -(-last * n // full))
        return cut

    @property
    def _others(self) -> list[int]:
        return [i for i in range(len(self.volume.label_axes)) if i != self.axis][:-2]

    @property
    def _plane(self) -> list[int]:
        return [i for i in range(len(self.volume.label_axes)) if i != self.axis][-2:]

    @property
    def _axis_in_view(self) -> int:
        assert self.axis is not None
        return sorted([self.axis, *self._plane]).index(self.axis)

    def _label_key(self, index: int) -> tuple[int | slice, ...]:
        fixed: dict[int, int] = dict(zip(self._others, self.at, strict=True))
        if self.axis is not None:
            fixed[self.axis] = index
        return tuple(fixed.get(i, slice(None)) for i in range(len(self.volume.label_axes)))


def _sliced(data: ArrayLike, axes: str, key: dict[str, int | slice]) -> NDArray[Any]:
    return np.asarray(data[tuple(key[axis] for axis in axes)])


def _chosen_level(stack: FrameStack, level: int | None) -> int:
    shapes = stack.frame_shapes()
    if level is None:
        return auto_level(shapes)
    if not 0 <= level < len(shapes):
        n = f"levels 0 to {len(shapes) - 1}" if len(shapes) > 1 else "no coarser levels"
        raise InputError(f"{stack.volume.name}: there is no level {level}; it has {n}")
    return int(level)
