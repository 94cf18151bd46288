"""SAM 2 from frame to frame in a form that can be differentiated: its own modules, step by step.

The answers are those of its base class (Ravi et al., 2024; facebookresearch/sam2), with one
difference: masks of objects that it believes absent are kept, for a mask of constants learns
nothing. What goes on to later frames is hidden there as ever.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

__all__ = ["Answer", "Follower", "encode", "tight_boxes"]

_ABSENT = -1024.0
_MOST_SURE = 32.0
_TOP_LEFT, _BOTTOM_RIGHT = 2, 3

Points = tuple["Tensor", "Tensor"]
"""(N, P, 2) of x, y in pixels of the network's input, and (N, P) of int32 labels."""


@dataclass(frozen=True, eq=False)
class Answer:
    """What the network says of N objects on one frame.

    Attributes
    ----------
    logits : Tensor
        (N, M, h, w) of all masks that it offers.
    ious : Tensor
        (N, M), the overlap that it expects of each.
    scores : Tensor
        (N,), logit of the object being there.
    mask : Tensor
        (N, 1, h, w) logits of the mask that it takes, far below 0 where it sees no object.
    pointers : Tensor
        (N, C).
    pixels : Tensor
        (N, C, rows, columns), what it was decoded from.
    """

    logits: Tensor = field(repr=False)
    ious: Tensor
    scores: Tensor
    mask: Tensor = field(repr=False)
    pointers: Tensor = field(repr=False)
    pixels: Tensor = field(repr=False)


def encode(net: Any, images: Tensor) -> tuple[Tensor, ...]:
    """Return the image encoder's levels of frames (T, 3, S, S), finest first."""
    return tuple(net.image_encoder(images)["backbone_fpn"][-net.num_feature_levels :])


def tight_boxes(boxes: Tensor) -> Points:
    """Return boxes (N, 4) of x0, y0, x1, y1, first and last pixels, as points."""
    labels = torch.tensor([[_TOP_LEFT, _BOTTOM_RIGHT]], dtype=torch.int32, device=boxes.device)
    return boxes.view(-1, 2, 2).float(), labels.expand(len(boxes), 2)


class Follower:
    """Follows N objects through T frames; frames are asked in their order, each kept when done.

    Parameters
    ----------
    net : SAM2Base
        In training mode it does as SAM 2 does when it learns.
    levels : sequence of Tensor
        From `encode`, of all frames.
    objects : int
    """

    def __init__(self, net: Any, levels: Sequence[Tensor], objects: int) -> None:
        self._net, self._count = net, objects
        self._frames = len(levels[-1])
        *fine, coarse = levels
        if net.use_high_res_features_in_sam:
            decoder = net.sam_mask_decoder
            fine = [decoder.conv_s0(fine[0]), decoder.conv_s1(fine[1])]
        self._fine, self._coarse = fine, coarse
        self._grid = (coarse.shape[-2], coarse.shape[-1])
        self._position = self._flat(net.image_encoder.neck.position_encoding(coarse[:1]))
        self._past: dict[str, dict[int, dict[str, Any]]] = {
            "cond_frame_outputs": {},
            "non_cond_frame_outputs": {},
        }

    def start(self, points: Points) -> Answer:
        """Answer points or boxes on the first frame."""
        return self._decode(0, self._remembering(0), points, None)

    def take(self, mask: Tensor) -> Answer:
        """Take masks (N, 1, S, S) of 0 and 1 as the answer on the first frame."""
        pixels = self._of(self._coarse, 0)
        _, _, ious, low, _, pointers, scores = self._net._use_mask_as_output(
            pixels, self._details(0), mask
        )
        return Answer(low, ious, scores[:, 0], low, pointers, pixels)

    def track(self, frame: int) -> Answer:
        """Find the objects by their past."""
        return self._decode(frame, self._remembering(frame), None, None)

    def correct(self, frame: int, answer: Answer, points: Points) -> Answer:
        """Answer again, with all points that were given on the frame until now."""
        former = answer.mask.detach().float().clamp(-_MOST_SURE, _MOST_SURE)
        return self._decode(frame, answer.pixels, points, former)

    def keep(self, frame: int, answer: Answer, *, prompted: bool) -> None:
        """Remember a frame, as one on which a person has said what is there or as another.

        A given mask is remembered as coarse as any other, as the video predictor has it.
        """
        features, positions = self._net._encode_new_memory(
            current_vision_feats=[self._flat(self._of(self._coarse, frame))],
            feat_sizes=[self._grid],
            pred_masks_high_res=self.enlarged(answer.mask),
            object_score_logits=answer.scores[:, None],
            is_mask_from_pts=prompted,
        )
        kind = "cond_frame_outputs" if prompted else "non_cond_frame_outputs"
        self._past[kind][frame] = {
            "maskmem_features": features,
            "maskmem_pos_enc": positions,
            "obj_ptr": answer.pointers,
        }

    def enlarged(self, logits: Tensor) -> Tensor:
        """Return logits (N, M, h, w) at the size of the network's input."""
        side = self._net.image_size
        return F.interpolate(logits.float(), (side, side), mode="bilinear", align_corners=False)

    def _remembering(self, frame: int) -> Tensor:
        """Return a frame's features (N, C, rows, columns) as the past makes them appear."""
        pixels: Tensor = self._net._prepare_memory_conditioned_features(
            frame_idx=frame,
            is_init_cond_frame=frame == 0,
            current_vision_feats=[self._flat(self._of(self._coarse, frame))],
            current_vision_pos_embeds=[self._position.expand(-1, self._count, -1)],
            feat_sizes=[self._grid],
            output_dict=self._past,
            num_frames=self._frames,
        )
        return pixels

    def _decode(
        self, frame: int, pixels: Tensor, points: Points | None, mask: Tensor | None
    ) -> Answer:
        net, count, device = self._net, self._count, pixels.device
        given = None if points is None else {"point_labels": points[1]}
        multimask = net._use_multimask(frame == 0, given)
        if points is None:
            points = (
                torch.zeros(count, 1, 2, device=device),
                torch.full((count, 1), -1, dtype=torch.int32, device=device),
            )
        sparse, dense = net.sam_prompt_encoder(points=points, boxes=None, masks=mask)
        logits, ious, tokens, scores = net.sam_mask_decoder(
            image_embeddings=pixels,
            image_pe=net.sam_prompt_encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
            repeat_image=False,
            high_res_features=self._details(frame),
        )
        logits, ious, scores = logits.float(), ious.float(), scores.float()
        rows, best = torch.arange(count, device=device), ious.argmax(dim=1)
        chosen = logits[rows, best][:, None]
        token = tokens[rows, best] if tokens.shape[1] > 1 else tokens[:, 0]
        pointers = net.obj_ptr_proj(token)
        if net.pred_obj_scores:
            chosen = torch.where(scores[:, :, None, None] > 0, chosen, _ABSENT)
            there = scores.sigmoid() if net.soft_no_obj_ptr else (scores > 0).float()
            if net.fixed_no_obj_ptr:
                pointers = there * pointers
            pointers = pointers + (1 - there) * net.no_obj_ptr
        return Answer(logits, ious, scores[:, 0], chosen, pointers, pixels)

    def _details(self, frame: int) -> list[Tensor] | None:
        return [self._of(level, frame) for level in self._fine] or None

    def _of(self, level: Tensor, frame: int) -> Tensor:
        return level[frame : frame + 1].expand(self._count, -1, -1, -1)

    @staticmethod
    def _flat(pixels: Tensor) -> Tensor:
        """Return (N, C, rows, columns) as (places, N, C)."""
        return pixels.flatten(2).permute(2, 0, 1)
