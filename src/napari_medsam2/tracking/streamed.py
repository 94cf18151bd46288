"""Objects carried by what a model remembers of them, frame by frame, as SAM 2 does.

Conditioning frames are segmented first, each without a past. A sweep starts on an object's first
conditioning frame (going backwards alone: on its last) and hands every frame what the object's
memory bank gives; going both ways, the second sweep starts where the first one did, and neither
sees what the other has found. Points on a frame that was tracked before correct what was tracked:
the mask that the last propagation found there is refined, and the frame becomes a conditioning
frame itself. Of several corrections between two propagations none knows of the others, as in SAM 2;
the next propagation knows of all.

The trace of every object on every frame goes into the cache, under what it depends on. What has not
changed since is not computed again: not the other objects when one is added or corrected, not the
way to a frame that is corrected, and not the frames that no new conditioning frame is looked at
from, or from any frame before them.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from napari_medsam2.models.base import Trace, given, has_memory

from .embeddings import EarlyEncoder
from .memory import make_bank
from .pasts import Past, Way
from .sweeps import Carried, digest

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator, Mapping, Sequence

    import torch

    from napari_medsam2.models.base import FramePrompt, Prediction
    from napari_medsam2.prompts import ObjectPrompts

    from .sweeps import Request

__all__ = ["StreamedSweeps"]


class StreamedSweeps:
    """All objects in one pass over the frames, each with a memory bank of its own.

    Parameters
    ----------
    request : Request
        Whose model has a memory.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.encoder = request.encoder
        model = request.encoder.model
        assert has_memory(model)
        self.model = model

    def stated(self) -> set[tuple[int, int]]:
        """Return the (object, frame) pairs that will be stated."""
        return {
            (entry.id, frame)
            for entry in self.request.prompts.objects
            for step in self.request.steps
            for frame in self._span(_origin(entry.frames, self.request), step)
        }

    def __iter__(self) -> Iterator[Carried]:
        """Go from frame to frame."""
        objects = self.request.prompts.objects
        pasts = self._begin(objects)
        for entry in objects:
            for past in self._corrected(entry, pasts[entry.id]):
                pasts[entry.id] = past
        origins = {entry.id: _origin(entry.frames, self.request) for entry in objects}
        steps = self.request.steps
        for number, step in enumerate(steps):
            reached = {i: self._span(origin, step) for i, origin in origins.items()}
            last = self.request.wanted[-1] if step > 0 else self.request.wanted[0]
            ways = {i: self._way(past, origins[i], step) for i, past in pasts.items()}
            for frame, traces in self._sweep(ways, origins, step, last):
                # The second sweep starts on frames that the first one has stated.
                stated = {
                    i: self._prediction(trace, pasts[i].prompts.get(frame))
                    for i, trace in traces.items()
                    if frame in reached[i] and (number == 0 or frame != origins[i])
                    if frame in self.request.wanted
                }
                if stated:
                    is_last = number + 1 == len(steps)
                    yield Carried(frame, stated, not is_last and frame < max(origins.values()))

    def segment(self, frame: int) -> dict[int, Prediction | None]:
        """Return the masks of the objects that were prompted on a frame, corrected or not."""
        objects = [entry for entry in self.request.prompts.objects if entry.on(frame)]
        pasts = self._begin(objects)
        for entry in objects:
            corrected = self._corrected(entry, pasts[entry.id])
            while frame not in pasts[entry.id].conditions:
                pasts[entry.id] = next(corrected)
        return {
            i: self._prediction(past.conditions[frame], past.prompts[frame])
            for i, past in pasts.items()
        }

    # Inside

    def _span(self, origin: int, step: int) -> range:
        """Return the frames that a sweep reaches from an object's first frame on."""
        wanted = self.request.wanted
        return range(origin, wanted.stop if step > 0 else wanted.start - 1, step)

    def _prediction(self, trace: Trace | None, prompt: FramePrompt | None) -> Prediction | None:
        if prompt is not None and prompt.is_mask:
            return given(prompt)
        if trace is None or (not trace.is_present and prompt is None):
            return None
        return self.model.predict(trace, self.encoder.stack.shape)

    def _begin(self, objects: Sequence[ObjectPrompts]) -> dict[int, Past]:
        """Segment what every object was first told, all objects of a frame together."""
        told: dict[int, dict[int, FramePrompt]] = {}
        for entry in objects:
            for frame in _first_told(entry, self.request):
                told.setdefault(frame, {})[entry.id] = replace(
                    self.request.told(entry, frame), refines=False
                )
        begun: dict[tuple[int, int], Trace] = {}
        for frame, prompts in told.items():
            keys = {i: self._begin_key(p) for i, p in prompts.items()}
            known = {i: self._cached(key) for i, key in keys.items()}
            missing = [i for i, trace in known.items() if trace is None]
            if missing:
                found = self.model.begin(self.encoder(frame), [prompts[i] for i in missing])
                for i, trace in zip(missing, found, strict=True):
                    known[i] = self._kept(keys[i], trace)
            begun.update({(i, frame): trace for i, trace in known.items() if trace is not None})
        pasts = {}
        for entry in objects:
            past = Past()
            for frame in _first_told(entry, self.request):
                prompt = told[frame][entry.id]
                past = past.told(prompt, begun[entry.id, frame], self._begin_key(prompt))
            pasts[entry.id] = past
        return pasts

    def _corrected(self, entry: ObjectPrompts, past: Past) -> Iterator[Past]:
        """Correct frame after frame, round after round, yielding the past after each."""
        rounds = self.request.corrections.get(entry.id, {})
        corrected = [frame for frame in _in_order(entry) if frame not in past.conditions]
        before, number = past, 0
        for frame in sorted(corrected, key=lambda f: rounds[f]):
            if rounds[frame] != number:
                before, number = past, rounds[frame]
            prompt = self.request.told(entry, frame)
            key = (
                self.encoder.key(frame),
                self.model.answers_key,
                tuple(before.names.values()),
                self.request.direction,
                self.request.memory,
                self.request.patience,
                digest(prompt),
            )
            trace = self._cached(key)
            if trace is None:
                trace = self._kept(key, self._correct(entry.id, prompt, before))
            past = past.told(prompt, trace, key)
            yield past

    def _correct(self, object_id: int, prompt: FramePrompt, past: Past) -> Trace:
        """Track an object to a frame by what was told so far, and refine what is found there."""
        origin = _origin(tuple(past.conditions), self.request)
        step = 1 if prompt.frame > origin else -1
        way = self._way(past, origin, step)
        recalled, tracked = None, None
        for frame, traces in self._sweep({object_id: way}, {object_id: origin}, step, prompt.frame):
            if frame + step == prompt.frame:
                recalled = way.bank.recall(prompt.frame)
            tracked = traces[object_id]
        assert recalled is not None
        embedding = self.encoder(prompt.frame)
        if tracked is None:
            # It had ended before: what the past says of this frame has not been asked yet.
            tracked = self.model.track(embedding, [recalled])[0]
        return self.model.correct(embedding, prompt, recalled, tracked)

    def _way(self, past: Past, origin: int, step: int) -> Way:
        request, n_frames = self.request, len(self.encoder.stack)
        bank = make_bank(request.memory, self.model.rules, n_frames, step, self._see)
        return Way(
            self.encoder,
            past,
            bank,
            origin,
            step,
            request.memory,
            self._patience,
            counts_empty=request.patience is not None,
        )

    def _sweep(
        self, ways: Mapping[int, Way], origins: Mapping[int, int], step: int, last: int
    ) -> Iterator[tuple[int, dict[int, Trace | None]]]:
        """Go from the first origin to the last frame, tracking every object from its own on.

        Yields
        ------
        frame : int
        traces : dict of int to Trace or None
            Of the objects that are under way; None for one that is given up, whose frames are not
            looked at. By then, the ways hold the frame.
        """
        starts = [origin * step for origin in origins.values() if origin * step <= last * step]
        if not starts:
            return
        with EarlyEncoder(self.encoder) as early:
            for frame in range(min(starts) * step, last + step, step):
                going = {i: way for i, way in ways.items() if way.is_under_way(frame)}
                traces: dict[int, Trace | None] = {}
                told = {i: trace for i, way in going.items() if (trace := way.told(frame))}
                missing: dict[int, Hashable] = {}
                for i, way in going.items():
                    if i in told or way.is_over:
                        traces[i] = told.get(i)
                        continue
                    key = way.key(frame)
                    traces[i] = self._cached(key)
                    if traces[i] is None:
                        missing[i] = key
                if missing:
                    embedding = self.encoder(frame)
                    if frame != last and self._needs_encoding(going, frame + step):
                        early.begin(frame + step)
                    recalled = [ways[i].bank.recall(frame) for i in missing]
                    found = self.model.track(embedding, recalled)
                    for (i, key), trace in zip(missing.items(), found, strict=True):
                        traces[i] = self._kept(key, trace)
                for i, reached in traces.items():
                    if reached is not None and i not in told:
                        ways[i].add(frame, reached)
                yield frame, traces

    @property
    def _patience(self) -> float:
        """How many frames in a row without an object are its end."""
        if self.request.patience is not None:
            return self.request.patience
        ends_after, stack = self.model.rules.ends_after, self.encoder.stack
        if ends_after is None:
            return math.inf
        through_time = stack.axis is not None and stack.volume.label_axes[stack.axis] == "t"
        return ends_after[through_time]

    def _begin_key(self, prompt: FramePrompt) -> Hashable:
        return (self.encoder.key(prompt.frame), self.model.answers_key, digest(prompt))

    def _needs_encoding(self, going: Mapping[int, Way], frame: int) -> bool:
        return any(
            not way.is_over
            and frame not in way.past.conditions
            and self._cached(way.key(frame)) is None
            for way in going.values()
        )

    def _see(self, frame: int) -> torch.Tensor:
        return self.encoder(frame).features

    def _cached(self, key: Hashable) -> Trace | None:
        known = self.encoder.cache.get(key)
        return known if isinstance(known, Trace) else None

    def _kept(self, key: Hashable, trace: Trace) -> Trace:
        self.encoder.cache.put(key, trace)
        return trace


def _in_order(entry: ObjectPrompts) -> tuple[int, ...]:
    """Return the prompted frames of an object in the order they were told."""
    return tuple(dict.fromkeys(prompt.frame for prompt in entry.prompts))


def _first_told(entry: ObjectPrompts, request: Request) -> tuple[int, ...]:
    """Return the frames that say what an object is; the others correct what came of it."""
    corrected = request.corrections.get(entry.id, {})
    told = _in_order(entry)
    # Without any frame that says what the object is, there is nothing that could be corrected.
    return tuple(f for f in told if f not in corrected) or told


def _origin(frames: Sequence[int], request: Request) -> int:
    """Return where the sweeps of an object start."""
    return max(frames) if request.direction == "backward" else min(frames)
