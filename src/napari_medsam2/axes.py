"""The names of an image's axes: guessed, and checked against the array. Numpy only."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import InputError

if TYPE_CHECKING:
    import numpy as np

__all__ = ["check_axes", "check_dtype", "guess_axes"]

_AXES = "tzyxc"


def guess_axes(shape: tuple[int, ...]) -> str:
    """Guess axes from a shape: a last axis of 3 or 4 is colour, else yx, zyx, tzyx.

    Raises
    ------
    InputError
        For fewer than two or more than five axes.
    """
    if not 2 <= len(shape) <= 5:
        raise InputError(f"an image of shape {shape} has {len(shape)} axes; 2 to 5 are understood")
    colour = len(shape) > 2 and shape[-1] in (3, 4) and min(shape[-3:-1]) > 4
    spatial = len(shape) - colour
    if spatial == 5:
        raise InputError(f"the axes of shape {shape} cannot be guessed; name them, e.g. 'tczyx'")
    return "tzyx"[4 - spatial :] + "c" * colour


def check_axes(axes: str, shape: tuple[int, ...], name: str) -> None:
    """Raise `InputError` for names that do not fit an array, or an array that is no image."""
    if len(axes) != len(shape):
        raise InputError(
            f"{name}: axes {axes!r} name {len(axes)} axes, the array has shape {shape}"
        )
    if len(set(axes)) != len(axes) or not set(axes) <= set(_AXES):
        raise InputError(f"{name}: axes {axes!r} must be different letters out of {_AXES!r}")
    if len(axes.replace("c", "")) < 2:
        raise InputError(f"{name}: an image needs at least two axes besides channels, got {axes!r}")
    if 0 in shape:
        raise InputError(f"{name}: the image is empty (shape {shape})")


def check_dtype(dtype: np.dtype[Any], name: str) -> None:
    """Raise `InputError` for a type that is no intensity."""
    if dtype.kind not in "buif":
        raise InputError(
            f"{name}: intensities of type {dtype} cannot be segmented; convert to integers or "
            "floats"
        )
