"""Cases in folders of images and labels: nnU-Net's, the Decathlon's, and plain pairs."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medsam2.errors import ReadError
from napari_medsam2.io import read, read_labels
from napari_medsam2.io.json_text import read_object
from napari_medsam2.io.kinds import suffix_of

from .datasets_case import Case, Draft, Kind, framed, ids_of, kind_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from napari_medsam2.volume import Volume

__all__ = ["LABEL_FOLDERS", "nnunet_folder", "pair_case", "pair_folder"]

LABEL_FOLDERS = ("labels", "masks")
_ITK = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
_IMAGES = (*_ITK, ".tif", ".tiff", ".ome.tif", ".ome.tiff", ".npy", ".png", ".jpg", ".jpeg", ".bmp")
_SPLITS = {"Tr": "train", "Ts": "test"}


def pair_folder(folder: Path) -> list[Draft]:
    """Return the cases of a folder with images/ and labels/ (or masks/) of equal names.

    Raises
    ------
    ReadError
        For an image without labels, or labels without an image.
    """
    labels = next(folder / name for name in LABEL_FOLDERS if (folder / name).is_dir())
    pairs = _paired(_by_name(folder / "images"), _by_name(labels), folder / "images", labels)
    return [
        Draft(folder.name, "", partial(pair_case, image, truth, dataset=folder.name, name=name))
        for name, image, truth in pairs
    ]


def nnunet_folder(folder: Path) -> list[Draft]:
    """Return the cases of an nnU-Net or Decathlon data set that have labels.

    Of several channels (``_0000``, ``_0001``, ...) the first is the image. What dataset.json names
    is scored, the background and what is to be ignored aside; a region of several labels is not
    one object, so its labels count one by one, without a name.

    Raises
    ------
    ReadError
        For a dataset.json without labels, or an image or label file without the other.
    """
    facts = read_object(folder / "dataset.json")
    names = _label_names(facts, folder)
    channels = facts.get("channel_names") or facts.get("modality") or {}
    modality = str(channels.get("0", "")) if isinstance(channels, dict) else ""
    dataset = str(facts.get("name") or folder.name)
    drafts = []
    for ending, split in _SPLITS.items():
        images, labels = folder / f"images{ending}", folder / f"labels{ending}"
        if not images.is_dir() or not labels.is_dir():
            continue
        truths, found = _by_name(labels), _by_name(images)
        first = {n.removesuffix("_0000"): p for n, p in found.items() if n.endswith("_0000")}
        stated = {"modality": modality, "split": split, "names": names}
        for name, image, truth in _paired(first or found, truths, images, labels):
            build = partial(pair_case, image, truth, dataset=dataset, name=name, stated=stated)
            drafts.append(Draft(dataset, split, build))
    return drafts


def pair_case(
    image: Path,
    labels: Path,
    *,
    dataset: str,
    name: str,
    stated: Mapping[str, Any] | None = None,
) -> Case:
    """Describe the case of an image and a label file.

    The labels are read once to see which objects there are, unless `stated` gives both the objects
    and the kind.

    Parameters
    ----------
    image, labels : Path
    dataset, name : str
    stated : mapping, optional
        Any of modality, kind, split, objects, labelled_frames, spacing (with None where unknown),
        unit, axes; and names, what labels are called if they are there.

    Raises
    ------
    ReadError
        If a file cannot be read.
    """
    given = {k: v for k, v in (stated or {}).items() if v not in (None, "")}
    kind, objects, axes = given.get("kind"), given.get("objects"), given.get("axes", "")
    if kind is None or objects is None:
        truth = read_labels(labels)
        if kind is None:
            kind = kind_of(truth, moving="t" in (axes or _tiff_axes(image)))
        if objects is None:
            names = given.get("names")
            objects = {
                i: (names or {}).get(i, "") for i in ids_of(truth) if names is None or i in names
            }
    steps, unit = given.get("spacing"), given.get("unit", "")
    return Case(
        id=f"{dataset}/{name}",
        dataset=dataset,
        modality=given.get("modality", ""),
        kind=kind,
        split=given.get("split", ""),
        subject=given.get("subject", ""),
        objects=objects,
        labelled_frames=given.get("labelled_frames"),
        unit=unit or ("mm" if suffix_of(image) in _ITK else ""),
        files=(image, labels),
        loader=partial(_load, image, labels, kind, axes, steps, unit),
    )


def _load(
    image: Path, labels: Path, kind: Kind, axes: str, spacing: tuple[float, ...] | None, unit: str
) -> tuple[Volume, NDArray[Any]]:
    volume = read(image, axes=axes or None)
    truth = read_labels(labels)
    if spacing is not None:
        n = len(volume.label_axes)
        if n > len(spacing):
            raise ReadError(
                f"{image.name}: has axes {volume.axes!r}, but the manifest states a spacing of "
                f"{len(spacing)} numbers"
            )
        known = [np.isfinite(s) for s in spacing[-n:]]
        volume = volume.with_data(
            volume.data,
            spacing=tuple(s if k else 1.0 for s, k in zip(spacing[-n:], known, strict=True)),
            units=tuple(unit if k else "px" for k in known),
        )
    return framed(volume, truth, kind, labels.name)


def _tiff_axes(image: Path) -> str:
    """Return the axes of a TIFF, which are lazily read; no other format of pairs tells time."""
    return read(image).axes if "tif" in suffix_of(image) else ""


def _by_name(folder: Path) -> dict[str, Path]:
    """Return the image files of a folder by their name without suffix."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        suffix = suffix_of(path)
        # macOS leaves "._name" beside the files that it copies.
        if suffix not in _IMAGES or path.name.startswith("."):
            continue
        name = path.name[: -len(suffix)]
        if name in found:
            raise ReadError(
                f"{folder}: {found[name].name} and {path.name} are both called {name!r}; keep one"
            )
        found[name] = path
    return found


def _paired(
    images: dict[str, Path], labels: dict[str, Path], image_folder: Path, label_folder: Path
) -> list[tuple[str, Path, Path]]:
    for there, missing, where in (
        (images, labels, label_folder),
        (labels, images, image_folder),
    ):
        alone = sorted(there.keys() - missing.keys())
        if alone:
            more = f" (and {len(alone) - 1} more)" if len(alone) > 1 else ""
            raise ReadError(f"{there[alone[0]]}: has no counterpart in {where}{more}")
    return [(name, image, labels[name]) for name, image in images.items()]


def _label_names(facts: dict[str, Any], folder: Path) -> dict[int, str]:
    """Return the names of labels; version 1 maps ids to names, version 2 names to ids."""
    labels = facts.get("labels")
    if not isinstance(labels, dict):
        raise ReadError(f"{folder / 'dataset.json'}: labels: must be an object of names and ids")
    names: dict[int, str] = {}
    ignored = set()
    for key, value in labels.items():
        if key.isdecimal() and isinstance(value, str):
            key, value = value, int(key)
        ids = value if isinstance(value, list) else [value]
        if not all(isinstance(i, int) for i in ids):
            raise ReadError(f"{folder / 'dataset.json'}: labels.{key}: must be a whole number")
        if key == "ignore":
            ignored.update(ids)
        elif key != "background":
            for i in ids:
                names[i] = key if len(ids) == 1 else names.get(i, "")
    return {i: name for i, name in names.items() if i > 0 and i not in ignored}
