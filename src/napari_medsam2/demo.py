"""The main job on sample data: a CT phantom with its truth, and a beating heart."""

from __future__ import annotations

import csv
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from . import overlays
from .errors import WriteError
from .io import PromptDocument, write_labels, write_prompts
from .io.atomic import atomic_path, check_target
from .io.layers import image_layers, labels_layer
from .io.medical import write_itk
from .io.samples import ECHO_LEFT_VENTRICLE, PHANTOM_NAMES, echocardiogram, phantom
from .masks import bounding_box
from .prompts import BoxPrompt, PromptSet
from .session import Session

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from .io.layers import LayerData

__all__ = [
    "Echo",
    "Phantom",
    "check_folder",
    "dice",
    "layers",
    "next_steps",
    "person_boxes",
    "prepare_echo",
    "prepare_phantom",
    "write_echo",
    "write_phantom",
]

PHANTOM_FILES = (
    "phantom.nii.gz",
    "phantom_prompts.json",
    "phantom_labels.nii.gz",
    "phantom_dice.csv",
    "phantom.png",
)
ECHO_FILES = ("echo_prompts.json", "echo_labels.tif", "echo_area.csv", "echo.png")

# As far from the object as a careful person draws.
_SLACK = 3
_VENTRICLE = 1


@dataclass(frozen=True)
class Dice:
    """How well one object was found, over all frames."""

    object_id: int
    name: str
    voxels: int
    true_voxels: int
    dice: float


@dataclass(frozen=True, eq=False)
class Phantom:
    """The phantom with a prompted session and the truth."""

    session: Session
    truth: NDArray[np.uint8]

    @property
    def dice(self) -> list[Dice]:
        """One entry for each object, from the session's present labels."""
        found = self.session.labels
        return [
            Dice(
                object_id,
                name,
                int((found == object_id).sum()),
                int((self.truth == object_id).sum()),
                dice(found == object_id, self.truth == object_id),
            )
            for object_id, name in PHANTOM_NAMES.items()
        ]

    @property
    def mean_dice(self) -> float:
        """Mean over the objects."""
        return float(np.mean([d.dice for d in self.dice]))


@dataclass(frozen=True)
class Area:
    """The left ventricle on one frame."""

    frame: int
    seconds: float
    pixels: int
    score: float


@dataclass(frozen=True, eq=False)
class Echo:
    """The echocardiogram with a prompted session."""

    session: Session

    @property
    def box_frame(self) -> int:
        """The frame on which the box was drawn."""
        return self.session.prompts.frames[0]

    @property
    def areas(self) -> list[Area]:
        """The area on every frame, from the session's present labels."""
        step = self.session.stack.spacing[0]
        scores = self.session.scores[_VENTRICLE]
        counts = (self.session.labels == _VENTRICLE).sum(axis=(1, 2))
        return [
            Area(frame, frame * step, int(n), float(score))
            for frame, (n, score) in enumerate(zip(counts, scores, strict=True))
        ]

    @property
    def extremes(self) -> tuple[Area, Area]:
        """The frames of the largest and the smallest area: end of diastole and of systole."""
        areas = self.areas
        return max(areas, key=lambda a: a.pixels), min(areas, key=lambda a: a.pixels)

    @property
    def area_change(self) -> float:
        """Fractional area change: (largest - smallest) / largest."""
        large, small = self.extremes
        return (large.pixels - small.pixels) / large.pixels if large.pixels else math.nan


def dice(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return the Dice coefficient of two masks of one shape, 1 if both are empty.

    Dice, "Measures of the amount of ecologic association between species", Ecology 26 (1945).
    """
    total = int(found.sum()) + int(truth.sum())
    return 2 * int((found & truth).sum()) / total if total else 1.0


def person_boxes(truth: NDArray[Any], names: dict[int, str], slack: int = _SLACK) -> PromptSet:
    """Return one box for each object, as a person would draw it on the object's largest slice.

    Parameters
    ----------
    truth : ndarray of int
        True labels, (frame, y, x).
    names : dict
        Object id to name.
    slack : int
        Pixels between the object and its box.
    """
    height, width = truth.shape[1:]
    prompts = PromptSet()
    for object_id, name in names.items():
        frame = int((truth == object_id).sum(axis=(1, 2)).argmax())
        y0, x0, y1, x1 = bounding_box(truth[frame] == object_id)
        box = (
            max(y0 - slack, 0),
            max(x0 - slack, 0),
            min(y1 + slack, height),
            min(x1 + slack, width),
        )
        prompts = prompts.add(object_id, BoxPrompt(frame, box), name=name)
    return prompts


def check_folder(folder: Path, overwrite: bool) -> None:
    """Check that the files of the demo may be written, before any work; makes the folder.

    Raises
    ------
    WriteError
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"{folder}: cannot be made ({error.strerror}); choose another") from error
    for name in (*PHANTOM_FILES, *ECHO_FILES):
        try:
            check_target(folder / name, overwrite)
        except WriteError as error:
            hint = "" if overwrite else "; --overwrite replaces the files of an earlier demo"
            raise WriteError(f"{error}{hint}") from error


def prepare_phantom(device: str = "auto") -> Phantom:
    """Make the phantom and a session with one box for each object."""
    volume, truth = phantom()
    session = Session(volume, window="abdomen", device=device)
    session.set_prompts(person_boxes(truth, PHANTOM_NAMES))
    return Phantom(session, truth)


def prepare_echo(device: str = "auto") -> Echo:
    """Read the echocardiogram and make a session with one box around the left ventricle."""
    session = Session(echocardiogram(), device=device)
    frame, box = ECHO_LEFT_VENTRICLE
    session.add_box(frame, box, _VENTRICLE, name="left ventricle")
    return Echo(session)


def write_phantom(result: Phantom, folder: Path, overwrite: bool) -> list[Path]:
    """Write image, prompts, labels, table and picture of the phantom, and return their paths."""
    session = result.session
    files = [folder / name for name in PHANTOM_FILES]
    image, prompts, labels, table, picture = files
    with atomic_path(image, overwrite) as path:
        write_itk(path, np.asarray(session.volume.data), session.volume)
    write_prompts(prompts, PromptDocument(session.prompts), overwrite=overwrite)
    write_labels(labels, session.labels, session.volume, overwrite=overwrite)
    rows: list[Sequence[object]] = [
        (d.object_id, d.name, d.voxels, d.true_voxels, f"{d.dice:.4f}") for d in result.dice
    ]
    rows.append(("", "mean", "", "", f"{result.mean_dice:.4f}"))
    _write_csv(table, ("object", "name", "voxels", "true_voxels", "dice"), rows, overwrite)
    _write_picture(picture, _phantom_picture(result), overwrite)
    return files


def write_echo(result: Echo, folder: Path, overwrite: bool) -> list[Path]:
    """Write prompts, labels, areas and picture of the echocardiogram, and return their paths."""
    session = result.session
    files = [folder / name for name in ECHO_FILES]
    prompts, labels, table, picture = files
    write_prompts(prompts, PromptDocument(session.prompts), overwrite=overwrite)
    write_labels(labels, session.labels, session.volume, overwrite=overwrite)
    rows = [(a.frame, f"{a.seconds:.3f}", a.pixels, f"{a.score:.4f}") for a in result.areas]
    _write_csv(table, ("frame", "seconds", "area_px", "score"), rows, overwrite)
    _write_picture(picture, _echo_picture(result), overwrite)
    return files


def next_steps(folder: Path) -> list[str]:
    """Return commands that go on from what the demo wrote."""
    return [
        f"napari-medsam2 view {folder / 'phantom.nii.gz'}",
        f"napari-medsam2 segment {folder / 'phantom.nii.gz'} "
        f"--prompts {folder / 'phantom_prompts.json'} --objects 3,4 --output kidneys.nii.gz",
        "napari-medsam2 info YOUR_IMAGE",
    ]


def layers(result: Phantom | Echo) -> list[LayerData]:
    """Return napari layers of a result: the image, the truth where there is one, the labels."""
    volume = result.session.volume
    shown = image_layers(volume)
    if isinstance(result, Phantom):
        shown.append(labels_layer(result.truth, volume, visible=False))
    data, kwargs, kind = labels_layer(result.session.labels, volume)
    return [*shown, (data, {**kwargs, "name": f"{volume.name} [MedSAM2]"}, kind)]


def _phantom_picture(result: Phantom) -> NDArray[np.uint8]:
    session = result.session
    scores = {d.object_id: f"{d.name} {d.dice:.2f}" for d in result.dice}
    return overlays.montage(
        session.stack,
        session.labels,
        overlays.spread(len(session.stack), 8, session.prompts.frames),
        window=session.window,
        prompts=session.prompts,
        title=f"CT phantom, one box per object: mean Dice {result.mean_dice:.3f}",
        legend=scores,
        around=24,
    )


def _echo_picture(result: Echo) -> NDArray[np.uint8]:
    session = result.session
    large, small = result.extremes
    return overlays.montage(
        session.stack,
        session.labels,
        overlays.spread(len(session.stack), 8, (result.box_frame, large.frame, small.frame)),
        window=session.window,
        prompts=session.prompts,
        title="Echocardiogram, one box on frame 0: left ventricle",
        legend={_VENTRICLE: f"left ventricle, fractional area change {result.area_change:.0%}"},
        around=40,
    )


def _write_picture(path: Path, picture: NDArray[np.uint8], overwrite: bool) -> None:
    from PIL import Image

    with atomic_path(path, overwrite) as temporary:
        Image.fromarray(picture).save(temporary, optimize=True)


def _write_csv(
    path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]], overwrite: bool
) -> None:
    with (
        atomic_path(path, overwrite) as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
