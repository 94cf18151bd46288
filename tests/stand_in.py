"""`BrightModel` with features that tell bright from dark, as a propagation compares them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from tests.fakes import BrightModel
from torch.nn import functional as F

from napari_medsam2.models.base import Embedding

_SIDE = 256


@dataclass(frozen=True, eq=False)
class BrightEmbedding(Embedding):
    """Features on the network's square, and the frame itself for the decoder."""

    image: np.ndarray = field(default_factory=lambda: np.zeros(0), repr=False)


class StandIn(BrightModel):
    """Brightness above 127 inside the boxes, on every frame of a propagation too."""

    key = "stand-in-1"

    def embed(self, frame: np.ndarray) -> Embedding:
        grey = np.ascontiguousarray(frame if frame.ndim == 2 else frame.mean(axis=-1), np.float32)
        height, width = (round(n * _SIDE / max(grey.shape)) for n in grey.shape)
        bright = torch.from_numpy((grey > 127).astype(np.float32))[None, None]
        scaled = F.interpolate(bright, size=(height, width), mode="nearest")
        padded = F.pad(scaled, (0, _SIDE - width, 0, _SIDE - height))[0]
        return BrightEmbedding(torch.cat([padded, 1 - padded]), grey.shape, grey)

    def decode(self, embedding: Any, prompts: list[Any]) -> list[Any]:
        features = torch.from_numpy(embedding.image)[None]
        return super().decode(Embedding(features, embedding.shape), prompts)
