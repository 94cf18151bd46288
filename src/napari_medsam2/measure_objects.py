"""All that is measured of each object, and at each time point, in physical units.

Labels are cut to the box of each object; the image is read once, a plane at a time, and only planes
that show an object. scipy and scikit-image are imported when needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .measure_intensity import Intensity, read_plane
from .measure_shape import count_parts, diameters, perimeter, surface_area

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from .frames import FrameStack
    from .measure_shape import Diameters
    from .volume import Volume

__all__ = ["ObjectMeasures", "in_one_unit", "measure_objects"]

Box = tuple[slice, ...]

_MILLIMETRES = {"m": 1e3, "cm": 10.0, "mm": 1.0, "um": 1e-3, "nm": 1e-6}
_LARGEST_ID = 2**20  # scipy keeps a list as long as the largest label


@dataclass(frozen=True)
class ObjectMeasures:
    """One object, at one time point if the image has several.

    Attributes
    ----------
    object_id : int
    name : str
    time : int or None
        Index along the time axis; None for images without one, and for objects without a pixel.
    voxels : int
    size : float
        Volume in the cube of `unit`, or area in its square for 2D images and movies.
    surface : float
        Area of the surface in the square of `unit`; nan in 2D.
    perimeter : float
        Length of the outline in `unit`; nan in 3D.
    unit : str
        Of lengths: that of the axes; where they cannot be brought to one, all is in pixels ("px").
    is_solid : bool
        Whether it is measured in 3D.
    diameters : Diameters or None
        In-plane; its frame is along `axis`, its (y, x) are the two other axes of space.
    axis : str
        Letter of the axis that the slices are taken along; "" in 2D.
    intensity : Intensity
    bbox : tuple of (start, stop)
        Half-open, for every axis of the labels; empty for an object without a pixel.
    centre : tuple of float
        Centre of mass in array coordinates, of every axis.
    n_parts : int
        Connected parts; voxels that share a corner belong together.
    n_frames : int
        Frames of the session that show it.
    mean_score : float
        Mean confidence on these, nan if none was segmented by a model.
    """

    object_id: int
    name: str = ""
    time: int | None = None
    voxels: int = 0
    size: float = 0.0
    surface: float = math.nan
    perimeter: float = math.nan
    unit: str = "px"
    is_solid: bool = True
    diameters: Diameters | None = None
    axis: str = ""
    intensity: Intensity = field(default_factory=Intensity)
    bbox: tuple[tuple[int, int], ...] = ()
    centre: tuple[float, ...] = ()
    n_parts: int = 0
    n_frames: int = 0
    mean_score: float = math.nan

    @property
    def size_unit(self) -> str:
        """Unit of `size`, such as "mm3"."""
        return f"{self.unit}{3 if self.is_solid else 2}"


def measure_objects(
    labels: NDArray[Any],
    stack: FrameStack,
    names: Mapping[int, str] | None = None,
    scores: Mapping[int, NDArray[np.float64]] | None = None,
) -> Iterator[ObjectMeasures]:
    """Measure every object of a label array, at every time point at which it has a pixel.

    Parameters
    ----------
    labels : ndarray of int
        Of the label shape of the stack's volume; 0 is background.
    stack : FrameStack
        The image, how its frames are taken (diameters are measured on its slices, if they are
        slices of space) and the channel whose intensities count; several, or colours, are averaged.
    names : mapping of int to str, optional
        What objects are called.
    scores : mapping of int to ndarray, optional
        Confidence per object and frame of the stack; these objects are listed also if they have no
        pixel.

    Yields
    ------
    ObjectMeasures
        By time point, then id; objects without a pixel at the end.
    """
    layout = _Layout.of(stack)
    names, scores = names or {}, scores or {}
    seen: set[int] = set()
    for time, block in layout.moments(labels):
        boxes = _boxes(block)
        seen |= boxes.keys()
        found = _intensities(block, boxes, stack, layout, time)
        for object_id, box in boxes.items():
            one = _measured(block[box] == object_id, object_id, box, layout, time)
            named = replace(one, name=names.get(object_id, ""), intensity=found[object_id])
            yield _judged(named, labels, stack, scores.get(object_id))
    for object_id in sorted(scores.keys() - seen):
        yield ObjectMeasures(
            object_id,
            names.get(object_id, ""),
            unit=layout.unit,
            is_solid=layout.is_solid,
            axis=layout.letter,
        )


def in_one_unit(volume: Volume, axes: Sequence[int]) -> tuple[tuple[float, ...], str]:
    """Return the spacing along some label axes in one unit, and that unit.

    Parameters
    ----------
    volume : Volume
    axes : sequence of int

    Returns
    -------
    spacing : tuple of float
    unit : str
        The unit of the last of the axes; "px", and a spacing of 1, where the units of the axes
        are not all lengths or not all the same.
    """
    spacing, units = [volume.spacing[i] for i in axes], [volume.units[i] for i in axes]
    unit = units[-1]
    if all(u == unit for u in units):
        return tuple(spacing), unit
    if all(u in _MILLIMETRES for u in units):
        to = _MILLIMETRES[unit]
        return tuple(s * _MILLIMETRES[u] / to for s, u in zip(spacing, units, strict=True)), unit
    return (1.0,) * len(spacing), "px"


@dataclass(frozen=True)
class _Layout:
    """Which axes of the labels are time and space, and which of these the slices are along."""

    letters: str
    time: int | None
    space: tuple[int, ...]
    spacing: tuple[float, ...]
    unit: str
    slices: int | None

    @classmethod
    def of(cls, stack: FrameStack) -> _Layout:
        volume = stack.volume
        letters = volume.label_axes
        space = tuple(i for i, letter in enumerate(letters) if letter != "t")
        if len(space) < 2:
            space = tuple(range(len(letters)))
        time = next((i for i in range(len(letters)) if i not in space), None)
        spacing, unit = in_one_unit(volume, space)
        slices = None
        if len(space) == 3:
            slices = space.index(stack.axis) if stack.axis in space else 0
        return cls(letters, time, space, spacing, unit, slices)

    @property
    def is_solid(self) -> bool:
        return self.slices is not None

    @property
    def letter(self) -> str:
        return "" if self.slices is None else self.letters[self.space[self.slices]]

    def moments(self, labels: NDArray[Any]) -> Iterator[tuple[int | None, NDArray[Any]]]:
        """See labels as arrays of space, one a time point."""
        if self.time is None:
            yield None, labels
        else:
            yield from enumerate(np.moveaxis(labels, self.time, 0))

    def as_slices(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """See an array of space as (frame, y, x)."""
        return mask[np.newaxis] if self.slices is None else np.moveaxis(mask, self.slices, 0)

    @property
    def slice_spacing(self) -> tuple[float, float, float]:
        if self.slices is None:
            return 1.0, self.spacing[0], self.spacing[1]
        y, x = (s for i, s in enumerate(self.spacing) if i != self.slices)
        return self.spacing[self.slices], y, x


def _boxes(block: NDArray[Any]) -> dict[int, Box]:
    """Return the bounding box of every object, by ascending id."""
    from scipy import ndimage

    largest = int(block.max(initial=0))
    if largest <= _LARGEST_ID:
        ids: Sequence[int] = range(1, largest + 1)
    else:
        ids = np.unique(block[block > 0]).tolist()
        block = np.where(block > 0, np.searchsorted(ids, block) + 1, 0)
    boxes = zip(ids, ndimage.find_objects(block), strict=True)
    return {object_id: box for object_id, box in boxes if box is not None}


def _measured(
    mask: NDArray[np.bool_], object_id: int, box: Box, layout: _Layout, time: int | None
) -> ObjectMeasures:
    voxels = int(np.count_nonzero(mask))
    frames = layout.as_slices(mask)
    found = diameters(frames, layout.slice_spacing)
    if found is not None:
        at = [0, *(s.start for s in box)] if layout.slices is None else _first(box, layout.slices)
        found = found.shifted(*at)
    spans = {axis: (s.start, s.stop) for axis, s in zip(layout.space, box, strict=True)}
    middle = {axis: _centre(mask, i) + box[i].start for i, axis in enumerate(layout.space)}
    if layout.time is not None and time is not None:
        spans[layout.time], middle[layout.time] = (time, time + 1), float(time)
    return ObjectMeasures(
        object_id=object_id,
        time=time,
        voxels=voxels,
        size=voxels * math.prod(layout.spacing),
        surface=surface_area(mask, layout.spacing) if layout.is_solid else math.nan,
        perimeter=math.nan if layout.is_solid else perimeter(mask, layout.spacing),
        unit=layout.unit,
        is_solid=layout.is_solid,
        diameters=found,
        axis=layout.letter,
        bbox=tuple(spans[axis] for axis in sorted(spans)),
        centre=tuple(middle[axis] for axis in sorted(middle)),
        n_parts=count_parts(mask),
    )


def _first(box: Box, slices: int) -> list[int]:
    starts = [s.start for s in box]
    return [starts.pop(slices), *starts]


def _centre(mask: NDArray[np.bool_], axis: int) -> float:
    others = tuple(i for i in range(mask.ndim) if i != axis)
    weights = np.count_nonzero(mask, axis=others)
    return float(np.average(np.arange(len(weights)), weights=weights))


def _intensities(
    block: NDArray[Any],
    boxes: Mapping[int, Box],
    stack: FrameStack,
    layout: _Layout,
    time: int | None,
) -> dict[int, Intensity]:
    """Read every plane that shows an object once."""
    found = dict.fromkeys(boxes, Intensity())
    fixed = {} if layout.time is None or time is None else {layout.time: time}
    if not layout.is_solid:
        plane = read_plane(stack, fixed)
        for object_id, box in boxes.items():
            found[object_id] = Intensity().with_values(plane[box][block[box] == object_id])
        return found
    for k, slice_ in enumerate(block):
        here = {i: b[1:] for i, b in boxes.items() if b[0].start <= k < b[0].stop}
        if not here:
            continue
        plane = read_plane(stack, {**fixed, layout.space[0]: k})
        for object_id, box in here.items():
            values = plane[box][slice_[box] == object_id]
            found[object_id] = found[object_id].with_values(values)
    return found


def _judged(
    measures: ObjectMeasures,
    labels: NDArray[Any],
    stack: FrameStack,
    scores: NDArray[np.float64] | None,
) -> ObjectMeasures:
    """Add what the session's frames say: on how many it is, and how sure the model was."""
    key = _frames_of(measures, stack)
    if key is None:
        return measures
    shown = (stack.of_labels(labels)[key] == measures.object_id).any(axis=(1, 2))
    told = math.nan
    if scores is not None:
        values = scores[key[0]][shown]
        values = values[np.isfinite(values)]
        told = float(values.mean()) if values.size else math.nan
    return replace(measures, n_frames=int(np.count_nonzero(shown)), mean_score=told)


def _frames_of(measures: ObjectMeasures, stack: FrameStack) -> tuple[slice, slice, slice] | None:
    """Return where the object lies in the stack's (frame, y, x), None if it does not."""
    spans = measures.bbox
    rest = [i for i in range(len(spans)) if i != stack.axis]
    for axis, position in zip(rest[:-2], stack.at, strict=True):
        if not spans[axis][0] <= position < spans[axis][1]:
            return None
    y, x = rest[-2:]
    along = (0, 1) if stack.axis is None else spans[stack.axis]
    return slice(*along), slice(*spans[y]), slice(*spans[x])
