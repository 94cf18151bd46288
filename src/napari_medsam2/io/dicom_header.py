"""What a DICOM header says about pixels, places, times and windows."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Plane",
    "acquisition_order",
    "describe",
    "display_window",
    "frame_time",
    "inverted",
    "is_inverted",
    "n_frames",
    "pixel_spacing",
    "planes",
    "real_values",
    "series_key",
    "slice_thickness",
    "text",
]

_CENTIMETRES = 3  # PhysicalUnitsXDirection
_TISSUE_2D = 1  # RegionSpatialFormat


@dataclass(frozen=True)
class Plane:
    """Where a slice lies: the centre of its first pixel and the directions of row and column."""

    position: tuple[float, float, float]
    row: tuple[float, float, float]
    column: tuple[float, float, float]

    @property
    def normal(self) -> tuple[float, float, float]:
        """Unit vector across the slice, right-handed."""
        x, y, z = np.cross(self.row, self.column)
        return float(x), float(y), float(z)

    @property
    def height(self) -> float:
        """Position along the normal in mm."""
        return float(np.dot(self.position, self.normal))

    @property
    def direction(self) -> tuple[float, ...]:
        """Row-major direction cosines in ITK's convention."""
        return tuple(float(v) for v in np.stack([self.row, self.column, self.normal], 1).ravel())


def text(dataset: Any, keyword: str) -> str:
    """Return a value as text, "" where it is absent or empty."""
    value = dataset.get(keyword)
    return "" if value is None else str(value).strip()


def numbers(dataset: Any, keyword: str) -> list[float]:
    """Return a value as numbers, empty where it is absent or not numeric."""
    value = dataset.get(keyword)
    if value is None or value == "":
        return []
    values = value if hasattr(value, "__len__") and not isinstance(value, str) else [value]
    try:
        found = [float(v) for v in values]
    except (TypeError, ValueError):
        return []
    return found if all(map(math.isfinite, found)) else []


def n_frames(dataset: Any) -> int:
    """Return the number of frames, 1 where it is not stated."""
    return int((numbers(dataset, "NumberOfFrames") or [1])[0]) or 1


def series_key(dataset: Any) -> tuple[Any, ...]:
    """Return what slices of one stack share; a series UID may be empty, so it is not all."""
    return (
        (numbers(dataset, "SeriesNumber") or [0.0])[0],
        text(dataset, "SeriesInstanceUID"),
        tuple(round(v, 2) + 0.0 for v in numbers(dataset, "ImageOrientationPatient")),
        int(dataset.Rows),
        int(dataset.Columns),
        int(dataset.get("SamplesPerPixel") or 1),
    )


def describe(dataset: Any, n_files: int) -> str:
    """Say what a series is, by its own description and nothing about the patient."""
    name = text(dataset, "SeriesDescription")
    frames = n_frames(dataset)
    slices = f"{n_files} slice{'s' * (n_files > 1)}"
    count = slices if n_files > 1 or frames == 1 else f"{frames} frames"
    parts = [text(dataset, "Modality"), repr(name) if name else "", count]
    return " ".join(filter(None, parts)) + f" of {dataset.Rows} x {dataset.Columns}"


def acquisition_order(dataset: Any) -> tuple[float, ...]:
    """Return a key that sorts files as they were taken."""
    keywords = ("TemporalPositionIdentifier", "AcquisitionNumber", "InstanceNumber")
    return tuple((numbers(dataset, k) or [0.0])[0] for k in keywords)


def planes(dataset: Any) -> list[Plane]:
    """Return the plane of every frame, empty where the file does not place them in the patient."""
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence")
    if per_frame:
        found = [_plane(frame, _shared(dataset)) for frame in per_frame]
        return [] if None in found else [p for p in found if p is not None]
    first = _plane_of(
        numbers(dataset, "ImagePositionPatient"), numbers(dataset, "ImageOrientationPatient")
    )
    if first is None:
        return []
    offsets = numbers(dataset, "GridFrameOffsetVector")
    if n_frames(dataset) == 1 or not offsets:
        step = numbers(dataset, "SpacingBetweenSlices")
        if n_frames(dataset) > 1 and (not step or frame_time(dataset)):
            return []
        offsets = [i * step[0] for i in range(n_frames(dataset))] if step else [0.0]
    if n_frames(dataset) == 1:
        offsets = [0.0]
    moved = [np.add(first.position, (o - offsets[0]) * np.array(first.normal)) for o in offsets]
    return [Plane((float(x), float(y), float(z)), first.row, first.column) for x, y, z in moved]


def pixel_spacing(dataset: Any) -> tuple[float, float, str]:
    """Return (y, x, unit): mm, or one pixel where the file does not say."""
    sources = [dataset, *_measures(dataset)]
    for keyword in ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing"):
        for source in sources:
            values = numbers(source, keyword)
            if len(values) == 2 and min(values) > 0:
                return values[0], values[1], "mm"
    for region in dataset.get("SequenceOfUltrasoundRegions") or []:
        found = _ultrasound_spacing(region, dataset)
        if found is not None:
            return (*found, "mm")
    return 1.0, 1.0, "px"


def slice_thickness(dataset: Any) -> float:
    """Return the thickness of a slice in mm, 0 where it is not stated."""
    for source in (dataset, *_measures(dataset)):
        values = numbers(source, "SliceThickness")
        if values and values[0] > 0:
            return values[0]
    return 0.0


def frame_time(dataset: Any) -> float:
    """Return the time between frames in seconds, 0 where it is not stated."""
    single = numbers(dataset, "FrameTime")
    if single and single[0] > 0:
        return single[0] / 1000
    vector = numbers(dataset, "FrameTimeVector")[1:]
    if vector and sum(vector) > 0:
        return sum(vector) / len(vector) / 1000
    for keyword in ("CineRate", "RecommendedDisplayFrameRate"):
        rate = numbers(dataset, keyword)
        if rate and rate[0] > 0:
            return 1 / rate[0]
    return 0.0


def display_window(dataset: Any) -> tuple[float, float] | None:
    """Return the first window of the header as (low, high) of the values that the reader gives."""
    sources = [dataset, *_groups(dataset, "FrameVOILUTSequence")]
    for source in sources:
        centre, width = numbers(source, "WindowCenter"), numbers(source, "WindowWidth")
        if centre and width and width[0] > 0:
            low, high = centre[0] - width[0] / 2, centre[0] + width[0] / 2
            if is_inverted(dataset):
                total = sum(_value_range(dataset))
                low, high = total - high, total - low
            return low, high
    return None


def real_values(stored: NDArray[Any], dataset: Any) -> NDArray[Any]:
    """Apply rescale slope and intercept, and turn MONOCHROME1 so that high is bright.

    Whole slopes and intercepts give integers (int32 where the stored type is too narrow), others
    float32.
    """
    per_frame = dataset.get("PerFrameFunctionalGroupsSequence")
    scales = [_rescale(frame, dataset) for frame in per_frame or [dataset]]
    if len(set(scales)) == 1 or len(scales) != stored.shape[0]:
        values = _rescaled(stored, *scales[0])
    else:
        values = np.stack([_rescaled(f, *s) for f, s in zip(stored, scales, strict=True)])
    return inverted(values, stored, dataset) if is_inverted(dataset) else values


def is_inverted(dataset: Any) -> bool:
    """Whether low values are shown bright."""
    return text(dataset, "PhotometricInterpretation") == "MONOCHROME1"


def inverted(values: NDArray[Any], stored: NDArray[Any], dataset: Any) -> NDArray[Any]:
    """Mirror the values within the range that the stored bits can express."""
    total = sum(_value_range(dataset))
    if stored.dtype.kind in "ui" and values.dtype.kind in "ui":
        mirrored = round(total) - values.astype(np.int64)
        low, high = int(mirrored.min()), int(mirrored.max())
        fits = np.iinfo(values.dtype).min <= low and high <= np.iinfo(values.dtype).max
        return mirrored.astype(values.dtype if fits else np.int32)
    return np.asarray(total - values, dtype=values.dtype)


def _rescale(frame: Any, dataset: Any) -> tuple[float, float]:
    places = [frame, *(frame.get("PixelValueTransformationSequence") or [])]
    places += [dataset, *_groups(dataset, "PixelValueTransformationSequence")]
    for place in places:
        slope, intercept = numbers(place, "RescaleSlope"), numbers(place, "RescaleIntercept")
        if slope and intercept:
            return slope[0] or 1.0, intercept[0]
    return 1.0, 0.0


def _rescaled(stored: NDArray[Any], slope: float, intercept: float) -> NDArray[Any]:
    if (slope, intercept) == (1.0, 0.0):
        return stored
    if stored.dtype.kind in "ui" and slope % 1 == 0 and intercept % 1 == 0:
        return (stored.astype(np.int64) * int(slope) + int(intercept)).astype(np.int32)
    return np.asarray(stored * np.float64(slope) + intercept, dtype=np.float32)


def _value_range(dataset: Any) -> tuple[float, float]:
    """Return the lowest and highest real value that the stored bits can express."""
    bits = int(dataset.get("BitsStored") or 8)
    low, high = (0, 2**bits - 1)
    if dataset.get("PixelRepresentation") == 1:
        low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    slope, intercept = _rescale(dataset, dataset)
    return low * slope + intercept, high * slope + intercept


def _shared(dataset: Any) -> Any:
    return (dataset.get("SharedFunctionalGroupsSequence") or [{}])[0]


def _groups(dataset: Any, name: str) -> list[Any]:
    """Return a functional group of the first frame and of all frames."""
    first = (dataset.get("PerFrameFunctionalGroupsSequence") or [{}])[0]
    return [*(first.get(name) or []), *(_shared(dataset).get(name) or [])]


def _measures(dataset: Any) -> list[Any]:
    return _groups(dataset, "PixelMeasuresSequence")


def _plane(frame: Any, shared: Any) -> Plane | None:
    def first(name: str) -> Any:
        return ((frame.get(name) or shared.get(name)) or [{}])[0]

    return _plane_of(
        numbers(first("PlanePositionSequence"), "ImagePositionPatient"),
        numbers(first("PlaneOrientationSequence"), "ImageOrientationPatient"),
    )


def _plane_of(position: list[float], orientation: list[float]) -> Plane | None:
    if len(position) != 3 or len(orientation) != 6:
        return None
    a, b, c, d, e, f = orientation
    if abs(np.linalg.norm(np.cross((a, b, c), (d, e, f))) - 1) > 0.01:
        return None
    return Plane((position[0], position[1], position[2]), (a, b, c), (d, e, f))


def _ultrasound_spacing(region: Any, dataset: Any) -> tuple[float, float] | None:
    """Return (y, x) in mm of a 2D tissue region, if its calibration is that of these pixels.

    A region that reaches past the image was measured before the image was made smaller, and its
    scale would be wrong.
    """
    x, y = numbers(region, "PhysicalDeltaX"), numbers(region, "PhysicalDeltaY")
    units = {region.get("PhysicalUnitsXDirection"), region.get("PhysicalUnitsYDirection")}
    if not x or not y or units != {_CENTIMETRES} or region.get("RegionSpatialFormat") != _TISSUE_2D:
        return None
    fits = (
        int(region.get("RegionLocationMaxX1") or 0) <= dataset.Columns
        and int(region.get("RegionLocationMaxY1") or 0) <= dataset.Rows
    )
    return (abs(y[0]) * 10, abs(x[0]) * 10) if fits and x[0] and y[0] else None
