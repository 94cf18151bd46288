"""Intensity windows: which intensities become 0 and 255 for the model.

One window serves a whole volume, so that neighbouring frames look alike to the model; it is applied
in floating point, and no 8-bit image ever comes between the data and the network.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .channels import blend
from .errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .frames import FrameStack

__all__ = ["CT_PRESETS", "Blend", "Window", "WindowChoice", "resolve_window", "window_of"]

WindowChoice = str | tuple[float, ...]
"""A name, or low and high; for channels that are blended also a low and a high for each."""

# The radiologist's (width, level), in Hounsfield units.
CT_PRESETS: dict[str, tuple[float, float]] = {
    "abdomen": (400.0, 40.0),
    "lung": (1500.0, -600.0),
    "brain": (80.0, 40.0),
    "mediastinum": (350.0, 50.0),
    "bone": (1800.0, 400.0),
}

_SAMPLED_FRAMES = 16
_SAMPLED_PIXELS = 65_536
# Frames of more pixels than this are sampled in so many squares over all frames.
_LARGE_FRAME = 2048 * 2048
_SAMPLED_SQUARES = 64
_GOLDEN = (math.sqrt(5) - 1) / 2
_PERCENTILES = (0.5, 99.5)
# A single value that fills more than this share of the image is padding or air, not tissue.
_BACKGROUND_SHARE = 0.1


@dataclass(frozen=True)
class Window:
    """The intensities that become 0 and 255.

    Parameters
    ----------
    low, high : float
        In the units of the image, ``low < high``.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        """Refuse a window without width."""
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise InputError(
                f"the window ({self.low:g}, {self.high:g}) must be two finite numbers, low < high"
            )

    @classmethod
    def from_width_level(cls, width: float, level: float) -> Window:
        """Build a window from a radiologist's width and level."""
        return cls(level - width / 2, level + width / 2)

    @property
    def values(self) -> tuple[float, ...]:
        """All that it consists of, as `window_of` takes it."""
        return self.low, self.high

    def __str__(self) -> str:
        """Return it as a person reads it."""
        return f"{self.low:.4g} to {self.high:.4g}"

    def apply(self, frame: NDArray[Any]) -> NDArray[np.float32]:
        """Map a frame to 0..255, clipped; nan becomes 0.

        Parameters
        ----------
        frame : ndarray
            Intensities of any real dtype and shape.

        Returns
        -------
        ndarray of float32
            Same shape, 0 at `low` and below, 255 at `high` and above.
        """
        # float32 holds every 16-bit value; wider integers and floats are scaled in float64.
        wide = frame.dtype.itemsize > 2 and frame.dtype.kind != "b"
        scaled: NDArray[Any] = frame.astype(np.float64 if wide else np.float32)
        # Clip first: inf - low stays inf, and inf * 0 would be nan.
        np.clip(scaled, self.low, self.high, out=scaled)
        np.subtract(scaled, self.low, out=scaled)
        np.multiply(scaled, 255.0 / (self.high - self.low), out=scaled)
        mapped: NDArray[np.float32] = np.nan_to_num(scaled, copy=False, nan=0.0).astype(np.float32)
        return mapped


@dataclass(frozen=True)
class Blend(Window):
    """A window for each of several channels, which become one coloured frame.

    Parameters
    ----------
    low, high : float
        The lowest and the highest intensity of any.
    parts : tuple of Window
        One for each channel, in their order.
    """

    parts: tuple[Window, ...] = ()

    @classmethod
    def of(cls, parts: Sequence[Window]) -> Blend:
        """Build it of windows."""
        return cls(min(p.low for p in parts), max(p.high for p in parts), tuple(parts))

    @property
    def values(self) -> tuple[float, ...]:
        """Low and high of each channel in turn."""
        return tuple(value for part in self.parts for value in part.values)

    def __str__(self) -> str:
        """Return it as a person reads it."""
        return " and ".join(map(str, self.parts))

    def apply(self, frame: NDArray[Any]) -> NDArray[np.float32]:
        """Map the channels of a frame to 0..255 and blend them, see `channels.blend`.

        Parameters
        ----------
        frame : ndarray
            (y, x, channels).

        Returns
        -------
        ndarray of float32
            (y, x, 3).
        """
        planes = [part.apply(frame[..., i]) for i, part in enumerate(self.parts)]
        return blend(np.stack(planes, axis=-1))


def window_of(values: Sequence[float]) -> Window:
    """Build a window of a low and a high, or a `Blend` of several pairs.

    Raises
    ------
    InputError
        For numbers that are no pairs of a lower and a higher one.
    """
    if not values or len(values) % 2:
        raise InputError(
            f"a window needs low and high, for several channels a pair for each; got {len(values)} "
            "numbers"
        )
    numbers = [float(v) for v in values]
    parts = [Window(*pair) for pair in zip(numbers[::2], numbers[1::2], strict=True)]
    return parts[0] if len(parts) == 1 else Blend.of(parts)


def resolve_window(stack: FrameStack, choice: WindowChoice = "auto") -> Window:
    """Turn a choice of window into intensities.

    Parameters
    ----------
    stack : FrameStack
        The frames to be shown to the model.
    choice : str or tuple of float
        - "auto": 0.5 and 99.5 percentile of a sample of frames, without a constant background;
          8-bit colour images keep 0..255;
        - "abdomen", "lung", "brain", "mediastinum", "bone": CT presets, for data in HU;
        - "display": what the file's header or the viewer's contrast limits say;
        - "low,high" or a pair: these intensities.

        Of channels that are blended each is windowed by itself: a name is applied to each, a pair
        to all, and as many pairs as there are channels to one after the other.

    Returns
    -------
    Window
        A `Blend` for several channels.

    Raises
    ------
    InputError
        For an unknown name, a preset on data that are not HU, "display" on an image without one, or
        a constant image.
    """
    numbers = _numbers(choice)
    if not isinstance(stack.channel, tuple):
        return _resolve_one(stack, choice if numbers is None else numbers)
    n = len(stack.channel)
    if numbers is not None and len(numbers) not in (2, 2 * n):
        raise InputError(
            f"{stack.volume.name}: window {choice!r}: {n} channels are blended; give low and high "
            f"once, or {n} times"
        )
    parts = []
    for index, channel in enumerate(stack.channel):
        volume = stack.volume
        named = volume.with_data(volume.data, name=f"{volume.name} channel {channel}")
        own = numbers if numbers is None or len(numbers) == 2 else numbers[2 * index :][:2]
        one = replace(stack, volume=named, channel=channel)
        parts.append(_resolve_one(one, choice if own is None else own))
    return Blend.of(parts)


def sample_intensities(stack: FrameStack) -> NDArray[np.float64]:
    """Return finite intensities of evenly spaced frames and pixels, flat.

    At most 16 frames are read, and at most 65,536 values of each are kept (of each colour, where
    frames are large). Of large frames no more is read than 64 small squares, over all frames, so
    that the time does not grow with their size and a lazy array stays unread.
    """
    n = len(stack)
    chosen = np.unique(np.linspace(0, n - 1, min(n, _SAMPLED_FRAMES)).round().astype(int))
    large = math.prod(stack.frame_shapes()[stack.level]) > _LARGE_FRAME and stack.region is None
    parts = []
    for number, index in enumerate(chosen.tolist()):
        if large:
            squares = _squares(stack, number, len(chosen))
            values = np.concatenate([square.seen(index).ravel() for square in squares])
        else:
            values = stack.seen(index).ravel()
            values = values[:: max(1, values.size // _SAMPLED_PIXELS)]
        values = values.astype(np.float64)
        parts.append(values[np.isfinite(values)])
    return np.concatenate(parts)


def _squares(stack: FrameStack, number: int, n_frames: int) -> list[FrameStack]:
    """Return the squares to sample on one of some frames: on each in other places."""
    per_side = math.isqrt(_SAMPLED_SQUARES // n_frames)
    side = math.isqrt(_SAMPLED_PIXELS) // per_side
    height, width = stack.shape
    shift = (number + 0.5) / n_frames, (number * _GOLDEN + 0.5) % 1
    rows, cols = (
        [int((k + s) / per_side * max(0, n - side)) for k in range(per_side)]
        for s, n in zip(shift, (height, width), strict=True)
    )
    return [
        stack.cropped((y, x, min(y + side, height), min(x + side, width)))
        for y in rows
        for x in cols
    ]


def _numbers(choice: WindowChoice) -> tuple[float, ...] | None:
    """Return the intensities of a choice, None if it is a name."""
    if not isinstance(choice, str):
        return tuple(float(v) for v in choice)
    parts = choice.split(",")
    if len(parts) < 2:
        return None
    try:
        return tuple(float(part) for part in parts)
    except ValueError as error:
        raise InputError(f"window {choice!r}: low and high must be numbers") from error


def _resolve_one(stack: FrameStack, choice: WindowChoice) -> Window:
    name = stack.volume.name
    if not isinstance(choice, str):
        if len(choice) != 2:
            raise InputError(f"{name}: a window is a low and a high, not {len(choice)} numbers")
        return Window(*choice)
    if choice == "auto":
        return _auto_window(stack)
    if choice == "display":
        if stack.volume.display is None:
            raise InputError(f"{name}: states no display window; use 'auto' or give low,high")
        return Window(*stack.volume.display)
    if choice in CT_PRESETS:
        return _preset_window(stack, choice)
    raise InputError(
        f"unknown window {choice!r}; use auto, display, {', '.join(CT_PRESETS)} or low,high"
    )


def _auto_window(stack: FrameStack) -> Window:
    if stack.is_rgb and stack.volume.dtype == np.uint8:
        return Window(0.0, 255.0)
    values = sample_intensities(stack)
    if values.size == 0:
        raise InputError(f"{stack.volume.name}: holds no finite intensity (all nan or inf)")
    foreground = _without_background(values)
    low, high = np.percentile(foreground, _PERCENTILES)
    if low == high:
        low, high = values.min(), values.max()
    if low == high:
        raise InputError(
            f"{stack.volume.name}: the image is constant ({low:g} everywhere), there is nothing to "
            "segment; give a window low,high if that is meant"
        )
    return Window(float(low), float(high))


def _without_background(values: NDArray[np.float64]) -> NDArray[np.float64]:
    levels, counts = np.unique(values, return_counts=True)
    most = int(counts.argmax())
    if levels.size < 3 or counts[most] <= _BACKGROUND_SHARE * values.size:
        return values
    foreground: NDArray[np.float64] = values[values != levels[most]]
    return foreground


def _preset_window(stack: FrameStack, preset: str) -> Window:
    values = sample_intensities(stack)
    if values.size == 0 or values.min() >= -50:
        found = f"{values.min():g} to {values.max():g}" if values.size else "nothing finite"
        raise InputError(
            f"{stack.volume.name}: the CT window {preset!r} needs Hounsfield units (air near "
            f"-1000), but intensities are {found}; use 'auto' or give low,high"
        )
    return Window.from_width_level(*CT_PRESETS[preset])
