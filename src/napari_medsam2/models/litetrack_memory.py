"""What LiteMedSAM-track keeps of a frame in a trace, and what it makes of what a bank recalls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from .litetrack_carry import Remembered
from .matching import CELLS

if TYPE_CHECKING:
    from torch import Tensor

    from .base import MemoryRules, Recalled

__all__ = ["Past", "packed", "unpacked"]

_FINE = 128 // CELLS
# How many cells an object may have moved from one frame to the next; anywhere on the frame, where
# images have no order.
_NEAR, _ANYWHERE = 5, CELLS - 1


@dataclass(frozen=True, eq=False)
class Past:
    """What is remembered of an object, as `carry` wants it.

    Attributes
    ----------
    keys : tuple of Remembered
        Prompted frames that show the object, or all, where frames have no order.
    last : Remembered or None
        The newest frame that shows it; None: none does.
    reach : int
    """

    keys: tuple[Remembered, ...] = field(repr=False)
    last: Remembered | None = field(repr=False)
    reach: int

    @classmethod
    def of(cls, recalled: Recalled, rules: MemoryRules) -> Past:
        """Sort what a memory bank gives."""
        keys = [unpacked(memory) for slot, memory in recalled.memories if slot == 0]
        if not recalled.pointers:
            shown = tuple(key for key in keys if key.shows)
            return cls(shown, shown[0] if shown else None, _ANYWHERE)
        distances = [distance for distance, _ in recalled.pointers[: len(keys)]]
        behind = {
            rules.memories - slot: unpacked(memory)
            for slot, memory in recalled.memories
            if slot > 0
        }
        behind.update({d: key for d, key in zip(distances, keys, strict=True) if d > 0})
        showing = sorted(distance for distance, past in behind.items() if past.shows)
        shown = tuple(key for key in keys if key.shows)
        last = behind[showing[0]] if showing else (shown[0] if shown else None)
        return cls(shown or ((last,) if last else ()), last, _NEAR)


def packed(past: Remembered) -> Tensor:
    """Return (channels + 16, 32, 32): features, and the mask's sub-cells."""
    fine = past.mask.view(CELLS, _FINE, CELLS, _FINE).permute(1, 3, 0, 2).flatten(0, 1)
    return torch.cat([past.features, fine]).half()


def unpacked(memory: Tensor) -> Remembered:
    """Return what `packed` has packed."""
    count = _FINE * _FINE
    features, fine = memory[:-count].float(), memory[-count:].float()
    mask = fine.view(_FINE, _FINE, CELLS, CELLS).permute(2, 0, 3, 1).reshape(128, 128)
    return Remembered(features, mask)
