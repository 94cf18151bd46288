"""Propagate objects from one box by the published rule and by ours, and tabulate both.

    python benchmarks/propagation_rules.py [--data ../shared/data] [--split heldout|train]
        [--cache FOLDER] [--output table.md] [--objects 10] [--only DATASET] [--unlabelled-empty]
        [--least-contrast C] [--least-overlap O] [--jump-contrast J] [--threads N]

Each object gets its true box on the slice where it is largest, and is propagated both ways with
LiteMedSAM. The published rule (bowang-lab/MedSAM, branch LiteMedSAM): the next box is that of the
last mask, 3 pixels larger at 256-pixel scale, or the first box if that mask is empty; no rule to
stop. Ours is `napari_medsam2.tracking.chain.BoxChain`. `--cache` keeps embeddings (2 MiB a frame)
for the next run. Cases are npz files with `image`, `labels` and `meta`, listed in cases.tsv.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

# Idle OpenMP threads that spin steal the cores of other work; only read before torch loads.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import numpy as np
import torch
from scipy.stats import wilcoxon

from napari_medsam2 import models
from napari_medsam2.masks import bounding_box
from napari_medsam2.models.base import Embedding, FramePrompt
from napari_medsam2.models.stopping import StopRule
from napari_medsam2.tracking.chain import BoxChain
from napari_medsam2.volume import Volume
from napari_medsam2.windows import resolve_window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_medsam2.models.base import Segmenter

MARGIN = 3
TRAIN = {  # dataset: (a word in the name of the case, how many cases, evenly spaced)
    "medsam2_recist_ct": (("", 4),),
    "promise12_mr": (("", 6),),
    "brats2013_deepmedic": (("Flair", 3), ("T1c", 1)),
    "hippocampus_mr": (("", 12),),
    "vocalfolds_video": (("", 2),),
}
FIXTURES = (
    "totalseg_ct",
    "pyradiomics_mr",
    "totalseg_pulmonary_ct",
    "pytorch3dunet_patch",
    "totalseg_aorta_ct",
)


class Case:
    """A volume, its truth, and the embeddings of its frames."""

    def __init__(self, root: Path, path: str, model: Segmenter, cache: Path | None) -> None:
        self.path = path
        self.dataset = path.split("/")[0]
        with np.load(root / path) as case:
            image, self.labels = case["image"], case["labels"]
            self.meta = json.loads(str(case["meta"]))
        axes = ("t" if self.meta["axis"] == "t" else "z") + "yx" + "c" * (image.ndim == 4)
        self.stack = Volume(image, axes, name=path).stack(0)
        self.window = resolve_window(self.stack, "auto")
        self.model = model
        self.folder = None if cache is None else cache / model.key / path.removesuffix(".npz")
        self.known = np.zeros(len(self.stack), dtype=bool)
        self.known[self.meta.get("labelled_frames", slice(None))] = True
        self._memory: dict[int, Embedding] = {}

    def embedding(self, frame: int) -> Embedding:
        if frame not in self._memory:
            self._memory[frame] = self._stored(frame)
        return self._memory[frame]

    def _stored(self, frame: int) -> Embedding:
        file = None if self.folder is None else self.folder / f"{frame:04d}.npy"
        if file is not None and file.exists():
            return Embedding(torch.from_numpy(np.load(file)), self.stack.shape)
        embedding = self.model.embed(self.window.apply(self.stack.frame(frame)))
        if file is not None:
            file.parent.mkdir(parents=True, exist_ok=True)
            np.save(file, embedding.features.cpu().numpy())
        return embedding

    def objects(self, most: int) -> list[int]:
        """Ids worth scoring that lie on three frames or more, at most so many, evenly spaced."""
        ids = [int(str(i).split(":")[0]) for i in self.meta["evaluate"]]
        found = [i for i in ids if (self.labels == i).any((1, 2))[self.known].sum() >= 3]
        if len(found) > most:
            found = [found[i] for i in np.linspace(0, len(found) - 1, most).round().astype(int)]
        return found


@dataclass(frozen=True)
class Outcome:
    """How one method did on one object."""

    dice: float
    dice_in_range: float
    beyond: tuple[int, ...]  # per end inside the volume: frames past it, negative: short of it
    volume: str


def published(case: Case, start: int, box: tuple[float, ...], masks: np.ndarray) -> None:
    height, width = case.stack.shape
    margin = MARGIN * max(height, width) / 256
    for frames in (range(start + 1, len(masks)), range(start - 1, -1, -1)):
        last = masks[start]
        for frame in frames:
            y0, x0, y1, x1 = bounding_box(last)
            grown = (
                max(y0 - margin, 0.0),
                max(x0 - margin, 0.0),
                min(y1 + margin, float(height)),
                min(x1 + margin, float(width)),
            )
            prompt = FramePrompt(1, frame, boxes=(grown if last.any() else box,))
            last = masks[frame] = case.model.decode(case.embedding(frame), [prompt])[0].mask


def ours(case: Case, start: int, box: tuple[float, ...], masks: np.ndarray, rule: StopRule) -> None:
    first = case.embedding(start)
    prediction = case.model.decode(first, [FramePrompt(1, start, boxes=(box,))])[0]
    for frames in (range(start + 1, len(masks)), range(start - 1, -1, -1)):
        chain = BoxChain(1, start, prediction, first, rule)
        for frame in frames:
            embedding = case.embedding(frame)
            prompt = chain.next_prompt(frame, embedding)
            if prompt is None:
                break
            kept = chain.accept(frame, case.model.decode(embedding, [prompt])[0], embedding)
            if kept is None:
                break
            masks[frame] = kept.mask


def assess(case: Case, object_id: int, rule: StopRule) -> tuple[Outcome, Outcome]:
    truth = case.labels == object_id
    area = np.where(case.known, truth.sum((1, 2)), 0)
    start = int(area.argmax())
    box = tuple(float(v) for v in bounding_box(truth[start]))
    prompt = FramePrompt(1, start, boxes=(box,))
    outcomes = []
    for method in (published, partial(ours, rule=rule)):
        masks = np.zeros_like(truth)
        masks[start] = case.model.decode(case.embedding(start), [prompt])[0].mask
        method(case, start, box, masks)
        outcomes.append(score(masks, truth, case))
    return outcomes[0], outcomes[1]


def score(masks: np.ndarray, truth: np.ndarray, case: Case) -> Outcome:
    known = case.known
    there = np.flatnonzero(truth.any((1, 2)) & known)
    low, high = int(there[0]), int(there[-1])
    found = np.flatnonzero(masks.any((1, 2)))
    beyond = []
    # Past the last labelled frame of a partly labelled volume nothing is certain.
    if known.all() and found.size:
        if low > 0:
            beyond.append(low - int(found[0]))
        if high < len(truth) - 1:
            beyond.append(int(found[-1]) - high)
    span = known & (np.arange(len(truth)) >= low) & (np.arange(len(truth)) <= high)
    return Outcome(
        dice=dice(masks[known], truth[known]),
        dice_in_range=dice(masks[span], truth[span]),
        beyond=tuple(beyond),
        volume=case.path,
    )


def dice(one: np.ndarray, other: np.ndarray) -> float:
    total = int(one.sum()) + int(other.sum())
    return 2 * int((one & other).sum()) / total if total else 1.0


def paths(root: Path, split: str) -> Iterator[str]:
    with (root / "cases.tsv").open() as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["kind"] != "2d"]
    if split == "train":
        for dataset, choices in TRAIN.items():
            for word, count in choices:
                some = [
                    row["path"]
                    for row in rows
                    if (row["dataset"], row["split"]) == (dataset, "train") and word in row["case"]
                ]
                yield from some[:: max(1, len(some) // count) if count == 12 else 1][:count]
        return
    yield from (r["path"] for r in rows if r["split"] == "val" and r["dataset"] in TRAIN)
    yield from (r["path"] for name in FIXTURES for r in rows if r["dataset"] == name)


def table(results: dict[str, list[tuple[Outcome, Outcome]]]) -> str:
    lines = [
        "| data set | objects | 3D Dice, all frames: published | ours | true range: published | "
        "ours | ends run past / cut short / exact: published | ours |",
        "|---|---|---|---|---|---|---|---|",
    ]
    rows = dict(sorted(results.items()))
    rows["**all objects**"] = [pair for pairs in results.values() for pair in pairs]
    for name, pairs in rows.items():
        old, new = zip(*pairs, strict=True)
        cells = [name, str(len(pairs))]
        cells += [f"{np.mean([o.dice for o in side]):.3f}" for side in (old, new)]
        cells += [f"{np.mean([o.dice_in_range for o in side]):.3f}" for side in (old, new)]
        cells += [ends(side) for side in (old, new)]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", paired(results), ""])


def ends(outcomes: tuple[Outcome, ...]) -> str:
    beyond = np.array([b for outcome in outcomes for b in outcome.beyond])
    past, short = beyond[beyond > 0], -beyond[beyond < 0]
    if not beyond.size:
        return "not judged"

    def of(frames: np.ndarray) -> str:
        return f"{frames.size} ({frames.mean():.1f} frames)" if frames.size else "0"

    return f"{of(past)} / {of(short)} / {int((beyond == 0).sum())}"


def paired(results: dict[str, list[tuple[Outcome, Outcome]]]) -> str:
    """Compare the two over volumes, since the objects of one volume are not independent."""
    gains: dict[str, list[float]] = {}
    for old, new in (pair for pairs in results.values() for pair in pairs):
        gains.setdefault(old.volume, []).append(new.dice - old.dice)
    volumes = [np.array(gain) for gain in gains.values()]
    flat = np.concatenate(volumes)
    random = np.random.default_rng(0)
    draws = random.integers(0, len(volumes), (10_000, len(volumes)))
    means = [np.concatenate([volumes[i] for i in draw]).mean() for draw in draws]
    low, high = np.percentile(means, (2.5, 97.5))
    of_volumes = np.array([gain.mean() for gain in volumes])
    p = wilcoxon(of_volumes).pvalue if of_volumes.any() else 1.0
    published_mean, our_mean = (
        np.mean([np.mean([pair[side].dice for pair in some]) for some in results.values()])
        for side in (0, 1)
    )
    return (
        f"Mean over data sets: {published_mean:.3f} published, {our_mean:.3f} ours. Paired "
        f"difference over {flat.size} objects, all frames: {flat.mean():+.3f} (95 % bootstrap "
        f"interval over the {len(volumes)} volumes {low:+.3f} to {high:+.3f}; Wilcoxon over "
        f"volumes p = {p:.2g}); {int((flat > 0.01).sum())} objects better by more than .01, "
        f"{int((flat < -0.01).sum())} worse."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path(__file__).parents[2] / "shared" / "data")
    parser.add_argument("--split", choices=("heldout", "train"), default="heldout")
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--objects", type=int, default=10, help="most objects of one volume")
    parser.add_argument("--only", default="", help="a word in the names of the data sets to run")
    parser.add_argument(
        "--unlabelled-empty", action="store_true", help="count slices without truth as empty"
    )
    parser.add_argument("--threads", type=int)
    for field in fields(StopRule):
        name = "--" + field.name.replace("_", "-")
        parser.add_argument(name, type=float, default=field.default, help="of our StopRule")
    options = parser.parse_args()
    rule = StopRule(**{field.name: getattr(options, field.name) for field in fields(StopRule)})
    if options.threads:
        torch.set_num_threads(options.threads)
    model = models.build("litemedsam")
    results: dict[str, list[tuple[Outcome, Outcome]]] = {}
    for path in paths(options.data, options.split):
        if options.only not in path.split("/")[0]:
            continue
        case = Case(options.data, path, model, options.cache)
        case.known |= options.unlabelled_empty
        for object_id in case.objects(options.objects):
            old, new = assess(case, object_id, rule)
            results.setdefault(case.dataset, []).append((old, new))
            print(f"{path} {object_id}: {old.dice:.3f} -> {new.dice:.3f} {new.beyond}", flush=True)
        if options.output is not None and results:
            options.output.write_text(table(results))
    print(table(results))
    if options.split == "heldout" and not options.only:
        rest = {k: v for k, v in results.items() if k not in ("hippocampus_mr", "vocalfolds_video")}
        print("Without hippocampus and vocal folds:", paired(rest), sep="\n")


if __name__ == "__main__":
    main()
