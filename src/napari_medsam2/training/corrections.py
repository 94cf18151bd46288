"""Learning from one image that a person has corrected: some slices to learn from, some to judge by.

Slices of one image are alike, so scores on those held back tell whether the model has understood
this image, not whether it has become better on others.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medsam2.errors import InputError
from napari_medsam2.evaluation.datasets_case import Case
from napari_medsam2.evaluation.datasets_session import true_frames
from napari_medsam2.volume import Volume

from .clips import CLIP_FRAMES, Clip

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray

    from napari_medsam2.evaluation.datasets_case import Kind
    from napari_medsam2.evaluation.datasets_session import TrueFrames
    from napari_medsam2.session import Session

    from .finetune import Choices

__all__ = [
    "LEAST_FRAMES",
    "MINUTES",
    "correction_cases",
    "corrected_frames",
    "gentle",
    "split_frames",
    "whole_clips",
]

LEAST_FRAMES = 4
"""So many frames of an object are needed: three to learn from and one to judge by."""

MINUTES = 3.0
"""How long to learn from one image, unless something else is said."""

# Frames of an object, of which one is held back.
_HELD_BACK = 4
# Little is to be learnt: few frames shown in many ways, small steps, a look at what is held back
# every few seconds, and an end soon after nothing gets better.
_GENTLE: dict[str, Any] = {
    "frames": 200,
    "val_frames": 64,
    "size": 4,
    "rate": 0.5,
    "judge_every": 25,
    "give_up_after": 8,
}


def gentle(base: str, *, minutes: float = MINUTES, **others: Any) -> Choices:
    """Return choices for learning from few frames of one image.

    Parameters
    ----------
    base : str
        The model to begin from.
    minutes : float
    **others
        Fields of `Choices` that shall be otherwise.
    """
    from .finetune import Choices

    chosen: dict[str, Any] = {"minutes": minutes, **_GENTLE, **others}
    if chosen.get("steps") is not None:
        chosen["minutes"] = None
    return Choices(base=base, **chosen)


def corrected_frames(
    session: Session, frames: TrueFrames = "prompted", object_ids: Iterable[int] | None = None
) -> dict[int, tuple[int, ...]]:
    """Tell which frames of a session count as the truth of which objects.

    Parameters
    ----------
    session : Session
    frames : {"prompted", "segmented"}
        See `evaluation.datasets_session.true_frames`.
    object_ids : iterable of int, optional
        Only these objects.
    """
    found = true_frames(session.prompts, session.stack.of_labels(session.labels), frames)
    if object_ids is None:
        return found
    return {object_id: found.get(object_id, ()) for object_id in object_ids}


def correction_cases(
    session: Session, frames: TrueFrames = "prompted", object_ids: Iterable[int] | None = None
) -> tuple[Case, Case]:
    """Make two cases of what a person has corrected: one to learn from, one to judge by.

    Pixels and labels are copied now, in the calling thread, as the session's window shows them:
    what is edited later changes nothing.

    Parameters
    ----------
    session : Session
        In use, or loaded from a file.
    frames : {"prompted", "segmented"}
        See `evaluation.datasets_session.true_frames`. With "segmented", neighbours of what is held
        back are learnt from, and scores are the better for it.
    object_ids : iterable of int, optional
        Only these objects, all of which need `LEAST_FRAMES`. By default those that have enough;
        others are left out.

    Returns
    -------
    learn, held_back : Case
        About a quarter of the frames is held back, see `split_frames`.

    Raises
    ------
    InputError
        If there are too few frames.
    """
    found = corrected_frames(session, frames, object_ids)
    enough = {i: own for i, own in found.items() if len(own) >= LEAST_FRAMES}
    if not enough or (object_ids is not None and len(enough) < len(found)):
        raise InputError(_too_few(session, found, frames))
    held = split_frames(enough)
    sides = (
        {i: tuple(f for f in own if f not in held) for i, own in enough.items()},
        {i: tuple(f for f in own if f in held) for i, own in enough.items()},
    )
    learn, judge = (
        _case(session, {i: own for i, own in side.items() if own}, name)
        for side, name in zip(sides, ("learn", "held-back"), strict=True)
    )
    return learn, judge


def split_frames(frames: Mapping[int, Sequence[int]]) -> frozenset[int]:
    """Choose the frames that are held back, for all objects together.

    A frame that is learnt from for one object is not held back for another one.

    Parameters
    ----------
    frames : mapping of int to sequence of int
        Those that count as truth, by object.

    Returns
    -------
    frozenset of int
        About a quarter of the frames of each object, at least one, spread evenly along the axis.
    """
    held: set[int] = set()
    decided: set[int] = set()
    # Who has few frames has the least choice, and comes first.
    for own in sorted(frames.values(), key=lambda own: (len(own), tuple(own))):
        open_ = [frame for frame in sorted(own) if frame not in decided]
        wanted = max(1, round(len(own) / _HELD_BACK)) - len(held & set(own))
        count = min(max(wanted, 0), len(open_))
        held.update(open_[int((i + 0.5) * len(open_) / count)] for i in range(count))
        decided.update(own)
    return frozenset(held)


def whole_clips(cases: Sequence[Case], most: int) -> list[Clip]:
    """Return clips that show what is labelled once and as it is, to judge by.

    Labelled frames follow each other in a clip, whatever lies between them.

    Parameters
    ----------
    cases : sequence of Case
    most : int
        Frames in all, about; of more, some are taken that are evenly spread.
    """
    shown: list[tuple[str, int, list[int]]] = []
    for case in cases:
        _, labels = case.load()
        for object_id in case.objects:
            known = case.labelled(object_id, len(labels))
            frames = [f for f in known if (labels[f] == object_id).any()]
            if frames:
                shown.append((case.id, object_id, frames))
    share = max(1, most // max(len(shown), 1))
    clips = []
    for name, object_id, frames in shown:
        count = min(share, len(frames))
        taken = [frames[int((i + 0.5) * len(frames) / count)] for i in range(count)]
        for start in range(0, count, CLIP_FRAMES):
            chosen = tuple(taken[start : start + CLIP_FRAMES])
            clips.append(Clip(name, 0, chosen, (object_id,)))
    return clips


# Inside


def _case(session: Session, frames: Mapping[int, tuple[int, ...]], name: str) -> Case:
    stack, volume = session.stack, session.volume
    chosen = tuple(sorted({f for own in frames.values() for f in own}))
    n, (height, width) = len(stack), stack.shape
    true = stack.of_labels(session.labels)
    # Of frames that nobody looks at, the system keeps no memory.
    pixels = np.zeros((n, height, width, 3) if stack.is_rgb else (n, height, width), np.uint8)
    labels = np.zeros((n, height, width), true.dtype)
    for frame in chosen:
        pixels[frame] = session.window.apply(stack.frame(frame)).round()
        plane = true[frame]
        labels[frame] = np.where(np.isin(plane, list(frames)), plane, 0)
    # As colours of 8 bits, which are shown as they are: the window is applied already.
    data = pixels if stack.is_rgb else np.broadcast_to(pixels[..., np.newaxis], (*pixels.shape, 3))
    letter = "" if stack.axis is None else volume.label_axes[stack.axis]
    kind: Kind = "2d" if n == 1 else "video" if letter == "t" else "3d"
    shown = Volume(
        data,
        axes=("t" if letter == "t" else "z") + "yxc",
        spacing=stack.spacing,
        name=volume.name,
        modality=volume.modality,
    )
    names = {entry.id: entry.name for entry in session.prompts.objects}
    return Case(
        id=f"{volume.name}/{name}",
        dataset=volume.name,
        modality=volume.modality,
        kind=kind,
        split="train" if name == "learn" else "val",
        objects={object_id: names.get(object_id, "") for object_id in frames},
        labelled_frames=chosen,
        labelled_frames_by_object=dict(frames),
        subject=volume.source or volume.name,
        loader=partial(_loaded, shown, labels),
    )


def _loaded(volume: Volume, labels: NDArray[Any]) -> tuple[Volume, NDArray[Any]]:
    return volume, labels


def _too_few(session: Session, found: Mapping[int, tuple[int, ...]], frames: TrueFrames) -> str:
    names = {entry.id: entry.name for entry in session.prompts.objects}
    what = "with a prompt and a mask" if frames == "prompted" else "with a mask"
    told = ", ".join(
        f"{names.get(i) or f'object {i}'} has {len(own)}"
        for i, own in sorted(found.items())
        if len(own) < LEAST_FRAMES
    )
    return (
        f"{session.volume.name}: too little to learn from: {LEAST_FRAMES} frames {what} are needed "
        f"of an object, and {told or 'there is none'}; correct more frames by prompts of their own"
    )
