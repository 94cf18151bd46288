"""SAM's mask decoder for graphics cards: the objects of a frame in the same few large products.

A card waits for its next kernel rather than for its arithmetic. `sam_decoder` goes through objects
one by one, which a processor's cache likes, and here starts so many kernels an object that eight
objects take longer than in the published form. The operations are those of training
(`sam_training`), which take all objects at once. All is fp32.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor

from .mask_decoder import MaskDecoder
from .sam_training import two_way, upscaled

__all__ = ["BatchMaskDecoder"]


class BatchMaskDecoder(MaskDecoder):
    """The whole decoder for one mask a prompt; use `sam_decoder.fast_mask_decoder`.

    Parameters
    ----------
    source : nn.Module
        SAM's decoder with its weights, for a square image; it is copied.
    dense_position : Tensor
        (1, C, h, h) position encoding of the image embedding.
    """

    position: Tensor

    def __init__(self, source: Any, dense_position: Tensor) -> None:
        super().__init__()
        self.size: tuple[int, ...] = tuple(dense_position.shape[1:])
        self.register_buffer("position", _pixels(dense_position).clone())
        self.source = copy.deepcopy(source)

    def _images(self, features: Tensor, dense: Tensor) -> Tensor:
        return _pixels(features) + (dense if dense.ndim == 1 else _pixels(dense))

    def _decode(self, pixels: Tensor, sparse: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Decode objects with an image (h w, C) each, or one image for all."""
        source = self.source
        own = torch.cat([source.iou_token.weight, source.mask_tokens.weight])
        tokens = torch.cat([own.expand(len(sparse), -1, -1), sparse.float()], dim=1)
        tokens, pixels = two_way(source.transformer, tokens, pixels, self.position)
        token = tokens[:, 1]
        vectors = source.output_hypernetworks_mlps[0](token)
        masks = upscaled(source.output_upscaling, pixels, vectors)
        return masks, source.iou_prediction_head(tokens[:, 0])[:, 0], token


def _pixels(planes: Tensor) -> Tensor:
    """Turn planes (B, C, h, w) into pixels (B, h w, C), float32."""
    return planes.float().flatten(2).transpose(1, 2).contiguous()
