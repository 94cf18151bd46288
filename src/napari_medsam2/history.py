"""Undo and redo: one history over prompts, objects and masks, in all views of an image.

Each step keeps the state before and after, and the label edits between; states are immutable and
share what did not change, so a step costs the edits alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from .prompts import PointPrompt, PromptSet, ScribblePrompt
from .state import Kept

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .labels import Edit, Write
    from .state import State
    from .volume import View

__all__ = ["Corrections", "History", "ModelChoice", "RunRecord", "Step", "corrections"]

# A journal of boxes: a propagation through hundreds of slices takes some hundred kilobytes.
_MAX_MB = 512.0

Corrections = Mapping[int, Mapping[int, int]]
"""For each object the frames whose points correct what was tracked there, each with its round: 1
for what corrects the first propagation, 2 for what corrects the one after, and so on."""


@dataclass(frozen=True)
class ModelChoice:
    """Which model computes, as a person chose it; fields as in `Session`."""

    model: str
    checkpoint: str | None = None
    image_size: int | None = None
    precision: str = "auto"
    memory: str = "sam2"


@dataclass(frozen=True)
class RunRecord:
    """What was asked when labels changed, enough to ask it again.

    Attributes
    ----------
    kind : {"segment", "propagate", "remove", "write"}
        A "write" gives its masks itself.
    prompts : PromptSet
        Of the objects concerned, as they were then.
    frame : int or None
        The frame of a "segment".
    direction, start, stop
        Of a "propagate".
    updates : int
        How many mask updates were applied: fewer than all if it was stopped.
    window : tuple of float or None
        The intensities that the model saw as 0 and 255, see `Window.values`.
    corrections : mapping of int to mapping of int to int
        The rounds of the prompted frames of each object that corrected what had been tracked there.
    model : ModelChoice or None
        What computed it; None is the session's own.
    view : View or None
        The frames it was about; None are those that the session began with.
    channel : tuple of int or None
        The channels that the model saw, () all of an RGB image; None are the session's own.
    level : int
        The level of a pyramid that the model saw.
    kept : Kept
        What it could not take away.
    patience : int or None
        As in `Session.propagate`.
    zoom : {"auto", "off"}
        As in `Session`.
    writes : tuple of Write
        The masks of a "write".
    """

    kind: Literal["segment", "propagate", "remove", "write"]
    prompts: PromptSet = field(default_factory=PromptSet)
    frame: int | None = None
    direction: Literal["both", "forward", "backward"] = "both"
    start: int | None = None
    stop: int | None = None
    updates: int = 0
    window: tuple[float, ...] | None = None
    corrections: Corrections = field(default_factory=dict)
    model: ModelChoice | None = None
    view: View | None = None
    channel: tuple[int, ...] | None = None
    level: int = 0
    kept: Kept = field(default_factory=Kept)
    patience: int | None = None
    zoom: Literal["auto", "off"] = "off"
    writes: tuple[Write, ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class Step:
    """One undoable step.

    Attributes
    ----------
    text : str
        What was done, for a person ("propagate object 1").
    before, after : State
    edits : tuple of Edit
        In the order they were applied.
    record : RunRecord or None
        For steps that changed labels.
    note : (object, object) or None
        What somebody else keeps here, before and after: the settings of a window, say.
    """

    text: str
    before: State
    after: State
    edits: tuple[Edit, ...] = field(default=(), repr=False)
    record: RunRecord | None = None
    note: tuple[Any, Any] | None = None

    @property
    def nbytes(self) -> int:
        """Memory held by the journal of label edits, and by masks that were given."""
        given = () if self.record is None else self.record.writes
        return sum(e.nbytes for e in self.edits) + sum(len(w.bits) for w in given)


class History:
    """Steps that were done and steps that were undone.

    Parameters
    ----------
    max_mb : float
        Beyond so many MiB the oldest steps can no longer be undone.

    Attributes
    ----------
    dropped : tuple of RunRecord
        The runs of steps that can no longer be undone.
    """

    def __init__(self, max_mb: float = _MAX_MB) -> None:
        self._max_bytes = int(max_mb * 2**20)
        self._done: list[Step] = []
        self._undone: list[Step] = []
        self.dropped: tuple[RunRecord, ...] = ()
        self._nbytes = 0

    def push(self, step: Step) -> None:
        """Add a new step; what was undone before can no longer be redone."""
        self._nbytes += step.nbytes - sum(s.nbytes for s in self._undone)
        self._done.append(step)
        self._undone.clear()
        while self._nbytes > self._max_bytes and len(self._done) > 1:
            oldest = self._done.pop(0)
            self._nbytes -= oldest.nbytes
            if oldest.record is not None:
                self.dropped = (*self.dropped, oldest.record)

    def undo(self) -> Step | None:
        """Move the newest step to the undone ones and return it, None if there is none."""
        if not self._done:
            return None
        self._undone.append(self._done.pop())
        return self._undone[-1]

    def redo(self) -> Step | None:
        """Move the step undone last back and return it, None if there is none."""
        if not self._undone:
            return None
        self._done.append(self._undone.pop())
        return self._done[-1]

    @property
    def undo_text(self) -> str | None:
        """What undo would take back, None if nothing."""
        return self._done[-1].text if self._done else None

    @property
    def redo_text(self) -> str | None:
        """What redo would bring back, None if nothing."""
        return self._undone[-1].text if self._undone else None

    @property
    def runs(self) -> tuple[RunRecord, ...]:
        """The runs that led to the present labels, in order."""
        done = tuple(step.record for step in self._done if step.record is not None)
        return (*self.dropped, *done)

    @property
    def nbytes(self) -> int:
        """Memory held by the journal of label edits."""
        return self._nbytes

    def clear(self) -> None:
        """Forget all steps, but not their runs."""
        self.dropped = self.runs
        self._done.clear()
        self._undone.clear()
        self._nbytes = 0

    def begin_after(self, runs: Sequence[RunRecord]) -> None:
        """Begin anew after the runs of a saved session."""
        self.clear()
        self.dropped = tuple(runs)


def corrections(
    prompts: PromptSet, runs: Sequence[RunRecord], is_tracked: Callable[[int, int], bool]
) -> dict[int, dict[int, int]]:
    """Tell which prompted frames correct a propagation, and which say what an object is.

    Points on a frame correct what was tracked there if the object's last propagation did not start
    from that frame and found the object on it. A box, a polygon or a mask always says anew what the
    object is.

    Parameters
    ----------
    prompts : PromptSet
    runs : sequence of RunRecord
        What led to the present labels, in order.
    is_tracked : callable
        Takes object id and frame; whether the object has been found there.

    Returns
    -------
    dict of int to dict of int to int
        Rounds by object id and frame, see `Corrections`; objects without corrections are left out.
    """
    found = {}
    for entry in prompts.objects:
        concerned = [
            run for run in runs if run.kind in ("propagate", "remove") and entry.id in run.prompts
        ]
        if not concerned or concerned[-1].kind == "remove":
            continue
        last = concerned[-1]
        said, corrected = last.prompts[entry.id].frames, last.corrections.get(entry.id, {})
        newest = max(corrected.values(), default=0) + 1
        frames = {
            frame: corrected.get(frame, newest)
            for frame in entry.frames
            if all(isinstance(p, PointPrompt | ScribblePrompt) for p in entry.on(frame))
            and (frame in corrected if frame in said else is_tracked(entry.id, frame))
        }
        if frames:
            found[entry.id] = frames
    return found
