"""Compare SAM 2's networks with our fast forms of them, part by part, in time and in answers.

    python benchmarks/sam2_parts.py [--image-size 512] [--objects 1 8] [--rounds 7] [--config t]

The forms take turns on the same inputs (A B C A B C ...), so that other work on the machine slows
all alike: read the ratios. SAM 2 tracks objects one by one, and so does its side here. A frame is
the four parts together; with its embedding at hand, the last three. Weights are random: neither
the work nor its ratios depend on them.
"""

from __future__ import annotations

import argparse
import os
import time
from typing import TYPE_CHECKING, Any

# Idle OpenMP threads that spin steal the cores of other work; only read before torch loads.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import numpy as np
import sam2  # noqa: F401 - tells Hydra where its configurations are
import torch
from hydra import compose
from hydra.utils import instantiate
from torch import Tensor

from napari_medsam2.models.hiera import fast_image_encoder
from napari_medsam2.models.memory_attention import fast_memory_attention
from napari_medsam2.models.memory_encoder import fast_memory_encoder
from napari_medsam2.models.track_decoder import fast_track_decoder

if TYPE_CHECKING:
    from collections.abc import Callable

    Form = Callable[[], Any]

CPU = torch.device("cpu")
PARTS = "image encoder", "memory attention", "mask decoder", "memory encoder"
FORMS = "sam2", "fp32", "bf16"
FRAMES, POINTERS = 7, 64
"""What a full memory holds: frames, and tokens of object pointers."""


def build(config: str, size: int) -> Any:
    """Build SAM 2 with random weights, without the tiny scales that hide untrained blocks."""
    torch.manual_seed(0)
    overrides = [f"++model.image_size={size}", "++model.compile_image_encoder=false"]
    composed = compose(f"configs/sam2.1/sam2.1_hiera_{config}.yaml", overrides=overrides)
    net = instantiate(composed.model).eval().requires_grad_(False)
    for name, value in net.named_parameters():
        if name.endswith("gamma"):
            value.fill_(1)
    return net


def forms(net: Any, size: int, objects: int) -> dict[str, dict[str, Form]]:
    """Return every form of every part, bound to the same inputs."""
    grid = size // net.backbone_stride
    prompts, decoder = net.sam_prompt_encoder, net.sam_mask_decoder
    image, features = torch.randn(1, 3, size, size), torch.randn(1, 256, grid, grid)
    image_pos = torch.randn(1, 256, grid, grid)
    tokens = FRAMES * grid**2 + POINTERS
    memory, memory_pos = torch.randn(objects, tokens, 64), torch.randn(tokens, 64)
    mixed = torch.randn(objects, 256, grid, grid)
    s0, s1 = torch.randn(1, 32, 4 * grid, 4 * grid), torch.randn(1, 64, 2 * grid, 2 * grid)
    padding = torch.zeros(objects, 1, 2), -torch.ones(objects, 1)
    sparse, dense = prompts(points=padding, boxes=None, masks=None)
    position = prompts.get_dense_pe()
    masks = 20 * torch.randn(objects, 1, size, size).sigmoid() - 10

    def encode() -> list[Tensor]:
        s0, s1, top = net.forward_image(image)["backbone_fpn"]
        return [top, s0, s1]

    def attend() -> Tensor:
        flat, flat_pos = (x.flatten(2).permute(2, 0, 1) for x in (features, image_pos))
        found = [
            net.memory_attention([flat], one[:, None], [flat_pos], memory_pos[:, None], POINTERS)
            for one in memory
        ]
        return torch.cat(found, 1).permute(1, 2, 0).unflatten(2, (grid, grid))

    def decode() -> list[Tensor]:
        found = [
            decoder(mixed[n, None], position, sparse[n, None], dense[:1], True, False, [s0, s1])
            for n in range(objects)
        ]
        return [torch.cat(values) for values in zip(*found, strict=True)]

    def remember() -> Tensor:
        found = [net.memory_encoder(features, one[None], skip_mask_sigmoid=True) for one in masks]
        return torch.cat([one["vision_features"] for one in found])

    published = dict(zip(PARTS, (encode, attend, decode, remember), strict=True))
    result: dict[str, dict[str, Form]] = {part: {"sam2": form} for part, form in published.items()}
    fast_decoder = fast_track_decoder(decoder, position, CPU)
    for precision in ("fp32", "bf16"):
        encoder = fast_image_encoder(
            net.image_encoder, decoder.conv_s0, decoder.conv_s1, CPU, precision
        )
        attention = fast_memory_attention(net.memory_attention, (grid, grid), CPU, precision)
        memorise = fast_memory_encoder(net.memory_encoder, CPU, precision)
        bound: tuple[Form, ...] = (
            lambda encoder=encoder: encoder(image),
            lambda attention=attention: attention(
                features, image_pos, memory, memory_pos, POINTERS
            ),
            lambda: fast_decoder(mixed, s0, s1, sparse, dense[:1], True),
            lambda memorise=memorise: memorise(features, masks),
        )
        for part, form in zip(PARTS, bound, strict=True):
            result[part][precision] = form
    return result


def measure(some: dict[str, Form], rounds: int) -> dict[str, np.ndarray]:
    """Return median (wall, CPU) milliseconds of forms run in turns, after one warm-up round."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in some}
    for turn in range(rounds + 1):
        for name, run in some.items():
            wall, cpu = time.perf_counter(), time.process_time()
            run()
            if turn:
                times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {name: 1000 * np.median(values, axis=0) for name, values in times.items()}


def error(found: Any, expected: Any) -> float:
    """Return the largest relative error of the answers, tensor by tensor."""
    if isinstance(found, Tensor):
        found, expected = [found], [expected]
    pairs = zip(found, expected, strict=True)
    return max(((one - other).norm() / other.norm()).item() for one, other in pairs)


def show(name: str, times: dict[str, np.ndarray], errors: dict[str, float]) -> None:
    """Print a line for each form: times, what share of SAM 2's they are, and the error."""
    for form, (wall, cpu) in times.items():
        share = times[form] / times["sam2"]
        note = f"   error {errors[form]:.1e}" if form in errors else ""
        print(
            f"  {name:24} {form:5} {wall:8.1f} ms wall {cpu:8.1f} ms CPU   "
            f"{share[0]:.2f} wall {share[1]:.2f} CPU{note}"
        )
        name = ""


@torch.inference_mode()
def main() -> None:
    """Print times and shares of SAM 2's times, for each part and for whole frames."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--image-size", type=int, default=512)
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--config", choices=["t", "s", "b+", "l"], default="t")
    options = parser.parse_args()
    net = build(options.config, options.image_size)
    print(
        f"torch {torch.__version__}, {torch.get_num_threads()} threads, "
        f"{torch.backends.cpu.get_cpu_capability()}, {options.image_size} px"
    )
    for objects in options.objects:
        print(f"{objects} object(s), shares of SAM 2's time:")
        frame = {form: np.zeros(2) for form in FORMS}
        cached = dict(frame)
        for part, some in forms(net, options.image_size, objects).items():
            times = measure(some, options.rounds)
            expected = some["sam2"]()
            show(part, times, {name: error(some[name](), expected) for name in FORMS[1:]})
            frame = {name: frame[name] + times[name] for name in FORMS}
            if part != "image encoder":
                cached = {name: cached[name] + times[name] for name in FORMS}
        show("frame", frame, {})
        show("frame, embedding at hand", cached | {"sam2": frame["sam2"]}, {})


if __name__ == "__main__":
    main()
