"""Sample data that need no download: a real cine, and a phantom and cells made here with truth.

Each function without "layers" in its name gives volumes and arrays; the others wrap them for
napari's File > Open Sample.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from .dicom import read_file
from .layers import image_layers, labels_layer
from .sample_cells import CELL_DIVISION_FRAMES, cells
from .sample_phantom import PHANTOM_NAMES, phantom

if TYPE_CHECKING:
    from napari_medsam2.volume import Volume

    from .layers import LayerData

__all__ = [
    "CELL_DIVISION_FRAMES",
    "ECHO_LEFT_VENTRICLE",
    "PHANTOM_NAMES",
    "cells",
    "cells_layers",
    "echocardiogram",
    "echocardiogram_layers",
    "phantom",
    "phantom_layers",
]

# Frame, and the half-open box (y0, x0, y1, x1) drawn by hand around the cavity of the left
# ventricle in the apical view: septum on its left, lateral wall on its right, mitral valve below.
ECHO_LEFT_VENTRICLE: tuple[int, tuple[int, int, int, int]] = (0, (74, 152, 131, 200))


def echocardiogram() -> Volume:
    """Return an echocardiogram: 30 frames in colour, 33 ms apart.

    An anonymised cine of the heart through the apical window, which pydicom ships as an example
    (examples_ybr_color.dcm). It states no usable pixel size: its calibration is that of a larger
    picture.

    Returns
    -------
    Volume
        tyxc, (30, 240, 320, 3) uint8, spacing 0.033 s and pixels.
    """
    from pydicom import examples

    return replace(read_file(examples.get_path("ybr_color")), name="echocardiogram")


def echocardiogram_layers(*_: Any) -> list[LayerData]:
    """Return the echocardiogram as a napari layer."""
    return image_layers(echocardiogram())


def phantom_layers(*_: Any) -> list[LayerData]:
    """Return the phantom and its hidden truth as napari layers."""
    volume, labels = phantom()
    names: dict[str, Any] = {"names": PHANTOM_NAMES}
    return [*image_layers(volume), labels_layer(labels, volume, visible=False, metadata=names)]


def cells_layers(*_: Any) -> list[LayerData]:
    """Return the cells and their hidden truth as napari layers."""
    volume, labels = cells()
    lineage = {"lineage": volume.metadata["lineage"]}
    return [*image_layers(volume), labels_layer(labels, volume, visible=False, metadata=lineage)]
