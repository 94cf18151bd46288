"""The frames of a box chain, kept so that the next propagation need not decode them again.

What a chain finds on a frame depends on the prompts of its conditioning frame, the frames between
and the model, and on nothing else: not on other objects, nor on prompts farther on. So it goes into
the cache under these.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from napari_medsam2.masks import bounding_box
from napari_medsam2.models.base import Prediction

from .chain import BoxChain
from .sweeps import digest

if TYPE_CHECKING:
    from collections.abc import Hashable

    from numpy.typing import NDArray

    from napari_medsam2.models.base import Embedding, FramePrompt

    from .embeddings import FrameEncoder

__all__ = ["Link", "Way", "find_start", "keep_start"]

# Logits below do not change with a mask or with how sure it is; they need not be kept.
_LEAST_LOGIT = -2.0
_OUTSIDE = -10.0
_OVERHEAD = 256  # bytes of a link without a mask

_Box = tuple[float, float, float, float]


@dataclass(frozen=True, eq=False)
class Link:
    """What was found of an object on one frame.

    Attributes
    ----------
    shape : (height, width)
        Of the frame.
    bbox : (y0, x0, y1, x1)
        Where the logits are; outside they are low.
    logits : ndarray of float32 or None
        None where the object was not found.
    predicted_iou : float
    object_score : float or None
    box : (y0, x0, y1, x1) or None
        Where the chain stands, None on its conditioning frame.
    """

    shape: tuple[int, int] = (0, 0)
    bbox: tuple[int, int, int, int] = (0, 0, 0, 0)
    logits: NDArray[np.float32] | None = field(default=None, repr=False)
    predicted_iou: float = 0.0
    object_score: float | None = None
    box: _Box | None = None

    @classmethod
    def of(cls, prediction: Prediction, box: _Box | None = None) -> Link:
        """Keep what matters of a prediction."""
        logits = prediction.logits
        y0, x0, y1, x1 = bbox = bounding_box(logits > _LEAST_LOGIT)
        height, width = logits.shape
        return cls(
            (height, width),
            bbox,
            logits[y0:y1, x0:x1].copy(),
            prediction.predicted_iou,
            prediction.object_score,
            box,
        )

    @property
    def prediction(self) -> Prediction | None:
        """The prediction, with the same mask and the same confidence."""
        if self.logits is None:
            return None
        whole = np.full(self.shape, _OUTSIDE, dtype=np.float32)
        y0, x0, y1, x1 = self.bbox
        whole[y0:y1, x0:x1] = self.logits
        return Prediction(whole, self.predicted_iou, self.object_score)

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return _OVERHEAD + (0 if self.logits is None else self.logits.nbytes)


class Way:
    """An object's way from one conditioning frame in one direction: what is known, then the chain.

    For each next frame ask `known`; if that is None, `next_prompt`, and hand what is decoded to
    `accept`.

    Parameters
    ----------
    encoder : FrameEncoder
    prompt : FramePrompt
        All that was said on the conditioning frame.
    step : {1, -1}
    prediction : Prediction
        The model's answer to the prompt.
    embedding : Embedding, optional
        Of the conditioning frame, if it is at hand.
    patience : int
        See `BoxChain`.
    """

    def __init__(
        self,
        encoder: FrameEncoder,
        prompt: FramePrompt,
        step: int,
        prediction: Prediction,
        embedding: Embedding | None = None,
        patience: int = 1,
    ) -> None:
        self._encoder = encoder
        self._prompt = prompt
        self._origin: Hashable = (digest(prompt), step)
        self._start = prediction
        self._patience = patience
        # The last frame that showed the object, and how many did not since.
        self._seen: tuple[int, Link] | None = None
        self._missed = 0 if prediction.mask.any() else patience
        self._chain = None if embedding is None else self._new_chain(embedding)

    @property
    def ended(self) -> bool:
        """Whether the object has ended: no further frame is looked at."""
        return self._missed >= self._patience

    def known(self, frame: int) -> Link | None:
        """Return what was found on the next frame before, None if it is to be found now."""
        link = self._encoder.cache.get(self._key(frame))
        if not isinstance(link, Link):
            return None
        self._take(frame, link)
        self._chain = None
        return link

    def next_prompt(self, frame: int, embedding: Embedding) -> FramePrompt | None:
        """Return what to decode on the next frame, None where the object cannot be."""
        if self._chain is None:
            self._chain = self._chain_so_far()
        prompt = self._chain.next_prompt(frame, embedding)
        if prompt is None:
            self._keep(frame, Link())
        return prompt

    def accept(self, frame: int, prediction: Prediction, embedding: Embedding) -> Prediction | None:
        """Return what to keep of an answer, None where the object is not on the frame."""
        assert self._chain is not None
        kept = self._chain.accept(frame, prediction, embedding)
        self._keep(frame, Link() if kept is None else Link.of(kept, self._chain.box))
        return kept

    def _new_chain(self, embedding: Embedding) -> BoxChain:
        object_id, frame = self._prompt.object_id, self._prompt.frame
        return BoxChain(object_id, frame, self._start, embedding, patience=self._patience)

    def _chain_so_far(self) -> BoxChain:
        chain = self._new_chain(self._encoder(self._prompt.frame))
        if self._seen is not None:
            frame, link = self._seen
            prediction = link.prediction
            assert prediction is not None
            assert link.box is not None
            chain.go_on(prediction.mask, link.box, self._encoder(frame), self._missed)
        return chain

    def _keep(self, frame: int, link: Link) -> None:
        self._encoder.cache.put(self._key(frame), link)
        self._take(frame, link)

    def _take(self, frame: int, link: Link) -> None:
        if link.logits is None:
            self._missed += 1
        else:
            self._seen, self._missed = (frame, link), 0

    def _key(self, frame: int) -> Hashable:
        return (self._encoder.key(frame), self._encoder.model.answers_key, "chain", self._origin)


def find_start(encoder: FrameEncoder, prompt: FramePrompt) -> Prediction | None:
    """Return what the model said to a prompt before, None if it is to be asked."""
    link = encoder.cache.get(_start_key(encoder, prompt))
    return link.prediction if isinstance(link, Link) else None


def keep_start(encoder: FrameEncoder, prompt: FramePrompt, prediction: Prediction) -> None:
    """Keep what the model says to a prompt."""
    encoder.cache.put(_start_key(encoder, prompt), Link.of(prediction))


def _start_key(encoder: FrameEncoder, prompt: FramePrompt) -> Hashable:
    return (encoder.key(prompt.frame), encoder.model.answers_key, "start", digest(prompt))
