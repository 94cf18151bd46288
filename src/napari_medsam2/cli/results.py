"""The files and the table that a finished session gives."""

from __future__ import annotations

import math
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_medsam2.errors import InputError, WriteError
from napari_medsam2.io.atomic import atomic_path, check_target
from napari_medsam2.io.files import WRITABLE, write_labels
from napari_medsam2.io.kinds import suffix_of
from napari_medsam2.io.label_names import names_path, write_named_labels
from napari_medsam2.io.tables import write_csv, write_measurements
from napari_medsam2.measure_objects import measure_objects
from napari_medsam2.measurements import Measurement, measure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from napari_medsam2.session import Session

__all__ = ["VALUES", "Summary", "check_outputs", "summaries", "write"]

# What the values of a label image stand for: one an object, or one a name.
VALUES = ("instances", "names")


@dataclass(frozen=True)
class Summary:
    """One object of a finished session.

    Attributes
    ----------
    object_id, name
    voxels : int
    size : float
        Volume or area in `unit`.
    unit : str
        Such as "mm3"; "px3" where the image states no spacing.
    n_frames : int
        Frames on which it was found.
    mean_score : float
        Mean confidence over those frames, nan if none.
    """

    object_id: int
    name: str
    voxels: int
    size: float
    unit: str
    n_frames: int
    mean_score: float


def check_outputs(
    output: Path,
    scores: Path | None,
    measurements: Path | None,
    overwrite: bool,
    inputs: Iterable[Path | None],
    values: str = "instances",
) -> None:
    """Check that every output may be written, and is not an input or another output.

    Raises
    ------
    WriteError
    """
    if suffix_of(output) not in WRITABLE:
        raise WriteError(f"--output {output}: use one of the suffixes {', '.join(WRITABLE)}")
    if values not in VALUES:
        raise InputError(f'--values "{values}": use {" or ".join(VALUES)}')
    taken = {path.resolve(): "is an input" for path in inputs if path is not None}
    names = names_path(output) if values == "names" else None
    named = (
        *(("--output", output), ("--scores", scores), ("--measurements", measurements)),
        ("--values names:", names),
    )
    for option, path in named:
        if path is None:
            continue
        if option != "--output" and path.suffix.lower() != ".csv":
            raise WriteError(f"{option} {path}: is written as .csv, name it so")
        if path.resolve() in taken:
            raise WriteError(f"{option} {path}: {taken[path.resolve()]}; choose another name")
        taken[path.resolve()] = f"is the file of {option} already"
        try:
            check_target(path, overwrite)
        except WriteError as error:
            hint = " (--overwrite)" if path.is_file() and not overwrite else ""
            raise WriteError(f"{option} {error}{hint}") from error


def write(
    session: Session,
    output: Path,
    scores: Path | None,
    measurements: Path | None,
    overwrite: bool,
    values: str = "instances",
) -> list[Path]:
    """Write labels and tables, and return their files; nothing appears unless all could be."""
    names = {entry.id: entry.name for entry in session.prompts.objects}
    with ExitStack() as stack:
        if scores is not None:
            path = stack.enter_context(atomic_path(scores, overwrite))
            write_csv(path, ("object", "frame", "score"), _score_rows(session))
        if measurements is not None:
            path = stack.enter_context(atomic_path(measurements, overwrite))
            write_measurements(
                path, measure_objects(session.labels, session.stack, names, session.scores)
            )
        if values == "names":
            write_named_labels(output, session.labels, names, session.volume, overwrite=overwrite)
        else:
            write_labels(output, session.labels, session.volume, overwrite=overwrite)
    named = names_path(output) if values == "names" else None
    return [path for path in (output, named, scores, measurements) if path is not None]


def summaries(session: Session) -> list[Summary]:
    """Return one summary for each object that was segmented, also those that were not found."""
    volume = session.volume
    measured = {m.object_id: m for m in measure(session.labels, volume.spacing)}
    unit = _unit(volume.units)
    return [
        _summary(session, object_id, measured.get(object_id), unit) for object_id in session.scores
    ]


def _summary(
    session: Session, object_id: int, measurement: Measurement | None, unit: str
) -> Summary:
    frames = session.stack.of_labels(session.labels)
    found = (frames == object_id).any(axis=(1, 2))
    scores = session.scores[object_id][found]
    known = object_id in session.prompts
    return Summary(
        object_id=object_id,
        name=session.prompts[object_id].name if known else "",
        voxels=measurement.voxels if measurement else 0,
        size=measurement.size if measurement else 0.0,
        unit=unit,
        n_frames=int(found.sum()),
        mean_score=float(np.nanmean(scores)) if scores.size else math.nan,
    )


def _score_rows(session: Session) -> list[tuple[object, ...]]:
    return [
        (object_id, frame, float(score))
        for object_id, scores in session.scores.items()
        for frame, score in enumerate(scores)
        if not np.isnan(score)
    ]


def _unit(units: Sequence[str]) -> str:
    """Return the unit of a product: mm, mm, mm is "mm3"; s, px, px is "s px2"."""
    counts = {unit: list(units).count(unit) for unit in units}
    return " ".join(unit if n == 1 else f"{unit}{n}" for unit, n in counts.items())
