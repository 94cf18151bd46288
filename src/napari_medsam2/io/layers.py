"""Volumes as napari layer tuples: (data, keyword arguments, type). Knows no napari."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medsam2.errors import InputError
from napari_medsam2.windows import resolve_window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_medsam2.volume import ArrayLike, Volume

__all__ = ["METADATA_KEY", "image_layers", "labels_layer"]

LayerData = tuple[Any, dict[str, Any], str]

# Where a layer's metadata hold its volume, for widget and writers.
METADATA_KEY = "napari_medsam2"

_PINT = {"px": "pixel"}


def image_layers(volume: Volume) -> list[LayerData]:
    """Return the image layers of a volume: one, or one for each channel that is no colour.

    Parameters
    ----------
    volume : Volume

    Returns
    -------
    list of (data, dict, "image")
        ``metadata["napari_medsam2"]["volume"]`` is the volume of the very layer.
    """
    if "c" not in volume.axes:
        return [_image_layer(volume, rgb=False)]
    if volume.axes.endswith("c") and volume.n_channels in (3, 4):
        return [_image_layer(volume, rgb=True)]
    return [_image_layer(_channel(volume, i), rgb=False) for i in range(volume.n_channels)]


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


def _image_layer(volume: Volume, rgb: bool) -> LayerData:
    kwargs = {
        **_placed(volume),
        "name": volume.name,
        "rgb": rgb,
        "metadata": {METADATA_KEY: {"volume": volume}},
    }
    limits = None if rgb else _contrast_limits(volume)
    if limits is not None:
        kwargs["contrast_limits"] = limits
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


def _channel(volume: Volume, index: int) -> Volume:
    axis = volume.axes.index("c")
    data: ArrayLike = _Channel(volume.data, axis, index)
    if isinstance(volume.data, np.ndarray):
        data = volume.data[(slice(None),) * axis + (index,)]
    return volume.with_data(
        data, axes=volume.label_axes, name=f"{volume.name} channel {index}", display=None
    )


@dataclass(frozen=True, eq=False)
class _Channel:
    """One channel of an array that is read lazily."""

    data: ArrayLike
    axis: int
    index: int

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(n for i, n in enumerate(self.data.shape) if i != self.axis)

    @property
    def dtype(self) -> Any:
        return self.data.dtype

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))

    def __getitem__(self, key: Any) -> Any:
        keys = key if isinstance(key, tuple) else (key,)
        if Ellipsis in [k for k in keys if k is Ellipsis]:
            at = next(i for i, k in enumerate(keys) if k is Ellipsis)
            fill = (slice(None),) * (self.ndim - len(keys) + 1)
            keys = (*keys[:at], *fill, *keys[at + 1 :])
        keys = (*keys, *(slice(None),) * (self.ndim - len(keys)))
        return self.data[(*keys[: self.axis], self.index, *keys[self.axis :])]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self[...], dtype=dtype)
