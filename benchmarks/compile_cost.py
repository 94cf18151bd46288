"""What torch.compile costs and gains for the image encoder of SAM 2.1 tiny.

    python benchmarks/compile_cost.py [--image-size 512] [--rounds 7] [--device cpu]

The first compiled frame is timed on its own: it contains the compilation, for which torch needs a
C++ compiler on a CPU. Weights are random: only time is measured.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from napari_medsam2.models.runtime import prepare

prepare()

from _sam2 import CONFIGS  # noqa: E402

from napari_medsam2.models.device import choose_device  # noqa: E402
from napari_medsam2.models.sam2 import SAM2, auto_precision  # noqa: E402
from napari_medsam2.models.sam2_config import build_network  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--image-size", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", default="cpu")
    args = parser.parse_args()
    device = choose_device(args.device)
    precision = auto_precision(device.torch)
    frame = np.random.default_rng(0).uniform(0, 255, (512, 512)).astype(np.float32)
    models = {
        kind: SAM2.of(
            build_network(CONFIGS["tiny"], args.image_size),
            device,
            precision,
            compiled=kind == "compiled",
        )
        for kind in ("as it is", "compiled")
    }
    times: dict[str, list[float]] = {}
    for kind, model in models.items():
        start = time.perf_counter()
        model.embed(frame)
        print(f"{kind:9} first frame {time.perf_counter() - start:7.2f} s")
    for _ in range(args.rounds):
        for kind, model in models.items():
            start = time.perf_counter()
            # The sum comes back as a number, so a GPU has finished by then.
            float(model.embed(frame).features.sum())
            times.setdefault(kind, []).append(time.perf_counter() - start)
    medians = {kind: statistics.median(taken) for kind, taken in times.items()}
    for kind, median in medians.items():
        print(f"{kind:9} then {1000 * median:7.1f} ms a frame")
    print(f"ratio {medians['compiled'] / medians['as it is']:.2f} ({precision}, {device.reason})")


if __name__ == "__main__":
    main()
