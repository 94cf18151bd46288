"""What an answer takes on a frame that is embedded: a box for LiteMedSAM, a click for its tracker.

    python benchmarks/click_speed.py [--device cpu|cuda] [--rounds 20]

All the way through `Session.segment`, on the phantom: prompts, decoder, confidence, labels and
journal, without a window (benchmarks/preview_latency.py has one).
"""

from __future__ import annotations

import argparse
import statistics
import time

from napari_medsam2 import Session
from napari_medsam2.io.samples import phantom
from napari_medsam2.masks import bounding_box

WARM_UP = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()

    volume, truth = phantom()
    frame = len(truth) // 2
    y0, x0, y1, x1 = bounding_box(truth[frame] == 1)
    for model, says in (("litemedsam", "box"), ("litemedsam-track", "click")):
        session = Session(volume, model=model, window="abdomen", device=options.device)
        session.encoder(frame)
        seconds = []
        for number in range(WARM_UP + options.rounds):
            # Never the same twice, or the answer would be known.
            by = 0.1 * number
            session.clear_prompts()
            if says == "box":
                session.add_box(frame, (y0 - by, x0, y1, x1))
            else:
                session.add_points(frame, [((y0 + y1) / 2 + by, (x0 + x1) / 2)])
            begin = time.perf_counter()
            # The mask comes back as an array: a GPU has finished by then.
            session.segment(frame)
            seconds.append(time.perf_counter() - begin)
        median = 1e3 * statistics.median(seconds[WARM_UP:])
        print(f"{model}, a {says}: {median:.1f} ms ({session.model.key})")


if __name__ == "__main__":
    main()
