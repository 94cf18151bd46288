"""What a vote among axes gives and costs beside one axis alone, on volumes with truth.

    python benchmarks/vote_among_axes.py CASE.npz ... [--model litemedsam-track] [--objects 3]

Cases are npz files with `image` and `labels` (frame, y, x) and, if known, `spacing`; without any,
the phantom is taken. Each object gets one exact box on the slice on which it is largest. Prints a
Markdown table: mean Dice over all voxels by data set (the folder that a case lies in), and how many
times as long the vote took, embeddings of the first axis included in both.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_medsam2 import Session, Volume
from napari_medsam2.io.samples import phantom
from napari_medsam2.masks import bounding_box

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

WAYS: dict[str, tuple[str, ...]] = {"z": (), "z, y": ("z", "y"), "z, y, x": ("z", "y", "x")}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", type=Path)
    parser.add_argument("--model", default="litemedsam-track")
    parser.add_argument("--objects", type=int, default=3, help="the largest ones of each case")
    options = parser.parse_args()
    scores: dict[str, list[dict[str, float]]] = defaultdict(list)
    seconds: dict[str, list[dict[str, float]]] = defaultdict(list)
    for name, volume, truth, ids in read(options.cases):
        for object_id in sorted(ids, key=lambda i: -int((truth == i).sum()))[: options.objects]:
            dice, took = measure(volume, truth == object_id, options.model)
            scores[name].append(dice)
            seconds[name].append(took)
            print(f"  {name} {volume.name} {object_id}: {dice}", flush=True)
    print(f"\n| {options.model} | objects | " + " | ".join(WAYS) + " | times as long |")
    print("|---" * (len(WAYS) + 3) + "|")
    for name, rows in scores.items():
        cells = " | ".join(f"{np.mean([row[way] for row in rows]):.3f}" for way in WAYS)
        alone, most = (np.sum([row[way] for row in seconds[name]]) for way in ("z", "z, y, x"))
        print(f"| {name} | {len(rows)} | {cells} | {most / alone:.1f} |")


def read(paths: Sequence[Path]) -> Iterator[tuple[str, Volume, NDArray[np.integer], list[int]]]:
    if not paths:
        volume, truth = phantom()
        yield "phantom", volume, truth, [int(i) for i in np.unique(truth) if i]
    for path in paths:
        with np.load(path) as case:
            spacing = case["spacing"] if "spacing" in case else np.full(3, np.nan)
            known = np.isfinite(spacing).all()
            image = case["image"].astype(np.float32)
            volume = Volume(
                image, axes="zyx", spacing=tuple(spacing) if known else (1, 1, 1), name=path.stem
            )
            truth = case["labels"]
            meta = json.loads(str(case["meta"])) if "meta" in case else {}
        ids = [int(i) for i in meta.get("evaluate", np.unique(truth[truth > 0]))]
        yield path.parent.name, volume, truth, [i for i in ids if (truth == i).any()]


def measure(
    volume: Volume, truth: NDArray[np.bool_], model: str
) -> tuple[dict[str, float], dict[str, float]]:
    """Return Dice and seconds by way; each way has a session of its own, with an empty cache."""
    frame = int(truth.sum(axis=(1, 2)).argmax())
    dice, seconds = {}, {}
    for way, axes in WAYS.items():
        session = Session(volume, model=model)
        session.model  # noqa: B018  loaded before the clock starts
        session.add_box(frame, bounding_box(truth[frame]), 1)
        started = time.perf_counter()
        for _ in session.vote(axes) if axes else session.propagate():
            pass
        seconds[way] = time.perf_counter() - started
        found = session.labels == 1
        dice[way] = 2 * float((found & truth).sum()) / float(found.sum() + truth.sum())
    return dice, seconds


if __name__ == "__main__":
    main()
