"""Frames and prompts in the form that SAM 2 takes them: squares, (x, y), point labels.

Ravi et al., "SAM 2: Segment Anything in Images and Videos" (2024), and MedSAM2 (Ma et al., 2025),
whose frames are clipped to a window, scaled to 0..255, resized to a square (not keeping the aspect
ratio) by a bicubic filter and normalised as ImageNet is. Here all of it stays in floating point:
no 8-bit image and no JPEG comes between the data and the network.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from .base import FramePrompt

__all__ = ["mask_input", "point_inputs", "preprocess"]

_MEAN = (0.485, 0.456, 0.406)
_STD = (0.229, 0.224, 0.225)
# What the corners of a box are called among point labels.
_TOP_LEFT, _BOTTOM_RIGHT = 2, 3


def preprocess(frame: NDArray[np.float32], size: int, device: torch.device | None = None) -> Tensor:
    """Bring a frame into the form that SAM 2 was trained on.

    Parameters
    ----------
    frame : ndarray of float32
        (y, x) or (y, x, 3), windowed to 0..255.
    size : int
        Side of the network's input.
    device : torch.device, optional
        Where the result shall be, by default on the CPU; an image for a GPU goes there before it is
        normalised, for the grey ones are a third as large until then.

    Returns
    -------
    torch.Tensor
        (1, 3, size, size) of float32.
    """
    image = torch.from_numpy(np.ascontiguousarray(frame, dtype=np.float32))
    planes = image[None] if image.ndim == 2 else image.permute(2, 0, 1)
    resized = planes[None]
    if resized.shape[-2:] != (size, size):
        resized = F.interpolate(
            resized, size=(size, size), mode="bicubic", align_corners=False, antialias=True
        ).clamp_(0, 255)
    if device is not None and device.type == "cuda":
        resized = resized.pin_memory().to(device, non_blocking=True)
    elif device is not None:
        resized = resized.to(device)
    channels = zip(resized.expand(-1, 3, -1, -1).unbind(1), _MEAN, _STD, strict=True)
    return torch.stack([(plane / 255 - mean) / std for plane, mean, std in channels], dim=1)


def point_inputs(
    prompts: Sequence[FramePrompt], boxes: Sequence[int | None], shape: tuple[int, int], size: int
) -> tuple[Tensor, Tensor] | None:
    """Return points and labels of prompts that all come to equally many tokens.

    A box is its first and its last pixel, before the points, as SAM 2 was trained.

    Parameters
    ----------
    prompts : sequence of FramePrompt
    boxes : sequence of int or None
        Which box of each prompt.
    shape : (height, width)
        Of the frame in pixels.
    size : int
        Side of the network's input.

    Returns
    -------
    (coordinates, labels) or None
        (N, P, 2) of float32 as (x, y) in the network's input, and (N, P) of int32; None for
        prompts without points or boxes.
    """
    height, width = shape
    coordinates, labels = [], []
    for prompt, number in zip(prompts, boxes, strict=True):
        points = list(prompt.points)
        meanings = list(prompt.labels)
        if number is not None:
            y0, x0, y1, x1 = prompt.boxes[number]
            points[:0] = [(y0, x0), (max(y1 - 1, y0), max(x1 - 1, x0))]
            meanings[:0] = [_TOP_LEFT, _BOTTOM_RIGHT]
        coordinates.append([(x, y) for y, x in points])
        labels.append(meanings)
    if not coordinates[0]:
        return None
    scale = torch.tensor([width, height], dtype=torch.float32)
    xy = torch.tensor(coordinates, dtype=torch.float32) / scale * size
    return xy, torch.tensor(labels, dtype=torch.int32)


def mask_input(mask: NDArray[np.bool_], size: int) -> Tensor:
    """Return a mask (y, x) of bool as the network takes it: (1, 1, size, size), 0 or 1."""
    planes = torch.from_numpy(np.ascontiguousarray(mask, dtype=np.float32))[None, None]
    if planes.shape[-2:] == (size, size):
        return planes
    resized = F.interpolate(
        planes, size=(size, size), mode="bilinear", align_corners=False, antialias=True
    )
    return (resized >= 0.5).float()
