"""Objects carried by chains of boxes, for models without a memory.

Each object is carried from its conditioning frames outwards; between two of them each frame is
reached from the nearer one. Without patience an object ends on the first frame that does not show
it (see `BoxChain` for what more patience means). What a chain finds is kept, so that after a
correction only the frames that are reached from elsewhere than before are decoded anew.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .chain_links import Way, find_start, keep_start
from .sweeps import Carried

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from napari_medsam2.models.base import Embedding, FramePrompt, Prediction

    from .sweeps import Request

__all__ = ["ChainedSweeps"]

_Starts = dict[tuple[int, int], "tuple[Prediction, Embedding | None]"]
_Found = dict[int, "Prediction | None"]


class ChainedSweeps:
    """A box chain for each object, all objects in one pass over the frames.

    Parameters
    ----------
    request : Request
    """

    def __init__(self, request: Request) -> None:
        self.request = request

    def stated(self) -> set[tuple[int, int]]:
        """Return the (object, frame) pairs that will be stated."""
        return {
            (object_id, frame)
            for step in self.request.steps
            for object_id, reached in self._reach(step).items()
            for origin, frames in reached
            for frame in (origin, *frames)
        }

    def __iter__(self) -> Iterator[Carried]:
        """Go from frame to frame; an object that has ended costs no encoding beyond."""
        starts: _Starts = {}
        steps = self.request.steps
        for number, step in enumerate(steps):
            later = {
                frame
                for following in steps[number + 1 :]
                for spans in self._reach(following).values()
                for origin, span in spans
                for frame in (origin, *span)
            }
            yield from self._sweep(step, starts, later)

    def _reach(self, step: int) -> dict[int, list[tuple[int, range]]]:
        """Return each object's conditioning frames, with the frames reached from each of them."""
        wanted = self.request.wanted
        reach: dict[int, list[tuple[int, range]]] = {}
        edge = wanted.stop if step > 0 else wanted.start - 1
        for entry in self.request.prompts.objects:
            frames = entry.frames[::step]
            spans = []
            for origin, following in zip(frames, (*frames[1:], None), strict=True):
                ends = [edge]
                if following is not None:
                    ends.append(self._border(origin, following, step))
                span = range(origin + step, min(ends) if step > 0 else max(ends), step)
                if origin in wanted or (span and span[-1] in wanted):
                    spans.append((origin, span))
            reach[entry.id] = spans
        return reach

    def _border(self, origin: int, following: int, step: int) -> int:
        """Return the first frame after `origin` that is not reached from it."""
        if self.request.direction != "both":
            return following
        # The middle one of an odd number of frames goes to the lower conditioning frame.
        middle = (origin + following) // 2
        return middle + 1 if step > 0 else middle

    def _sweep(self, step: int, starts: _Starts, later: set[int]) -> Iterator[Carried]:
        objects = self.request.prompts.objects
        reach = self._reach(step)
        origins = {i: {origin for origin, _ in spans} for i, spans in reach.items()}
        reached = {i: {f for _, span in spans for f in span} for i, spans in reach.items()}
        visited = set().union(*origins.values(), *reached.values())
        ways: dict[int, Way] = {}
        for frame in sorted(visited, reverse=step < 0):
            told = [self.request.told(o, frame) for o in objects if frame in origins[o.id]]
            carried = [i for i, on in reached.items() if frame in on and frame not in origins[i]]
            keep = starts if frame in later else None
            kept, new = self._begin(told, ways, step, starts, keep)
            kept |= self._carry(frame, carried, new, ways, step, keep)
            if kept:
                yield Carried(frame, kept, frame in later)

    def _begin(
        self,
        told: Sequence[FramePrompt],
        ways: dict[int, Way],
        step: int,
        starts: _Starts,
        keep: _Starts | None,
    ) -> tuple[_Found, list[FramePrompt]]:
        """Begin the ways whose prompts have been answered before.

        Returns
        -------
        found : dict of int to Prediction
            By object, where this propagation has not stated it yet.
        new : list of FramePrompt
            What the model is yet to be asked.
        """
        found: _Found = {}
        new: list[FramePrompt] = []
        for prompt in told:
            i = prompt.object_id
            if (i, prompt.frame) in starts:
                ways[i] = self._way(prompt, step, *starts.pop((i, prompt.frame)))
            elif (known := find_start(self.request.encoder, prompt)) is not None:
                found[i] = known
                ways[i] = self._start(prompt, step, known, None, keep)
            else:
                new.append(prompt)
        return found, new

    def _carry(
        self,
        frame: int,
        carried: Sequence[int],
        new: Sequence[FramePrompt],
        ways: dict[int, Way],
        step: int,
        keep: _Starts | None,
    ) -> _Found:
        """Go one frame further, asking the model only what is not known, all in one call."""
        found: _Found = dict.fromkeys(carried)
        going: list[int] = []
        for i in carried:
            if not ways[i].ended:
                link = ways[i].known(frame)
                if link is None:
                    going.append(i)
                else:
                    found[i] = link.prediction
        if not new and not going:
            return found
        encoder = self.request.encoder
        embedding = encoder(frame)
        asked = [*new, *filter(None, (ways[i].next_prompt(frame, embedding) for i in going))]
        for prompt, answer in zip(asked, encoder.model.decode(embedding, asked), strict=True):
            i = prompt.object_id
            if i in going:
                found[i] = ways[i].accept(frame, answer, embedding)
            else:
                found[i] = answer
                ways[i] = self._start(prompt, step, answer, embedding, keep)
                keep_start(encoder, prompt, answer)
        return found

    def _start(
        self,
        prompt: FramePrompt,
        step: int,
        answer: Prediction,
        embedding: Embedding | None,
        keep: _Starts | None,
    ) -> Way:
        """Begin a way, which a later sweep begins as well if it is to be kept."""
        if keep is not None:
            keep[prompt.object_id, prompt.frame] = (answer, embedding)
        return self._way(prompt, step, answer, embedding)

    def _way(
        self, prompt: FramePrompt, step: int, start: Prediction, embedding: Embedding | None
    ) -> Way:
        patience = self.request.patience or 1
        return Way(self.request.encoder, prompt, step, start, embedding, patience)
