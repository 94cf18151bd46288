"""What carrying objects costs over embedded frames: LiteMedSAM-track beside the box chain.

    python benchmarks/tracking_step.py [--frames 12] [--objects 1 4] [--repeats 5]

Carries boxes through the phantom by both models, over embeddings in the cache and with no answer
cached, in turns (A B A B ...). Prints milliseconds a frame and object and their ratio.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np

from napari_medsam2 import Session
from napari_medsam2.io.samples import phantom
from napari_medsam2.masks import bounding_box

MODELS = ("litemedsam", "litemedsam-track")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--frames", type=int, default=12, help="frames of the phantom to use")
    parser.add_argument("--objects", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()

    volume, truth = phantom()
    middle = truth.shape[0] // 2
    frames = slice(max(0, middle - args.frames // 2), middle + args.frames - args.frames // 2)
    image, truth = np.asarray(volume.data)[frames], truth[frames]
    extent = {int(i): int((truth == i).any(axis=(1, 2)).sum()) for i in np.unique(truth) if i}
    largest = sorted(extent, key=lambda i: -extent[i])
    sessions = {name: Session(image, model=name, window="abdomen") for name in MODELS}
    for session in sessions.values():
        for frame in range(len(image)):
            session.encoder(frame)
    for count in args.objects:
        times: dict[str, list[float]] = {name: [] for name in MODELS}
        for turn in range(args.repeats + 1):
            for name, session in sessions.items():
                took = carry(session, truth, largest[:count], turn)
                if turn:
                    times[name].append(took)
        chain, track = (statistics.median(times[name]) * 1e3 for name in MODELS)
        print(
            f"{count} objects: {chain:.1f} ms a frame and object by the box chain, {track:.1f} ms "
            f"by LiteMedSAM-track, ratio {track / chain:.2f}"
        )


def carry(session: Session, truth: np.ndarray, objects: list[int], turn: int) -> float:
    """Return the seconds that each (object, frame) with a mask has taken."""
    session.begin_history()
    session.clear_prompts()
    session.labels[...] = 0
    for object_id in objects:
        areas = (truth == object_id).sum(axis=(1, 2))
        frame = int(areas.argmax())
        y0, x0, y1, x1 = bounding_box(truth[frame] == object_id)
        # A box a little larger each time: no answer of an earlier turn is the same.
        session.add_box(frame, (y0 - turn * 0.1, x0, y1, x1), object_id)
    start = time.perf_counter()
    found = sum(1 for update in session.propagate() if update.mask.any())
    return (time.perf_counter() - start) / max(found, 1)


if __name__ == "__main__":
    main()
