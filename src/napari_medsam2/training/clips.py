"""What is learnt from: short runs of neighbouring frames of one case, shown in one way."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_medsam2.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_medsam2.evaluation.dataset import Case

__all__ = ["Clip", "check_split", "made_up_clips", "plan_clips", "split_cases"]

CLIP_FRAMES = 8
# A single image makes a clip of so many frames where it is pulled by smooth fields.
_WARPED_FRAMES = 4
# Volumes may be cut along any axis if no voxel is longer than this many times another side.
_ISOTROPIC = 1.5
# A flat data set of few images is not shown more often than this.
_MOST_VARIANTS = 8
# Share of the clips that begin beyond an end of the object: absence has to be learnt, too.
_AT_AN_END = 0.5
_OBJECTS = 12


@dataclass(frozen=True)
class Clip:
    """Some frames of a case, all shown in the same way.

    Attributes
    ----------
    case : str
        Its id; "" for an image that is made up (`synthetic`).
    axis : int
        The axis of the frames.
    frames : tuple of int
    objects : tuple of int
        Label values that are learnt.
    variant : int
        0 as it is; any other number seeds an augmentation.
    warps : int
        Frames that are made of a single one, 0 if none are.
    """

    case: str
    axis: int
    frames: tuple[int, ...]
    objects: tuple[int, ...]
    variant: int = 0
    warps: int = 0

    def __len__(self) -> int:
        """Return the number of frames that it shows."""
        return self.warps or len(self.frames)

    @property
    def rng(self) -> np.random.Generator:
        """Random numbers for its augmentation: the same for all of its frames."""
        text = f"{self.case} {self.axis} {self.frames}"
        return np.random.default_rng([self.variant, zlib.crc32(text.encode())])


def split_cases(
    cases: Sequence[Case], seed: int = 0, held_back: float = 0.2
) -> tuple[list[Case], list[Case]]:
    """Divide cases into those to learn from and those to judge by, never a subject on both sides.

    Parameters
    ----------
    cases : sequence of Case
        Where any of them has the split "val", the splits "train" and "val" are taken as they are,
        and others are left out. Otherwise subjects are drawn.
    seed : int
    held_back : float
        The share of subjects that are drawn to judge by, at least one.

    Returns
    -------
    train, val : lists of Case

    Raises
    ------
    InputError
        If one of them would be empty, or a subject is on both sides of the split that is stated.
    """
    if any(case.split == "val" for case in cases):
        train = [case for case in cases if case.split == "train"]
        val = [case for case in cases if case.split == "val"]
    else:
        subjects = sorted({_subject(case) for case in cases})
        if len(subjects) < 2:
            raise InputError(
                "fine-tuning needs cases of two subjects at least: one is held back to judge what "
                "was learnt; add cases, or say whose they are (column subject)"
            )
        count = max(1, round(len(subjects) * held_back))
        drawn = np.random.default_rng(seed).choice(len(subjects), size=count, replace=False)
        held = {subjects[i] for i in drawn}
        train = [case for case in cases if _subject(case) not in held]
        val = [case for case in cases if _subject(case) in held]
    if not train or not val:
        raise InputError(
            f"fine-tuning needs cases to learn from and cases to judge by; there are {len(train)} "
            f'of the split "train" and {len(val)} of "val"'
        )
    check_split(train, val)
    return train, val


def check_split(train: Sequence[Case], val: Sequence[Case]) -> None:
    """Raise `InputError` if a subject is on both sides of a split."""
    both = {_subject(case) for case in train} & {_subject(case) for case in val}
    if both:
        dataset, subject = min(both)
        raise InputError(
            f"subject {subject!r} of the data set {dataset!r} is both in train and in val: scores "
            "would be too good; put all cases of a subject on one side"
        )


def plan_clips(cases: Sequence[Case], frames: int, seed: int = 0) -> list[Clip]:
    """Choose which frames are learnt from, about as many of each data set.

    Labels are read; every case is shown once as it is, then again in other ways until the share of
    its data set is full.

    Parameters
    ----------
    cases : sequence of Case
    frames : int
        How many in all, about.
    seed : int
    """
    by_dataset: dict[str, list[Case]] = {}
    for case in cases:
        by_dataset.setdefault(case.dataset, []).append(case)
    share = frames / max(len(by_dataset), 1)
    clips: list[Clip] = []
    for name, own in sorted(by_dataset.items()):
        rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
        clips += _of_dataset(own, share, rng)
    return clips


def made_up_clips(count: int, seed: int = 0) -> list[Clip]:
    """Return clips of made-up shapes, each its own."""
    frames = tuple(range(CLIP_FRAMES))
    return [Clip("", 0, frames, (), seed * 100_000 + number + 1) for number in range(count)]


def _of_dataset(cases: Sequence[Case], share: float, rng: np.random.Generator) -> list[Clip]:
    clips: list[Clip] = []
    order = rng.permutation(len(cases))
    taken, variant = 0, 0
    while taken < share and variant <= _MOST_VARIANTS * CLIP_FRAMES:
        before = taken
        for index in order:
            case = cases[int(index)]
            flat = case.kind == "2d"
            if taken >= share:
                break
            if flat and variant > _MOST_VARIANTS:
                continue
            volume, labels = case.load()
            axis = 0
            # Where the truth of some frames is unknown, no other cut is known from edge to edge.
            whole = case.labelled_frames is None and not case.labelled_frames_by_object
            isotropic = whole and _is_isotropic(tuple(volume.spacing))
            if case.kind == "3d" and variant and isotropic:
                axis = int(rng.integers(3))
            clip = _clip(case, np.moveaxis(labels, axis, 0), axis, variant, rng)
            if clip is not None:
                clips.append(clip)
                taken += len(clip)
        variant += 1
        if taken == before:
            break
    return clips


def _clip(
    case: Case, labels: NDArray[np.integer], axis: int, variant: int, rng: np.random.Generator
) -> Clip | None:
    """Choose neighbouring frames around an object of a case, None if it shows none."""
    ids = [i for i in case.objects if bool((labels == i).any())]
    if not ids:
        return None
    chosen = int(rng.choice(ids))
    known = set(range(len(labels)) if axis else case.labelled(chosen, len(labels)))
    shown = [f for f in sorted(known) if (labels[f] == chosen).any()]
    if not shown:
        return None
    anchor = int(rng.choice(shown))
    if rng.random() < _AT_AN_END:
        anchor = shown[0] if rng.random() < 0.5 else shown[-1]
    start = anchor - int(rng.integers(CLIP_FRAMES))
    frames = tuple(f for f in range(start, start + CLIP_FRAMES) if f in known)
    # Where the truth of an object is not known, it would be learnt to be absent.
    there = [
        i
        for i in ids
        if (labels[list(frames)] == i).any()
        and (axis or set(frames) <= set(case.labelled(i, len(labels))))
    ]
    objects = tuple(sorted(int(i) for i in rng.permutation(there)[:_OBJECTS]))
    warps = _WARPED_FRAMES if len(frames) == 1 and variant % 2 else 0
    return Clip(case.id, axis, frames, objects, variant, warps)


def _is_isotropic(spacing: tuple[float, ...]) -> bool:
    return bool(np.isfinite(spacing).all()) and max(spacing) <= _ISOTROPIC * min(spacing)


def _subject(case: Case) -> tuple[str, str]:
    return case.dataset, case.subject or case.id
