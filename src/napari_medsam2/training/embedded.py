"""Clips with their embeddings on disk: the frozen encoder runs once, however long is trained.

A folder holds ``embeddings.npy`` (half precision, read without loading it), ``labels.npy`` (at the
256 x 256 square of the network) and ``clips.json``, which is written last. An interrupted run goes
on at the clip where it was.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_medsam2.errors import InputError
from napari_medsam2.io.atomic import atomic_path
from napari_medsam2.models.matching import SCALE, content
from napari_medsam2.windows import resolve_window

from .augment import draw
from .synthetic import made_up, warped

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_medsam2.evaluation.dataset import Case
    from napari_medsam2.models.base import Segmenter

    from .clips import Clip

__all__ = ["EmbeddedClip", "EmbeddedClips", "embed_clips", "shown"]

_MADE_UP = "made up"
_MOST_OBJECTS = 255


@dataclass(frozen=True)
class EmbeddedClip:
    """A clip in the folder.

    Attributes
    ----------
    dataset, kind : str
    start, stop : int
        Its rows.
    content : (height, width)
        What the frames fill of the 256 x 256 square.
    objects : tuple of int
        Values in its labels, from 1.
    """

    dataset: str
    kind: str
    start: int
    stop: int
    content: tuple[int, int]
    objects: tuple[int, ...]


@dataclass(frozen=True, eq=False)
class EmbeddedClips:
    """Clips whose frames are embedded.

    Attributes
    ----------
    clips : tuple of EmbeddedClip
    features : ndarray of float16
        (row, channels, 64, 64), on disk.
    labels : ndarray of uint8
        (row, 256, 256).
    key : str
        Of the encoder.
    """

    clips: tuple[EmbeddedClip, ...]
    features: NDArray[np.float16] = field(repr=False)
    labels: NDArray[np.uint8] = field(repr=False)
    key: str = ""

    def of(self, rows: Sequence[int]) -> torch.Tensor:
        """Return the features of some rows, (rows, channels, 64, 64) in half precision."""
        return torch.from_numpy(np.stack([self.features[row] for row in rows]))


def shown(
    clip: Clip, cases: Mapping[str, Case]
) -> tuple[list[NDArray[np.float32]], NDArray[np.uint8], tuple[int, ...]]:
    """Show a clip: its frames (0..255), its labels from 1, and which of them are learnt."""
    if not clip.case:
        images, labels = made_up(clip.variant, len(clip.frames))
        return list(images), labels, tuple(int(i) for i in np.unique(labels) if i)
    case = cases[clip.case]
    volume, truth = case.load()
    stack = volume.stack(clip.axis)
    # Axis 0 of the labels is that of the frames; the others follow in their order.
    truth = np.moveaxis(truth, clip.axis, 0)
    window = resolve_window(stack, "auto")
    frames = [window.apply(stack.frame(f)) for f in clip.frames]
    labels = np.zeros((len(frames), *truth.shape[1:]), dtype=np.uint8)
    for number, value in enumerate(clip.objects[:_MOST_OBJECTS], start=1):
        labels[truth[list(clip.frames)] == value] = number
    objects = tuple(range(1, len(clip.objects) + 1))
    if not clip.variant:
        return frames, labels, objects
    rng = clip.rng
    focus = labels == int(rng.integers(1, len(objects) + 1))
    focus = focus if focus.any() else labels > 0
    middle = [float(np.mean(axis)) for axis in np.nonzero(focus.any(axis=0))]
    way = draw(stack.shape, (middle[0], middle[1]), rng)
    frames = [way.image(frame, i) for i, frame in enumerate(frames)]
    labels = np.stack([way.labels(plane) for plane in labels]).astype(np.uint8)
    if clip.warps:
        frames, labels = warped(frames[0], labels[0], clip.warps, rng)
    return frames, labels, objects


def embed_clips(
    clips: Sequence[Clip],
    cases: Sequence[Case],
    model: Segmenter,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> EmbeddedClips:
    """Embed clips into a folder, or take what is there.

    Parameters
    ----------
    clips : sequence of Clip
    cases : sequence of Case
        Those that the clips name.
    model : Segmenter
        Whose encoder is meant.
    folder : Path
        Made if it is missing. What is there for the same clips and encoder is taken.
    progress : callable, optional
        Takes the number of clips that are done and that there are.

    Raises
    ------
    InputError
        If there are no clips, or the folder is of other clips or another encoder.
    """
    if not clips:
        raise InputError("there are no clips: no case shows an object that can be learnt")
    key = _key(clips, model)
    folder.mkdir(parents=True, exist_ok=True)
    index = folder / "clips.json"
    parts = folder / "parts"
    if index.exists():
        return _open(folder, key)
    _check_begun(folder, key)
    parts.mkdir(exist_ok=True)
    known = {case.id: case for case in cases}
    done: list[EmbeddedClip] = []
    row = 0
    for number, clip in enumerate(clips):
        part = parts / f"{number:06d}.npz"
        if not part.exists():
            _embed(clip, known, model, part)
        with np.load(part) as data:
            there = data["labels"].shape[0]
            whole = (int(data["content"][0]), int(data["content"][1]))
            objects = tuple(int(i) for i in data["objects"])
        case = known.get(clip.case)
        done.append(
            EmbeddedClip(
                case.dataset if case else _MADE_UP,
                case.kind if case else "3d",
                row,
                row + there,
                whole,
                objects,
            )
        )
        row += there
        if progress is not None:
            progress(number + 1, len(clips))
    _join(folder, parts, row, len(clips))
    with atomic_path(index, overwrite=True) as temporary:
        text = json.dumps({"key": key, "clips": [asdict(clip) for clip in done]})
        temporary.write_text(text + "\n", encoding="utf-8")
    for number in range(len(clips)):
        (parts / f"{number:06d}.npz").unlink()
    parts.rmdir()
    return _open(folder, key)


def square_labels(labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bring labels (y, x) to the 256 x 256 square, by the nearest pixel."""
    height, width = content(labels.shape)
    rows = ((np.arange(height) + 0.5) * labels.shape[0] / height).astype(int)
    cols = ((np.arange(width) + 0.5) * labels.shape[1] / width).astype(int)
    square = np.zeros((SCALE, SCALE), dtype=np.uint8)
    square[:height, :width] = labels[np.ix_(rows, cols)]
    return square


def _embed(clip: Clip, cases: Mapping[str, Case], model: Segmenter, part: Path) -> None:
    frames, labels, objects = shown(clip, cases)
    features = [model.embed(frame).features.half().cpu().numpy() for frame in frames]
    with atomic_path(part, overwrite=True) as temporary, temporary.open("wb") as file:
        np.savez(
            file,
            features=np.stack(features),
            labels=np.stack([square_labels(plane) for plane in labels]),
            content=np.array(content(frames[0].shape[:2])),
            objects=np.array(objects, dtype=np.int64),
        )


def _join(folder: Path, parts: Path, rows: int, count: int) -> None:
    features: Any = None
    labels = np.zeros((rows, SCALE, SCALE), dtype=np.uint8)
    row = 0
    for number in range(count):
        with np.load(parts / f"{number:06d}.npz") as data:
            some = data["features"]
            if features is None:
                features = np.lib.format.open_memmap(
                    folder / "embeddings.npy", "w+", np.float16, (rows, *some.shape[1:])
                )
            features[row : row + len(some)] = some
            labels[row : row + len(some)] = data["labels"]
            row += len(some)
    features.flush()
    np.save(folder / "labels.npy", labels)


def _open(folder: Path, key: str) -> EmbeddedClips:
    plain = json.loads((folder / "clips.json").read_text(encoding="utf-8"))
    if plain["key"] != key:
        raise InputError(
            f"{folder}: holds the embeddings of other clips or another encoder; choose another "
            "folder, or delete it"
        )
    clips = tuple(
        EmbeddedClip(**{**c, "content": tuple(c["content"]), "objects": tuple(c["objects"])})
        for c in plain["clips"]
    )
    features = np.load(folder / "embeddings.npy", mmap_mode="r")
    return EmbeddedClips(clips, features, np.load(folder / "labels.npy"), key)


def _check_begun(folder: Path, key: str) -> None:
    begun = folder / "begun.txt"
    if begun.exists() and begun.read_text(encoding="utf-8").strip() != key:
        raise InputError(f"{folder}: was begun with other clips; choose another folder")
    if not begun.exists():
        with atomic_path(begun, overwrite=True) as temporary:
            temporary.write_text(key + "\n", encoding="utf-8")


def _key(clips: Sequence[Clip], model: Segmenter) -> str:
    digest = hashlib.sha256(model.key.encode())
    for clip in clips:
        digest.update(repr(asdict(clip)).encode())
    return digest.hexdigest()
