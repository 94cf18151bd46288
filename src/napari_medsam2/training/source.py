"""Questions from embedded clips: objects on single frames, prompted as a person or a past would."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from napari_medsam2.evaluation.simulate import click_in_error
from napari_medsam2.masks import bounding_box
from napari_medsam2.models.litetrack_carry import Remembered, carry, remember
from napari_medsam2.models.matching import pooled_features

from .interaction import blurred_mask, first_click, loose_box

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_medsam2.models.litetrack_network import Answers, PromptNetwork

    from .embedded import EmbeddedClip, EmbeddedClips
    from .interaction import Click

__all__ = ["Kind", "OnRow", "Question", "Source", "Way"]

Kind = Literal["click", "box", "mask", "track"]

_LEAST_PIXELS = 20
_PROMPT_LOGIT = 8.0
_MOST_LOGIT = 10.0
_BOX_KEPT = 0.75


@dataclass(frozen=True, eq=False)
class Question:
    """N objects, each on its own frame, prompted in one way.

    Attributes
    ----------
    features : Tensor
        (N, channels, 64, 64).
    truth : ndarray of bool
        (N, 256, 256).
    clicks : tuple of lists of Click
        Of each object, equally many.
    boxes, masks, evidence : Tensor, optional
        As `PromptNetwork` takes them.
    rounds : int
    kind : str
    """

    features: Tensor = field(repr=False)
    truth: NDArray[np.bool_] = field(repr=False)
    clicks: tuple[tuple[Click, ...], ...] = ()
    boxes: Tensor | None = None
    masks: Tensor | None = field(default=None, repr=False)
    evidence: Tensor | None = None
    rounds: int = 1
    kind: Kind = "click"

    def ask(self, network: PromptNetwork) -> Answers:
        """Answer it."""
        points = None
        if self.clicks:
            values = torch.tensor(self.clicks, dtype=torch.float32, device=self.features.device)
            points = (values[..., :2].contiguous(), values[..., 2].contiguous())
        answers: Answers = network(self.features, points, self.boxes, self.masks, self.evidence)
        return answers

    def corrected(self, clicks: Sequence[Click], logits: Tensor) -> Question:
        """Return what is asked next: a click more on each, and the answer as a mask."""
        before = self.clicks or ((),) * len(clicks)
        return replace(
            self,
            clicks=tuple((*old, new) for old, new in zip(before, clicks, strict=True)),
            masks=logits.detach().float().clamp(-_MOST_LOGIT, _MOST_LOGIT),
        )


@dataclass(frozen=True)
class OnRow:
    """An object on a row."""

    clip: EmbeddedClip
    row: int
    value: int


@dataclass(frozen=True)
class Way:
    """An object that is carried from a key row by way of a last one to another row."""

    clip: EmbeddedClip
    value: int
    key: int
    last: int
    row: int


class Source:
    """Draws questions from embedded clips, as many of each data set.

    Parameters
    ----------
    data : EmbeddedClips
    device : torch.device
        Where questions are put.
    dtype : torch.dtype
        Of their features.
    """

    def __init__(
        self, data: EmbeddedClips, device: torch.device, dtype: torch.dtype = torch.bfloat16
    ) -> None:
        self.data, self.device, self.dtype = data, device, dtype
        self._objects: dict[str, list[OnRow]] = {}
        self._moving: dict[str, list[tuple[EmbeddedClip, int]]] = {}
        for clip in data.clips:
            for value in clip.objects:
                masks = data.labels[clip.start : clip.stop] == value
                areas = masks.sum(axis=(1, 2))
                rows = clip.start + np.flatnonzero(areas >= _LEAST_PIXELS)
                if not len(rows):
                    continue
                own = self._objects.setdefault(clip.dataset, [])
                own += [OnRow(clip, int(row), value) for row in rows]
                if clip.stop - clip.start > 1:
                    self._moving.setdefault(clip.dataset, []).append((clip, value))
        self._features: dict[int, Tensor] = {}

    @property
    def datasets(self) -> list[str]:
        """Those that show an object."""
        return sorted(self._objects)

    def object(self, rng: np.random.Generator) -> OnRow:
        """Draw an object."""
        own = self._objects[_drawn(sorted(self._objects), rng)]
        return own[int(rng.integers(len(own)))]

    def path(self, rng: np.random.Generator) -> Way:
        """Draw a way from one row of a clip to another."""
        own = self._moving[_drawn(sorted(self._moving), rng)]
        clip, value = own[int(rng.integers(len(own)))]
        return self._path(clip, value, rng)

    def chosen(self, most: int) -> dict[str, tuple[list[OnRow], list[Way]]]:
        """Choose objects and ways of each data set, always the same ones."""
        rng = np.random.default_rng(0)
        found: dict[str, tuple[list[OnRow], list[Way]]] = {}
        for dataset, objects in sorted(self._objects.items()):
            picked = rng.permutation(len(objects))[:most]
            moving = self._moving.get(dataset, [])
            ways = [moving[int(rng.integers(len(moving)))] for _ in range(most if moving else 0)]
            found[dataset] = (
                [objects[int(i)] for i in picked],
                [self._path(clip, value, rng) for clip, value in ways],
            )
        return found

    def prompt(
        self,
        kind: Kind,
        objects: Sequence[OnRow],
        rng: np.random.Generator,
        *,
        centred: bool = False,
    ) -> Question:
        """Prompt objects by a click, a box or a mask; `centred` as a careful person would."""
        truth = np.stack([self.data.labels[o.row] == o.value for o in objects])
        question = Question(self._of([o.row for o in objects]), truth, kind=kind)
        if kind == "click":
            if centred:
                found = [click_in_error(np.zeros_like(t), t) for t in truth]
                first = [(float(c[0][1]), float(c[0][0]), 1) for c in found if c is not None]
            else:
                first = [first_click(t, rng) for t in truth]
            return replace(question, clicks=tuple((click,) for click in first))
        if kind == "box":
            boxes = [_tight_box(t) if centred else loose_box(t, rng) for t in truth]
            return replace(question, boxes=torch.from_numpy(np.stack(boxes)).to(self.device))
        masks = [
            blurred_mask(self._neighbour(o, rng) if rng.random() < 0.5 else t, rng)
            for o, t in zip(objects, truth, strict=True)
        ]
        size = float(rng.uniform(0.5, 1.25)) * _PROMPT_LOGIT
        logits = (torch.from_numpy(np.stack(masks)).float() * 2 - 1) * size
        return replace(question, masks=logits.to(self.device))

    def track(self, paths: Sequence[Way], rng: np.random.Generator | None) -> Question:
        """Ask for objects that were carried to their rows; without `rng` as when it is used."""
        truth = np.stack([self.data.labels[p.row] == p.value for p in paths])
        carried = []
        for path in paths:
            key = self._remembered(path.key, path.value, rng)
            last = key if path.last == path.key else self._remembered(path.last, path.value, rng)
            carried.append(carry(self._unit(path.row), [key], last, path.clip.content))
        boxes: Tensor | None = torch.stack([c.box for c in carried]).to(self.device)
        if rng is not None and rng.random() > _BOX_KEPT:
            boxes = None
        return Question(
            self._of([p.row for p in paths]),
            truth,
            boxes=boxes,
            masks=torch.stack([c.logits for c in carried]).to(self.device),
            evidence=torch.stack([c.evidence for c in carried]).to(self.device),
            kind="track",
        )

    def _path(self, clip: EmbeddedClip, value: int, rng: np.random.Generator) -> Way:
        shown = [
            row
            for row in range(clip.start, clip.stop)
            if (self.data.labels[row] == value).sum() >= _LEAST_PIXELS
        ]
        key = int(rng.choice(shown))
        others = [row for row in range(clip.start, clip.stop) if row != key]
        row = int(rng.choice(others))
        step = 1 if row > key else -1
        # Where it was found last: the frame before, if it was there.
        between = [r for r in range(row - step, key, -step) if r in shown]
        last = between[0] if between else key
        return Way(clip, value, key, last, row)

    def _remembered(self, row: int, value: int, rng: np.random.Generator | None) -> Remembered:
        mask = self.data.labels[row] == value
        if rng is not None and rng.random() < 0.6:
            mask = blurred_mask(mask, rng, most=3)
        return remember(self._unit(row), torch.from_numpy(mask).float())

    def _neighbour(self, one: OnRow, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Return the mask of a frame nearby, or of the frame itself."""
        row = one.row + int(rng.choice([-2, -1, 1, 2]))
        row = row if one.clip.start <= row < one.clip.stop else one.row
        mask = self.data.labels[row] == one.value
        result: NDArray[np.bool_] = mask if mask.any() else self.data.labels[one.row] == one.value
        return result

    def _unit(self, row: int) -> Tensor:
        if row not in self._features:
            features = torch.from_numpy(np.array(self.data.features[row]))
            self._features[row] = pooled_features(features).half()
        return self._features[row].float()

    def _of(self, rows: Sequence[int]) -> Tensor:
        return self.data.of(rows).to(self.device, self.dtype)


def _drawn(names: Sequence[str], rng: np.random.Generator) -> str:
    return names[int(rng.integers(len(names)))]


def _tight_box(truth: NDArray[np.bool_]) -> NDArray[np.float32]:
    y0, x0, y1, x1 = bounding_box(truth)
    return np.array([x0, y0, x1 - 1, y1 - 1], dtype=np.float32)
