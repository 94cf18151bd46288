"""SAM 2's own video predictor beside our stream, on the same random weights and frames.

Random weights need care, or nothing is compared: a negative object score sets every mask to -1024,
and the blocks of the memory encoder start with a scale of 1e-6. Both are set to what training
would make of them.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from unittest import mock

import numpy as np
import torch
from sam2.build_sam import build_sam2_video_predictor

from napari_medsam2.models.device import Device
from napari_medsam2.models.sam2 import SAM2
from napari_medsam2.models.sam2_config import build_network
from napari_medsam2.models.sam2_prompts import preprocess
from napari_medsam2.tracking.embeddings import EmbeddingCache, FrameEncoder
from napari_medsam2.tracking.streamed import StreamedSweeps
from napari_medsam2.tracking.sweeps import Request
from napari_medsam2.volume import Volume
from napari_medsam2.windows import Window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_medsam2.prompts import PromptSet

CONFIG_21 = "configs/sam2.1/sam2.1_hiera_t.yaml"
CONFIG_20 = "configs/sam2/sam2_hiera_t.yaml"
CPU = Device("cpu", "tests")


def make_lively(net: Any, seed: int = 0) -> None:
    """Give a network random weights that see an object on every frame."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in net.named_parameters():
            if name.endswith("gamma"):
                parameter.fill_(1.0)
            elif parameter.ndim > 1:
                parameter.add_(0.02 * torch.randn_like(parameter))
        head = net.sam_mask_decoder.pred_obj_score_head
        head.layers[-1].bias.fill_(5.0)


class Pair:
    """A reference predictor and our model with the same weights."""

    def __init__(self, config: str = CONFIG_21, size: int = 128, **options: Any) -> None:
        extra = [f"++model.image_size={size}"]
        extra += [f"++model.{name}={value}" for name, value in options.items()]
        self.reference = build_sam2_video_predictor(
            config, None, device="cpu", hydra_overrides_extra=extra
        )
        # Without its CUDA extension it can fill no holes, and says so on every frame.
        self.reference.fill_hole_area = 0
        make_lively(self.reference)
        net = build_network(config, size)
        net.load_state_dict(self.reference.state_dict())
        for name, value in options.items():
            if hasattr(net, name):
                setattr(net, name, value)
        self.ours = SAM2.of(net, CPU, "fp32")

    def state(self, frames: np.ndarray) -> Any:
        """Start the reference on frames (n, y, x), which it is shown as we prepare them."""
        images = torch.cat([preprocess(f.astype(np.float32), self.ours.image_size) for f in frames])
        loaded = (images, *frames.shape[1:])
        with mock.patch("sam2.sam2_video_predictor.load_video_frames", return_value=loaded):
            return self.reference.init_state("none")

    def stream(self, frames: np.ndarray, prompts: PromptSet, **asked: Any) -> StreamedSweeps:
        """Ask our stream, see `Request`."""
        asked = {"direction": "forward", "wanted": range(len(frames)), **asked}
        encoder = asked.pop("encoder", None) or self.encoder(frames)
        return StreamedSweeps(Request(encoder, prompts, **asked))

    def encoder(self, frames: np.ndarray) -> FrameEncoder:
        stack = Volume(frames).stack(0)
        return FrameEncoder(stack, Window(0, 255), self.ours, EmbeddingCache(1024))


def propagate(pair: Pair, state: Any, **asked: Any) -> dict[tuple[int, int], np.ndarray]:
    """Return the reference's logits at the size of the frames, by (object, frame)."""
    with quiet():
        return {
            (object_id, frame): logits[index, 0].numpy()
            for frame, ids, logits in pair.reference.propagate_in_video(state, **asked)
            for index, object_id in enumerate(ids)
        }


def logits_of(sweeps: StreamedSweeps) -> dict[tuple[int, int], np.ndarray]:
    """Return our logits by (object, frame)."""
    return {
        (object_id, carried.frame): prediction.logits
        for carried in sweeps
        for object_id, prediction in carried.predictions.items()
    }


@contextmanager
def quiet() -> Iterator[None]:
    with mock.patch("sam2.sam2_video_predictor.tqdm", lambda frames, **_: frames):
        yield


def moving_square(n: int = 20, shape: tuple[int, int] = (72, 90)) -> np.ndarray:
    """Return (n, y, x) frames of uint8: noise, and a bright square that moves."""
    rng = np.random.default_rng(3)
    frames = rng.integers(0, 90, (n, *shape), dtype=np.uint8)
    for index in range(n):
        frames[index, 20 + index : 40 + index, 24 + index : 50 + index] += 120
    return frames
