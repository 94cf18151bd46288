"""A fast inference form of SAM 2's memory encoder.

Pixels keep their channels together, so that normalisations read each pixel once and the blocks'
linear layers, which are nearly all of the work, are 1 x 1 convolutions. What the embedding of the
frame adds is the same for every object, and computed once.

The architecture is SAM 2's (Ravi et al., 2024, arXiv:2408.00714).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layers import DTYPES, Linear, after_norm, recycle_memory

if TYPE_CHECKING:
    from .tinyvit import Precision

__all__ = ["fast_memory_encoder"]


def fast_memory_encoder(
    memory_encoder: nn.Module, device: torch.device, precision: Precision
) -> nn.Module:
    """Build the fast inference form of a loaded SAM 2 memory encoder.

    Parameters
    ----------
    memory_encoder : nn.Module
        SAM 2's `MemoryEncoder` with its weights, on any device. It is neither changed nor kept:
        the result has its own copies of the weights.
    device : torch.device
        Where the result runs.
    precision : {"fp32", "bf16", "fp16"}
        Of weights and activations. fp32 equals the original but for rounding; in the others the
        mask's first layer, the normalisations and the sums stay fp32.

    Returns
    -------
    nn.Module
        Called with the embedding of the frame (1, C, h, w) and the masks of B >= 1 objects
        (B, 1, 16 h, 16 w), as numbers that the memory is made of (the original's
        `skip_mask_sigmoid`), it returns the memories (B, c, h, w), float32. For inference alone:
        it has no trainable parameters.
    """
    recycle_memory(device)
    with torch.no_grad():
        encoder = _FastMemoryEncoder(memory_encoder, DTYPES[precision])
    return encoder.to(device).eval().requires_grad_(False)


class _Convolution(nn.Module):
    """A convolution of planes whose pixels keep their channels together."""

    weight: Tensor
    bias: Tensor

    def __init__(self, source: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.stride, self.padding, self.groups = source.stride, source.padding, source.groups
        weight = source.weight.to(dtype, memory_format=torch.channels_last, copy=True)
        self.register_buffer("weight", weight)
        self.register_buffer("bias", source.bias.to(dtype, copy=True))

    def forward(self, pixels: Tensor) -> Tensor:
        """Map (H, W, C) to (H', W', C')."""
        planes = pixels.to(self.weight.dtype).permute(2, 0, 1)[None]
        planes = F.conv2d(
            planes, self.weight, self.bias, self.stride, self.padding, groups=self.groups
        )
        return planes[0].permute(1, 2, 0)


class _Downsampling(nn.Module):
    """A convolution with a stride, a normalisation and GELU."""

    norm_weight: Tensor
    norm_bias: Tensor

    def __init__(self, convolution: Any, norm: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.convolution = _Convolution(convolution, dtype)
        self.eps: float = norm.eps
        self.register_buffer("norm_weight", norm.weight.to(dtype, copy=True))
        self.register_buffer("norm_bias", norm.bias.to(dtype, copy=True))

    def forward(self, pixels: Tensor) -> Tensor:
        pixels = self.convolution(pixels).contiguous()
        shape = self.norm_weight.shape
        return F.gelu(F.layer_norm(pixels, shape, self.norm_weight, self.norm_bias, self.eps))


class _Block(nn.Module):
    """A ConvNeXt block: a depthwise convolution, a normalisation and a perceptron, added."""

    def __init__(self, source: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.convolution = _Convolution(source.dwconv, dtype)
        self.eps: float = source.norm.eps
        first, second = source.pwconv1, source.pwconv2
        weight, bias = first.weight.double(), first.bias.double()
        self.widen = after_norm(source.norm, weight, bias, dtype)
        scale = 1 if source.gamma is None else source.gamma.double()
        weight = (second.weight.double().t() * scale).t()
        self.narrow = Linear(weight, second.bias.double() * scale, dtype)

    def forward(self, pixels: Tensor) -> Tensor:
        """Map (H, W, C) to the same, float32."""
        mixed = self.convolution(pixels).flatten(0, 1)
        hidden = self.widen(F.layer_norm(mixed, mixed.shape[1:], eps=self.eps))
        result: Tensor = pixels + self.narrow(F.gelu(hidden)).view(pixels.shape)
        return result


class _FastMemoryEncoder(nn.Module):
    """The whole encoder, object by object."""

    def __init__(self, source: Any, dtype: torch.dtype) -> None:
        super().__init__()
        *layers, last = source.mask_downsampler.encoder
        pairs = zip(layers[::3], layers[1::3], strict=True)
        self.downsampling = nn.Sequential()
        for index, (convolution, norm) in enumerate(pairs):
            kind = dtype if index else torch.float32
            self.downsampling.append(_Downsampling(convolution, norm, kind))
        self.project_mask = _pointwise(last, dtype)
        self.project_image = _pointwise(source.pix_feat_proj, dtype)
        self.fuser = nn.Sequential(*(_Block(layer, dtype) for layer in source.fuser.layers))
        self.project_memory = _pointwise(source.out_proj, torch.float32)

    def forward(self, pix_feat: Tensor, masks: Tensor) -> Tensor:
        height, width = pix_feat.shape[2:]
        image = self.project_image(pix_feat[0].flatten(1).t().contiguous()).float()
        memories = []
        for mask in masks:
            small = self.downsampling(mask.float().permute(1, 2, 0))
            pixels = image + self.project_mask(small.flatten(0, 1))
            pixels = self.fuser(pixels.view(height, width, -1))
            memories.append(self.project_memory(pixels.flatten(0, 1)))
        stack = torch.stack(memories).view(len(masks), height, width, -1)
        return stack.permute(0, 3, 1, 2)


def _pointwise(conv: Any, dtype: torch.dtype) -> Linear:
    """Make a linear map of a 1 x 1 convolution."""
    return Linear(conv.weight.flatten(1), conv.bias, dtype)
