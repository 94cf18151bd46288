"""Channels that are no colours: one is chosen, or several are blended into colours for the model.

Numpy only. Arrays are anything with ``shape``, ``dtype`` and slicing, and stay unread.
"""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .volume import ArrayLike, Volume

__all__ = [
    "Channels",
    "JoinedArrays",
    "OneChannel",
    "blend",
    "check_channels",
    "join_channels",
    "one_channel",
]

Channels = int | tuple[int, ...] | None
"""One channel, several that are blended, or None: grey, or colours as they are."""


def check_channels(volume: Volume, wanted: int | Sequence[int] | None) -> Channels:
    """Return a choice of channels in its one form: several as a tuple, one of them as a number.

    Raises
    ------
    InputError
        For a channel that does not exist or is named twice, no channel at all, or a choice that is
        missing.
    """
    n = volume.n_channels
    if wanted is None:
        if n > 1 and not volume.has_colour:
            raise InputError(
                f"{volume.name}: has {n} channels; choose one (0 to {n - 1}) or several to blend"
            )
        return None
    numbers = tuple(wanted) if isinstance(wanted, Sequence) else (wanted,)
    if not numbers:
        raise InputError(f"{volume.name}: no channel is chosen; it has {n}")
    for number in numbers:
        if not isinstance(number, int | np.integer) or not 0 <= number < n:
            raise InputError(f"{volume.name}: there is no channel {number}; it has {n}")
    if len(set(numbers)) < len(numbers):
        raise InputError(f"{volume.name}: channels {numbers} name one twice")
    return int(numbers[0]) if len(numbers) == 1 else tuple(int(i) for i in numbers)


def blend(planes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Blend the channels of a frame into red, green and blue.

    Each channel has a colour, and every pixel takes the brighter of what the channels give it, so
    that no sum saturates. Two channels are green and magenta, so that between them they fill all
    three inputs of a network; three are red, green and blue, and more are spread around the wheel
    of colours.

    Parameters
    ----------
    planes : ndarray of float32
        (y, x, channels), each windowed to 0..255 by itself.

    Returns
    -------
    ndarray of float32
        (y, x, 3), 0..255.
    """
    blended = np.zeros((*planes.shape[:2], 3), dtype=np.float32)
    for index, colour in enumerate(_colours(planes.shape[2])):
        for primary, share in enumerate(colour):
            if share:
                plane = blended[..., primary]
                np.maximum(plane, planes[..., index] * np.float32(share), out=plane)
    return blended


def join_channels(volumes: Sequence[Volume]) -> Volume:
    """Return separate grey images of one shape as the channels of one, in front of its axes.

    Parameters
    ----------
    volumes : sequence of Volume
        The first one gives axes, spacing, geometry and name. Coarser levels are kept if all have
        levels of the same shapes.

    Returns
    -------
    Volume
        Its data read one of the arrays at a time; of the widest of their types.

    Raises
    ------
    InputError
        For images of different shapes, or with channels of their own.
    """
    first = volumes[0]
    for other in volumes:
        if "c" in other.axes:
            raise InputError(f"{other.name}: has channels of its own and cannot be one of others")
        if other.shape != first.shape:
            raise InputError(
                f"{other.name}: has the shape {other.shape}, {first.name} {first.shape}; only "
                "images of one shape can be channels of one"
            )
    levels: tuple[ArrayLike, ...] = ()
    if len({tuple(tuple(level.shape) for level in v.levels) for v in volumes}) == 1:
        levels = tuple(
            JoinedArrays(arrays) for arrays in zip(*(v.levels for v in volumes), strict=True)
        )
    return first.with_data(
        JoinedArrays(tuple(v.data for v in volumes)),
        axes="c" + first.axes,
        levels=levels,
        display=None,
        source="",
    )


def one_channel(volume: Volume, index: int) -> Volume:
    """Return one channel of a volume as a volume of its own, without reading it."""
    axis = volume.axes.index("c")
    return volume.with_data(
        _pick(volume.data, axis, index),
        axes=volume.label_axes,
        levels=tuple(_pick(level, axis, index) for level in volume.levels),
        name=f"{volume.name} channel {index}",
        display=None,
    )


@dataclass(frozen=True, eq=False)
class JoinedArrays:
    """Arrays of one shape seen as one array with an axis more in front, read one at a time."""

    arrays: tuple[ArrayLike, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of arrays, then their shape."""
        return (len(self.arrays), *(int(n) for n in self.arrays[0].shape))

    @property
    def dtype(self) -> Any:
        """The type that holds the values of all arrays."""
        return np.result_type(*(np.dtype(a.dtype) for a in self.arrays))

    def __getitem__(self, key: Any) -> Any:
        """Return a slice; only the arrays that it touches are read."""
        which, *rest = _full_key(key, len(self.shape))
        if isinstance(which, slice):
            chosen = self.arrays[which]
            return np.stack([np.asarray(a[tuple(rest)]) for a in chosen]).astype(self.dtype)
        return np.asarray(self.arrays[which][tuple(rest)])


@dataclass(frozen=True, eq=False)
class OneChannel:
    """One channel of an array that is read lazily."""

    data: ArrayLike
    axis: int
    index: int

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of every axis but that of the channels."""
        return tuple(int(n) for i, n in enumerate(self.data.shape) if i != self.axis)

    @property
    def dtype(self) -> Any:
        """Type of the elements."""
        return self.data.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        return int(np.prod(self.shape))

    def __getitem__(self, key: Any) -> Any:
        """Return a slice of the channel."""
        keys = _full_key(key, self.ndim)
        return self.data[(*keys[: self.axis], self.index, *keys[self.axis :])]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """Read the whole channel."""
        return np.asarray(self[...], dtype=dtype)


def _pick(data: ArrayLike, axis: int, index: int) -> ArrayLike:
    if isinstance(data, np.ndarray):
        picked: NDArray[Any] = data[(slice(None),) * axis + (index,)]
        return picked
    return OneChannel(data, axis, index)


def _full_key(key: Any, ndim: int) -> tuple[Any, ...]:
    """Return a key with an entry for every axis."""
    keys = key if isinstance(key, tuple) else (key,)
    if any(k is Ellipsis for k in keys):
        at = next(i for i, k in enumerate(keys) if k is Ellipsis)
        fill = (slice(None),) * (ndim - len(keys) + 1)
        keys = (*keys[:at], *fill, *keys[at + 1 :])
    return (*keys, *(slice(None),) * (ndim - len(keys)))


@lru_cache(maxsize=16)
def _colours(n: int) -> tuple[tuple[float, float, float], ...]:
    """Return the (red, green, blue) of each of `n` channels, 0..1."""
    if n == 1:
        return ((1.0, 1.0, 1.0),)
    # The first of two is green and the other magenta, as microscopes show them.
    first = 1 / 3 if n == 2 else 0.0
    wheel = (colorsys.hsv_to_rgb((first + i / n) % 1.0, 1.0, 1.0) for i in range(n))
    return tuple((round(r, 6), round(g, 6), round(b, 6)) for r, g, b in wheel)
