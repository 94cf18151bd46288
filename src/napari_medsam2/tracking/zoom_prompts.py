"""Prompts of a frame as prompts of a region of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_medsam2.prompts import (
    BoxPrompt,
    MaskPrompt,
    PointPrompt,
    PolygonPrompt,
    ScribblePrompt,
)

from .zoom import extent, union

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_medsam2.prompts import Prompt

    from .zoom import Area, Region

__all__ = ["Found", "area_of", "in_region", "is_clicked"]


@dataclass(frozen=True, eq=False)
class Found:
    """A mask that was found on a frame, to go on from.

    Attributes
    ----------
    frame : int
    bbox : (y0, x0, y1, x1)
        In the frame.
    mask : ndarray of bool
        (y1 - y0, x1 - x0).
    """

    frame: int
    bbox: Region
    mask: NDArray[np.bool_]

    def as_mask(self, region: Region) -> MaskPrompt:
        """Return the prompt that it is on a region, which holds it."""
        top, left, bottom, right = region
        whole = np.zeros((bottom - top, right - left), dtype=bool)
        y0, x0, y1, x1 = self.bbox
        whole[y0 - top : y1 - top, x0 - left : x1 - left] = self.mask
        return MaskPrompt(self.frame, whole)

    def as_box(self, region: Region) -> BoxPrompt:
        """Return the box around it on a region, for models that take no mask."""
        top, left = region[:2]
        y0, x0, y1, x1 = self.bbox
        # A mask of a single row or column is no box yet.
        y1, x1 = max(y1, y0 + 2), max(x1, x0 + 2)
        return BoxPrompt(self.frame, (y0 - top, x0 - left, y1 - top, x1 - left))


def is_clicked(prompts: Sequence[Prompt]) -> bool:
    """Whether nothing but points and scribbles tell where an object is, so not how large."""
    return all(isinstance(prompt, PointPrompt | ScribblePrompt) for prompt in prompts)


def area_of(prompts: Sequence[Prompt], shape: tuple[int, int]) -> Area:
    """Return where an object was said to be on a frame.

    Where nothing but what it is not was said, that counts instead.

    Parameters
    ----------
    prompts : sequence of Prompt
        At least one, all of one frame.
    shape : (height, width)
        Of the frame, to which the area is cut.
    """
    positive = [area for prompt in prompts for area in _areas(prompt, 1)]
    found = positive or [area for prompt in prompts for area in _areas(prompt, 0)]
    y0, x0, y1, x1 = union(*found)
    height, width = shape
    return max(y0, 0.0), max(x0, 0.0), min(y1, float(height)), min(x1, float(width))


def in_region(prompts: Sequence[Prompt], region: Region) -> tuple[Prompt, ...]:
    """Return the prompts that lie inside a region, in its own coordinates."""
    moved = (_in_region(prompt, region) for prompt in prompts)
    return tuple(prompt for prompt in moved if prompt is not None)


def _areas(prompt: Prompt, label: int) -> list[Area]:
    """Return where a prompt says that the object is (1) or is not (0)."""
    if isinstance(prompt, PointPrompt):
        pairs = zip(prompt.points, prompt.labels, strict=True)
        points = [point for point, its in pairs if its == label]
        return [_around(points)] if points else []
    if isinstance(prompt, ScribblePrompt):
        return [_around(prompt.path)] if prompt.label == label else []
    if label == 0:
        return []
    if isinstance(prompt, BoxPrompt):
        return [prompt.box]
    if isinstance(prompt, PolygonPrompt):
        return [_around(prompt.vertices)]
    return [prompt.bbox]


def _around(points: Sequence[tuple[float, float]]) -> Area:
    """Return the area of the pixels that have their centres at these points."""
    ys, xs = zip(*points, strict=True)
    return min(ys), min(xs), max(ys) + 1, max(xs) + 1


def _in_region(prompt: Prompt, region: Region) -> Prompt | None:
    top, left, bottom, right = region
    size = bottom - top, right - left
    if isinstance(prompt, BoxPrompt):
        y0, x0, y1, x1 = prompt.box
        cut = (max(y0, top), max(x0, left), min(y1, bottom), min(x1, right))
        if min(extent(cut)) <= 0:
            return None
        return replace(prompt, box=(y0 - top, x0 - left, y1 - top, x1 - left))
    if isinstance(prompt, MaskPrompt):
        mask = prompt.mask[top:bottom, left:right]
        return MaskPrompt(prompt.frame, mask) if mask.any() else None
    if isinstance(prompt, PolygonPrompt):
        return replace(prompt, vertices=_moved(prompt.vertices, region))
    if isinstance(prompt, ScribblePrompt):
        moved = replace(prompt, path=_moved(prompt.path, region))
        return moved if any(_inside(p, size) for p in moved.as_points().points) else None
    pairs = zip(_moved(prompt.points, region), prompt.labels, strict=True)
    kept = [(point, label) for point, label in pairs if _inside(point, size)]
    if not kept:
        return None
    points, labels = zip(*kept, strict=True)
    return replace(prompt, points=points, labels=labels)


def _moved(
    points: Sequence[tuple[float, float]], region: Region
) -> tuple[tuple[float, float], ...]:
    return tuple((y - region[0], x - region[1]) for y, x in points)


def _inside(point: tuple[float, float], size: tuple[int, int]) -> bool:
    return all(-0.5 <= v < n - 0.5 for v, n in zip(point, size, strict=True))
