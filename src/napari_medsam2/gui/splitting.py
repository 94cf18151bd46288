"""Layers with an axis of channels: found, and taken apart into a layer for each channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Image

from napari_medsam2.errors import InputError
from napari_medsam2.io.layers import image_layers
from napari_medsam2.volume import Volume

from .layers import axis_letters, full_resolution, unit_symbol

if TYPE_CHECKING:
    from napari.components import ViewerModel
    from numpy.typing import NDArray

__all__ = ["channel_axes", "split_channels"]

# An unnamed axis with more entries is hardly one of channels; where there must be one, it may be.
_MOST, _MOST_OF_FIVE = 5, 64


def channel_axes(image: Image) -> tuple[int, ...]:
    """Return the axes of an image layer that may hold channels.

    That is the one named so; of axes without names those that are short and not in the plane.
    """
    letters = axis_letters(image)
    if image.rgb:
        return ()
    if letters is not None:
        return tuple(i for i, letter in enumerate(letters) if letter == "c")
    shape = full_resolution(image).shape
    most = _MOST_OF_FIVE if image.ndim > 4 else _MOST
    return tuple(i for i in range(image.ndim - 2) if 2 <= int(shape[i]) <= most)


def split_channels(viewer: ViewerModel, image: Image, axis: int) -> list[Image]:
    """Put a layer for each channel in the place of an image layer.

    The layers lie where the image lay, and know the image that they are channels of. No pixel is
    read but for the contrast limits.

    Parameters
    ----------
    viewer : ViewerModel
    image : Image
    axis : int
        The axis of channels, among those of the layer.

    Returns
    -------
    list of Image
        Added to the viewer; the image layer is removed.

    Raises
    ------
    InputError
        For an image whose other axes are too many.
    """
    kept = [i for i in range(image.ndim) if i != axis]
    letters = axis_letters(image)
    if letters is None:
        if len(kept) > 4:
            raise InputError(
                f"{image.name}: has {image.ndim} axes without names; time, depth and the plane "
                "are understood, and one axis of channels"
            )
        letters = "tzyx"[-len(kept) :]
        letters = f"{letters[:axis]}c{letters[axis:]}"
    levels = list(image.data) if image.multiscale else [image.data]
    whole = Volume(
        levels[0],
        axes=letters,
        spacing=tuple(abs(float(image.scale[i])) for i in kept),
        units=tuple(unit_symbol(image.units[i]) for i in kept),
        name=image.name,
        levels=tuple(levels[1:]),
    )
    placed = _placement(image, kept)
    layers = []
    for data, facts, _ in image_layers(whole):
        layers.append(Image(data, **{**facts, **placed, "visible": image.visible}))
    index = viewer.layers.index(image)
    for layer in reversed(layers):
        viewer.layers.insert(index + 1, layer)
    viewer.layers.remove(image)
    viewer.layers.selection.active = layers[0]
    return layers


def _placement(image: Image, kept: list[int]) -> dict[str, Any]:
    """Return where a layer without an axis lies, as scale and whatever is beyond it."""
    scale = np.asarray(image.scale, dtype=float)[kept]
    origin = np.asarray(image.data_to_world(np.zeros(image.ndim)), dtype=float)
    linear: NDArray[np.float64] = np.stack(
        [
            np.asarray(image.data_to_world(np.eye(image.ndim)[i]), dtype=float) - origin
            for i in kept
        ],
        axis=1,
    )[kept]
    beyond = linear / scale
    if np.allclose(beyond, np.eye(len(kept))):
        return {"scale": tuple(scale), "translate": tuple(origin[kept])}
    affine = np.eye(len(kept) + 1)
    affine[:-1, :-1], affine[:-1, -1] = beyond, origin[kept]
    return {"scale": tuple(scale), "affine": affine}
