"""A model without a network, for tests of what happens around a model.

It segments what is brighter than 127 inside a box, so that the right answer on a synthetic image is
known without running anything. Propagation compares features in 32 x 32 cells: on images of 64
pixels, objects with even borders are found to the pixel.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from napari_medsam2.errors import PromptError
from napari_medsam2.models.base import Embedding, FramePrompt, Prediction


@dataclass(frozen=True, eq=False)
class Seen(Embedding):
    """An embedding that keeps the frame; its two features say bright or dark for each pixel."""

    image: np.ndarray = field(kw_only=True)


class BrightModel:
    """Brightness above 127 inside the boxes; counts what it is asked."""

    name = "bright"
    key = "bright-1"
    answers_key = "bright-1"

    def __init__(self) -> None:
        self.embedded: list[float] = []
        self.decoded = 0

    def check(self, prompt: FramePrompt) -> None:
        if not prompt.boxes:
            raise PromptError(f"object {prompt.object_id}, frame {prompt.frame}: needs a box")

    def embed(self, frame: np.ndarray) -> Embedding:
        grey = frame if frame.ndim == 2 else frame.mean(axis=-1)
        self.embedded.append(float(grey.sum()))
        side = max(grey.shape)
        features = np.zeros((2, side, side), np.float32)
        features[0, : grey.shape[0], : grey.shape[1]] = grey > 127
        features[1, : grey.shape[0], : grey.shape[1]] = grey <= 127
        return Seen(torch.from_numpy(features), grey.shape, image=grey)

    def decode(self, embedding: Embedding, prompts: list[FramePrompt]) -> list[Prediction]:
        image = embedding.image
        predictions = []
        for prompt in prompts:
            self.check(prompt)
            self.decoded += 1
            inside = np.zeros(image.shape, dtype=bool)
            for y0, x0, y1, x1 in prompt.boxes:
                inside[int(y0) : int(np.ceil(y1)), int(x0) : int(np.ceil(x1))] = True
            logits = np.where(inside, (image - 127.0) / 12.8, -10.0).astype(np.float32)
            predictions.append(Prediction(logits, 0.9))
        return predictions
