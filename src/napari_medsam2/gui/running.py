"""Runs of the model: a slice, a propagation, a step along the slider."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from napari_medsam2.errors import InputError

from .course import Course, next_slice, to_next_prompt
from .model_files import ModelFiles
from .prompting import Prompting
from .views import show_frame

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from napari.components import ViewerModel

    from napari_medsam2.session import Run, Session
    from napari_medsam2.tracking.tracker import Direction

    from .course import Leg
    from .runner import Kind, Outcome

__all__ = ["Running"]


class Running(Prompting):
    """Begins what the model is to compute, and tells what came of it.

    Parameters
    ----------
    viewer : ViewerModel
    make_session : callable
        Builds sessions; for tests.

    Attributes
    ----------
    model_files : ModelFiles
        The models and their downloads.
    course : Course
        How `propagate_as_set` and the steps from the slice on show are to go.
    """

    def __init__(self, viewer: ViewerModel, make_session: Callable[..., Session]) -> None:
        self.model_files = ModelFiles()
        self.course = Course()
        self._is_stepping = False
        super().__init__(viewer, make_session)

    def segment_slice(
        self, frame: int | None = None, object_ids: Iterable[int] | None = None
    ) -> bool:
        """Segment the objects that have prompts on a frame, the one on show by default.

        An older request of this kind is dropped.

        Returns
        -------
        bool
            False if it could not begin; `last_error` and a notification say why.
        """

        def begin() -> None:
            session = self._session_to_run()
            at = self.bench.require_desk().current_frame() if frame is None else frame
            self._start("segment", session, session.start_segment(at, object_ids), 1)

        return self._unless_propagating(begin)

    def propagate(
        self,
        direction: Direction = "both",
        start: int | None = None,
        stop: int | None = None,
        object_ids: Iterable[int] | None = None,
        patience: int | None = None,
    ) -> bool:
        """Carry objects along the axis, as `Session.propagate` does.

        Returns
        -------
        bool
            False if it could not begin; `last_error` and a notification say why.
        """
        return self._begin(
            lambda session, wanted: session.start_propagation(
                direction, start, stop, wanted, patience
            ),
            object_ids,
        )

    def vote(
        self, axes: Sequence[int | str] | None = None, object_ids: Iterable[int] | None = None
    ) -> bool:
        """Let several axes vote on objects, as `Session.vote` does; all of space by default.

        Returns
        -------
        bool
            False if it could not begin; `last_error` and a notification say why.
        """

        def start(session: Session, wanted: tuple[int, ...] | None) -> Run:
            chosen = session.volume.label_axes[-3:] if axes is None else axes
            return session.start_vote(chosen, wanted)

        return self._begin(start, object_ids)

    def propagate_through_time(
        self,
        direction: Literal["forward", "backward"] = "forward",
        stop: int | None = None,
        object_ids: Iterable[int] | None = None,
    ) -> bool:
        """Carry 3D objects through time, as `Session.propagate_through_time` does.

        Returns
        -------
        bool
            False if it could not begin; `last_error` and a notification say why.
        """
        return self._begin(
            lambda session, wanted: session.start_through_time(direction, stop, wanted), object_ids
        )

    def propagate_as_set(self) -> bool:
        """Carry objects as `course` says."""
        way, wanted = self.course.way, self._in_course()
        if way == "vote":
            return self.vote(object_ids=wanted)
        if way == "later":
            return self.propagate_through_time("forward", object_ids=wanted)
        if way == "earlier":
            return self.propagate_through_time("backward", object_ids=wanted)

        def begin() -> None:
            session = self._session_to_run()
            start, stop = self.course.span(len(session.stack))
            self._propagate(session, way, start, stop, wanted, self.course.patience)

        return self._unless_propagating(begin)

    def propagate_to_next_prompt(
        self, direction: Direction = "forward", object_ids: Iterable[int] | None = None
    ) -> bool:
        """Carry objects from the slice on show to the next one with a prompt or an accepted mask.

        See `course.to_next_prompt`.

        Parameters
        ----------
        direction : {"forward", "backward"}
        object_ids : iterable of int, optional
            By default as `course` says.

        Returns
        -------
        bool
            False if it could not begin; `last_error` and a notification say why.
        """
        wanted = self._in_course(object_ids)

        def begin() -> None:
            session = self._session_to_run()
            frame = self.bench.require_desk().current_frame()
            self._go(session, to_next_prompt(session, frame, _step(direction), wanted))

        return self._unless_propagating(begin)

    def carry(
        self, direction: Direction = "forward", object_ids: Iterable[int] | None = None
    ) -> bool:
        """Carry objects from the slice on show to the next one, and go there.

        See `course.next_slice`. Asked again meanwhile, it goes on from there.

        Parameters
        ----------
        direction : {"forward", "backward"}
        object_ids : iterable of int, optional
            By default as `course` says.

        Returns
        -------
        bool
            False if it could not begin; `last_error` and a notification say why.
        """
        wanted = self._in_course(object_ids)

        def begin() -> None:
            session, step = self._session_to_run(), _step(direction)
            frame = self.bench.require_desk().current_frame()
            self._go(session, next_slice(session, frame, step, wanted))
            self._is_stepping = True
            self._show_frame(frame + step)

        if self.is_propagating and self._is_stepping:
            return self._when_idle(begin)
        return self._unless_propagating(begin)

    # Inside

    def _begin(
        self,
        start: Callable[[Session, tuple[int, ...] | None], Run],
        object_ids: Iterable[int] | None,
    ) -> bool:
        """Begin a run that carries objects, unless one is under way."""
        wanted = None if object_ids is None else tuple(object_ids)

        def begin() -> None:
            session = self._session_to_run()
            run = start(session, wanted)
            self._start("propagate", session, run, self._n_objects(session, wanted))

        return self._unless_propagating(begin)

    def _unless_propagating(self, action: Callable[[], Any]) -> bool:
        if self.is_propagating:

            def refuse() -> None:
                first = "resume it" if self.is_paused else "let it finish"
                state = "paused" if self.is_paused else "running"
                raise InputError(f"a propagation is {state}: {first} or stop it first (Esc)")

            return self._guarded(refuse)
        return self._when_idle(action, stop=True)

    def _session_to_run(self) -> Session:
        """Return the session in line, if there is a model for it (`InputError` if not)."""
        session = self._session_in_line()
        settings = self.bench.settings
        if not self.bench.require_desk().keeper.has_model(settings.network):
            self.model_files.require(settings)
        return session

    def _in_course(self, object_ids: Iterable[int] | None = None) -> tuple[int, ...] | None:
        """Return the objects asked for, else those that the course is about; None is all."""
        if object_ids is not None:
            return tuple(object_ids)
        return (self.tools.object_id,) if self.course.only_selected else None

    def _go(self, session: Session, leg: Leg) -> None:
        patience = self.course.patience
        self._propagate(session, leg.direction, leg.start, leg.stop, leg.object_ids, patience)

    def _propagate(
        self,
        session: Session,
        direction: Direction,
        start: int | None,
        stop: int | None,
        object_ids: tuple[int, ...] | None,
        patience: int | None,
    ) -> None:
        run = session.start_propagation(direction, start, stop, object_ids, patience)
        self._start("propagate", session, run, self._n_objects(session, object_ids))

    def _n_objects(self, session: Session, object_ids: tuple[int, ...] | None) -> int:
        """Return how many objects a run is about."""
        ids = {*session.prompts.prompted_ids, *session.accepted} - session.locked
        return len(ids if object_ids is None else set(object_ids))

    def _start(self, kind: Kind, session: Session, run: Run, n_objects: int) -> None:
        desk = self.bench.require_desk()
        self._is_stepping = False
        desk.show_results()
        self.tools.apply()
        self.message.emit("Working…" if session.has_model else f"Loading {session.model_name}…")
        lend = desk.keeper.lender()
        self._runner.start_run(kind, session, run, n_objects, lend, self._on_ended)
        self.woken.emit()

    def _show_frame(self, frame: int) -> None:
        desk = self.bench.require_desk()
        axis = desk.view.axis
        if axis is not None:
            show_frame(self.viewer.dims, desk.image, {axis: frame})

    # Events

    def _on_ended(self, outcome: Outcome) -> None:
        desk = self.bench.desk
        if desk is not None:
            desk.keeper.shelve()
            desk.results.refresh(now=True)
        self._conclude(outcome, str(outcome))


def _step(direction: Direction) -> int:
    if direction not in ("forward", "backward"):
        raise InputError(f'from the slice on show it goes "forward" or "backward", not {direction}')
    return 1 if direction == "forward" else -1
