"""Which object a pixel belongs to where masks overlap, also when they come from different sides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_medsam2.labels import MaskUpdate
from napari_medsam2.masks import bounding_box

from .confidence import confidence

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_medsam2.masks import BBox
    from napari_medsam2.models.base import Prediction

__all__ = ["Claim", "Contest"]

# An object is nested in another one that is at least twice as large and covers most of it.
_NESTED_SIZE = 0.5
_NESTED_SHARE = 0.6


@dataclass(frozen=True, eq=False)
class Claim:
    """An object's logits inside the bounding box of its mask.

    Attributes
    ----------
    bbox : (y0, x0, y1, x1)
        In the frame; (0, 0, 0, 0) of an empty mask.
    logits : ndarray of float16
        (y1 - y0, x1 - x0).
    score : float
        Confidence in [0, 1].
    """

    bbox: BBox
    logits: NDArray[np.float16]
    score: float

    @classmethod
    def of(cls, prediction: Prediction, corner: tuple[int, int] = (0, 0)) -> Claim:
        """Return the claim of a prediction for a frame, or for a part of it from `corner` on."""
        y0, x0, y1, x1 = bounding_box(prediction.mask)
        # Clipped so that half precision neither overflows nor turns a faint claim into none.
        crop = prediction.logits[y0:y1, x0:x1]
        faint = np.where(crop > 0, np.maximum(crop, 1e-4), crop)
        logits = np.clip(faint, -6e4, 6e4).astype(np.float16)
        top, left = corner if y1 > y0 else (0, 0)
        box = (y0 + top, x0 + left, y1 + top, x1 + left)
        return cls(box, logits, confidence(prediction))


class Contest:
    """Settles which object a pixel belongs to, over the passes of one propagation.

    Parameters
    ----------
    order : sequence of int
        Objects that win over all that come after them and over those that are not listed.
    """

    def __init__(self, order: Sequence[int] = ()) -> None:
        self._before = {object_id: len(order) - place for place, object_id in enumerate(order)}
        self._held: dict[int, dict[int, Claim]] = {}

    def settle(
        self, frame: int, predictions: Mapping[int, Prediction | Claim | None], *, keep: bool
    ) -> list[MaskUpdate]:
        """Return the updates of a frame; `keep` holds the claims for a later pass."""
        claims = {
            i: p if isinstance(p, Claim) else Claim.of(p)
            for i, p in predictions.items()
            if p is not None
        }
        held = self._held.pop(frame, {})
        masks = self._divide({**held, **claims})
        updates = []
        for i in sorted({*predictions, *held}):
            if i in predictions and i not in claims:
                nothing = np.zeros((0, 0), dtype=bool)
                updates.append(MaskUpdate(frame, i, (0, 0, 0, 0), nothing, float("nan")))
            elif i in claims or not np.array_equal(masks[i], held[i].logits > 0):
                claim = claims.get(i) or held[i]
                updates.append(_cropped(frame, i, claim, masks[i]))
        if keep:
            self._held[frame] = {**held, **claims}
        return updates

    def _divide(self, claims: Mapping[int, Claim]) -> dict[int, NDArray[np.bool_]]:
        """Return each object's mask inside its box.

        A pixel goes to the higher logit, ties to the lower id; but an object that lies mostly
        inside a larger one (a lesion in its organ) keeps its pixels, whatever the larger one says;
        and what a person has put in order comes before all that.
        """
        # Processors compare numbers in half precision slowly.
        logits = {i: c.logits.astype(np.float32) for i, c in claims.items()}
        masks = {i: values > 0 for i, values in logits.items()}
        if len(claims) < 2:
            return masks
        depth = _nesting(claims, masks)
        for i, before in self._before.items():
            if i in depth:
                depth[i] = len(claims) + before
        top, left, bottom, right = _around(claims.values())
        best = np.zeros((bottom - top, right - left), dtype=np.float32)
        rank = np.full(best.shape, -1, dtype=np.int16)
        owner = np.zeros(best.shape, dtype=np.int32)
        boxes = {
            i: (slice(y0 - top, y1 - top), slice(x0 - left, x1 - left))
            for i, (y0, x0, y1, x1) in ((i, claim.bbox) for i, claim in claims.items())
            if y1 > y0
        }
        for i, box in sorted(boxes.items()):
            deeper = depth[i] > rank[box]
            higher = (depth[i] == rank[box]) & (logits[i] > best[box])
            won = masks[i] & (deeper | higher)
            np.copyto(best[box], logits[i], where=won)
            np.copyto(rank[box], depth[i], where=won)
            np.copyto(owner[box], i, where=won)
        nothing = np.zeros((0, 0), dtype=bool)
        return {i: owner[boxes[i]] == i if i in boxes else nothing for i in claims}


def _around(claims: Iterable[Claim]) -> BBox:
    """Return the box around all boxes; frames may be large, and objects far from their corner."""
    boxes = [claim.bbox for claim in claims if claim.bbox[2] > claim.bbox[0]]
    if not boxes:
        return (0, 0, 0, 0)
    y0, x0, y1, x1 = zip(*boxes, strict=True)
    return min(y0), min(x0), max(y1), max(x1)


def _nesting(claims: Mapping[int, Claim], masks: Mapping[int, NDArray[np.bool_]]) -> dict[int, int]:
    """Return how many larger objects each object lies mostly inside of."""
    areas = {i: int(np.count_nonzero(mask)) for i, mask in masks.items()}
    return {
        i: sum(
            1
            for j, outer in claims.items()
            if areas[i] < _NESTED_SIZE * areas[j]
            and _shared(inner.bbox, masks[i], outer.bbox, masks[j]) > _NESTED_SHARE * areas[i]
        )
        for i, inner in claims.items()
    }


def _shared(
    box: BBox, mask: NDArray[np.bool_], other_box: BBox, other_mask: NDArray[np.bool_]
) -> int:
    """Return the number of pixels that two objects both claim."""
    y0, x0 = (max(a, b) for a, b in zip(box[:2], other_box[:2], strict=True))
    y1, x1 = (min(a, b) for a, b in zip(box[2:], other_box[2:], strict=True))
    if y1 <= y0 or x1 <= x0:
        return 0
    parts = (
        whole[y0 - top : y1 - top, x0 - left : x1 - left]
        for whole, (top, left, _, _) in ((mask, box), (other_mask, other_box))
    )
    return int(np.count_nonzero(np.logical_and(*parts)))


def _cropped(frame: int, object_id: int, claim: Claim, mask: NDArray[np.bool_]) -> MaskUpdate:
    y0, x0, y1, x1 = bounding_box(mask)
    top, left = claim.bbox[:2]
    box = (y0 + top, x0 + left, y1 + top, x1 + left) if y1 > y0 else (0, 0, 0, 0)
    return MaskUpdate(frame, object_id, box, mask[y0:y1, x0:x1].copy(), claim.score)
