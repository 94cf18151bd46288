"""The box chain: an object carried from frame to frame by the box of its last mask.

The published way of LiteMedSAM in 3D (Ma et al., github.com/bowang-lab/MedSAM, branch LiteMedSAM)
starts on the prompted frame and prompts each next frame with the box of the mask before it, grown
by 3 pixels at 256-pixel scale. It has no rule to stop; the one used here is `stopping.StopRule`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..labels import bounding_box
from ..models.base import FramePrompt

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from ..models.base import Embedding, Prediction

__all__ = ["BoxChain"]

_MARGIN_AT_256 = 3.0
_LEAST_IOU = 0.3
_AREA_RATIOS = (0.4, 2.5)


class BoxChain:
    """One object, in one direction, from one conditioning frame on.

    For each next frame ask `next_prompt`, decode it, and hand the answer to `accept`.

    Parameters
    ----------
    object_id : int
    frame : int
        The conditioning frame.
    prediction : Prediction
        The model's answer there, to all prompts of the object.
    embedding : Embedding
        Of that frame.
    """

    def __init__(
        self, object_id: int, frame: int, prediction: Prediction, embedding: Embedding
    ) -> None:
        self.object_id = object_id
        self._frame = frame
        self._mask: NDArray[np.bool_] = prediction.mask
        self._ended = not self._mask.any()

    @property
    def ended(self) -> bool:
        """Whether the object has ended: there is no further prompt."""
        return self._ended

    def next_prompt(self, frame: int, embedding: Embedding | None = None) -> FramePrompt | None:
        """Return the box to decode on the next frame, or None once the object has ended.

        Parameters
        ----------
        frame : int
            The frame that follows the last one, in either direction.
        embedding : Embedding, optional
            Of that frame; lets the box follow what moved.
        """
        if self._ended:
            return None
        height, width = shape = self._mask.shape
        margin = _MARGIN_AT_256 * max(shape) / 256
        y0, x0, y1, x1 = bounding_box(self._mask)
        box = (
            max(y0 - margin, 0.0),
            max(x0 - margin, 0.0),
            min(y1 + margin, float(height)),
            min(x1 + margin, float(width)),
        )
        return FramePrompt(self.object_id, frame, boxes=(box,))

    def accept(self, frame: int, prediction: Prediction, embedding: Embedding) -> Prediction | None:
        """Weigh the evidence on a frame that was decoded from `next_prompt`.

        Parameters
        ----------
        frame : int
        prediction : Prediction
            The model's answer to the prompt.
        embedding : Embedding
            Of this frame.

        Returns
        -------
        Prediction or None
            What to keep, or None when the object has ended: this frame does not contain it.
        """
        mask = prediction.mask
        area, before = int(mask.sum()), int(self._mask.sum())
        union = int((mask | self._mask).sum())
        iou = int((mask & self._mask).sum()) / union if union else 0.0
        low, high = _AREA_RATIOS
        if area == 0 or iou < _LEAST_IOU or not low <= area / before <= high:
            self._ended = True
            return None
        self._mask = mask
        self._frame = frame
        return prediction
