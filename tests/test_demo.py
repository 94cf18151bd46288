"""The demo around a model without a network: the same job in seconds, with an answer known."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest
from tests.fakes import BrightModel
from typer.testing import CliRunner

from napari_medsam2 import demo, models
from napari_medsam2.cli import app
from napari_medsam2.errors import WriteError
from napari_medsam2.io import read, read_labels, read_prompts
from napari_medsam2.io.samples import PHANTOM_NAMES, phantom


def test_dice():
    a, b = np.zeros(10, bool), np.zeros(10, bool)
    assert demo.dice(a, b) == 1.0
    a[:4], b[2:8] = True, True
    assert demo.dice(a, b) == pytest.approx(2 * 2 / (4 + 6))


def test_a_person_draws_on_the_largest_slice_with_slack():
    truth = np.zeros((4, 30, 30), np.uint8)
    truth[1, 10:12, 10:12] = 2
    truth[2, 1:9, 20:29] = 2
    prompts = demo.person_boxes(truth, {2: "thing"}, slack=3)
    (box,) = prompts[2].prompts
    assert prompts[2].name == "thing"
    assert (box.frame, box.box) == (2, (0, 17, 12, 30))


def test_one_box_for_each_object_of_the_phantom():
    truth = phantom()[1]
    prompts = demo.person_boxes(truth, PHANTOM_NAMES)
    assert prompts.ids == tuple(PHANTOM_NAMES)
    for entry in prompts.objects:
        (box,) = entry.prompts
        y0, x0, y1, x1 = (int(v) for v in box.box)
        here = truth[box.frame] == entry.id
        assert here.sum() == (truth == entry.id).sum(axis=(1, 2)).max()
        assert here[y0:y1, x0:x1].sum() == here.sum()


def test_a_folder_with_results_is_refused_by_name(tmp_path):
    (tmp_path / "echo.png").touch()
    with pytest.raises(WriteError, match=r"echo\.png.*--overwrite"):
        demo.check_folder(tmp_path, overwrite=False)
    demo.check_folder(tmp_path, overwrite=True)


def test_a_file_in_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(WriteError, match="cannot be made"):
        demo.check_folder(tmp_path / "file", overwrite=True)


def test_the_command_writes_all_it_names(tmp_path, monkeypatch):
    monkeypatch.setattr(models, "build", lambda *args, **kwargs: BrightModel())
    names = {1: "liver", 4: "left kidney"}
    monkeypatch.setattr(demo, "PHANTOM_NAMES", names)
    folder = tmp_path / "out"
    result = CliRunner().invoke(app, ["demo", "--output", str(folder)])
    assert result.exit_code == 0, result.output
    named = result.stdout.partition("wrote\n")[2].partition("try next")[0].split()
    assert sorted(named) == sorted(str(path) for path in folder.iterdir())
    assert {path.name for path in folder.iterdir()} == {*demo.PHANTOM_FILES, *demo.ECHO_FILES}

    volume, truth = phantom()
    image, labels = read(folder / "phantom.nii.gz"), read_labels(folder / "phantom_labels.nii.gz")
    np.testing.assert_array_equal(image.data, volume.data)
    assert image.spacing == pytest.approx(volume.spacing)
    with (folder / "phantom_dice.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [*names.values(), "mean"]
    liver = demo.dice(labels == 1, truth == 1)
    assert float(rows[0]["dice"]) == pytest.approx(liver, abs=1e-4)
    assert re.search(
        rf"1 +liver +{(labels == 1).sum()} +{(truth == 1).sum()} +{liver:.3f}", result.stdout
    )
    assert read_prompts(folder / "phantom_prompts.json").prompts.ids == tuple(names)

    with (folder / "echo_area.csv").open(newline="") as file:
        areas = [int(row["area_px"]) for row in csv.DictReader(file)]
    assert areas == (read_labels(folder / "echo_labels.tif") == 1).sum(axis=(1, 2)).tolist()

    again = CliRunner().invoke(app, ["demo", "--output", str(folder)])
    assert again.exit_code == 2
    assert "--overwrite" in again.stderr
