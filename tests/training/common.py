"""Small cases, clips and models for tests of training."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_medsam2.evaluation.dataset import Case
from napari_medsam2.models.base import Embedding
from napari_medsam2.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Mapping

SIDE = 64


def discs(
    n: int = 6, seed: int = 0, absent: int = 2, side: int = SIDE
) -> tuple[np.ndarray, np.ndarray]:
    """Return frames (n, side, side) with a bright moving disc, 1, on all but the last ones."""
    rng = np.random.default_rng(seed)
    yy, xx = np.mgrid[:side, :side]
    y, x = rng.uniform(0.35, 0.65, 2) * side
    dy, dx = rng.uniform(-0.03, 0.03, 2) * side
    radius = rng.uniform(0.15, 0.22) * side
    image = rng.normal(60, 6, (n, side, side))
    labels = np.zeros((n, side, side), np.uint8)
    for t in range(n - absent):
        disc = np.hypot(yy - y - dy * t, xx - x - dx * t) < radius
        image[t][disc] += 120
        labels[t][disc] = 1
    return np.clip(image, 0, 255).astype(np.uint8), labels


def case(
    name: str,
    image: np.ndarray,
    labels: np.ndarray,
    kind: Any = "3d",
    dataset: str = "discs",
    objects: Mapping[int, str] | None = None,
    spacing: tuple[float, float, float] = (5.0, 1.0, 1.0),
    **facts: Any,
) -> Case:
    """Return a case that lies in memory."""
    return Case(
        id=f"{dataset}/{name}",
        dataset=dataset,
        modality="synthetic",
        kind=kind,
        split=facts.pop("split", ""),
        objects=objects or {int(i): "" for i in np.unique(labels) if i},
        loader=partial(_loaded, image, labels, spacing),
        **facts,
    )


def disc_case(name: str, seed: int, n: int = 6, absent: int = 2, **facts: Any) -> Case:
    """Return a case of one disc."""
    return case(name, *discs(n, seed, absent), **facts)


def flat_case(name: str, seed: int, **facts: Any) -> Case:
    """Return a 2D case of one disc."""
    return case(name, *discs(1, seed, absent=0), kind="2d", **facts)


def _loaded(
    image: np.ndarray, labels: np.ndarray, spacing: tuple[float, float, float]
) -> tuple[Volume, np.ndarray]:
    axes = "zyxc" if image.ndim == 4 else "zyx"
    return Volume(image, axes=axes, spacing=spacing), labels


@dataclass(frozen=True, eq=False)
class TinySegmenter:
    """Embeds a frame as its mean brightness in 64 x 64 cells, in some channels."""

    name: str = "tiny"
    key: str = "tiny-1"
    channels: int = 2
    stop_after: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "embedded", [])

    def embed(self, frame: np.ndarray) -> Embedding:
        if self.stop_after is not None and len(self.embedded) >= self.stop_after:
            raise KeyboardInterrupt
        self.embedded.append(float(frame.sum()))
        grey = torch.from_numpy(frame if frame.ndim == 2 else frame.mean(-1))
        square = torch.zeros(1, 1, max(grey.shape), max(grey.shape))
        square[..., : grey.shape[0], : grey.shape[1]] = grey
        cells = torch.nn.functional.interpolate(square, (64, 64), mode="area")[0] / 255
        return Embedding(cells.expand(self.channels, -1, -1).contiguous(), grey.shape)

    def check(self, prompt: Any) -> None:
        raise NotImplementedError

    decode = check


def stopping(model: TinySegmenter, after: int) -> TinySegmenter:
    """Return a model that is interrupted after so many frames."""
    return replace(model, stop_after=after)
