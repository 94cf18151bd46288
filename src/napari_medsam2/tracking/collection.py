"""One prompt for many images: the same kind of object in an unordered set of them.

One-prompt segmentation of Medical SAM 2 (Zhu et al., 2024): one image is prompted, and its memory
shows the model what to look for in the others, whose own memories join the self-sorting bank. Here
the images are taken by similarity to the prompted one, the most similar first, so that the answer
does not depend on the order in which they were given.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from napari_medsam2.errors import InputError, ModelError, PromptError
from napari_medsam2.models.base import has_memory
from napari_medsam2.models.prompting import frame_prompt
from napari_medsam2.prompts import PromptSet, check_prompt
from napari_medsam2.windows import resolve_window

from .confidence import confidence
from .embeddings import FrameEncoder
from .self_sorting import SelfSortingBank, direction

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterator, Sequence

    import numpy as np
    import torch
    from numpy.typing import NDArray

    from napari_medsam2.frames import FrameStack
    from napari_medsam2.models.base import (
        FramePrompt,
        MemorySegmenter,
        Prediction,
        Segmenter,
    )
    from napari_medsam2.prompts import Prompt
    from napari_medsam2.volume import Volume
    from napari_medsam2.windows import Window, WindowChoice

    from .embeddings import EmbeddingCache

__all__ = ["CollectedMask", "collect", "segment_collection"]


@dataclass(frozen=True, eq=False)
class CollectedMask:
    """What was found on one image of a collection.

    Attributes
    ----------
    index : int
        Of the image.
    mask : ndarray of bool
        (y, x) of the image; empty where the object is not on it.
    score : float
        Confidence in [0, 1], nan where the object is not on the image.
    """

    index: int
    mask: NDArray[np.bool_] = field(repr=False)
    score: float


def collect(
    model: MemorySegmenter, encoders: Sequence[FrameEncoder], prompt: FramePrompt
) -> Iterator[CollectedMask]:
    """Segment the same kind of object on every image of a set.

    Parameters
    ----------
    model : MemorySegmenter
    encoders : sequence of FrameEncoder
        One an image, each with a single frame; images may differ in size.
    prompt : FramePrompt
        Its `frame` is the index of the prompted image.

    Yields
    ------
    CollectedMask
        The prompted image first, then the others by their similarity to it.
    """

    def see(index: int) -> torch.Tensor:
        return encoders[index](0).features

    first = prompt.frame
    trace = model.begin(encoders[first](0), [prompt])[0]
    bank = SelfSortingBank(model.rules, see)
    bank.condition(first, trace)
    yield _collected(first, model.predict(trace, encoders[first].stack.shape))
    for index in _by_similarity(see, first, len(encoders)):
        trace = model.track(encoders[index](0), [bank.recall(index)])[0]
        bank.add(index, trace)
        yield _collected(index, model.predict(trace, encoders[index].stack.shape))


def segment_collection(
    volumes: Sequence[Volume],
    prompts: Sequence[Prompt],
    model: Segmenter,
    window: WindowChoice,
    cache: EmbeddingCache,
) -> list[CollectedMask]:
    """Segment the same kind of object on every image of a set, from prompts on one of them.

    Parameters
    ----------
    volumes : sequence of Volume
        Single images, (y, x) with or without colour; they may differ in size.
    prompts : sequence of Prompt
        All on one image, whose index is their `frame`.
    model : Segmenter
    window : str or (low, high)
        Resolved for each image on its own, see `windows.resolve_window`.
    cache : EmbeddingCache

    Returns
    -------
    list of CollectedMask
        One an image, in their order.

    Raises
    ------
    ModelError
        If the model has no memory.
    PromptError, InputError
        For no prompt, prompts on several images, one that does not fit its image, or an image that
        is a volume.
    """
    if not has_memory(model):
        raise ModelError(
            f"{model.name} has no memory, so that it cannot look for what it was shown elsewhere; "
            "choose a model of the SAM 2 family"
        )
    frames = {prompt.frame for prompt in prompts}
    if len(frames) != 1:
        told = ", ".join(map(str, sorted(frames))) or "none"
        raise PromptError(f"prompt exactly one image of the collection (prompted: {told})")
    first = frames.pop()
    stacks = [volume.stack(0) for volume in volumes]
    for index, stack in enumerate(stacks):
        if len(stack) != 1:
            raise InputError(f"image {index} of the collection is a volume of {len(stack)} frames")
    if not 0 <= first < len(stacks):
        raise PromptError(f"there is no image {first} among the {len(stacks)} of the collection")
    for prompt in prompts:
        check_prompt(prompt, len(stacks), stacks[first].shape, 1)
    encoders = [
        _CollectionEncoder(stack, resolve_window(stack, window), model, cache, index)
        for index, stack in enumerate(stacks)
    ]
    entry = PromptSet().add(1, *prompts)[1]
    told_first = frame_prompt(entry, first, stacks[first].shape)
    return sorted(collect(model, encoders, told_first), key=lambda found: found.index)


class _CollectionEncoder(FrameEncoder):
    """The encoder of one image among others that share a cache."""

    def __init__(
        self,
        stack: FrameStack,
        window: Window,
        model: Segmenter,
        cache: EmbeddingCache,
        index: int,
    ) -> None:
        super().__init__(stack, window, model, cache)
        self.index = index
        # Unlike the id of the stack, never the same as that of an image of an earlier collection.
        self._token = object()

    def key(self, frame: int) -> Hashable:
        """Return what the embedding depends on, within one collection."""
        return ("collection", self._token, self.index, super().key(frame))


def _by_similarity(see: Callable[[int], torch.Tensor], first: int, count: int) -> list[int]:
    """Return the other images, those most similar to the prompted one first."""
    wanted = direction(see(first))
    alike = {i: float(direction(see(i)) @ wanted) for i in range(count) if i != first}
    return sorted(alike, key=lambda i: (-alike[i], i))


def _collected(index: int, prediction: Prediction) -> CollectedMask:
    mask = prediction.mask
    return CollectedMask(index, mask, confidence(prediction) if mask.any() else float("nan"))
