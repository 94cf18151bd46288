"""Segmenting and propagating on large frames, through regions of them.

The counterpart of `tracker`, for frames that a network would see too small; see `zoom` for how
regions are chosen. Whole frames are neither read nor encoded unless an object fills them.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from napari_medsam2.errors import PromptError
from napari_medsam2.models.base import FramePrompt, has_memory
from napari_medsam2.prompts import PromptSet

from .contest import Claim, Contest
from .tracker import Propagation, check_prompted
from .zoom import Zoom
from .zoom_legs import Leg, next_leg
from .zoom_look import look
from .zoom_places import first_legs
from .zoom_prompts import Found

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Sequence

    from napari_medsam2.history import Corrections
    from napari_medsam2.labels import MaskUpdate
    from napari_medsam2.models.base import Segmenter

    from .embeddings import FrameEncoder
    from .sweeps import Carried, Direction

__all__ = ["ZoomedPropagation", "segment_zoomed", "with_zoom"]


def segment_zoomed(
    encoder: FrameEncoder,
    zoom: Zoom,
    prompts: PromptSet,
    frame: int,
    corrections: Corrections | None = None,
    memory: str = "sam2",
    order: Sequence[int] = (),
) -> list[MaskUpdate]:
    """Segment every object that has prompts on one large frame, each in a region around it.

    Parameters, result and errors are those of `tracker.segment_frame`.
    """
    check_prompted(prompts, frame)
    corrections = corrections or {}
    here = [entry for entry in prompts.objects if entry.on(frame)]
    refined = [
        entry.id
        for entry in here
        if has_memory(encoder.model) and frame in corrections.get(entry.id, ())
    ]
    found = look(encoder, zoom, [entry for entry in here if entry.id not in refined], frame)
    claims: dict[int, Claim | None] = dict.fromkeys(refined)
    claims.update((i, finding.claim) for i, finding in found.items())
    if refined:
        to_frame = Propagation(
            encoder,
            prompts.only(refined),
            start=frame,
            stop=frame + 1,
            corrections=corrections,
            memory=memory,
        )
        for _, reached in ZoomedPropagation(to_frame, zoom).claims():
            claims.update(reached)
    return Contest(order).settle(frame, claims, keep=False)


def with_zoom(whole: Propagation, zoom: str) -> Propagation | ZoomedPropagation:
    """Return a propagation that looks at regions where its frames are large.

    Parameters
    ----------
    whole : Propagation
    zoom : {"auto", "off"}
    """
    found = Zoom.of(whole.encoder) if zoom == "auto" else None
    return whole if found is None else ZoomedPropagation(whole, found)


@dataclass(frozen=True)
class ZoomedPropagation:
    """A propagation whose objects are each carried in regions of the frames.

    Parameters
    ----------
    whole : Propagation
        What is asked, of the whole frames.
    zoom : Zoom
    """

    whole: Propagation
    zoom: Zoom

    @property
    def total(self) -> int:
        """Number of (object, frame) pairs that will be stated, for progress."""
        return self.whole.total

    def __iter__(self) -> Iterator[list[MaskUpdate]]:
        """Yield the updates of frame after frame, object after object.

        Where an object meets one that has passed before, both are stated anew if pixels change
        hands.
        """
        contest = Contest(self.whole.order)
        several = len(self.whole.prompts.objects) > 1
        for frame, claims in self.claims():
            yield contest.settle(frame, claims, keep=several)

    def claims(self) -> Iterator[tuple[int, dict[int, Claim | None]]]:
        """Yield what is found on frame after frame, before overlaps are settled."""
        waiting: deque[list[Leg]] = deque(_together(first_legs(self.whole, self.zoom)))
        while waiting:
            following: list[Leg] = []
            yield from self._carried(waiting.popleft(), following)
            # An object is carried to its end before the next one sets out.
            waiting.extendleft([leg] for leg in reversed(following))

    def _carried(
        self, legs: Sequence[Leg], following: list[Leg]
    ) -> Iterator[tuple[int, dict[int, Claim | None]]]:
        """Carry objects along legs of the same frames in the same region."""
        going = {leg.entry.id: leg for leg in legs}
        seen = {i: leg.seen for i, leg in going.items()}
        region = legs[0].region
        for carried in self._sweep(legs):
            frame = carried.frame
            stated: dict[int, Claim | None] = {}
            for i in [i for i in carried.predictions if i in going]:
                leg, prediction = going[i], carried.predictions[i]
                claim = None if prediction is None else Claim.of(prediction, region[:2])
                if frame in leg.known and leg.known[frame].claim is not None:
                    claim = leg.known[frame].claim
                if claim is not None and claim.logits.size:
                    if frame != leg.origin and self.zoom.cuts(region, claim.bbox):
                        del going[i]
                        following.append(next_leg(leg, self.zoom, frame, seen[i], claim.bbox))
                        continue
                    seen[i] = Found(frame, claim.bbox, claim.logits > 0)
                stated[i] = claim
            if stated and frame in self.whole.wanted:
                yield frame, stated
            if not going:
                return
        for i, leg in going.items():
            if leg.later is not None:
                following.append(next_leg(leg, self.zoom, leg.later, seen[i]))

    def _sweep(self, legs: Sequence[Leg]) -> Iterator[Carried]:
        leg, whole = legs[0], self.whole
        if not leg.span:
            return iter(())
        model = whole.encoder.model
        corrections = {one.entry.id: _corrections(one, whole.corrections) for one in legs}
        way: Direction = "forward" if leg.step > 0 else "backward"
        return replace(
            whole,
            encoder=whole.encoder.cropped(leg.region),
            prompts=PromptSet(tuple(one.prompts(takes_masks=_takes_masks(model)) for one in legs)),
            direction="both" if leg.is_half and has_memory(model) else way,
            start=leg.span.start,
            stop=leg.span.stop,
            corrections={i: frames for i, frames in corrections.items() if frames},
        ).carried()


def _together(legs: Sequence[Leg]) -> list[list[Leg]]:
    """Group legs that differ in their objects alone."""
    groups: dict[Hashable, list[Leg]] = {}
    for leg in legs:
        key = (leg.region, leg.origin, leg.first, leg.end, leg.step)
        groups.setdefault(key, []).append(leg)
    return list(groups.values())


def _corrections(leg: Leg, corrections: Corrections) -> dict[int, int]:
    """Return the frames whose prompts correct what was tracked there, with their rounds."""
    rounds = corrections.get(leg.entry.id, {})
    return {f: n for f, n in rounds.items() if f in leg.frames and f not in leg.known}


def _takes_masks(model: Segmenter) -> bool:
    try:
        model.check(FramePrompt(1, 0, mask=np.ones((1, 1), dtype=bool)))
    except PromptError:
        return False
    return True
