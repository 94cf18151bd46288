"""When a propagated object has ended: the evidence of one frame, and the rule that weighs it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_medsam2.masks import bounding_box

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Evidence", "StopRule", "moved", "overlap"]


@dataclass(frozen=True)
class Evidence:
    """What one frame says about the object still being there.

    Attributes
    ----------
    contrast : float
        How much of the object's difference from its surroundings on the conditioning frame is left:
        1 all, 0 none, below 0 reversed; 1 for an object that has no surroundings on the frame.
    overlap : float
        IoU of the mask with that of the previous frame, moved along as far as the object moved.
    overlap_in_place : float
        The same without moving it.
    """

    contrast: float
    overlap: float
    overlap_in_place: float


@dataclass(frozen=True)
class StopRule:
    """Thresholds below which an object counts as ended.

    The defaults were chosen on training volumes and confirmed on others; docs/propagation.md.

    Attributes
    ----------
    least_contrast, least_overlap : float
        See `Evidence`.
    jump_contrast : float
        The contrast that a mask needs where it overlaps less than `least_overlap` in place: what
        jumps must look the same.
    """

    least_contrast: float = 0.35
    least_overlap: float = 0.3
    jump_contrast: float = 0.7

    def ended(self, evidence: Evidence) -> bool:
        """Whether the object is no longer on the frame."""
        jumped = evidence.overlap_in_place < self.least_overlap
        needed = self.jump_contrast if jumped else self.least_contrast
        return evidence.contrast < needed or evidence.overlap < self.least_overlap


def overlap(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    """Return the IoU of two masks, 0 if both are empty."""
    union = int((one | other).sum())
    return int((one & other).sum()) / union if union else 0.0


def moved(mask: NDArray[np.bool_], dy: float, dx: float) -> NDArray[np.bool_]:
    """Return a mask shifted by whole pixels, cut off at the border of the frame."""
    shifted = np.zeros_like(mask)
    y0, x0, y1, x1 = bounding_box(mask)
    down, right = round(dy), round(dx)
    height, width = mask.shape
    top, left = max(y0 + down, 0), max(x0 + right, 0)
    bottom, end = min(y1 + down, height), min(x1 + right, width)
    if top < bottom and left < end:
        shifted[top:bottom, left:end] = mask[top - down : bottom - down, left - right : end - right]
    return shifted
