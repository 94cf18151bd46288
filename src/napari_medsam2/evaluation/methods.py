"""What is compared: models of the catalogue, and baselines that give their numbers a meaning."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import numpy as np
from scipy import ndimage

from napari_medsam2 import models
from napari_medsam2.errors import InputError, PromptError
from napari_medsam2.masks import bounding_box
from napari_medsam2.prompts import BoxPrompt, MaskPrompt, PromptSet
from napari_medsam2.session import Session

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_medsam2.models.base import Segmenter
    from napari_medsam2.prompts import Prompt
    from napari_medsam2.tracking.collection import CollectedMask
    from napari_medsam2.volume import Volume

__all__ = ["BASELINES", "Method", "ModelOptions", "Opened", "make_method"]

Direction = Literal["both", "forward"]

_OBJECT = 1
# Of the published box chain, at the scale of LiteMedSAM's input.
_GROWTH_PX, _SCALE = 3, 256
# Random walker: how sharp intensity borders are, and the widest margin around a box, in pixels.
_BETA, _MARGIN = 130, 12


class Opened(Protocol):
    """A method on one image, which it may keep embeddings of."""

    def frame(self, frame: int, prompts: Sequence[Prompt]) -> NDArray[np.bool_]:
        """Segment one frame by prompts on it: (y, x)."""

    def carry(self, prompts: Sequence[Prompt], direction: Direction) -> NDArray[np.bool_]:
        """Segment all frames from prompts on some: (frame, y, x)."""


class Method(Protocol):
    """A model or a baseline.

    Attributes
    ----------
    name : str
    prompts : tuple of str
        Kinds that it takes: "box", "points", "mask".
    takes_clicks : bool
        Whether points on a frame refine what was found there.
    """

    @property
    def name(self) -> str:
        """Its name in tables."""

    @property
    def prompts(self) -> tuple[str, ...]:
        """Kinds of prompts that it takes."""

    @property
    def takes_clicks(self) -> bool:
        """Whether points on a frame refine what was found there."""

    @property
    def key(self) -> str:
        """What its results depend on, for resuming."""

    def open(self, volume: Volume) -> Opened:
        """Begin with an image."""


@dataclass(frozen=True)
class ModelOptions:
    """How models compute; fields as in `Session`.

    `first_mask` takes the first of several masks in place of the one that the model rates best, as
    Dong et al. (2024) compare; models that answer with one mask have no choice.
    """

    device: str = "auto"
    precision: str = "auto"
    window: str = "auto"
    image_size: int | None = None
    cache: float | str | None = None
    first_mask: bool = False


@runtime_checkable
class _Choosing(Protocol):
    """A model that answers with several masks."""

    def taking_first_mask(self) -> Segmenter:
        """Return it as it takes the first one."""


class ModelMethod:
    """A model of the catalogue as `Session` runs it, loaded once."""

    takes_clicks = True

    def __init__(self, name: str, options: ModelOptions, checkpoint: Path | None = None) -> None:
        self.card = models.get(name)
        # A folder's whole path would fill a table.
        own = self.card.folder
        shown = name if own is None else Path(own).name
        self.name = shown if checkpoint is None else f"{shown} ({checkpoint.name})"
        self.prompts = self.card.prompts
        self._options = options
        self._checkpoint = checkpoint
        self._model: Segmenter | None = None

    @property
    def key(self) -> str:
        """What its results depend on: weights, form, window."""
        return f"{self.model.answers_key} {self._options.window}"

    @property
    def model(self) -> Segmenter:
        """The model, loaded on first use."""
        if self._model is None:
            from napari_medsam2.models.device import choose_device

            self._model = models.build(
                self.card.name,
                device=choose_device(self._options.device),
                checkpoint=self._checkpoint,
                precision=self._options.precision,
                image_size=self._options.image_size if self.card.family == "sam2" else None,
            )
            if self._options.first_mask and isinstance(self._model, _Choosing):
                self._model = self._model.taking_first_mask()
        return self._model

    @property
    def has_memory(self) -> bool:
        """Whether it can segment a collection from one prompt."""
        return self.card.family in ("sam2", "litetrack")

    def collect(self, volumes: Sequence[Volume], prompts: Sequence[Prompt]) -> list[CollectedMask]:
        """Segment a collection of images from prompts on one of them."""
        return self.open(volumes[0]).session.segment_collection(volumes, prompts)

    def open(self, volume: Volume) -> OpenedModel:
        """Begin with an image."""
        session = Session(
            volume,
            model=self.card.name,
            window=self._options.window,
            cache=self._options.cache,
            # The published protocols show the model whole frames.
            zoom="off",
        )
        session.use_model(self.model)
        return OpenedModel(session)


class OpenedModel:
    """A session that is asked again and again; its embeddings are kept."""

    def __init__(self, session: Session) -> None:
        self.session = session

    def frame(self, frame: int, prompts: Sequence[Prompt]) -> NDArray[np.bool_]:
        """Segment one frame by prompts on it: (y, x)."""
        self._begin(prompts)
        self.session.segment(frame)
        mask: NDArray[np.bool_] = self._labels()[frame] == _OBJECT
        return mask

    def carry(self, prompts: Sequence[Prompt], direction: Direction) -> NDArray[np.bool_]:
        """Segment all frames from prompts on some: (frame, y, x)."""
        self._begin(prompts)
        for _ in self.session.propagate(direction):
            pass
        found: NDArray[np.bool_] = self._labels() == _OBJECT
        return found

    def _begin(self, prompts: Sequence[Prompt]) -> None:
        session = self.session
        session.labels[...] = 0
        session.begin_history()
        session.set_prompts(PromptSet().add(_OBJECT, *prompts))

    def _labels(self) -> NDArray[Any]:
        return self.session.stack.of_labels(self.session.labels)


class FrameWise:
    """A baseline that segments frames by boxes, and carries a box from mask to mask.

    The published way of LiteMedSAM in 3D: the next box is that of the mask before it, grown by 3
    pixels at a scale of 256, back to the first one where nothing was found; it never stops (Ma et
    al., github.com/bowang-lab/MedSAM, branch LiteMedSAM).
    """

    prompts: tuple[str, ...] = ("box",)
    takes_clicks = False

    def __init__(self, name: str, options: ModelOptions) -> None:
        self.name = name
        self._inner = ModelMethod("litemedsam", options) if name == "box-chain" else None
        self._window = options.window

    @property
    def key(self) -> str:
        """What its results depend on: those of the model that it chains, or the window."""
        return f"{self.name} {self._inner.key if self._inner else self._window}"

    def open(self, volume: Volume) -> OpenedFrameWise:
        """Begin with an image."""
        if self._inner is not None:
            return OpenedFrameWise(volume, self._inner.open(volume))
        return OpenedFrameWise(volume, None)


class OpenedFrameWise:
    """The box chain on one image, over LiteMedSAM or over the random walker."""

    def __init__(self, volume: Volume, inner: OpenedModel | None) -> None:
        self.stack = volume.stack(0)
        self._inner = inner

    def frame(self, frame: int, prompts: Sequence[Prompt]) -> NDArray[np.bool_]:
        """Segment one frame by a box on it: (y, x)."""
        if self._inner is not None:
            return self._inner.frame(frame, prompts)
        return random_walk(self.stack.frame(frame), _box(prompts).box)

    def carry(self, prompts: Sequence[Prompt], direction: Direction) -> NDArray[np.bool_]:
        """Segment all frames from one box on some, each from the nearest: (frame, y, x)."""
        n = len(self.stack)
        found = np.zeros((n, *self.stack.shape), dtype=bool)
        boxes = {prompt.frame: _box([prompt]) for prompt in prompts}
        told = sorted(boxes)
        owners = [min(told, key=lambda f: abs(f - frame)) for frame in range(n)]
        growth = _GROWTH_PX * max(self.stack.shape) / _SCALE
        for first in told:
            found[first] = start = self.frame(first, [boxes[first]])
            ways = [range(first + 1, n)]
            if direction == "both":
                ways.append(range(first - 1, -1, -1))
            for way in ways:
                mask = start
                for frame in (frame for frame in way if owners[frame] == first):
                    box = _grown(mask, growth) or boxes[first].box
                    mask = found[frame] = self.frame(frame, [BoxPrompt(frame, box)])
        return found


class Copy:
    """The mask of the prompted frame on every frame: what not looking at them gives."""

    name = "copy"
    prompts: tuple[str, ...] = ("box", "mask")
    takes_clicks = False

    def __init__(self, options: ModelOptions) -> None:
        self._inner = ModelMethod("litemedsam", options)

    @property
    def key(self) -> str:
        """What its results depend on: the model that segments its boxes."""
        return f"copy {self._inner.key}"

    def open(self, volume: Volume) -> OpenedCopy:
        """Begin with an image."""
        return OpenedCopy(self._inner.open(volume))


class OpenedCopy:
    """Copying on one image; a box is first segmented by LiteMedSAM."""

    def __init__(self, inner: OpenedModel) -> None:
        self._inner = inner

    def frame(self, frame: int, prompts: Sequence[Prompt]) -> NDArray[np.bool_]:
        """Return the mask that was given, or that of a box: (y, x)."""
        for prompt in prompts:
            if isinstance(prompt, MaskPrompt):
                return prompt.mask
        return self._inner.frame(frame, prompts)

    def carry(self, prompts: Sequence[Prompt], direction: Direction) -> NDArray[np.bool_]:
        """Return the mask of the nearest prompted frame on every frame: (frame, y, x)."""
        stack = self._inner.session.stack
        told = sorted({prompt.frame for prompt in prompts})
        masks = {f: self.frame(f, [p for p in prompts if p.frame == f]) for f in told}
        found = np.zeros((len(stack), *stack.shape), dtype=bool)
        for frame in range(0 if direction == "both" else told[0], len(stack)):
            found[frame] = masks[min(told, key=lambda f: abs(f - frame))]
        return found


BASELINES = ("box-chain", "copy", "random-walker")


@cache
def make_method(name: str, options: ModelOptions) -> Method:
    """Make a method by name; the same one for the same options, so that its model is loaded once.

    Parameters
    ----------
    name : str
        A baseline, a model of the catalogue, the path of a model folder, or "MODEL=CHECKPOINT" for
        weights of one's own.
    options : ModelOptions

    Raises
    ------
    ModelError, InputError
        For an unknown name or a checkpoint that is not there.
    """
    if name == "copy":
        return Copy(options)
    if name in BASELINES:
        return FrameWise(name, options)
    # A folder may be named after a setting of its training, such as rate=0.001.
    is_folder = os.path.isdir(os.path.expanduser(name))
    model, given, checkpoint = (name, "", "") if is_folder else name.partition("=")
    path = Path(checkpoint) if given else None
    if path is not None and not path.is_file():
        raise InputError(f"--models {name}: there is no file {checkpoint}")
    return ModelMethod(model, options, path)


def random_walk(image: NDArray[Any], box: tuple[float, ...]) -> NDArray[np.bool_]:
    """Segment what a box holds by the random walker (Grady, 2006), as scikit-image has it.

    The middle of the box is object, what lies outside it is not; intensities decide between.

    Parameters
    ----------
    image : ndarray
        (y, x) or (y, x, 3).
    box : (y0, x0, y1, x1)

    Returns
    -------
    ndarray of bool
        (y, x).
    """
    from skimage.segmentation import random_walker

    height, width = image.shape[:2]
    y0, x0, y1, x1 = (round(v) for v in box)
    top, left = max(y0 - _MARGIN, 0), max(x0 - _MARGIN, 0)
    crop = np.asarray(image[top : y1 + _MARGIN, left : x1 + _MARGIN], dtype=np.float64)
    crop = crop.mean(axis=-1) if crop.ndim == 3 else crop
    crop = np.nan_to_num(crop, posinf=0.0, neginf=0.0)
    seeds = np.full(crop.shape, 2)
    inside = np.zeros(crop.shape, dtype=bool)
    inside[y0 - top : y1 - top, x0 - left : x1 - left] = True
    seeds[inside] = 0
    depth = ndimage.distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    seeds[depth >= 0.6 * depth.max()] = 1
    result = np.zeros((height, width), dtype=bool)
    if not (seeds == 2).any():
        # The box fills the image: nothing is known to be outside.
        result[y0:y1, x0:x1] = True
        return result
    spread = float(np.ptp(crop)) or 1.0
    # The solver stops at probabilities a little beside 0 and 1, which decide nothing.
    walked = random_walker(
        (crop - crop.min()) / spread, seeds, beta=_BETA, mode="cg_j", tol=1e-3, prob_tol=0.1
    )
    result[top : top + crop.shape[0], left : left + crop.shape[1]] = walked == 1
    return result


def _box(prompts: Sequence[Prompt]) -> BoxPrompt:
    boxes = [prompt for prompt in prompts if isinstance(prompt, BoxPrompt)]
    if len(boxes) != 1 or len(prompts) != 1:
        raise PromptError("this baseline takes one box on one frame")
    return boxes[0]


def _grown(mask: NDArray[np.bool_], by: float) -> tuple[float, float, float, float] | None:
    """Return the box of a mask grown by so many pixels, None if it is too small for one."""
    y0, x0, y1, x1 = bounding_box(mask)
    height, width = mask.shape
    if y1 - y0 < 1:
        return None
    grown = (max(y0 - by, 0), max(x0 - by, 0), min(y1 + by, height), min(x1 + by, width))
    return grown if grown[2] - grown[0] >= 2 and grown[3] - grown[1] >= 2 else None
