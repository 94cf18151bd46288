"""What every model offers: embed a frame once, decode prompts against the embedding.

Coordinates that come in are the array's, (y, x) in pixels of the frame; the (x, y) and the input
size that a network wants stay inside its module.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import torch
    from numpy.typing import NDArray

__all__ = ["Embedding", "FramePrompt", "Prediction", "Segmenter"]

Box = tuple[float, float, float, float]
YX = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Embedding:
    """What the image encoder says of one frame.

    Attributes
    ----------
    features : torch.Tensor
        (channels, rows, columns), on the CPU or the model's device.
    shape : (height, width)
        Of the frame in pixels.
    details : tuple of torch.Tensor
        Finer features, (channels, rows, columns) each, finest first, for models that have them.
    """

    features: torch.Tensor = field(repr=False)
    shape: tuple[int, int]
    details: tuple[torch.Tensor, ...] = field(default=(), repr=False)

    @property
    def nbytes(self) -> int:
        """Memory held by all features."""
        return sum(int(t.element_size() * t.numel()) for t in (self.features, *self.details))


@dataclass(frozen=True, eq=False)
class FramePrompt:
    """All that was said of one object on one frame, in the terms of a network.

    Attributes
    ----------
    object_id, frame : int
        For messages.
    boxes : tuple of (y0, x0, y1, x1)
        Half-open. Several boxes are several parts of the object: their masks are united.
    points : tuple of (y, x)
    labels : tuple of int
        1 positive, 0 negative, one for each point.
    mask : ndarray of bool, optional
        (y, x) of the frame.
    """

    object_id: int
    frame: int
    boxes: tuple[Box, ...] = ()
    points: tuple[YX, ...] = ()
    labels: tuple[int, ...] = ()
    mask: NDArray[np.bool_] | None = field(default=None, repr=False)


@dataclass(frozen=True, eq=False)
class Prediction:
    """A model's answer for one object on one frame.

    Attributes
    ----------
    logits : ndarray of float32
        (y, x) of the frame; above 0 is inside.
    predicted_iou : float
        The overlap that the model expects of its own mask.
    object_score : float or None
        Logit of the object being on the frame at all, for models that tell.
    """

    logits: NDArray[np.float32] = field(repr=False)
    predicted_iou: float
    object_score: float | None = None

    @property
    def mask(self) -> NDArray[np.bool_]:
        """(y, x) of bool: where the logits are above 0."""
        mask: NDArray[np.bool_] = self.logits > 0
        return mask


class Segmenter(Protocol):
    """A promptable model.

    Attributes
    ----------
    name : str
        Its name in the catalogue.
    key : str
        Identifies weights and numerical form: embeddings of equal keys are interchangeable.
    """

    @property
    def name(self) -> str:
        """Name in the catalogue."""

    @property
    def key(self) -> str:
        """Identity of weights and numerical form, for embedding caches."""

    def check(self, prompt: FramePrompt) -> None:
        """Raise `PromptError` for a prompt that the model cannot honour."""

    def embed(self, frame: NDArray[np.float32]) -> Embedding:
        """Encode one frame.

        Parameters
        ----------
        frame : ndarray of float32
            (y, x) or (y, x, 3), windowed to 0..255.
        """

    def decode(self, embedding: Embedding, prompts: Sequence[FramePrompt]) -> list[Prediction]:
        """Segment objects on one embedded frame, one prediction a prompt, in order."""
