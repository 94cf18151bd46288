"""Clips as SAM 2 sees them: squares, read when they are drawn and kept while there is room."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol, TypeVar

import numpy as np
import torch

from napari_medsam2.errors import InputError
from napari_medsam2.models.sam2_prompts import preprocess

from .embedded import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from napari_medsam2.evaluation.dataset import Case

    from .clips import Clip

__all__ = ["Course", "Frames", "Kept", "Squares"]

MADE_UP = "made up"
# Of a square of 256; an object with fewer pixels is neither prompted nor judged.
_LEAST_PIXELS, _SIDE = 20, 256
_MOST_OBJECTS = 3
# A course that begins late in one direction is this long if the clip allows.
_LONG_ENOUGH = 4
_GAPS = 0.3
_TRIES = 100


@dataclass(frozen=True, eq=False)
class Squares:
    """The frames of a clip as the network takes them.

    Attributes
    ----------
    images : Tensor
        (T, 3, S, S) of float16, normalised.
    labels : ndarray of uint8
        (T, S, S).
    objects : tuple of int
        Values in the labels.
    """

    images: Tensor = field(repr=False)
    labels: NDArray[np.uint8] = field(repr=False)
    objects: tuple[int, ...]

    @property
    def nbytes(self) -> int:
        """Memory held."""
        return int(self.images.nbytes + self.labels.nbytes)


@dataclass(frozen=True)
class Course:
    """Objects that are prompted on the first of some frames and followed through the others.

    Attributes
    ----------
    clip : Clip
    frames : tuple of int
        Indices of its frames, in the order in which they are seen.
    objects : tuple of int
        Values in its labels; all are on the first of the frames.
    """

    clip: Clip
    frames: tuple[int, ...]
    objects: tuple[int, ...]


class _Weighty(Protocol):
    @property
    def nbytes(self) -> int: ...


_T = TypeVar("_T", bound=_Weighty)


class Kept:
    """What was made at some cost, until there is no more room for it.

    Parameters
    ----------
    megabytes : float
        What was used longest ago goes first.
    """

    def __init__(self, megabytes: float) -> None:
        self._room = megabytes * 1e6
        self._things: OrderedDict[Hashable, _Weighty] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], _T]) -> _T:
        """Return what is kept under a key, or make it."""
        if key in self._things:
            self._things.move_to_end(key)
            return self._things[key]  # type: ignore[return-value]
        made = make()
        self._room -= made.nbytes
        self._things[key] = made
        while self._room < 0 and self._things:
            self._room += self._things.popitem(last=False)[1].nbytes
        return made


class Frames:
    """Clips to learn from or to judge by.

    Parameters
    ----------
    clips : sequence of Clip
        Of cases, and made-up ones (`clips.made_up_clips`).
    cases : sequence of Case
        Those that the clips name.
    size : int
        Side of the network's input.
    made_up : float
        How often a made-up clip is drawn, if there are any; else each data set is drawn as often.
    keep_mb : float
        Memory for frames that were read and for features that a frozen encoder has made of them.

    Raises
    ------
    InputError
        If there are no clips.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        cases: Sequence[Case],
        size: int,
        *,
        made_up: float = 0.15,
        keep_mb: float = 2000.0,
    ) -> None:
        if not clips:
            raise InputError("there are no clips: no case shows an object that can be learnt")
        self.size, self.kept = size, Kept(keep_mb)
        self._cases = {case.id: case for case in cases}
        self._made_up = made_up
        self.by_dataset: dict[str, list[Clip]] = {}
        for clip in clips:
            name = self._cases[clip.case].dataset if clip.case else MADE_UP
            self.by_dataset.setdefault(name, []).append(clip)

    def show(self, clip: Clip) -> Squares:
        """Read a clip, or take what is kept of it."""
        return self.kept.get(("squares", clip), lambda: self._read(clip))

    def areas(self, clip: Clip) -> dict[int, NDArray[np.intp]]:
        """Return on how many pixels of each frame the objects of a clip are, 0 for hardly any."""
        squares = self.show(clip)
        least = max(1.0, _LEAST_PIXELS * (self.size / _SIDE) ** 2)
        found: dict[int, NDArray[np.intp]] = {}
        for value in squares.objects:
            area = (squares.labels == value).sum(axis=(1, 2))
            if area.max() >= least:
                found[value] = np.where(area >= least, area, 0)
        return found

    def draw(self, rng: np.random.Generator) -> Course:
        """Draw a clip, objects, a direction, and the frame on which they are prompted.

        Raises
        ------
        InputError
            If clip after clip shows nothing that is large enough.
        """
        for _ in range(_TRIES):
            clip = self._clip(rng)
            areas = self.areas(clip)
            if areas:
                return self._course(clip, areas, rng)
        raise InputError(
            f"the clips show no object of {_LEAST_PIXELS} pixels on frames of {_SIDE} x {_SIDE}; "
            "give images where the objects are larger, or crop them"
        )

    def judged(self, most: int) -> dict[str, list[Course]]:
        """Choose objects of so many clips of each data set, always the same ones.

        Each is prompted on the first frame that shows it, and followed to the end.
        """
        found: dict[str, list[Course]] = {}
        for name, clips in sorted(self.by_dataset.items()):
            rng = np.random.default_rng(0)
            for index in rng.permutation(len(clips))[:most]:
                clip = clips[int(index)]
                areas = self.areas(clip)
                if areas:
                    value = int(rng.choice(sorted(areas)))
                    first = int(np.flatnonzero(areas[value])[0])
                    frames = tuple(range(first, len(areas[value])))
                    found.setdefault(name, []).append(Course(clip, frames, (value,)))
        return found

    def _clip(self, rng: np.random.Generator) -> Clip:
        names = sorted(name for name in self.by_dataset if name != MADE_UP)
        if MADE_UP in self.by_dataset and (not names or rng.random() < self._made_up):
            names = [MADE_UP]
        own = self.by_dataset[names[int(rng.integers(len(names)))]]
        return own[int(rng.integers(len(own)))]

    def _course(
        self, clip: Clip, areas: dict[int, NDArray[np.intp]], rng: np.random.Generator
    ) -> Course:
        value = int(rng.choice(sorted(areas)))
        order = list(range(len(areas[value])))
        if rng.random() < 0.5:
            order.reverse()
        showing = [i for i, frame in enumerate(order) if areas[value][frame]]
        starts = [i for i in showing if len(order) - i >= _LONG_ENOUGH] or showing[:1]
        frames = order[int(rng.choice(starts)) :]
        if rng.random() < _GAPS and len(frames) >= 2 * _LONG_ENOUGH - 1:
            frames = frames[::2]
        others = [v for v in sorted(areas) if v != value and areas[v][frames[0]]]
        objects = (value, *(int(v) for v in rng.permutation(others)[: _MOST_OBJECTS - 1]))
        return Course(clip, tuple(frames), objects)

    def _read(self, clip: Clip) -> Squares:
        frames, labels, objects = shown(clip, self._cases)
        images = torch.cat([preprocess(frame, self.size) for frame in frames]).half()
        return Squares(images, np.stack([_squashed(p, self.size) for p in labels]), objects)


def _squashed(labels: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Bring labels (y, x) to a square of this side, by the nearest pixel."""
    rows, cols = (((np.arange(size) + 0.5) * n / size).astype(int) for n in labels.shape)
    square: NDArray[np.uint8] = labels[np.ix_(rows, cols)]
    return square
