"""Going through a result: from the worst slice to the next, from prompt to prompt, accepting."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from psygnal import Signal

from napari_medsam2.errors import InputError

from .review_round import Round
from .review_rows import ReviewRow, review_rows, statistic, worst_scores
from .views import position, show_frame, shows_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from napari_medsam2.session import Session

    from .bench import Bench
    from .controller import Controller
    from .tools import Tools

__all__ = ["Review", "Scope", "review_actions"]

Scope = Literal["all", "selected"]


class Review:
    """Where the result is weak, and what a person has accepted.

    Parameters
    ----------
    bench : Bench
    tools : Tools
    guarded : callable
        Does something; an error of it is told, and makes the answer False.
    in_line : callable
        Returns the session, with the prompts that are on the screen.

    Attributes
    ----------
    goes_on : bool
        Whether accepting a slice leads to the next worst one.
    """

    # The scope, or what is accepted, is not what it was.
    changed = Signal()
    # One line on what has happened.
    told = Signal(str)

    def __init__(
        self,
        bench: Bench,
        tools: Tools,
        guarded: Callable[[Callable[[], Any]], bool],
        in_line: Callable[[], Session],
    ) -> None:
        self.goes_on = False
        self._bench, self._tools = bench, tools
        self._guarded, self._in_line = guarded, in_line
        self._scope: Scope = "all"
        self._round = Round()

    # What there is

    @property
    def scope(self) -> Scope:
        """Whether slices are judged by "all" objects or by the "selected" one."""
        return self._scope

    def set_scope(self, scope: Scope) -> None:
        """Judge slices by "all" objects or by the "selected" one."""
        if scope != self._scope:
            self._scope = scope
            self.changed.emit()

    @property
    def n_frames(self) -> int:
        """Number of frames of the present view; 0 without an image or a frame axis."""
        desk = self._bench.desk
        if desk is None or desk.image.ndim < 3:
            return 0
        if desk.session is not None:
            return len(desk.session.stack)
        data = desk.image.data[0] if desk.image.multiscale else desk.image.data
        return int(data.shape[desk.axis(self._bench.settings)])

    def rows(self) -> tuple[ReviewRow, ...]:
        """Return what is known of each object; nothing without frames."""
        desk, n = self._bench.desk, self.n_frames
        if desk is None or not n:
            return ()
        colour = desk.colour
        return review_rows(desk.session, n, self._tools.object_id, lambda i: tuple(colour(i)))

    def statistic(self, rows: Sequence[ReviewRow] | None = None) -> str:
        """Return in one line how far the review is."""
        return statistic(self._judged(self.rows() if rows is None else rows), self.n_frames)

    @property
    def selected(self) -> int:
        """The object in use."""
        return self._tools.object_id

    @property
    def is_elsewhere(self) -> bool:
        """Whether the sliders stand at another time, say, than the frames of the strip."""
        desk = self._bench.desk
        if desk is None or desk.session is None:
            return False
        dims = self._bench.viewer.dims
        return any(position(dims, desk.image, axis) != at for axis, at in desk.view.fixed)

    def keep_up(self) -> None:
        """Turn to the frames where the sliders stand."""
        desk = self._bench.desk
        if self.is_elsewhere and desk is not None and not desk.prompts.is_drawing:
            self._guarded(self._in_line)
            if not self.is_elsewhere:
                self.changed.emit()

    def frame_on_show(self) -> int | None:
        """Return the frame on show, None if the view cuts across frames or is elsewhere."""
        desk = self._bench.desk
        if desk is None or not self.n_frames:
            return None
        dims, image = self._bench.viewer.dims, desk.image
        if desk.session is None:
            return position(dims, image, desk.axis(self._bench.settings))
        view = desk.view
        if view.axis is None or self.is_elsewhere or not shows_frames(dims, image, view):
            return None
        return position(dims, image, view.axis)

    # Where to go

    def select(self, object_id: int) -> None:
        """Draw this object from now on."""
        self._tools.select(object_id)

    def go_to(self, frame: int) -> None:
        """Move the sliders to a frame."""
        desk = self._bench.desk
        if desk is None or not 0 <= frame < self.n_frames:
            return
        dims = self._bench.viewer.dims
        if desk.session is not None:
            to = dict(desk.view.fixed)
            if desk.view.axis is not None:
                to[desk.view.axis] = frame
        else:
            to = {desk.axis(self._bench.settings): frame}
        show_frame(dims, desk.image, to)

    def next_worst(self) -> int | None:
        """Go to the least confident slice that is neither accepted nor shown in this round.

        Returns
        -------
        int or None
            The frame; None if there is none, which is told.
        """
        rows = self._judged(self.rows())
        worst = worst_scores(rows, self.n_frames)
        here = self.frame_on_show()
        self._round.begin(self._what_is_judged())
        frame = self._round.next(worst, here)
        if frame is None:
            self.told.emit(self._nothing_left(here is not None and not np.isnan(worst[here])))
            return None
        self.go_to(frame)
        again = self._round.is_again
        what = "All were shown; again from the worst: slice" if again else "Slice"
        of = f" of {_weakest(rows, frame)}" if len(rows) > 1 else ""
        self.told.emit(f"{what} {frame}, confidence {worst[frame]:.2f}{of}")
        return frame

    def previous_worst(self) -> int | None:
        """Go back to the slice from which `next_worst` came; None if there is none."""
        self._round.begin(self._what_is_judged())
        frame = self._round.back(self.frame_on_show())
        if frame is None:
            self.told.emit("This is where the round of worst slices began")
            return None
        self.go_to(frame)
        self.told.emit(f"Back on slice {frame}")
        return frame

    def next_prompt(self) -> int | None:
        """Go to the next slice with a prompt; None if there is none."""
        return self._go_to_prompt(1)

    def previous_prompt(self) -> int | None:
        """Go to the previous slice with a prompt; None if there is none."""
        return self._go_to_prompt(-1)

    # What is good

    def accept(self, object_ids: Iterable[int] | None = None, frame: int | None = None) -> bool:
        """Accept masks of a slice as they are; if they already were, take that back.

        Parameters
        ----------
        object_ids : iterable of int, optional
            By default all that were segmented there.
        frame : int, optional
            The one on show by default.

        Returns
        -------
        bool
            False if it could not be done, which is told.
        """
        wanted = None if object_ids is None else tuple(object_ids)
        return self._guarded(lambda: self._accept(wanted, frame))

    def accept_selected(self) -> bool:
        """Accept the mask of the object in use on the slice on show, or take that back."""
        return self.accept([self._tools.object_id])

    # Inside

    def _accept(self, wanted: tuple[int, ...] | None, frame: int | None) -> None:
        session = self._in_line()
        frame = self._bench.require_desk().current_frame() if frame is None else frame
        session.stack.check_frame(frame)
        found = [i for i, scores in session.scores.items() if not np.isnan(scores[frame])]
        ids = [i for i in found if wanted is None or i in wanted]
        if not ids:
            what = "a mask" if wanted is None else f"a mask of object {_listed(wanted)}"
            raise InputError(f"slice {frame} has not {what} to accept: segment it first")
        accepted = session.accepted
        if all(frame in accepted.get(i, ()) for i in ids):
            session.unaccept(frame, ids)
            self.changed.emit()
            self.told.emit(f"Slice {frame}: {_objects(ids)} no longer accepted")
            return
        session.accept(frame, ids)
        self.changed.emit()
        self.told.emit(f"Slice {frame}: {_objects(ids)} accepted")
        if self.goes_on:
            self.next_worst()

    def _judged(self, rows: Sequence[ReviewRow]) -> list[ReviewRow]:
        chosen = self._tools.object_id
        return [row for row in rows if self._scope == "all" or row.object_id == chosen]

    def _what_is_judged(self) -> tuple[Any, ...]:
        """Return the image, the view and the object that a round is about."""
        desk = self._bench.desk
        view = None if desk is None or desk.session is None else desk.session.stack.view
        chosen = self._tools.object_id if self._scope == "selected" else None
        return None if desk is None else weakref.ref(desk), view, chosen

    def _nothing_left(self, is_here: bool) -> str:
        if is_here:
            return "This is the only slice that is not accepted"
        is_segmented = any(not np.isnan(r.scores).all() for r in self._judged(self.rows()))
        return "Every slice is accepted" if is_segmented else "Nothing is segmented yet"

    def _go_to_prompt(self, step: int) -> int | None:
        frames = sorted(self._prompted())
        here = self.frame_on_show()
        if here is not None:
            frames = [f for f in frames if (f - here) * step > 0]
        if not frames:
            self.told.emit(f"There is no prompt {'after' if step > 0 else 'before'} this slice")
            return None
        frame = frames[0 if step > 0 else -1]
        self.go_to(frame)
        return frame

    def _prompted(self) -> Iterator[int]:
        desk = self._bench.desk
        if desk is not None and desk.session is not None:
            for entry in desk.session.prompts.objects:
                if self._scope == "all" or entry.id == self._tools.object_id:
                    yield from entry.frames


def review_actions(controller: Controller) -> dict[str, Callable[[], Any]]:
    """Return what the keys of the review do, by the names in `ACTIONS`."""
    review = controller.review
    return {
        "accept": review.accept,
        "accept_selected": review.accept_selected,
        "next_worst": review.next_worst,
        "previous_worst": review.previous_worst,
        "next_prompt": review.next_prompt,
        "previous_prompt": review.previous_prompt,
    }


def _weakest(rows: Iterable[ReviewRow], frame: int) -> str:
    """Return in words the object of the lowest confidence on a frame that is not accepted."""
    judged = (r for r in rows if not np.isnan(r.scores[frame]) and not r.accepted[frame])
    row = min(judged, key=lambda r: float(r.scores[frame]))
    return row.name or f"object {row.object_id}"


def _objects(ids: Sequence[int]) -> str:
    return f"object {ids[0]}" if len(ids) == 1 else f"{len(ids)} objects"


def _listed(ids: Sequence[int]) -> str:
    return ", ".join(map(str, ids))
