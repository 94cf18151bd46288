"""Volumes as napari layer tuples: (data, keyword arguments, type). Knows no napari."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_medsam2.channels import one_channel
from napari_medsam2.errors import InputError
from napari_medsam2.windows import resolve_window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_medsam2.volume import Volume

__all__ = ["METADATA_KEY", "image_layers", "labels_layer"]

LayerData = tuple[Any, dict[str, Any], str]

# Where a layer's metadata hold its volume, for widget and writers.
METADATA_KEY = "napari_medsam2"

_PINT = {"px": "pixel"}

# As the model sees them blended, see `channels.blend`.
_TWO_COLOURS = ("green", "magenta")
_COLOURS = ("red", "green", "blue", "cyan", "magenta", "yellow")


def image_layers(volume: Volume) -> list[LayerData]:
    """Return the image layers of a volume: one, or one for each channel that is no colour.

    Parameters
    ----------
    volume : Volume

    Returns
    -------
    list of (data, dict, "image")
        ``metadata["napari_medsam2"]["volume"]`` is the volume of the very layer. Where that is one
        channel of several, "whole" is the volume with all of them and "channel" its number. A
        pyramid becomes a multiscale layer.
    """
    if "c" not in volume.axes:
        return [_image_layer(volume, rgb=False)]
    if volume.axes.endswith("c") and volume.n_channels in (3, 4):
        return [_image_layer(volume, rgb=True)]
    return [_channel_layer(volume, i) for i in range(volume.n_channels)]


def labels_layer(
    labels: NDArray[Any],
    volume: Volume,
    *,
    visible: bool = True,
    metadata: dict[str, Any] | None = None,
) -> LayerData:
    """Return a labels layer that lies on a volume, named "<volume> truth"."""
    kwargs = {
        **_placed(volume),
        "name": f"{volume.name} truth",
        "visible": visible,
        "metadata": {METADATA_KEY: {"volume": volume}, **(metadata or {})},
    }
    return labels, kwargs, "labels"


def _channel_layer(volume: Volume, index: int) -> LayerData:
    data, kwargs, kind = _image_layer(one_channel(volume, index), rgb=False)
    kwargs["metadata"][METADATA_KEY] |= {"whole": volume, "channel": index}
    two = volume.n_channels == 2
    colours = _TWO_COLOURS if two else _COLOURS
    return data, kwargs | {"colormap": colours[index % len(colours)], "blending": "additive"}, kind


def _image_layer(volume: Volume, rgb: bool) -> LayerData:
    kwargs: dict[str, Any] = {
        **_placed(volume),
        "name": volume.name,
        "rgb": rgb,
        "metadata": {METADATA_KEY: {"volume": volume}},
    }
    limits = None if rgb else _contrast_limits(volume)
    if limits is not None:
        kwargs["contrast_limits"] = limits
    if volume.levels:
        return [volume.data, *volume.levels], kwargs | {"multiscale": True}, "image"
    return volume.data, kwargs, "image"


def _placed(volume: Volume) -> dict[str, Any]:
    return {
        "scale": volume.spacing,
        "units": tuple(_PINT.get(u, u) for u in volume.units),
        "axis_labels": tuple(volume.label_axes),
    }


def _contrast_limits(volume: Volume) -> tuple[float, float] | None:
    """Return the header's window or one from a sample of frames; None for a constant image."""
    at = [n // 2 for n in volume.label_shape[1:-2]]
    try:
        window = resolve_window(volume.stack(0, at), "display" if volume.display else "auto")
    except InputError:
        return None
    return window.low, window.high
