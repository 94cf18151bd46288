"""Saved sessions as cases: what a person has seen and corrected counts as truth."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_medsam2.errors import InputError, ReadError
from napari_medsam2.io import read
from napari_medsam2.io.json_text import Node, read_object
from napari_medsam2.io.sessions import read_session
from napari_medsam2.windows import resolve_window

from .datasets_case import Case, Draft, Kind, framed, ids_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_medsam2.frames import FrameStack
    from napari_medsam2.io.sessions import SavedSession
    from napari_medsam2.prompts import PromptSet
    from napari_medsam2.volume import Volume
    from napari_medsam2.windows import WindowChoice

__all__ = ["TrueFrames", "is_session", "session_file", "session_folder", "true_frames"]

TrueFrames = Literal["prompted", "segmented"]
"""Which frames count as truth: those with prompts and a mask, or all with a mask."""

_ENDING = ".medsam2.json"
_MASKS = re.compile(r".*\.masks(-[0-9a-f]{10})?\.npz")


def true_frames(
    prompts: PromptSet, labels: NDArray[Any], frames: TrueFrames = "prompted"
) -> dict[int, tuple[int, ...]]:
    """Tell which frames count as the truth of which objects.

    Parameters
    ----------
    prompts : PromptSet
    labels : ndarray of int
        (frame, y, x).
    frames : {"prompted", "segmented"}
        "prompted": those on which the object has prompts and a mask, so that a person has seen and
        corrected it there. "segmented": all with a mask of it.

    Returns
    -------
    dict of int to tuple of int
        By object id; objects without any are left out.

    Raises
    ------
    InputError
        For another choice of frames.
    """
    if frames == "prompted":
        found = {
            entry.id: tuple(f for f in entry.frames if (labels[f] == entry.id).any())
            for entry in prompts.objects
        }
    elif frames == "segmented":
        shown: dict[int, list[int]] = {}
        for index, plane in enumerate(labels):
            for value in ids_of(plane):
                shown.setdefault(value, []).append(index)
        found = {value: tuple(own) for value, own in sorted(shown.items())}
    else:
        raise InputError(f"unknown choice of frames {frames!r}; use prompted or segmented")
    return {object_id: own for object_id, own in found.items() if own}


def is_session(path: Path) -> bool:
    """Whether a JSON file is a saved session (`ReadError` if it is no JSON object)."""
    return "session" in read_object(path)


def session_folder(folder: Path) -> list[Draft]:
    """Return the sessions of a folder, files that end in ``.medsam2.json``, by their names.

    Raises
    ------
    ReadError
        If there are .npz files, too, that no session is about: which of them is meant?
    """
    paths = sorted(p for p in folder.glob(f"*{_ENDING}") if not p.name.startswith("."))
    if not paths:
        return []
    about = {_bare(_source(path).string()) for path in paths}
    for other in sorted(folder.glob("*.npz")):
        hidden = other.name.startswith(".") or _MASKS.fullmatch(other.name)
        if not hidden and other.name not in about:
            raise ReadError(
                f"{folder}: holds saved sessions and also {other.name}, which none of them is "
                "about; put sessions and .npz cases into folders of their own"
            )
    return [_draft(path, folder.resolve().name) for path in paths]


def session_file(path: Path) -> list[Draft]:
    """Return a single session as the only case."""
    return [_draft(path, path.resolve().parent.name)]


# Inside


def _draft(path: Path, dataset: str) -> Draft:
    return Draft(dataset, "", partial(_case, path, dataset))


def _case(path: Path, dataset: str) -> Case:
    """Describe the case of a session; reads it, with its image."""
    image = _image(path)
    saved, stack = _opened(path, image)
    truth = true_frames(saved.prompts, stack.of_labels(saved.labels))
    if not truth:
        raise ReadError(
            f"{path.name}: no object has a frame with both a prompt and a mask, so nothing in it "
            "counts as true; prompt and segment some frames, or take it out of the data"
        )
    names = {entry.id: entry.name for entry in saved.prompts.objects}
    # A folder of DICOM slices is known by the fingerprint in the session.
    files = (path, path.with_name(read_object(path)["session"]["labels"]), image)
    return Case(
        id=f"{dataset}/{path.name.removesuffix(_ENDING).removesuffix('.json')}",
        dataset=dataset,
        modality=saved.volume.modality,
        kind=_kind(stack),
        split="",
        objects={object_id: names[object_id] for object_id in truth},
        subject=str(image.resolve()),
        labelled_frames=tuple(sorted({f for frames in truth.values() for f in frames})),
        labelled_frames_by_object=truth,
        files=tuple(file for file in files if file.is_file()),
        loader=partial(_load, path, image),
    )


def _load(path: Path, image: Path) -> tuple[Volume, NDArray[Any]]:
    saved, stack = _opened(path, image)
    labels = np.ascontiguousarray(stack.of_labels(saved.labels))
    volume = saved.volume
    as_it_is = volume.label_axes in ("yx", "zyx", "tyx") and not stack.axis
    if not as_it_is or stack.channel is not None:
        # Another axis first, one position of the others, one channel: as the person has worked.
        plane = [i for i in range(len(volume.label_axes)) if i != stack.axis][-2:]
        volume = volume.with_data(
            _pixels(stack, saved.settings["window"]),
            axes="zyx" + "c" * stack.is_rgb,
            spacing=stack.spacing,
            units=tuple("px" if i is None else volume.units[i] for i in (stack.axis, *plane)),
            geometry=None,
        )
    return framed(volume, labels, _kind(stack), path.name)


def _pixels(stack: FrameStack, choice: WindowChoice) -> NDArray[Any]:
    """Return all frames; blended channels as the colours that the person's model saw."""
    if not isinstance(stack.channel, tuple):
        return np.stack(list(stack))
    window = resolve_window(stack, choice)
    return np.stack([window.apply(frame).round().astype(np.uint8) for frame in stack])


def _opened(path: Path, image: Path) -> tuple[SavedSession, FrameStack]:
    try:
        saved = read_session(path, read(image))
        settings = saved.settings
        stack = saved.volume.stack(settings["axis"], settings["at"], settings["channel"])
        saved.prompts.check(len(stack), stack.shape)
    except ReadError:
        raise
    except (InputError, TypeError) as error:  # numbers of the file that are none
        raise ReadError(f"{path.name}: does not fit its image: {error}") from error
    return saved, stack


def _kind(stack: FrameStack) -> Kind:
    if len(stack) == 1:
        return "2d"
    assert stack.axis is not None
    return "video" if stack.volume.label_axes[stack.axis] == "t" else "3d"


def _source(path: Path) -> Node:
    """Return where a session says that its image is."""
    document = Node(read_object(path), "", path.name)
    if "session" not in document:
        raise ReadError(f"{path.name}: holds prompts but no saved session")
    source = document.get("session").get("image").get("source")
    source.string()
    return source


def _image(path: Path) -> Path:
    """Return the image of a session: where the session says, else of that name beside it."""
    node = _source(path)
    source = node.string()
    if not source:
        raise node.error(
            "the image was in memory; save it as a file, open that, open the session on it, and "
            "save the session again"
        )
    for there in (path.parent / source, path.parent / _bare(source)):
        if there.exists():
            return there
    raise node.error(f"the image {source} is gone; bring it back, or put it beside the session")


def _bare(source: str) -> str:
    """Return the name of a file, whichever system wrote its path."""
    return PureWindowsPath(source).name
