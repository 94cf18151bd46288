"""A fast inference form of SAM 2's image encoder.

Hiera attends within windows in most of its blocks. Where windows do not divide the image, the
published form pads the image first and projects the padding along; here the image is projected as
it is, and the padding of queries, keys and values is what it would become: the bias. Attention is
matrix product, softmax, matrix product, for the fused kernels for CPUs gain nothing from bf16.
LayerNorm scales are folded into the weights that follow, and the mask decoder's projections of the
two finer levels into the neck's, so that their 256 channels never exist.

The architecture is Hiera (Ryali et al., ICML 2023, arXiv:2306.00989) as SAM 2 uses it.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import DTYPES, Linear, after_norm, attend, recycle_memory

if TYPE_CHECKING:
    from .tinyvit import Precision

__all__ = ["fast_image_encoder"]

_STRIP_PIXELS = 4096
"""Pixels that a CPU works on at once: what it needs for them stays in the cache."""


def fast_image_encoder(
    image_encoder: nn.Module,
    conv_s0: nn.Module,
    conv_s1: nn.Module,
    device: torch.device,
    precision: Precision,
) -> nn.Module:
    """Build the fast inference form of a loaded SAM 2 image encoder.

    Parameters
    ----------
    image_encoder : nn.Module
        SAM 2's `ImageEncoder` (a Hiera trunk and a neck) with its weights, on any device. It is
        neither changed nor kept: the result has its own copies of the weights.
    conv_s0, conv_s1 : nn.Module
        The mask decoder's 1 x 1 convolutions of the two finest levels.
    device : torch.device
        Where the result runs.
    precision : {"fp32", "bf16", "fp16"}
        Of weights and attention. fp32 equals the original but for rounding; in the others the
        first layer, the sums between the blocks, the normalisations and the neck stay fp32.

    Returns
    -------
    nn.Module
        Maps an image (1, 3, S, S) to the levels of the feature pyramid, float32 and contiguous:
        the top (1, C, S / 16, S / 16), s0 (1, C / 8, S / 4, S / 4) and s1 (1, C / 4, S / 8,
        S / 8). For inference alone: it has no trainable parameters.

    Raises
    ------
    ValueError
        If the neck is not the one of the published SAM 2 configurations.
    """
    recycle_memory(device)
    with torch.no_grad():
        encoder = _FastImageEncoder(image_encoder, (conv_s0, conv_s1), DTYPES[precision])
    return encoder.to(device).eval().requires_grad_(False)


def _attend_in_windows(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Attend within each of many windows: (B, Q, c) for queries (B, Q, c) and keys (B, K, c)."""
    scores = torch.bmm(query, key.transpose(1, 2))
    own = query.device.type == "cpu"
    return torch.bmm(torch.softmax(scores, -1, out=scores if own else None), value)


class _Attention(nn.Module):
    """Self-attention of pixels (H, W, 3 C), which come projected, in windows or as a whole."""

    padding: Tensor

    def __init__(self, source: Any, window: int, stride: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.window, self.stride = window, stride
        self.heads: int = source.num_heads
        # Padding is zero before the projection, and so not shifted by the LayerNorm before it.
        padding = _scaled(source, source.qkv.bias)
        self.register_buffer("padding", padding.to(dtype, copy=True))

    def forward(self, projected: Tensor) -> Tensor:
        """Return (H / stride, W / stride, C)."""
        if not self.window:
            return self._as_a_whole(projected)
        height, width, _ = projected.shape
        channels = len(self.padding) // 3
        query, key_value = projected.tensor_split([channels], dim=2)
        if self.stride > 1:
            query = _pooled(query, self.stride)
        query = self._windows(query, self.window // self.stride, self.padding[:channels])
        windows = query, *self._windows(key_value, self.window, self.padding[channels:]).chunk(2)
        mixed = _attend_in_windows(*(part.flatten(0, 3).flatten(1, 2) for part in windows))
        # (down, across, heads, h, w, c) to (down, h, across, w, heads, c)
        mixed = mixed.view(query.shape[1:]).permute(0, 3, 1, 4, 2, 5)
        mixed = mixed.flatten(4, 5).flatten(2, 3).flatten(0, 1)
        return mixed[: height // self.stride, : width // self.stride]

    def _windows(self, pixels: Tensor, size: int, padding: Tensor) -> Tensor:
        """Cut (H, W, n C) into windows (n, down, across, heads, size, size, c)."""
        height, width, channels = pixels.shape
        if height % size or width % size:
            shape = (height + -height % size, width + -width % size, channels)
            padded = padding.expand(shape).contiguous()
            padded[:height, :width] = pixels
            pixels = padded
        down, across = pixels.shape[0] // size, pixels.shape[1] // size
        count = 3 * channels // len(self.padding)
        parts = pixels.view(down, size, across, size, count, self.heads, -1)
        return parts.permute(4, 0, 2, 5, 1, 3, 6).contiguous()

    def _as_a_whole(self, projected: Tensor) -> Tensor:
        height, width, channels = projected.shape
        result = projected.new_empty(height, width, channels // 3)
        heads = result.view(height * width, self.heads, -1)
        parts = projected.view(height * width, 3, self.heads, -1)
        for head in range(self.heads):
            query, key, value = parts[:, :, head].unbind(1)
            heads[:, head] = attend(query, key, value)
        return result


def _scaled(source: Any, rows: Tensor) -> Tensor:
    """Scale those rows of a weight or bias of an attention that make the queries; float64."""
    result = rows.double().clone()
    result[: source.dim_out] *= (source.dim_out // source.num_heads) ** -0.5
    return result


class _Block(nn.Module):
    """Attention and a perceptron; in some blocks also more channels and fewer pixels."""

    def __init__(self, source: Any, dtype: torch.dtype) -> None:
        super().__init__()
        stride = source.q_stride[0] if source.q_stride else 1
        self.attention = _Attention(source.attn, source.window_size, stride, dtype)
        self.stride, self.channels = stride, source.dim_out
        self.eps: tuple[float, float] = (source.norm1.eps, source.norm2.eps)
        weight = _scaled(source.attn, source.attn.qkv.weight)
        bias = _scaled(source.attn, source.attn.qkv.bias)
        self.qkv = after_norm(source.norm1, weight, bias, dtype)
        self.shortcut: Linear | None = None
        if source.dim != source.dim_out:
            weight, bias = source.proj.weight.double(), source.proj.bias.double()
            self.shortcut = after_norm(source.norm1, weight, bias, dtype)
        self.project = Linear(source.attn.proj.weight, source.attn.proj.bias, dtype)
        first, second = source.mlp.layers
        self.widen = after_norm(source.norm2, first.weight.double(), first.bias.double(), dtype)
        self.narrow = Linear(second.weight, second.bias, dtype)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map (H, W, C) to (H / stride, W / stride, C'), float32, by strips of whole windows."""
        height, width, _ = pixels.shape
        stride, window = self.stride, self.attention.window
        rows = height
        if window and pixels.device.type == "cpu":
            rows = max(_STRIP_PIXELS // (width * window), 1) * window
        if rows >= height:
            return self._strip(pixels)
        result = pixels.new_empty(height // stride, width // stride, self.channels)
        parts = torch.split(result, rows // stride)
        for some, part in zip(torch.split(pixels, rows), parts, strict=True):
            part.copy_(self._strip(some))
        return result

    def _strip(self, pixels: Tensor) -> Tensor:
        height, width, channels = pixels.shape
        normed = F.layer_norm(pixels, (channels,), eps=self.eps[0]).to(self.qkv.weight.dtype)
        flat = normed.flatten(0, 1)
        mixed = self.attention(self.qkv(flat).view(height, width, -1))
        if self.shortcut is not None:
            pixels = self.shortcut(flat).view(height, width, -1)
            if self.stride > 1:
                pixels = _pooled(pixels, self.stride)
        mixed = self.project(mixed.flatten(0, 1)).view(pixels.shape)
        return self._perceptron(pixels.float() + mixed)

    def _perceptron(self, pixels: Tensor) -> Tensor:
        flat = pixels.flatten(0, 1)
        rows = _STRIP_PIXELS if pixels.device.type == "cpu" else len(flat)
        for some in torch.split(flat, rows):
            hidden = self.widen(F.layer_norm(some, some.shape[1:], eps=self.eps[1]))
            some += self.narrow(F.gelu(hidden))
        return pixels


def _pooled(pixels: Tensor, stride: int) -> Tensor:
    """Take the maximum of blocks of pixels (H, W, C): one by one, for torch reduces slowly here."""
    rows = functools.reduce(torch.maximum, (pixels[n::stride] for n in range(stride)))
    return functools.reduce(torch.maximum, (rows[:, n::stride] for n in range(stride)))


class _FastImageEncoder(nn.Module):
    """Trunk and neck, on pixels with their channels last."""

    patch_weight: Tensor
    patch_bias: Tensor
    position: Tensor
    position_window: Tensor

    def __init__(self, source: Any, finest: tuple[Any, Any], dtype: torch.dtype) -> None:
        super().__init__()
        trunk, neck = source.trunk, source.neck
        published = (neck.fpn_interp_model, neck.fuse_type, set(neck.fpn_top_down_levels))
        if source.scalp != 1 or len(neck.convs) != 4 or published != ("nearest", "sum", {2, 3}):
            raise ValueError("the image encoder must have the neck of SAM 2: four levels")
        conv = trunk.patch_embed.proj
        self.patch: tuple[int, int] = (conv.stride[0], conv.padding[0])
        weight = conv.weight.float().to(memory_format=torch.channels_last, copy=True)
        self.register_buffer("patch_weight", weight)
        self.register_buffer("patch_bias", conv.bias.float().clone())
        self.register_buffer("position", trunk.pos_embed.float().clone())
        self.register_buffer("position_window", trunk.pos_embed_window.float().clone())
        self._positions: tuple[tuple[int, ...], Tensor] | None = None
        self.blocks = nn.ModuleList(_Block(block, dtype) for block in trunk.blocks)
        self.ends: list[int] = list(trunk.stage_ends)
        s0, s1 = (
            _folded(lateral[0], projection)
            for lateral, projection in zip((neck.convs[3], neck.convs[2]), finest, strict=True)
        )
        tops = (_weights(neck.convs[1][0]), _weights(neck.convs[0][0]))
        self.laterals = nn.ModuleList(Linear(*pair, torch.float32) for pair in (s0, s1, *tops))

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if image.ndim != 4 or image.shape[:2] != (1, 3) or image.shape[2] != image.shape[3]:
            raise ValueError(f"the image encoder needs (1, 3, S, S), got {tuple(image.shape)}")
        stride, padding = self.patch
        planes = F.conv2d(image.float(), self.patch_weight, self.patch_bias, stride, padding)
        pixels = planes[0].permute(1, 2, 0) + self._position(planes.shape[2:])
        levels: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            pixels = block(pixels)
            if index in self.ends:
                lateral = self.laterals[len(levels)]
                levels.append(lateral(pixels.flatten(0, 1)).view(*pixels.shape[:2], -1))
        s0, s1, top, coarse = levels
        top += coarse.repeat_interleave(2, 0).repeat_interleave(2, 1)
        top, s0, s1 = (level.permute(2, 0, 1)[None].contiguous() for level in (top, s0, s1))
        return top, s0, s1

    def _position(self, size: torch.Size) -> Tensor:
        """Return the position embedding (h, w, C) of a grid, which is kept for the next image."""
        if self._positions is None or self._positions[0] != tuple(size):
            whole = F.interpolate(self.position, size=size, mode="bicubic")
            window = self.position_window
            repeats = [n // m for n, m in zip(whole.shape, window.shape, strict=True)]
            whole = (whole + window.tile(repeats))[0].permute(1, 2, 0).contiguous()
            self._positions = (tuple(size), whole)
        return self._positions[1]


def _weights(conv: Any) -> tuple[Tensor, Tensor]:
    """Return the float64 weight (out, in) and bias of a 1 x 1 convolution."""
    if conv.kernel_size != (1, 1):
        raise ValueError(f"the image encoder's neck must have 1 x 1 convolutions, not {conv}")
    return conv.weight.double().flatten(1), conv.bias.double()


def _folded(first: Any, second: Any) -> tuple[Tensor, Tensor]:
    """Make one of two 1 x 1 convolutions in a row."""
    (inner, inner_bias), (outer, outer_bias) = _weights(first), _weights(second)
    return outer @ inner, outer @ inner_bias + outer_bias
