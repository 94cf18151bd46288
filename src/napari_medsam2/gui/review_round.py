"""A round of the review: which slice is shown next, and which were shown before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Hashable

    from numpy.typing import NDArray

__all__ = ["Round"]


class Round:
    """Slices from the lowest confidence upwards, each once.

    A slice whose confidence has changed since it was shown counts as not shown.

    Attributes
    ----------
    is_again : bool
        Whether the slice that came last began a new round, for all had been shown.
    """

    def __init__(self) -> None:
        self.is_again = False
        self._about: Hashable = None
        self._trail: list[int] = []
        self._seen: dict[int, float] = {}

    def begin(self, about: Hashable) -> None:
        """Forget what was shown if it was about something else."""
        if about != self._about:
            self._about = about
            self._trail.clear()
            self._seen.clear()

    def next(self, scores: NDArray[np.float64], here: int | None) -> int | None:
        """Return the slice to show next, None if there is no other one.

        Parameters
        ----------
        scores : ndarray of float64
            One a slice, nan for those that need not be shown.
        here : int or None
            The slice on show, which then counts as shown.
        """
        self._pass(here, scores)
        left = [int(f) for f in np.flatnonzero(~np.isnan(scores)) if f != here]
        if not left:
            return None
        fresh = [f for f in left if self._seen.get(f) != scores[f]]
        self.is_again = not fresh
        if self.is_again:
            self._seen.clear()
            self._pass(here, scores)
        frame = min(fresh or left, key=lambda f: scores[f])
        self._pass(frame, scores)
        return frame

    def back(self, here: int | None) -> int | None:
        """Return the slice that was shown before; the one on show is to come again."""
        if self._trail and self._trail[-1] == here:
            self._seen.pop(self._trail.pop(), None)
        return self._trail[-1] if self._trail else None

    def _pass(self, frame: int | None, scores: NDArray[np.float64]) -> None:
        if frame is not None:
            self._seen[frame] = float(scores[frame])
            if self._trail[-1:] != [frame]:
                self._trail.append(frame)
