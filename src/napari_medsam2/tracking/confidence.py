"""How far to trust a mask, as one number in [0, 1]."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_medsam2.models.base import Prediction

__all__ = ["confidence", "stability"]

_STABILITY_OFFSET = 1.0


def stability(logits: NDArray[np.float32], offset: float = _STABILITY_OFFSET) -> float:
    """Return how little a mask changes when its threshold moves.

    The IoU of the masks at ``+offset`` and ``-offset``, as in Kirillov et al., "Segment Anything"
    (2023), section 5; 0 for a mask without a single sure pixel.

    Parameters
    ----------
    logits : ndarray of float32
        (y, x).
    offset : float
        In logits.
    """
    outer = int(np.count_nonzero(logits > -offset))
    return int(np.count_nonzero(logits > offset)) / outer if outer else 0.0


def confidence(prediction: Prediction) -> float:
    """Return the confidence of a prediction in [0, 1].

    The product of the model's own predicted IoU, the mask's stability and, where the model tells
    it, the probability that the object is there. Grows with each of them.
    """
    score = min(max(prediction.predicted_iou, 0.0), 1.0) * stability(prediction.logits)
    if prediction.object_score is not None:
        score *= 1.0 / (1.0 + math.exp(-prediction.object_score))
    return score
