"""Cases in .npz files: image, labels, spacing and meta in one; and those of MedSAM."""

from __future__ import annotations

import json
import math
import zipfile
import zlib
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medsam2.errors import ReadError
from napari_medsam2.io import read, read_labels
from napari_medsam2.volume import Volume

from .datasets_case import Case, Draft, Kind, framed, ids_of, kind_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["npz_case", "npz_folder"]

_KINDS: tuple[Kind, ...] = ("2d", "3d", "video")
# As they stand in the names of MedSAM's files: CT_Abd_..., 3DBox_MR_..., 2DUS_...
_MODALITIES = {
    "CT": "CT",
    "MR": "MR",
    "MRI": "MR",
    "PET": "PET",
    "US": "ultrasound",
    "CXR": "X-ray",
    "XRAY": "X-ray",
    "X-RAY": "X-ray",
    "OCT": "OCT",
    "FUNDUS": "fundus",
    "DERMOSCOPY": "dermoscopy",
    "ENDOSCOPY": "endoscopy",
    "MAMMOGRAPHY": "mammography",
    "MAMMO": "mammography",
    "MICROSCOPE": "microscopy",
    "MICROSCOPY": "microscopy",
    "PATHOLOGY": "pathology",
}


def npz_folder(folder: Path) -> list[Draft]:
    """Return the cases of a folder of .npz files, MedSAM's or ours, in order of their names."""
    paths = sorted(p for p in folder.glob("*.npz") if not p.name.startswith("."))
    return [_draft(path, folder.name) for path in paths]


def npz_case(path: Path, *, dataset: str, stated: Mapping[str, Any] | None = None) -> Case:
    """Describe the case of an .npz file.

    Parameters
    ----------
    path : Path
        Holds ``imgs`` and ``gts`` as MedSAM writes them, with ``spacing`` in SimpleITK's order
        (x, y, z); or ``image`` and ``labels``, with ``spacing`` in the order of the array and
        ``meta``, a JSON text with evaluate, label_names, labelled_frames,
        labelled_frames_by_label, kind, modality, split, subject (or patient), spacing_unit.
    dataset : str
        What the data set is called, unless `stated` or the file says so.
    stated : mapping, optional
        Fields of the case (name, objects, ...) that a manifest states; they win.

    Raises
    ------
    ReadError
        If the file is missing, damaged or lacks one of the two arrays.
    """
    given = {k: v for k, v in (stated or {}).items() if v not in (None, "")}
    with _opened(path) as archive:
        keys = archive.files
        medsam = "imgs" in keys and "gts" in keys
        if not medsam and not ("image" in keys and "labels" in keys):
            raise ReadError(
                f"{path.name}: a case holds imgs and gts, or image and labels; found "
                f"{', '.join(keys) or 'nothing'}"
            )
        meta = _meta(path, archive) if "meta" in keys else {}
        kind, objects = given.get("kind") or meta.get("kind"), _objects(path, meta, given)
        if kind is None or objects is None:
            labels = archive["gts" if medsam else "labels"]
            kind = kind or kind_of(labels, moving=medsam and _dimension(archive) == 4)
            objects = objects or dict.fromkeys(ids_of(labels), "")
        unit = meta.get("spacing_unit") or ("mm" if medsam and "spacing" in keys else "px")
    if kind not in _KINDS:
        raise ReadError(f"{path.name}: its meta says kind {kind!r}; known are {', '.join(_KINDS)}")
    dataset = given.get("dataset") or meta.get("dataset") or dataset
    everywhere, by_object = _labelled(path, meta, given)
    return Case(
        id=f"{dataset}/{given.get('case') or meta.get('case') or path.stem}",
        dataset=dataset,
        modality=given.get("modality") or meta.get("modality") or _modality(path.stem),
        kind=kind,
        split=given.get("split") or meta.get("split") or "",
        objects=objects,
        subject=given.get("subject") or _subject(meta),
        labelled_frames=everywhere,
        labelled_frames_by_object=by_object,
        unit=unit,
        files=(path,),
        loader=partial(_load_medsam if medsam else _load, path, kind),
    )


def _draft(path: Path, dataset: str) -> Draft:
    with _opened(path) as archive:
        meta = _meta(path, archive) if "meta" in archive.files else {}
    build = partial(npz_case, path, dataset=dataset)
    return Draft(str(meta.get("dataset") or dataset), str(meta.get("split") or ""), build)


def _load(path: Path, kind: Kind) -> tuple[Volume, NDArray[Any]]:
    volume, labels = read(path), read_labels(path)
    if labels.ndim == 3 and volume.label_axes == "yx":
        raise ReadError(f"{path.name}: has labels of shape {labels.shape} for a flat image")
    return framed(volume, labels, kind, path.name)


def _load_medsam(path: Path, kind: Kind) -> tuple[Volume, NDArray[Any]]:
    with _opened(path) as archive:
        image, labels = archive["imgs"], archive["gts"]
        spacing = np.ravel(archive["spacing"]).tolist() if "spacing" in archive.files else []
    if labels.dtype.kind not in "ui":
        labels = labels.astype(np.int64)
    letters = "yx" if labels.ndim == 2 else "zyx"
    volume = Volume(
        image,
        axes=letters + "c" * (image.ndim - labels.ndim),
        name=path.stem,
        source=str(path.resolve()),
        modality={"CT": "CT", "MR": "MR", "PET": "PT"}.get(_modality(path.stem), ""),
    )
    steps = _array_order(spacing)[-labels.ndim :]
    if len(steps) == labels.ndim:
        volume = volume.with_data(image, spacing=tuple(steps), units=("mm",) * len(steps))
    return framed(volume, labels, kind, path.name)


def _array_order(spacing: Sequence[float]) -> list[float]:
    """Bring a MedSAM spacing to the order of the array.

    Its scripts store that of SimpleITK, (x, y, z). Some derived sets have turned it round: pixels
    are square in plane, so if only the last two are equal it is (z, y, x) already.
    """
    if not spacing or not all(math.isfinite(s) and s > 0 for s in spacing):
        return []
    if len(spacing) == 3 and math.isclose(spacing[1], spacing[2], rel_tol=1e-6):
        return list(spacing)
    return list(reversed(spacing))


def _objects(path: Path, meta: dict[str, Any], given: dict[str, Any]) -> dict[int, str] | None:
    """Return the objects worth scoring, None if nothing says which."""
    names = meta.get("label_names") or {}
    stated = given.get("objects")
    try:
        if stated is None and meta.get("evaluate") is None:
            return None
        ids = stated if stated is not None else dict.fromkeys(map(int, meta["evaluate"]), "")
        return {i: name or str(names.get(str(i), "")) for i, name in ids.items()}
    except (TypeError, ValueError, AttributeError) as error:
        raise ReadError(
            f"{path.name}: meta.evaluate must be a list of label values and meta.label_names an "
            f"object of names ({error})"
        ) from error


def _labelled(
    path: Path, meta: dict[str, Any], given: dict[str, Any]
) -> tuple[tuple[int, ...] | None, dict[int, tuple[int, ...]]]:
    stated = given.get("labelled_frames", meta.get("labelled_frames"))
    try:
        by_object = {
            int(i): tuple(int(f) for f in frames)
            for i, frames in (meta.get("labelled_frames_by_label") or {}).items()
        }
        return (None if stated is None else tuple(int(f) for f in stated)), by_object
    except (TypeError, ValueError, AttributeError) as error:
        raise ReadError(
            f"{path.name}: meta.labelled_frames must be a list of frames, and "
            f"labelled_frames_by_label an object of such lists ({error})"
        ) from error


def _subject(meta: dict[str, Any]) -> str:
    return str(meta.get("subject") or meta.get("patient") or "")


def _dimension(archive: Any) -> int:
    return int(archive["imgs"].ndim)


def _modality(name: str) -> str:
    for word in name.upper().split("_"):
        plain = word.removeprefix("2D").removeprefix("3D")
        if plain in _MODALITIES:
            return _MODALITIES[plain]
    return ""


def _meta(path: Path, archive: Any) -> dict[str, Any]:
    try:
        meta = json.loads(str(archive["meta"]))
    except ValueError as error:
        raise ReadError(f"{path.name}: its 'meta' is no valid JSON ({error})") from error
    if not isinstance(meta, dict):
        raise ReadError(f"{path.name}: its 'meta' must be a JSON object")
    return meta


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open an archive, and say of whatever goes wrong in which file it was."""
    try:
        # Never pickle: it runs whatever the file says.
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            yield archive
    except ReadError:
        raise
    except FileNotFoundError as error:
        raise ReadError(f"{path}: there is no such file") from error
    except (OSError, ValueError, KeyError, TypeError, EOFError) as error:
        raise ReadError(f"{path.name}: cannot be read as npz ({error})") from error
    except (zipfile.BadZipFile, zlib.error, NotImplementedError) as error:
        raise ReadError(f"{path.name}: is a damaged npz ({error}); copy it again") from error
