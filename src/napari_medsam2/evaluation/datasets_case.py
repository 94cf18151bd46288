"""A case of a data set: an image with its truth, read when it is needed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_medsam2.errors import InputError, ReadError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_medsam2.volume import Volume

__all__ = ["Case", "Draft", "Kind", "as_frames", "framed", "ids_of", "kind_of"]

Kind = Literal["2d", "3d", "video"]


@dataclass(frozen=True, kw_only=True)
class Case:
    """An image, its true labels, and what of them is worth scoring.

    Attributes
    ----------
    id : str
        ``dataset/name``, unique within a manifest.
    dataset, modality, split : str
        "" where nothing states it.
    kind : {"2d", "3d", "video"}
    objects : dict of int to str
        Label values worth scoring, and their names ("" if they have none).
    labelled_frames : tuple of int, optional
        The frames whose truth is known, None: all of them.
    labelled_frames_by_object : dict of int to tuple of int
        The same for single objects, where it differs.
    subject : str
        Whose image it is, "" if nothing states it: cases of one subject belong on one side of a
        split.
    unit : str
        Of the spacing, "px" if that is unknown, "" if only the image itself states it.
    files : tuple of Path
        What `load` reads: the image, and the labels if they are a file of their own.
    """

    id: str
    dataset: str
    modality: str
    kind: Kind
    split: str
    objects: Mapping[int, str]
    labelled_frames: tuple[int, ...] | None = None
    labelled_frames_by_object: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    subject: str = ""
    unit: str = ""
    files: tuple[Path, ...] = ()
    # A partial of a function of a module, so that a case can be sent to another process.
    loader: Callable[[], tuple[Volume, NDArray[Any]]] = field(repr=False, compare=False)

    def load(self) -> tuple[Volume, NDArray[Any]]:
        """Read the image and the labels.

        Returns
        -------
        volume : Volume
            Axes zyx or tyx (c aside); a 2D image is a stack of one frame. float16 has become
            float32.
        labels : ndarray of int
            (frame, y, x).

        Raises
        ------
        ReadError
            If a file is missing or damaged, or they do not fit together.
        """
        return self.loader()

    def labelled(self, object_id: int, n_frames: int) -> tuple[int, ...]:
        """Return the frames, out of so many, that have a truth for an object.

        Raises
        ------
        InputError
            If the case names frames that the image does not have.
        """
        frames = self.labelled_frames_by_object.get(object_id, self.labelled_frames)
        if frames is None:
            return tuple(range(n_frames))
        if frames and not 0 <= min(frames) <= max(frames) < n_frames:
            raise InputError(
                f"{self.id}: labelled frames {min(frames)} to {max(frames)} are not all among the "
                f"frames 0 to {n_frames - 1}"
            )
        return frames


@dataclass(frozen=True)
class Draft:
    """A case before it is looked at, so that those left out cost nothing."""

    dataset: str
    split: str
    build: Callable[[], Case]


def framed(
    volume: Volume, labels: NDArray[Any], kind: Kind, name: str
) -> tuple[Volume, NDArray[Any]]:
    """Bring an image and its labels to frames first, and check that they fit.

    Raises
    ------
    ReadError
        For labels of another shape, or an image of another dimension.
    """
    if labels.shape != volume.label_shape and labels.size == np.prod(volume.label_shape):
        squeezed = tuple(n for n in labels.shape if n > 1)
        if squeezed == tuple(n for n in volume.label_shape if n > 1):
            labels = labels.reshape(volume.label_shape)
    if labels.shape != volume.label_shape:
        raise ReadError(
            f"{name}: the labels have shape {labels.shape}, their image {volume.label_shape}"
        )
    letter = "t" if kind == "video" else "z"
    data, axes, spacing, units = volume.data, volume.axes, volume.spacing, volume.units
    if volume.label_axes == "yx":
        data, labels = np.asarray(data)[np.newaxis], labels[np.newaxis]
        axes, spacing, units = letter + axes, (1.0, *spacing), ("px", *units)
    elif volume.label_axes in ("zyx", "tyx"):
        axes = axes.replace("z", letter).replace("t", letter)
    else:
        raise ReadError(
            f"{name}: has axes {volume.axes!r}; a case has one stack of frames, zyx or tyx. Cut "
            "the image into several cases, or name its axes in the manifest"
        )
    if volume.dtype == np.float16:
        # Its sums overflow at 65504.
        data = np.asarray(data, dtype=np.float32)
    return volume.with_data(data, axes=axes, spacing=spacing, units=units), labels


def as_frames(labels: NDArray[Any]) -> NDArray[Any]:
    """Return labels with a frame axis: (y, x) is one frame."""
    return labels[np.newaxis] if labels.ndim == 2 else labels


def kind_of(labels: NDArray[Any], moving: bool = False) -> Kind:
    """Guess the kind of a case from its labels: one frame is 2D."""
    if len(as_frames(labels)) == 1:
        return "2d"
    return "video" if moving else "3d"


def ids_of(labels: NDArray[Any]) -> list[int]:
    """Return the values of labels, background aside, in order."""
    if labels.dtype.kind in "ui" and labels.size and labels.min() >= 0 and labels.max() < 1 << 24:
        # Much faster than sorting the voxels of a volume.
        counts = np.bincount(labels.ravel())
        return [int(i) for i in np.flatnonzero(counts) if i > 0]
    return [int(i) for i in np.unique(labels) if i > 0]
