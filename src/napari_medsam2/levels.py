"""Pyramids: which of several copies of an image, each coarser than the last, a model sees.

Prompts, labels and results always are those of the full image. Only the pixels that the image
encoder is given come from a coarser level; it would shrink the frame to its own input anyway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .volume import ArrayLike

__all__ = ["ENOUGH_PIXELS", "auto_level", "check_levels", "position_at"]

ENOUGH_PIXELS = 1024
"""Pixels of a frame's shorter side that are enough: the largest input that the models have."""


def auto_level(frames: Sequence[tuple[int, int]]) -> int:
    """Return the coarsest level that still holds all that a model can see.

    Parameters
    ----------
    frames : sequence of (height, width)
        Of a frame at every level, the full one first.

    Returns
    -------
    int
        The last level whose shorter side has `ENOUGH_PIXELS`; 0 if only the full image has them,
        or not even that.
    """
    enough = [level for level, shape in enumerate(frames) if min(shape) >= ENOUGH_PIXELS]
    return max(enough, default=0)


def position_at(index: int, full: int, coarse: int) -> int:
    """Return where a position along an axis of `full` entries lies on one of `coarse` entries."""
    return min(int((index + 0.5) * coarse / full), coarse - 1)


def check_levels(data: ArrayLike, levels: Sequence[ArrayLike], axes: str, name: str) -> None:
    """Raise `InputError` for levels that are not ever coarser copies of the image."""
    before = tuple(int(n) for n in data.shape)
    for number, level in enumerate(levels, start=1):
        shape = tuple(int(n) for n in level.shape)
        fits = len(shape) == len(before) and all(
            0 < n <= m and (axis != "c" or n == m)
            for n, m, axis in zip(shape, before, axes, strict=False)
        )
        if not fits:
            raise InputError(
                f"{name}: level {number} of the pyramid has the shape {shape}, the one before "
                f"{before}; levels must have the same axes and become smaller"
            )
        before = shape
