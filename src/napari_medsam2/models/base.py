"""What every model offers: embed a frame once, decode prompts against the embedding.

Coordinates that come in are the array's, (y, x) in pixels of the frame; the (x, y) and the input
size that a network wants stay inside its module.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeGuard

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch
    from numpy.typing import NDArray

__all__ = [
    "Embedding",
    "FramePrompt",
    "MemoryRules",
    "MemorySegmenter",
    "Prediction",
    "Recalled",
    "Segmenter",
    "Trace",
    "given",
    "has_memory",
    "input_side",
]

_GIVEN = 10.0
"""Logit of the pixels of a mask that a person has given, negative outside; as SAM 2 has it."""

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
    strokes : tuple of int
        One for each point: the number of the scribble, from 1, that it is part of; 0 for a click.
        Empty: all are clicks.
    refines : bool
        Whether it corrects what was tracked on the frame, instead of saying what the object is.
    """

    object_id: int
    frame: int
    boxes: tuple[Box, ...] = ()
    points: tuple[YX, ...] = ()
    labels: tuple[int, ...] = ()
    mask: NDArray[np.bool_] | None = field(default=None, repr=False)
    refines: bool = False
    strokes: tuple[int, ...] = ()

    @property
    def is_mask(self) -> bool:
        """Whether a mask was given and nothing that would change it."""
        return self.mask is not None and not self.boxes and not self.points


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


def given(prompt: FramePrompt) -> Prediction:
    """Return a mask that was given as the prediction: what a person has drawn is what they get.

    SAM 2 answers with the mask at a quarter of its resolution, whose corners are round.
    """
    assert prompt.mask is not None
    return Prediction(np.where(prompt.mask, _GIVEN, -_GIVEN).astype(np.float32), 1.0, _GIVEN)


class Segmenter(Protocol):
    """A promptable model.

    Attributes
    ----------
    name : str
        Its name in the catalogue.
    key : str
        Identifies the image encoder's weights and numerical form: embeddings of equal keys are
        interchangeable.
    answers_key : str
        Identifies all that answers depend on: the same, and the weights of what decodes.
    """

    @property
    def name(self) -> str:
        """Name in the catalogue."""

    @property
    def key(self) -> str:
        """Identity of the encoder's weights and numerical form, for embedding caches."""

    @property
    def answers_key(self) -> str:
        """Identity of all weights and numerical forms, for answers that are kept."""

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


@dataclass(frozen=True)
class MemoryRules:
    """How much of the past a model with memory looks at; fixed by how it was trained.

    Attributes
    ----------
    memories : int
        Mask memories at most: one slot for conditioning frames, the others for frames before.
    pointers : int
        Object pointers at most, that of the frame itself included.
    stride : int
        Distance in frames of the mask memories but the nearest one.
    max_conditioning : int
        Conditioning frames that are looked at; -1 is all.
    past_pointers_only : bool
        Whether pointers of conditioning frames that are still to come are left out.
    signed_distance : bool
        Whether such a pointer counts as a negative distance.
    ends_after : (int, int) or None
        On how many frames in a row, through space and through time, an object must not be seen to
        count as gone for good: no further frame is looked at. A body ends once, while what moves
        may come back. None: never.
    """

    memories: int = 7
    pointers: int = 16
    stride: int = 1
    max_conditioning: int = -1
    past_pointers_only: bool = True
    signed_distance: bool = True
    ends_after: tuple[int, int] | None = None


@dataclass(frozen=True, eq=False)
class Trace:
    """What a model with memory says of one object on one frame, and keeps of it.

    Attributes
    ----------
    logits : torch.Tensor
        (rows, columns) at the resolution of the network's masks; above 0 is inside.
    predicted_iou, object_score : float
        As in `Prediction`.
    pointer : torch.Tensor
        (channels,), the object in one vector.
    memory : torch.Tensor
        (channels, rows, columns), the mask and what is seen there, for later frames.
    """

    logits: torch.Tensor = field(repr=False)
    predicted_iou: float
    object_score: float
    pointer: torch.Tensor = field(repr=False)
    memory: torch.Tensor = field(repr=False)

    @property
    def is_present(self) -> bool:
        """Whether the model sees the object on the frame."""
        return self.object_score > 0

    @property
    def nbytes(self) -> int:
        """Memory held."""
        tensors = (self.logits, self.pointer, self.memory)
        return sum(int(t.element_size() * t.numel()) for t in tensors)


@dataclass(frozen=True, eq=False)
class Recalled:
    """What a memory bank gives of an object's past for one frame.

    Attributes
    ----------
    memories : tuple of (int, torch.Tensor)
        Slot and memory: slot 0 for conditioning frames, 1 for the farthest of the others, up to
        ``rules.memories - 1`` for the nearest.
    pointers : tuple of (int, torch.Tensor)
        Distance in frames and pointer.
    longest : int
        The distance that counts as one.
    """

    memories: tuple[tuple[int, torch.Tensor], ...] = field(repr=False)
    pointers: tuple[tuple[int, torch.Tensor], ...] = field(repr=False)
    longest: int = 15


class MemorySegmenter(Segmenter, Protocol):
    """A model that carries objects from frame to frame by what it remembers of them."""

    @property
    def rules(self) -> MemoryRules:
        """How much of the past it looks at."""

    def begin(self, embedding: Embedding, prompts: Sequence[FramePrompt]) -> list[Trace]:
        """Segment prompted objects on one frame without a past, and remember them."""

    def track(self, embedding: Embedding, recalled: Sequence[Recalled]) -> list[Trace]:
        """Find objects on one frame by their past alone, one trace for each, in order."""

    def correct(
        self, embedding: Embedding, prompt: FramePrompt, recalled: Recalled, previous: Trace
    ) -> Trace:
        """Refine what was tracked on a frame by points, knowing the object's past."""

    def predict(self, trace: Trace, shape: tuple[int, int]) -> Prediction:
        """Return a trace's mask at the size of the frame."""


def has_memory(model: Segmenter) -> TypeGuard[MemorySegmenter]:
    """Whether a model is a `MemorySegmenter`."""
    return hasattr(model, "track")


def input_side(model: Segmenter) -> int | None:
    """Return the side of the network's input in pixels, None for a model that does not tell."""
    side: int | None = getattr(model, "image_size", None)
    return side
