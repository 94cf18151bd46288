"""Prompts as JSON: a strict reader, a writer that loses nothing, masks in a file beside it.

The simple way is `read_prompts` and `write_prompts`. A saved session keeps more prompts under its
own key and shares the mask file, through the two functions below them::

    def build(masks: MaskFile) -> dict[str, Any]:
        return {"version": 1, "axis": 0, "objects": objects_to_json(prompts, masks),
                "session": {"history": [objects_to_json(p, masks) for p in history], ...}}

    write_document(path, build, overwrite=True)

    document, masks = read_document(path)
    prompts = objects_from_json(document["objects"], "objects", masks)
    history = [objects_from_json(v, f"session.history[{i}]", masks)
               for i, v in enumerate(document["session"]["history"])]

`objects_from_json` takes the place of its value in the document, for messages such as
``case.json: objects[0].prompts[2].boxx: unknown key, did you mean 'box'?``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medsam2.errors import PromptError, WriteError
from napari_medsam2.prompts import (
    BoxPrompt,
    MaskPrompt,
    ObjectPrompts,
    PointPrompt,
    PolygonPrompt,
    Prompt,
    PromptSet,
    ScribblePrompt,
)

from .atomic import atomic_path, check_target
from .json_text import Node, dump, plain_number, plain_pairs, read_object
from .masks import MaskFile

if TYPE_CHECKING:
    import os

__all__ = [
    "VERSION",
    "MaskFile",
    "PromptDocument",
    "objects_from_json",
    "objects_to_json",
    "read_document",
    "read_prompts",
    "write_document",
    "write_prompts",
]

VERSION = 1


@dataclass(frozen=True)
class PromptDocument:
    """What a prompts file holds.

    Parameters
    ----------
    prompts : PromptSet
    axis : int
        The propagation axis, as an index among the axes of the labels.
    session : mapping, optional
        The part of a saved session; any JSON object here, checked by the session.
    """

    prompts: PromptSet
    axis: int = 0
    session: Mapping[str, Any] | None = None


def read_prompts(path: str | os.PathLike[str]) -> PromptDocument:
    """Read a prompts file.

    Parameters
    ----------
    path : path-like
        A JSON file of version 1; masks lie in .npz files in the same folder.

    Returns
    -------
    PromptDocument

    Raises
    ------
    ReadError
        With the place in the document, for anything unknown, missing, mistyped or out of range.
    """
    document, masks = read_document(path)
    return PromptDocument(
        prompts=objects_from_json(document["objects"], "objects", masks),
        axis=document.get("axis", 0),
        session=document.get("session"),
    )


def write_prompts(
    path: str | os.PathLike[str], document: PromptDocument, *, overwrite: bool = False
) -> Path:
    """Write a prompts file, and ``<stem>.masks.npz`` beside it if there are masks.

    Parameters
    ----------
    path : path-like
    document : PromptDocument
    overwrite : bool
        Replace files that exist.

    Returns
    -------
    Path
        The JSON file.

    Raises
    ------
    WriteError
        If a file exists, or the folder is missing or cannot be written.
    """

    def build(masks: MaskFile) -> dict[str, Any]:
        content = {
            "version": VERSION,
            "axis": document.axis,
            "objects": objects_to_json(document.prompts, masks),
        }
        return content if document.session is None else content | {"session": document.session}

    return write_document(path, build, overwrite=overwrite)


def read_document(path: str | os.PathLike[str]) -> tuple[dict[str, Any], MaskFile]:
    """Read a prompts file without its objects: keys, version and axis are checked.

    Returns
    -------
    document : dict
        With ``version``, ``objects`` and, where they are given, ``axis`` and ``session``.
    masks : MaskFile
        To be handed to `objects_from_json`.

    Raises
    ------
    ReadError
    """
    path = Path(path)
    root = Node(read_object(path), "", path.name)
    root.keys(required=("version", "objects"), optional=("axis", "session"))
    version = root.get("version").integer()
    if version != VERSION:
        raise root.get("version").error(
            f"is {version}, this program knows {VERSION}; update napari-medsam2"
            if version > VERSION
            else f"must be {VERSION}, got {version}"
        )
    if "axis" in root and root.get("axis").integer() < 0:
        raise root.get("axis").error("must be 0 or more")
    root.get("objects").items()
    if "session" in root:
        root.get("session").mapping()
    return dict(root.mapping()), MaskFile(path)


def write_document(
    path: str | os.PathLike[str],
    build: Callable[[MaskFile], Mapping[str, Any]],
    *,
    overwrite: bool = False,
    masks: MaskFile | None = None,
) -> Path:
    """Write a document that `build` makes, and the masks that it hands to the mask file.

    Both files appear whole or, if anything fails, the older ones stay.

    Parameters
    ----------
    path : path-like
    build : callable
        Gets a `MaskFile` for `objects_to_json` and returns what JSON can hold.
    overwrite : bool
        Replace files that exist.
    masks : MaskFile, optional
        Where masks go; beside the JSON file, under its name, by default.

    Returns
    -------
    Path
        The JSON file.

    Raises
    ------
    WriteError
    """
    path = Path(path)
    masks = MaskFile(path) if masks is None else masks
    check_target(path, overwrite)
    content = build(masks)
    try:
        text = dump(content)
    except (TypeError, ValueError) as error:
        raise WriteError(f"{path.name}: holds what JSON cannot express ({error})") from error
    # The JSON file is complete on the disk before the masks get their name, and named after them.
    with atomic_path(path, overwrite) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8", newline="\n")
        masks.write(overwrite)
    return path


def objects_to_json(prompts: PromptSet, masks: MaskFile) -> list[dict[str, Any]]:
    """Turn prompts into what JSON can hold; masks go to the mask file.

    Parameters
    ----------
    prompts : PromptSet
    masks : MaskFile
        Collects the masks, each once, until `write_document` writes them.
    """
    return [
        {"id": o.id, "name": o.name, "prompts": [_to_json(p, masks) for p in o.prompts]}
        for o in prompts.objects
    ]


def objects_from_json(value: Any, where: str, masks: MaskFile) -> PromptSet:
    """Turn a JSON list of objects into prompts.

    Parameters
    ----------
    value : list of dict
    where : str
        Place of the list in the document, for messages: "objects", "session.history[2]".
    masks : MaskFile
        From `read_document`.

    Raises
    ------
    ReadError
    """
    node = Node(value, where, masks.document)
    objects = [_object(item, masks) for item in node.items()]
    try:
        return PromptSet(tuple(objects))
    except PromptError as error:
        raise node.error(str(error)) from error


def _to_json(prompt: Prompt, masks: MaskFile) -> dict[str, Any]:
    content: dict[str, Any]
    match prompt:
        case BoxPrompt():
            content = {"type": "box", "box": [plain_number(v) for v in prompt.box]}
        case PointPrompt():
            content = {"type": "points", "points": plain_pairs(prompt.points)}
            content["labels"] = list(prompt.labels)
        case PolygonPrompt():
            content = {"type": "polygon", "vertices": plain_pairs(prompt.vertices)}
        case ScribblePrompt():
            content = {"type": "scribble", "path": plain_pairs(prompt.path), "label": prompt.label}
        case MaskPrompt():
            file, key = masks.add(prompt.mask)
            content = {"type": "mask", "file": file, "key": key}
    return {"type": content.pop("type"), "frame": prompt.frame, **content}


def _object(node: Node, masks: MaskFile) -> ObjectPrompts:
    node.keys(required=("id", "prompts"), optional=("name",))
    name = node.get("name").string() if "name" in node else ""
    object_id = node.get("id").integer()
    prompts = tuple(_prompt(item, masks) for item in node.get("prompts").items())
    try:
        return ObjectPrompts(object_id, name, prompts)
    except PromptError as error:
        raise node.get("id").error(str(error)) from error


def _prompt(node: Node, masks: MaskFile) -> Prompt:
    kind = node.get("type").string()
    if kind not in _PROMPTS:
        raise node.get("type").error(f"unknown prompt {kind!r}; use {', '.join(_PROMPTS)}")
    required, optional, build = _PROMPTS[kind]
    node.keys(required=("type", "frame", *required), optional=optional)
    try:
        return build(node, node.get("frame").integer(), masks)
    except PromptError as error:
        raise node.error(str(error)) from error


def _box(node: Node, frame: int, masks: MaskFile) -> BoxPrompt:
    y0, x0, y1, x1 = node.get("box").numbers(4, "y0, x0, y1, x1")
    return BoxPrompt(frame, (y0, x0, y1, x1))


def _points(node: Node, frame: int, masks: MaskFile) -> PointPrompt:
    labels = tuple(label.integer() for label in node.get("labels").items())
    return PointPrompt(frame, node.get("points").pairs(), labels)


def _polygon(node: Node, frame: int, masks: MaskFile) -> PolygonPrompt:
    return PolygonPrompt(frame, node.get("vertices").pairs())


def _scribble(node: Node, frame: int, masks: MaskFile) -> ScribblePrompt:
    label = node.get("label").integer() if "label" in node else 1
    return ScribblePrompt(frame, node.get("path").pairs(), label)


def _mask(node: Node, frame: int, masks: MaskFile) -> MaskPrompt:
    key = node.get("key").string() if "key" in node else None
    return MaskPrompt(frame, masks.load(node.get("file").string(), key, node.error))


# Required keys, optional keys and builder of each type of prompt.
_Builder = Callable[[Node, int, MaskFile], Prompt]
_PROMPTS: dict[str, tuple[tuple[str, ...], tuple[str, ...], _Builder]] = {
    "box": (("box",), (), _box),
    "points": (("points", "labels"), (), _points),
    "polygon": (("vertices",), (), _polygon),
    "scribble": (("path",), ("label",), _scribble),
    "mask": (("file",), ("key",), _mask),
}
