"""Tables of numbers as CSV."""

from __future__ import annotations

import csv
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from napari_medsam2.measure_objects import ObjectMeasures
    from napari_medsam2.measure_shape import Line

__all__ = ["MEASURE_COLUMNS", "write_csv", "write_measurements"]

MEASURE_COLUMNS = (
    *("object", "name", "time", "voxels", "size", "unit"),
    *("surface", "surface_unit", "perimeter", "long_axis", "short_axis", "length_unit"),
    *("slice", "long_axis_ends", "short_axis_ends", "mean", "sd", "min", "max", "parts"),
    *("bbox", "centre", "n_frames", "mean_score"),
)


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Write a table as CSV with a header; floats keep six digits, nan and None become empty."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_text(value) for value in row] for row in rows)


def write_measurements(path: Path, measures: Iterable[ObjectMeasures]) -> None:
    """Write what was measured, a row for each object and time point, by object.

    Parameters
    ----------
    path : Path
        Give a temporary one, see `io.atomic.atomic_path`.
    measures : iterable of ObjectMeasures
    """
    ordered = sorted(measures, key=lambda m: (m.object_id, -1 if m.time is None else m.time))
    write_csv(path, MEASURE_COLUMNS, map(_row, ordered))


def _row(measures: ObjectMeasures) -> tuple[object, ...]:
    m, found, inside = measures, measures.diameters, measures.intensity
    is_there = m.voxels > 0
    return (
        *(m.object_id, m.name, m.time, m.voxels, m.size, m.size_unit),
        *(m.surface, f"{m.unit}2" if m.is_solid else "", m.perimeter),
        *((found.long.length, found.short.length) if found else (None, None)),
        m.unit,
        f"{m.axis} {found.frame}" if found and m.axis else "",
        *((_ends(found.long), _ends(found.short)) if found else ("", "")),
        *(inside.mean, inside.sd, inside.low, inside.high),
        m.n_parts if is_there else None,
        " ".join(f"{start}:{stop}" for start, stop in m.bbox),
        " ".join(f"{c:.2f}" for c in m.centre),
        *(m.n_frames, m.mean_score),
    )


def _ends(line: Line) -> str:
    return " ".join(f"{v:.6g}" for v in (*line.start, *line.end))


def _text(value: object) -> object:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return "" if value is None else value
