"""The layers that the widget makes: boxes, points and labels that lie exactly on their image."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from napari.layers import Image, Labels, Points, Shapes
from napari.utils.colormaps import CyclicLabelColormap

from napari_medsam2.errors import InputError
from napari_medsam2.volume import Volume

from .adapters import nearest
from .unnoticed import sparing_the_old, unnoticed

if TYPE_CHECKING:
    from napari.components import Dims, ViewerModel
    from numpy.typing import NDArray

__all__ = [
    "METADATA_KEY",
    "PALETTE",
    "add_behind_selection",
    "align",
    "axis_letters",
    "boxes_name",
    "existing",
    "full_resolution",
    "is_same",
    "label_colormap",
    "labels_name",
    "new_boxes",
    "new_labels",
    "new_points",
    "placement",
    "points_name",
    "snap",
    "spare_overlays",
    "take_out",
    "preview_name",
    "rehearse",
    "unit_symbol",
    "volume_of",
]

# Where our reader leaves the volume of a layer.
METADATA_KEY = "napari_medsam2"

# Bright, told apart on grey images and with most forms of colour blindness; label 1 first.
PALETTE = (
    "#ff9f1c",
    "#2ec4ff",
    "#4ce06b",
    "#ff5fa2",
    "#ffe14d",
    "#a97bff",
    "#ff5a4f",
    "#1de9c6",
    "#c6ff4a",
    "#6f8cff",
    "#ff8f6b",
    "#e17bff",
)

# What other readers call the axes.
_LETTERS = {"time": "t", "depth": "z", "channel": "c", "channels": "c", "ch": "c"}

_PLACED = ("scale", "translate", "rotate", "shear", "affine", "units", "axis_labels")
_POINT_PX = (4, 14)  # diameter on the screen at least and at most
_BOX_LINE = 1.2  # edge width in screen pixels, roughly: napari scales it with the voxel

AnyLayer = TypeVar("AnyLayer")


def boxes_name(image: Image) -> str:
    """Return the name of an image's layer of boxes."""
    return f"{image.name} boxes"


def points_name(image: Image) -> str:
    """Return the name of an image's layer of points."""
    return f"{image.name} points"


def labels_name(image: Image) -> str:
    """Return the name of an image's result layer."""
    return f"{image.name} [MedSAM2]"


def preview_name(image: Image) -> str:
    """Return the name of an image's layer of changes that are yet to be made."""
    return f"{image.name} preview"


def full_resolution(image: Image) -> Any:
    """Return the array of an image layer, of its finest level if it has several."""
    return image.data[0] if image.multiscale else image.data


def volume_of(image: Image) -> Volume:
    """Return an image layer as a volume.

    A volume that our reader left with the layer serves if it still fits; otherwise axes, spacing,
    units and the levels of a pyramid are those of the layer.

    Raises
    ------
    InputError
        For a layer whose axes cannot be segmented.
    """
    data = full_resolution(image)
    shape = tuple(int(n) for n in data.shape)
    known = (image.metadata.get(METADATA_KEY) or {}).get("volume")
    if isinstance(known, Volume) and known.shape == shape:
        return known
    n, letters = image.ndim, axis_letters(image)
    if "c" in (letters or ""):
        raise InputError(
            f"{image.name}: has an axis of channels; press Split channels under Image, then choose "
            "the channels to segment"
        )
    if n > 4:
        raise InputError(
            f"{image.name}: has {n} axes; if one of them holds channels, press Split channels "
            "under Image, else split it (right click on the layer > Split Stack)"
        )
    return Volume(
        data,
        axes=(letters or "tzyx"[-n:]) + "c" * bool(image.rgb),
        spacing=tuple(abs(float(s)) for s in image.scale),  # negative is mirrored
        units=tuple(unit_symbol(u) for u in image.units),
        name=image.name,
        levels=tuple(image.data[1:]) if image.multiscale else (),
    )


def axis_letters(image: Image) -> str | None:
    """Return the names of a layer's axes as letters out of "tzyxc", None if they are no such."""
    named = [str(label).lower() for label in image.axis_labels]
    letters = [_LETTERS.get(name, name) for name in named]
    known = len(set(letters)) == image.ndim and set(letters) <= set("tzyxc")
    return "".join(letters) if known else None


def placement(image: Image) -> dict[str, Any]:
    """Return the transform of an image layer as keyword arguments for another layer."""
    return {name: getattr(image, name) for name in _PLACED}


def align(layer: Labels | Points | Shapes, image: Image) -> None:
    """Put a layer where its image is, should that have been moved."""
    for name, value in placement(image).items():
        if not is_same(getattr(layer, name), value):
            setattr(layer, name, value)


def snap(layer: Points | Shapes, image: Image, dims: Dims) -> None:
    """Move a layer along the sliders so that it shows one of its own slices exactly.

    Sliders move in the steps of the finest layer and so may stand between two slices of an image.
    A shape that is drawn there is on no slice, and napari fails. Until `align`, the layer lies a
    part of a slice, less than a half, beside its image; that is not to be seen.
    """
    offset = dims.ndim - image.ndim
    at = image.world_to_data(dims.point)
    translate = np.array(image.translate, dtype=float)
    for axis in (i - offset for i in dims.not_displayed if i >= offset):
        between = float(at[axis]) - nearest(float(at[axis]))
        translate[axis] += between * float(image.scale[axis])
    if not np.allclose(layer.translate, translate, atol=1e-9):
        layer.translate = translate


def is_same(a: Any, b: Any) -> bool:
    """Whether two arrays, transforms or tuples are equal."""
    a, b = (getattr(v, "affine_matrix", v) for v in (a, b))
    if isinstance(a, tuple) and not all(isinstance(v, float | int) for v in a):
        return bool(a == b)
    return bool(np.array_equal(a, b))


def label_colormap() -> CyclicLabelColormap:
    """Return the colours of object ids: 0 is transparent, 1 the first of `PALETTE`, and around."""
    rgba = [[int(c[i : i + 2], 16) / 255 for i in (1, 3, 5)] + [1.0] for c in PALETTE]
    return CyclicLabelColormap(
        name="MedSAM2", colors=np.array([[0.0] * 4, *rgba], dtype=np.float32)
    )


def new_labels(image: Image, labels: NDArray[Any], volume: Volume) -> Labels:
    """Make the result layer of an image; it shares the memory of `labels`."""
    layer = Labels(
        labels,
        name=labels_name(image),
        colormap=label_colormap(),
        opacity=0.5,
        metadata={METADATA_KEY: {"volume": volume}},
        **placement(image),
    )
    spare_overlays(layer)
    return layer


def new_boxes(image: Image) -> Shapes:
    """Make an empty layer for the boxes of an image."""
    return Shapes(
        None,
        ndim=image.ndim,
        name=boxes_name(image),
        features=_no_features(),
        face_color="transparent",
        edge_width=max(1.0, _BOX_LINE * _shorter_side(image) / 256),
        opacity=1.0,
        **placement(image),
    )


def new_points(image: Image) -> Points:
    """Make an empty layer for the clicks on an image."""
    return Points(
        None,
        ndim=image.ndim,
        name=points_name(image),
        features={**_no_features(), "axis": np.array([], dtype=np.int64)},
        size=max(2.0, _shorter_side(image) / 40),
        # Seen on the whole of a slide, and no larger than a cell when one looks closely.
        canvas_size_limits=_POINT_PX,
        border_color="white",
        border_width=0.12,
        **placement(image),
    )


@unnoticed()
def rehearse() -> None:
    """Make layers that nobody sees, once, for what comes with the first; called in a thread.

    For its first shapes napari loads numba and pandas, and what numba has compiled for a layer
    that begins empty; vispy computes the patterns of all dashed lines. Otherwise the window would
    stand still for that when a person takes up the first tool.
    """
    from vispy.visuals.line.dash_atlas import DashAtlas

    DashAtlas()
    Shapes(None, ndim=2)
    square = np.array([[0, 0], [0, 2], [2, 2], [2, 0]], dtype=float)
    some = {"object_id": np.array([1]), "polarity": np.array(["positive"], dtype=object)}
    Shapes([square], features=some)
    Points(square[:1], features=some)
    Labels(np.zeros((2, 2), dtype=np.uint16), colormap=label_colormap())


def existing(viewer: ViewerModel, name: str, kind: type[AnyLayer]) -> AnyLayer | None:
    """Return the viewer's layer of this name and kind, None if there is none."""
    for layer in viewer.layers:
        if layer.name == name and isinstance(layer, kind):
            return layer
    return None


def add_behind_selection(viewer: ViewerModel, layer: Labels | Points | Shapes) -> None:
    """Add a layer without taking the selection away from where the user works."""
    selected = viewer.layers.selection
    before, active = set(selected), selected.active
    viewer.add_layer(layer)
    selected.clear()
    selected.update(before)
    selected.active = active


def take_out(viewer: ViewerModel, layer: Labels | Points | Shapes) -> None:
    """Remove a layer of ours, if it is there, without holding the window up for long."""
    if layer in viewer.layers:
        with sparing_the_old():
            viewer.layers.remove(layer)


def spare_overlays(layer: Labels) -> None:
    """Let napari draw polygon and brush outline once they are used, not with the layer.

    They take two fifths of the time for which a new Labels layer holds the window.
    """
    for overlay in layer._overlays.values():
        if getattr(overlay, "enabled", True):
            continue
        overlay.visible = False
        overlay.events.enabled.connect(partial(_show_overlay, overlay))


def _show_overlay(overlay: Any, event: Any = None) -> None:
    overlay.visible = True


def _no_features() -> dict[str, NDArray[Any]]:
    return {
        "object_id": np.array([], dtype=np.int64),
        "polarity": np.array([], dtype=object),
    }


def _shorter_side(image: Image) -> int:
    return min(int(n) for n in full_resolution(image).shape[: image.ndim][-2:])


def unit_symbol(unit: Any) -> str:
    """Return the short name of a layer's unit, as a volume has it."""
    name = f"{unit:~}" if hasattr(unit, "dimensionality") else str(unit)
    return {"pixel": "px", "µm": "um", "μm": "um"}.get(name, name)
