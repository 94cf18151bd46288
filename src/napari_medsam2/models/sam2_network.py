"""What SAM 2 computes: image features, memory attention, mask heads, memories.

The steps are those of SAM 2's own base class (Ravi et al., 2024; facebookresearch/sam2), written
for tensors instead of growing dictionaries of frames: what a step needs of the past is handed in.
In fp32 they give the answers of its video predictor; see tests/models/test_sam2_parity.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from .base import Trace
from .sam2_parts import FastParts, choose_parts

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from .base import Embedding, Recalled
    from .tinyvit import Precision

__all__ = ["Answer", "Network", "floats", "traces"]

_ABSENT = -1024.0
"""Logit of every pixel of an object that is not on the frame."""
_GIVEN = 10.0
"""Logit of the pixels of a mask that was given, negative outside."""
_MOST_SURE = 32.0
"""Former logits are clipped to this before they are told to the network again."""


@dataclass(frozen=True, eq=False)
class Answer:
    """Masks of N objects on one frame.

    Attributes
    ----------
    logits : torch.Tensor
        (N, 1, 4 h, 4 w) for image features of (h, w).
    ious, scores : torch.Tensor
        (N,) predicted IoU, (N, 1) object score.
    pointers : torch.Tensor
        (N, C).
    """

    logits: Tensor
    ious: Tensor
    scores: Tensor
    pointers: Tensor


class Network:
    """SAM 2 on one device, for frames of one network size.

    Parameters
    ----------
    net : SAM2Base
        With its weights, on the device, in eval mode.
    precision : {"fp32", "bf16", "fp16"}
    compiled : bool
        Whether torch compiles the image encoder.
    """

    def __init__(self, net: Any, precision: Precision, *, compiled: bool = False) -> None:
        self.net = net
        # Whether the first of several masks is taken instead of the one rated best.
        self.takes_first_mask = False
        self.size: int = net.image_size
        self.device: torch.device = next(net.parameters()).device
        grid = net.sam_image_embedding_size
        self.grid = (grid, grid)
        with torch.inference_mode():
            self._dense_position = net.sam_prompt_encoder.get_dense_pe()
            self._image_position = self._position_of(net.image_encoder.neck.position_encoding, 1)
            self._memory_position = self._position_of(
                net.memory_encoder.position_encoding, net.mem_dim
            )
        self.parts = choose_parts(net, self._dense_position, precision, compiled=compiled)

    def _position_of(self, encoding: Any, channels: int) -> Tensor:
        """Return the (C, h, w) position encoding of a grid; it depends on the size alone."""
        blank = torch.zeros(1, channels, *self.grid, device=self.device)
        position: Tensor = encoding(blank)[0].to(torch.float32)
        return position

    def release(self) -> None:
        """Free the published networks if fast forms have taken copies; `net` is then used up."""
        if isinstance(self.parts, FastParts):
            for name in ("image_encoder", "memory_attention", "sam_mask_decoder", "memory_encoder"):
                setattr(self.net, name, None)

    def alone(self, features: Tensor) -> Tensor:
        """Return (1, C, h, w) features for a frame that has no past."""
        nothing: Tensor = self.net.no_mem_embed.permute(0, 2, 1)[..., None]
        return features[None] + nothing

    def remember_with(self, features: Tensor, recalled: Sequence[Recalled]) -> Tensor:
        """Return (N, C, h, w): one frame's features as N objects' pasts make them appear.

        Parameters
        ----------
        features : torch.Tensor
            (C, h, w) of the frame.
        recalled : sequence of Recalled
            Of N objects, all with the same slots and distances.
        """
        net, count = self.net, len(recalled)
        slots = [slot for slot, _ in recalled[0].memories]
        memory = torch.stack(
            [torch.cat([m.flatten(1) for _, m in r.memories], dim=1).t() for r in recalled]
        )
        place = self._memory_position.flatten(1).t()
        times = (net.maskmem_tpos_enc[net.num_maskmem - 1 - slot].flatten() for slot in slots)
        position = torch.cat([place + time for time in times])
        tokens = 0
        distances = [distance for distance, _ in recalled[0].pointers]
        if distances and net.use_obj_ptrs_in_encoder:
            pointers = torch.stack([torch.stack([p for _, p in r.pointers]) for r in recalled])
            parts = net.hidden_dim // net.mem_dim
            spread = pointers.reshape(count, -1, net.mem_dim)
            tokens = spread.shape[1]
            memory = torch.cat([memory.to(spread.dtype), spread], dim=1)
            when = self._when(distances, recalled[0].longest).repeat_interleave(parts, dim=0)
            position = torch.cat([position, when])
        return self.parts.attend(features, self._image_position, memory.float(), position, tokens)

    def _when(self, distances: Sequence[int], longest: int) -> Tensor:
        """Return the (P, c) encoding of how far away in time pointers are."""
        net = self.net
        if not net.add_tpos_enc_to_obj_ptrs:
            return torch.zeros(len(distances), net.mem_dim, device=self.device)
        channels = net.hidden_dim if net.proj_tpos_enc_in_obj_ptrs else net.mem_dim
        half = channels // 2
        steps = torch.arange(half, dtype=torch.float32, device=self.device)
        periods = 10000 ** (2 * (steps // 2) / half)
        relative = torch.tensor(distances, device=self.device) / longest
        angles = relative[:, None] / periods
        encoded: Tensor = net.obj_ptr_tpos_proj(torch.cat([angles.sin(), angles.cos()], dim=-1))
        return encoded

    def decode(
        self,
        image: Tensor,
        details: tuple[Tensor, ...],
        points: tuple[Tensor, Tensor] | None,
        mask: Tensor | None,
        *,
        multimask: bool,
    ) -> Answer:
        """Decode N objects; of several masks the one with the best predicted IoU is taken.

        Or the first one, see `takes_first_mask`.

        Parameters
        ----------
        image : torch.Tensor
            (N, C, h, w), or (1, C, h, w) for all objects that have points.
        details : tuple of torch.Tensor
            The frame's finer features.
        points : (coordinates, labels), optional
            (N, P, 2) as (x, y) in the network's input, and (N, P).
        mask : torch.Tensor, optional
            (N, 1, 4 h, 4 w) of logits.
        multimask : bool
            Whether to choose among three masks.
        """
        net, count = self.net, len(image) if points is None else len(points[0])
        if points is None:
            points = (
                torch.zeros(count, 1, 2, device=self.device),
                torch.full((count, 1), -1, dtype=torch.int32, device=self.device),
            )
        coordinates, labels = (p.to(self.device) for p in points)
        sparse, dense = net.sam_prompt_encoder(points=(coordinates, labels), boxes=None, masks=mask)
        masks, ious, tokens, scores = self.parts.decode(
            image, details, sparse, dense, multimask=multimask
        )
        masks, ious, token = masks.float(), ious.float(), tokens[:, 0]
        if multimask:
            best, rows = ious.argmax(dim=-1), torch.arange(count, device=self.device)
            if self.takes_first_mask:
                best = torch.zeros_like(best)
            masks, ious = masks[rows, best][:, None], ious[rows, best]
            if tokens.shape[1] > 1:
                token = tokens[rows, best]
        else:
            ious = ious[:, 0]
        if net.pred_obj_scores:
            masks = torch.where(scores[:, None, None] > 0, masks, _ABSENT)
        return Answer(masks, ious, scores.float(), self._pointers(net.obj_ptr_proj(token), scores))

    def _pointers(self, pointers: Tensor, scores: Tensor) -> Tensor:
        """Return pointers (N, C) in which absent objects say that they are absent."""
        net = self.net
        if net.pred_obj_scores:
            there = scores.sigmoid() if net.soft_no_obj_ptr else (scores > 0).float()
            if net.fixed_no_obj_ptr:
                pointers = there * pointers
            pointers = pointers + (1 - there) * net.no_obj_ptr
        return pointers.float()

    def take(self, features: Tensor, details: tuple[Tensor, ...], mask: Tensor) -> Answer:
        """Take a given mask (1, 1, S, S) of 0 and 1 as the answer, and find its pointer."""
        net = self.net
        high = mask * (2 * _GIVEN) - _GIVEN
        side = self.size // 4
        low = F.interpolate(
            high, size=(side, side), mode="bilinear", align_corners=False, antialias=True
        )
        there = mask.flatten(1).any(dim=1, keepdim=True)
        scores = torch.where(there, _GIVEN, -_GIVEN)
        prompt = self.fit(net.mask_downsample(mask))
        told = self.decode(features[None], details, None, prompt, multimask=False)
        pointers = told.pointers
        if net.pred_obj_scores:
            if net.fixed_no_obj_ptr:
                pointers = there * pointers
            pointers = pointers + ~there * net.no_obj_ptr
        return Answer(low, torch.ones(1, device=self.device), scores, pointers)

    def fit(self, logits: Tensor) -> Tensor:
        """Bring logits (N, 1, a, b) to the size that a mask prompt has."""
        wanted = tuple(self.net.sam_prompt_encoder.mask_input_size)
        if tuple(logits.shape[-2:]) == wanted:
            return logits
        return F.interpolate(
            logits.float(), size=wanted, mode="bilinear", align_corners=False, antialias=True
        )

    def tell_again(self, logits: Tensor) -> Tensor:
        """Turn former logits (4 h, 4 w) into the mask prompt of a correction."""
        return self.fit(logits.float()[None, None].clamp(-_MOST_SURE, _MOST_SURE))

    def memorise(self, features: Tensor, answer: Answer, *, prompted: bool) -> Tensor:
        """Return memories (N, c, h, w) of what was found on a frame, in bfloat16.

        Parameters
        ----------
        features : torch.Tensor
            (C, h, w) of the frame.
        answer : Answer
        prompted : bool
            Whether a person has said what is there.
        """
        net = self.net
        logits = F.interpolate(
            answer.logits, size=(self.size, self.size), mode="bilinear", align_corners=False
        )
        if prompted and net.binarize_mask_from_pts_for_mem_enc:
            masks = (logits > 0).float()
        else:
            masks = logits.sigmoid_()
        if net.sigmoid_scale_for_mem_enc != 1.0:
            masks = masks.mul_(net.sigmoid_scale_for_mem_enc)
        if net.sigmoid_bias_for_mem_enc != 0.0:
            masks = masks.add_(net.sigmoid_bias_for_mem_enc)
        memories = self.parts.memorise(features, masks)
        if net.no_obj_embed_spatial is not None:
            absent = 1 - (answer.scores > 0).float()
            memories = memories + (absent * net.no_obj_embed_spatial)[..., None, None]
        rounded: Tensor = memories.to(torch.bfloat16)
        return rounded

    def multimask(self, points: int, *, first: bool) -> bool:
        """Whether to choose among three masks, for so many points (a box counts as two)."""
        net = self.net
        return bool(
            net.multimask_output_in_sam
            and (first or net.multimask_output_for_tracking)
            and net.multimask_min_pt_num <= points <= net.multimask_max_pt_num
        )


def traces(answer: Answer, memories: Tensor, dtype: torch.dtype) -> list[Trace]:
    """Return one trace an object, in memory of its own."""
    found = zip(
        answer.logits[:, 0].to(dtype),
        answer.ious.tolist(),
        answer.scores[:, 0].tolist(),
        answer.pointers,
        memories,
        strict=True,
    )
    return [
        Trace(logits.clone(), float(iou), float(score), pointer.clone(), memory.clone())
        for logits, iou, score, pointer, memory in found
    ]


def floats(embedding: Embedding, device: torch.device) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return features and finer features of an embedding as float32 on a device."""
    return embedding.features.to(device, torch.float32), tuple(
        level.to(device, torch.float32) for level in embedding.details
    )
