"""DICOM: single files (slices, cines, multi-frame volumes) and the folder of a series.

Headers and, where it can, pixels come through pydicom; compressed pixels that it cannot decode come
through SimpleITK. Nothing about the patient is kept.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medsam2.errors import ReadError
from napari_medsam2.volume import Geometry, Volume

from . import dicom_header as header

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from .dicom_header import Plane

__all__ = ["is_headless", "read_file", "read_folder"]


def is_headless(path: Path) -> bool:
    """Whether a file without the DICOM preamble is DICOM all the same."""
    return _try_header(path, force=True) is not None


def read_file(path: Path) -> Volume:
    """Read one DICOM file.

    Returns
    -------
    Volume
        - a slice with a position in the patient: zyx, one slice;
        - a picture without one (radiograph, capture): yx or yxc;
        - a cine: tyx or tyxc, the time between frames in seconds;
        - a multi-frame volume: zyx, sorted by position.
    """
    dataset = _dataset(path)
    pixels = _pixels(dataset, path)
    n_frames = header.n_frames(dataset)
    colour = pixels.ndim == 3 + (n_frames > 1)
    planes = header.planes(dataset)
    y, x, unit = header.pixel_spacing(dataset)
    facts = _facts(dataset, colour)
    if planes and not colour and len(planes) == max(n_frames, 1):
        frames = pixels if n_frames > 1 else pixels[np.newaxis]
        return _volume(list(frames), planes, dataset, facts)
    if n_frames == 1:
        return Volume(pixels, axes="yx" + "c" * colour, spacing=(y, x), units=(unit, unit), **facts)
    seconds = header.frame_time(dataset)
    return Volume(
        pixels,
        axes="tyx" + "c" * colour,
        spacing=(seconds or 1.0, y, x),
        units=("s" if seconds else "px", unit, unit),
        **facts,
    )


def read_folder(folder: Path, series: int | str | None = None) -> Volume:
    """Read the series of a folder, its slices sorted by position.

    Parameters
    ----------
    folder : Path
        Subfolders are not searched.
    series : int or str, optional
        Number (from 1, in the order that the error lists) or UID, where there are several.

    Returns
    -------
    Volume
        zyx; tzyx where every position was acquired several times; tyx(c) for pictures without
        positions.

    Raises
    ------
    ReadError
        If there is no DICOM image, or several series and no choice.
    """
    groups = _scan(folder)
    if not groups:
        inside = any(p.is_dir() for p in folder.iterdir())
        hint = "open one of its subfolders" if inside else "choose the folder that holds the slices"
        raise ReadError(f"the folder holds no DICOM images; {hint}")
    chosen = _choose(groups, series)
    if len(chosen) == 1:
        return read_file(chosen[0][0])
    paths = [path for path, _ in chosen]
    headers = [dataset for _, dataset in chosen]
    planes = [header.planes(dataset) for dataset in headers]
    if all(len(p) == 1 for p in planes):
        frames = [_pixels(_dataset(path), path) for path in paths]
        order = [header.acquisition_order(d) for d in headers]
        flat = [p[0] for p in planes]
        return _volume(frames, flat, headers[0], _facts(headers[0], frames[0].ndim == 3), order)
    by_number = sorted(range(len(paths)), key=lambda i: header.acquisition_order(headers[i]))
    frames = [_pixels(_dataset(paths[i]), paths[i]) for i in by_number]
    y, x, unit = header.pixel_spacing(headers[0])
    colour = frames[0].ndim == 3
    return Volume(
        _stacked(frames),
        axes="tyx" + "c" * colour,
        spacing=(1.0, y, x),
        units=("px", unit, unit),
        **_facts(headers[0], colour),
    )


def _volume(
    frames: Sequence[NDArray[Any]],
    planes: Sequence[Plane],
    dataset: Any,
    facts: dict[str, Any],
    acquired: Sequence[tuple[Any, ...]] | None = None,
) -> Volume:
    """Stack slices by their position along the normal; repeated positions make a time axis."""
    acquired = acquired or [(i,) for i in range(len(frames))]
    heights = np.array([plane.height for plane in planes])
    levels, level_of = np.unique(heights.round(3), return_inverse=True)
    repeats, rest = divmod(len(frames), len(levels))
    if rest or (np.bincount(level_of) != repeats).any():
        raise ReadError(
            f"has {len(frames)} slices at {len(levels)} positions, unevenly repeated; it mixes "
            "several acquisitions, keep one of them in the folder"
        )
    order = sorted(range(len(frames)), key=lambda i: (level_of[i], acquired[i]))
    data = _stacked([frames[i] for i in order])
    colour = "c" * (frames[0].ndim == 3)
    data = data.reshape(len(levels), repeats, *data.shape[1:]).swapaxes(0, 1)
    first, last = planes[order[0]], planes[order[-1]]
    y, x, unit = header.pixel_spacing(dataset)
    z = _slice_distance(levels, first, last) or header.slice_thickness(dataset)
    geometry = Geometry(first.position, first.direction)
    if repeats == 1:
        return Volume(
            data[0], "zyx" + colour, (z or 1.0, y, x), ("mm", unit, unit), geometry, **facts
        )
    return Volume(
        data, "tzyx" + colour, (1.0, z or 1.0, y, x), ("px", "mm", unit, unit), geometry, **facts
    )


def _slice_distance(levels: NDArray[np.float64], first: Plane, last: Plane) -> float:
    """Return the mean distance of slices in mm, 0 for a single one; warn where it varies."""
    if len(levels) < 2:
        return 0.0
    steps = np.diff(levels)
    mean = float((levels[-1] - levels[0]) / (len(levels) - 1))
    sideways = np.subtract(last.position, first.position)
    sideways = sideways - (levels[-1] - levels[0]) * np.array(first.normal)
    if steps.max() - steps.min() > 0.05 * mean:
        warnings.warn(
            f"the distance of slices varies from {steps.min():g} to {steps.max():g} mm: a slice "
            "may be missing, and sizes along z are approximate",
            stacklevel=2,
        )
    elif np.linalg.norm(sideways) > 0.05 * abs(levels[-1] - levels[0]):
        warnings.warn(
            "the slices are shifted against each other (tilted gantry); sizes are exact within a "
            "slice, positions across slices are not",
            stacklevel=2,
        )
    return round(mean, 6)


def _stacked(frames: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Stack frames; integers that got room for a rescaled range go back to 16 bits if they fit."""
    data = np.stack(frames)
    if data.dtype == np.int32:
        low, high = int(data.min()), int(data.max())
        for narrow in (np.int16, np.uint16):
            if np.iinfo(narrow).min <= low and high <= np.iinfo(narrow).max:
                return data.astype(narrow)
    return data


def _scan(folder: Path) -> dict[tuple[Any, ...], list[tuple[Path, Any]]]:
    """Group the DICOM images of a folder by series, size and orientation."""
    groups: dict[tuple[Any, ...], list[tuple[Path, Any]]] = {}
    for path in sorted(p for p in folder.iterdir() if p.is_file()):
        if path.name.startswith(".") or path.name.upper() == "DICOMDIR":
            continue
        dataset = _try_header(path, force=path.suffix.lower() in (".dcm", ""))
        if dataset is not None and "Rows" in dataset:
            alone = path.name if header.n_frames(dataset) > 1 else ""
            groups.setdefault((*header.series_key(dataset), alone), []).append((path, dataset))
    return dict(sorted(groups.items()))


def _choose(
    groups: dict[tuple[Any, ...], list[tuple[Path, Any]]], series: int | str | None
) -> list[tuple[Path, Any]]:
    stacks = list(groups.values())
    if isinstance(series, str) and series.isdigit():
        series = int(series)
    if isinstance(series, int) and 1 <= series <= len(stacks):
        return stacks[series - 1]
    matching = [s for s in stacks if header.text(s[0][1], "SeriesInstanceUID") == series]
    if series is None:
        matching = stacks
    if len(matching) == 1:
        return matching[0]
    listed = "; ".join(
        f"series={i}: {header.describe(stack[0][1], len(stack))}"
        for i, stack in enumerate(stacks, start=1)
    )
    problem = f"holds {len(stacks)} series"
    if series is not None:
        problem = f"has no single series {series!r}"
    raise ReadError(f"the folder {problem}; choose one: {listed}")


def _try_header(path: Path, force: bool) -> Any | None:
    """Return the header of a DICOM file without its pixels, None if it is not DICOM."""
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = pydicom.dcmread(path, stop_before_pixels=True, force=force)
    # Forced upon any other file the parser may stumble in any way; then it is no DICOM file.
    except (InvalidDicomError, ArithmeticError, AttributeError, LookupError, OSError, ValueError,
            TypeError, NotImplementedError):  # fmt: skip
        return None
    return dataset if "SOPClassUID" in dataset or "Rows" in dataset else None


def _dataset(path: Path) -> Any:
    import pydicom
    from pydicom.uid import ImplicitVRLittleEndian

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        dataset = pydicom.dcmread(path, force=True)
    if "TransferSyntaxUID" not in dataset.file_meta:
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    if "Rows" not in dataset or not {"PixelData", "FloatPixelData"} & set(dir(dataset)):
        kind = header.text(dataset, "Modality") or "unknown modality"
        raise ReadError(f"is a DICOM file without an image ({kind})")
    return dataset


def _pixels(dataset: Any, path: Path) -> NDArray[Any]:
    """Return the pixels of a file as real values: (y, x), (frame, y, x), with colours last."""
    from pydicom.pixels.processing import apply_color_lut

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stored = dataset.pixel_array
    except (RuntimeError, NotImplementedError, AttributeError) as error:
        return _pixels_by_itk(path, dataset, error)
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        colours: NDArray[Any] = apply_color_lut(stored, dataset)
        return (colours >> 8).astype(np.uint8) if colours.dtype == np.uint16 else colours
    if dataset.SamplesPerPixel > 1:
        return np.asarray(stored)
    return header.real_values(stored, dataset)


def _pixels_by_itk(path: Path, dataset: Any, cause: Exception) -> NDArray[Any]:
    """Decode what pydicom cannot (lossless JPEG, JPEG-LS, ...); GDCM rescales by itself."""
    from .medical import itk

    sitk = itk()
    try:
        image = sitk.ReadImage(str(path), imageIO="GDCMImageIO")
        pixels: NDArray[Any] = sitk.GetArrayFromImage(image)
    except RuntimeError as error:
        syntax, reason = dataset.file_meta.TransferSyntaxUID.name, " ".join(str(cause).split())
        raise ReadError(
            f"its pixels ({syntax}) cannot be decoded; convert it to uncompressed DICOM, or "
            f"pip install pylibjpeg[all] ({reason[:200]})"
        ) from error
    if header.n_frames(dataset) == 1 and pixels.shape[0] == 1:
        pixels = pixels[0]
    return header.inverted(pixels, pixels, dataset) if header.is_inverted(dataset) else pixels


def _facts(dataset: Any, colour: bool) -> dict[str, Any]:
    display = None if colour else header.display_window(dataset)
    metadata: dict[str, Any] = {"format": "DICOM"}
    if header.is_inverted(dataset):
        metadata["inverted"] = True
    modality = header.text(dataset, "Modality")
    return {"display": display, "modality": modality, "metadata": metadata}
