"""Raw intensities of an image inside an object, read a plane at a time. Numpy only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from .frames import FrameStack

__all__ = ["Intensity", "read_plane"]


@dataclass(frozen=True)
class Intensity:
    """Raw intensities of the image inside an object; pixels that are not finite are left out.

    Attributes
    ----------
    n : int
        Pixels.
    mean, sd, low, high : float
        nan if there is none; sd is that of the pixels themselves (divided by n).
    """

    n: int = 0
    mean: float = math.nan
    sd: float = math.nan
    low: float = math.nan
    high: float = math.nan

    def with_values(self, values: NDArray[Any]) -> Intensity:
        """Return the intensities of these and further pixels (Chan's update)."""
        values = values.astype(np.float64)
        values = values[np.isfinite(values)]
        if not values.size:
            return self
        mean, n = float(values.mean()), self.n + values.size
        squares = float(((values - mean) ** 2).sum())
        low, high = float(values.min()), float(values.max())
        if not self.n:
            return Intensity(n, mean, math.sqrt(squares / n), low, high)
        apart = mean - self.mean
        squares += self.sd**2 * self.n + apart**2 * self.n * values.size / n
        return Intensity(
            n,
            self.mean + apart * values.size / n,
            math.sqrt(squares / n),
            min(self.low, low),
            max(self.high, high),
        )


def read_plane(stack: FrameStack, at: Mapping[int, int]) -> NDArray[Any]:
    """Read a plane of the image, of a stack's channel; several channels, or colours, are averaged.

    Parameters
    ----------
    stack : FrameStack
    at : mapping of int to int
        Where the plane stands on the label axes that are not its own.
    """
    volume = stack.volume
    fixed: dict[str, int] = {volume.label_axes[i]: position for i, position in at.items()}
    planes = [
        np.asarray(volume.data[tuple((fixed | {"c": c}).get(a, slice(None)) for a in volume.axes)])
        for c in _channels(stack)
    ]
    return planes[0] if len(planes) == 1 else np.mean(planes, axis=0)


def _channels(stack: FrameStack) -> tuple[int, ...]:
    if isinstance(stack.channel, tuple):
        return stack.channel
    if stack.channel is None and stack.volume.has_colour:
        return 0, 1, 2
    return (stack.channel or 0,)
