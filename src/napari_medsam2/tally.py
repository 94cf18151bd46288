"""How many pixels each object has on each frame, kept up to date as labels change. Numpy only."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

__all__ = ["Tally", "pixel_counts"]

_COUNTED_BY_VALUE = 2  # bytes of a label up to which an array with an entry per value is small
# Pixels that are counted in one go: no thread holds Python up for longer than some milliseconds.
_IN_ONE_GO = 2**20


class Tally:
    """Pixel counts per object and frame; only frames that were touched are counted again.

    Counting a frame of 512 x 512 pixels takes about a millisecond, so that a window can count a few
    frames at a time: `touch` what has changed, then call `count` until it says that it is done.

    Parameters
    ----------
    frames : ndarray of int
        (frame, y, x); a live view, which is read and never written. All frames count as touched.
    """

    def __init__(self, frames: NDArray[Any]) -> None:
        self._frames = frames
        self._counts: dict[int, NDArray[np.int64]] = {}
        self._stale = dict.fromkeys(range(len(frames)))

    @property
    def is_stale(self) -> bool:
        """Whether frames that were touched have yet to be counted."""
        return bool(self._stale)

    @property
    def object_ids(self) -> tuple[int, ...]:
        """The objects that have a pixel, ascending."""
        return tuple(sorted(i for i, counts in self._counts.items() if counts.any()))

    def touch(self, frames: Iterable[int] | None = None) -> None:
        """Note that frames have changed, by default all of them.

        Parameters
        ----------
        frames : iterable of int, optional
            Those that do not exist are ignored.
        """
        wanted = range(len(self._frames)) if frames is None else frames
        self._stale.update((f, None) for f in wanted if 0 <= f < len(self._frames))

    def count(self, most: int | None = None) -> bool:
        """Count frames that were touched.

        Parameters
        ----------
        most : int, optional
            No more frames than this; all by default.

        Returns
        -------
        bool
            Whether frames remain.
        """
        for frame in self.next_frames(len(self._stale) if most is None else most):
            self.take(frame, pixel_counts(self._frames[frame]))
        return self.is_stale

    def next_frames(self, most: int) -> list[int]:
        """Return frames that are to be counted, which somebody else counts for `take`."""
        frames = list(self._stale)[:most]
        for frame in frames:
            del self._stale[frame]
        return frames

    def take(self, frame: int, counts: Mapping[int, int]) -> None:
        """Take in the number of pixels of each object on a frame, as of `pixel_counts`."""
        for known in self._counts.values():
            known[frame] = 0
        for object_id, number in counts.items():
            if object_id not in self._counts:
                self._counts[object_id] = np.zeros(len(self._frames), np.int64)
            self._counts[object_id][frame] = number

    def pixels(self, object_id: int) -> int:
        """Return how many pixels an object has on all frames together."""
        counts = self._counts.get(object_id)
        return 0 if counts is None else int(counts.sum())

    def per_frame(self, object_id: int) -> NDArray[np.int64]:
        """Return how many pixels an object has on each frame."""
        counts = self._counts.get(object_id)
        return np.zeros(len(self._frames), np.int64) if counts is None else counts.copy()


def pixel_counts(image: NDArray[Any]) -> dict[int, int]:
    """Return how many pixels each object has in an image; 0 is none.

    Parameters
    ----------
    image : ndarray of int
        (y, x)
    """
    total: Counter[int] = Counter()
    rows = max(1, _IN_ONE_GO // max(1, image.shape[1]))
    for start in range(0, len(image), rows):
        block = image[start : start + rows]
        if block.dtype.itemsize <= _COUNTED_BY_VALUE:
            found = np.bincount(block.ravel())
            ids = np.flatnonzero(found)
            numbers = found[ids]
        else:
            ids, numbers = np.unique(block, return_counts=True)
        total.update(dict(zip(ids.tolist(), numbers.tolist(), strict=True)))
    return {object_id: number for object_id, number in sorted(total.items()) if object_id > 0}
