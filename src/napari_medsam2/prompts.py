"""What a person says about an object: points, boxes, polygons, scribbles and masks on frames.

All values are frozen and in data coordinates (y, x) of one frame, in pixels, where pixel (0, 0) is
centred at (0, 0) for points and paths, and boxes are half-open (y0, x0, y1, x1) as slices are.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import PromptError
from .masks import bounding_box, inside, pack, unpack

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from .masks import BBox

__all__ = [
    "BoxPrompt",
    "MaskPrompt",
    "ObjectPrompts",
    "PointPrompt",
    "PolygonPrompt",
    "Prompt",
    "PromptSet",
    "ScribblePrompt",
    "check_prompt",
]

MAX_OBJECT_ID = 65_535
_MIN_BOX_SIDE = 2

YX = tuple[float, float]


@dataclass(frozen=True)
class PointPrompt:
    """Clicks on one frame.

    Parameters
    ----------
    frame : int
    points : tuple of (y, x)
    labels : tuple of int
        1 for "this belongs to the object", 0 for "this does not"; one for each point.
    """

    frame: int
    points: tuple[YX, ...]
    labels: tuple[int, ...]

    def __post_init__(self) -> None:
        """Normalise to plain numbers and check."""
        _set(self, frame=_frame(self.frame), points=_coordinates(self.points, "points", 1))
        _set(self, labels=tuple(_polarity(label) for label in self.labels))
        if len(self.labels) != len(self.points):
            raise PromptError(
                f"frame {self.frame}: {len(self.points)} points need as many labels, "
                f"got {len(self.labels)}"
            )


@dataclass(frozen=True)
class BoxPrompt:
    """A rectangle around the object on one frame.

    Parameters
    ----------
    frame : int
    box : (y0, x0, y1, x1)
        Half-open, in pixels: a box of rows 3 to 7 has y0 = 3, y1 = 8.
    """

    frame: int
    box: tuple[float, float, float, float]

    def __post_init__(self) -> None:
        """Normalise to plain numbers and check that the box has an inside."""
        _set(self, frame=_frame(self.frame))
        try:
            y0, x0, y1, x1 = (float(v) for v in self.box)
        except (TypeError, ValueError) as error:
            raise PromptError(
                f"frame {self.frame}: a box is four numbers y0,x0,y1,x1, got {self.box!r}"
            ) from error
        _set(self, box=(y0, x0, y1, x1))
        text = f"frame {self.frame}: box (y0={y0:g}, x0={x0:g}, y1={y1:g}, x1={x1:g})"
        if not all(math.isfinite(v) for v in self.box):
            raise PromptError(f"{text} must be four finite numbers")
        if y1 < y0 or x1 < x0:
            raise PromptError(f"{text} is inverted; y0 < y1 and x0 < x1 are needed")
        if y1 - y0 < _MIN_BOX_SIDE or x1 - x0 < _MIN_BOX_SIDE:
            raise PromptError(
                f"{text} is {y1 - y0:g} x {x1 - x0:g} pixels; draw one of at least "
                f"{_MIN_BOX_SIDE} x {_MIN_BOX_SIDE} around the whole object"
            )


@dataclass(frozen=True)
class PolygonPrompt:
    """An outline drawn around the object on one frame; its inside is taken as the mask.

    Parameters
    ----------
    frame : int
    vertices : tuple of (y, x)
        At least three, in order.
    """

    frame: int
    vertices: tuple[YX, ...]

    def __post_init__(self) -> None:
        """Normalise to plain numbers and check."""
        _set(self, frame=_frame(self.frame), vertices=_coordinates(self.vertices, "vertices", 3))


@dataclass(frozen=True)
class ScribblePrompt:
    """A stroke along the object (or along what is not the object) on one frame.

    Parameters
    ----------
    frame : int
    path : tuple of (y, x)
    label : int
        1 inside the object, 0 outside.
    """

    frame: int
    path: tuple[YX, ...]
    label: int = 1

    def __post_init__(self) -> None:
        """Normalise to plain numbers and check."""
        _set(self, frame=_frame(self.frame), path=_coordinates(self.path, "path", 1))
        _set(self, label=_polarity(self.label))

    def as_points(self, n: int = 8) -> PointPrompt:
        """Return at most `n` points spread evenly along the stroke, as clicks."""
        path = np.asarray(self.path)
        walked = np.r_[0.0, np.hypot(*np.diff(path, axis=0).T).cumsum()]
        # A dot or a very short stroke gives one click in its middle.
        count = min(n, int(walked[-1]) + 1)
        at = np.linspace(0, walked[-1], count) if count > 1 else np.array([walked[-1] / 2])
        ys, xs = (np.interp(at, walked, path[:, i]) for i in (0, 1))
        points = tuple(zip(ys.tolist(), xs.tolist(), strict=True))
        return PointPrompt(self.frame, points, (self.label,) * len(points))


@dataclass(frozen=True, init=False)
class MaskPrompt:
    """The object's mask on one frame, as painted or taken from elsewhere.

    It is kept packed: what somebody paints on an image of 5,000 pixels a side costs what the object
    needs, not what the image does.

    Parameters
    ----------
    frame : int
    mask : ndarray of bool
        (y, x), the shape of a frame; not empty. It is copied.

    Attributes
    ----------
    shape : (height, width)
        Of the frame, in pixels.
    bbox : (y0, x0, y1, x1)
        Half-open; the box around the mask.
    bits : bytes
        The mask inside the box, see `masks.pack`.
    """

    frame: int
    shape: tuple[int, int]
    bbox: BBox
    bits: bytes = field(repr=False)

    def __init__(self, frame: int, mask: NDArray[Any]) -> None:
        mask = np.asarray(mask, dtype=bool)
        if mask.ndim != 2:
            raise PromptError(f"frame {frame}: a mask is 2D (y, x), got shape {mask.shape}")
        box = bounding_box(mask)
        self._keep(frame, mask.shape, box, mask[inside(box)])

    @classmethod
    def cropped(
        cls, frame: int, shape: tuple[int, int], bbox: BBox, mask: NDArray[np.bool_]
    ) -> MaskPrompt:
        """Make one of the mask (y, x) inside its bounding box alone; `shape` is the frame's."""
        prompt = cls.__new__(cls)
        prompt._keep(frame, shape, bbox, mask)
        return prompt

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The mask of the whole frame (y, x), read-only."""
        full = np.zeros(self.shape, dtype=bool)
        y0, x0, y1, x1 = self.bbox
        full[inside(self.bbox)] = unpack(self.bits, (y1 - y0, x1 - x0))
        full.flags.writeable = False
        return full

    def _keep(
        self, frame: int, shape: tuple[int, ...], bbox: BBox, mask: NDArray[np.bool_]
    ) -> None:
        if not bbox[2]:
            raise PromptError(f"frame {frame}: the mask is empty")
        height, width = shape
        _set(self, frame=_frame(frame), shape=(int(height), int(width)), bbox=bbox, bits=pack(mask))


Prompt = PointPrompt | BoxPrompt | PolygonPrompt | ScribblePrompt | MaskPrompt


@dataclass(frozen=True)
class ObjectPrompts:
    """All prompts of one object.

    Parameters
    ----------
    id : int
        The label value, 1 to 65535.
    name : str
        What a person calls it; may be empty.
    prompts : tuple of prompts
        In the order they were given.
    """

    id: int
    name: str = ""
    prompts: tuple[Prompt, ...] = ()

    def __post_init__(self) -> None:
        """Check the id."""
        _set(self, id=check_object_id(self.id), prompts=tuple(self.prompts))

    @property
    def frames(self) -> tuple[int, ...]:
        """The conditioning frames of this object, ascending."""
        return tuple(sorted({p.frame for p in self.prompts}))

    def on(self, frame: int) -> tuple[Prompt, ...]:
        """Return the prompts on one frame, in the order given."""
        return tuple(p for p in self.prompts if p.frame == frame)


@dataclass(frozen=True)
class PromptSet:
    """The prompts of all objects; every change returns a new set.

    Parameters
    ----------
    objects : tuple of ObjectPrompts
        Ascending ids, each once.
    """

    objects: tuple[ObjectPrompts, ...] = ()

    def __post_init__(self) -> None:
        """Sort by id and refuse an id that comes twice."""
        ordered = tuple(sorted(self.objects, key=lambda o: o.id))
        _set(self, objects=ordered)
        ids = self.ids
        for object_id in ids:
            if ids.count(object_id) > 1:
                raise PromptError(f"object {object_id} is listed twice")

    @property
    def ids(self) -> tuple[int, ...]:
        """The object ids, ascending."""
        return tuple(o.id for o in self.objects)

    @property
    def prompted_ids(self) -> tuple[int, ...]:
        """The ids of the objects that have at least one prompt."""
        return tuple(o.id for o in self.objects if o.prompts)

    @property
    def frames(self) -> tuple[int, ...]:
        """All frames that carry a prompt, ascending."""
        return tuple(sorted({f for o in self.objects for f in o.frames}))

    def __getitem__(self, object_id: int) -> ObjectPrompts:
        """Return the prompts of one object.

        Raises
        ------
        PromptError
            If there is no such object.
        """
        for entry in self.objects:
            if entry.id == object_id:
                return entry
        known = ", ".join(map(str, self.ids)) or "none yet"
        raise PromptError(f"there is no object {object_id}; objects: {known}")

    def __contains__(self, object_id: object) -> bool:
        """Whether there is an object of this id."""
        return object_id in self.ids

    def add(self, object_id: int, *prompts: Prompt, name: str | None = None) -> PromptSet:
        """Return a set with prompts added to an object, which is made if it is new."""
        old = self[object_id] if object_id in self else ObjectPrompts(object_id)
        new = replace(old, prompts=old.prompts + prompts, name=old.name if name is None else name)
        return self._with(new)

    def remove(self, object_id: int) -> PromptSet:
        """Return a set without an object (`PromptError` if there is none)."""
        gone = self[object_id]
        return PromptSet(tuple(o for o in self.objects if o is not gone))

    def clear(self, object_id: int | None = None, frame: int | None = None) -> PromptSet:
        """Return a set without the prompts of an object, of a frame, of both, or of all.

        Objects stay, without prompts.
        """
        if object_id is not None:
            self[object_id]
        return PromptSet(
            tuple(
                o
                if object_id not in (None, o.id)
                else replace(o, prompts=tuple(p for p in o.prompts if frame not in (None, p.frame)))
                for o in self.objects
            )
        )

    def only(self, object_ids: Iterable[int]) -> PromptSet:
        """Return a set of these objects alone (`PromptError` for an unknown one)."""
        return PromptSet(tuple(self[i] for i in sorted(set(object_ids))))

    def check(self, n_frames: int, shape: tuple[int, int]) -> None:
        """Raise `PromptError` for the first prompt that does not fit frames of this shape."""
        for entry in self.objects:
            for prompt in entry.prompts:
                check_prompt(prompt, n_frames, shape, entry.id)

    def _with(self, entry: ObjectPrompts) -> PromptSet:
        return PromptSet((*(o for o in self.objects if o.id != entry.id), entry))


def check_object_id(value: Any) -> int:
    """Return an object id as int, or raise `PromptError` if it cannot be a label value."""
    if isinstance(value, bool) or not isinstance(value, int | np.integer):
        raise PromptError(f"an object id is a whole number, got {value!r}")
    if not 1 <= value <= MAX_OBJECT_ID:
        raise PromptError(f"object id {value} is outside 1..{MAX_OBJECT_ID}")
    return int(value)


def check_prompt(
    prompt: Prompt, n_frames: int, shape: tuple[int, int], object_id: int | None = None
) -> None:
    """Check that a prompt lies on a frame of an image.

    Boxes, polygons and scribbles may reach over the border (they are clipped when used), but
    something of them must be inside; points must be inside; a mask must have the frame's shape.

    Parameters
    ----------
    prompt : Prompt
    n_frames : int
    shape : (height, width)
    object_id : int, optional
        Named in the message.

    Raises
    ------
    PromptError
    """
    where = f"object {object_id}, frame {prompt.frame}" if object_id else f"frame {prompt.frame}"
    height, width = shape
    size = f"{height} x {width} (y, x) pixels"
    if prompt.frame >= n_frames:
        raise PromptError(f"{where}: the image has frames 0 to {n_frames - 1}")
    if isinstance(prompt, MaskPrompt):
        if prompt.shape != shape:
            raise PromptError(f"{where}: the mask is {prompt.shape}, frames are {size}")
    elif isinstance(prompt, BoxPrompt):
        y0, x0, y1, x1 = prompt.box
        box = f"box (y0={y0:g}, x0={x0:g}, y1={y1:g}, x1={x1:g})"
        inside = min(y1, height) - max(y0, 0), min(x1, width) - max(x0, 0)
        if min(inside) <= 0:
            raise PromptError(f"{where}: {box} lies outside the frame of {size}")
        if min(inside) < min(_MIN_BOX_SIDE, height, width):
            raise PromptError(
                f"{where}: {box} leaves {inside[0]:g} x {inside[1]:g} pixels inside the frame"
            )
    elif isinstance(prompt, PointPrompt):
        for y, x in prompt.points:
            if not _inside(y, x, shape):
                raise PromptError(f"{where}: point ({y:g}, {x:g}) lies outside the frame of {size}")
    else:
        scribble = isinstance(prompt, ScribblePrompt)
        path = np.asarray(prompt.path if isinstance(prompt, ScribblePrompt) else prompt.vertices)
        low, high = path.min(axis=0), path.max(axis=0)
        if (high < -0.5).any() or (low >= np.array(shape) - 0.5).any():
            kind = "scribble" if scribble else "polygon"
            raise PromptError(f"{where}: the {kind} lies outside the frame of {size}")


def _inside(y: float, x: float, shape: tuple[int, int]) -> bool:
    return -0.5 <= y < shape[0] - 0.5 and -0.5 <= x < shape[1] - 0.5


def _set(instance: object, **values: Any) -> None:
    for key, value in values.items():
        object.__setattr__(instance, key, value)


def _frame(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < 0:
        raise PromptError(f"a frame is a whole number from 0, got {value!r}")
    return int(value)


def _polarity(value: Any) -> int:
    if value not in (0, 1):
        raise PromptError(f"a label is 1 (object) or 0 (not the object), got {value!r}")
    return int(value)


def _coordinates(values: Sequence[Sequence[float]], what: str, least: int) -> tuple[YX, ...]:
    try:
        pairs = tuple((float(y), float(x)) for y, x in values)
    except (TypeError, ValueError) as error:
        raise PromptError(f"{what} must be pairs of numbers (y, x)") from error
    if not all(math.isfinite(v) for pair in pairs for v in pair):
        raise PromptError(f"{what} must be finite numbers (y, x)")
    if len(pairs) < least:
        raise PromptError(f"{what}: at least {least} needed, got {len(pairs)}")
    return pairs
