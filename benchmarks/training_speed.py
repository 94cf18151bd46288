"""What a training answer costs in LiteMedSAM-track's form of the mask decoder and in SAM's own.

    python benchmarks/training_speed.py [--rounds 7] [--objects 8] [--threads N]

Forward and backward of a box with a rough mask, a batch of objects, both forms in turns (A B A B
...) so that other work on the machine slows both alike: read the ratio. Answers are compared, too.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import TYPE_CHECKING, Any

# Idle OpenMP threads that spin steal the cores of other work; only read before torch loads.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import torch
import torch.nn.functional as F

from napari_medsam2.models.litetrack import new_network

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_medsam2.models.litetrack_network import PromptNetwork

Inputs = dict[str, torch.Tensor]


def published(network: PromptNetwork, given: Inputs) -> torch.Tensor:
    """Answer by SAM's own modules."""
    sparse, dense = network.embed_prompts(None, given["boxes"], given["masks"])
    decoder: Any = network.mask_decoder
    own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight])
    tokens = torch.cat([own.expand(len(sparse), -1, -1), sparse], dim=1)
    position = network.position.expand(len(sparse), -1, -1, -1)
    hidden, pixels = decoder.transformer(given["features"].float() + dense, position, tokens)
    grown = decoder.output_upscaling(pixels.transpose(1, 2).reshape(dense.shape))
    vector = decoder.output_hypernetworks_mlps[0](hidden[:, 1])
    return (vector[:, None] @ grown.flatten(2)).view(len(sparse), *grown.shape[-2:])


def ours(network: PromptNetwork, given: Inputs) -> torch.Tensor:
    """Answer as training does."""
    logits: torch.Tensor = network(given["features"], None, given["boxes"], given["masks"]).logits
    return logits


def step(answer: Callable[[], torch.Tensor], truth: torch.Tensor, half: bool) -> float:
    """Return the seconds of a forward and a backward pass."""
    start = time.perf_counter()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        logits = answer()
    F.binary_cross_entropy_with_logits(logits.float(), truth).backward()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--objects", type=int, default=8)
    parser.add_argument("--threads", type=int, default=0)
    args = parser.parse_args()
    if args.threads:
        torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    network = new_network().train().requires_grad_(True)
    n = args.objects
    given = {
        "features": torch.randn(n, 256, 64, 64),
        "boxes": torch.tensor([[60.0, 70, 150, 170]] * n),
        "masks": torch.randn(n, 256, 256) * 4,
    }
    truth = (torch.randn(n, 256, 256) > 0).float()
    with torch.no_grad():
        difference = (published(network, given) - ours(network, given)).abs().max()
    print(f"logits differ by at most {float(difference):.1e} in fp32")
    forms = {"published": published, "ours": ours}
    for half in (False, True):
        seconds: dict[str, list[float]] = {name: [] for name in forms}
        for turn in range(args.rounds + 1):
            for name, form in forms.items():
                network.zero_grad(set_to_none=True)
                took = step(lambda form=form: form(network, given), truth, half)  # type: ignore[misc]
                if turn:
                    seconds[name].append(took / n)
        middle = {name: statistics.median(values) for name, values in seconds.items()}
        form = "bf16" if half else "fp32"
        print(
            f"{form}: published {middle['published'] * 1e3:.0f} ms an answer, ours "
            f"{middle['ours'] * 1e3:.0f} ms, ratio {middle['ours'] / middle['published']:.2f}"
        )


if __name__ == "__main__":
    main()
