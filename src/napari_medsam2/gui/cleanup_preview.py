"""What cleaning up would change, computed in a thread and told in words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_medsam2.labels import Write

from .cleanup_order import further_axis, noun_of, work_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_medsam2.labels import MaskUpdate
    from napari_medsam2.session import Session
    from napari_medsam2.volume import View

    from .cleanup_order import Order
    from .worker import Job

__all__ = ["COME", "GONE", "Place", "Preview", "finder_of"]

GONE, COME = 1, 2


class Place(NamedTuple):
    """A frame of an image.

    Attributes
    ----------
    at : tuple of int
        As in `View`.
    frame : int
    """

    at: tuple[int, ...]
    frame: int


@dataclass(frozen=True)
class Preview:
    """What an order would change.

    Attributes
    ----------
    order : Order
    view : View
        The one that the session was at.
    axes : str
        Letters of the axes of the image, without channels.
    writes : tuple of Write
        The masks, packed: those of many time points are many.
    removed, added : int
        Pixels.
    places : tuple of Place
        Where, ascending.
    """

    order: Order
    view: View
    axes: str
    writes: tuple[Write, ...]
    removed: int
    added: int
    places: tuple[Place, ...]

    def __str__(self) -> str:
        """Return it in words."""
        if not self.writes:
            return "Nothing to change"
        return f"{self.removed:,} px removed, {self.added:,} px added on {self.where}"

    @property
    def where(self) -> str:
        """On which slices, in words."""
        further = further_axis(self.axes, self.view.axis)
        if not self.order.everywhere or further is None or self.view.axis is None:
            return _counted([place.frame for place in self.places], "slice")
        frames = [place.frame for place in self.places]
        others = sorted({place.at[0] for place in self.places})
        along, across = (noun_of(self.axes[i]) for i in (self.view.axis, further))
        return f"{_counted(frames, along)} of {_counted(others, across)}"

    def serves(self, order: Order, view: View) -> bool:
        """Whether an order, given at a view, would change just this."""
        is_here = view.axis == self.view.axis if order.everywhere else view == self.view
        return order == self.order and is_here


def finder_of(
    session: Session, order: Order
) -> Callable[[Job], tuple[Preview, NDArray[np.uint8]] | None]:
    """Return what finds out, in the thread, what an order would change.

    Returns
    -------
    callable
        Returns the preview, and `GONE` and `COME` in an array of the image's label shape; None if
        it was cancelled.

    Raises
    ------
    InputError
        For an order that makes no sense.
    """
    work, volume, view = work_of(session, order), session.volume, session.stack.view

    def find(job: Job) -> tuple[Preview, NDArray[np.uint8]] | None:
        changes = np.zeros(volume.label_shape, np.uint8)
        before = cache(session.frames_of)
        after = cache(lambda where: session.frames_of(where, changes))
        writes: list[Write] = []
        counts = np.zeros(2, np.int64)
        for update in work(lambda: job.is_cancelled):
            if job.is_cancelled:
                return None
            where, frame = update.view, update.frame
            was = before(where)[frame] == update.object_id
            counts += _mark(after(where)[frame], was, update)
            writes.append(Write.of(update))
        if job.is_cancelled:
            return None
        places = sorted({_place(write) for write in writes})
        removed, added = counts.tolist()
        found = (volume.label_axes, tuple(writes), removed, added, tuple(places))
        return Preview(order, view, *found), changes

    return find


def _place(write: Write) -> Place:
    assert write.view is not None
    return Place(write.view.at, write.frame)


def _counted(indices: list[int], noun: str) -> str:
    """Return the only one by its number, or how many there are."""
    n = len(indices)
    return f"{noun} {indices[0]}" if n == 1 else f"{n} {noun}s"


def _mark(
    changes: NDArray[np.uint8], before: NDArray[np.bool_], update: MaskUpdate
) -> tuple[int, int]:
    """Mark what an update changes on a frame; return how many pixels go and come."""
    height, width = before.shape
    mask = update.full_mask((height, width))
    gone, come = before & ~mask, mask & ~before
    changes[gone], changes[come] = GONE, COME
    return int(np.count_nonzero(gone)), int(np.count_nonzero(come))
