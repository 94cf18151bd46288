"""A memory bank without an order in time: sure and varied entries, of which a frame sees a few."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from napari_medsam2.models.base import Recalled

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch
    from numpy.typing import NDArray

    from napari_medsam2.models.base import MemoryRules, Trace

__all__ = ["SelfSortingBank", "direction"]


@dataclass(frozen=True, eq=False)
class _Entry:
    """A frame in the self-sorting bank."""

    frame: int
    trace: Trace
    see: Callable[[int], torch.Tensor]

    @cached_property
    def memory(self) -> NDArray[np.float32]:
        """The memory as a vector of length 1."""
        return direction(self.trace.memory)

    @cached_property
    def image(self) -> NDArray[np.float32]:
        """The image features of the frame as a vector of length 1."""
        return direction(self.see(self.frame))


class SelfSortingBank:
    """The self-sorting memory of Medical SAM 2, for frames or images in any order.

    It holds up to 16 tracked frames that the model is sure of and that differ from each other. Once
    it is full, the entry least similar to the new memory is found, and that entry's most similar
    neighbour makes room if the two are more similar than entry and new memory are, and if the new
    predicted IoU is not more than 0.1 below the neighbour's. A frame sees the conditioning frames
    and those entries whose images are most similar to its own; there is no order in time, so all
    take the place of conditioning frames, and no object pointers are used. (Zhu et al., "Medical
    SAM 2: Segment medical images as video via Segment Anything Model 2", 2024.) There the entries
    that a frame sees are drawn at random with the similarities as odds; here the most similar ones
    are taken, so that the same question has the same answer. Frames without the object are not
    kept.

    Parameters
    ----------
    rules : MemoryRules
    see : callable
        Takes a frame, returns its image features.
    size : int
        Entries at most.
    worse : float
        How much lower the predicted IoU of a newcomer may be.
    """

    def __init__(
        self,
        rules: MemoryRules,
        see: Callable[[int], torch.Tensor],
        size: int = 16,
        worse: float = 0.1,
    ) -> None:
        self.rules = rules
        self.size = size
        self.worse = worse
        self._see = see
        self._conditioning: dict[int, Trace] = {}
        self._entries: list[_Entry] = []

    @property
    def frames(self) -> tuple[int, ...]:
        """The tracked frames that are held, oldest first."""
        return tuple(entry.frame for entry in self._entries)

    def condition(self, frame: int, trace: Trace) -> None:
        """Keep a frame that a person has prompted, for good."""
        self._conditioning[frame] = trace

    def add(self, frame: int, trace: Trace) -> None:
        """Keep a frame that was tracked, if it is worth more than one that is held."""
        if not trace.is_present:
            return
        new = _Entry(frame, trace, self._see)
        if len(self._entries) >= self.size:
            redundant = self._redundant(new)
            if redundant is None:
                return
            self._entries.remove(redundant)
        self._entries.append(new)

    def recall(self, frame: int) -> Recalled:
        """Return what the model sees of the past on a frame."""
        memories = [(0, trace.memory) for trace in self._conditioning.values()]
        image = direction(self._see(frame))
        similar = sorted(self._entries, key=lambda e: (-float(e.image @ image), e.frame))
        memories += [(0, e.trace.memory) for e in similar[: self.rules.memories - 1]]
        return Recalled(tuple(memories), ())

    def looked_at(self, frame: int) -> set[int]:
        """Return the conditioning frames that `recall` may look at on a frame: all."""
        del frame
        return set(self._conditioning)

    def _redundant(self, new: _Entry) -> _Entry | None:
        """Return the entry that makes room for a new one, None if none should."""
        to_new = [float(entry.memory @ new.memory) for entry in self._entries]
        farthest = int(np.argmin(to_new))
        one = self._entries[farthest]
        others = [entry for entry in self._entries if entry is not one]
        if not others:
            return None
        neighbour = max(others, key=lambda entry: float(entry.memory @ one.memory))
        closer = float(neighbour.memory @ one.memory) > to_new[farthest]
        good = new.trace.predicted_iou > neighbour.trace.predicted_iou - self.worse
        return neighbour if closer and good else None


def direction(values: torch.Tensor) -> NDArray[np.float32]:
    """Return a tensor as a vector of length 1."""
    vector: NDArray[np.float32] = values.detach().flatten().float().cpu().numpy()
    length = float(np.linalg.norm(vector))
    return vector / length if length > 0 else vector
