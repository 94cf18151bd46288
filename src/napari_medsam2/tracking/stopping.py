"""When a propagated object has ended: the evidence of one frame, and the rule that weighs it."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Evidence", "StopRule"]


@dataclass(frozen=True)
class Evidence:
    """What one frame says about the object still being there.

    Attributes
    ----------
    area : float
        Of the mask, in pixels at the scale where the frame's longest side is 256.
    area_to_key, area_to_last : float
        Area of the mask, over that on the conditioning and on the previous frame.
    overlap : float
        IoU of the mask with that of the previous frame.
    support : float
        Mean over the mask, in [0, 1], of the labels carried from the frames before.
    contrast : float
        How much of the object's difference from its surroundings on the conditioning frame is left:
        1 all, 0 none, below 0 reversed.
    agreement : float
        IoU of the decoder's own mask with the one that was kept.
    predicted_iou : float
        The model's opinion of its mask.
    """

    area: float
    area_to_key: float
    area_to_last: float
    overlap: float
    support: float
    contrast: float
    agreement: float
    predicted_iou: float

    @classmethod
    def nothing(cls) -> Evidence:
        """Return the evidence of an empty mask."""
        return cls(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True)
class StopRule:
    """Thresholds below which an object counts as ended."""

    def ended(self, evidence: Evidence) -> bool:
        """Whether the object is no longer on the frame."""
        return evidence.area == 0
