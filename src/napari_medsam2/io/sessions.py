"""A session as files: a prompts JSON with a part of its own, and the labels beside it.

``case.json`` holds prompts, decisions, settings, scores and runs; ``case.labels-<hash>.tif`` the
labels and ``case.masks.npz`` the masks of prompts. The labels' name carries their content, and the
JSON file, written last and renamed into place, names it: a crash at any moment leaves a whole old
session or a whole new one.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medsam2.errors import ReadError
from napari_medsam2.volume import Volume

from .atomic import check_target
from .files import read, read_labels, write_labels
from .json_text import Node
from .prompts import VERSION, objects_from_json, objects_to_json, read_document, write_document
from .records import (
    decisions_from_json,
    decisions_to_json,
    run_from_json,
    run_to_json,
    scores_to_json,
    view_from_json,
    window_from_json,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from napari_medsam2.history import RunRecord
    from napari_medsam2.prompts import PromptSet
    from napari_medsam2.state import State
    from napari_medsam2.volume import View

    from .prompts import MaskFile

__all__ = ["SavedSession", "read_session", "write_session"]

_SETTINGS = (
    "model",
    "axis",
    "window",
    "checkpoint",
    "image_size",
    "precision",
    "memory",
    "at",
    "channel",
)
# Settings that older sessions do not state.
_LATER_SETTINGS = {"zoom": "off", "level": None}


@dataclass(frozen=True, eq=False)
class SavedSession:
    """What a session keeps in files.

    Attributes
    ----------
    state : State
        Prompts and decisions.
    first_view : View
        Where runs belong that do not say so.
    settings : mapping
        Arguments of `Session`, by name; they look at the view of `state`.
    runs : tuple of RunRecord
        What led to the labels, in order.
    scores : mapping
        View to object id to confidence per frame, nan where not segmented.
    labels : ndarray of unsigned int
        Of the volume's label shape.
    volume : Volume
    """

    state: State
    first_view: View
    settings: Mapping[str, Any]
    runs: tuple[RunRecord, ...]
    scores: dict[View, dict[int, NDArray[np.float64]]]
    labels: NDArray[Any] = field(repr=False)
    volume: Volume

    @property
    def prompts(self) -> PromptSet:
        """The prompts of the view that it looks at."""
        return self.state.told.prompts


def write_session(path: Path, saved: SavedSession) -> Path:
    """Write a session over whatever the file held before, and return the JSON file's path.

    Raises
    ------
    WriteError
        If the folder is missing or cannot be written.
    """
    check_target(path, overwrite=True)
    digest = hashlib.sha256(np.ascontiguousarray(saved.labels).tobytes()).hexdigest()[:10]
    labels = path.with_name(f"{path.stem}.labels-{digest}.tif")
    if not labels.exists():
        write_labels(labels, saved.labels, saved.volume)

    def build(masks: MaskFile) -> dict[str, Any]:
        return {
            "version": VERSION,
            "axis": saved.settings["axis"],
            "objects": objects_to_json(saved.state.told.prompts, masks),
            "session": {
                "image": _image_to_json(saved.volume, path.parent),
                "settings": dict(saved.settings),
                "labels": labels.name,
                "scores": scores_to_json(saved.scores.get(saved.state.view, {})),
                **decisions_to_json(saved, masks),
                "runs": [run_to_json(run, masks) for run in saved.runs],
            },
        }

    write_document(path, build, overwrite=True)
    for old in path.parent.glob(f"{path.stem}.labels-*.tif"):
        if old != labels and re.fullmatch(r".*\.labels-[0-9a-f]{10}\.tif", old.name):
            old.unlink(missing_ok=True)
    return path


def read_session(path: Path, image: Volume | ArrayLike | None = None) -> SavedSession:
    """Read a session.

    Parameters
    ----------
    path : Path
        The JSON file.
    image : Volume or array-like, optional
        The image; None reads it from where the session says it was.

    Raises
    ------
    ReadError
        If this is no session, or the image or the labels are missing or others.
    """
    document, masks = read_document(path)
    if "session" not in document:
        raise ReadError(f"{path.name}: holds prompts but no saved session; use it as prompts")
    root = Node(document["session"], "session", path.name)
    root.keys(
        required=("image", "settings", "labels", "scores", "runs"),
        optional=("decisions", "elsewhere", "first_view"),
    )
    settings_node = root.get("settings")
    settings_node.keys(required=_SETTINGS, optional=tuple(_LATER_SETTINGS))
    settings_node.get("model").string()
    volume = _image_from_json(root.get("image"), path.parent, image)
    labels = _labels(root.get("labels"), path.parent, volume)
    settings = {**_LATER_SETTINGS, **settings_node.mapping()}
    if isinstance(settings["window"], list):
        settings["window"] = window_from_json(settings_node.get("window"))
    view = volume.stack(settings["axis"], settings["at"], settings["channel"]).view
    prompts = objects_from_json(document["objects"], "objects", masks)
    state, scores = decisions_from_json(root, view, prompts, masks)
    return SavedSession(
        state=state,
        first_view=view_from_json(root.get("first_view")) if "first_view" in root else view,
        settings=settings,
        runs=tuple(
            run_from_json(node, f"session.runs[{i}]", masks)
            for i, node in enumerate(root.get("runs").items())
        ),
        scores=scores,
        labels=labels,
        volume=volume,
    )


def fingerprint(volume: Volume) -> str:
    """Return a hash of the shape, type and three frames of an image, to know it again."""
    digest = hashlib.sha256(repr((volume.shape, volume.axes, volume.dtype.name)).encode())
    channel = None if volume.n_channels == 1 or volume.has_colour else 0
    stack = volume.stack(0, (0,) * max(0, len(volume.label_axes) - 3), channel)
    for index in sorted({0, len(stack) // 2, len(stack) - 1}):
        digest.update(np.ascontiguousarray(stack.frame(index)).tobytes())
    return digest.hexdigest()[:16]


def _image_to_json(volume: Volume, folder: Path) -> dict[str, Any]:
    source = volume.source
    if source:
        full = Path(source).resolve()
        inside = full.is_relative_to(folder.resolve())
        source = full.relative_to(folder.resolve()).as_posix() if inside else str(full)
    return {
        "source": source,
        "axes": volume.axes,
        "shape": list(volume.shape),
        "spacing": list(volume.spacing),
        "fingerprint": fingerprint(volume),
    }


def _image_from_json(node: Node, folder: Path, image: Volume | ArrayLike | None) -> Volume:
    node.keys(required=("source", "axes", "shape", "spacing", "fingerprint"), optional=())
    if image is None:
        source = node.get("source").string()
        if not source:
            raise node.get("source").error("is empty: the image was in memory; give it to load")
        path = folder / source
        if not path.exists():
            raise node.get("source").error(f"the image {os.fspath(path)} is gone; give it to load")
        image = read(path)
    axes = node.get("axes").string()
    volume = image if isinstance(image, Volume) else Volume(image, axes=axes)  # type: ignore[arg-type]
    spacing = tuple(v.number() for v in node.get("spacing").items())
    volume = volume.with_data(volume.data, spacing=spacing)
    if list(volume.shape) != node.get("shape").value:
        raise node.error(
            f"the session's image has shape {node.get('shape').value}, this one "
            f"{list(volume.shape)}"
        )
    if fingerprint(volume) != node.get("fingerprint").string():
        raise node.error(
            "the image is another one than the session was made on (its pixels differ)"
        )
    return volume


def _labels(node: Node, folder: Path, volume: Volume) -> NDArray[Any]:
    name = node.string()
    if not re.fullmatch(r"[^/\\:\0]+\.labels-[0-9a-f]{10}\.tif", name):
        raise node.error(f"{name!r} is no labels file of a session in this folder")
    if not (folder / name).is_file():
        raise node.error(f"the labels {name} are missing; they belong beside the session")
    labels = read_labels(folder / name)
    if labels.size != np.prod(volume.label_shape):
        raise node.error(f"the labels have shape {labels.shape}, the image {volume.label_shape}")
    return labels.reshape(volume.label_shape)
