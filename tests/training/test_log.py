"""The log of a run and its picture."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image

from napari_medsam2.errors import ReadError
from napari_medsam2.overlays import COLOURS
from napari_medsam2.training.curves import draw_curves, smoothed
from napari_medsam2.training.log import Log

if TYPE_CHECKING:
    from pathlib import Path


def written(path: Path, steps: int = 3) -> Log:
    log = Log(path)
    for step in range(1, steps + 1):
        scores = {"score": 0.5 + step / 100} if step % 2 == 0 else {}
        log.write(step, 0.001 * step, {"loss": 2 / step, "dice": 1 / step}, scores)
    return log


def test_what_was_written_is_read(tmp_path: Path) -> None:
    log = written(tmp_path / "log.csv")
    assert log.read() == {
        "loss": [(1, 2.0), (2, 1.0), (3, 0.666667)],
        "dice": [(1, 1.0), (2, 0.5), (3, 0.333333)],
        "val score": [(2, 0.52)],
    }


def test_it_is_a_table_that_anything_reads(tmp_path: Path) -> None:
    written(tmp_path / "log.csv", 1)
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["step", "rate", "name", "value"],
        ["1", "0.001", "loss", "2"],
        ["1", "0.001", "dice", "1"],
    ]


def test_nothing_written_is_nothing_read(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.csv")
    log.cut(5)
    assert log.read() == {}
    assert not log.path.exists()


def test_what_comes_after_a_step_is_forgotten(tmp_path: Path) -> None:
    log = written(tmp_path / "log.csv", 5)
    log.cut(2)
    assert log.path.read_bytes() == written(tmp_path / "other.csv", 2).path.read_bytes()
    log.write(3, 0.003, {"loss": 7.0}, {})
    assert log.read()["loss"] == [(1, 2.0), (2, 1.0), (3, 7.0)]


@pytest.mark.parametrize("rest", ["1", "3", "3,0.0", "3,0.003,lo", "3,0.003,loss,"])
def test_half_a_line_of_a_killed_run_is_passed_over(tmp_path: Path, rest: str) -> None:
    log = written(tmp_path / "log.csv", 2)
    with log.path.open("a") as file:
        file.write(rest)
    assert log.read()["loss"] == [(1, 2.0), (2, 1.0)]
    log.cut(2)
    assert log.path.read_bytes() == written(tmp_path / "whole.csv", 2).path.read_bytes()
    log.write(3, 0.003, {"loss": 0.5}, {})
    assert log.read()["loss"] == [(1, 2.0), (2, 1.0), (3, 0.5)]


# Curves


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


def test_curves_have_a_panel_for_losses_and_one_for_scores(tmp_path: Path) -> None:
    log = written(tmp_path / "log.csv", 40)
    draw_curves(log.path, tmp_path / "curves.png")
    both = pixels(tmp_path / "curves.png")
    log = Log(tmp_path / "losses.csv")
    log.write(1, 0.1, {"loss": 1.0}, {})
    draw_curves(log.path, tmp_path / "losses.png")
    assert both.shape[1] == pixels(tmp_path / "losses.png").shape[1]
    assert both.shape[0] > 1.5 * pixels(tmp_path / "losses.png").shape[0]


def test_a_falling_loss_falls_on_the_picture(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.csv")
    for step in range(1, 101):
        log.write(step, 0.1, {"dice": 10 ** (-step / 50)}, {})
    draw_curves(log.path, tmp_path / "curves.png")
    image = pixels(tmp_path / "curves.png").astype(int)
    # Left of the legend, which has the same colour.
    there = np.argwhere(np.abs(image[:, :760] - COLOURS[0]).sum(-1) < 90)
    rows = {x: there[there[:, 1] == x][:, 0].mean() for x in (150, 400, 650)}
    assert rows[150] + 50 < rows[400] < rows[650] - 50
    # A straight line on a logarithmic axis, so the middle is in the middle.
    assert rows[400] == pytest.approx((rows[150] + rows[650]) / 2, abs=6)


def test_values_that_are_no_numbers_are_left_out(tmp_path: Path) -> None:
    log = Log(tmp_path / "log.csv")
    for step in range(1, 9):
        log.write(step, 0.1, {"loss": float("nan") if step == 4 else 0.0}, {"score": 0.0})
    draw_curves(log.path, tmp_path / "curves.png")
    assert pixels(tmp_path / "curves.png").any()


def test_no_steps_are_no_picture(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match="holds no curves; train"):
        draw_curves(tmp_path / "log.csv", tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()


def test_smoothing_keeps_the_mean_and_the_length() -> None:
    np.testing.assert_allclose(smoothed(np.full(100, 3.0)), 3.0)
    values = np.zeros(100)
    values[50] = 5.0
    found = smoothed(values)
    # Over 5 values of 100.
    np.testing.assert_allclose(found[48:53], 1.0)
    assert found[:48].sum() == found[53:].sum() == 0
    np.testing.assert_array_equal(smoothed(np.array([1.0, 2.0])), [1.0, 2.0])
