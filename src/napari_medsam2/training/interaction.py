"""A person who prompts, imitated while a model learns: in the square that the network sees.

First prompts are boxes that are a little off, a click somewhere inside, or a mask that is not
quite right; then clicks follow where the answer is wrong, as in Kirillov et al., "Segment Anything"
(2023), appendix A.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_medsam2.evaluation.simulate import innermost
from napari_medsam2.masks import bounding_box
from napari_medsam2.models.matching import SCALE

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Click", "blurred_mask", "error_click", "first_click", "loose_box"]

Click = tuple[float, float, int]
"""x, y and 1 (positive) or 0."""

# Shares of the object; pixels of a square of 256, more on a larger one.
_LOOSE, _LOOSEST, _MARGIN = 0.08, 12.0, 2.0
_CENTRE_SHARE = 0.4


def first_click(truth: NDArray[np.bool_], rng: np.random.Generator) -> Click:
    """Click on an object: its innermost pixel or, more often, somewhere inside."""
    if rng.random() < _CENTRE_SHARE:
        y, x = innermost(truth)
        return float(x), float(y), 1
    return (*_somewhere(truth, rng, depth=2), 1)


def error_click(
    found: NDArray[np.bool_], truth: NDArray[np.bool_], rng: np.random.Generator
) -> Click:
    """Click somewhere in what is missing or too much; on the object if nothing is wrong."""
    wrong = found ^ truth
    if not wrong.any():
        if truth.any():
            return (*_somewhere(truth, rng, depth=1), 1)
        return float(rng.integers(truth.shape[1])), float(rng.integers(truth.shape[0])), 0
    if rng.random() < _CENTRE_SHARE:
        parts, count = ndimage.label(wrong)
        sizes = np.bincount(parts.ravel(), minlength=count + 1)[1:]
        y, x = innermost(parts == 1 + int(sizes.argmax()))
        return float(x), float(y), int(truth[y, x])
    px, py = _somewhere(wrong, rng, depth=1)
    return px, py, int(truth[int(py), int(px)])


def loose_box(truth: NDArray[np.bool_], rng: np.random.Generator) -> NDArray[np.float32]:
    """Draw a box around an object, a little off: x0, y0, x1, y1 of first and last pixels."""
    y0, x0, y1, x1 = bounding_box(truth)
    sides = np.array([x1 - x0, y1 - y0] * 2, dtype=np.float64)
    pixel = max(truth.shape) / SCALE
    off = np.clip(rng.normal(0.0, _LOOSE, 4) * sides, -_LOOSEST * pixel, _LOOSEST * pixel)
    wider = rng.uniform(0, _MARGIN) * pixel * np.array([-1, -1, 1, 1])
    box = np.array([x0, y0, x1 - 1, y1 - 1]) + off + wider
    low, high = np.minimum(box[:2], box[2:]), np.maximum(box[:2], box[2:])
    drawn = np.concatenate([low, high])
    edge = np.array([*truth.shape[::-1]] * 2) - 1
    inside: NDArray[np.float32] = np.clip(drawn, 0, edge).astype(np.float32)
    return inside


def blurred_mask(
    truth: NDArray[np.bool_], rng: np.random.Generator, most: int = 5
) -> NDArray[np.bool_]:
    """Return a mask that is not quite right: grown, shrunk, moved, or as it is."""
    mask = truth
    way = rng.random()
    if way < 0.3:
        mask = ndimage.binary_dilation(mask, iterations=int(rng.integers(1, most)))
    elif way < 0.55:
        less = ndimage.binary_erosion(mask, iterations=int(rng.integers(1, max(2, most - 1))))
        mask = less if less.any() else mask
    if rng.random() < 0.4:
        by = rng.integers(-most, most + 1, 2)
        moved = ndimage.shift(mask.astype(np.uint8), by, order=0) > 0
        mask = moved if moved.any() else mask
    result: NDArray[np.bool_] = np.asarray(mask, dtype=bool)
    return result


def _somewhere(
    mask: NDArray[np.bool_], rng: np.random.Generator, depth: int
) -> tuple[float, float]:
    inside = ndimage.binary_erosion(mask, iterations=depth)
    ys, xs = np.nonzero(inside if inside.any() else mask)
    index = int(rng.integers(len(ys)))
    return float(xs[index]), float(ys[index])
