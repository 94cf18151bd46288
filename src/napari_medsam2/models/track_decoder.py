"""A fast inference form of SAM 2's mask decoder.

It is SAM's (see `sam_decoder`) with finer features added while the image is upscaled, several
masks to choose from, and a token that says whether the object is there at all. What the finer
features add is the same for every object, and arranged once: as blocks of 2 x 2 pixels that follow
from one pixel of the image embedding, and so on, as the transposed convolutions make them.

The architecture is SAM 2's (Ravi et al., 2024, arXiv:2408.00714).
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import project
from .sam_decoder import TokensReadImage, TwoWayLayer, UpscalingWeights, pixel_lists

__all__ = ["fast_track_decoder"]

_STRIP_PIXELS = 1024
"""Pixels upscaled at once on a CPU: the widest tensor then has 2 MiB, which stays in the cache."""
_OBJECTS_AT_ONCE = 8
"""Every object has its own copy of the image while it is decoded, of some 2 to 8 MiB."""


def fast_track_decoder(
    mask_decoder: nn.Module, dense_position: Tensor, device: torch.device
) -> nn.Module:
    """Build the fast inference form of a loaded SAM 2 mask decoder, which is fp32.

    Parameters
    ----------
    mask_decoder : nn.Module
        SAM 2's decoder with its weights, on any device. It is neither changed nor kept: the result
        has its own copies of what it needs.
    dense_position : Tensor
        (1, C, h, w) position encoding of the image embedding: `prompt_encoder.get_dense_pe()`.
    device : torch.device
        Where the result runs.

    Returns
    -------
    nn.Module
        Called with

        - image (N, C, h, w), the image embedding of N >= 1 objects, or (1, C, h, w) for all,
        - s0 (1, C / 8, 4 h, 4 w) and s1 (1, C / 4, 2 h, 2 w), the finer levels,
        - sparse (N, T, C), the embedded points and boxes,
        - dense (N or 1, C, h, w), the embedded masks,
        - multimask, a bool: three masks for an ambiguous prompt instead of one,

        it returns what `MaskDecoder.forward` does, float32: logits (N, M, 4 h, 4 w), predicted IoU
        (N, M), tokens for object pointers (N, M or 1, C), and the logits (N, 1) of the object
        being in the image at all. For inference alone: it has no trainable parameters.

    Raises
    ------
    ValueError
        If the decoder takes no finer levels, or upscales by other than 2 x 2 blocks.
    """
    with torch.no_grad():
        decoder = _FastTrackDecoder(mask_decoder, dense_position)
    return decoder.to(device, torch.float32).eval().requires_grad_(False)


def _blocks(planes: Tensor, depth: int) -> Tensor:
    """Arrange (1, c, 2^d h, 2^d w) as (h w, 4^d, c): the pixels that one pixel is upscaled to."""
    (flat,) = pixel_lists(planes)
    pixels = flat.view(*planes.shape[2:], -1)
    for _ in range(depth):
        height, width, *rest = pixels.shape
        pixels = pixels.view(height // 2, 2, width // 2, 2, *rest).transpose(1, 2)
    return pixels.flatten(0, 1).flatten(1, -2)


def _raster(blocks: Tensor, height: int) -> Tensor:
    """Arrange (M, h w, 16), as `_blocks` does it twice, as M planes (M, 4 h, 4 w)."""
    # (mask, y, x, then y and x within the first doubling, then within the second)
    planes = blocks.view(len(blocks), height, -1, 2, 2, 2, 2).permute(0, 1, 3, 5, 2, 4, 6)
    return planes.reshape(len(blocks), 4 * height, -1)


class _Upscaling(UpscalingWeights):
    """Two doublings of the image, and the products of each pixel with vectors: the masks."""

    def arrange(self, s0: Tensor, s1: Tensor) -> tuple[Tensor, Tensor]:
        """Return what to add after each doubling: (h w, 4, c') and (h w, 16, c)."""
        return _blocks(s1, 1) + self.bias1, _blocks(s0, 2) + self.bias2

    def forward(self, pixels: Tensor, finer: tuple[Tensor, Tensor], vectors: Tensor) -> Tensor:
        """Return masks (M, h w, 16) of pixels (h w, C), with what to add, for vectors (M, c)."""
        rows = _STRIP_PIXELS if pixels.device.type == "cpu" else len(pixels)
        parts = (torch.split(part, rows) for part in (pixels, *finer))
        return torch.cat([self._strip(vectors, *strip) for strip in zip(*parts, strict=True)], 1)

    def _strip(self, vectors: Tensor, pixels: Tensor, finer1: Tensor, finer2: Tensor) -> Tensor:
        hidden = project(pixels, self.weight1).view(finer1.shape).add_(finer1)
        shape = self.norm_weight.shape
        hidden = F.layer_norm(hidden, shape, self.norm_weight, self.norm_bias, self.eps)
        hidden = project(self.act1(hidden).flatten(0, 1), self.weight2).view(finer2.shape)
        hidden = self.act2(hidden.add_(finer2))
        masks: Tensor = (vectors @ hidden.flatten(0, 1).t()).view(len(vectors), len(pixels), -1)
        return masks


class _FastTrackDecoder(nn.Module):
    """The whole decoder, on pixels with their channels last."""

    position: Tensor
    own_tokens: Tensor

    def __init__(self, source: Any, dense_position: Tensor) -> None:
        super().__init__()
        if not source.use_high_res_features:
            raise ValueError("the mask decoder must take finer levels of the image, as SAM 2's")
        transformer = source.transformer
        own = [source.iou_token.weight, source.mask_tokens.weight]
        self.score_head: nn.Module | None = None
        if source.pred_obj_scores:
            own.append(source.obj_score_token.weight)
            self.score_head = copy.deepcopy(source.pred_obj_score_head)
        # No token knows its place among them: the score's comes last here, not first.
        self.register_buffer("own_tokens", torch.cat(own).float())
        self.mask_count: int = source.num_mask_tokens
        self.size: tuple[int, ...] = tuple(dense_position.shape[1:])
        self.register_buffer("position", pixel_lists(dense_position)[0])
        self.layers = nn.ModuleList(TwoWayLayer(layer) for layer in transformer.layers)
        self.final_read = TokensReadImage(transformer.final_attn_token_to_image)
        self.final_norm = copy.deepcopy(transformer.norm_final_attn)
        self.upscaling = _Upscaling(source.output_upscaling)
        self.mask_heads = copy.deepcopy(source.output_hypernetworks_mlps)
        self.iou_head = copy.deepcopy(source.iou_prediction_head)
        self.many_tokens: bool = source.use_multimask_token_for_obj_ptr
        self.falls_back: bool = source.dynamic_multimask_via_stability
        self.stability: tuple[float, float] = (
            source.dynamic_multimask_stability_delta,
            source.dynamic_multimask_stability_thresh,
        )

    def forward(
        self, image: Tensor, s0: Tensor, s1: Tensor, sparse: Tensor, dense: Tensor, multimask: bool
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        count = len(sparse)
        if tuple(image.shape[1:]) != self.size or len(image) not in (1, count):
            raise ValueError(
                f"the mask decoder needs features of {self.size} for 1 or {count} objects, "
                f"got {tuple(image.shape)}"
            )
        if len(dense) not in (1, count):
            raise ValueError(f"got {len(dense)} dense embeddings for {count} objects")
        finer = self.upscaling.arrange(s0, s1)
        parts = []
        for start in range(0, count, _OBJECTS_AT_ONCE):
            some = slice(start, start + _OBJECTS_AT_ONCE)
            images, masks = (x if len(x) == 1 else x[some] for x in (image, dense))
            pixels = pixel_lists(images)
            additions = pixel_lists(masks)
            if len(additions) > len(pixels):
                pixels *= len(additions)
            pixels = [one + additions[n % len(additions)] for n, one in enumerate(pixels)]
            parts.append(self._decode(pixels, finer, sparse[some]))
        logits, ious, tokens, scores = (torch.cat(part) for part in zip(*parts, strict=True))
        tokens = tokens[:, 1:] if multimask and self.many_tokens else tokens[:, :1]
        if multimask:
            logits, ious = logits[:, 1:], ious[:, 1:]
        elif self.falls_back:
            logits, ious = self._stable(logits, ious)
        else:
            logits, ious = logits[:, :1], ious[:, :1]
        return logits, ious, tokens, scores

    def _decode(
        self, pixels: list[Tensor], finer: tuple[Tensor, Tensor], sparse: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Decode objects with an image each, or one image for all: every mask of each."""
        own = self.own_tokens.expand(len(sparse), -1, -1)
        tokens = prompt = torch.cat([own, sparse.float()], dim=1)
        for layer in self.layers:
            positioned = [one + self.position for one in pixels]
            tokens, pixels = layer(tokens, prompt, positioned, pixels)
        tokens, prompt = tokens[:, : own.shape[1]], prompt[:, : own.shape[1]]
        positioned = [one + self.position for one in pixels]
        tokens = self.final_norm(tokens + self.final_read(tokens + prompt, positioned, pixels))
        mask_tokens = tokens[:, 1 : 1 + self.mask_count]
        heads = zip(self.mask_heads, mask_tokens.unbind(1), strict=True)
        vectors = torch.stack([head(token) for head, token in heads], dim=1)
        logits = [
            _raster(self.upscaling(one, finer, some), self.size[1])
            for one, some in zip(pixels, vectors, strict=True)
        ]
        ious: Tensor = self.iou_head(tokens[:, 0])
        if self.score_head is None:
            scores = 10 * torch.ones_like(ious[:, :1])
        else:
            scores = self.score_head(tokens[:, -1])
        return torch.stack(logits), ious, mask_tokens, scores

    def _stable(self, logits: Tensor, ious: Tensor) -> tuple[Tensor, Tensor]:
        """Take the first mask, or the best of the others where small changes move its edge."""
        delta, threshold = self.stability
        single = logits[:, 0].flatten(1)
        inner, outer = ((single > level).sum(-1).float() for level in (delta, -delta))
        stable = torch.where(outer > 0, inner / outer, 1.0) >= threshold
        chosen = torch.where(stable, 0, 1 + ious[:, 1:].argmax(-1))
        rows = torch.arange(len(logits), device=logits.device)
        return logits[rows, chosen][:, None], ious[rows, chosen][:, None]
