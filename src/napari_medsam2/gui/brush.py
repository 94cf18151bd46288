"""Strokes that a person paints on the result layer, taken in as corrections.

napari paints straight into the label array and tells afterwards what each stroke has replaced. A
stroke is read off the array (`read_strokes`), then put back and stated anew through the session
(`painted`), so that undo, locks and files know of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_medsam2.labels import MaskUpdate
from napari_medsam2.masks import inside, moved, union, value_box
from napari_medsam2.prompts import MaskPrompt

from .tools import PAINTING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_medsam2.prompts import PromptSet

    from .adapters import FrameView

__all__ = ["Brush", "Painted", "Patch", "painted", "read_strokes", "with_masks"]

Region = tuple[slice, ...]


@dataclass(frozen=True, eq=False)
class Patch:
    """A box of the label array before and after it was painted on."""

    region: Region
    before: NDArray[Any] = field(repr=False)
    after: NDArray[Any] = field(repr=False)

    def put_back(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Take the paint off, where it still is; return what was wanted there."""
        now = labels[self.region]
        is_painted = self.before != self.after
        back = np.where(is_painted & (now == self.after), self.before, now)
        labels[self.region] = back
        return np.where(is_painted, self.after, back)


@dataclass(frozen=True, eq=False)
class Painted:
    """What painting says about one frame.

    Attributes
    ----------
    frame : int
    updates : dict of int to MaskUpdate
        The whole mask of each object that has changed, those that have lost first.
    said : frozenset of int
        The objects that a person has painted or erased; others only lost pixels to them.
    kept : frozenset of int
        Objects that were painted over but may not change.
    """

    frame: int
    updates: dict[int, MaskUpdate]
    said: frozenset[int]
    kept: frozenset[int]


class Brush:
    """Listens to the result layer while somebody paints."""

    # A stroke has ended.
    painted = Signal()

    def __init__(self) -> None:
        self.is_painting = False
        self._layer: Labels | None = None
        self._strokes: list[Any] = []
        self._patches: list[Patch] = []

    @property
    def has_strokes(self) -> bool:
        """Whether something was painted that nobody has taken yet."""
        return bool(self._strokes or self._patches)

    def watch(self, layer: Labels | None) -> None:
        """Listen to a layer, and no longer to the one before."""
        if layer is self._layer:
            return
        if self._layer is not None:
            self._layer.events.paint.disconnect(self._on_paint)
            if self._on_press in self._layer.mouse_drag_callbacks:
                self._layer.mouse_drag_callbacks.remove(self._on_press)
        self._layer, self._strokes, self._patches = layer, [], []
        self.is_painting = False
        if layer is not None:
            layer.events.paint.connect(self._on_paint)
            layer.mouse_drag_callbacks.insert(0, self._on_press)

    def read(self) -> None:
        """Note what was painted before a run may write there; cheap if nothing was."""
        if self._layer is not None and self._strokes and not self.is_painting:
            patch = read_strokes(self._strokes, self._layer.data)
            self._strokes = []
            if patch is not None:
                self._patches.append(patch)

    def take(self) -> list[Patch]:
        """Return what was painted, oldest first; it is not kept here any longer."""
        self.read()
        patches, self._patches = self._patches, []
        return patches

    def _on_paint(self, event: Any) -> None:
        # Pixels that are set by a script are written after this.
        self._strokes.extend(event.value)
        self.painted.emit()

    def _on_press(self, layer: Labels, event: Any) -> Iterator[None]:
        if str(layer.mode) not in PAINTING:
            return
        self.is_painting = True
        yield
        while event.type == "mouse_move":
            yield
        self.is_painting = False
        if self.has_strokes:
            self.painted.emit()


def read_strokes(strokes: Sequence[Any], labels: NDArray[Any]) -> Patch | None:
    """Return the box that strokes have changed.

    Parameters
    ----------
    strokes : sequence
        napari's atoms of paint in their order: either (indices, old values, new values), or with
        the attributes `slice_key` (a box), `mask` (the pixels in it, None for all) and
        `old_values`.
    labels : ndarray
        As painted.
    """
    boxes = [_box(stroke) for stroke in strokes]
    if not boxes:
        return None
    region = tuple(
        slice(min(b[axis].start for b in boxes), max(b[axis].stop for b in boxes))
        for axis in range(labels.ndim)
    )
    after = labels[region].copy()
    before = after.copy()
    for stroke, box in zip(reversed(strokes), reversed(boxes), strict=True):
        if hasattr(stroke, "slice_key"):
            inside = before[_within(box, region)]
            inside[... if stroke.mask is None else stroke.mask] = stroke.old_values
        else:
            starts = (s.start for s in region)
            indices = tuple(i - s for i, s in zip(_indices(stroke), starts, strict=True))
            before[indices] = stroke[1]
    return Patch(region, before, after) if (before != after).any() else None


def painted(
    patch: Patch,
    wanted: NDArray[Any],
    frames: NDArray[Any],
    view: FrameView,
    stays: Callable[[int], frozenset[int]],
) -> Iterator[Painted]:
    """Yield what a patch says about each frame of a view.

    Parameters
    ----------
    patch : Patch
        Put back already.
    wanted : ndarray
        What `Patch.put_back` returned.
    frames : ndarray of unsigned int
        (frame, y, x), the labels.
    view : FrameView
        How they lie in the label array; paint elsewhere is left out.
    stays : callable
        Takes a frame; returns the objects that may not change there.
    """
    fixed = dict(view.fixed)
    if any(not patch.region[axis].start <= at < patch.region[axis].stop for axis, at in view.fixed):
        return
    span = range(1) if view.axis is None else range(*patch.region[view.axis].indices(view.n_frames))
    y, x = (patch.region[axis] for axis in view.plane)
    for number, frame in enumerate(span):
        place = tuple(
            number
            if axis == view.axis
            else fixed[axis] - patch.region[axis].start
            if axis in fixed
            else slice(None)
            for axis in range(wanted.ndim)
        )
        found = _on_frame(frame, frames[frame], (y, x), wanted[place], stays(frame))
        if found is not None:
            yield found


def with_masks(
    prompts: PromptSet, shape: tuple[int, int], updates: Iterable[MaskUpdate]
) -> PromptSet:
    """Return prompts in which masks stand for all that was said of their objects on a frame.

    Parameters
    ----------
    prompts : PromptSet
    shape : (height, width)
        Of a frame.
    updates : iterable of MaskUpdate
    """
    for update in updates:
        object_id, frame = update.object_id, update.frame
        if object_id in prompts:
            prompts = prompts.clear(object_id, frame)
        if update.mask.any():
            mask = MaskPrompt.cropped(frame, shape, update.bbox, update.mask)
            prompts = prompts.add(object_id, mask)
    return prompts


def _on_frame(
    frame: int,
    image: NDArray[Any],
    crop: Region,
    wanted: NDArray[Any],
    stays: frozenset[int],
) -> Painted | None:
    before = image[crop]
    changed = before != wanted
    kept = changed & (np.isin(before, list(stays)) | np.isin(wanted, list(stays)))
    wanted = np.where(kept, before, wanted)
    told = np.unique(np.r_[before[kept], wanted[kept]])
    changed &= ~kept
    if not changed.any() and not kept.any():
        return None
    gained, lost = np.unique(wanted[changed]), np.unique(before[changed])
    erased = np.unique(before[changed & (wanted == 0)])
    updates = {
        int(i): _update(frame, int(i), image, crop, wanted)
        for i in (*np.setdiff1d(lost, gained), *gained)
        if i
    }
    said = frozenset({*gained.tolist(), *erased.tolist()} - {0})
    return Painted(frame, updates, said, frozenset(int(i) for i in told if i in stays))


def _update(
    frame: int, object_id: int, image: NDArray[Any], crop: Region, wanted: NDArray[Any]
) -> MaskUpdate:
    """Return what a frame will show of an object once a crop of it is as wanted.

    Looks at no more of the frame than it must: that may have 25 million pixels.
    """
    y, x = crop
    painted = (y.start, x.start, y.stop, x.stop)
    around = union(value_box(image, object_id), painted)
    mask = image[inside(around)] == object_id
    mask[inside(painted, around)] = wanted == object_id
    # A person is sure of what they paint.
    update = MaskUpdate.from_mask(frame, object_id, mask, 1.0)
    if not update.bbox[2]:
        return replace(update, score=np.nan)
    return replace(update, bbox=moved(update.bbox, around))


def _box(stroke: Any) -> Region:
    if hasattr(stroke, "slice_key"):
        return tuple(slice(int(s.start), int(s.stop)) for s in stroke.slice_key)
    return tuple(slice(int(i.min()), int(i.max()) + 1) for i in _indices(stroke))


def _indices(stroke: Any) -> tuple[NDArray[np.intp], ...]:
    return tuple(np.asarray(i) for i in stroke[0])


def _within(box: Region, region: Region) -> Region:
    return tuple(
        slice(b.start - r.start, b.stop - r.start) for b, r in zip(box, region, strict=True)
    )
