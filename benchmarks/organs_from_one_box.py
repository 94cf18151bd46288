"""Dice of every organ from one box on its largest slice, through the public API.

    python benchmarks/organs_from_one_box.py [--data ../shared/data] [--window abdomen]

Takes the phantom (always) and the abdominal CT ``totalseg_ct/example_ct_sm.npz`` (where the data
folder has it, with every structure that its metadata lists as worth scoring; its masks are the
output of a model). The box is the exact bounding box of the truth on the slice where the object is
largest; both directions; Dice over all slices of the volume. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from napari_medsam2 import Session, Volume
from napari_medsam2.io.samples import PHANTOM_NAMES, phantom
from napari_medsam2.masks import bounding_box

if TYPE_CHECKING:
    from numpy.typing import NDArray

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


def dice(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> float:
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


def report(
    title: str, volume: Volume, truth: NDArray[np.integer], names: dict[int, str], window: str
) -> None:
    session = Session(volume, model="litemedsam", window=window)
    for object_id, name in names.items():
        areas = (truth == object_id).sum(axis=(1, 2))
        frame = int(areas.argmax())
        box = bounding_box(truth[frame] == object_id)
        session.add_box(frame, box, object_id, name=name)
    begin = time.perf_counter()
    for _ in session.propagate():
        pass
    seconds = time.perf_counter() - begin
    print(
        f"\n**{title}**, {len(names)} boxes, window {window}, {session.model.key}, "
        f"{seconds:.0f} s\n"
    )
    print("| object | Dice, all slices | slices true | slices found |\n|---|---|---|---|")
    scores = []
    for object_id, name in names.items():
        found, real = session.labels == object_id, truth == object_id
        scores.append(dice(found, real))
        slices = [int(m.any(axis=(1, 2)).sum()) for m in (real, found)]
        print(f"| {name} | {scores[-1]:.3f} | {slices[0]} | {slices[1]} |")
    print(f"| **mean** | **{np.mean(scores):.3f}** | | |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the case collection")
    parser.add_argument("--window", default="abdomen")
    args = parser.parse_args()
    volume, truth = phantom()
    report("Phantom", volume, truth, dict(PHANTOM_NAMES), args.window)
    path = args.data / "totalseg_ct" / "example_ct_sm.npz"
    if not path.is_file():
        print(f"\n(no {path}: the CT is left out)")
        return
    with np.load(path) as case:
        meta = json.loads(str(case["meta"]))
        ct = Volume(case["image"], axes="zyx", spacing=tuple(case["spacing"]), name="CT")
        labels = case["labels"]
    names = {int(i): meta["label_names"][str(i)] for i in meta["evaluate"]}
    report("Abdominal CT (totalseg_ct)", ct, labels, names, args.window)


if __name__ == "__main__":
    main()
