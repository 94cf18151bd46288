"""Labels carried from frame to frame by how alike the image features are.

Label propagation by feature similarity, as in Jabri et al., "Space-time correspondence as a
contrastive random walk" (NeurIPS 2020), on a grid of 32 x 32 cells. Nothing here is learned: what
an encoder for segmentation says of two frames is enough to tell where an object went.

The features of a frame span the square that the frame fills from the top left when its longest side
is scaled to the side of the square, as LiteMedSAM's do. Lengths are at the scale that brings the
longest side to 256 pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional as F

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from .base import Embedding

__all__ = [
    "CELLS",
    "SCALE",
    "Carried",
    "Seen",
    "carry_labels",
    "centre",
    "content",
    "difference",
    "grow",
    "likeness",
    "pooled_features",
    "to_cells",
    "to_pixels",
    "to_square",
    "unit_features",
]

SCALE = 256
"""The longest side of a frame, in the pixels that lengths are given in."""
CELLS = 32
"""Cells along a side: 8 x 8 pixels each."""

# A cell looks at those up to 40 pixels away, and believes the eight that are most like it.
_REACH = 5
_NEIGHBOURS = 8
_TEMPERATURE = 0.05
# With less of the object than this, a cell is no place that labels are carried from.
_KNOWN = 0.2
# The surroundings of an object: the cells 2 to 4 beside it.
_GAP, _RING = 1, 4
# With less around it than this share of itself, an object fills the frame.
_LEAST_RING = 0.1


@dataclass(frozen=True, eq=False)
class Seen:
    """One frame as it is remembered.

    Attributes
    ----------
    features : torch.Tensor
        (channels, 32, 32), of length 1.
    cells : torch.Tensor
        (32, 32), how much of each cell is object.
    """

    features: torch.Tensor = field(repr=False)
    cells: torch.Tensor = field(repr=False)


@dataclass(frozen=True, eq=False)
class Carried:
    """What remembered frames say of the cells of another one.

    Attributes
    ----------
    cells : torch.Tensor
        (32, 32) in [0, 1]: how much of each cell is object.
    likeness : torch.Tensor
        (32, 32): the similarity of the cell that is most alike; 0 where none was asked.
    """

    cells: torch.Tensor = field(repr=False)
    likeness: torch.Tensor = field(repr=False)


@lru_cache(maxsize=4)
def unit_features(embedding: Embedding) -> torch.Tensor:
    """Return (channels, 32, 32) features of length 1; once for all objects of a frame."""
    return pooled_features(embedding.features.detach())


def pooled_features(features: torch.Tensor) -> torch.Tensor:
    """Return features (channels, rows, columns) on the 32 x 32 cells, of length 1."""
    side = features.shape[-1]
    if side % CELLS:
        return F.normalize(F.adaptive_avg_pool2d(features.float()[None], CELLS)[0], dim=0)
    step = side // CELLS
    pooled = torch.zeros(len(features), CELLS, CELLS, device=features.device)
    # Summing strided views is three times as fast as torch's average pooling on a CPU.
    for y in range(step):
        for x in range(step):
            pooled += features[:, y::step, x::step]
    return F.normalize(pooled, dim=0)


def content(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the height and width that a frame fills of the 256 x 256 square."""
    height, width = (max(1, int(n * SCALE / max(shape) + 0.5)) for n in shape)
    return height, width


def to_square(mask: NDArray[np.bool_], device: torch.device) -> torch.Tensor:
    """Return how much of each pixel of the square, (256, 256), a mask of a frame covers."""
    height, width = content(mask.shape)
    image = torch.from_numpy(mask).to(device).float()[None, None]
    mode = "area" if max(mask.shape) > SCALE else "bilinear"
    scaled = F.interpolate(image, size=(height, width), mode=mode)
    return F.pad(scaled, (0, SCALE - width, 0, SCALE - height))[0, 0]


def to_cells(mask: NDArray[np.bool_], device: torch.device) -> torch.Tensor:
    """Return the share of each cell, (32, 32), that a mask of a frame covers."""
    return F.avg_pool2d(to_square(mask, device)[None], SCALE // CELLS)[0]


def to_pixels(cells: torch.Tensor, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the values of cells at the pixels of a frame of this shape."""
    height, width = content(shape)
    scaled = F.interpolate(
        cells[None, None], size=(SCALE, SCALE), mode="bilinear", align_corners=False
    )[:, :, :height, :width]
    pixels = F.interpolate(scaled, size=shape, mode="bilinear", align_corners=False)
    return np.asarray(pixels[0, 0].cpu().numpy(), dtype=np.float32)


def carry_labels(features: torch.Tensor, memory: Sequence[Seen], reach: int = _REACH) -> Carried:
    """Label cells by the cells near them, in remembered frames, whose features are most alike.

    Parameters
    ----------
    features : torch.Tensor
        (channels, 32, 32), of length 1.
    memory : sequence of Seen
        At least one, with as many channels.
    reach : int
        How many cells away is near.

    Returns
    -------
    Carried
        Cells far from the object in all remembered frames are none of it.
    """
    device = features.device
    labels = torch.zeros(CELLS * CELLS, device=device)
    alike = torch.zeros(CELLS * CELLS, device=device)
    known = torch.stack([seen.cells.flatten() for seen in memory]).amax(0) > _KNOWN
    if bool(known.any()):
        near = grow(known.float().view(CELLS, CELLS), reach).flatten() > 0
        asked = near.nonzero()[:, 0]
        around, outside = (table[asked] for table in _neighbourhoods(reach, device))
        queries = features.flatten(1).T[asked]
        found = [
            (queries @ seen.features.flatten(1)).gather(1, around).masked_fill_(outside, -torch.inf)
            for seen in memory
        ]
        values = torch.cat([seen.cells.flatten()[around] for seen in memory], dim=1)
        best, index = torch.cat(found, dim=1).topk(_NEIGHBOURS, dim=1)
        weights = (best / _TEMPERATURE).softmax(dim=1)
        labels[asked] = (weights * values.gather(1, index)).sum(dim=1)
        alike[asked] = best[:, 0]
    return Carried(labels.view(CELLS, CELLS), alike.view(CELLS, CELLS))


def centre(cells: torch.Tensor) -> tuple[float, float]:
    """Return the centre of gravity (row, column) of cells, in cells."""
    cells = cells.cpu()  # a GPU would be waited for at every number
    steps = torch.arange(CELLS, dtype=cells.dtype)
    total = cells.sum()
    return float((cells.sum(1) * steps).sum() / total), float((cells.sum(0) * steps).sum() / total)


def likeness(seen: Seen, now: torch.Tensor, dy: int, dx: int) -> float:
    """Return how alike an object's cells are to those of another frame, so many cells further.

    Parameters
    ----------
    seen : Seen
    now : torch.Tensor
        (channels, 32, 32) features of the other frame, of length 1.
    dy, dx : int
        In cells.
    """
    rows, cols = (slice(max(0, -d), CELLS - max(0, d)) for d in (dy, dx))
    rows_now, cols_now = (slice(max(0, d), CELLS - max(0, -d)) for d in (dy, dx))
    alike = (seen.features[:, rows, cols] * now[:, rows_now, cols_now]).sum(0)
    return float((alike * seen.cells[rows, cols]).sum() / seen.cells.sum().clamp_min(1e-6))


def difference(
    features: torch.Tensor, cells: torch.Tensor, within: torch.Tensor
) -> torch.Tensor | None:
    """Return the mean feature of an object minus that of the ring around it.

    Parameters
    ----------
    features : torch.Tensor
        (channels, rows, columns).
    cells : torch.Tensor
        (rows, columns), the share of each cell that is object.
    within : torch.Tensor
        (rows, columns), 1 where the frame is, 0 in its padding.

    Returns
    -------
    torch.Tensor or None
        (channels,); None if the object leaves hardly a ring on the frame.
    """
    touched = (cells > 0.05).float()
    ring = (grow(touched, _RING) - grow(touched, _GAP)) * within
    full = cells >= 0.5
    # All at once: a GPU is waited for every time.
    beside, object_size, has_core = torch.stack([ring.sum(), touched.sum(), full.sum()]).tolist()
    if beside < _LEAST_RING * object_size:
        return None
    core = cells * full if has_core else cells
    inside, outside = (
        (features * weight).sum(dim=(1, 2)) / weight.sum().clamp_min(1e-6)
        for weight in (core, ring)
    )
    return inside - outside


def grow(cells: torch.Tensor, by: int) -> torch.Tensor:
    """Return the greatest value within so many cells, (rows, columns)."""
    return F.max_pool2d(cells[None, None], 2 * by + 1, stride=1, padding=by)[0, 0]


@cache
def _neighbourhoods(reach: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Return, for each cell, the indices of the cells within reach and which are off the grid."""
    steps = torch.arange(-reach, reach + 1)
    cells = torch.arange(CELLS)
    y = (cells[:, None] + steps)[:, None, :, None]
    x = (cells[:, None] + steps)[None, :, None, :]
    outside = (y < 0) | (y >= CELLS) | (x < 0) | (x >= CELLS)
    index = (y.clamp(0, CELLS - 1) * CELLS + x.clamp(0, CELLS - 1)).expand_as(outside)
    window = (CELLS * CELLS, steps.numel() ** 2)
    return index.reshape(window).to(device), outside.reshape(window).to(device)
