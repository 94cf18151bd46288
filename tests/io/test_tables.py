"""What was measured, as a spreadsheet reads it."""

from __future__ import annotations

import csv
import math

import numpy as np

from napari_medsam2.io.tables import MEASURE_COLUMNS, write_measurements
from napari_medsam2.measure_objects import measure_objects
from napari_medsam2.volume import Volume


def rows(path, measures) -> list[dict[str, str]]:
    write_measurements(path, measures)
    with path.open(newline="", encoding="utf-8") as file:
        read = list(csv.DictReader(file))
    assert all(tuple(row) == MEASURE_COLUMNS for row in read)
    return read


def test_a_volume(tmp_path):
    labels = np.zeros((3, 8, 12), np.uint16)
    labels[1:, 2, 1:11] = 4
    volume = Volume(labels * 10, "zyx", (3, 0.5, 0.25), ("mm",) * 3)
    found = measure_objects(labels, volume.stack(0), {4: "Milz, groß"}, {5: np.full(3, np.nan)})
    row, missing = rows(tmp_path / "m.csv", found)
    assert (row["object"], row["name"], row["time"]) == ("4", "Milz, groß", "")
    assert (row["voxels"], row["size"], row["unit"]) == ("20", "7.5", "mm3")
    assert (row["surface_unit"], row["perimeter"]) == ("mm2", "")
    assert float(row["surface"]) > 0
    assert (row["long_axis"], row["short_axis"], row["length_unit"]) == ("2.5", "0.5", "mm")
    assert row["slice"] == "z 1"
    assert row["long_axis_ends"] == "2 0.5 2 10.5"
    y0, x0, y1, x1 = map(float, row["short_axis_ends"].split())
    assert math.dist((y0, x0), (y1, x1)) == 1
    assert [row[k] for k in ("mean", "sd", "min", "max", "parts")] == ["40", "0", "40", "40", "1"]
    assert (row["bbox"], row["centre"]) == ("1:3 2:3 1:11", "1.50 2.00 5.50")
    assert (missing["object"], missing["voxels"], missing["size"]) == ("5", "0", "0")
    assert {missing[k] for k in ("surface", "long_axis", "slice", "mean", "parts", "bbox")} == {""}


def test_a_movie_has_a_row_for_each_time_point_by_object(tmp_path):
    labels = np.zeros((3, 4, 4), np.uint16)
    labels[:, 0, 0], labels[1:, 2:, 2:] = 7, 3
    volume = Volume(labels, "tyx", (1, 2, 2), ("s", "um", "um"))
    read = rows(tmp_path / "m.csv", measure_objects(labels, volume.stack(0)))
    assert [(r["object"], r["time"]) for r in read] == [
        *(("3", "1"), ("3", "2"), ("7", "0"), ("7", "1"), ("7", "2"))
    ]
    assert (read[0]["size"], read[0]["unit"]) == ("16", "um2")
    assert (read[0]["surface"], read[0]["surface_unit"], read[0]["slice"]) == ("", "", "")
    assert float(read[2]["perimeter"]) == round(4 * math.hypot(1, 1), 5)
