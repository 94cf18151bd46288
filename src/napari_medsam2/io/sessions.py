"""A session as files: a prompts JSON with a part of its own, and the labels beside it.

``case.json`` holds prompts, settings, scores and runs; ``case.labels-<hash>.tif`` the labels and
``case.masks.npz`` the masks of prompts. The labels' name carries their content, and the JSON file,
written last and renamed into place, names it: a crash at any moment leaves a whole old session or a
whole new one.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from napari_medsam2.errors import ReadError
from napari_medsam2.history import ModelChoice, RunRecord
from napari_medsam2.volume import Volume

from .atomic import check_target
from .files import read, read_labels, write_labels
from .json_text import Node
from .prompts import VERSION, objects_from_json, objects_to_json, read_document, write_document

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from napari_medsam2.prompts import PromptSet

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
_KINDS = ("segment", "propagate", "remove")
_DIRECTIONS = ("both", "forward", "backward")


@dataclass(frozen=True, eq=False)
class SavedSession:
    """What a session keeps in files.

    Attributes
    ----------
    prompts : PromptSet
    settings : mapping
        Arguments of `Session`, by name.
    runs : tuple of RunRecord
        What led to the labels, in order.
    scores : mapping
        Object id to confidence per frame, nan where not segmented.
    labels : ndarray of unsigned int
        Of the volume's label shape.
    volume : Volume
    """

    prompts: PromptSet
    settings: Mapping[str, Any]
    runs: tuple[RunRecord, ...]
    scores: dict[int, NDArray[np.float64]]
    labels: NDArray[Any] = field(repr=False)
    volume: Volume


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
            "objects": objects_to_json(saved.prompts, masks),
            "session": {
                "image": _image_to_json(saved.volume, path.parent),
                "settings": dict(saved.settings),
                "labels": labels.name,
                "scores": {str(i): _scores_to_json(s) for i, s in saved.scores.items()},
                "runs": [_run_to_json(run, masks) for run in saved.runs],
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
    root.keys(required=("image", "settings", "labels", "scores", "runs"), optional=())
    settings_node = root.get("settings")
    settings_node.keys(required=_SETTINGS, optional=())
    settings_node.get("model").string()
    volume = _image_from_json(root.get("image"), path.parent, image)
    labels = _labels(root.get("labels"), path.parent, volume)
    settings = dict(settings_node.mapping())
    if isinstance(settings["window"], list):
        low, high = settings_node.get("window").numbers(2, "low, high")
        settings["window"] = (low, high)
    return SavedSession(
        prompts=objects_from_json(document["objects"], "objects", masks),
        settings=settings,
        runs=tuple(
            _run_from_json(node, f"session.runs[{i}]", masks)
            for i, node in enumerate(root.get("runs").items())
        ),
        scores={
            int(key): _scores_from_json(root.get("scores").get(key))
            for key in root.get("scores").mapping()
        },
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


def _scores_to_json(scores: NDArray[np.float64]) -> list[float | None]:
    return [None if np.isnan(s) else float(s) for s in scores]


def _scores_from_json(node: Node) -> NDArray[np.float64]:
    return np.array(
        [np.nan if item.value is None else item.number() for item in node.items()], dtype=np.float64
    )


def _run_to_json(run: RunRecord, masks: MaskFile) -> dict[str, Any]:
    common: dict[str, Any] = {"kind": run.kind, "objects": objects_to_json(run.prompts, masks)}
    if run.window is not None:
        common["window"] = list(run.window)
    if run.corrections:
        common["corrections"] = [
            {"id": i, "frames": sorted(frames)} for i, frames in sorted(run.corrections.items())
        ]
    if run.model is not None:
        common["model"] = asdict(run.model)
    if run.kind == "segment":
        return common | {"frame": run.frame, "updates": run.updates}
    if run.kind == "propagate":
        span = {"direction": run.direction, "start": run.start, "stop": run.stop}
        return common | span | {"updates": run.updates}
    return common


def _run_from_json(node: Node, where: str, masks: MaskFile) -> RunRecord:
    node.keys(
        required=("kind", "objects"),
        optional=(
            "frame",
            "direction",
            "start",
            "stop",
            "updates",
            "window",
            "corrections",
            "model",
        ),
    )
    kind = node.get("kind").string()
    direction = node.get("direction").string() if "direction" in node else "both"
    if kind not in _KINDS or direction not in _DIRECTIONS:
        raise node.error(f"is no run: kind {kind!r}, direction {direction!r}")
    window = None
    if "window" in node:
        low, high = node.get("window").numbers(2, "low, high")
        window = (low, high)
    return RunRecord(
        kind=cast("Literal['segment', 'propagate', 'remove']", kind),
        prompts=objects_from_json(node.get("objects").value, f"{where}.objects", masks),
        frame=_optional(node, "frame"),
        direction=cast("Literal['both', 'forward', 'backward']", direction),
        start=_optional(node, "start"),
        stop=_optional(node, "stop"),
        updates=_optional(node, "updates") or 0,
        window=window,
        corrections=_corrections_from_json(node.get("corrections"))
        if "corrections" in node
        else {},
        model=_model_from_json(node.get("model")) if "model" in node else None,
    )


def _model_from_json(node: Node) -> ModelChoice:
    node.keys(required=[f.name for f in fields(ModelChoice)])
    checkpoint = node.get("checkpoint")
    return ModelChoice(
        model=node.get("model").string(),
        checkpoint=None if checkpoint.value is None else checkpoint.string(),
        image_size=_optional(node, "image_size"),
        precision=node.get("precision").string(),
        memory=node.get("memory").string(),
    )


def _corrections_from_json(node: Node) -> dict[int, frozenset[int]]:
    found = {}
    for item in node.items():
        item.keys(required=("id", "frames"))
        frames = frozenset(frame.integer() for frame in item.get("frames").items())
        found[item.get("id").integer()] = frames
    return found


def _optional(node: Node, key: str) -> int | None:
    if key not in node or node.get(key).value is None:
        return None
    return node.get(key).integer()
