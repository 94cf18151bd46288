"""A session as files: a prompts JSON with a part of its own, and the labels beside it.

``case.json`` holds prompts, decisions, settings, scores and runs; ``case.labels-<token>.tif`` the
labels and ``case.masks-<token>.npz`` the masks of prompts. Each write has a token of its own, and
the JSON file, written last and renamed into place, names its two files; those that the older JSON
file named are removed after that. So a crash at any moment leaves a whole old session or a whole
new one, and of two programs that write the same session one wins whole.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medsam2.errors import ReadError
from napari_medsam2.volume import Volume

from .atomic import check_target
from .files import read, read_labels, write_labels
from .json_text import Node, read_object
from .masks import MaskFile
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
    from collections.abc import Iterable, Iterator, Mapping

    from numpy.typing import ArrayLike, NDArray

    from napari_medsam2.history import RunRecord
    from napari_medsam2.prompts import PromptSet
    from napari_medsam2.state import State
    from napari_medsam2.volume import View

__all__ = ["SavedSession", "fingerprint", "read_session", "write_session"]

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
# Seconds after which nobody can still be writing a file.
_ABANDONED = 24 * 3600

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


def write_session(path: Path, saved: SavedSession, image: str | None = None) -> Path:
    """Write a session over whatever the file held before, and return the JSON file's path.

    Parameters
    ----------
    path : Path
    saved : SavedSession
    image : str, optional
        The fingerprint of its image; computed by default.

    Raises
    ------
    WriteError
        If the folder is missing or cannot be written.
    """
    check_target(path, overwrite=True)
    token, outdated = secrets.token_hex(5), _outdated(path)
    labels = path.with_name(f"{path.stem}.labels-{token}.tif")
    mask_file = MaskFile(path, token)

    def build(masks: MaskFile) -> dict[str, Any]:
        return {
            "version": VERSION,
            "axis": saved.settings["axis"],
            "objects": objects_to_json(saved.state.told.prompts, masks),
            "session": {
                "image": _image_to_json(saved.volume, path.parent, image),
                "settings": dict(saved.settings),
                "labels": labels.name,
                "scores": scores_to_json(saved.scores.get(saved.state.view, {})),
                **decisions_to_json(saved, masks),
                "runs": [run_to_json(run, masks) for run in saved.runs],
            },
        }

    try:
        write_labels(labels, saved.labels, saved.volume)
        write_document(path, build, overwrite=True, masks=mask_file)
    except Exception:
        _remove((labels, mask_file.path))
        raise
    _remove(outdated)
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


def _outdated(path: Path) -> set[Path]:
    """Return what a new session at a path makes useless.

    That is what the session there names, and what programs have left that died while they wrote
    one. A younger file may belong to a program that is writing now.
    """
    token = r"-[0-9a-f]{10}"
    ours = re.compile(rf"{re.escape(path.stem)}\.(labels{token}\.tif|masks{token}\.npz)")
    older = f"{path.stem}.masks.npz"
    found = {n for n in _texts_in(path) if n == older or ours.fullmatch(n)}
    abandoned = time.time() - _ABANDONED
    for other in path.parent.iterdir():
        if ours.fullmatch(other.name):
            with contextlib.suppress(OSError):
                if other.stat().st_mtime < abandoned:
                    found.add(other.name)
    return {path.with_name(name) for name in found}


def _remove(paths: Iterable[Path]) -> None:
    for path in paths:
        # Somebody may be reading it, which some systems do not forgive.
        with contextlib.suppress(OSError):
            path.unlink()


def _texts_in(path: Path) -> Iterator[str]:
    """Yield the texts in the document at a path, if it is a session."""
    try:
        document = read_object(path)
    except ReadError:
        return
    waiting: list[Any] = [document] if "session" in document else []
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _image_to_json(volume: Volume, folder: Path, known: str | None) -> dict[str, Any]:
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
        "fingerprint": fingerprint(volume) if known is None else known,
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
