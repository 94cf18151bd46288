"""A fast inference form of SAM 2's memory attention.

Every pixel of the frame (1024 at an image size of 512) looks at itself and its neighbours, then at
some 7200 memory tokens, in four layers. The published form projects the 64 channels of the memory
to 256 for the values; here the attention weights average the raw memory, and one matrix made of
two takes the average to its place, a quarter of the work. Attention is matrix product, softmax,
matrix product in buffers that are used again: the fused kernels for CPUs gain nothing from bf16,
and fresh memory costs more than the softmax. What comes before the first look at the memory is the
same for every object, and computed once.

The rotary position encoding rotates pairs of channels. The rows of the query and key weights are
sorted so that the two halves of all pairs lie together, which leaves their products as they were.

The architecture is SAM 2's (Ravi et al., 2024, arXiv:2408.00714).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import DTYPES, Linear, after_norm, attend, recycle_memory

if TYPE_CHECKING:
    from .tinyvit import Precision

__all__ = ["fast_memory_attention"]

_MLP_ROWS = 1024
"""Pixels that pass the perceptron at once on a CPU: its hidden layer then has 4 or 8 MiB."""


def fast_memory_attention(
    memory_attention: nn.Module,
    grid: tuple[int, int],
    device: torch.device,
    precision: Precision,
) -> nn.Module:
    """Build the fast inference form of a loaded SAM 2 memory attention.

    Parameters
    ----------
    memory_attention : nn.Module
        SAM 2's `MemoryAttention` with its weights, on any device. It is neither changed nor kept:
        the result has its own copies of what it needs.
    grid : tuple of int
        Rows and columns (h, w) of the image embedding.
    device : torch.device
        Where the result runs.
    precision : {"fp32", "bf16", "fp16"}
        Of weights and attention. fp32 equals the original but for rounding; in the others the
        sums between the layers and the normalisations stay fp32.

    Returns
    -------
    nn.Module
        Called with

        - image (1, C, h, w), the embedding of the frame, and image_pos (1, C, h, w), its position
          encoding, both shared by all objects,
        - memory (B, T, c), the memory tokens of B >= 1 objects: whole frames of h w tokens, then
          `pointer_tokens` (an int) tokens of object pointers,
        - memory_pos (T, c) or (B, T, c), their position encoding,
        - pointer_tokens, an int,

        all of any floating type, it returns the embedding as it looks with each object's memory:
        (B, C, h, w), float32, with the channels of a pixel together in memory. For inference
        alone: it has no trainable parameters.

    Raises
    ------
    ValueError
        If the module has options that no published SAM 2 configuration uses.
    """
    recycle_memory(device)
    with torch.no_grad():
        attention = _FastMemoryAttention(memory_attention, grid, DTYPES[precision])
    return attention.to(device).eval().requires_grad_(False)


class _Rotation(nn.Module):
    """The rotary position encoding of a grid, for tokens (frames N, C) with sorted channels."""

    cosine: Tensor
    sine: Tensor

    def __init__(self, source: Any, grid: tuple[int, int], dtype: torch.dtype) -> None:
        super().__init__()
        turns = source.compute_cis(end_x=grid[1], end_y=grid[0])
        self.register_buffer("cosine", turns.real.to(dtype).contiguous())
        self.register_buffer("sine", turns.imag.to(dtype).contiguous())

    def forward(self, tokens: Tensor, still: int = 0) -> Tensor:
        """Return the tokens of whole frames rotated; the last `still` ones stay as they are."""
        whole = len(tokens) - still
        shape = (whole // len(self.cosine), len(self.cosine), 2, self.cosine.shape[1])
        first, second = tokens[:whole].view(shape).unbind(2)
        result = torch.empty_like(tokens)
        result[whole:] = tokens[whole:]
        into = result[:whole].view(shape)
        torch.mul(first, self.cosine, out=into[:, :, 0]).addcmul_(second, self.sine, value=-1)
        torch.mul(second, self.cosine, out=into[:, :, 1]).addcmul_(first, self.sine)
        return result


def _sorted(linear: Any, scale: float = 1.0) -> tuple[Tensor, Tensor]:
    """Return float64 weight and bias, the even rows first: the halves of the rotated pairs."""
    weight, bias = linear.weight.double() * scale, linear.bias.double() * scale
    return torch.cat([weight[::2], weight[1::2]]), torch.cat([bias[::2], bias[1::2]])


def _merged(attention: Any) -> tuple[Tensor, Tensor]:
    """Return the product of the output and the value projection, float64.

    Attention weights sum to one, so that the bias of the values passes through unchanged.
    """
    out, value = attention.out_proj, attention.v_proj
    weight = out.weight.double()
    return weight @ value.weight.double(), weight @ value.bias.double() + out.bias.double()


class _Layer(nn.Module):
    """Pixels attend to each other, then to the memory, then pass a perceptron."""

    out_bias: Tensor

    def __init__(
        self, source: Any, rotations: tuple[_Rotation, _Rotation], dtype: torch.dtype
    ) -> None:
        super().__init__()
        own, cross = source.self_attn, source.cross_attn_image
        if own.num_heads != 1 or cross.num_heads != 1 or source.activation_str != "relu":
            raise ValueError("the memory attention must have one head and ReLU")
        added = source.pos_enc_at_attn, source.pos_enc_at_cross_attn_queries
        if any(added) or not source.pos_enc_at_cross_attn_keys:
            raise ValueError("the memory attention must add positions to its memory alone")
        self.eps: tuple[float, ...] = (source.norm1.eps, source.norm2.eps, source.norm3.eps)
        self.rotate, self.rotate_cross = rotations
        out, out_bias = _merged(own)
        query, query_bias = _sorted(own.q_proj, own.internal_dim**-0.5)
        key, key_bias = _sorted(own.k_proj)
        weight, bias = torch.cat([query, key, out]), torch.cat([query_bias, key_bias, 0 * out_bias])
        self.project = after_norm(source.norm1, weight, bias, dtype)
        self.register_buffer("out_bias", out_bias.float())
        query, query_bias = _sorted(cross.q_proj, cross.internal_dim**-0.5)
        self.query = after_norm(source.norm2, query, query_bias, dtype)
        self.key = Linear(*_sorted(cross.k_proj), dtype)
        self.read = Linear(*_merged(cross), dtype)
        first, second = source.linear1, source.linear2
        weight, bias = first.weight.double(), first.bias.double()
        self.widen = after_norm(source.norm3, weight, bias, dtype)
        self.narrow = Linear(second.weight, second.bias, dtype)

    def look_around(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return pixels (N, C) after self-attention, and their rotated queries to the memory."""
        channels = pixels.shape[1]
        normed = F.layer_norm(pixels, (channels,), eps=self.eps[0])
        projected = self.project(normed)
        query, key, value = projected.tensor_split([channels, 2 * channels], dim=1)
        mixed = attend(self.rotate(query), self.rotate(key), value.contiguous())
        pixels = pixels + mixed + self.out_bias
        query = self.query(F.layer_norm(pixels, (channels,), eps=self.eps[1]))
        return pixels, self.rotate_cross(query)

    def remember(
        self, pixels: Tensor, query: Tensor, memory: Tensor, placed: Tensor, pointers: int
    ) -> Tensor:
        """Let pixels (N, C) read one object's memory (T, c), which is `placed` with positions."""
        key = self.rotate_cross(self.key(placed), pointers)
        pixels = pixels + self.read(attend(query, key, memory))
        rows = _MLP_ROWS if pixels.device.type == "cpu" else len(pixels)
        for some in torch.split(pixels, rows):
            hidden = self.widen(F.layer_norm(some, some.shape[1:], eps=self.eps[2]))
            some += self.narrow(hidden.relu_())
        return pixels


class _FastMemoryAttention(nn.Module):
    """All layers, on pixels with their channels last."""

    norm_weight: Tensor
    norm_bias: Tensor

    def __init__(self, source: Any, grid: tuple[int, int], dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.size: tuple[int, int, int] = (source.d_model, *grid)
        self.position_scale = 0.1 if source.pos_enc_at_input else 0.0
        first = source.layers[0]  # the others are copies of it, but for their weights
        rotations = (
            _Rotation(first.self_attn, grid, dtype),
            _Rotation(first.cross_attn_image, grid, dtype),
        )
        self.layers = nn.ModuleList(_Layer(layer, rotations, dtype) for layer in source.layers)
        self.eps: float = source.norm.eps
        self.register_buffer("norm_weight", source.norm.weight.float().clone())
        self.register_buffer("norm_bias", source.norm.bias.float().clone())

    def forward(
        self,
        image: Tensor,
        image_pos: Tensor,
        memory: Tensor,
        memory_pos: Tensor,
        pointer_tokens: int,
    ) -> Tensor:
        channels, height, width = self.size
        if tuple(image.shape) != (1, *self.size) or image_pos.shape != image.shape:
            raise ValueError(
                f"the memory attention needs an image and its positions of {(1, *self.size)}, "
                f"got {tuple(image.shape)} and {tuple(image_pos.shape)}"
            )
        if (memory.shape[1] - pointer_tokens) % (height * width):
            raise ValueError(
                f"{memory.shape[1]} memory tokens with {pointer_tokens} pointer tokens among them "
                f"are no whole frames of {height} x {width}"
            )
        pixels = image.float() + self.position_scale * image_pos.float()
        pixels = pixels[0].flatten(1).t().contiguous()
        # Up to here and in the first self-attention, nothing depends on the object.
        layers = cast("list[_Layer]", list(self.layers))
        first = layers[0].look_around(pixels)
        results = []
        for one, position in zip(memory, memory_pos.expand(memory.shape), strict=True):
            placed = (one.float() + position).to(self.dtype)
            pixels, query = first
            for number, layer in enumerate(layers):
                if number:
                    pixels, query = layer.look_around(pixels)
                pixels = layer.remember(pixels, query, one.to(self.dtype), placed, pointer_tokens)
            shape = self.norm_weight.shape
            results.append(F.layer_norm(pixels, shape, self.norm_weight, self.norm_bias, self.eps))
        stack = torch.stack(results).view(-1, height, width, channels)
        return stack.permute(0, 3, 1, 2)
