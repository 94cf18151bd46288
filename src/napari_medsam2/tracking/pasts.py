"""What is known of an object before a frame is tracked, and what its trace there depends on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Hashable, Mapping

    from napari_medsam2.models.base import FramePrompt, Trace

    from .embeddings import FrameEncoder
    from .memory import MemoryBank

__all__ = ["Past", "Way"]


@dataclass(frozen=True, eq=False)
class Past:
    """An object's conditioning frames, in the order they were told.

    Attributes
    ----------
    conditions : mapping of int to Trace
        By frame.
    prompts : mapping of int to FramePrompt
        What was said on them.
    names : mapping of int to str
        What the traces depend on: traces of equal names are equal.
    """

    conditions: Mapping[int, Trace] = field(default_factory=dict)
    prompts: Mapping[int, FramePrompt] = field(default_factory=dict)
    names: Mapping[int, str] = field(default_factory=dict)

    def told(self, prompt: FramePrompt, trace: Trace, key: Hashable) -> Past:
        """Return a past with one more conditioning frame, whose trace depends on `key`."""
        # A name is short, however much the key holds: corrections depend on those before.
        name = hashlib.sha256(repr(key).encode()).hexdigest()
        return Past(
            {**self.conditions, prompt.frame: trace},
            {**self.prompts, prompt.frame: prompt},
            {**self.names, prompt.frame: name},
        )


class Way:
    """One object on its way along the frames of a sweep.

    Parameters
    ----------
    encoder : FrameEncoder
    past : Past
    bank : MemoryBank
        Which holds the conditioning frames of the past.
    origin : int
        The frame that the way starts on.
    step : {1, -1}
    memory : str
        The kind of bank.
    patience : float
        After how many frames in a row without it the object is given up.
    counts_empty : bool
        Whether a mask without a pixel counts as a frame without the object, whatever its score.

    Attributes
    ----------
    is_over : bool
        Whether the object is given up: its frames are not looked at, until one that is prompted.
    """

    def __init__(
        self,
        encoder: FrameEncoder,
        past: Past,
        bank: MemoryBank,
        origin: int,
        step: int,
        memory: str,
        patience: float,
        *,
        counts_empty: bool,
    ) -> None:
        self.past = past
        self.bank = bank
        self.is_over = False
        self._encoder = encoder
        self._origin = origin
        self._step = step
        self._memory = memory
        self._patience = patience
        self._counts_empty = counts_empty
        self._gone = 0
        # All that the bank holds by now follows from these two.
        self._looked_at: set[int] = set()
        self._given_up: tuple[int, ...] = ()
        for frame, trace in past.conditions.items():
            bank.condition(frame, trace)

    def is_under_way(self, frame: int) -> bool:
        """Whether a frame lies on the way."""
        return (frame - self._origin) * self._step >= 0

    def key(self, frame: int) -> Hashable:
        """Return what the trace on the next frame depends on."""
        seen = self._looked_at | self.bank.looked_at(frame)
        return (
            self._encoder.key(frame),
            self._encoder.model.answers_key,
            tuple(name for f, name in self.past.names.items() if f in seen),
            self._origin,
            self._step,
            self._memory,
            self._given_up,
        )

    def told(self, frame: int) -> Trace | None:
        """Return the trace of the next frame if it is a conditioning frame."""
        trace = self.past.conditions.get(frame)
        if trace is not None:
            # Whoever prompts an object beyond its end says that it is there again.
            self.is_over = False
            self._gone = 0
        return trace

    def add(self, frame: int, trace: Trace) -> None:
        """Go one frame further, whose trace was tracked."""
        self._looked_at |= self.bank.looked_at(frame)
        self.bank.add(frame, trace)
        there = trace.is_present and not (self._counts_empty and not (trace.logits > 0).any())
        self._gone = 0 if there else self._gone + 1
        if self._gone >= self._patience:
            self.is_over = True
            self._given_up = (*self._given_up, frame)
