"""From what a person said on a frame to what a network is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from napari_medsam2.errors import PromptError
from napari_medsam2.prompts import BoxPrompt, MaskPrompt, PointPrompt, PolygonPrompt, ScribblePrompt

from .base import FramePrompt

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_medsam2.prompts import ObjectPrompts

__all__ = ["frame_prompt"]


def frame_prompt(
    prompts: ObjectPrompts, frame: int, shape: tuple[int, int], *, refines: bool = False
) -> FramePrompt:
    """Collect the prompts of one object on one frame.

    Boxes are clipped to the frame, scribbles become chains of points (those outside the frame are
    left out), polygons and masks are united into one mask.

    Parameters
    ----------
    prompts : ObjectPrompts
    frame : int
    shape : (height, width)
        Of the frame in pixels.
    refines : bool
        See `FramePrompt`.

    Raises
    ------
    PromptError
        If nothing of a polygon lies inside the frame.
    """
    height, width = shape
    boxes: list[tuple[float, float, float, float]] = []
    points: list[tuple[float, float]] = []
    labels: list[int] = []
    strokes: list[int] = []
    masks: list[NDArray[np.bool_]] = []
    for prompt in prompts.on(frame):
        if isinstance(prompt, BoxPrompt):
            y0, x0, y1, x1 = prompt.box
            boxes.append((max(y0, 0), max(x0, 0), min(y1, height), min(x1, width)))
        elif isinstance(prompt, PointPrompt):
            points.extend(prompt.points)
            labels.extend(prompt.labels)
            strokes.extend([0] * len(prompt.labels))
        elif isinstance(prompt, ScribblePrompt):
            inside = [p for p in prompt.as_points().points if _inside(p, shape)]
            points.extend(inside)
            labels.extend([prompt.label] * len(inside))
            strokes.extend([max(strokes, default=0) + 1] * len(inside))
        elif isinstance(prompt, PolygonPrompt):
            masks.append(_fill(prompt, shape, prompts.id))
        elif isinstance(prompt, MaskPrompt):
            masks.append(prompt.mask)
    return FramePrompt(
        object_id=prompts.id,
        frame=frame,
        boxes=tuple(boxes),
        points=tuple(points),
        labels=tuple(labels),
        mask=np.logical_or.reduce(masks) if masks else None,
        refines=refines,
        strokes=tuple(strokes) if any(strokes) else (),
    )


def _inside(point: tuple[float, float], shape: tuple[int, int]) -> bool:
    return all(-0.5 <= v < n - 0.5 for v, n in zip(point, shape, strict=True))


def _fill(prompt: PolygonPrompt, shape: tuple[int, int], object_id: int) -> NDArray[np.bool_]:
    from skimage.draw import polygon2mask

    mask: NDArray[np.bool_] = polygon2mask(shape, np.asarray(prompt.vertices))
    if not mask.any():
        raise PromptError(
            f"object {object_id}, frame {prompt.frame}: the polygon encloses no pixel of the frame"
        )
    return mask
