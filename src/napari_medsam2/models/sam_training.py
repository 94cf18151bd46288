"""SAM's mask decoder in a form that trains quickly: the published answers, fewer operations.

As in `sam_decoder`, only tokens are projected, never the pixels: with keys K = X Wk + bk, the
scores q K' are (q Wk') X' plus a term that softmax cancels, and the weighted sum of values is the
weighted sum of X times Wv. The upscaling is a product of matrices over pixels with their channels
last, for its transposed convolutions do not overlap. All of it can be differentiated, and runs in
bf16 under autocast three times as fast as the modules whose weights it uses
(benchmarks/training_speed.py).
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor

__all__ = ["two_way", "upscaled"]


def two_way(
    transformer: Any, tokens: Tensor, pixels: Tensor, position: Tensor
) -> tuple[Tensor, Tensor]:
    """Let tokens and image attend to each other, as SAM's TwoWayTransformer does.

    Parameters
    ----------
    transformer : nn.Module
        SAM's, with its weights.
    tokens : Tensor
        (N, T, C).
    pixels : Tensor
        (N, P, C), the image with its channels last.
    position : Tensor
        (1, P, C).

    Returns
    -------
    tokens, pixels : Tensor
        As the transformer leaves them.
    """
    prompt = tokens
    for layer in transformer.layers:
        if layer.skip_first_layer_pe:
            tokens = layer.self_attn(tokens, tokens, tokens)
        else:
            query = tokens + prompt
            tokens = tokens + layer.self_attn(query, query, tokens)
        tokens = layer.norm1(tokens)
        placed = pixels + position
        read = _tokens_read(layer.cross_attn_token_to_image, tokens + prompt, placed, pixels)
        tokens = layer.norm2(tokens + read)
        tokens = layer.norm3(tokens + layer.mlp(tokens))
        told = _pixels_read(layer.cross_attn_image_to_token, placed, tokens + prompt, tokens)
        pixels = layer.norm4(pixels + told).to(pixels.dtype)
    placed = pixels + position
    read = _tokens_read(transformer.final_attn_token_to_image, tokens + prompt, placed, pixels)
    return transformer.norm_final_attn(tokens + read), pixels


def upscaled(upscaling: Any, pixels: Tensor, vectors: Tensor) -> Tensor:
    """Double the image twice and multiply each pixel by a vector.

    Parameters
    ----------
    upscaling : nn.Sequential
        SAM's: two transposed convolutions of 2 x 2 blocks, a norm and two activations.
    pixels : Tensor
        (N, h w, C) of a square image.
    vectors : Tensor
        (N, c), one for each image.

    Returns
    -------
    Tensor
        (N, 4 h, 4 w), in float32.
    """
    first, norm, act, second, last_act = upscaling
    n, side = len(pixels), round(pixels.shape[1] ** 0.5)
    hidden = F.linear(pixels, _blocks(first), first.bias.repeat(4)).view(n, 4 * side**2, -1)
    hidden = act(F.layer_norm(hidden, hidden.shape[-1:], norm.weight, norm.bias, norm.eps))
    hidden = F.linear(hidden, _blocks(second), second.bias.repeat(4)).view(n, 16 * side**2, -1)
    flat = (last_act(hidden) @ vectors[:, :, None].to(hidden.dtype))[..., 0]
    # (y, x, then y and x within the first doubling, then within the second)
    blocks = flat.view(n, side, side, 2, 2, 2, 2).permute(0, 1, 3, 5, 2, 4, 6)
    whole: Tensor = blocks.reshape(n, 4 * side, 4 * side).float()
    return whole


def _tokens_read(attention: Any, tokens: Tensor, placed: Tensor, pixels: Tensor) -> Tensor:
    """Attend from tokens (N, T, C) to pixels, whose positions are added in `placed`."""
    heads = attention.num_heads
    query = _split(attention.q_proj(tokens), heads)
    filters = query @ _by_head(attention.k_proj.weight, heads).to(query.dtype)
    scores = filters.flatten(1, 2) @ placed.to(query.dtype).transpose(1, 2)
    weights = (scores * query.shape[-1] ** -0.5).softmax(-1).to(query.dtype)
    read = (weights @ pixels.to(query.dtype)).view(*query.shape[:3], -1)
    value = read @ _by_head(attention.v_proj.weight, heads).transpose(1, 2).to(query.dtype)
    mixed: Tensor = attention.out_proj(value.transpose(1, 2).flatten(2) + attention.v_proj.bias)
    return mixed


def _pixels_read(attention: Any, placed: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attend from pixels (N, P, C) to tokens."""
    heads = attention.num_heads
    key = _split(attention.k_proj(keys), heads)
    value = _split(attention.v_proj(values), heads)
    filters = key @ _by_head(attention.q_proj.weight, heads).to(key.dtype)
    bias = key @ attention.q_proj.bias.view(heads, -1, 1).to(key.dtype)
    offers = value @ _by_head(attention.out_proj.weight.t(), heads).to(value.dtype)
    scores = filters.flatten(1, 2) @ placed.to(key.dtype).transpose(1, 2) + bias.flatten(1, 2)
    weights = (scores * key.shape[-1] ** -0.5).unflatten(1, (heads, -1)).softmax(2)
    told = weights.flatten(1, 2).transpose(1, 2).to(offers.dtype) @ offers.flatten(1, 2)
    mixed: Tensor = told + attention.out_proj.bias.to(told.dtype)
    return mixed


def _split(tokens: Tensor, heads: int) -> Tensor:
    """Split the channels of (N, T, heads c) into (N, heads, T, c)."""
    return tokens.view(*tokens.shape[:2], heads, -1).transpose(1, 2)


def _by_head(weight: Tensor, heads: int) -> Tensor:
    """Split the rows of a weight (heads c, in) into (heads, c, in)."""
    return weight.reshape(heads, -1, weight.shape[1])


def _blocks(convolution: Any) -> Tensor:
    """Return a transposed convolution of 2 x 2 blocks as a matrix, (4 out, in)."""
    weight: Tensor = convolution.weight
    return weight.permute(2, 3, 1, 0).flatten(0, 2)
