"""The box chain: an object carried from frame to frame by a box and by what its features match.

The published way of LiteMedSAM in 3D (Ma et al., github.com/bowang-lab/MedSAM, branch LiteMedSAM)
starts on the prompted frame and prompts each next frame with the box of the mask before it, grown
by 3 pixels at 256-pixel scale; it never stops. Here the box is smoothed over frames and moves with
the object, the decoded mask is weighed against the labels that the encoder's features carry over
from the conditioning and the previous frame (label propagation by feature similarity, as in Jabri
et al., "Space-time correspondence as a contrastive random walk", 2020), and `StopRule` says when
the object has ended. docs/propagation.md has the measurements behind every constant.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import TYPE_CHECKING

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F

from napari_medsam2.labels import bounding_box
from napari_medsam2.models.base import FramePrompt

from .stopping import Evidence, StopRule, difference, grow, moved, overlap

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_medsam2.models.base import Embedding, Prediction

__all__ = ["BoxChain"]

# All lengths are at the scale that brings the longest side of a frame to 256 pixels.
_SCALE = 256
_MARGIN = 4.0
# Share of the newest mask in the size of the next box; the rest is the box before it.
_BOX_MEMORY = 0.7

# Label propagation works on cells of 8 x 8 pixels and looks 40 pixels far.
_CELLS = 32
_REACH = 5
_NEIGHBOURS = 8
_TEMPERATURE = 0.05
# How much worse the features may fit where the labels went to than where the object was.
_BELIEF = 0.05
# What the carried labels weigh against the decoder, and the threshold of the weighted mean.
_LABEL_WEIGHT = 0.75
_THRESHOLD = 0.45
# A part that is new and smaller than this share of the largest one is no part of the object.
_LEAST_PART = 0.25
_STRAY_LOGIT = -1.0


@dataclass(frozen=True, eq=False)
class _Seen:
    """One frame as the chain remembers it: unit features and how much of each cell is object."""

    features: torch.Tensor
    cells: torch.Tensor


class BoxChain:
    """One object, in one direction, from one conditioning frame on.

    For each next frame ask `next_prompt`, decode it, and hand the answer to `accept`.

    Parameters
    ----------
    object_id : int
    frame : int
        The conditioning frame.
    prediction : Prediction
        The model's answer there, to all prompts of the object.
    embedding : Embedding
        Of that frame. Its features span the square that the frame fills from the top left when its
        longest side is scaled to the side of the square, as LiteMedSAM's do.
    rule : StopRule, optional
        When the object counts as ended.
    """

    def __init__(
        self,
        object_id: int,
        frame: int,
        prediction: Prediction,
        embedding: Embedding,
        rule: StopRule | None = None,
    ) -> None:
        self.object_id = object_id
        self.rule = StopRule() if rule is None else rule
        self.evidence: Evidence | None = None
        self._mask: NDArray[np.bool_] = prediction.mask
        self._ended = not self._mask.any()
        if self._ended:
            return
        self._shape = self._mask.shape
        self._box = np.array(bounding_box(self._mask), dtype=np.float64)
        features = _unit_features(embedding)
        device = features.device
        self._key = self._last = _Seen(features, _to_cells(self._mask, device))
        self._within = (_to_cells(np.ones(self._shape, dtype=bool), device) > 0.5).float()
        self._difference = difference(self._key.features, self._key.cells, self._within)
        self._matched: tuple[int, _Seen] | None = None

    @property
    def ended(self) -> bool:
        """Whether the object has ended: there is no further prompt."""
        return self._ended

    def next_prompt(self, frame: int, embedding: Embedding | None = None) -> FramePrompt | None:
        """Return the box to decode on the next frame, or None once the object has ended.

        Parameters
        ----------
        frame : int
            The frame that follows the last one, in either direction.
        embedding : Embedding, optional
            Of that frame; with it the box follows an object that moves.
        """
        if self._ended:
            return None
        margin = _MARGIN * max(self._shape) / _SCALE
        tight = np.array(bounding_box(self._mask), dtype=np.float64)
        box = _BOX_MEMORY * (tight + np.array([-margin, -margin, margin, margin]))
        box += (1 - _BOX_MEMORY) * self._box
        if embedding is not None:
            dy, dx = self._motion(self._match(frame, embedding).cells)
            box += [dy, dx, dy, dx]
        height, width = self._shape
        box = np.clip(box, 0, [height, width, height, width])
        if min(box[2] - box[0], box[3] - box[1]) < 1:
            self._ended = True
            return None
        self._box = box
        y0, x0, y1, x1 = box.tolist()
        return FramePrompt(self.object_id, frame, boxes=((y0, x0, y1, x1),))

    def accept(self, frame: int, prediction: Prediction, embedding: Embedding) -> Prediction | None:
        """Weigh the evidence on a frame that was decoded from `next_prompt`.

        Parameters
        ----------
        frame : int
        prediction : Prediction
            The model's answer to the prompt.
        embedding : Embedding
            Of this frame.

        Returns
        -------
        Prediction or None
            What to keep: the model's answer, weighed against the labels carried over from the
            frames before. None when the object has ended: this frame does not contain it.
        """
        if self._ended:
            return None
        matched = self._match(frame, embedding)
        logits = _weigh(prediction.logits, _to_pixels(matched.cells, self._shape))
        before = moved(self._mask, *self._motion(matched.cells))
        mask = _without_strays(logits > 0, before)
        if not mask.any():
            self._ended = True
            return None
        logits[(logits > 0) & ~mask] = _STRAY_LOGIT
        seen = _Seen(matched.features, _to_cells(mask, matched.features.device))
        self.evidence = Evidence(
            contrast=self._contrast_left(seen),
            overlap=overlap(before, mask),
            overlap_in_place=overlap(self._mask, mask),
        )
        if self.rule.ended(self.evidence):
            self._ended = True
            return None
        self._mask, self._last = mask, seen
        return replace(prediction, logits=logits)

    def _contrast_left(self, seen: _Seen) -> float:
        """Return the part of this frame's difference that lies along the conditioning frame's."""
        now = difference(seen.features, seen.cells, self._within)
        if now is None or self._difference is None:
            return 1.0
        then = self._difference
        return float((now @ then) / (then @ then).clamp_min(1e-9))

    def _match(self, frame: int, embedding: Embedding) -> _Seen:
        if self._matched is None or self._matched[0] != frame:
            features = _unit_features(embedding)
            cells = _carry_labels(features, (self._key, self._last))
            self._matched = (frame, _Seen(features, cells))
        return self._matched[1]

    def _motion(self, cells: torch.Tensor) -> tuple[float, float]:
        """How far, in pixels of the frame, the object has moved since the last mask.

        The carried labels say where to, unless they have jumped to something that looks less like
        the object than what lies in its old place.
        """
        if self._matched is None or float(cells.max()) < _THRESHOLD:
            return 0.0, 0.0
        old, new = _centre(self._last.cells), _centre(cells * (cells >= _THRESHOLD))
        dy, dx = new[0] - old[0], new[1] - old[1]
        steps = round(dy), round(dx)
        if steps == (0, 0):
            return 0.0, 0.0
        now = self._matched[1].features
        there, here = (_likeness(self._last, now, *by) for by in (steps, (0, 0)))
        if there < here - _BELIEF:
            return 0.0, 0.0
        pixels = max(self._shape) / _CELLS
        return dy * pixels, dx * pixels


def _likeness(seen: _Seen, now: torch.Tensor, dy: int, dx: int) -> float:
    """Return how alike an object's cells are to those of another frame, so many cells further."""
    rows, cols = (slice(max(0, -d), _CELLS - max(0, d)) for d in (dy, dx))
    rows_now, cols_now = (slice(max(0, d), _CELLS - max(0, -d)) for d in (dy, dx))
    alike = (seen.features[:, rows, cols] * now[:, rows_now, cols_now]).sum(0)
    return float((alike * seen.cells[rows, cols]).sum() / seen.cells.sum().clamp_min(1e-6))


@lru_cache(maxsize=4)
def _unit_features(embedding: Embedding) -> torch.Tensor:
    """Return (channels, 32, 32) features of length 1; once for all objects of a frame."""
    features = embedding.features.detach()
    side = features.shape[-1]
    if side % _CELLS:
        return F.normalize(F.adaptive_avg_pool2d(features.float()[None], _CELLS)[0], dim=0)
    step = side // _CELLS
    pooled = torch.zeros(len(features), _CELLS, _CELLS, device=features.device)
    # Summing strided views is three times as fast as torch's average pooling on a CPU.
    for y in range(step):
        for x in range(step):
            pooled += features[:, y::step, x::step]
    return F.normalize(pooled, dim=0)


def _content(shape: tuple[int, ...]) -> tuple[int, int]:
    height, width = (max(1, int(n * _SCALE / max(shape) + 0.5)) for n in shape)
    return height, width


def _to_cells(mask: NDArray[np.bool_], device: torch.device) -> torch.Tensor:
    """Return the share of each cell, (32, 32), that a mask of a frame covers."""
    height, width = _content(mask.shape)
    image = torch.from_numpy(mask).to(device).float()[None, None]
    mode = "area" if max(mask.shape) > _SCALE else "bilinear"
    scaled = F.interpolate(image, size=(height, width), mode=mode)
    padded = F.pad(scaled, (0, _SCALE - width, 0, _SCALE - height))
    return F.avg_pool2d(padded, _SCALE // _CELLS)[0, 0]


def _to_pixels(cells: torch.Tensor, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Return the values of cells at the pixels of a frame of this shape."""
    height, width = _content(shape)
    scaled = F.interpolate(
        cells[None, None], size=(_SCALE, _SCALE), mode="bilinear", align_corners=False
    )[:, :, :height, :width]
    pixels = F.interpolate(scaled, size=shape, mode="bilinear", align_corners=False)
    return np.asarray(pixels[0, 0].cpu().numpy(), dtype=np.float32)


def _weigh(logits: NDArray[np.float32], labels: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average the decoder's probability with the carried labels; logits with 0 at the threshold."""
    decoded = 1.0 / (1.0 + np.exp(-np.clip(logits, -30, 30)))
    mean: NDArray[np.float64] = np.clip(
        (1 - _LABEL_WEIGHT) * decoded + _LABEL_WEIGHT * labels, 1e-4, 1 - 1e-4
    )
    shifted = np.log(mean / (1 - mean)) - np.log(_THRESHOLD / (1 - _THRESHOLD))
    return np.asarray(shifted, dtype=np.float32)


def _without_strays(mask: NDArray[np.bool_], before: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Drop small parts that touch nothing of the mask before."""
    parts, count = ndimage.label(mask)
    if count < 2:
        return mask
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    kept = sizes >= _LEAST_PART * sizes[1:].max()
    kept[np.unique(parts[before])] = True
    kept[0] = False
    whole: NDArray[np.bool_] = kept[parts]
    return whole


def _carry_labels(features: torch.Tensor, memory: tuple[_Seen, ...]) -> torch.Tensor:
    """Label cells by the cells near them, in remembered frames, whose features are most alike.

    Parameters
    ----------
    features : torch.Tensor
        (channels, 32, 32), unit length.
    memory : tuple of _Seen

    Returns
    -------
    torch.Tensor
        (32, 32) in [0, 1].
    """
    device = features.device
    labels = torch.zeros(_CELLS * _CELLS, device=device)
    known = torch.stack([seen.cells.flatten() for seen in memory]).amax(0) > 0.2
    if not bool(known.any()):
        return labels.view(_CELLS, _CELLS)
    near = grow(known.float().view(_CELLS, _CELLS), _REACH).flatten() > 0
    asked = near.nonzero()[:, 0]
    around, outside = (table.to(device)[asked] for table in _neighbourhoods())
    queries = features.flatten(1).T[asked]
    alike = [
        (queries @ seen.features.flatten(1)).gather(1, around).masked_fill_(outside, -torch.inf)
        for seen in memory
    ]
    values = torch.cat([seen.cells.flatten()[around] for seen in memory], dim=1)
    best, index = torch.cat(alike, dim=1).topk(_NEIGHBOURS, dim=1)
    weights = (best / _TEMPERATURE).softmax(dim=1)
    labels[asked] = (weights * values.gather(1, index)).sum(dim=1)
    return labels.view(_CELLS, _CELLS)


@cache
def _neighbourhoods() -> tuple[torch.Tensor, torch.Tensor]:
    """Return, for each cell, the indices of the cells within reach and which are off the grid."""
    steps = torch.arange(-_REACH, _REACH + 1)
    cells = torch.arange(_CELLS)
    y = (cells[:, None] + steps)[:, None, :, None]
    x = (cells[:, None] + steps)[None, :, None, :]
    outside = (y < 0) | (y >= _CELLS) | (x < 0) | (x >= _CELLS)
    index = (y.clamp(0, _CELLS - 1) * _CELLS + x.clamp(0, _CELLS - 1)).expand_as(outside)
    window = (_CELLS * _CELLS, steps.numel() ** 2)
    return index.reshape(window), outside.reshape(window)


def _centre(cells: torch.Tensor) -> tuple[float, float]:
    steps = torch.arange(_CELLS, dtype=cells.dtype, device=cells.device)
    total = cells.sum()
    return float((cells.sum(1) * steps).sum() / total), float((cells.sum(0) * steps).sum() / total)
