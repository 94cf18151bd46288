"""The box chain: an object carried from frame to frame by a box and by what its features match.

The published way of LiteMedSAM in 3D (Ma et al., github.com/bowang-lab/MedSAM, branch LiteMedSAM)
starts on the prompted frame and prompts each next frame with the box of the mask before it, grown
by 3 pixels at 256-pixel scale; it never stops. Here the box is smoothed over frames and moves with
the object, the decoded mask is weighed against the labels that the encoder's features carry over
from the conditioning and the previous frame (label propagation by feature similarity, as in Jabri
et al., "Space-time correspondence as a contrastive random walk", 2020), and `StopRule` says when
the object has ended. docs/propagation.md has the measurements behind every constant.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from napari_medsam2.masks import bounding_box
from napari_medsam2.models.base import FramePrompt
from napari_medsam2.models.matching import (
    CELLS,
    SCALE,
    Seen,
    carry_labels,
    centre,
    difference,
    likeness,
    to_cells,
    to_pixels,
    unit_features,
)
from napari_medsam2.models.stopping import Evidence, StopRule, moved, overlap

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

    from napari_medsam2.models.base import Embedding, Prediction

__all__ = ["BoxChain"]

# All lengths are at the scale that brings the longest side of a frame to 256 pixels.
_MARGIN = 4.0
# Share of the newest mask in the size of the next box; the rest is the box before it.
_BOX_MEMORY = 0.7

# How much worse the features may fit where the labels went to than where the object was.
_BELIEF = 0.05
# What the carried labels weigh against the decoder, and the threshold of the weighted mean.
_LABEL_WEIGHT = 0.75
_THRESHOLD = 0.45
# A part that is new and smaller than this share of the largest one is no part of the object.
_LEAST_PART = 0.25
_STRAY_LOGIT = -1.0


class BoxChain:
    """One object, in one direction, from one conditioning frame on.

    For each next frame ask `next_prompt`, decode it, and hand the answer to `accept`. By default an
    object that is not found on a frame has ended. With more patience the next frame is compared
    with the last one that showed the object, so that it can come back near where it was: not
    farther than it may move between two frames, and looking as it did.

    Parameters
    ----------
    object_id : int
    frame : int
        The conditioning frame.
    prediction : Prediction
        The model's answer there, to all prompts of the object.
    embedding : Embedding
        Of that frame. Its features span the square that the frame fills from the top left when its
        longest side is scaled to the side of the square, as LiteMedSAM's do.
    rule : StopRule, optional
        When a frame does not show the object.
    patience : int
        On how many frames in a row the object must not be found to have ended.
    """

    def __init__(
        self,
        object_id: int,
        frame: int,
        prediction: Prediction,
        embedding: Embedding,
        rule: StopRule | None = None,
        patience: int = 1,
    ) -> None:
        self.object_id = object_id
        self.rule = StopRule() if rule is None else rule
        self.patience = patience
        self.evidence: Evidence | None = None
        self._mask: NDArray[np.bool_] = prediction.mask
        self._missed = 0 if self._mask.any() else patience
        if self.ended:
            return
        self._shape = self._mask.shape
        self._box = np.array(bounding_box(self._mask), dtype=np.float64)
        features = unit_features(embedding)
        device = features.device
        self._key = self._last = Seen(features, to_cells(self._mask, device))
        self._within = (to_cells(np.ones(self._shape, dtype=bool), device) > 0.5).float()
        self._difference = difference(self._key.features, self._key.cells, self._within)
        self._matched: tuple[int, Seen] | None = None
        self._next_box = self._box

    @property
    def ended(self) -> bool:
        """Whether the object has ended: there is no further prompt."""
        return self._missed >= self.patience

    @property
    def box(self) -> tuple[float, float, float, float]:
        """The smoothed box (y0, x0, y1, x1) on the last frame that showed the object."""
        y0, x0, y1, x1 = self._box.tolist()
        return y0, x0, y1, x1

    def go_on(
        self,
        mask: NDArray[np.bool_],
        box: tuple[float, float, float, float],
        embedding: Embedding,
        missed: int,
    ) -> None:
        """Stand where an equal chain stood before.

        Parameters
        ----------
        mask : ndarray of bool
            (y, x), of the last frame that showed the object.
        box : (y0, x0, y1, x1)
            `box` on that frame.
        embedding : Embedding
            Of that frame.
        missed : int
            How many frames have followed that did not show it.
        """
        features = unit_features(embedding)
        self._mask, self._missed = mask, missed
        self._box = self._next_box = np.array(box, dtype=np.float64)
        self._last = Seen(features, to_cells(mask, features.device))

    def next_prompt(self, frame: int, embedding: Embedding | None = None) -> FramePrompt | None:
        """Return the box to decode on the next frame, or None where the object cannot be.

        Parameters
        ----------
        frame : int
            The frame that follows the last one, in either direction.
        embedding : Embedding, optional
            Of that frame; with it the box follows an object that moves.
        """
        if self.ended:
            return None
        margin = _MARGIN * max(self._shape) / SCALE
        tight = np.array(bounding_box(self._mask), dtype=np.float64)
        box = _BOX_MEMORY * (tight + np.array([-margin, -margin, margin, margin]))
        box += (1 - _BOX_MEMORY) * self._box
        if embedding is not None:
            dy, dx = self._motion(self._match(frame, embedding).cells)
            box += [dy, dx, dy, dx]
        height, width = self._shape
        box = np.clip(box, 0, [height, width, height, width])
        if min(box[2] - box[0], box[3] - box[1]) < 1:
            self._missed += 1
            return None
        self._next_box = box
        y0, x0, y1, x1 = box.tolist()
        return FramePrompt(self.object_id, frame, boxes=((y0, x0, y1, x1),))

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
            What to keep: the model's answer, weighed against the labels carried over from the
            frames before. None where this frame does not contain the object.
        """
        if self.ended:
            return None
        matched = self._match(frame, embedding)
        logits = _weigh(prediction.logits, to_pixels(matched.cells, self._shape))
        before = moved(self._mask, *self._motion(matched.cells))
        mask = _without_strays(logits > 0, before)
        if not mask.any():
            self._missed += 1
            return None
        logits[(logits > 0) & ~mask] = _STRAY_LOGIT
        seen = Seen(matched.features, to_cells(mask, matched.features.device))
        self.evidence = Evidence(
            contrast=self._contrast_left(seen),
            overlap=overlap(before, mask),
            overlap_in_place=overlap(self._mask, mask),
        )
        if self.rule.ended(self.evidence):
            self._missed += 1
            return None
        self._mask, self._last, self._missed, self._box = mask, seen, 0, self._next_box
        return replace(prediction, logits=logits)

    def _contrast_left(self, seen: Seen) -> float:
        """Return the part of this frame's difference that lies along the conditioning frame's."""
        now = difference(seen.features, seen.cells, self._within)
        if now is None or self._difference is None:
            return 1.0
        then = self._difference
        return float((now @ then) / (then @ then).clamp_min(1e-9))

    def _match(self, frame: int, embedding: Embedding) -> Seen:
        if self._matched is None or self._matched[0] != frame:
            features = unit_features(embedding)
            cells = carry_labels(features, (self._key, self._last)).cells
            self._matched = (frame, Seen(features, cells))
        return self._matched[1]

    def _motion(self, cells: torch.Tensor) -> tuple[float, float]:
        """How far, in pixels of the frame, the object has moved since the last mask.

        The carried labels say where to, unless they have jumped to something that looks less like
        the object than what lies in its old place.
        """
        if self._matched is None or float(cells.max()) < _THRESHOLD:
            return 0.0, 0.0
        old, new = centre(self._last.cells), centre(cells * (cells >= _THRESHOLD))
        dy, dx = new[0] - old[0], new[1] - old[1]
        steps = round(dy), round(dx)
        if steps == (0, 0):
            return 0.0, 0.0
        now = self._matched[1].features
        there, here = (likeness(self._last, now, *by) for by in (steps, (0, 0)))
        if there < here - _BELIEF:
            return 0.0, 0.0
        pixels = max(self._shape) / CELLS
        return dy * pixels, dx * pixels


def _weigh(logits: NDArray[np.float32], labels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average the decoder's probability with the carried labels; logits with 0 at the threshold."""
    decoded = 1.0 / (1.0 + np.exp(-np.clip(logits, -30, 30)))
    mean: NDArray[np.float64] = np.clip(
        (1 - _LABEL_WEIGHT) * decoded + _LABEL_WEIGHT * labels, 1e-4, 1 - 1e-4
    )
    shifted = np.log(mean / (1 - mean)) - np.log(_THRESHOLD / (1 - _THRESHOLD))
    return np.asarray(shifted, dtype=np.float32)


def _without_strays(mask: NDArray[np.bool_], before: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Drop small parts that touch nothing of the mask before."""
    parts, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    kept = sizes >= _LEAST_PART * sizes[1:].max()
    kept[np.unique(parts[before])] = True
    kept[0] = False
    whole: NDArray[np.bool_] = kept[parts]
    return whole
