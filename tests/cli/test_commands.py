"""The other commands, in process; tests/e2e runs the installed program."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from tests.cli.common import (
    LEFT_BOX,
    call,
    one_line,
    segment,
)

import napari_medsam2 as nm
from napari_medsam2 import models


class TestTop:
    def test_version(self):
        assert call("--version").stdout == f"napari-medsam2 {nm.__version__}\n"

    @pytest.mark.parametrize("command", ["demo", "view", "segment", "info", "models"])
    def test_help_names_every_command(self, command: str):
        assert re.search(rf"\b{command}\b", call("--help").stdout)
        assert call(command, "--help").exit_code == 0

    def test_no_command(self):
        assert "give a command: demo, view, segment, info, benchmark or models" in one_line(call())

    def test_unknown_command(self):
        assert "segmnt" in one_line(call("segmnt"))

    def test_unknown_option(self):
        assert "--bx" in one_line(call("segment", "a.tif", "--output", "b.tif", "--bx", "1"))

    def test_an_internal_error_is_one_line_and_debug_shows_where(self, image, monkeypatch):
        def build(*args: object, **kwargs: object) -> None:
            raise KeyError("broken")

        monkeypatch.setattr(models, "build", build)
        result = segment(image, "--box", LEFT_BOX)
        assert result.exit_code == 1
        assert "internal error, KeyError: 'broken'; add --debug" in result.stderr
        assert "Traceback" not in result.stderr
        assert isinstance(segment(image, "--box", LEFT_BOX, "--debug").exception, KeyError)
        assert not image.with_name("labels.npy").exists()


class TestModels:
    def test_list(self):
        result = call("models", "list")
        assert re.search(r"litemedsam +LiteMedSAM +Apache-2.0 +ready +256", result.stdout)

    def test_list_as_json(self):
        cards = json.loads(call("models", "list", "--json").stdout)
        assert [card["name"] for card in cards] == list(models.names())
        assert cards[1]["licence"] == "Apache-2.0"
        assert cards[0]["state"] == "ready"

    def test_path(self):
        assert Path(call("models", "path", "litemedsam").stdout.strip()).is_file()

    def test_verify(self):
        assert "as it should be" in call("models", "verify", "litemedsam").stdout


class TestInfo:
    def test_text(self, image):
        result = call("info", image)
        assert result.exit_code == 0, result.output
        for words in ("z 5, y 64, x 64", "uint8", "5 of 64 x 64", "20 to 220 in a sample"):
            assert words in result.stdout

    def test_json_of_a_ct(self, tmp_path):
        sitk = pytest.importorskip("SimpleITK")
        data = np.random.default_rng(0).integers(-1000, 400, (6, 20, 30)).astype(np.int16)
        ct = sitk.GetImageFromArray(data)
        ct.SetSpacing((0.7, 0.8, 2.5))
        sitk.WriteImage(ct, str(tmp_path / "ct.nii.gz"))
        facts = json.loads(call("info", tmp_path / "ct.nii.gz", "--json").stdout)
        assert facts["axes"] == "zyx"
        assert facts["shape"] == [6, 20, 30]
        assert facts["spacing"] == pytest.approx([2.5, 0.8, 0.7], rel=1e-5)
        assert facts["units"] == ["mm"] * 3
        assert facts["dtype"] == "int16"
        assert facts["frames"] == 6
        assert facts["window_presets"] == ["abdomen", "lung", "brain", "mediastinum", "bone"]
        low, high = facts["auto_window"]
        assert -1000 <= low < high <= 400
        assert facts["memory"] == {
            "image": 6 * 20 * 30 * 2,
            "labels": 6 * 20 * 30 * 2,
            "embeddings": 6 * 2 * 2**20,
        }

    def test_no_presets_where_intensities_are_no_hounsfield_units(self, image):
        facts = json.loads(call("info", image, "--json").stdout)
        assert facts["window_presets"] == []
        assert facts["display_window"] is None

    def test_a_constant_image_and_one_of_nan(self, tmp_path):
        np.save(tmp_path / "constant.npy", np.full((2, 9, 9), 4.0))
        np.save(tmp_path / "nan.npy", np.full((2, 9, 9), np.nan))
        assert "image is constant" in call("info", tmp_path / "constant.npy").stdout
        facts = json.loads(call("info", tmp_path / "nan.npy", "--json").stdout)
        assert facts["sampled_intensities"] is None
        assert facts["auto_window"] is None

    def test_many_axes_and_channels(self, tmp_path):
        path = tmp_path / "movie.tif"
        data = np.arange(2 * 3 * 2 * 8 * 9, dtype=np.uint16).reshape(2, 3, 2, 8, 9)
        tifffile.imwrite(path, data, imagej=True, metadata={"axes": "TZCYX"})
        facts = json.loads(call("info", path, "--json").stdout)
        assert sorted(facts["axes"]) == ["c", "t", "x", "y", "z"]
        assert facts["frames"] == 2

    def test_no_such_file(self, tmp_path):
        assert "there is no such file" in one_line(call("info", tmp_path / "no.tif"))


class TestView:
    def test_no_display(self, image, monkeypatch):
        monkeypatch.setattr("sys.platform", "linux")
        for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
            monkeypatch.delenv(name, raising=False)
        assert "there is no display" in one_line(call("view", image))

    def test_no_such_file(self, tmp_path, monkeypatch):
        monkeypatch.setenv("DISPLAY", ":1")
        assert "there is no such file" in one_line(call("view", tmp_path / "no.tif"))
