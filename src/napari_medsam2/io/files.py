"""Opening and saving by path: what kind of file it is, who reads it, and what went wrong.

The readers and writers themselves are in `medical`, `dicom`, `tiff`, `arrays` and `images`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from napari_medsam2.errors import MedSAM2Error, ReadError, WriteError

from . import arrays, dicom, images, medical, tiff
from .atomic import atomic_path, check_target
from .kinds import sniff, suffix_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_medsam2.volume import Volume

__all__ = ["WRITABLE", "compact_labels", "read", "read_labels", "write_labels"]

_T = TypeVar("_T")
StrPath = str | os.PathLike[str]


def read(path: StrPath, *, axes: str | None = None, series: int | str | None = None) -> Volume:
    """Read an image of any supported kind.

    Parameters
    ----------
    path : path-like
        A file, or the folder of a DICOM series.
    axes : str, optional
        Names for the axes of the array, one letter each out of ``tzyxc``, where the file does not
        say or says it wrong ("zyx" for a TIFF stack of slices without names). Spacing stays with
        its position.
    series : int or str, optional
        Which series of a DICOM folder that holds several: its number in the list that the error
        shows (from 1), or its series UID.

    Returns
    -------
    Volume
        Intensities as stored (DICOM and NIfTI rescaled to their real values; integers stay integers
        unless the slope is fractional). TIFF stacks and .npy are read lazily.

    Raises
    ------
    ReadError
        If there is no such file, or it is empty, damaged, of an unknown kind, or ambiguous.
    """
    path = _existing(path)
    name = path.name.removesuffix(suffix_of(path)) or path.name
    if path.is_dir():
        volume = _guarded(lambda: dicom.read_folder(path, series), path, "DICOM series")
    else:
        kind = sniff(path)
        volume = _guarded(lambda: _READERS[kind](path, axes), path, kind)
    volume = volume.with_data(volume.data, name=name, source=str(path.resolve()))
    if axes is not None and volume.axes != axes:
        volume = _guarded(lambda: rename_axes(volume, axes), path, "image")
    return volume


def read_labels(path: StrPath) -> NDArray[Any]:
    """Read a label image: whole numbers, 0 for background.

    Parameters
    ----------
    path : path-like
        As for `read`. The ids of paletted PNG and GIF are kept; floats are accepted if they are
        whole numbers.

    Returns
    -------
    ndarray
        Integers, shape as stored.

    Raises
    ------
    ReadError
        If the file cannot be read or does not hold labels.
    """
    path = _existing(path)
    kind = "DICOM series" if path.is_dir() else sniff(path)
    special: dict[str, Callable[[], NDArray[Any]]] = {
        "npz": lambda: arrays.read_npz_labels(path),
        **{k: (lambda: images.read_indices(path)) for k in ("PNG", "GIF", "BMP", "JPEG")},
    }
    if kind in special:
        labels = _guarded(special[kind], path, kind)
    else:
        volume = read(path)
        if volume.axes[-1:] == "c":
            raise ReadError(
                f"{path.name}: is a colour image of shape {volume.shape}; labels have one value "
                "per pixel"
            )
        labels = np.asarray(volume.data)
    return _as_integers(labels, path)


def write_labels(
    path: StrPath,
    labels: NDArray[Any],
    volume: Volume | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write a label array, with the spacing and geometry of its image.

    The file appears whole or not at all, in the smallest unsigned type that holds the ids.

    Parameters
    ----------
    path : path-like
        The suffix chooses the format: .nii, .nii.gz, .nrrd, .mha, .tif, .tiff, .npy, .npz.
    labels : ndarray
        Whole numbers from 0, of any integer or boolean type; shape ``volume.label_shape``.
    volume : Volume, optional
        The image that was segmented, for axes, spacing, units and geometry.
    overwrite : bool
        Replace a file that exists.

    Returns
    -------
    Path
        What was written.

    Raises
    ------
    WriteError
        For an unknown suffix, a missing or unwritable folder, a file that exists, labels that are
        not whole numbers from 0 or do not fit the volume.
    """
    path = Path(path)
    suffix = suffix_of(path)
    if suffix not in _WRITERS:
        given = f"the suffix {suffix!r}" if suffix else "no suffix"
        raise WriteError(f"{path.name}: {given} names no label format; use {', '.join(_WRITERS)}")
    compact = compact_labels(labels, path.name)
    if volume is not None and compact.shape != volume.label_shape:
        raise WriteError(
            f"{path.name}: labels of shape {compact.shape} do not fit {volume.name} "
            f"{volume.label_shape}"
        )
    check_target(path, overwrite)
    with atomic_path(path, overwrite) as temporary:
        _WRITERS[suffix](temporary, compact, volume)
    return path


def compact_labels(labels: NDArray[Any], name: str = "labels") -> NDArray[Any]:
    """Return labels in the smallest of uint8, uint16, uint32 and uint64 that holds their ids.

    Raises
    ------
    WriteError
        If they are no whole numbers from 0.
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "bui":
        raise WriteError(
            f"{name}: labels are of type {labels.dtype}; convert them to whole numbers first"
        )
    if labels.size == 0:
        raise WriteError(f"{name}: the label array is empty (shape {labels.shape})")
    if labels.dtype.kind == "i" and labels.min() < 0:
        raise WriteError(f"{name}: labels are 0 or more, found {labels.min()}")
    return labels.astype(np.min_scalar_type(int(labels.max())), copy=False)


def rename_axes(volume: Volume, axes: str) -> Volume:
    """Return a volume with other names for its axes; spacing and unit stay with their position."""
    facts = zip(volume.spacing, volume.units, strict=True)
    stated = dict(zip(volume.label_axes, facts, strict=True))
    if len(axes) != len(volume.axes):
        raise ReadError(
            f"axes {axes!r} name {len(axes)} axes, the array has shape {volume.shape} "
            f"(read as {volume.axes!r})"
        )
    kept = [
        stated.get(old, (1.0, "px"))
        for old, new in zip(volume.axes, axes, strict=True)
        if new != "c"
    ]
    return volume.with_data(
        volume.data,
        axes=axes,
        spacing=tuple(s for s, _ in kept),
        units=tuple(u for _, u in kept),
    )


_READERS: dict[str, Callable[[Path, str | None], Volume]] = {
    "NIfTI": lambda path, axes: medical.read_itk(path, "NIfTI"),
    "NRRD": lambda path, axes: medical.read_itk(path, "NRRD"),
    "MetaImage": lambda path, axes: medical.read_itk(path, "MetaImage"),
    "DICOM": lambda path, axes: dicom.read_file(path),
    "TIFF": tiff.read_tiff,
    "npy": arrays.read_npy,
    "npz": arrays.read_npz,
    "PNG": lambda path, axes: images.read_image(path),
    "JPEG": lambda path, axes: images.read_image(path),
    "BMP": lambda path, axes: images.read_image(path),
    "GIF": lambda path, axes: images.read_image(path),
}

_WRITERS: dict[str, Callable[[Path, NDArray[Any], Volume | None], None]] = {
    ".nii.gz": medical.write_itk,
    ".nii": medical.write_itk,
    ".nrrd": medical.write_itk,
    ".mha": medical.write_itk,
    ".tif": tiff.write_tiff,
    ".tiff": tiff.write_tiff,
    ".ome.tif": tiff.write_tiff,
    ".ome.tiff": tiff.write_tiff,
    ".npy": arrays.write_npy,
    ".npz": arrays.write_npz,
}
WRITABLE = tuple(_WRITERS)


def _existing(path: StrPath) -> Path:
    path = Path(path)
    try:
        there = path.exists()
    except OSError as error:
        raise ReadError(f"{path.name}: cannot be opened ({error.strerror})") from error
    if not there:
        hint = "" if path.parent.is_dir() else f"; nor is there a folder {path.parent}"
        raise ReadError(f"{path}: there is no such file{hint}")
    return path


def _guarded(load: Callable[[], _T], path: Path, kind: str) -> _T:
    """Run a reader; whatever it stumbles over becomes one sentence about the file."""
    try:
        return load()
    except MedSAM2Error as error:
        text = str(error)
        raise ReadError(text if text.startswith(path.name) else f"{path.name}: {text}") from error
    except MemoryError as error:
        raise ReadError(f"{path.name}: does not fit into memory ({error})") from error
    # Each library has its own exceptions for a damaged file (zlib.error, struct.error, SyntaxError,
    # RuntimeError...); the user needs the file's name and the reason, the cause stays attached.
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ReadError(
            f"{path.name}: cannot be read as {kind}, the file may be damaged or incomplete "
            f"({reason[:300]}); copy or export it again"
        ) from error


def _as_integers(labels: NDArray[Any], path: Path) -> NDArray[Any]:
    if labels.dtype.kind in "ui":
        return labels.astype(labels.dtype.newbyteorder("="), copy=False)
    if labels.dtype.kind == "b":
        return labels.astype(np.uint8)
    if not np.isfinite(labels).all() or (labels != np.floor(labels)).any():
        raise ReadError(f"{path.name}: holds fractions, so it is an image and no label map")
    return labels.astype(np.int64)
