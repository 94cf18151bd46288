"""How propagations are to go: which way, how far, for whom, and until when."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from napari_medsam2.errors import PromptError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from napari_medsam2.session import Session
    from napari_medsam2.tracking.tracker import Direction

__all__ = ["Course", "Leg", "Way", "next_slice", "to_next_prompt", "ways"]


Way = Literal["both", "forward", "backward", "vote", "later", "earlier"]

_ALONG: dict[Way, str] = {"both": "Both ways", "forward": "Forward", "backward": "Backward"}
_TIME: dict[Way, str] = {"later": "Through time \u2192", "earlier": "Through time \u2190"}


def ways(axes: str, axis: int) -> dict[Way, str]:
    """Return the ways to propagate in an image, and what they are called.

    Parameters
    ----------
    axes : str
        The letters of its axes, as in `Volume.label_axes`.
    axis : int
        The one that frames are taken along.
    """
    found = dict(_ALONG)
    if {*axes[-3:]} == {*"zyx"} and axis >= len(axes) - 3:
        found["vote"] = f"Vote: {', '.join(axes[-3:])}"
        if axes[:-3] == "t" and axis == 1:
            found |= _TIME
    return found


@dataclass
class Course:
    """What a person has chosen for their propagations.

    Attributes
    ----------
    way : str
        A key of `ways`: along the axis, by a vote among axes, or through time.
    only_selected : bool
        The object in use alone, in place of all that have prompts.
    patience : int or None
        Stop an object that is not found on so many frames in a row; None leaves it to the model.
    """

    way: Way = "both"
    only_selected: bool = False
    patience: int | None = None
    _frames: tuple[int, int, int] | None = field(default=None, repr=False)

    def limit(self, first: int, last: int, n_frames: int) -> None:
        """Fill these frames alone, both included, of an image of so many."""
        first, last = sorted((first, last))
        self._frames = None if (first, last) == (0, n_frames - 1) else (first, last, n_frames)

    def lift_limit(self) -> None:
        """Fill all frames."""
        self._frames = None

    def frames(self, n_frames: int) -> tuple[int, int]:
        """Return the first and the last frame to fill; a limit is one of the axis it was made on.

        Parameters
        ----------
        n_frames : int
            Of the axis in use.
        """
        if self._frames is None or self._frames[2] != n_frames:
            return 0, n_frames - 1
        return self._frames[:2]

    def span(self, n_frames: int) -> tuple[int | None, int | None]:
        """Return `start` and `stop` of a propagation, None for all frames."""
        first, last = self.frames(n_frames)
        return (None, None) if (first, last) == (0, n_frames - 1) else (first, last + 1)


@dataclass(frozen=True)
class Leg:
    """A short propagation from the slice on show.

    Attributes
    ----------
    direction : {"forward", "backward"}
    start, stop : int
        Half-open range of frames.
    object_ids : tuple of int
        Those that come to the slice on show from behind.
    """

    direction: Direction
    start: int
    stop: int
    object_ids: tuple[int, ...]


def next_slice(
    session: Session, frame: int, step: int, object_ids: Iterable[int] | None = None
) -> Leg:
    """Return the leg from a frame to its neighbour.

    The objects come from their nearest prompt or accepted mask on the frame or behind it, which
    gives the neighbour what a propagation over all frames gives it; the frame itself stays as it
    is. A mask that was painted there is a prompt and so is what is carried on.

    Parameters
    ----------
    session : Session
    frame : int
    step : {1, -1}
    object_ids : iterable of int, optional
        By default all that may be propagated.

    Raises
    ------
    PromptError
        If no object comes from there, or there is no neighbour.
    """
    target = frame + step
    starts = _behind(_starts(session, object_ids), frame, step)
    if not 0 <= target < len(session.stack):
        raise PromptError(f"slice {frame} is the {'last' if step > 0 else 'first'} one")
    return Leg(_way(step), target, target + 1, tuple(starts))


def to_next_prompt(
    session: Session, frame: int, step: int, object_ids: Iterable[int] | None = None
) -> Leg:
    """Return the leg from a frame to the next one that has a prompt or an accepted mask.

    That one is not filled; the frame itself is, if it has prompts. Of several objects the nearest
    such frame of any of them is the end. Without one the leg goes to the end of the axis.

    Parameters
    ----------
    session, frame, step, object_ids
        See `next_slice`.

    Raises
    ------
    PromptError
        If no object comes from there, or nothing lies between.
    """
    starts = _behind(_starts(session, object_ids), frame, step)
    beyond = len(session.stack) if step > 0 else -1
    ahead = [f for frames in starts.values() for f in frames if (f - frame) * step > 0]
    end = min(ahead, key=lambda f: f * step, default=beyond)
    is_prompted = any(frame in frames for frames in starts.values())
    first = frame if is_prompted else frame + step
    if (end - first) * step <= 0:
        raise PromptError(f"there is no slice between slice {frame} and the next one with a prompt")
    start, stop = (first, end) if step > 0 else (end + 1, first + 1)
    return Leg(_way(step), start, stop, tuple(starts))


def _starts(session: Session, object_ids: Iterable[int] | None) -> dict[int, frozenset[int]]:
    """Return for each object the frames that tracking starts from."""
    accepted = session.accepted
    told = {entry.id: frozenset(entry.frames) for entry in session.prompts.objects}
    ids = {*told, *accepted} - session.locked if object_ids is None else set(object_ids)
    nothing: frozenset[int] = frozenset()
    return {i: told.get(i, nothing) | accepted.get(i, nothing) for i in sorted(ids)}


def _behind(
    starts: Mapping[int, frozenset[int]], frame: int, step: int
) -> dict[int, frozenset[int]]:
    """Return the objects that come to a frame from behind."""
    found = {i: fs for i, fs in starts.items() if any((f - frame) * step <= 0 for f in fs)}
    if not found:
        side = "before" if step > 0 else "after"
        which = f"object {next(iter(starts))} has" if len(starts) == 1 else "there is"
        raise PromptError(
            f"{which} no prompt on slice {frame} or {side} it to carry on from: draw one, or press "
            "U to make the mask on show a prompt"
        )
    return found


def _way(step: int) -> Direction:
    return "forward" if step > 0 else "backward"
