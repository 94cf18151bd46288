"""Layers to prompts and back.

Napari's pixel i covers [i - 0.5, i + 0.5), so the border between pixels 9 and 10 lies at 9.5 in a
layer and at 10 in a half-open box: a rectangle drawn around pixels 10 to 19, with corners near 9.5
and 19.5, is the box (10, ..., 20, ...). Corners snap to the nearest border. Rounding is
floor(x + 0.5) everywhere: numpy's own would send 0.5 and 1.5 to different sides.
"""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medsam2.errors import PromptError
from napari_medsam2.prompts import (
    BoxPrompt,
    MaskPrompt,
    ObjectPrompts,
    PointPrompt,
    PolygonPrompt,
    PromptSet,
    ScribblePrompt,
    check_object_id,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from napari_medsam2.frames import FrameStack
    from napari_medsam2.prompts import Prompt
    from napari_medsam2.volume import View

__all__ = [
    "Collected",
    "DrawnPoint",
    "DrawnShape",
    "FrameView",
    "collect",
    "draw_points",
    "draw_shapes",
    "nearest",
]

POSITIVE, NEGATIVE = "positive", "negative"
_MIN_SIDE = 2
_BOXES = ("rectangle", "ellipse")


def nearest(value: float) -> int:
    """Return the index of the pixel that a coordinate lies in."""
    return math.floor(value + 0.5)


@dataclass(frozen=True)
class FrameView:
    """How the frames of a session lie in the n-dimensional coordinates of its layers.

    Attributes
    ----------
    shape : tuple of int
        Of the labels.
    axis : int or None
        The frame axis; None for a 2D image.
    fixed : tuple of (axis, position)
        Axes that are neither frame axis nor in the plane, and where they stand.
    """

    shape: tuple[int, ...]
    axis: int | None
    fixed: tuple[tuple[int, int], ...]

    @classmethod
    def of(cls, stack: FrameStack) -> FrameView:
        """Return the view of a session's frames."""
        return cls.at(stack.volume.label_shape, stack.view)

    @classmethod
    def at(cls, shape: tuple[int, ...], view: View) -> FrameView:
        """Return how the frames of a view lie in labels of a shape."""
        others = [i for i in range(len(shape)) if i != view.axis]
        return cls(shape, view.axis, tuple(zip(others[:-2], view.at, strict=True)))

    @property
    def plane(self) -> tuple[int, int]:
        """The two axes of a frame, in the order of the array."""
        y, x = [i for i in range(len(self.shape)) if i != self.axis][-2:]
        return y, x

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return 1 if self.axis is None else self.shape[self.axis]

    @property
    def frame_shape(self) -> tuple[int, int]:
        """(height, width) of a frame."""
        return self.shape[self.plane[0]], self.shape[self.plane[1]]

    def locate(self, vertices: NDArray[Any]) -> int | None:
        """Return the frame that (n, ndim) vertices lie on, also one outside the image.

        None if they lie in another view: across several frames, or elsewhere along a fixed axis.
        """
        low, high = vertices.min(axis=0), vertices.max(axis=0)
        for axis, position in self.fixed:
            if not nearest(low[axis]) == position == nearest(high[axis]):
                return None
        if self.axis is None:
            return 0
        frame = nearest(low[self.axis])
        return frame if frame == nearest(high[self.axis]) else None

    def lift(self, frame: int, yx: NDArray[Any]) -> NDArray[np.float64]:
        """Return (n, 2) coordinates in a frame as (n, ndim) coordinates of the layers."""
        lifted = np.zeros((len(yx), len(self.shape)))
        lifted[:, self.plane] = yx
        for axis, position in self.fixed:
            lifted[:, axis] = position
        if self.axis is not None:
            lifted[:, self.axis] = frame
        return lifted


@dataclass(frozen=True, eq=False)
class DrawnShape:
    """One shape as the Shapes layer holds it.

    Attributes
    ----------
    kind : str
        napari's name: "rectangle", "ellipse", "polygon", "path" or "line".
    vertices : ndarray
        (n, ndim).
    object_id : object
    polarity : {"positive", "negative"}
    axis : int
        The frame axis that it was drawn in; -1 if only its place tells.
    """

    kind: str
    vertices: NDArray[Any] = field(repr=False)
    object_id: Any
    polarity: str = POSITIVE
    axis: int = -1


@dataclass(frozen=True, eq=False)
class DrawnPoint:
    """One point as the Points layer holds it; `axis` is the frame axis it was clicked in, or -1."""

    position: NDArray[Any] = field(repr=False)
    object_id: Any
    polarity: str = POSITIVE
    axis: int = -1


@dataclass(frozen=True)
class Collected:
    """What the layers say.

    Attributes
    ----------
    prompts : PromptSet
    other_shapes, other_points : tuple of int
        Items that belong to another view of the image and wait there.
    stray_shapes, stray_points : tuple of int
        Items that can be no prompt in any view: clicks that were meant as boxes, and what lies
        outside the image.
    problems : tuple of str
        What a person should be told about the strays.
    """

    prompts: PromptSet
    other_shapes: tuple[int, ...] = ()
    other_points: tuple[int, ...] = ()
    stray_shapes: tuple[int, ...] = ()
    stray_points: tuple[int, ...] = ()
    problems: tuple[str, ...] = ()


def collect(
    shapes: Sequence[DrawnShape],
    points: Sequence[DrawnPoint],
    view: FrameView,
    known: PromptSet | None = None,
) -> Collected:
    """Turn drawn items into prompts.

    Parameters
    ----------
    shapes, points : sequence of drawn items
    view : FrameView
    known : PromptSet, optional
        The prompts before: its objects and their names stay, and so do its masks, which no layer
        shows.
    """
    found: dict[int, list[Prompt]] = defaultdict(list)
    clicks: dict[tuple[int, int], list[tuple[float, float, int]]] = defaultdict(list)
    other_shapes, other_points, stray_shapes, stray_points = [], [], [], []
    problems: list[str] = []
    wanted = -1 if view.axis is None else view.axis
    for index, shape in enumerate(shapes):
        frame = view.locate(shape.vertices)
        # A straight scribble lies on a frame of several axes.
        if frame is None or shape.axis not in (-1, wanted):
            other_shapes.append(index)
            continue
        try:
            prompt = _shape_prompt(shape, frame, view)
            if prompt is not None:
                found[check_object_id(_whole(shape.object_id))].append(prompt)
                continue
        except PromptError as error:
            problems.append(str(error))
        stray_shapes.append(index)
    for index, point in enumerate(points):
        frame = view.locate(point.position[np.newaxis])
        if frame is None or point.axis != wanted:
            other_points.append(index)
            continue
        y, x = (float(point.position[i]) for i in view.plane)
        try:
            if not _is_inside(frame, y, x, view):
                raise PromptError(f"a click outside the image, at ({y:.0f}, {x:.0f}), was left out")
            object_id = check_object_id(_whole(point.object_id))
        except PromptError as error:
            problems.append(str(error))
            stray_points.append(index)
        else:
            clicks[object_id, frame].append((y, x, int(point.polarity != NEGATIVE)))
    for (object_id, frame), group in sorted(clicks.items()):
        places = tuple((y, x) for y, x, _ in group)
        found[object_id].append(PointPrompt(frame, places, tuple(label for *_, label in group)))
    return Collected(
        _merged(found, known or PromptSet()),
        tuple(other_shapes),
        tuple(other_points),
        tuple(stray_shapes),
        tuple(stray_points),
        tuple(problems),
    )


def draw_shapes(prompts: PromptSet, view: FrameView) -> list[DrawnShape]:
    """Return boxes, polygons and scribbles as shapes to draw."""
    axis = -1 if view.axis is None else view.axis
    drawn = []
    for entry in prompts.objects:
        for prompt in entry.prompts:
            polarity = POSITIVE
            if isinstance(prompt, BoxPrompt):
                y0, x0, y1, x1 = (v - 0.5 for v in prompt.box)
                kind, yx = "rectangle", [(y0, x0), (y0, x1), (y1, x1), (y1, x0)]
            elif isinstance(prompt, PolygonPrompt):
                kind, yx = "polygon", list(prompt.vertices)
            elif isinstance(prompt, ScribblePrompt) and len(prompt.path) > 1:
                kind, yx = "path", list(prompt.path)
                polarity = POSITIVE if prompt.label else NEGATIVE
            else:
                continue
            vertices = view.lift(prompt.frame, np.array(yx))
            drawn.append(DrawnShape(kind, vertices, entry.id, polarity, axis))
    return drawn


def draw_points(prompts: PromptSet, view: FrameView) -> list[DrawnPoint]:
    """Return clicks as points to draw."""
    axis = -1 if view.axis is None else view.axis
    drawn = []
    for entry in prompts.objects:
        for prompt in entry.prompts:
            if isinstance(prompt, PointPrompt):
                places = view.lift(prompt.frame, np.array(prompt.points))
                for place, label in zip(places, prompt.labels, strict=True):
                    drawn.append(DrawnPoint(place, entry.id, POSITIVE if label else NEGATIVE, axis))
    return drawn


def _shape_prompt(shape: DrawnShape, frame: int, view: FrameView) -> Prompt | None:
    yx = np.asarray(shape.vertices, dtype=np.float64)[:, view.plane]
    if not 0 <= frame < view.n_frames:
        raise PromptError("a shape beyond the first or last slice was left out")
    if shape.kind not in _BOXES:
        return _path_prompt(shape, frame, yx, view)
    size = np.array(view.frame_shape)
    low, high = (np.floor(v + 1.0).astype(int) for v in (yx.min(axis=0), yx.max(axis=0)))
    if (high <= 0).any() or (low >= size).any():
        raise PromptError("a box outside the image was left out")
    low, high = np.clip(low, 0, size), np.clip(high, 0, size)
    if (high - low < np.minimum(_MIN_SIDE, size)).any():
        return None
    return BoxPrompt(frame, (int(low[0]), int(low[1]), int(high[0]), int(high[1])))


def _path_prompt(
    shape: DrawnShape, frame: int, yx: NDArray[np.float64], view: FrameView
) -> Prompt | None:
    path = tuple((float(y), float(x)) for y, x in yx)
    size = np.array(view.frame_shape)
    if (yx.max(axis=0) < -0.5).any() or (yx.min(axis=0) >= size - 0.5).any():
        what = "an outline" if shape.kind == "polygon" else "a scribble"
        raise PromptError(f"{what} outside the image was left out")
    if shape.kind != "polygon":
        return ScribblePrompt(frame, path, int(shape.polarity != NEGATIVE))
    # An outline that goes around no pixel was a click; a large one is not worth looking into.
    is_small = (np.ptp(yx, axis=0) < _MIN_SIDE).any()
    return None if is_small and not _encloses(yx) else PolygonPrompt(frame, path)


def _encloses(yx: NDArray[np.float64]) -> bool:
    from skimage.draw import polygon2mask

    low = np.floor(yx.min(axis=0))
    shape = tuple(int(n) for n in np.ceil(yx.max(axis=0)) - low + 1)
    return bool(polygon2mask(shape, yx - low).any())


def _is_inside(frame: int, y: float, x: float, view: FrameView) -> bool:
    height, width = view.frame_shape
    return 0 <= frame < view.n_frames and -0.5 <= y < height - 0.5 and -0.5 <= x < width - 0.5


def _whole(value: Any) -> int:
    try:
        return int(value)
    except (TypeError, ValueError):
        raise PromptError(f"an object id in the layer's features is {value!r}") from None


def _merged(found: dict[int, list[Prompt]], known: PromptSet) -> PromptSet:
    entries: Iterable[ObjectPrompts] = (
        replace(
            known[i] if i in known else ObjectPrompts(i),
            prompts=(*found.get(i, ()), *(_unseen(known[i]) if i in known else ())),
        )
        for i in sorted({*found, *known.ids})
    )
    return PromptSet(tuple(entries))


def _unseen(entry: ObjectPrompts) -> tuple[Prompt, ...]:
    return tuple(
        p
        for p in entry.prompts
        if isinstance(p, MaskPrompt) or (isinstance(p, ScribblePrompt) and len(p.path) == 1)
    )
