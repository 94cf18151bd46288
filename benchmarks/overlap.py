"""Does encoding the next frame while this one is tracked gain anything?

Two threads, one that encodes and one that tracks, against doing one after the other. The stream
overlaps them (`tracking.embeddings.EarlyEncoder`). Weights are random: only time is measured.

    python benchmarks/overlap.py [--image-size 512] [--rounds 9] [--device cpu|cuda]
"""

from __future__ import annotations

import argparse
import statistics
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from napari_medsam2.models.runtime import prepare

prepare()

from _sam2 import ours, weights  # noqa: E402

from napari_medsam2.models.base import Embedding, FramePrompt  # noqa: E402
from napari_medsam2.models.device import choose_device  # noqa: E402
from napari_medsam2.tracking.memory import Sam2Bank  # noqa: E402


def finish(encoded: Embedding) -> None:
    """Wait for a GPU: a number comes back when it is there."""
    float(encoded.features[0, 0, 0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image-size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    model = ours(weights("tiny", args.image_size), choose_device(args.device), "auto")
    frame = np.random.default_rng(0).uniform(0, 255, (512, 512)).astype(np.float32)
    embedding = model.embed(frame)
    (trace,) = model.begin(embedding, [FramePrompt(1, 0, boxes=((100, 100, 300, 300),))])
    bank = Sam2Bank(model.rules, 100, 1)
    bank.condition(0, trace)
    for past in range(1, 16):
        bank.add(past, trace)
    recalled = [bank.recall(16)]

    seconds: dict[str, list[float]] = {"one after the other": [], "at the same time": []}
    with ThreadPoolExecutor(1) as aside:
        for _ in range(args.rounds):
            start = time.perf_counter()
            encoded = model.embed(frame)
            model.track(embedding, recalled)
            finish(encoded)
            seconds["one after the other"].append(time.perf_counter() - start)
            start = time.perf_counter()
            following = aside.submit(model.embed, frame)
            model.track(embedding, recalled)
            finish(following.result())
            seconds["at the same time"].append(time.perf_counter() - start)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    for name, median in medians.items():
        print(f"{name:20} {1000 * median:7.1f} ms a frame")
    print(f"ratio {medians['at the same time'] / medians['one after the other']:.2f}")


if __name__ == "__main__":
    main()
