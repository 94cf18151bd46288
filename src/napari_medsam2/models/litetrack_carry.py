"""What an object's past says of a frame: a rough mask, a box, and evidence of its presence.

Labels are carried from the remembered frames by how alike the features are (`matching`); the
decoder then turns the rough mask and the box into a fine mask. Nothing here is learned; the same
code makes the prompts in training and in use.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F

from .matching import CELLS, SCALE, Seen, carry_labels, centre, difference, likeness

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["CarriedPrompt", "Remembered", "box_of", "carry", "contrast_left", "remember"]

# What counts as object in carried labels; half of it would lose what is thinner than a cell.
THRESHOLD = 0.45
# Of the rough mask: SAM's prompts of masks are logits of about this size.
_LOGIT = 8.0
_MARGIN = 4.0
# How much worse the features may fit where the labels went to than where the object was.
_BELIEF = 0.05
_FINE = 4
"""Sub-cells along the side of a cell, in which a mask is remembered: 2 pixels each."""
_MOST = 3.0


@dataclass(frozen=True, eq=False)
class Remembered:
    """One frame of an object's past.

    Attributes
    ----------
    features : torch.Tensor
        (channels, 32, 32), of length 1.
    mask : torch.Tensor
        (128, 128), how much of each 2 x 2 pixels is object.
    """

    features: torch.Tensor = field(repr=False)
    mask: torch.Tensor = field(repr=False)

    @property
    def cells(self) -> torch.Tensor:
        """(32, 32), how much of each cell is object."""
        return F.avg_pool2d(self.mask[None], _FINE)[0]

    @property
    def seen(self) -> Seen:
        """As `matching` wants it."""
        return Seen(self.features, self.cells)

    @property
    def shows(self) -> bool:
        """Whether the object is on it."""
        return bool((self.mask > 0).any())


@dataclass(frozen=True, eq=False)
class CarriedPrompt:
    """What a frame is decoded with.

    Attributes
    ----------
    logits : torch.Tensor
        (256, 256), the rough mask as a prompt.
    box : torch.Tensor
        (4,) x0, y0, x1, y1.
    motion : (float, float)
        How far it has moved since the last mask, down and right, in pixels of the square.
    evidence : torch.Tensor
        (6,): contrast that is left, how alike the cells are, the surest cell, growth since the last
        frame, since the first, overlap with the last mask, moved along.
    """

    logits: torch.Tensor = field(repr=False)
    box: torch.Tensor = field(repr=False)
    motion: tuple[float, float]
    evidence: torch.Tensor = field(repr=False)


def remember(features: torch.Tensor, mask: torch.Tensor) -> Remembered:
    """Remember a frame by its features (channels, 32, 32) and its mask (256, 256) of 0 to 1."""
    return Remembered(features, F.avg_pool2d(mask[None].float(), SCALE // (CELLS * _FINE))[0])


def box_of(mask: torch.Tensor) -> tuple[float, float, float, float]:
    """Return the half-open (y0, x0, y1, x1), in pixels of the square, of what is above a half.

    Of an object thinner than the pixels of the mask, of what is most of it.

    Parameters
    ----------
    mask : torch.Tensor
        (n, n), square; n pixels are 256 of the square. Not empty.
    """
    mask = mask.cpu()  # a GPU would be waited for at every number
    inside = mask >= mask.max().clamp_max(0.5)
    rows, cols = inside.any(1).nonzero()[:, 0], inside.any(0).nonzero()[:, 0]
    pixel = SCALE / len(mask)
    y0, y1 = float(rows[0]) * pixel, float(rows[-1] + 1) * pixel
    return y0, float(cols[0]) * pixel, y1, float(cols[-1] + 1) * pixel


def carry(
    features: torch.Tensor,
    keys: Sequence[Remembered],
    last: Remembered,
    content: tuple[int, int],
    *,
    reach: int = 5,
) -> CarriedPrompt:
    """Carry an object to a frame.

    Parameters
    ----------
    features : torch.Tensor
        (channels, 32, 32) of the frame, of length 1.
    keys : sequence of Remembered
        What a person has prompted; each shows the object.
    last : Remembered
        The frame before on which it was found; may be one of the keys.
    content : (height, width)
        What the frame fills of the square.
    reach : int
        How many cells an object may have moved.
    """
    memory = [key.seen for key in keys]
    before = last.seen
    if all(last is not key for key in keys):
        memory.append(before)
    carried = carry_labels(features, memory, reach)
    cells = carried.cells
    dy, dx = _motion(before, cells, features)
    height, width = content
    y0, x0, y1, x1 = box_of(last.mask)
    box = torch.tensor([x0 + dx - _MARGIN, y0 + dy - _MARGIN, x1 + dx + _MARGIN, y1 + dy + _MARGIN])
    edge = torch.tensor([width, height, width, height], dtype=torch.float32)
    box = torch.minimum(box.clamp_min(0), edge)
    # The last pixels, not the ones beyond; at least one pixel wide.
    box[2:] = torch.maximum(box[2:] - 1, torch.minimum(box[:2] + 1, edge[:2] - 1))
    box[:2] = torch.minimum(box[:2], box[2:])
    within = covered(content).to(cells.device)
    labels = _pixels(cells, within)
    logits = ((labels - THRESHOLD) / (1 - THRESHOLD)).clamp(-1, 1) * _LOGIT
    told = _evidence(features, keys, before, carried.likeness, cells, content, (dy, dx))
    return CarriedPrompt(logits, box, (dy, dx), told)


@lru_cache(maxsize=8)
def covered(content: tuple[int, int]) -> torch.Tensor:
    """Return how much of each cell, (32, 32), a frame fills that has this height and width."""
    square = torch.zeros(SCALE, SCALE)
    square[: content[0], : content[1]] = 1
    return F.avg_pool2d(square[None], SCALE // CELLS)[0]


def _pixels(cells: torch.Tensor, within: torch.Tensor) -> torch.Tensor:
    """Return the values of cells at the pixels of the square.

    Cells at the border of the frame are part object, part nothing: what counts is the frame's part.
    """
    both = torch.stack([cells, within])[None]
    wide = F.interpolate(both, scale_factor=SCALE // CELLS, mode="bilinear")[0]
    return torch.where(wide[1] > 0, wide[0] / wide[1].clamp_min(0.02), 0.0).clamp(0, 1)


def contrast_left(
    features: torch.Tensor,
    cells: torch.Tensor,
    keys: Sequence[Remembered],
    content: tuple[int, int],
) -> float:
    """Return how much of an object's difference from its surroundings is left on a frame.

    Parameters
    ----------
    features : torch.Tensor
        (channels, 32, 32) of the frame, of length 1.
    cells : torch.Tensor
        (32, 32), how much of each cell is taken for the object.
    keys : sequence of Remembered
        What it is compared with.
    content : (height, width)
        What the frame fills of the square.

    Returns
    -------
    float
        As in `stopping.Evidence`; the mean over the keys.
    """
    inside_frame = (covered(content).to(cells.device) > 0.5).float()
    now = difference(features, cells, inside_frame)
    contrasts = []
    for key in keys:
        then = difference(key.features, key.cells, inside_frame)
        if then is not None and now is not None:
            contrasts.append(float((now @ then) / (then @ then).clamp_min(1e-9)))
    return sum(contrasts) / len(contrasts) if contrasts else 1.0


def _evidence(
    features: torch.Tensor,
    keys: Sequence[Remembered],
    before: Seen,
    alike: torch.Tensor,
    cells: torch.Tensor,
    content: tuple[int, int],
    motion: tuple[float, float],
) -> torch.Tensor:
    contrast = contrast_left(features, cells, keys, content)
    # The rest are small numbers: a GPU would be waited for at each.
    first = torch.stack([key.cells.sum() for key in keys]).mean().cpu() + 0.05
    cells, alike, then = cells.cpu(), alike.cpu(), before.cells.cpu()
    inside = (cells >= THRESHOLD).float()
    area = cells.sum() + 0.05
    moved = _shifted(then, round(motion[0] * CELLS / SCALE), round(motion[1] * CELLS / SCALE))
    union = torch.maximum(moved, cells).sum().clamp_min(1e-6)
    values = [
        contrast,
        float((alike * inside).sum() / inside.sum().clamp_min(1)),
        float(cells.max()),
        float((area / (then.sum() + 0.05)).log()),
        float((area / first).log()),
        float(torch.minimum(moved, cells).sum() / union),
    ]
    return torch.tensor(values).clamp(-_MOST, _MOST)


def _motion(before: Seen, cells: torch.Tensor, features: torch.Tensor) -> tuple[float, float]:
    """Return how far, in pixels of the square, the object has moved since the last mask.

    The carried labels say where to, unless they have jumped to something that looks less like the
    object than what lies in its old place.
    """
    if float(cells.max()) < THRESHOLD or float(before.cells.sum()) <= 0:
        return 0.0, 0.0
    old, new = centre(before.cells), centre(cells * (cells >= THRESHOLD))
    dy, dx = new[0] - old[0], new[1] - old[1]
    steps = round(dy), round(dx)
    if steps == (0, 0):
        return 0.0, 0.0
    there, here = (likeness(before, features, *by) for by in (steps, (0, 0)))
    if there < here - _BELIEF:
        return 0.0, 0.0
    return dy * SCALE / CELLS, dx * SCALE / CELLS


def _shifted(cells: torch.Tensor, dy: int, dx: int) -> torch.Tensor:
    """Return cells moved by so many, with nothing where none came from."""
    result = torch.zeros_like(cells)
    rows, cols = (slice(max(0, -d), CELLS - max(0, d)) for d in (dy, dx))
    rows_to, cols_to = (slice(max(0, d), CELLS - max(0, -d)) for d in (dy, dx))
    result[rows_to, cols_to] = cells[rows, cols]
    return result
