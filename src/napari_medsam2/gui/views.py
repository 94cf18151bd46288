"""Which axis the slider moves along, and where it stands, in the terms of an image layer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_medsam2.errors import InputError

from .adapters import nearest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari.components import Dims
    from napari.layers import Image

    from .adapters import FrameView

__all__ = [
    "current_frame",
    "frame_axis",
    "order_for",
    "position",
    "show_frame",
    "shows_frames",
    "slider_axes",
]


def slider_axes(dims: Dims, image: Image) -> tuple[int, ...]:
    """Return the axes of an image that have a slider, the likeliest frame axis last.

    Layers with fewer axes than the viewer are aligned with its last ones.
    """
    offset = dims.ndim - image.ndim
    return tuple(i - offset for i in dims.not_displayed if i >= offset)


def frame_axis(dims: Dims, image: Image, wanted: int | None, before: int | None = None) -> int:
    """Return the axis to propagate along.

    Parameters
    ----------
    dims : Dims
    image : Image
    wanted : int or None
        A person's choice; None follows the slider of the present view.
    before : int or None
        What to keep while no slider tells (in 3D).
    """
    if wanted is not None and wanted < image.ndim:
        return wanted
    # From 4D on a slider counts only if the plane on show is that of the frames along it.
    shown = tuple(i for i in range(image.ndim) if i not in slider_axes(dims, image))
    for axis in reversed(slider_axes(dims, image)):
        rest = [i for i in range(image.ndim) if i != axis]
        if tuple(rest[-2:]) == shown:
            return axis
    return before if before is not None and before < image.ndim else max(0, image.ndim - 3)


def order_for(dims: Dims, image: Image, view: FrameView) -> tuple[int, ...]:
    """Return the order of axes in which the slider moves along the frames of a session."""
    offset = dims.ndim - image.ndim
    assert view.axis is not None
    last = [view.axis, *view.plane]
    first = [i for i in range(image.ndim) if i not in last]
    return (*range(offset), *(i + offset for i in (*first, *last)))


def position(dims: Dims, image: Image, axis: int) -> int:
    """Return where the slider of an axis stands, as an index of the image, clipped to it."""
    value = nearest(float(image.world_to_data(dims.point)[axis]))
    return min(max(value, 0), _length(image, axis) - 1)


def current_frame(dims: Dims, image: Image, view: FrameView) -> int:
    """Return the frame on show.

    Raises
    ------
    InputError
        If the view shows no single frame, or the slider stands outside the image.
    """
    if view.axis is None:
        return 0
    if not shows_frames(dims, image, view):
        raise InputError(
            "this view shows no single slice of the chosen axis; turn to a 2D view of it, or "
            "choose the axis of the slider"
        )
    frame = nearest(float(image.world_to_data(dims.point)[view.axis]))
    if not 0 <= frame < view.n_frames:
        raise InputError(f"the slider stands outside {image.name}; move it onto the image")
    return frame


def shows_frames(dims: Dims, image: Image, view: FrameView) -> bool:
    """Whether the view shows one frame of a session, undivided."""
    return view.axis is None or view.axis in slider_axes(dims, image)


def show_frame(dims: Dims, image: Image, to: Mapping[int, int]) -> None:
    """Move sliders.

    Parameters
    ----------
    dims : Dims
    image : Image
        It may be scaled, moved, rotated.
    to : mapping of int to int
        For some axes of the image the index to go to.
    """
    index = [to.get(axis, position(dims, image, axis)) for axis in range(image.ndim)]
    world = image.data_to_world(index)
    offset = dims.ndim - image.ndim
    for axis in to:
        dims.set_point(axis + offset, world[axis])


def _length(image: Image, axis: int) -> int:
    data = image.data[0] if image.multiscale else image.data
    return int(data.shape[axis])
