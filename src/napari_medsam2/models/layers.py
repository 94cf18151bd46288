"""What our fast inference forms of networks are made of."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["DTYPES", "Linear", "after_norm", "attend", "project", "recycle_memory"]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""What the names of precisions stand for."""
_SCORE_BYTES = 30 * 2**20
"""The most that the scores of some pixels may take on a CPU: malloc recycles up to 32 MiB."""
_SCORE_ROWS = 512
"""Pixels that attend at once on a CPU, unless in fp32, which rearranges all keys every time."""
_DEVICE_SCORE_BYTES = 2**28
"""The same on other devices, where few large products are best."""


def project(pixels: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Map the channels of each pixel linearly: (P, in) by a weight (out, in) to (P, out).

    On a CPU as a 1 x 1 convolution: oneDNN is faster than `linear` where MKL does not favour the
    processor. In half precision both are oneDNN; there the convolution rearranges the weight every
    time, and `linear` writes the bias to every pixel first.
    """
    few = len(pixels) < 2 * weight.shape[1] and pixels.dtype != torch.float32
    if few or pixels.device.type != "cpu":
        return F.linear(pixels, weight, bias)
    planes = pixels[None, None].permute(0, 3, 1, 2)
    return F.conv2d(planes, weight[:, :, None, None], bias)[0, :, 0].t()


def recycle_memory(device: torch.device) -> None:
    """Make the C library keep the memory of tensors of up to 31 MiB for the next ones.

    glibc gives large blocks back to the system, and every page that comes anew costs more than to
    work on it (20 ms of 90 for a frame); it stops doing so for blocks up to the size of one that
    was freed before. This one is never touched, and so takes no memory.
    """
    if device.type == "cpu":
        torch.empty(31 * 2**20, dtype=torch.uint8)


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Average values (T, c) for queries (N, C), which come scaled, and keys (T, C): (N, c)."""
    bytes_per_row = len(key) * key.element_size()
    if query.device.type != "cpu":
        chunks = torch.split(query, max(_DEVICE_SCORE_BYTES // bytes_per_row, 1))
        return torch.cat([(chunk @ key.t()).softmax(-1) @ value for chunk in chunks])
    rows = max(_SCORE_BYTES // bytes_per_row, 1)
    if query.dtype == torch.float32:
        parts = []
        for chunk in torch.split(query, rows):
            scores = project(chunk, key)
            parts.append(project(torch.softmax(scores, -1, out=scores), value.t()))
        return torch.cat(parts)
    rows = min(rows, _SCORE_ROWS, len(query))
    buffer = query.new_empty(rows, len(key))
    result = query.new_empty(len(query), value.shape[1])
    for chunk, part in zip(torch.split(query, rows), torch.split(result, rows), strict=True):
        scores = buffer[: len(chunk)]
        torch.mm(chunk, key.t(), out=scores)
        torch.mm(torch.softmax(scores, -1, out=scores), value, out=part)
    return result


class Linear(nn.Module):
    """A linear map with weights of its own: (P, in) to (P, out), in the type of the weights."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("weight", weight.to(dtype, copy=True).contiguous())
        self.register_buffer("bias", bias.to(dtype, copy=True).contiguous())

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (P, in) to (P, out)."""
        return project(tokens.to(self.weight.dtype), self.weight, self.bias)


def after_norm(norm: Any, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> Linear:
    """Fold the scale and shift of a LayerNorm into the linear map that follows it."""
    return Linear(weight * norm.weight.double(), bias + weight @ norm.bias.double(), dtype)
