"""What the benchmarks of SAM 2 share: weights without a download, and frames without a file.

Random weights need care, or nothing is measured: a negative object score ends every object at
once, and the blocks of the memory encoder start with a scale of 1e-6. Both are set to what training
would make of them. The masks that come of it look like noise, but depend on image, prompt and
memory.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_medsam2.models.checkpoints import load_state, load_strict
from napari_medsam2.models.sam2 import SAM2, auto_precision
from napari_medsam2.models.sam2_config import build_network

if TYPE_CHECKING:
    from pathlib import Path

    from napari_medsam2.models.device import Device

CONFIGS = {
    "tiny": "configs/sam2.1/sam2.1_hiera_t.yaml",
    "large": "configs/sam2.1/sam2.1_hiera_l.yaml",
}


def weights(model: str, size: int, checkpoint: Path | None = None) -> Any:
    """Return SAM 2's base class with the weights of a file, or with the same random ones always."""
    torch.manual_seed(0)
    net = build_network(CONFIGS[model], size)
    if checkpoint is None:
        make_lively(net)
    else:
        load_strict(net, load_state(checkpoint), checkpoint, model)
    return net


def make_lively(net: Any) -> None:
    """Make random weights see an object on every frame, and remember it."""
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("gamma"):
                parameter.fill_(1.0)
            elif parameter.ndim > 1:
                parameter.add_(0.02 * torch.randn_like(parameter))
        net.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(5.0)


def ours(net: Any, device: Device, precision: str) -> SAM2:
    """Wrap a network, which is then no one else's; "auto" is what the device takes by itself."""
    chosen = auto_precision(device.torch) if precision == "auto" else precision
    return SAM2.of(net, device, chosen)


def named(model: str, checkpoint: Path | None) -> str:
    """Return what a model is called in a heading."""
    return f"SAM 2.1 {model}, {'random weights' if checkpoint is None else checkpoint.name}"


class Movie:
    """Grey frames (n, side, side) of uint8, each made when it is read: discs that sway over noise.

    Parameters
    ----------
    n, side : int
    discs : int
    """

    def __init__(self, n: int, side: int, discs: int = 1) -> None:
        self.shape = (n, side, side)
        self.dtype = np.dtype(np.uint8)
        self.discs = discs
        self._noise = np.random.default_rng(0).integers(0, 90, (side, side), dtype=np.uint8)

    def __getitem__(self, key: Any) -> np.ndarray:
        frame, *plane = key if isinstance(key, tuple) else (key,)
        image = np.roll(self._noise, (3 * frame, 5 * frame), axis=(0, 1))
        for disc in range(self.discs):
            y0, x0, y1, x1 = self.box(disc, frame)
            y, x = np.ogrid[-1 : 1 : (y1 - y0) * 1j, -1 : 1 : (x1 - x0) * 1j]
            image[y0:y1, x0:x1] += (np.hypot(y, x) < 1).astype(np.uint8) * np.uint8(120)
        return image[tuple(plane)]

    def box(self, disc: int, frame: int = 0, smaller: int = 0) -> tuple[int, int, int, int]:
        """Return the box (y0, x0, y1, x1) of a disc, half-open, `smaller` on every side."""
        side = self.shape[-1]
        columns = math.ceil(math.sqrt(self.discs))
        cell = side / columns
        radius = max(3, round(0.25 * cell))
        sway = 0.15 * cell * math.sin(frame / 7 + disc)
        y = round((disc // columns + 0.5) * cell + sway)
        x = round((disc % columns + 0.5) * cell - sway)
        return (
            y - radius + smaller,
            x - radius + smaller,
            y + radius - smaller,
            x + radius - smaller,
        )


def iou(one: np.ndarray, other: np.ndarray) -> float:
    """Return the overlap of two masks; two empty ones agree."""
    either = int(np.count_nonzero(one | other))
    return int(np.count_nonzero(one & other)) / either if either else 1.0
