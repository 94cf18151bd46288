"""What a second propagation costs once every frame is embedded.

    python benchmarks/second_propagation.py [--frames N] [--objects N] [--repeats N]

Propagates boxes through the phantom, again over the cached embeddings, and again after the cache is
cleared, in one process (A B A B ...). Prints seconds and the ratio of the second to the first;
exits with 1 if the median ratio is a fifth or more.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time

import numpy as np

from napari_medsam2 import Session
from napari_medsam2.io.samples import phantom
from napari_medsam2.masks import bounding_box


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--frames", type=int, default=16, help="frames of the phantom to use")
    parser.add_argument("--objects", type=int, default=1, help="objects to propagate together")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()

    volume, truth = phantom()
    middle = truth.shape[0] // 2
    start = max(0, middle - args.frames // 2)
    frames = slice(start, start + args.frames)
    truth = truth[frames]
    session = Session(np.asarray(volume.data)[frames], model="litemedsam", window="abdomen")
    # The objects that are on most of these frames, so that no stop rule makes either run shorter.
    extent = {int(i): int((truth == i).any(axis=(1, 2)).sum()) for i in np.unique(truth) if i}
    for object_id in sorted(extent, key=lambda i: -extent[i])[: args.objects]:
        areas = (truth == object_id).sum(axis=(1, 2))
        frame = int(areas.argmax())
        session.add_box(frame, bounding_box(truth[frame] == object_id), object_id)
    _ = session.model, session.window  # load once, outside the timing

    first: list[float] = []
    second: list[float] = []
    updates = []
    for _ in range(args.repeats):
        session.cache.clear()
        for times in (first, second):
            begin = time.perf_counter()
            updates.append(sum(1 for _ in session.propagate()))
            times.append(time.perf_counter() - begin)
    assert len(set(updates)) == 1
    ratios = [b / a for a, b in zip(first, second, strict=True)]
    print(f"{args.frames} frames, {args.objects} object(s), {session.model.key}")
    print(f"first propagation   {statistics.median(first):7.2f} s (median of {args.repeats})")
    print(f"over the cache      {statistics.median(second):7.2f} s")
    print(f"ratio               {statistics.median(ratios):7.3f}")
    print(f"cache               {session.cache.nbytes / 2**20:7.1f} MiB")
    return int(statistics.median(ratios) >= 0.2)


if __name__ == "__main__":
    sys.exit(main())
