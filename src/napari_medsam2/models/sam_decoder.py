"""A fast inference form of SAM's mask decoder, for one mask a prompt.

A handful of tokens (two tokens for a box, one a click, five of the decoder's own) talk to the 4096
pixels of the image embedding. The published decoder projects every pixel to keys, values and
queries of 128 channels and back. Here only the tokens are projected: with keys K = X Wk + bk, the
scores q K' are (q Wk') X' plus a term q bk' that softmax cancels; the weighted sum of values is the
weighted sum of X times Wv; and where pixels attend to tokens, the output projection moves to the
tokens' values. The answer is the published one but for rounding.

Pixels keep their channels together, transposed convolutions (kernel = stride) are matrix products,
and only what the first mask needs is computed: SAM's `multimask_output=False`. All is
fp32: bf16 would save little and move the edges of small masks (IoU down to 0.990).

The architecture is that of Segment Anything (Kirillov et al., ICCV 2023, arXiv:2304.02643).
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import project
from .mask_decoder import MaskDecoder
from .sam_batch_decoder import BatchMaskDecoder

__all__ = ["FastMaskDecoder", "fast_mask_decoder"]

_STRIP_PIXELS = 2048
"""Pixels upscaled at once on a CPU: the widest tensor then has 4 MiB, which stays in the cache."""


def fast_mask_decoder(
    mask_decoder: nn.Module, dense_position: Tensor, device: torch.device
) -> FastMaskDecoder | BatchMaskDecoder:
    """Build the fast inference form of a loaded SAM mask decoder.

    Parameters
    ----------
    mask_decoder : nn.Module
        SAM's decoder with its weights, on any device. It is neither changed nor kept: the result
        has its own copies of what it needs.
    dense_position : Tensor
        (1, C, h, w) position encoding of the image embedding: `prompt_encoder.get_dense_pe()`.
    device : torch.device
        Where the result runs.

    Returns
    -------
    FastMaskDecoder or, off the CPU, BatchMaskDecoder
        Called with

        - features (1, C, h, w), the image embedding, of any floating type,
        - sparse (N, T, C), the embedded points and boxes of N >= 1 objects,
        - dense (C,), the constant embedding of "no mask", or (1 or N, C, h, w) embedded masks,

        it returns logits (N, 4 h, 4 w) and the predicted IoU (N,), both float32. For inference
        alone: it has no trainable parameters.
    """
    form = FastMaskDecoder if device.type == "cpu" else BatchMaskDecoder
    with torch.no_grad():
        decoder = form(mask_decoder, dense_position)
    return decoder.to(device, torch.float32).eval().requires_grad_(False)


def pixel_lists(planes: Tensor) -> list[Tensor]:
    """Turn planes (B, C, h, w) into B images of pixels (h w, C), float32, in memory of their own.

    One by one, for torch transposes matrices quickly and stacks of them slowly.
    """
    flat = planes.float().flatten(2)
    return [image.t().clone(memory_format=torch.contiguous_format) for image in flat]


def _by_head(weight: Tensor, heads: int) -> Tensor:
    """Split the rows of a weight (heads c, in) into a copy (heads, c, in)."""
    return weight.float().reshape(heads, -1, weight.shape[1]).clone()


def _split(tokens: Tensor, heads: int) -> Tensor:
    """Split the channels of (N, T, heads c) into (N, heads, T, c)."""
    return tokens.view(*tokens.shape[:2], heads, -1).transpose(1, 2)


class TokensReadImage(nn.Module):
    """Attention of tokens to pixels."""

    key: Tensor
    value: Tensor
    out_weight: Tensor
    out_bias: Tensor

    def __init__(self, source: Any) -> None:
        super().__init__()
        self.heads: int = source.num_heads
        self.query = copy.deepcopy(source.q_proj)
        key = _by_head(source.k_proj.weight, self.heads)
        self.register_buffer("key", key * key.shape[1] ** -0.5)
        value = _by_head(source.v_proj.weight, self.heads)
        self.register_buffer("value", value.transpose(1, 2).contiguous())
        self.register_buffer("out_weight", source.out_proj.weight.float().clone())
        # Attention weights sum to one, so that the bias of the values passes through unchanged.
        self.register_buffer("out_bias", source.out_proj(source.v_proj.bias))

    def forward(self, tokens: Tensor, keys: list[Tensor], values: list[Tensor]) -> Tensor:
        """Read (N, T, C) for tokens (N, T, C) from N images (P, C), or from one that all share."""
        query = _split(self.query(tokens), self.heads)
        filters = (query @ self.key).flatten(1, 2)
        read = torch.empty_like(filters)
        for n, one in enumerate(filters):
            key, value = keys[n % len(keys)], values[n % len(values)]
            scores = project(key, one).t().contiguous()
            torch.mm(scores.softmax(-1), value, out=read[n])
        mixed = read.view(*query.shape[:3], -1) @ self.value
        return F.linear(mixed.transpose(1, 2).flatten(2), self.out_weight, self.out_bias)


class _ImageReadsTokens(nn.Module):
    """Attention of pixels to tokens, added to the pixels and normalised."""

    key: Tensor
    value: Tensor
    query: Tensor
    query_bias: Tensor
    out: Tensor
    out_bias: Tensor

    def __init__(self, source: Any, norm: Any) -> None:
        super().__init__()
        self.heads: int = source.num_heads
        # The bias of the keys adds the same to a pixel's score for every token: softmax drops it.
        self.register_buffer("key", source.k_proj.weight.float().clone())
        self.register_buffer("value", source.v_proj.weight.float().clone())
        query = _by_head(source.q_proj.weight, self.heads)
        scale = query.shape[1] ** -0.5
        self.register_buffer("query", query * scale)
        bias = source.q_proj.bias.float().view(self.heads, -1, 1)
        self.register_buffer("query_bias", bias * scale)
        self.register_buffer("out", _by_head(source.out_proj.weight.t(), self.heads))
        self.register_buffer("out_bias", source.out_proj(source.v_proj.bias))
        self.norm = copy.deepcopy(norm)

    def forward(
        self, tokens: Tensor, values: Tensor, positioned: list[Tensor], pixels: list[Tensor]
    ) -> list[Tensor]:
        """Return N images (P, C) for tokens (N, T, C) and N images, or one that all share."""
        key = _split(F.linear(tokens, self.key), self.heads)
        value = _split(F.linear(values, self.value), self.heads)
        filters, biases = (key @ self.query).flatten(1, 2), (key @ self.query_bias).flatten(1)
        offers = (value @ self.out).flatten(1, 2)
        result = []
        for n, offer in enumerate(offers):
            scores = project(positioned[n % len(positioned)], filters[n], biases[n])
            # Softmax over few neighbours is slow: make the pixels the innermost dimension.
            weights = scores.t().contiguous().view(self.heads, -1, len(scores)).softmax(1)
            weights = weights.flatten(0, 1).t().contiguous()
            mixed = project(weights, offer.t(), self.out_bias).add_(pixels[n % len(pixels)])
            result.append(self.norm(mixed))
        return result


class TwoWayLayer(nn.Module):
    """Tokens attend to each other and to the image, then the image to them."""

    def __init__(self, source: Any) -> None:
        super().__init__()
        self.first: bool = source.skip_first_layer_pe
        self.attention = copy.deepcopy(source.self_attn)
        self.norm1 = copy.deepcopy(source.norm1)
        self.read = TokensReadImage(source.cross_attn_token_to_image)
        self.norm2 = copy.deepcopy(source.norm2)
        self.mlp = copy.deepcopy(source.mlp)
        self.norm3 = copy.deepcopy(source.norm3)
        self.write = _ImageReadsTokens(source.cross_attn_image_to_token, source.norm4)

    def forward(
        self, tokens: Tensor, prompt: Tensor, positioned: list[Tensor], pixels: list[Tensor]
    ) -> tuple[Tensor, list[Tensor]]:
        if self.first:
            tokens = self.attention(tokens, tokens, tokens)
        else:
            query = tokens + prompt
            tokens = tokens + self.attention(query, query, tokens)
        tokens = self.norm1(tokens)
        tokens = self.norm2(tokens + self.read(tokens + prompt, positioned, pixels))
        tokens = self.norm3(tokens + self.mlp(tokens))
        return tokens, self.write(tokens + prompt, tokens, positioned, pixels)


class UpscalingWeights(nn.Module):
    """The weights of two doublings of the image, as matrices over pixels with channels last."""

    weight1: Tensor
    weight2: Tensor
    bias1: Tensor
    bias2: Tensor
    norm_weight: Tensor
    norm_bias: Tensor

    def __init__(self, source: Any) -> None:
        super().__init__()
        first, norm, act, second, last_act = source
        for index, conv in ((1, first), (2, second)):
            if conv.kernel_size != (2, 2) or conv.stride != (2, 2):
                raise ValueError(f"the decoder upscales by 2 x 2 blocks, not by {conv}")
            weight = conv.weight.float().permute(2, 3, 1, 0).flatten(0, 2).clone()
            self.register_buffer(f"weight{index}", weight)
            self.register_buffer(f"bias{index}", conv.bias.float().clone())
        self.register_buffer("norm_weight", norm.weight.float().clone())
        self.register_buffer("norm_bias", norm.bias.float().clone())
        self.eps: float = norm.eps
        self.act1, self.act2 = copy.deepcopy(act), copy.deepcopy(last_act)


class _Upscaling(UpscalingWeights):
    """Two doublings of the image, and the product of each pixel with a vector: the mask."""

    def __init__(self, source: Any) -> None:
        super().__init__(source)
        # Each pixel becomes a block of four, in one row of the product.
        self.bias1, self.bias2 = self.bias1.repeat(4), self.bias2.repeat(4)

    def forward(self, pixels: Tensor, vector: Tensor, height: int) -> Tensor:
        """Return the mask (4 h, 4 w) of pixels (h w, C) for a vector (c,)."""
        whole = pixels.device.type != "cpu"
        strips = torch.split(pixels, len(pixels) if whole else _STRIP_PIXELS)
        blocks = torch.cat([self._strip(strip, vector) for strip in strips])
        # (y, x, then y and x within the first doubling, then within the second)
        blocks = blocks.view(height, -1, 2, 2, 2, 2).permute(0, 2, 4, 1, 3, 5)
        return blocks.reshape(4 * height, -1)

    def _strip(self, pixels: Tensor, vector: Tensor) -> Tensor:
        hidden = project(pixels, self.weight1, self.bias1).view(-1, *self.norm_weight.shape)
        hidden = F.layer_norm(
            hidden, self.norm_weight.shape, self.norm_weight, self.norm_bias, self.eps
        )
        hidden = project(self.act1(hidden), self.weight2, self.bias2)
        result: Tensor = self.act2(hidden).view(-1, *vector.shape) @ vector
        return result


class FastMaskDecoder(MaskDecoder):
    """The whole decoder, on pixels with their channels last."""

    position: Tensor
    own_tokens: Tensor

    def __init__(self, source: Any, dense_position: Tensor) -> None:
        super().__init__()
        transformer = source.transformer
        own = torch.cat([source.iou_token.weight, source.mask_tokens.weight])
        self.register_buffer("own_tokens", own.float().clone())
        self.size: tuple[int, ...] = tuple(dense_position.shape[1:])
        self.register_buffer("position", pixel_lists(dense_position)[0])
        self.layers = nn.ModuleList(TwoWayLayer(layer) for layer in transformer.layers)
        self.final_read = TokensReadImage(transformer.final_attn_token_to_image)
        self.final_norm = copy.deepcopy(transformer.norm_final_attn)
        self.upscaling = _Upscaling(source.output_upscaling)
        self.mask_head = copy.deepcopy(source.output_hypernetworks_mlps[0])
        self.iou_head = copy.deepcopy(source.iou_prediction_head)

    def _images(self, features: Tensor, dense: Tensor) -> list[Tensor]:
        (image,) = pixel_lists(features)
        return [image + one for one in ([dense] if dense.ndim == 1 else pixel_lists(dense))]

    def _decode(self, pixels: list[Tensor], sparse: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Decode objects with an image each, or one image for all."""
        own = self.own_tokens.expand(len(sparse), -1, -1)
        tokens = prompt = torch.cat([own, sparse.float()], dim=1)
        for layer in self.layers:
            positioned = [one + self.position for one in pixels]
            tokens, pixels = layer(tokens, prompt, positioned, pixels)
        # The token of the predicted IoU and that of the first mask: no other is looked at again.
        tokens, prompt = tokens[:, :2], prompt[:, :2]
        positioned = [one + self.position for one in pixels]
        tokens = self.final_norm(tokens + self.final_read(tokens + prompt, positioned, pixels))
        vectors = self.mask_head(tokens[:, 1])
        masks = [
            self.upscaling(one, vector, self.size[1])
            for one, vector in zip(pixels, vectors, strict=True)
        ]
        return torch.stack(masks), self.iou_head(tokens[:, 0])[:, 0], tokens[:, 1]
