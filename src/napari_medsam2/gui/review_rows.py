"""What the review strip shows of each object, as arrays over the frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from napari_medsam2.history import RunRecord
    from napari_medsam2.prompts import PromptSet
    from napari_medsam2.session import Session

__all__ = ["ReviewRow", "review_rows", "statistic", "worst_scores"]


@dataclass(frozen=True, eq=False)
class ReviewRow:
    """One object on all frames of the present view.

    Attributes
    ----------
    object_id : int
    name : str
    colour : tuple of float
        RGBA, each 0 to 1.
    scores : ndarray of float64
        Confidence in [0, 1], nan where there is no mask.
    prompted, accepted : ndarray of bool
        The frames with a prompt, and those whose mask a person has accepted.
    absent : ndarray of bool
        The frames that were looked at without finding the object.
    """

    object_id: int
    name: str
    colour: tuple[float, ...]
    scores: NDArray[np.float64]
    prompted: NDArray[np.bool_]
    accepted: NDArray[np.bool_]
    absent: NDArray[np.bool_]

    @property
    def title(self) -> str:
        """Id and name."""
        return f"{self.object_id} {self.name}".strip()

    def told(self, frame: int) -> str:
        """Return in words what is known of a frame."""
        if not np.isnan(self.scores[frame]):
            said = [f"confidence {self.scores[frame]:.2f}"]
        else:
            said = ["not seen here" if self.absent[frame] else "not segmented"]
        said += ["prompted"] * bool(self.prompted[frame])
        said += ["accepted"] * bool(self.accepted[frame])
        return ", ".join(said)

    def is_as(self, other: ReviewRow) -> bool:
        """Whether another row looks the same."""
        return (
            (self.object_id, self.name, self.colour) == (other.object_id, other.name, other.colour)
            and np.array_equal(self.scores, other.scores, equal_nan=True)
            and np.array_equal(self.prompted, other.prompted)
            and np.array_equal(self.accepted, other.accepted)
            and np.array_equal(self.absent, other.absent)
        )


def review_rows(
    session: Session | None, n_frames: int, selected: int, colour: Callable[[int], Sequence[float]]
) -> tuple[ReviewRow, ...]:
    """Return a row for each object with prompts, masks or accepted frames, and the selected one.

    Parameters
    ----------
    session : Session or None
        None before anything was drawn.
    n_frames : int
    selected : int
    colour : callable
        Takes an object id, returns RGBA.
    """
    scores = {} if session is None else session.scores
    accepted = {} if session is None else session.accepted
    entries = {} if session is None else {o.id: o for o in session.prompts.objects}
    stated = _stated(session, n_frames)
    nothing = np.full(n_frames, np.nan)
    rows = []
    for object_id in sorted({*scores, *accepted, *entries, selected}):
        entry = entries.get(object_id)
        found = scores.get(object_id, nothing)
        rows.append(
            ReviewRow(
                object_id,
                entry.name if entry else "",
                tuple(float(v) for v in colour(object_id)),
                found,
                _flags(n_frames, entry.frames if entry else ()),
                _flags(n_frames, accepted.get(object_id, ())),
                stated.get(object_id, np.zeros(n_frames, bool)) & np.isnan(found),
            )
        )
    return tuple(rows)


def worst_scores(rows: Iterable[ReviewRow], n_frames: int) -> NDArray[np.float64]:
    """Return for each frame the lowest confidence that is not accepted, nan where there is none."""
    worst = np.full(n_frames, np.nan)
    for row in rows:
        worst = np.fmin(worst, np.where(row.accepted, np.nan, row.scores))
    return worst


def statistic(rows: Sequence[ReviewRow], n_frames: int) -> str:
    """Return in one line how far the review is.

    A slice counts if something was segmented on it, and as accepted once all of that is.
    """
    with_mask = np.zeros(n_frames, bool)
    for row in rows:
        with_mask |= ~np.isnan(row.scores)
    total = int(with_mask.sum())
    if not total:
        return "Nothing is segmented yet"
    worst = worst_scores(rows, n_frames)
    left = ~np.isnan(worst)
    accepted = int((with_mask & ~left).sum())
    if not left.any():
        return f"All {total} slices accepted" if total > 1 else "The slice is accepted"
    frame = int(np.nanargmin(worst))
    return f"{accepted} of {total} slices accepted; worst {worst[frame]:.2f} at slice {frame}"


def _flags(n_frames: int, frames: Iterable[int]) -> NDArray[np.bool_]:
    flags = np.zeros(n_frames, bool)
    flags[np.fromiter(frames, dtype=np.intp)] = True
    return flags


def _stated(session: Session | None, n_frames: int) -> dict[int, NDArray[np.bool_]]:
    """Return for each object the frames that propagations have gone through.

    Scores do not tell a frame without the object from one that was never looked at. What a run that
    was stopped has reached is not known, and left out.
    """
    stated: dict[int, NDArray[np.bool_]] = {}
    if session is None:
        return stated
    for run in session.runs:
        if run.kind == "remove":
            for object_id in run.prompts.ids:
                stated.pop(object_id, None)
        # A run without a view is one of the frames that the session began with.
        if run.kind != "propagate" or run.view not in (None, session.stack.view):
            continue
        reached = _reached(run, run.prompts, n_frames)
        if run.updates >= sum(int(frames.sum()) for frames in reached.values()):
            for object_id, frames in reached.items():
                stated[object_id] = stated.get(object_id, False) | frames
    return stated


def _reached(run: RunRecord, prompts: PromptSet, n_frames: int) -> dict[int, NDArray[np.bool_]]:
    frames = np.arange(n_frames)
    within = frames >= (run.start or 0)
    within &= frames < (n_frames if run.stop is None else run.stop)
    reached = {}
    for entry in prompts.objects:
        reached[entry.id] = within.copy()
        if run.direction == "forward":
            reached[entry.id] &= frames >= min(entry.frames)
        elif run.direction == "backward":
            reached[entry.id] &= frames <= max(entry.frames)
    return reached
