"""Peak memory of propagating one object over a long movie, against a short one.

    python benchmarks/memory_bound.py [--frames 100 2000] [--image-size 256] [--limit-mb 150]
        [--cache 32] [--side 128] [--checkpoint FILE]

SAM 2.1 tiny with random weights, each number of frames in a process of its own, frames made when
they are read, the cache of embeddings capped. The array of labels does grow, by 32 KB a frame of
128 x 128: 62 MB of the difference between 100 and 2000 frames. The peak of a process may lie where
the model is built, and hide what grows later; so what it holds while it propagates, looked at after
every frame, is given beside it. Exits with 1 if the longest movie exceeds the shortest one by more
than the limit in either.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

# Nothing heavy up here: by getrusage, the peak of a process begins with that of the one that has
# started it, which must therefore stay small.

TIMED = 3
FULL_MEMORY = 16
"""Frames after which every frame looks back on as much as the next one."""


def peak_mb() -> float:
    """Return the peak of the resident set of this process so far."""
    if sys.platform == "win32":
        return float(psutil.Process().memory_info().peak_wset) / 1e6
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Bytes on macOS, KiB elsewhere.
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def propagate(options: argparse.Namespace) -> None:
    """Propagate over the only number of frames; print the peak, and the most held meanwhile."""
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    from _sam2 import Movie, ours, weights

    from napari_medsam2 import Session
    from napari_medsam2.models.device import Device
    from napari_medsam2.volume import Volume

    (n,) = options.frames
    movie = Movie(n, options.side)
    session = Session(Volume(movie, "tyx"), window=(0, 255), cache=options.cache)
    net = weights("tiny", options.image_size, options.checkpoint)
    session.use_model(ours(net, Device("cpu", "the benchmark"), "auto"))
    session.add_box(0, movie.box(0))
    process = psutil.Process()
    begin, at = time.perf_counter(), min(FULL_MEMORY, n // 2)
    area, held = 0, 0
    for update in session.propagate("forward"):
        area += update.area
        held = max(held, process.memory_info().rss)
        if update.frame == at:
            begin = time.perf_counter()
        elif update.frame == at + TIMED:
            each = (time.perf_counter() - begin) / TIMED
            minutes = each * (n - update.frame) / 60
            say(f"{n} frames: {each:.3f} s a frame, about {minutes:.1f} minutes to go")
    say(
        f"{n} frames: cache {session.cache.nbytes / 1e6:.1f} MB, "
        f"{area / session.labels.size:.0%} of all pixels inside"
    )
    print(peak_mb(), held / 1e6)


def say(text: str) -> None:
    """Tell whoever is waiting; the output of the process is its peak alone."""
    print(text, file=sys.stderr, flush=True)


def measure(frames: int, arguments: list[str]) -> tuple[float, float]:
    """Return the peak, and the most held while propagating, of a process of its own in MB."""
    command = [sys.executable, __file__, *arguments, "--alone", "--frames", str(frames)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    peak, held = map(float, done.stdout.split())
    return peak, held


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, nargs="+", default=[100, 2000])
    parser.add_argument("--image-size", type=int, default=256)
    parser.add_argument("--side", type=int, default=128, help="of a frame, in pixels")
    parser.add_argument("--cache", type=float, default=32, help="megabytes of embeddings")
    parser.add_argument("--limit-mb", type=float, default=150)
    parser.add_argument("--checkpoint", type=Path, help="weights instead of random ones")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        propagate(options)
        return 0

    counts = sorted(options.frames)
    found = [measure(frames, sys.argv[1:]) for frames in counts]
    print(f"SAM 2.1 tiny at {options.image_size} px, frames of {options.side} x {options.side}")
    for frames, (peak, held) in zip(counts, found, strict=True):
        labels = 2 * frames * options.side**2 / 1e6
        print(
            f"{frames:6} frames  peak {peak:7.1f} MB  held while propagating {held:7.1f} MB  "
            f"labels {labels:5.1f} MB"
        )
    peak, held = (last - first for first, last in zip(found[0], found[-1], strict=True))
    print(f"difference     peak {peak:7.1f} MB  held while propagating {held:7.1f} MB")
    print(f"limit          {options.limit_mb:12.1f} MB")
    return int(max(peak, held) > options.limit_mb)


if __name__ == "__main__":
    sys.exit(main())
