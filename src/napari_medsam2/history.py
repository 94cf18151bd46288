"""Undo and redo: one history over prompts and masks together.

Each step keeps what the prompts were before and after, and the label edits between; prompt sets are
immutable, so a step costs the edits alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from .prompts import PointPrompt, ScribblePrompt

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .labels import Edit
    from .prompts import PromptSet

__all__ = ["Corrections", "History", "ModelChoice", "RunRecord", "Step", "corrections"]

Corrections = Mapping[int, frozenset[int]]
"""For each object the frames whose points correct what was tracked there."""


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
    kind : {"segment", "propagate", "remove"}
    prompts : PromptSet
        Of the objects concerned, as they were then.
    frame : int or None
        The frame of a "segment".
    direction, start, stop
        Of a "propagate".
    updates : int
        How many mask updates were applied: fewer than all if it was stopped.
    window : (low, high) or None
        The intensities that the model saw as 0 and 255.
    corrections : mapping of int to frozenset of int
        The prompted frames of each object that corrected what had been tracked there.
    model : ModelChoice or None
        What computed it; None is the session's own.
    """

    kind: Literal["segment", "propagate", "remove"]
    prompts: PromptSet
    frame: int | None = None
    direction: Literal["both", "forward", "backward"] = "both"
    start: int | None = None
    stop: int | None = None
    updates: int = 0
    window: tuple[float, float] | None = None
    corrections: Corrections = field(default_factory=dict)
    model: ModelChoice | None = None


@dataclass(frozen=True)
class Step:
    """One undoable step.

    Attributes
    ----------
    text : str
        What was done, for a person ("propagate object 1").
    before, after : PromptSet
    edits : tuple of Edit
        In the order they were applied.
    record : RunRecord or None
        For steps that changed labels.
    """

    text: str
    before: PromptSet
    after: PromptSet
    edits: tuple[Edit, ...] = field(default=(), repr=False)
    record: RunRecord | None = None


class History:
    """Steps that were done and steps that were undone."""

    def __init__(self) -> None:
        self._done: list[Step] = []
        self._undone: list[Step] = []

    def push(self, step: Step) -> None:
        """Add a new step; what was undone before can no longer be redone."""
        self._done.append(step)
        self._undone.clear()

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
        return tuple(step.record for step in self._done if step.record is not None)

    @property
    def nbytes(self) -> int:
        """Memory held by the journal of label edits."""
        return sum(e.nbytes for s in (*self._done, *self._undone) for e in s.edits)

    def clear(self) -> None:
        """Forget all steps."""
        self._done.clear()
        self._undone.clear()


def corrections(
    prompts: PromptSet, runs: Sequence[RunRecord], is_tracked: Callable[[int, int], bool]
) -> dict[int, frozenset[int]]:
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
    dict of int to frozenset of int
        Frames by object id; objects without corrections are left out.
    """
    found = {}
    for entry in prompts.objects:
        concerned = [run for run in runs if run.kind != "segment" and entry.id in run.prompts]
        if not concerned or concerned[-1].kind == "remove":
            continue
        last = concerned[-1]
        said, corrected = last.prompts[entry.id].frames, last.corrections.get(entry.id, frozenset())
        frames = frozenset(
            frame
            for frame in entry.frames
            if all(isinstance(p, PointPrompt | ScribblePrompt) for p in entry.on(frame))
            and (frame in corrected if frame in said else is_tracked(entry.id, frame))
        )
        if frames:
            found[entry.id] = frames
    return found
