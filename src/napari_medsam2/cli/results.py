"""The files and the table that a finished session gives."""

from __future__ import annotations

import csv
import math
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_medsam2.errors import WriteError
from napari_medsam2.io.atomic import atomic_path, check_target
from napari_medsam2.io.files import WRITABLE, write_labels
from napari_medsam2.io.kinds import suffix_of
from napari_medsam2.measurements import Measurement, measure

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from napari_medsam2.session import Session

__all__ = ["Summary", "check_outputs", "summaries", "write", "write_csv"]


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
    bbox : tuple of (start, stop)
        Half-open, for every axis; empty for an object that was not found.
    centre : tuple of float
        In array coordinates; empty for an object that was not found.
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
    bbox: tuple[tuple[int, int], ...]
    centre: tuple[float, ...]
    n_frames: int
    mean_score: float


def check_outputs(
    output: Path,
    scores: Path | None,
    measurements: Path | None,
    overwrite: bool,
    inputs: Iterable[Path | None],
) -> None:
    """Check that every output may be written, and is not an input or another output.

    Raises
    ------
    WriteError
    """
    if suffix_of(output) not in WRITABLE:
        raise WriteError(f"--output {output}: use one of the suffixes {', '.join(WRITABLE)}")
    taken = {path.resolve(): "is an input" for path in inputs if path is not None}
    named = (("--output", output), ("--scores", scores), ("--measurements", measurements))
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
) -> None:
    """Write labels and tables; nothing appears unless all could be written."""
    with ExitStack() as stack:
        if scores is not None:
            path = stack.enter_context(atomic_path(scores, overwrite))
            write_csv(path, ("object", "frame", "score"), _score_rows(session))
        if measurements is not None:
            path = stack.enter_context(atomic_path(measurements, overwrite))
            write_csv(path, _COLUMNS, [_row(summary) for summary in summaries(session)])
        write_labels(output, session.labels, session.volume, overwrite=overwrite)


def summaries(session: Session) -> list[Summary]:
    """Return one summary for each object that was segmented, also those that were not found."""
    volume = session.volume
    measured = {m.object_id: m for m in measure(session.labels, volume.spacing)}
    unit = _unit(volume.units)
    return [
        _summary(session, object_id, measured.get(object_id), unit) for object_id in session.scores
    ]


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table as CSV with a header; floats keep six digits, nan becomes empty."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_text(value) for value in row] for row in rows)


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
        bbox=measurement.bbox if measurement else (),
        centre=measurement.centre if measurement else (),
        n_frames=int(found.sum()),
        mean_score=float(np.nanmean(scores)) if scores.size else math.nan,
    )


_COLUMNS = ("object", "name", "voxels", "size", "unit", "bbox", "centre", "n_frames", "mean_score")


def _row(summary: Summary) -> tuple[object, ...]:
    bbox = " ".join(f"{start}:{stop}" for start, stop in summary.bbox)
    centre = " ".join(f"{c:.2f}" for c in summary.centre)
    return (
        summary.object_id,
        summary.name,
        summary.voxels,
        summary.size,
        summary.unit,
        bbox,
        centre,
        summary.n_frames,
        summary.mean_score,
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


def _text(value: object) -> object:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return value
