"""LiteMedSAM-track: LiteMedSAM's encoder and boxes, with clicks, masks and tracking learnt on top.

A box is answered by LiteMedSAM itself. Points, masks and corrections go to a decoder that was
trained further (`training.litetrack`; docs/training.md has the runs), answer after answer as in
training: each click is asked together with the mask that came before it. From frame to frame an
object is carried by how alike the encoder's features are (`litetrack_carry`); the carried labels
and a box are what the decoders see of the past, and a learned score tells whether the object is
still there.
"""

from __future__ import annotations

import weakref
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from napari_medsam2.errors import InputError, PromptError

from .base import Embedding, FramePrompt, MemoryRules, Prediction, Recalled, Trace, given
from .catalogue import get
from .checkpoints import file_sha256, load_state, load_strict
from .device import device_errors
from .litemedsam import IMAGE_SIZE, LiteMedSAM, network_boxes, to_frame
from .litetrack_carry import CarriedPrompt, Remembered, box_of, carry, contrast_left, remember
from .litetrack_memory import Past, packed
from .litetrack_network import ObjectHead, PromptNetwork
from .matching import content, to_square, unit_features
from .sam_decoder import fast_mask_decoder
from .stopping import Evidence, StopRule, moved, overlap
from .strokes import Stroke, in_turn

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from .catalogue import ModelCard
    from .device import Device
    from .sam_batch_decoder import BatchMaskDecoder
    from .sam_decoder import FastMaskDecoder

__all__ = ["LiteTrack"]

_Clicks = tuple[tuple[tuple[float, float], int], ...]
"""Points (y, x) with their labels, in the order they are asked."""

_BASE = "litemedsam"
# Three frames are remembered besides the prompted ones: what comes back within a movie is found
# where it was seen last.
_RULES = MemoryRules(
    memories=4,
    pointers=4,
    max_conditioning=4,
    past_pointers_only=False,
    signed_distance=True,
    ends_after=(1, 3),
)
# When a mask that was found is no longer the object, whatever the learned score says.
_STOP = StopRule()
# Training had up to six clicks. Of more than five, the latest three are asked with the mask that
# the others have made: all of them together would make it worse again (docs/training.md).
_TOGETHER, _LATER = 5, 3
# Clicks that a scribble may become, one after the other where the mask still disagrees with it.
_MOST_OF_STROKE = 3
_PROMPT_LOGIT = 8.0
_MOST_LOGIT = 10.0
_SURE = 10.0
# A part that is new and smaller than this share of the largest one is no part of the object.
_LEAST_PART = 0.25


@dataclass(eq=False)
class _Recent:
    """The answers to the clicks on the frame that was asked last.

    Another click asks the network once, not once for each click before it.
    """

    embedding: weakref.ref[Embedding] | None = None
    answers: dict[Any, _Answer] = field(default_factory=dict)

    def of(self, embedding: Embedding) -> dict[Any, _Answer]:
        if self.embedding is None or self.embedding() is not embedding:
            self.embedding, self.answers = weakref.ref(embedding), {}
        return self.answers


@dataclass(frozen=True, eq=False)
class _Answer:
    """Logits (256, 256) of the square, expected IoU, logit of the object being there."""

    logits: Tensor = field(repr=False)
    predicted_iou: float
    object_score: float


@dataclass(frozen=True, eq=False)
class LiteTrack:
    """LiteMedSAM-track behind the `MemorySegmenter` protocol of `models.base`.

    Use `load` or `of`; the fields are what they prepared.
    """

    name: str
    key: str
    answers_key: str
    device: Device
    base: LiteMedSAM = field(repr=False)
    _prompt_encoder: Any = field(repr=False)
    _mask_decoder: FastMaskDecoder | BatchMaskDecoder = field(repr=False)
    _object_head: ObjectHead = field(repr=False)
    rules: MemoryRules = _RULES
    rule: StopRule = _STOP
    _recent: _Recent = field(default_factory=_Recent, repr=False)

    @classmethod
    def load(
        cls,
        card: ModelCard,
        device: Device,
        *,
        checkpoint: Path | None = None,
        precision: str = "auto",
        image_size: int | None = None,
        compiled: bool = False,
    ) -> LiteTrack:
        """Build the network and load its weights; see `models.build`."""
        if image_size not in (None, IMAGE_SIZE):
            raise InputError(f"{card.name}: works at {IMAGE_SIZE} pixels only, not {image_size}")
        base = LiteMedSAM.load(get(_BASE), device, precision=precision, compiled=compiled)
        path = card.verify() if checkpoint is None else checkpoint
        network = new_network()
        load_strict(network, load_state(path), path, card.name)
        digest = card.sha256 if checkpoint is None and card.sha256 else file_sha256(path)
        return cls.of(network, base, name=card.name, digest=digest)

    @classmethod
    def of(
        cls, network: PromptNetwork, base: LiteMedSAM, *, name: str = "litetrack", digest: str = ""
    ) -> LiteTrack:
        """Wrap a network that has its weights; it is copied.

        Parameters
        ----------
        network : PromptNetwork
        base : LiteMedSAM
            Lends its encoder, and answers boxes.
        name, digest : str
            Of the model, and of its weights.
        """
        device = base.device
        own = PromptNetwork(network.prompt_encoder, network.mask_decoder)
        own.object_head.load_state_dict(network.object_head.state_dict())
        own = own.to(device.torch).eval().requires_grad_(False)
        return cls(
            name=name,
            key=base.key,
            answers_key=f"{base.key} litetrack-{digest[:16]}",
            device=device,
            base=base,
            _prompt_encoder=own.prompt_encoder,
            _mask_decoder=fast_mask_decoder(own.mask_decoder, own.position, device.torch),
            _object_head=own.object_head,
        )

    @property
    def image_size(self) -> int:
        """Side of the network's input in pixels."""
        return IMAGE_SIZE

    def check(self, prompt: FramePrompt) -> None:
        """Refuse a frame where an object was told to be nowhere: negative clicks alone."""
        nothing_positive = not prompt.boxes and prompt.mask is None and 1 not in prompt.labels
        if nothing_positive and not prompt.refines:
            raise PromptError(
                f"object {prompt.object_id}, frame {prompt.frame}: negative points alone say what "
                "the object is not; add a box, a mask or a positive point on the object, or "
                "propagate to this frame first"
            )

    def embed(self, frame: NDArray[np.float32]) -> Embedding:
        """Encode one frame of (y, x) or (y, x, 3), windowed to 0..255."""
        return self.base.embed(frame)

    def decode(self, embedding: Embedding, prompts: Sequence[FramePrompt]) -> list[Prediction]:
        """Segment objects on one frame, without regard to any other."""
        answers = iter(self._answers(embedding, [p for p in prompts if not p.is_mask]))
        return [
            given(prompt) if prompt.is_mask else self._predicted(next(answers), embedding.shape)
            for prompt in prompts
        ]

    def begin(self, embedding: Embedding, prompts: Sequence[FramePrompt]) -> list[Trace]:
        """Segment prompted objects on one frame without a past, and remember them."""
        answers = self._answers(embedding, prompts)
        return [self._trace(embedding, answer) for answer in answers]

    def track(self, embedding: Embedding, recalled: Sequence[Recalled]) -> list[Trace]:
        """Find objects on one frame by their past alone, one trace for each, in order."""
        with torch.inference_mode(), device_errors(self.device):
            pasts = [Past.of(one, self.rules) for one in recalled]
            features = unit_features(embedding)
            shape = content(embedding.shape)
            carried: list[CarriedPrompt | None] = [
                None
                if past.last is None
                else carry(features, past.keys, past.last, shape, reach=past.reach)
                for past in pasts
            ]
            there = [prompt for prompt in carried if prompt is not None]
            answers = iter(self._track(embedding, there))
            traces = []
            for past, prompt in zip(pasts, carried, strict=True):
                answer = self._nothing() if prompt is None else next(answers)
                if prompt is not None and past.last is not None:
                    answer = _without_strays(answer, past.last)
                    if self._is_gone(features, answer, prompt, past, shape):
                        answer = replace(answer, object_score=min(answer.object_score, -_SURE))
                traces.append(self._trace(embedding, answer))
        return traces

    def correct(
        self, embedding: Embedding, prompt: FramePrompt, recalled: Recalled, previous: Trace
    ) -> Trace:
        """Refine what was tracked on a frame by points, beginning with the tracked mask."""
        del recalled  # what the past says is in the tracked mask
        if prompt.mask is not None or prompt.boxes:
            return self.begin(embedding, [prompt])[0]
        with torch.inference_mode(), device_errors(self.device):
            before = previous.logits.to(self.device.torch).float()
            shows = bool((before > 0).any())
            start = _Answer(before, previous.predicted_iou, previous.object_score)
            key = ("tracked", id(previous))
            answer = self._clicked(embedding, prompt, start if shows else None, key)
            return self._trace(embedding, answer)

    def predict(self, trace: Trace, shape: tuple[int, int]) -> Prediction:
        """Return a trace's mask at the size of the frame."""
        return Prediction(to_frame(trace.logits, shape), trace.predicted_iou, trace.object_score)

    # Prompts

    def _answers(self, embedding: Embedding, prompts: Sequence[FramePrompt]) -> list[_Answer]:
        """Answer prompts: boxes alone by LiteMedSAM, all together, others one by one."""
        for prompt in prompts:
            self.check(prompt)
        with torch.inference_mode(), device_errors(self.device):
            boxed = [p for p in prompts if p.boxes and not p.points and p.mask is None]
            found = iter(self._boxed(embedding, boxed))
            return [
                next(found) if any(prompt is p for p in boxed) else self._one(embedding, prompt)
                for prompt in prompts
            ]

    def _boxed(self, embedding: Embedding, prompts: Sequence[FramePrompt]) -> list[_Answer]:
        if not prompts:
            return []
        return [
            _Answer(answer.logits, answer.predicted_iou, _SURE)
            for answer in self.base.answer(embedding, prompts)
        ]

    def _one(self, embedding: Embedding, prompt: FramePrompt) -> _Answer:
        start = None
        if prompt.mask is not None:
            start = _Answer(self._given(prompt.mask), 1.0, _SURE)
        if prompt.boxes:
            alone = replace(prompt, points=(), labels=(), strokes=(), mask=None)
            boxed = self._boxed(embedding, [alone])[0]
            # A box and a mask: both say where the object is.
            both = boxed.logits if start is None else torch.maximum(boxed.logits, start.logits)
            start = replace(boxed, logits=both)
        if start is not None and not prompt.points:
            return start
        mask = None if prompt.mask is None else prompt.mask.tobytes()
        return self._clicked(embedding, prompt, start, key=(prompt.boxes, mask))

    def _clicked(
        self, embedding: Embedding, prompt: FramePrompt, start: _Answer | None, key: object
    ) -> _Answer:
        """Take click after click, each with the mask that came before it."""
        known = self._recent.of(embedding)
        box = prompt.boxes[0] if len(prompt.boxes) == 1 else None
        answer = start
        clicks: _Clicks = ()

        def ask(point: tuple[float, float], label: int) -> None:
            nonlocal answer, clicks
            clicks = (*clicks, (point, label))
            if (key, clicks) not in known:
                before = None if answer is None else answer.logits
                known[key, clicks] = self._click(embedding, clicks, box, before)
            answer = known[key, clicks]

        for said in in_turn(prompt):
            if not isinstance(said, Stroke):
                ask(*said)
                continue
            for _ in range(_MOST_OF_STROKE):
                before = None if answer is None else answer.logits
                disputed = said.point_of_dispute(before, IMAGE_SIZE / max(embedding.shape))
                if disputed is None:
                    break
                ask(disputed, said.label)
        return self._nothing() if answer is None else answer

    def _click(
        self,
        embedding: Embedding,
        clicks: _Clicks,
        box: tuple[float, float, float, float] | None,
        before: Tensor | None,
    ) -> _Answer:
        device, shape = self.device.torch, embedding.shape
        scale = np.float32(IMAGE_SIZE / max(shape))
        points, said = zip(*clicks[0 if len(clicks) <= _TOGETHER else -_LATER :], strict=True)
        xy = np.array([points], dtype=np.float32)[..., ::-1] * scale
        labels = np.array([said])
        boxes = None
        if box is not None:
            boxes = torch.from_numpy(network_boxes([box], shape) * scale).to(device)
        sparse, dense = self._prompt_encoder(
            (torch.from_numpy(xy.copy()).to(device), torch.from_numpy(labels).to(device)),
            boxes,
            None if before is None else before[None, None].clamp(-_MOST_LOGIT, _MOST_LOGIT),
        )
        dense = dense if before is not None else self._prompt_encoder.no_mask_embed.weight[0]
        return self._decoded(embedding, sparse, dense, None)[0]

    def _decoded(
        self, embedding: Embedding, sparse: Tensor, dense: Tensor, evidence: Tensor | None
    ) -> list[_Answer]:
        features = embedding.features.to(self.device.torch)[None]
        logits, ious, tokens = self._mask_decoder.answer(features, sparse, dense)
        scores = self._object_head(tokens, evidence)
        return [_Answer(*one) for one in zip(logits, ious.tolist(), scores.tolist(), strict=True)]

    def _given(self, mask: NDArray[np.bool_]) -> Tensor:
        """Return the prompt that a mask of a frame is."""
        return (to_square(mask, self.device.torch) * 2 - 1) * _PROMPT_LOGIT

    # Tracking

    def _track(self, embedding: Embedding, carried: Sequence[CarriedPrompt]) -> list[_Answer]:
        """Decode carried objects by their rough masks and boxes."""
        if not carried:
            return []
        device = self.device.torch
        boxes = torch.stack([c.box for c in carried]).to(device)
        rough = torch.stack([c.logits for c in carried])[:, None].to(device)
        evidence = torch.stack([c.evidence for c in carried]).to(device)
        sparse, dense = self._prompt_encoder(None, boxes, rough)
        return self._decoded(embedding, sparse, dense, evidence)

    def _is_gone(
        self,
        features: Tensor,
        answer: _Answer,
        prompt: CarriedPrompt,
        past: Past,
        shape: tuple[int, int],
    ) -> bool:
        """Whether the mask looks or lies so unlike the object that the object must have ended.

        The rule of the box chain, which holds where the learned score has never seen the like.
        """
        assert past.last is not None
        height, width = shape
        mask = torch.zeros_like(answer.logits)
        mask[:height, :width] = (answer.logits[:height, :width] > 0).float()
        if not bool(mask.any()):
            return True
        found = remember(features, mask)
        now, before = (np.asarray((m.mask >= 0.5).cpu()) for m in (found, past.last))
        if not now.any():
            return False  # thinner than what is remembered: nothing to compare
        step = len(now) / IMAGE_SIZE
        shifted = moved(before, *(by * step for by in prompt.motion))
        evidence = Evidence(
            contrast=contrast_left(features, found.cells, past.keys, shape),
            overlap=overlap(shifted, now),
            overlap_in_place=overlap(before, now),
        )
        return self.rule.ended(evidence)

    def _nothing(self) -> _Answer:
        logits = torch.full((IMAGE_SIZE, IMAGE_SIZE), -_MOST_LOGIT, device=self.device.torch)
        return _Answer(logits, 0.0, -_SURE)

    def _trace(self, embedding: Embedding, answer: _Answer) -> Trace:
        """Remember an answer; an empty mask is an object that is not there."""
        with torch.inference_mode():
            height, width = content(embedding.shape)
            mask = torch.zeros_like(answer.logits)
            mask[:height, :width] = (answer.logits[:height, :width] > 0).float()
            shows = bool(mask.any())
            score = answer.object_score if shows else min(answer.object_score, -_SURE)
            if score <= 0:
                mask.zero_()
            past = remember(unit_features(embedding), mask)
            return Trace(
                logits=answer.logits.half(),
                predicted_iou=answer.predicted_iou,
                object_score=score,
                pointer=torch.tensor([score]),
                memory=packed(past),
            )

    def _predicted(self, answer: _Answer, shape: tuple[int, int]) -> Prediction:
        return Prediction(to_frame(answer.logits, shape), answer.predicted_iou, answer.object_score)


def new_network() -> PromptNetwork:
    """Return the network as LiteMedSAM's weights begin it, before anything is learnt.

    What LiteMedSAM has no weights for is drawn at random, always the same.
    """
    from .litemedsam import build_network

    card = get(_BASE)
    base = build_network(card.verify(), card.name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return PromptNetwork(base.prompt_encoder, base.mask_decoder)


def _without_strays(answer: _Answer, last: Remembered) -> _Answer:
    """Drop small parts that touch nothing of the last mask."""
    mask = (answer.logits > 0).cpu().numpy()
    parts, count = ndimage.label(mask)
    if count < 2:
        return answer
    y0, x0, y1, x1 = (round(v) for v in box_of(last.mask))
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    kept = sizes >= _LEAST_PART * sizes[1:].max()
    kept[np.unique(parts[y0:y1, x0:x1])] = True
    kept[0] = True
    strays = torch.from_numpy(~kept[parts]).to(answer.logits.device)
    return replace(answer, logits=answer.logits.masked_fill(strays, -1.0))
