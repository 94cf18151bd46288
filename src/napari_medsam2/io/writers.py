"""The npe2 writer: a Labels layer as a label file, on the geometry of its image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medsam2.errors import InputError
from napari_medsam2.volume import Volume

from .files import write_labels
from .layers import METADATA_KEY

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["write_layer"]


def write_layer(path: str, data: Any, attributes: Mapping[str, Any]) -> list[str]:
    """Write a Labels layer.

    Parameters
    ----------
    path : str
        The suffix chooses the format. An older file is replaced: napari's dialog has asked.
    data : array-like
        Labels; the full resolution where there are several.
    attributes : mapping
        The layer's keyword arguments. Geometry and spacing come from the volume that
        ``metadata["napari_medsam2"]`` holds, else from scale, units and axis labels.

    Returns
    -------
    list of str
        The path, if written.

    Raises
    ------
    WriteError
        As `write_labels`.
    """
    labels = np.asarray(data[0] if attributes.get("multiscale") else data)
    volume = _volume_of(labels, attributes)
    return [str(write_labels(path, labels, volume, overwrite=True))]


def _volume_of(labels: Any, attributes: Mapping[str, Any]) -> Volume | None:
    """Return the volume of a layer, or one made of what the layer says of itself."""
    facts = (attributes.get("metadata") or {}).get(METADATA_KEY) or {}
    volume = facts.get("volume") if isinstance(facts, dict) else None
    if isinstance(volume, Volume) and volume.label_shape == labels.shape:
        return volume
    scale = tuple(float(s) for s in attributes.get("scale") or (1.0,) * labels.ndim)
    units = tuple(_short(u) for u in attributes.get("units") or ("px",) * labels.ndim)
    axes = "".join(str(a) for a in attributes.get("axis_labels") or ())
    if len(axes) != labels.ndim or len(set(axes)) < len(axes) or set(axes) - set("tzyx"):
        axes = "tzyx"[-labels.ndim :]
    try:
        return Volume(labels, axes=axes, spacing=scale, units=units)
    except InputError:
        return None


def _short(unit: Any) -> str:
    """Return the symbol of a pint unit: mm, um, s, px."""
    name = f"{unit:~}" if hasattr(unit, "dimensionality") else str(unit)
    return {"pixel": "px", "µm": "um", "μm": "um"}.get(name, name)
