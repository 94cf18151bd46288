"""What every way of carrying objects along the frames answers, and what they are asked with."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from napari_medsam2.models.prompting import frame_prompt

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping

    from napari_medsam2.history import Corrections
    from napari_medsam2.models.base import FramePrompt, Prediction
    from napari_medsam2.prompts import ObjectPrompts, PromptSet

    from .embeddings import FrameEncoder

__all__ = ["DIRECTIONS", "Carried", "Direction", "Request", "Sweeps", "digest"]

Direction = Literal["both", "forward", "backward"]
DIRECTIONS: tuple[Direction, ...] = ("both", "forward", "backward")


@dataclass(frozen=True)
class Request:
    """What is to be carried where; see `Propagation`.

    Attributes
    ----------
    patience : int or None
        On how many frames in a row an object must not be found to count as gone; None leaves it to
        the model.
    """

    encoder: FrameEncoder
    prompts: PromptSet
    direction: Direction
    wanted: range
    corrections: Corrections = field(default_factory=dict)
    memory: str = "sam2"
    patience: int | None = None

    @property
    def steps(self) -> tuple[int, ...]:
        """The directions of the sweeps, one after the other."""
        return {"both": (1, -1), "forward": (1,), "backward": (-1,)}[self.direction]

    def told(self, entry: ObjectPrompts, frame: int) -> FramePrompt:
        """Return what was said of an object on a frame, checked (`PromptError`)."""
        refines = frame in self.corrections.get(entry.id, ())
        prompt = frame_prompt(entry, frame, self.encoder.stack.shape, refines=refines)
        self.encoder.model.check(prompt)
        return prompt


@dataclass(frozen=True)
class Carried:
    """What became of some objects on one frame.

    Attributes
    ----------
    frame : int
    predictions : mapping of int to Prediction or None
        By object id; None for an object that is not there.
    more : bool
        Whether a later sweep may bring other objects to the same frame.
    """

    frame: int
    predictions: Mapping[int, Prediction | None]
    more: bool


class Sweeps(Protocol):
    """Objects carried along the frames, first in one direction, then in the other."""

    def stated(self) -> set[tuple[int, int]]:
        """Return the (object, frame) pairs that will be stated, inside the wanted range or not."""

    def __iter__(self) -> Iterator[Carried]:
        """Go from frame to frame."""


def digest(prompt: FramePrompt) -> Hashable:
    """Return what a prompt says, whichever object it is about."""
    mask = None
    if prompt.mask is not None:
        mask = (prompt.mask.shape, hashlib.sha256(prompt.mask.tobytes()).hexdigest())
    points = (prompt.points, prompt.labels, prompt.strokes)
    return (prompt.frame, prompt.boxes, points, mask, prompt.refines)
