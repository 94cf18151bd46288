"""Labels that are there already, from this or another layer, as mask prompts."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels

from napari_medsam2.errors import InputError, PromptError
from napari_medsam2.prompts import (
    BoxPrompt,
    MaskPrompt,
    PointPrompt,
    PolygonPrompt,
    ScribblePrompt,
    check_object_id,
)

from .layers import preview_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari.components import ViewerModel
    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_medsam2.history import RunRecord
    from napari_medsam2.prompts import Prompt, PromptSet
    from napari_medsam2.volume import View

    from .adapters import FrameView

__all__ = ["bared", "is_preview", "masks_of", "other_labels", "plane_of", "told"]

# Of all masks together.
_MOST_PIXELS = 2**29

_SAID = {
    BoxPrompt: ("box", "boxes"),
    PolygonPrompt: ("outline", "outlines"),
    ScribblePrompt: ("scribble", "scribbles"),
    MaskPrompt: ("mask", "masks"),
}


def other_labels(
    viewer: ViewerModel, image: Image, shape: tuple[int, ...], result: Labels | None
) -> list[Labels]:
    """Return the labels layers of a shape or that of its planes, but those of our own.

    Parameters
    ----------
    viewer : ViewerModel
    image : Image
    shape : tuple of int
        Of the image's labels.
    result : Labels, optional
        The result layer of the image.
    """
    return [
        layer
        for layer in viewer.layers
        if isinstance(layer, Labels)
        and layer is not result
        and layer.name != preview_name(image)
        and not layer.multiscale
        and (layer.data.shape == shape or layer.data.shape == shape[-2:])
    ]


def plane_of(layer: Labels, view: FrameView, frame: int) -> NDArray[Any]:
    """Return the labels (y, x) of a layer on a frame.

    Raises
    ------
    InputError
        If the layer does not have the shape of the image, or of its frames.
    """
    shape = tuple(layer.data.shape)
    if shape == view.shape:
        place: list[Any] = [slice(None)] * len(shape)
        for axis, at in view.fixed:
            place[axis] = at
        if view.axis is not None:
            place[view.axis] = frame
        return np.asarray(layer.data[tuple(place)])
    if shape == view.frame_shape:
        return np.asarray(layer.data)
    raise InputError(
        f"{layer.name} has the shape {shape}, the image {view.shape}: labels can be used as "
        "prompts if they have the shape of the image or of its slices"
    )


def masks_of(
    layer: Labels, view: FrameView, frame: int, value: int | None, object_id: int
) -> dict[int, NDArray[np.bool_]]:
    """Return masks (y, x) by object id.

    Parameters
    ----------
    layer : Labels
    view : FrameView
    frame : int
    value : int or None
        A label, whose mask is for `object_id`; None takes every label of the frame, each for the
        object of its own number.
    object_id : int

    Raises
    ------
    InputError, PromptError
        If the layer does not fit, there is nothing on the frame, or a label is no object id.
    """
    plane = plane_of(layer, view, frame)
    masks = _every(layer, plane) if value is None else {object_id: plane == value}
    if not any(mask.any() for mask in masks.values()):
        what = "no label" if value is None else f"no label {value}"
        raise PromptError(f"{layer.name} has {what} on this slice: go to one where it has")
    return masks


def _every(layer: Labels, plane: NDArray[Any]) -> dict[int, NDArray[np.bool_]]:
    from scipy import ndimage

    check_object_id(max(1, int(plane.max(initial=0))))
    # Boxes in one pass: comparing the whole plane with each of hundreds of labels takes seconds.
    boxes = ndimage.find_objects(plane.astype(np.int32, copy=False))
    found = [(number, box) for number, box in enumerate(boxes, 1) if box is not None]
    if len(found) * plane.size > _MOST_PIXELS:
        raise InputError(
            f"{layer.name} has {len(found)} labels on this slice, too many to be prompts at once "
            "in an image of this size; choose one of them"
        )
    masks = {}
    for number, box in found:
        masks[number] = np.zeros(plane.shape, dtype=bool)
        masks[number][box] = plane[box] == number
    return masks


def told(prompts: Sequence[Prompt]) -> str:
    """Return in words what was said: "1 box, 2 clicks"."""
    kinds = Counter(type(p) for p in prompts)
    clicks = sum(len(p.points) for p in prompts if isinstance(p, PointPrompt))
    parts = [
        f"{kinds[kind]} {one if kinds[kind] == 1 else many}"
        for kind, (one, many) in _SAID.items()
        if kinds[kind]
    ]
    if clicks:
        parts.insert(min(1, len(parts)), f"{clicks} click{'s' * (clicks > 1)}")
    return ", ".join(parts)


def bared(before: PromptSet, after: PromptSet) -> tuple[tuple[int, int], ...]:
    """Return the (object id, frame) pairs whose last prompt is gone."""
    pairs = ((o.id, frame) for o in before.objects for frame in o.frames)
    return tuple(
        (object_id, frame)
        for object_id, frame in pairs
        if object_id not in after or not after[object_id].on(frame)
    )


def is_preview(runs: Sequence[RunRecord], view: View, object_id: int, frame: int) -> bool:
    """Whether an object's mask on a frame of a view came from its prompts there and nothing else.

    A mask that was propagated, painted or seen from another side stays when its prompts go.
    """
    for run in reversed(runs):
        written = [w for w in run.writes if w.object_id == object_id]
        if object_id not in run.prompts and not written:
            continue
        if run.kind == "remove":
            return True
        if run.kind == "propagate" or run.view not in (None, view):
            return False
        here = [w for w in written if w.frame == frame]
        if here:
            y0, _, y1, _ = here[-1].bbox
            return y0 == y1  # an empty one began anew
    return True
