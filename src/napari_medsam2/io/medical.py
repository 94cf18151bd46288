"""NIfTI, NRRD and MetaImage through SimpleITK: arrays in numpy's order, geometry in ITK's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medsam2.errors import ReadError
from napari_medsam2.volume import Geometry, Volume

from . import integrity

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["itk", "read_itk", "write_itk"]

_AXES = {2: "yx", 3: "zyx", 4: "tzyx"}
# What these formats measure in: millimetres and seconds.
_FACTORS = {
    "nm": 1e-6,
    "angstrom": 1e-7,
    "um": 1e-3,
    "cm": 10.0,
    "m": 1e3,
    "ms": 1e-3,
    "min": 60.0,
    "hour": 3600.0,
    "day": 86_400.0,
}
_FLOAT_NIFTI_TYPES = {16, 64, 1536}


def itk() -> Any:
    """Return SimpleITK, told to keep its warnings off the terminal."""
    import SimpleITK

    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    return SimpleITK


def read_itk(path: Path, kind: str) -> Volume:
    """Read a NIfTI, NRRD or MetaImage file.

    Parameters
    ----------
    path : Path
    kind : {"NIfTI", "NRRD", "MetaImage"}
        Names the reader, so that a file with another suffix is read all the same.

    Returns
    -------
    Volume
        Axes yx, zyx or tzyx, and c last where pixels have several values; spacing in mm and s;
        geometry of the spatial axes.
    """
    sitk = itk()
    if kind != "NRRD":
        integrity.check(path, kind)
    reader = sitk.ImageFileReader()
    reader.SetImageIO({"NIfTI": "Nifti", "NRRD": "Nrrd", "MetaImage": "Meta"}[kind] + "ImageIO")
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    if "complex" in sitk.GetPixelIDValueAsString(reader.GetPixelID()):
        raise ReadError("holds complex numbers; save magnitude or phase")
    image = reader.Execute()
    dimension = image.GetDimension()
    if dimension not in _AXES:
        raise ReadError(f"has {dimension} dimensions; 2 to 4 are understood")
    array = sitk.GetArrayFromImage(image)
    if kind == "NIfTI":
        array = _integers_again(array, image)
    colour = image.GetNumberOfComponentsPerPixel() > 1
    spatial = min(dimension, 3)
    time = "s" if kind != "NIfTI" or _states_time(image) else "px"
    units = (time,) * (dimension == 4) + ("mm",) * spatial
    return Volume(
        array,
        axes=_AXES[dimension] + "c" * colour,
        spacing=tuple(s if s > 0 else 1.0 for s in reversed(image.GetSpacing())),
        units=units,
        geometry=_geometry(image.GetOrigin(), image.GetDirection(), spatial),
        metadata={"format": kind},
    )


def write_itk(path: Path, labels: NDArray[Any], volume: Volume | None) -> None:
    """Write labels as NIfTI, NRRD or MetaImage, compressed, on the geometry of the volume."""
    sitk = itk()
    image = sitk.GetImageFromArray(labels, isVector=False)
    if volume is not None:
        dimension = labels.ndim
        steps = zip(volume.spacing, volume.units, strict=True)
        image.SetSpacing([s * _FACTORS.get(u, 1.0) for s, u in steps][::-1])
        if volume.geometry is not None:
            origin, direction = _fitted(volume.geometry, dimension)
            image.SetOrigin(origin)
            image.SetDirection(direction)
    sitk.WriteImage(image, str(path), useCompression=True)


def _geometry(origin: tuple[float, ...], direction: tuple[float, ...], spatial: int) -> Geometry:
    matrix = np.reshape(direction, (len(origin),) * 2)[:spatial, :spatial]
    return Geometry(tuple(origin[:spatial]), tuple(float(v) for v in matrix.ravel()))


def _fitted(geometry: Geometry, dimension: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Bring a geometry to the dimension of an array: time gets the origin 0 and its own axis."""
    n = min(len(geometry.origin), dimension)
    origin = np.zeros(dimension)
    origin[:n] = geometry.origin[:n]
    direction = np.eye(dimension)
    stated = np.reshape(geometry.direction, (len(geometry.origin),) * 2)[:n, :n]
    if abs(np.linalg.det(stated)) > 1e-6:
        direction[:n, :n] = stated
    return tuple(origin.tolist()), tuple(direction.ravel().tolist())


def _states_time(image: Any) -> bool:
    """Whether a NIfTI header names a unit of time, which ITK has turned into seconds."""
    key = "xyzt_units"
    return image.HasMetaDataKey(key) and int(image.GetMetaData(key)) & 0x38 in (8, 16, 24)


def _integers_again(array: NDArray[Any], image: Any) -> NDArray[Any]:
    """Undo ITK's conversion to float where NIfTI's scaling keeps integers whole."""
    keys = ("datatype", "scl_slope", "scl_inter")
    if array.dtype.kind != "f" or not all(image.HasMetaDataKey(k) for k in keys):
        return array
    datatype, slope, intercept = (float(image.GetMetaData(k)) for k in keys)
    if int(datatype) in _FLOAT_NIFTI_TYPES or slope % 1 or intercept % 1:
        return array
    low, high = int(array.min()), int(array.max())
    whole = (np.int16, np.uint16, np.int32, np.uint32, np.int64)
    fitting = (t for t in whole if np.iinfo(t).min <= low and high <= np.iinfo(t).max)
    # Beyond 2**24 the float32 that ITK gives has already lost the last digits.
    exact = array.dtype == np.float64 or max(-low, high) <= 2**24
    return array.astype(next(fitting)) if exact else array
