"""SAM 2, SAM 2.1 and MedSAM2, built on SAM 2's own base class but not on its predictors.

Ravi et al., "SAM 2: Segment Anything in Images and Videos" (2024); Ma et al., "MedSAM2: Segment
Anything in 3D Medical Images and Videos" (2025). The reference predictor reads folders of JPEG and
keeps every frame; here a frame is an array, and what a frame needs of the past is handed in.

As its builder does for videos, a mask is taken from three if the single one is unstable, and masks
that a person prompted are remembered as they are seen: in or out.
"""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F

from napari_medsam2.errors import CheckpointError, InputError, PromptError

from .base import Embedding, FramePrompt, MemoryRules, Prediction, Recalled, Trace, given
from .checkpoints import file_sha256, load_state, load_strict
from .device import device_errors, in_batches
from .sam2_config import build_network, config_key
from .sam2_network import Answer, Network, floats, traces
from .sam2_prompts import mask_input, point_inputs, preprocess
from .tinyvit import best_precision

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

    from .catalogue import ModelCard
    from .device import Device
    from .tinyvit import Precision

__all__ = ["SAM2", "auto_precision"]

_COARSEST = 32
"""Stride of the image encoder's last stage: inputs are multiples of it."""
_SIZES = (128, 2048)


@dataclass(frozen=True, eq=False)
class SAM2:
    """A model of the SAM 2 family behind the protocol of `models.base`.

    Use `load`; the fields are what it prepared.
    """

    name: str
    key: str
    precision: Precision
    device: Device
    rules: MemoryRules
    _network: Network = field(repr=False)

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
    ) -> SAM2:
        """Build the network and load its weights; see `models.build`."""
        size = _checked_size(card.name, image_size or card.image_size)
        assert card.config is not None
        net = build_network(card.config, size)
        if checkpoint is None and not card.has_weights:
            raise CheckpointError(
                f"{card.name}: a config has no weights of its own; give them as checkpoint"
            )
        path = card.verify() if checkpoint is None else checkpoint
        load_strict(net, load_state(path), path, card.name)
        digest = card.sha256 if checkpoint is None and card.sha256 else file_sha256(path)
        wanted = auto_precision(device.torch) if precision == "auto" else precision
        chosen = cast("Precision", wanted)
        digest = hashlib.sha256(f"{digest} {config_key(card.config)}".encode()).hexdigest()
        model = cls.of(net, device, chosen, name=card.name, digest=digest, compiled=compiled)
        model._network.release()
        return model

    @classmethod
    def of(
        cls,
        net: Any,
        device: Device,
        precision: Precision,
        *,
        name: str = "sam2",
        digest: str = "",
        compiled: bool = False,
    ) -> SAM2:
        """Wrap a network that has its weights.

        Parameters
        ----------
        net : SAM2Base
        device : Device
        precision : {"fp32", "bf16", "fp16"}
            fp32 answers as the reference does, to rounding.
        name, digest : str
            Of the model, and of its config and weights.
        compiled : bool
            Whether torch compiles the image encoder.
        """
        if device.torch.type == "cuda":
            # cuDNN makes a plan for every new length of the memory, which takes longer than all
            # else on a frame. Flash attention needs none, and is as fast.
            torch.backends.cuda.enable_cudnn_sdp(False)
        net = net.to(device.torch).eval().requires_grad_(False)
        with device_errors(device):
            network = Network(net, precision, compiled=compiled)
        rules = MemoryRules(
            memories=net.num_maskmem,
            pointers=net.max_obj_ptrs_in_encoder if net.use_obj_ptrs_in_encoder else 0,
            stride=net.memory_temporal_stride_for_eval,
            max_conditioning=net.max_cond_frames_in_attn,
            past_pointers_only=net.only_obj_ptrs_in_the_past_for_eval,
            signed_distance=net.use_signed_tpos_enc_to_obj_ptrs,
        )
        key = f"sam2-{digest[:16]}-{net.image_size}-{precision}"
        return cls(name, key, precision, device, rules, network)

    @property
    def answers_key(self) -> str:
        """Identity of all that its answers depend on."""
        return self.key

    @property
    def image_size(self) -> int:
        """Side of the network's input in pixels."""
        return self._network.size

    def taking_first_mask(self) -> SAM2:
        """Return the model as it takes the first of several masks, not the one it rates best.

        Dong et al. (2024) found the first one to be the better choice on medical images.
        """
        network = copy.copy(self._network)
        network.takes_first_mask = True
        return replace(self, key=f"{self.key}-first", _network=network)

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
        with torch.inference_mode(), device_errors(self.device), self._lowered():
            image = preprocess(frame, self.image_size, self.device.torch)
            features, *details = self._network.parts.encode(image)
        dtype = torch.float32 if self.precision == "fp32" else torch.float16
        # In memory of their own: a level may be a view of a larger tensor.
        own = [level.to(dtype, copy=True) for level in (features, *details)]
        return Embedding(own[0], (frame.shape[0], frame.shape[1]), tuple(own[1:]))

    def decode(self, embedding: Embedding, prompts: Sequence[FramePrompt]) -> list[Prediction]:
        """Segment objects on one frame, without regard to any other."""
        for prompt in prompts:
            self.check(prompt)
        with torch.inference_mode(), device_errors(self.device), self._lowered():
            answers = self._answers(embedding, [p for p in prompts if not p.is_mask])
            found = iter([self._prediction(answer, embedding.shape) for answer in answers])
        return [given(p) if p.is_mask else next(found) for p in prompts]

    def begin(self, embedding: Embedding, prompts: Sequence[FramePrompt]) -> list[Trace]:
        """Segment prompted objects on one frame without a past, and remember them."""
        for prompt in prompts:
            self.check(prompt)
        with torch.inference_mode(), device_errors(self.device), self._lowered():
            return [
                self._kept(embedding, answer, prompted=True)[0]
                for answer in self._answers(embedding, prompts)
            ]

    def track(self, embedding: Embedding, recalled: Sequence[Recalled]) -> list[Trace]:
        """Find objects on one frame by their past alone, one trace for each, in order."""
        alike: dict[object, list[int]] = {}
        for index, one in enumerate(recalled):
            form = ([s for s, _ in one.memories], [d for d, _ in one.pointers], one.longest)
            alike.setdefault(repr(form), []).append(index)
        found: dict[int, Trace] = {}
        with torch.inference_mode(), device_errors(self.device), self._lowered():
            for indices in alike.values():
                batches = in_batches(
                    lambda some: self._track(embedding, some),
                    [recalled[index] for index in indices],
                    self.device,
                )
                found.update(zip(indices, batches, strict=True))
        return [found[index] for index in range(len(recalled))]

    def correct(
        self, embedding: Embedding, prompt: FramePrompt, recalled: Recalled, previous: Trace
    ) -> Trace:
        """Refine what was tracked on a frame by points, knowing the object's past."""
        network = self._network
        with torch.inference_mode(), device_errors(self.device), self._lowered():
            features, details = floats(embedding, self.device.torch)
            if prompt.mask is not None:
                answer = self._answer_mask(features, details, prompt, embedding.shape)
            else:
                box = 0 if prompt.boxes else None
                points = point_inputs([prompt], [box], embedding.shape, self.image_size)
                assert points is not None
                answer = network.decode(
                    network.remember_with(features, [recalled]),
                    details,
                    points,
                    network.tell_again(previous.logits.to(self.device.torch)),
                    multimask=network.multimask(points[1].shape[1], first=False),
                )
            return self._kept(embedding, answer, prompted=True)[0]

    def predict(self, trace: Trace, shape: tuple[int, int]) -> Prediction:
        """Return a trace's mask at the size of the frame."""
        with torch.inference_mode():
            logits = _resized(trace.logits[None, None].float(), shape)
        return Prediction(logits, trace.predicted_iou, trace.object_score)

    # Inside

    def _lowered(self) -> torch.autocast:
        """Return the context that lowers the precision on a GPU."""
        dtype = torch.bfloat16 if self.precision == "bf16" else torch.float16
        is_gpu = self.device.torch.type != "cpu"
        kind = self.device.torch.type
        return torch.autocast(kind, dtype=dtype, enabled=is_gpu and self.precision != "fp32")

    def _track(self, embedding: Embedding, recalled: Sequence[Recalled]) -> list[Trace]:
        network = self._network
        features, details = floats(embedding, self.device.torch)
        image = network.remember_with(features, recalled)
        choose = network.multimask(0, first=False)
        answer = network.decode(image, details, None, None, multimask=choose)
        return self._kept(embedding, answer, prompted=False)

    def _kept(self, embedding: Embedding, answer: Answer, *, prompted: bool) -> list[Trace]:
        features = embedding.features.to(self.device.torch, torch.float32)
        memories = self._network.memorise(features, answer, prompted=prompted)
        return traces(answer, memories, torch.float32 if self.precision == "fp32" else torch.half)

    def _answers(self, embedding: Embedding, prompts: Sequence[FramePrompt]) -> list[Answer]:
        """Answer prompts of one frame, one object each; equally many tokens make one batch."""
        features, details = floats(embedding, self.device.torch)
        found: dict[int, Answer] = {}
        alike: dict[int, list[int]] = {}
        for index, prompt in enumerate(prompts):
            if prompt.mask is not None:
                found[index] = self._answer_mask(features, details, prompt, embedding.shape)
            elif len(prompt.boxes) > 1:
                found[index] = self._answer_parts(features, details, prompt, embedding.shape)
            else:
                tokens = len(prompt.points) + 2 * len(prompt.boxes)
                alike.setdefault(tokens, []).append(index)
        for indices in alike.values():
            answers = in_batches(
                lambda some: _split(
                    self._answer_points(
                        features,
                        details,
                        some,
                        [0 if prompt.boxes else None for prompt in some],
                        embedding.shape,
                    )
                ),
                [prompts[index] for index in indices],
                self.device,
            )
            found.update(zip(indices, answers, strict=True))
        return [found[index] for index in range(len(prompts))]

    def _answer_points(
        self,
        features: torch.Tensor,
        details: tuple[torch.Tensor, ...],
        prompts: Sequence[FramePrompt],
        boxes: Sequence[int | None],
        shape: tuple[int, int],
        former: torch.Tensor | None = None,
    ) -> Answer:
        """Answer prompts of equally many tokens, `former` being a mask prompt for all."""
        network = self._network
        points = point_inputs(prompts, boxes, shape, self.image_size)
        assert points is not None
        return network.decode(
            network.alone(features),
            details,
            points,
            former,
            multimask=network.multimask(points[1].shape[1], first=True),
        )

    def _answer_mask(
        self,
        features: torch.Tensor,
        details: tuple[torch.Tensor, ...],
        prompt: FramePrompt,
        shape: tuple[int, int],
    ) -> Answer:
        """Take a mask as it is, or let points and a box refine it."""
        assert prompt.mask is not None
        mask = mask_input(prompt.mask, self.image_size).to(self.device.torch)
        answer = self._network.take(features, details, mask)
        if not prompt.points and not prompt.boxes:
            return answer
        former = self._network.tell_again(answer.logits[0, 0])
        box = 0 if prompt.boxes else None
        return self._answer_points(features, details, [prompt], [box], shape, former)

    def _answer_parts(
        self,
        features: torch.Tensor,
        details: tuple[torch.Tensor, ...],
        prompt: FramePrompt,
        shape: tuple[int, int],
    ) -> Answer:
        """Unite the masks of several boxes, then take the union as if it had been given."""
        count = len(prompt.boxes)
        parts = self._answer_points(features, details, [prompt] * count, range(count), shape)
        united = parts.logits.amax(dim=0, keepdim=True)
        side = (self.image_size, self.image_size)
        mask = (F.interpolate(united, size=side, mode="bilinear", align_corners=False) > 0).float()
        pointers = self._network.take(features, details, mask).pointers
        return Answer(united, parts.ious.mean()[None], parts.scores.amax()[None, None], pointers)

    def _prediction(self, answer: Answer, shape: tuple[int, int]) -> Prediction:
        return Prediction(
            _resized(answer.logits, shape), float(answer.ious[0]), float(answer.scores[0, 0])
        )


def _checked_size(name: str, size: int) -> int:
    low, high = _SIZES
    if size % _COARSEST or not low <= size <= high:
        raise InputError(
            f"{name}: the image size must be a multiple of {_COARSEST} from {low} to {high}, "
            f"not {size}"
        )
    return size


def auto_precision(device: torch.device) -> Precision:
    """Choose what "auto" means: on CUDA bf16, in which SAM 2 was trained, if the device has it."""
    if device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False):
        return "bf16"
    return best_precision(device)


def _split(answer: Answer) -> list[Answer]:
    """Return one answer for each object."""
    return [
        Answer(
            *(t[i : i + 1] for t in (answer.logits, answer.ious, answer.scores, answer.pointers))
        )
        for i in range(len(answer.logits))
    ]


def _resized(logits: torch.Tensor, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return logits (1, 1, a, b) at the size of the frame, as an array (y, x)."""
    if tuple(logits.shape[-2:]) != shape:
        logits = F.interpolate(logits, size=shape, mode="bilinear", align_corners=False)
    resized: NDArray[np.float32] = logits[0, 0].cpu().numpy()
    return resized
