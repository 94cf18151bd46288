"""What LiteMedSAM-track learns: a prompt encoder and a mask decoder for clicks, masks and tracking.

The architecture is that of SAM's prompt encoder and mask decoder (Kirillov et al., "Segment
Anything", ICCV 2023), which LiteMedSAM's weights begin, and a head that tells whether the object is
on the frame at all (Ravi et al., "SAM 2", 2024), which also sees the evidence of
`litetrack_evidence`. LiteMedSAM's image encoder stays as it is and is no part of this.

Coordinates are the (x, y) of the 256 x 256 square, as the network wants them.
"""

from __future__ import annotations

import copy
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from .sam_training import two_way, upscaled

__all__ = ["EVIDENCE", "Answers", "PromptNetwork"]

EVIDENCE = 6
"""Numbers that tell of an object's presence; see `litetrack_evidence`."""
_HIDDEN = 128
# Before training, every object is believed to be there.
_PRESENT = 2.0


class Answers(NamedTuple):
    """What the network says of N prompts.

    Attributes
    ----------
    logits : Tensor
        (N, 256, 256); above 0 is inside.
    ious : Tensor
        (N,), the overlap that it expects.
    scores : Tensor
        (N,), logit of the object being there.
    """

    logits: Tensor
    ious: Tensor
    scores: Tensor


class ObjectHead(nn.Module):
    """Tells from the mask's token and the evidence whether the object is there."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.token = nn.Linear(channels, _HIDDEN)
        self.evidence = nn.Linear(EVIDENCE, _HIDDEN)
        self.score = nn.Linear(_HIDDEN, 1)
        nn.init.zeros_(self.score.weight)
        nn.init.constant_(self.score.bias, _PRESENT)

    def forward(self, token: Tensor, evidence: Tensor | None) -> Tensor:
        hidden = self.token(token)
        if evidence is not None:
            hidden = hidden + self.evidence(evidence)
        score: Tensor = self.score(torch.relu(hidden))[:, 0]
        return score


class PromptNetwork(nn.Module):
    """The learned part of LiteMedSAM-track, in the form that it is trained in.

    Parameters
    ----------
    prompt_encoder, mask_decoder : nn.Module
        LiteMedSAM's, with its weights; they are copied.
    """

    position: Tensor

    def __init__(self, prompt_encoder: Any, mask_decoder: Any) -> None:
        super().__init__()
        self.prompt_encoder = copy.deepcopy(prompt_encoder)
        self.mask_decoder = copy.deepcopy(mask_decoder)
        self.object_head = ObjectHead(self.mask_decoder.transformer_dim)
        with torch.no_grad():
            position = self.prompt_encoder.get_dense_pe().clone()
        self.register_buffer("position", position, persistent=False)

    def embed_prompts(
        self,
        points: tuple[Tensor, Tensor] | None,
        boxes: Tensor | None,
        masks: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Embed prompts.

        Parameters
        ----------
        points : (Tensor, Tensor), optional
            (N, P, 2) of x, y and (N, P) of 1 or 0.
        boxes : Tensor, optional
            (N, 4) of x0, y0, x1, y1, the first and the last pixel.
        masks : Tensor, optional
            (N, 256, 256) logits.

        Returns
        -------
        sparse : Tensor
            (N, T, channels).
        dense : Tensor
            (N, channels, 64, 64).
        """
        sparse, dense = self.prompt_encoder(
            points, boxes, None if masks is None else masks[:, None]
        )
        return sparse, dense

    def forward(
        self,
        features: Tensor,
        points: tuple[Tensor, Tensor] | None = None,
        boxes: Tensor | None = None,
        masks: Tensor | None = None,
        evidence: Tensor | None = None,
    ) -> Answers:
        """Segment N objects, each on an image of its own.

        Parameters
        ----------
        features : Tensor
            (N, channels, 64, 64).
        points, boxes, masks
            As in `embed_prompts`.
        evidence : Tensor, optional
            (N, `EVIDENCE`), for objects that were carried here.
        """
        sparse, dense = self.embed_prompts(points, boxes, masks)
        decoder = self.mask_decoder
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
        tokens = torch.cat([own.expand(len(features), -1, -1), sparse], dim=1)
        position = self.position.flatten(2).transpose(1, 2).to(features.dtype)
        pixels = (features + dense.to(features.dtype)).flatten(2).transpose(1, 2).contiguous()
        tokens, pixels = two_way(decoder.transformer, tokens, pixels, position)
        token = tokens[:, 1]
        vector = decoder.output_hypernetworks_mlps[0](token)
        logits = upscaled(decoder.output_upscaling, pixels, vector)
        ious = decoder.iou_prediction_head(tokens[:, 0])[:, 0]
        return Answers(logits, ious, self.object_head(token, evidence))
