"""Masks of SAM 2 in bf16 against fp32, propagated through real images.

    python benchmarks/precision.py [--precision bf16|fp16] [--model tiny|large] [--image-size 512]
        [--frames 24] [--cases 2] [--data FOLDER] [--device cpu|cuda] [--checkpoint FILE]
        [--threads N]

One object a case, its true box on the slice where it is largest, carried to the frames around it by
both forms of one model: a rounding error may grow from frame to frame. Cases are npz files with
`image`, `labels` and `meta`, listed in cases.tsv; without them, the phantom, the cells and the
echocardiogram that come with the package. With random weights masks look like noise and rounding
flips more of their pixels than of real masks; the last column shows that they are not empty.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
from dataclasses import dataclass
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING

# Idle OpenMP threads that spin steal the cores of other work; only read before torch loads.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import numpy as np
import torch
from _sam2 import CONFIGS, iou, named, ours, weights

from napari_medsam2 import Session
from napari_medsam2.io.samples import ECHO_LEFT_VENTRICLE, cells, echocardiogram, phantom
from napari_medsam2.masks import bounding_box
from napari_medsam2.models.device import choose_device
from napari_medsam2.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_medsam2.models.base import Segmenter

DATA = Path(__file__).parents[2] / "shared" / "data"


@dataclass(frozen=True)
class Case:
    """A volume, and the box (y0, x0, y1, x1) of an object on one of its frames."""

    dataset: str
    volume: Volume
    frame: int
    box: tuple[int, int, int, int]

    def around(self, frames: int) -> Case:
        """Return as many frames, with the prompted one as near the middle as can be."""
        n = self.volume.shape[0]
        start = min(max(0, self.frame - frames // 2), max(0, n - frames))
        part = np.asarray(self.volume.data[start : start + frames])
        return Case(self.dataset, self.volume.with_data(part), self.frame - start, self.box)


def labelled(dataset: str, volume: Volume, truth: np.ndarray) -> Case:
    """Return the largest object of a volume, on its largest slice."""
    mask = truth == np.bincount(truth[truth > 0]).argmax()
    frame = int(mask.sum((1, 2)).argmax())
    return Case(dataset, volume, frame, bounding_box(mask[frame]))


def real_cases(folder: Path, frames: int, per_dataset: int) -> Iterator[Case]:
    """Yield some cases of every data set that are long enough."""
    taken: dict[str, int] = {}
    with (folder / "cases.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for row in rows:
        dataset, n = row["dataset"], int(row["shape"].split("x")[0])
        if row["kind"] == "2d" or n < frames or taken.get(dataset, 0) == per_dataset:
            continue
        taken[dataset] = taken.get(dataset, 0) + 1
        with np.load(folder / row["path"]) as case:
            image, truth = case["image"], case["labels"]
            axis = json.loads(str(case["meta"]))["axis"]
        axes = ("t" if axis == "t" else "z") + "yx" + "c" * (image.ndim == 4)
        yield labelled(dataset, Volume(image, axes, name=row["path"]), truth)


def samples() -> Iterator[Case]:
    """Yield what comes with the package."""
    yield labelled("phantom", *phantom())
    yield labelled("cells", *cells())
    yield Case("echocardiogram", echocardiogram(), *ECHO_LEFT_VENTRICLE)


def masks(case: Case, model: Segmenter) -> np.ndarray:
    """Return the object's mask (frame, y, x) on every frame."""
    session = Session(case.volume, cache=0)
    session.use_model(model)
    session.add_box(case.frame, case.box)
    for _ in session.propagate():
        pass
    found: np.ndarray = session.labels > 0
    return found


def row(name: str, overlaps: list[float], shares: list[float]) -> str:
    return (
        f"{name:24} {len(overlaps):6}  {np.mean(overlaps):8.4f}  {np.min(overlaps):9.4f}  "
        f"{np.mean(shares):11.0%}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--precision", choices=("bf16", "fp16"), default="bf16")
    parser.add_argument("--model", choices=tuple(CONFIGS), default="tiny")
    parser.add_argument("--image-size", type=int, default=512)
    parser.add_argument("--frames", type=int, default=24, help="of each case")
    parser.add_argument("--cases", type=int, default=2, help="of each data set")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--checkpoint", type=Path, help="weights instead of random ones")
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)

    device = choose_device(options.device)
    exact, rounded = (
        ours(weights(options.model, options.image_size, options.checkpoint), device, precision)
        for precision in ("fp32", options.precision)
    )
    real = (options.data / "cases.tsv").is_file()
    cases = real_cases(options.data, options.frames, options.cases) if real else samples()
    print(
        f"{named(options.model, options.checkpoint)}, {options.image_size} px, {device.name}: "
        f"{options.precision} against fp32, at most {options.frames} frames a case\n"
        f"{'data set':24}  masks  mean IoU  worst IoU  area inside"
    )
    overlaps: dict[str, list[float]] = {}
    shares: dict[str, list[float]] = {}
    for dataset, group in groupby(cases, key=lambda case: case.dataset):
        for case in group:
            some = case.around(options.frames)
            one, other = masks(some, exact), masks(some, rounded)
            overlaps.setdefault(dataset, []).extend(map(iou, one, other))
            shares.setdefault(dataset, []).extend(one.mean((1, 2)))
        print(row(dataset, overlaps[dataset], shares[dataset]), flush=True)
    print(row("all", [*chain(*overlaps.values())], [*chain(*shares.values())]))


if __name__ == "__main__":
    main()
