"""SAM's mask decoder for graphics cards: the objects of a frame in the same few large products.

A card waits for its next kernel rather than for its arithmetic. `sam_decoder` goes through objects
one by one, which a processor's cache likes, and here starts so many kernels an object that eight
objects take longer than in the published form. The operations are those of training
(`sam_training`), which take all objects at once. All is fp32.
"""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .sam_training import two_way, upscaled

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["BatchMaskDecoder", "check_sizes", "in_parts"]

_OBJECTS_AT_ONCE = 8
"""Every object has its own copy of the image while it is decoded, and some 30 MiB in all."""


class BatchMaskDecoder(nn.Module):
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

    def forward(self, features: Tensor, sparse: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        """Decode prompts; see `sam_decoder.fast_mask_decoder`."""
        logits, ious, _ = self.answer(features, sparse, dense)
        return logits, ious

    def answer(
        self, features: Tensor, sparse: Tensor, dense: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Decode as `forward` does, and return the tokens of the masks, (N, C), as well."""
        check_sizes(self.size, features, sparse, dense)
        pixels = _pixels(features) + (dense if dense.ndim == 1 else _pixels(dense))
        return in_parts(self._decode, pixels, sparse)

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


def in_parts(
    decode: Callable[[Any, Tensor], tuple[Tensor, Tensor, Tensor]], pixels: Any, sparse: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Decode some objects at a time, and put the answers together.

    Parameters
    ----------
    decode : callable
        Takes `pixels` and `sparse` of some objects.
    pixels : sequence
        An image an object, or one for all.
    sparse : Tensor
        (N, n, C)
    """
    parts = []
    for start in range(0, len(sparse), _OBJECTS_AT_ONCE):
        some = slice(start, start + _OBJECTS_AT_ONCE)
        parts.append(decode(pixels if len(pixels) == 1 else pixels[some], sparse[some]))
    masks, ious, found = zip(*parts, strict=True)
    return torch.cat(masks), torch.cat(ious), torch.cat(found)


def check_sizes(size: tuple[int, ...], features: Tensor, sparse: Tensor, dense: Tensor) -> None:
    """Raise `ValueError` for features or dense embeddings that do not fit a decoder."""
    if tuple(features.shape) != (1, *size):
        raise ValueError(
            f"the mask decoder needs features of {(1, *size)}, got {tuple(features.shape)}"
        )
    if dense.ndim != 1 and len(dense) not in (1, len(sparse)):
        raise ValueError(f"got {len(dense)} dense embeddings for {len(sparse)} objects")


def _pixels(planes: Tensor) -> Tensor:
    """Turn planes (B, C, h, w) into pixels (B, h w, C), float32."""
    return planes.float().flatten(2).transpose(1, 2).contiguous()
