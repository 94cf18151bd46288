"""From prompts on some frames to masks on all: one pass over the frames for all objects together.

Every frame is embedded once, whatever the number of objects. Models with a memory carry objects by
what they remember (`streamed`), others by chains of boxes (`chained`). Where objects overlap, a
pixel belongs to the one whose logit is highest, also when they reach the frame from different
sides (`contest`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_medsam2.errors import InputError, PromptError
from napari_medsam2.models.base import has_memory

from .chain_links import find_start, keep_start
from .chained import ChainedSweeps
from .contest import Contest
from .streamed import StreamedSweeps
from .sweeps import DIRECTIONS, Direction, Request

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from napari_medsam2.history import Corrections
    from napari_medsam2.labels import MaskUpdate
    from napari_medsam2.models.base import FramePrompt, Prediction
    from napari_medsam2.prompts import PromptSet

    from .embeddings import FrameEncoder
    from .sweeps import Carried, Sweeps

__all__ = ["DIRECTIONS", "Direction", "Propagation", "check_prompted", "segment_frame"]


def segment_frame(
    encoder: FrameEncoder,
    prompts: PromptSet,
    frame: int,
    corrections: Corrections | None = None,
    memory: str = "sam2",
    order: Sequence[int] = (),
) -> list[MaskUpdate]:
    """Segment every object that has prompts on one frame.

    Parameters
    ----------
    encoder : FrameEncoder
    prompts : PromptSet
        Checked against the stack.
    frame : int
    corrections : mapping of int to mapping of int to int, optional
        For each object the frames whose points correct what was tracked there, see
        `history.Corrections`; models without a memory take them like any other.
    memory : str
        The memory bank, see `tracking.memory`.
    order : sequence of int
        Who wins where objects overlap, see `Contest`.

    Returns
    -------
    list of MaskUpdate
        One an object, ascending ids.

    Raises
    ------
    PromptError
        If no object has a prompt there, or the model cannot honour one.
    """
    request = Request(
        encoder, prompts, "both", range(len(encoder.stack)), corrections or {}, memory
    )
    check_prompted(prompts, frame)
    told = [request.told(entry, frame) for entry in prompts.objects if entry.on(frame)]
    predictions: Mapping[int, Prediction | None]
    if has_memory(encoder.model) and any(prompt.refines for prompt in told):
        predictions = StreamedSweeps(request).segment(frame)
    else:
        predictions = _answers(encoder, told, frame)
    return Contest(order).settle(frame, predictions, keep=False)


def _answers(
    encoder: FrameEncoder, told: Sequence[FramePrompt], frame: int
) -> dict[int, Prediction]:
    """Return what the model says of each object; what was asked before is not asked again.

    So the mask of a click does not wait for all the other objects of its frame.
    """
    known = {prompt.object_id: find_start(encoder, prompt) for prompt in told}
    asked = [prompt for prompt in told if known[prompt.object_id] is None]
    found = {i: prediction for i, prediction in known.items() if prediction is not None}
    if asked:
        answers = encoder.model.decode(encoder(frame), asked)
        for prompt, prediction in zip(asked, answers, strict=True):
            keep_start(encoder, prompt, prediction)
            found[prompt.object_id] = prediction
    return {prompt.object_id: found[prompt.object_id] for prompt in told}


@dataclass(frozen=True)
class Propagation:
    """A request to carry objects along the frames, checked and planned.

    Parameters
    ----------
    encoder : FrameEncoder
    prompts : PromptSet
        Every object in it is propagated; each needs at least one prompt.
    direction : {"both", "forward", "backward"}
        From each object's conditioning frames.
    start, stop : int, optional
        Half-open range of frames to produce; frames outside it are passed through where a
        conditioning frame lies there, but not changed.
    corrections : mapping of int to mapping of int to int
        For each object the frames whose points correct what was tracked there, with their rounds.
    memory : str
        The memory bank of models that have one, see `tracking.memory`.
    patience : int, optional
        Stop an object that is not found on so many frames in a row; None leaves it to the model.
    order : sequence of int
        Who wins where objects overlap, see `Contest`.

    Raises
    ------
    PromptError
        For no objects, an object without prompts, or a prompt that the model cannot honour.
    InputError
        For an unknown direction, an empty range, or no patience at all.
    """

    encoder: FrameEncoder
    prompts: PromptSet
    direction: Direction = "both"
    start: int | None = None
    stop: int | None = None
    corrections: Corrections = field(default_factory=dict)
    memory: str = "sam2"
    patience: int | None = None
    order: Sequence[int] = ()
    _request: Request = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check everything before the first frame is touched."""
        n = len(self.encoder.stack)
        if self.direction not in DIRECTIONS:
            raise InputError(f"unknown direction {self.direction!r}; use {', '.join(DIRECTIONS)}")
        start = 0 if self.start is None else self.start
        stop = n if self.stop is None else self.stop
        if not 0 <= start < stop <= n:
            raise InputError(f"range {start}:{stop} is no part of the frames 0:{n}")
        if self.patience is not None and self.patience < 1:
            raise InputError(f"patience {self.patience}: wait for 1 frame or more, or give None")
        request = Request(
            self.encoder,
            self.prompts,
            self.direction,
            range(start, stop),
            self.corrections,
            self.memory,
            self.patience,
        )
        object.__setattr__(self, "_request", request)
        if not self.prompts.objects:
            raise PromptError("nothing to propagate: draw a box around an object first")
        for entry in self.prompts.objects:
            if not entry.prompts:
                raise PromptError(
                    f"object {entry.id} has no prompt; draw a box around it on one frame"
                )
            for frame in entry.frames:
                request.told(entry, frame)

    @property
    def total(self) -> int:
        """Number of (object, frame) pairs that will be stated, for progress."""
        wanted = self._request.wanted
        return sum(1 for _, frame in self._sweeps().stated() if frame in wanted)

    def __iter__(self) -> Iterator[list[MaskUpdate]]:
        """Yield the updates of frame after frame; closing the iterator in between is safe.

        An object that is not on a frame is stated as absent (empty mask, score nan).
        """
        contest = Contest(self.order)
        several = len(self.prompts.objects) > 1
        for carried in self.carried():
            keep = carried.more and several
            yield contest.settle(carried.frame, carried.predictions, keep=keep)

    def carried(self) -> Iterator[Carried]:
        """Yield what the model says on frame after frame, before overlaps are settled."""
        wanted = self._request.wanted
        return (carried for carried in self._sweeps() if carried.frame in wanted)

    @property
    def wanted(self) -> range:
        """The frames to produce."""
        return self._request.wanted

    def _sweeps(self) -> Sweeps:
        if has_memory(self.encoder.model):
            return StreamedSweeps(self._request)
        return ChainedSweeps(self._request)


def check_prompted(prompts: PromptSet, frame: int) -> None:
    """Raise `PromptError` if no object has a prompt on a frame."""
    if frame not in prompts.frames:
        raise PromptError(
            f"frame {frame} has no prompt; draw a box there, or propagate from the frames that "
            f"have one ({_listed(prompts.frames)})"
        )


def _listed(frames: Sequence[int]) -> str:
    return ", ".join(map(str, frames[:8])) + (" ..." if len(frames) > 8 else "") or "none yet"
