"""What SAM 2 is trained by: focal and Dice losses of the mask, its expected IoU, its presence.

Ravi et al., "SAM 2: Segment Anything in Images and Videos" (2024), section D.2: focal : Dice : IoU
: object as 20 : 1 : 1 : 1; Lin et al., "Focal loss for dense object detection" (2017).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Weights", "best_losses", "dice_loss", "focal_loss", "mask_losses", "overlap"]

_ALPHA, _GAMMA = 0.25, 2.0


@dataclass(frozen=True)
class Weights:
    """What each loss counts.

    Attributes
    ----------
    focal, dice, iou, presence : float
    absent : float
        Of the focal loss on frames without the object, where an empty mask is easily right.
    """

    focal: float = 20.0
    dice: float = 1.0
    iou: float = 1.0
    presence: float = 0.5
    absent: float = 0.3


def focal_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Return the focal loss of masks (N, rows, columns), the mean over each: (N,)."""
    entropy = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    right = torch.exp(-entropy)
    alpha = _ALPHA * truth + (1 - _ALPHA) * (1 - truth)
    return (alpha * (1 - right) ** _GAMMA * entropy).mean((1, 2))


def dice_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Return 1 - soft Dice of masks (N, rows, columns): (N,)."""
    inside = logits.sigmoid()
    both = (inside * truth).sum((1, 2))
    return 1 - (2 * both + 1) / (inside.sum((1, 2)) + truth.sum((1, 2)) + 1)


def overlap(logits: Tensor, truth: Tensor) -> Tensor:
    """Return the true IoU of masks (N, rows, columns), 0 where both are empty: (N,)."""
    with torch.no_grad():
        mask = (logits > 0).float()
        union = torch.maximum(mask, truth).sum((1, 2)).clamp_min(1)
        return (mask * truth).sum((1, 2)) / union


def mask_losses(
    logits: Tensor,
    ious: Tensor,
    scores: Tensor,
    truth: Tensor,
    weights: Weights | None = None,
) -> dict[str, Tensor]:
    """Return the losses of N answers; "loss" is their weighted sum, to be minimised.

    Parameters
    ----------
    logits : Tensor
        (N, rows, columns).
    ious, scores : Tensor
        (N,): the IoU that the model expects, and its logit of the object being there.
    truth : Tensor
        (N, rows, columns) of 0 and 1; all 0 where the object is not on the frame.
    weights : Weights, optional
    """
    weights = weights or Weights()
    there = (truth.flatten(1).amax(1) > 0).float()
    focal = focal_loss(logits, truth) * (weights.absent + (1 - weights.absent) * there)
    parts = {
        "focal": focal.mean(),
        "dice": (dice_loss(logits, truth) * there).mean(),
        "iou": ((ious - overlap(logits, truth)) ** 2).mean(),
        "presence": F.binary_cross_entropy_with_logits(scores, there),
    }
    total = torch.stack([getattr(weights, name) * value for name, value in parts.items()]).sum()
    return {"loss": total, **parts}


def best_losses(
    logits: Tensor,
    ious: Tensor,
    scores: Tensor,
    truth: Tensor,
    weights: Weights | None = None,
) -> dict[str, Tensor]:
    """Return the losses of N answers of M masks each: of the best mask, but of every expected IoU.

    An ambiguous prompt may mean several things; the mask that is nearest to what was meant learns,
    while all learn to tell how good they are, for that is what chooses among them (Ravi et al.,
    2024, section D.2).

    Parameters
    ----------
    logits : Tensor
        (N, M, rows, columns).
    ious : Tensor
        (N, M).
    scores, truth, weights
        As in `mask_losses`.
    """
    weights = weights or Weights()
    n, m = ious.shape
    rows = torch.arange(n, device=logits.device)
    every = truth.repeat_interleave(m, dim=0)
    with torch.no_grad():
        flat = logits.flatten(0, 1)
        cost = weights.focal * focal_loss(flat, every) + weights.dice * dice_loss(flat, every)
        best = cost.view(n, m).argmin(1)
    losses = mask_losses(logits[rows, best], ious[rows, best], scores, truth, weights)
    iou = ((ious.flatten() - overlap(flat, every)) ** 2).mean()
    total = losses["loss"] + weights.iou * (iou - losses["iou"])
    return {**losses, "loss": total, "iou": iou}
