"""From prompts on some frames to masks on all: one pass over the frames for all objects together.

Every frame is embedded once, whatever the number of objects. Each object is carried from its
conditioning frames outwards; between two of them each frame is reached from the nearer one. Where
objects overlap, a pixel belongs to the one whose logit is highest, also when they reach the frame
from different sides.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_medsam2.errors import InputError, PromptError
from napari_medsam2.labels import MaskUpdate, bounding_box
from napari_medsam2.models.prompting import frame_prompt

from .chain import BoxChain
from .confidence import confidence

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_medsam2.labels import BBox
    from napari_medsam2.models.base import Embedding, FramePrompt, Prediction
    from napari_medsam2.prompts import ObjectPrompts, PromptSet

    from .embeddings import FrameEncoder

__all__ = ["DIRECTIONS", "Direction", "Propagation", "segment_frame"]

# An object is nested in another one that is at least twice as large and covers most of it.
_NESTED_SIZE = 0.5
_NESTED_SHARE = 0.6

Direction = Literal["both", "forward", "backward"]
DIRECTIONS: tuple[Direction, ...] = ("both", "forward", "backward")


def segment_frame(encoder: FrameEncoder, prompts: PromptSet, frame: int) -> list[MaskUpdate]:
    """Segment every object that has prompts on one frame.

    Parameters
    ----------
    encoder : FrameEncoder
    prompts : PromptSet
        Checked against the stack.
    frame : int

    Returns
    -------
    list of MaskUpdate
        One an object, ascending ids.

    Raises
    ------
    PromptError
        If no object has a prompt there, or the model cannot honour one.
    """
    told = _frame_prompts(encoder, prompts.objects, frame)
    if not told:
        raise PromptError(
            f"frame {frame} has no prompt; draw a box there, or propagate from the frames that "
            f"have one ({_listed(prompts.frames)})"
        )
    predictions = encoder.model.decode(encoder(frame), told)
    contest = _Contest(encoder.stack.shape)
    return contest.settle(
        frame, {p.object_id: q for p, q in zip(told, predictions, strict=True)}, keep=False
    )


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

    Raises
    ------
    PromptError
        For no objects, an object without prompts, or a prompt that the model cannot honour.
    InputError
        For an unknown direction or an empty range.
    """

    encoder: FrameEncoder
    prompts: PromptSet
    direction: Direction = "both"
    start: int | None = None
    stop: int | None = None
    wanted: range = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Check everything before the first frame is touched."""
        n = len(self.encoder.stack)
        if self.direction not in DIRECTIONS:
            raise InputError(f"unknown direction {self.direction!r}; use {', '.join(DIRECTIONS)}")
        start = 0 if self.start is None else self.start
        stop = n if self.stop is None else self.stop
        if not 0 <= start < stop <= n:
            raise InputError(f"range {start}:{stop} is no part of the frames 0:{n}")
        object.__setattr__(self, "wanted", range(start, stop))
        if not self.prompts.objects:
            raise PromptError("nothing to propagate: draw a box around an object first")
        for entry in self.prompts.objects:
            if not entry.prompts:
                raise PromptError(
                    f"object {entry.id} has no prompt; draw a box around it on one frame"
                )
            for frame in entry.frames:
                self.encoder.model.check(frame_prompt(entry, frame, self.encoder.stack.shape))

    @property
    def total(self) -> int:
        """Number of (object, frame) pairs that will be stated, for progress."""
        stated = {
            (object_id, frame)
            for step in self._steps
            for object_id, reached in self._reach(step).items()
            for origin, frames in reached
            for frame in (origin, *frames)
        }
        return sum(1 for _, frame in stated if frame in self.wanted)

    def __iter__(self) -> Iterator[list[MaskUpdate]]:
        """Yield the updates of frame after frame; closing the iterator in between is safe.

        An object that has ended is stated as absent (empty mask, score nan) on the frames beyond,
        which cost no encoding.
        """
        contest = _Contest(self.encoder.stack.shape)
        starts: _Starts = {}
        for number, step in enumerate(self._steps):
            more = number + 1 < len(self._steps)
            yield from self._sweep(step, contest, starts, more)

    @property
    def _steps(self) -> tuple[int, ...]:
        return {"both": (1, -1), "forward": (1,), "backward": (-1,)}[self.direction]

    def _reach(self, step: int) -> dict[int, list[tuple[int, range]]]:
        """Return each object's conditioning frames, with the frames reached from each of them."""
        reach: dict[int, list[tuple[int, range]]] = {}
        edge = self.wanted.stop if step > 0 else self.wanted.start - 1
        for entry in self.prompts.objects:
            frames = entry.frames[::step]
            spans = []
            for origin, following in zip(frames, (*frames[1:], None), strict=True):
                ends = [edge]
                if following is not None:
                    ends.append(self._border(origin, following, step))
                span = range(origin + step, min(ends) if step > 0 else max(ends), step)
                if origin in self.wanted or (span and span[-1] in self.wanted):
                    spans.append((origin, span))
            reach[entry.id] = spans
        return reach

    def _border(self, origin: int, following: int, step: int) -> int:
        """Return the first frame after `origin` that is not reached from it."""
        if self.direction != "both":
            return following
        # The middle one of an odd number of frames goes to the lower conditioning frame.
        middle = (origin + following) // 2
        return middle + 1 if step > 0 else middle

    def _sweep(
        self, step: int, contest: _Contest, starts: _Starts, more: bool
    ) -> Iterator[list[MaskUpdate]]:
        reach = self._reach(step)
        origins = {i: {origin for origin, _ in spans} for i, spans in reach.items()}
        reached = {i: {f for _, span in spans for f in span} for i, spans in reach.items()}
        visited = set().union(*origins.values(), *reached.values())
        chains: dict[int, BoxChain] = {}
        for frame in sorted(visited, reverse=step < 0):
            beginning = [o for o in self.prompts.objects if frame in origins[o.id]]
            resumed = {o.id for o in beginning if (o.id, frame) in starts}
            for object_id in resumed:
                chains[object_id] = BoxChain(object_id, frame, *starts.pop((object_id, frame)))
            told = _frame_prompts(
                self.encoder, [o for o in beginning if o.id not in resumed], frame
            )
            carried = [
                i for i, frames in reached.items() if frame in frames and frame not in origins[i]
            ]
            kept: dict[int, Prediction | None] = dict.fromkeys(carried)
            going = [i for i in carried if not chains[i].ended]
            if told or going:
                embedding = self.encoder(frame)
                told += filter(None, (chains[i].next_prompt(frame, embedding) for i in going))
                predictions = self.encoder.model.decode(embedding, told)
                for prompt, prediction in zip(told, predictions, strict=True):
                    i = prompt.object_id
                    if i in kept:
                        kept[i] = chains[i].accept(frame, prediction, embedding)
                        continue
                    kept[i] = prediction
                    chains[i] = BoxChain(i, frame, prediction, embedding)
                    if more:
                        starts[i, frame] = (prediction, embedding)
            if kept and frame in self.wanted:
                yield contest.settle(frame, kept, keep=more and len(self.prompts.objects) > 1)


_Starts = dict[tuple[int, int], "tuple[Prediction, Embedding]"]


@dataclass(frozen=True, eq=False)
class _Claim:
    """An object's logits inside the bounding box of its mask."""

    bbox: BBox
    logits: NDArray[np.float16]
    score: float

    @classmethod
    def of(cls, prediction: Prediction) -> _Claim:
        y0, x0, y1, x1 = box = bounding_box(prediction.mask)
        # Clipped so that half precision neither overflows nor turns a faint claim into none.
        crop = prediction.logits[y0:y1, x0:x1]
        faint = np.where(crop > 0, np.maximum(crop, 1e-4), crop)
        logits = np.clip(faint, -6e4, 6e4).astype(np.float16)
        return cls(box, logits, confidence(prediction))


class _Contest:
    """Settles which object a pixel belongs to, over the passes of one propagation.

    Parameters
    ----------
    shape : (height, width)
    """

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        self._held: dict[int, dict[int, _Claim]] = {}

    def settle(
        self, frame: int, predictions: Mapping[int, Prediction | None], *, keep: bool
    ) -> list[MaskUpdate]:
        """Return the updates of a frame; `keep` holds the claims for a later pass."""
        claims = {i: _Claim.of(p) for i, p in predictions.items() if p is not None}
        held = self._held.pop(frame, {})
        masks = self._divide({**held, **claims})
        updates = []
        for i in sorted({*predictions, *held}):
            if i in predictions and i not in claims:
                nothing = np.zeros((0, 0), dtype=bool)
                updates.append(MaskUpdate(frame, i, (0, 0, 0, 0), nothing, float("nan")))
            elif i in claims or not np.array_equal(masks[i], held[i].logits > 0):
                claim = claims.get(i) or held[i]
                updates.append(_cropped(frame, i, claim, masks[i]))
        if keep:
            self._held[frame] = {**held, **claims}
        return updates

    def _divide(self, claims: Mapping[int, _Claim]) -> dict[int, NDArray[np.bool_]]:
        """Return each object's mask inside its box.

        A pixel goes to the higher logit, ties to the lower id; but an object that lies mostly
        inside a larger one (a lesion in its organ) keeps its pixels, whatever the larger one says.
        """
        if len(claims) < 2:
            return {i: c.logits > 0 for i, c in claims.items()}
        depth = _nesting(claims)
        best = np.zeros(self.shape, dtype=np.float16)
        rank = np.full(self.shape, -1, dtype=np.int16)
        owner = np.zeros(self.shape, dtype=np.int64)
        for i, claim in sorted(claims.items()):
            y0, x0, y1, x1 = claim.bbox
            box = slice(y0, y1), slice(x0, x1)
            deeper = depth[i] > rank[box]
            higher = (depth[i] == rank[box]) & (claim.logits > best[box])
            won = (claim.logits > 0) & (deeper | higher)
            best[box][won] = claim.logits[won]
            rank[box][won] = depth[i]
            owner[box][won] = i
        return {
            i: owner[c.bbox[0] : c.bbox[2], c.bbox[1] : c.bbox[3]] == i for i, c in claims.items()
        }


def _nesting(claims: Mapping[int, _Claim]) -> dict[int, int]:
    """Return how many larger objects each object lies mostly inside of."""
    areas = {i: int(np.count_nonzero(c.logits > 0)) for i, c in claims.items()}
    return {
        i: sum(
            1
            for j, outer in claims.items()
            if areas[i] < _NESTED_SIZE * areas[j]
            and _shared(inner, outer) > _NESTED_SHARE * areas[i]
        )
        for i, inner in claims.items()
    }


def _shared(one: _Claim, other: _Claim) -> int:
    """Return the number of pixels that two objects both claim."""
    y0, x0 = (max(a, b) for a, b in zip(one.bbox[:2], other.bbox[:2], strict=True))
    y1, x1 = (min(a, b) for a, b in zip(one.bbox[2:], other.bbox[2:], strict=True))
    if y1 <= y0 or x1 <= x0:
        return 0
    masks = (
        c.logits[y0 - c.bbox[0] : y1 - c.bbox[0], x0 - c.bbox[1] : x1 - c.bbox[1]] > 0
        for c in (one, other)
    )
    return int(np.count_nonzero(np.logical_and(*masks)))


def _cropped(frame: int, object_id: int, claim: _Claim, mask: NDArray[np.bool_]) -> MaskUpdate:
    y0, x0, y1, x1 = bounding_box(mask)
    top, left = claim.bbox[:2]
    box = (y0 + top, x0 + left, y1 + top, x1 + left) if y1 > y0 else (0, 0, 0, 0)
    return MaskUpdate(frame, object_id, box, mask[y0:y1, x0:x1].copy(), claim.score)


def _frame_prompts(
    encoder: FrameEncoder, objects: Sequence[ObjectPrompts], frame: int
) -> list[FramePrompt]:
    told = [frame_prompt(o, frame, encoder.stack.shape) for o in objects if o.on(frame)]
    for prompt in told:
        encoder.model.check(prompt)
    return told


def _listed(frames: Sequence[int]) -> str:
    return ", ".join(map(str, frames[:8])) + (" ..." if len(frames) > 8 else "") or "none yet"
