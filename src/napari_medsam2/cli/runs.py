"""Running a session with its progress on the terminal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_medsam2.errors import InputError, MedSAM2Error

from .console import note, progress

if TYPE_CHECKING:
    from napari_medsam2.session import Session
    from napari_medsam2.tracking.tracker import Direction

__all__ = ["Plan", "load_model", "run"]

# The tracker's own; importing it would load torch before the input is checked.
_DIRECTIONS: tuple[Direction, ...] = ("both", "forward", "backward")


@dataclass(frozen=True)
class Plan:
    """Which frames and objects to segment.

    Attributes
    ----------
    direction : {"both", "forward", "backward"}
    start, stop : int or None
        Half-open range of frames.
    objects : tuple of int or None
        Only these; None means all with prompts.
    slice_only : bool
        Segment the prompted frames alone.
    patience : int or None
        Stop an object that is not found on so many frames in a row; None leaves it to the model.
    """

    direction: Direction = "both"
    start: int | None = None
    stop: int | None = None
    objects: tuple[int, ...] | None = None
    slice_only: bool = False
    patience: int | None = None

    @classmethod
    def of(
        cls,
        direction: str | None,
        frames: tuple[int | None, int | None],
        objects: tuple[int, ...] | None,
        slice_only: bool,
        patience: int | None = None,
    ) -> Plan:
        """Build a plan from options, or raise `InputError` for those that do not go together."""
        for option, value in (("--direction", direction), ("--patience", patience)):
            if slice_only and value is not None:
                raise InputError(f"--slice-only carries nothing on: leave out {option}")
        if patience is not None and patience < 1:
            raise InputError(f"--patience {patience}: give 1 frame or more")
        found = next((d for d in _DIRECTIONS if d == (direction or "both")), None)
        if found is None:
            raise InputError(f'--direction "{direction}": use {", ".join(_DIRECTIONS)}')
        return cls(found, *frames, objects, slice_only, patience)

    def check(self, session: Session) -> None:
        """Raise `InputError` for what the image or the prompts cannot give; loads no model."""
        n = len(session.stack)
        start, stop = self.start or 0, n if self.stop is None else self.stop
        if not 0 <= start < stop <= n:
            raise InputError(
                f"--range {self._range}: the image has {n} frames, so at most 0:{n}, and A < B"
            )
        if self.objects is not None:
            try:
                session.prompts.only(self.objects)
            except MedSAM2Error as error:
                raise InputError(f"--objects: {error}") from error
        if not session.prompts.prompted_ids:
            raise InputError("the prompts hold no box, click or mask: nothing to segment")
        if self.slice_only and not self.frames(session):
            raise InputError(f"--range {self._range}: no prompted frame lies in it")
        _ = session.window

    def frames(self, session: Session) -> list[int]:
        """Return the prompted frames of the chosen objects within the range."""
        ids = session.prompts.prompted_ids if self.objects is None else self.objects
        stop = len(session.stack) if self.stop is None else self.stop
        chosen = session.prompts.only(ids)
        return [frame for frame in chosen.frames if (self.start or 0) <= frame < stop]

    @property
    def _range(self) -> str:
        return ":".join("" if side is None else str(side) for side in (self.start, self.stop))


def load_model(session: Session) -> None:
    """Load the model of a session and say on which device it will compute."""
    from napari_medsam2.models.device import choose_device

    device = choose_device(session.device_name)
    _ = session.model
    note(f"{session.model_name} on {device.reason}")


def run(session: Session, plan: Plan, text: str = "segmenting") -> None:
    """Do what a plan says, with progress; the results are in the session."""
    if plan.slice_only:
        frames = plan.frames(session)
        with progress(text, len(frames)) as show:
            show(0)
            for done, frame in enumerate(frames, start=1):
                session.segment(frame, plan.objects)
                show(done)
        return
    task = session.start_propagation(
        plan.direction, plan.start, plan.stop, plan.objects, plan.patience
    )
    # A frame may be stated twice, when a later pass settles an overlap on it.
    stated = set()
    with progress(text, task.total()) as show:
        show(0)
        for update in task.complete():
            stated.add((update.frame, update.object_id))
            show(len(stated))
