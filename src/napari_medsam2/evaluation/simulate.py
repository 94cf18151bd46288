"""Prompts as a person would give them, made from the truth.

Boxes are those of the true mask, moved by up to so many pixels on each side (Ma et al., "Segment
anything in medical images", 2024, move them by 0 to 20); points are the innermost one and further
ones at random (Dong et al., 2024); clicks go to the middle of the largest error (Ravi et al., "SAM
2", 2024, and the interactive segmentation literature before it).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_medsam2.errors import InputError
from napari_medsam2.masks import bounding_box
from napari_medsam2.prompts import BoxPrompt, MaskPrompt, PointPrompt

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_medsam2.prompts import Prompt

__all__ = ["PROMPTS", "click_in_error", "innermost", "simulate"]

PROMPTS = ("box", "point", "points3", "mask")
"""Kinds of prompts; a box may carry a jitter, as "box+10px"."""
_EXTRA_POINTS = 2
_LEAST_SIDE = 2


def simulate(
    kind: str, truth: NDArray[np.bool_], frame: int, rng: np.random.Generator
) -> tuple[Prompt, ...]:
    """Prompt an object on one frame.

    Parameters
    ----------
    kind : str
        One of `PROMPTS`, or "box+Npx": each side moved outwards or inwards by up to N pixels.
    truth : ndarray of bool
        (y, x), with at least one pixel.
    frame : int
    rng : numpy.random.Generator

    Raises
    ------
    InputError
        For an unknown kind or an empty truth.
    """
    if not truth.any():
        raise InputError(f"frame {frame}: there is no object to prompt")
    if kind == "box":
        return (BoxPrompt(frame, _drawable(bounding_box(truth), truth.shape)),)
    if kind.startswith("box+") and kind.endswith("px") and kind[4:-2].isdecimal():
        return (BoxPrompt(frame, _jittered(truth, int(kind[4:-2]), rng)),)
    if kind == "mask":
        return (MaskPrompt(frame, truth),)
    if kind == "point":
        return (PointPrompt(frame, (innermost(truth),), (1,)),)
    if kind == "points3":
        points = (innermost(truth), *_random_points(truth, _EXTRA_POINTS, rng))
        return (PointPrompt(frame, points, (1,) * len(points)),)
    raise InputError(f"unknown prompt {kind!r}; use {', '.join(PROMPTS)} or box+Npx")


def innermost(mask: NDArray[np.bool_]) -> tuple[int, int]:
    """Return the pixel (y, x) that is farthest from the border of a mask, which is not empty."""
    y0, x0, y1, x1 = bounding_box(mask)
    # Padded, so that the border of the image is a border of the object.
    inside = np.pad(mask[y0:y1, x0:x1], 1)
    depth = ndimage.distance_transform_edt(inside)
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(y) + y0 - 1, int(x) + x0 - 1


def click_in_error(
    found: NDArray[np.bool_], truth: NDArray[np.bool_]
) -> tuple[tuple[int, int], int] | None:
    """Return where the next click goes and its label, None if nothing is wrong.

    Parameters
    ----------
    found, truth : ndarray of bool
        (y, x).

    Returns
    -------
    ((y, x), label) or None
        The innermost pixel of the largest connected error: 1 if it is missing, 0 if too much.
    """
    largest: NDArray[np.bool_] | None = None
    size, label = 0, 0
    for error, meaning in ((truth & ~found, 1), (found & ~truth, 0)):
        parts, count = ndimage.label(error)
        if not count:
            continue
        sizes = np.bincount(parts.ravel())[1:]
        if sizes.max() > size:
            size, label = int(sizes.max()), meaning
            largest = parts == int(sizes.argmax()) + 1
    return None if largest is None else (innermost(largest), label)


def _jittered(
    truth: NDArray[np.bool_], by: int, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    y0, x0, y1, x1 = np.add(bounding_box(truth), rng.integers(-by, by + 1, 4)).tolist()
    return _drawable((y0, x0, y1, x1), truth.shape)


def _drawable(box: tuple[int, int, int, int], shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return a box inside the image that is large enough to be drawn: 2 x 2 pixels."""
    y0, x0, y1, x1 = box
    (y0, y1), (x0, x1) = (
        _side(low, high, n) for low, high, n in ((y0, y1, shape[0]), (x0, x1, shape[1]))
    )
    return y0, x0, y1, x1


def _side(low: int, high: int, length: int) -> tuple[int, int]:
    low = min(max(low, 0), max(length - _LEAST_SIDE, 0))
    return low, min(max(high, low + _LEAST_SIDE), length)


def _random_points(
    truth: NDArray[np.bool_], count: int, rng: np.random.Generator
) -> list[tuple[int, int]]:
    pixels = np.argwhere(truth)
    chosen = rng.choice(len(pixels), size=count, replace=len(pixels) < count)
    return [(int(y), int(x)) for y, x in pixels[chosen]]
