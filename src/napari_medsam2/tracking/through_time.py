"""A 3D object through time: found slice by slice at one time point, and from there at the next."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_medsam2.conditioning import mask_start
from napari_medsam2.errors import InputError
from napari_medsam2.prompts import ObjectPrompts, PromptSet
from napari_medsam2.volume import View

from .tracker import Propagation
from .zoomed import with_zoom

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from napari_medsam2.labels import MaskUpdate
    from napari_medsam2.volume import Volume

    from .embeddings import FrameEncoder

__all__ = ["ThroughTime", "time_axis"]

Way = Literal["forward", "backward"]

_Masks = dict[int, dict[int, "NDArray[np.bool_]"]]
"""For each object the masks (y, x) of the frames it was found on."""


def time_axis(volume: Volume, view: View) -> int:
    """Return the axis of time beside a view along an axis of space.

    Raises
    ------
    InputError
        For an image without time, or a view along any axis but the first one after it.
    """
    letters = volume.label_axes
    if letters[:1] != "t" or len(letters) != 4:
        raise InputError(
            f"{volume.name}: objects go through time in images of t, z, y and x, not {letters!r}"
        )
    # The slice that an object is carried through time on is one of the frames along this axis.
    if view.axis != 1:
        raise InputError(
            f"{volume.name}: objects go through time from slices along "
            f"{letters[1]!r}: choose that axis"
        )
    return 0


class ThroughTime:
    """Propagation along z at each time point, seeded from the one before.

    At the next time point an object is looked for first where it was largest, by carrying it along
    time on that very slice; from there it is carried through the others. What a person has said or
    accepted at a time point comes before what is carried there.

    Parameters
    ----------
    volume : Volume
    encoder_of : callable
        Takes a view, returns what embeds its frames.
    view : View
        Along z, at the first time point.
    told : mapping of View to PromptSet
        What was said of the objects at all time points.
    direction : {"forward", "backward"}
    stop : int, optional
        The first time point that is not looked at; by default all are.
    memory, takes_masks, zoom
        As in `Consensus`.

    Raises
    ------
    InputError
        For an image without time, or a range that is none.
    """

    def __init__(
        self,
        volume: Volume,
        encoder_of: Callable[[View], FrameEncoder],
        view: View,
        told: Mapping[View, PromptSet],
        direction: Way = "forward",
        stop: int | None = None,
        memory: str = "sam2",
        *,
        takes_masks: bool,
        zoom: str = "off",
    ) -> None:
        self._time = time_axis(volume, view)
        n = volume.label_shape[self._time]
        start, step = view.at[0], 1 if direction == "forward" else -1
        stop = (n if step > 0 else -1) if stop is None else stop
        self._times = range(start, stop, step)
        if direction not in ("forward", "backward") or not self._times or not -1 <= stop <= n:
            raise InputError(
                f"{volume.name}: there is nothing {direction} from time point {start} to {stop}; "
                f"time points run from 0 to {n - 1}"
            )
        self._encoder_of = encoder_of
        self._view = view
        self._told = told
        self._memory = memory
        self._takes_masks = takes_masks
        self._zoom = zoom

    @property
    def total(self) -> int:
        """Number of updates at most."""
        n_frames = len(self._encoder_of(self._view).stack)
        return n_frames * len(self._times) * len(self._told[self._view].objects)

    def __iter__(self) -> Iterator[MaskUpdate]:
        """Yield the masks of one time point after the other, each with the view it belongs to."""
        before: _Masks = {}
        for time in self._times:
            view = View(self._view.axis, (time,))
            prompts = self._prompts(view, before, time)
            before = {}
            if not prompts.objects:
                continue
            encoder = self._encoder_of(view)
            whole = Propagation(encoder, prompts, memory=self._memory)
            for updates in with_zoom(whole, self._zoom):
                for update in updates:
                    found = before.setdefault(update.object_id, {})
                    found.pop(update.frame, None)
                    if update.area:
                        found[update.frame] = update.full_mask(encoder.stack.shape)
                    yield replace(update, view=view)

    def _prompts(self, view: View, before: _Masks, time: int) -> PromptSet:
        """Return what each object starts from at a time point."""
        told = self._told.get(view, PromptSet())
        said = {entry.id: entry for entry in told.objects if entry.prompts}
        entries = [said[i] for i in sorted(said)]
        for object_id, masks in sorted(before.items()):
            if object_id in said or not masks:
                continue
            key = max(masks, key=lambda frame: int(np.count_nonzero(masks[frame])))
            carried = self._carried(object_id, key, masks[key], time)
            start = None
            if carried is not None:
                start = mask_start(key, carried, takes_masks=self._takes_masks)
            if start is not None:
                entries.append(ObjectPrompts(object_id, "", (start,)))
        return PromptSet(tuple(entries))

    def _carried(
        self, object_id: int, frame: int, mask: NDArray[np.bool_], time: int
    ) -> NDArray[np.bool_] | None:
        """Carry a mask on one slice to a time point, None if the object is not there."""
        step = self._times.step
        start = mask_start(time - step, mask, takes_masks=self._takes_masks)
        if start is None:
            return None
        encoder = self._encoder_of(View(self._time, (frame,)))
        whole = Propagation(
            encoder,
            PromptSet((ObjectPrompts(object_id, "", (start,)),)),
            "forward" if step > 0 else "backward",
            time,
            time + 1,
            memory=self._memory,
        )
        for updates in with_zoom(whole, self._zoom):
            for update in updates:
                if update.frame == time and update.area:
                    return update.full_mask(encoder.stack.shape)
        return None
