"""A copy of labels that keeps up with them, a few milliseconds at a time. Numpy only."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from napari_medsam2.session import Session
    from napari_medsam2.volume import View

__all__ = ["Shadow"]

_PIECE = 2**20  # bytes that are copied at once


class Shadow:
    """The labels of a session as they were at one moment, for a thread to write.

    Parameters
    ----------
    session : Session

    Attributes
    ----------
    labels : ndarray of unsigned int
        Whole once `copy` has returned True.
    """

    def __init__(self, session: Session) -> None:
        source = session.labels
        self.labels: NDArray[Any] = np.empty(source.shape, source.dtype)
        self._source = source
        self._changed: set[tuple[View, int]] = set()
        self._pieces = _planes(self.labels, source)

    def serves(self, session: Session) -> bool:
        """Whether it follows the labels of a session."""
        return session.labels is self._source

    def note(self, changes: Iterable[tuple[View, int]]) -> None:
        """Note frames that have to be copied again."""
        self._changed.update(changes)

    def copy(self, session: Session, seconds: float) -> bool:
        """Copy what has changed, for about so many seconds.

        Parameters
        ----------
        session : Session
            Of these labels.
        seconds : float

        Returns
        -------
        bool
            Whether the copy is whole: it equals the labels, if all changes were noted.
        """
        deadline = time.monotonic() + seconds
        while True:
            for target, source in self._pieces:
                np.copyto(target, source)
                if time.monotonic() > deadline:
                    return False
            if not self._changed:
                return True
            view, frame = self._changed.pop()
            target, source = (
                session.frames_of(view, a)[frame] for a in (self.labels, self._source)
            )
            self._pieces = _rows(target, source)


def _planes(target: NDArray[Any], source: NDArray[Any]) -> Iterator[tuple[NDArray[Any], ...]]:
    for index in np.ndindex(source.shape[:-2]):
        yield from _rows(target[index], source[index])


def _rows(target: NDArray[Any], source: NDArray[Any]) -> Iterator[tuple[NDArray[Any], ...]]:
    """Yield rows of a plane (y, x), so many at once that they are a piece."""
    n = max(1, _PIECE // max(1, source.shape[1] * source.itemsize))
    for start in range(0, len(source), n):
        yield target[start : start + n], source[start : start + n]
