"""A session with a model of one's own that lives in a folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.own_models import CONFIG_21, few_bytes, of_sam2
from tests.tracking.reference import make_lively, moving_square

import napari_medsam2 as nm
from napari_medsam2.errors import ModelError, ReadError
from napari_medsam2.models.sam2_config import build_network

if TYPE_CHECKING:
    from pathlib import Path

FRAMES = moving_square(5)
BOX = (20.0, 24.0, 40.0, 50.0)


@pytest.fixture(scope="module")
def network() -> Any:
    net = build_network(CONFIG_21, 128)
    make_lively(net)
    return net


def test_saved_opened_and_replayed(network: Any, tmp_path: Path, monkeypatch: Any) -> None:
    of_sam2(tmp_path / "lesions", network, 128)
    monkeypatch.chdir(tmp_path)
    session = nm.Session(FRAMES, model="lesions", window=(0, 255), precision="fp32")
    assert session.model_name == session.settings["model"] == str(tmp_path / "lesions")
    session.add_box(2, BOX)
    for _ in session.propagate():
        pass
    assert all(frame.any() for frame in session.labels)
    assert session.runs[-1].model is not None
    assert session.runs[-1].model.model == str(tmp_path / "lesions")
    path = session.save(tmp_path / "x.medsam2.json")

    # The path in the file holds wherever it is opened from.
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    loaded = nm.Session.load(path, FRAMES)
    assert loaded.settings["model"] == str(tmp_path / "lesions")
    np.testing.assert_array_equal(loaded.replay(), session.labels)

    # A run with a model of one's own in a session that went on with another.
    other = nm.Session(FRAMES, window=(0, 255))
    np.testing.assert_array_equal(other.replay(session.runs), session.labels)


def test_a_folder_as_a_path_is_taken(tmp_path: Path) -> None:
    few_bytes(tmp_path / "livers")
    session = nm.Session(FRAMES, model=tmp_path / "livers")
    assert session.settings["model"] == str(tmp_path / "livers")


def test_where_the_folder_is_gone_it_is_named(tmp_path: Path) -> None:
    few_bytes(tmp_path / "livers")
    session = nm.Session(FRAMES, model=str(tmp_path / "livers"), window=(0, 255))
    session.add_box(2, BOX)
    path = session.save(tmp_path / "x.medsam2.json")
    assert nm.Session.load(path, FRAMES).prompts == session.prompts
    (tmp_path / "livers").rename(tmp_path / "away")
    with pytest.raises(ModelError) as caught:
        nm.Session.load(path, FRAMES)
    assert str(caught.value) == (
        f"model folder {tmp_path / 'livers'}: there is no such folder; if it was moved, bring it "
        "back or give its new path"
    )


def test_a_model_that_is_no_text_is_refused(tmp_path: Path) -> None:
    session = nm.Session(FRAMES, window=(0, 255))
    path = session.save(tmp_path / "x.medsam2.json")
    text = path.read_text(encoding="utf-8").replace(f'"{nm.models.DEFAULT_MODEL}"', "3")
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ReadError, match=r"session\.settings\.model: must be text in quotes, got 3"):
        nm.Session.load(path, FRAMES)
