"""Models of one's own on the command line: `--model DIR`, and `models` with a folder."""

from __future__ import annotations

import json
import math
import re
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.cli.common import LEFT_BOX, call, one_line, segment
from tests.own_models import CONFIG_21, few_bytes, of_sam2
from tests.tracking.reference import make_lively

import napari_medsam2 as nm
from napari_medsam2 import models
from napari_medsam2.cli import console
from napari_medsam2.models.sam2_config import build_network

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(autouse=True)
def livers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a model folder, in the working folder as `livers`; none is registered."""
    monkeypatch.setenv("NAPARI_MEDSAM2_MODELS", str(tmp_path / "models"))
    # A row stays a line, however deep the working folder lies.
    monkeypatch.setattr(console, "_WIDTH_OF_A_PIPE", 400)
    monkeypatch.chdir(tmp_path)
    few_bytes(tmp_path / "livers")
    return tmp_path / "livers"


class TestModels:
    def test_added_listed_and_forgotten(self, livers):
        assert call("models", "add", "livers").stdout == f"added Livers, in {livers}\n"
        row = call("models", "list").stdout.splitlines()[-2]
        assert re.search(r"Livers +Apache-2.0 +ready +256 px", row)
        *_, card = json.loads(call("models", "list", "--json").stdout)
        assert (card["name"], card["folder"]) == (str(livers), str(livers))
        assert card["notes"]["scores"]["dice"]["after"] == 0.9
        assert call("models", "forget", "./livers").exit_code == 0
        assert "Livers" not in call("models", "list").stdout
        assert "is not among your own models" in one_line(call("models", "forget", "livers"))

    def test_the_folder_stands_in_the_table(self, livers):
        models.register(livers)
        assert str(livers) in call("models", "list").stdout

    def test_json_has_neither_dates_nor_nan(self, livers):
        few_bytes(livers, data={"since": date(2025, 1, 2)}, scores={"dice": [math.nan, 1.0]})
        models.register(livers)
        *_, card = json.loads(
            call("models", "list", "--json").stdout, parse_constant=lambda c: pytest.fail(c)
        )
        assert card["notes"] == {"data": {"since": "2025-01-02"}, "scores": {"dice": [None, 1.0]}}

    def test_path_verify_and_pull(self, livers):
        assert call("models", "path", "livers").stdout == f"{livers / 'weights.safetensors'}\n"
        said = call("models", "verify", "livers").stdout
        assert re.search("7 bytes, SHA-256 [0-9a-f]{64} as it should be", said)
        said = call("models", "pull", "livers").stdout
        assert f"lies in {livers}, nothing to download" in said
        (livers / "weights.safetensors").write_bytes(b"altered")
        for command in ("verify", "pull", "add"):
            assert "it was altered: restore it from a copy, or fine-tune again" in one_line(
                call("models", command, "livers")
            )

    def test_what_is_no_model_folder(self, tmp_path):
        assert "holds no card.toml" in one_line(call("models", "add", tmp_path))
        assert "there is no such folder" in one_line(call("models", "verify", "./gone"))


def test_segment_by_a_model_of_ones_own(image, tmp_path):
    net = build_network(CONFIG_21, 128)
    make_lively(net)
    of_sam2(tmp_path / "lesions", net, 128)
    asked = ("--box", LEFT_BOX, "--slice-only", "--precision", "fp32")
    result = segment(image, "--model", "lesions", *asked)
    assert result.exit_code == 0, result.output
    session = nm.Session(nm.read(image), model="lesions", window=(0, 255), precision="fp32")
    session.add_box(2, (8, 6, 22, 20))
    session.segment(2)
    np.testing.assert_array_equal(np.load(tmp_path / "labels.npy"), session.labels)
    assert session.labels[2].any()


def test_a_folder_that_is_gone_is_told_before_anything_is_computed(image, no_model, tmp_path):
    said = one_line(segment(image, "--model", "./gone", "--box", LEFT_BOX))
    assert f"model folder {tmp_path / 'gone'}: there is no such folder" in said
    assert "there is no such folder" in one_line(
        call("view", image, "--model", "./gone", env={"DISPLAY": ":0"})
    )
    said = one_line(call("info", image, "--model", "./gone"))
    assert "there is no such folder" in said
