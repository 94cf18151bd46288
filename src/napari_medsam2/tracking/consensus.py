"""Objects carried along several axes of a volume, and a vote among the answers.

What one cut through a body does not show, another may: a mask that leaks on axial slices is seldom
believed by the coronal and the sagittal ones as well.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_medsam2.conditioning import mask_start
from napari_medsam2.errors import InputError
from napari_medsam2.labels import MaskUpdate
from napari_medsam2.prompts import ObjectPrompts, PromptSet
from napari_medsam2.volume import View

from .tracker import Propagation
from .zoomed import with_zoom

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

    from napari_medsam2.volume import Volume

    from .embeddings import FrameEncoder

__all__ = ["Consensus", "cross_views"]

# How much a frame counts that its sweep did not reach: half as much as one that is sure.
_UNSEEN = 0.5
_SPACE = 3


def cross_views(volume: Volume, view: View, axes: Sequence[int | str]) -> tuple[View, ...]:
    """Return the views along other axes that cut the same 3D image as a view.

    Parameters
    ----------
    volume : Volume
    view : View
        Along one axis of space.
    axes : sequence of int or str
        Along which to look; the view's own counts once and comes first.

    Raises
    ------
    InputError
        For fewer than two axes, an axis of time, or an image without three axes of space.
    """
    letters = volume.label_axes
    wanted = dict.fromkeys(volume.axis_index(axis) for axis in axes)
    if view.axis is None or {*letters[-_SPACE:]} != {*"zyx"}:
        raise InputError(f"{volume.name}: a vote among axes needs a 3D image, not {letters!r}")
    if any(letters[axis] == "t" for axis in (view.axis, *wanted)):
        raise InputError(f"{volume.name}: axes of space can vote, time cannot")
    others = [axis for axis in wanted if axis != view.axis]
    if not others:
        raise InputError("a vote needs at least two axes, such as z and y")
    # Only time is fixed besides, and it stays where it is.
    return (view, *(View(axis, view.at) for axis in others))


@dataclass(frozen=True, eq=False)
class _Vote:
    """What one axis says of one object, in the order of its own frames."""

    mask: NDArray[np.bool_]
    weight: NDArray[np.float32]


class Consensus:
    """A propagation along several axes of the same 3D image.

    The first view starts from the prompts; the others start from the mask that it found, on the
    slice where that is largest. Each voxel is voted on by all, each with the confidence of its own
    frame; where they are even, the first view decides.

    Parameters
    ----------
    encoder_of : callable
        Takes a view, returns what embeds its frames.
    views : sequence of View
        As `cross_views` returns them.
    prompts : PromptSet
        On frames of the first view.
    memory : str
        See `tracking.memory`.
    takes_masks : bool
        Whether the model can start from a mask; else it gets the box around it.
    zoom : {"auto", "off"}
        See `zoomed.with_zoom`.
    """

    def __init__(
        self,
        encoder_of: Callable[[View], FrameEncoder],
        views: Sequence[View],
        prompts: PromptSet,
        memory: str = "sam2",
        *,
        takes_masks: bool,
        zoom: str = "off",
    ) -> None:
        self._encoder_of = encoder_of
        self._views = tuple(views)
        self._prompts = prompts
        self._memory = memory
        self._takes_masks = takes_masks
        self._zoom = zoom

    @property
    def total(self) -> int:
        """Number of updates at most: those of the first view, and those of the vote."""
        n = len(self._encoder_of(self._views[0]).stack)
        return 2 * n * len(self._prompts.objects)

    def __iter__(self) -> Iterator[MaskUpdate]:
        """Yield what the first view finds, and then what the vote makes of it."""
        first, *others = self._views
        encoder = self._encoder_of(first)
        shape = (len(encoder.stack), *encoder.stack.shape)
        found: dict[int, list[MaskUpdate]] = {i: [] for i in self._prompts.ids}
        sweep = with_zoom(Propagation(encoder, self._prompts, memory=self._memory), self._zoom)
        for updates in sweep:
            for update in updates:
                found[update.object_id].append(update)
                yield update
        for object_id, own in found.items():
            votes = [_vote(own, shape)]
            if not votes[0].mask.any():
                continue
            votes += [self._look(view, first, object_id, votes[0].mask) for view in others]
            yield from _settle(object_id, votes, first)

    def _look(self, view: View, first: View, object_id: int, mask: NDArray[np.bool_]) -> _Vote:
        """Carry an object along another axis, and return it in the order of the first one."""
        there = _place(view)
        turned = np.moveaxis(np.moveaxis(mask, 0, _place(first)), there, 0)
        key = int(turned.sum(axis=(1, 2)).argmax())
        start = mask_start(key, turned[key], takes_masks=self._takes_masks)
        if start is None:
            return _Vote(np.zeros_like(mask), np.zeros(mask.shape, np.float32))
        prompts = PromptSet((ObjectPrompts(object_id, "", (start,)),))
        whole = Propagation(self._encoder_of(view), prompts, memory=self._memory)
        sweep = with_zoom(whole, self._zoom)
        vote = _vote([u for updates in sweep for u in updates], turned.shape)
        return _Vote(
            np.moveaxis(np.moveaxis(vote.mask, 0, there), _place(first), 0),
            np.moveaxis(np.moveaxis(vote.weight, 0, there), _place(first), 0),
        )


def _place(view: View) -> int:
    """Return which of the three axes of space the frames of a view lie along."""
    assert view.axis is not None
    return view.axis - len(view.at)


def _vote(updates: Sequence[MaskUpdate], shape: tuple[int, ...]) -> _Vote:
    mask = np.zeros(shape, dtype=bool)
    weight = np.full((shape[0], 1, 1), _UNSEEN, dtype=np.float32)
    for update in updates:
        y0, x0, y1, x1 = update.bbox
        mask[update.frame] = False
        mask[update.frame, y0:y1, x0:x1] = update.mask
        weight[update.frame] = _UNSEEN if np.isnan(update.score) else max(update.score, 0.05)
    return _Vote(mask, np.broadcast_to(weight, shape))


def _settle(object_id: int, votes: Sequence[_Vote], view: View) -> Iterator[MaskUpdate]:
    """Yield the mask that the vote makes, frame by frame; its score is how far they agree."""
    for frame in range(len(votes[0].mask)):
        masks = [vote.mask[frame] for vote in votes]
        if not np.logical_or.reduce(masks).any():
            continue
        balance = sum(
            np.where(mask, vote.weight[frame], -vote.weight[frame])
            for mask, vote in zip(masks, votes, strict=True)
        )
        won = (balance > 0) | ((balance == 0) & masks[0])
        overlaps = [_iou(won, mask) for mask in masks]
        yield MaskUpdate.from_mask(frame, object_id, won, float(np.mean(overlaps)), view)


def _iou(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    either = int(np.count_nonzero(a | b))
    return int(np.count_nonzero(a & b)) / either if either else 1.0
