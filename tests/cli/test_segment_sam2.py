"""`segment` with a SAM 2 checkpoint file: the command line gives what Python gives."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from tests.cli.common import call, one_line
from tests.tracking.reference import CONFIG_21, make_lively, moving_square

import napari_medsam2 as nm
from napari_medsam2.models.sam2_config import build_network

if TYPE_CHECKING:
    from pathlib import Path

FRAMES = moving_square(8)
MODEL = ("--model", "sam2.1_hiera_tiny", "--image-size", "128", "--window", "0,255")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "random.pt"
    net = build_network(CONFIG_21, 128)
    make_lively(net)
    torch.save({"model": net.state_dict()}, path)
    return path


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("image") / "frames.npy"
    np.save(path, FRAMES)
    return path


def test_a_whole_volume_from_one_click(checkpoint: Path, image: Path, tmp_path: Path) -> None:
    asked = ("--point", "3,30,36,+@5", "--checkpoint", str(checkpoint), "--precision", "fp32")
    out, scores = tmp_path / "labels.npy", tmp_path / "scores.csv"
    result = call(
        "segment", str(image), "--output", str(out), "--scores", str(scores), *MODEL, *asked
    )
    assert result.exit_code == 0, result.stderr

    session = nm.Session(
        FRAMES,
        model="sam2.1_hiera_tiny",
        checkpoint=checkpoint,
        image_size=128,
        window=(0, 255),
        precision="fp32",
    )
    session.add_points(3, [(30, 36)], labels=[1], object_id=5)
    for _ in session.propagate():
        pass
    np.testing.assert_array_equal(np.load(out), session.labels)
    assert all((session.labels[frame] == 5).any() for frame in range(8))
    rows = list(csv.DictReader(scores.read_text().splitlines()))
    assert [int(row["frame"]) for row in rows] == list(range(8))
    assert all(0 <= float(row["score"]) <= 1 for row in rows)


def test_a_folder_of_embeddings_serves_the_next_call(
    checkpoint: Path, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from napari_medsam2.models.sam2 import SAM2

    encoded = []
    embed = SAM2.embed
    monkeypatch.setattr(SAM2, "embed", lambda *a: encoded.append(1) or embed(*a))
    labels = []
    for name in ("one.npy", "two.npy"):
        asked = ("--box", "3,24,28,40,50", "--checkpoint", str(checkpoint))
        kept = ("--cache", str(tmp_path / "embeddings"))
        result = call(
            "segment", str(image), "--output", str(tmp_path / name), *MODEL, *asked, *kept
        )
        assert result.exit_code == 0, result.stderr
        labels.append(np.load(tmp_path / name))
    assert len(encoded) == 8
    np.testing.assert_array_equal(*labels)


def test_a_config_of_ones_own(checkpoint: Path, image: Path, tmp_path: Path) -> None:
    from importlib.resources import files

    config = tmp_path / "mine.yaml"
    config.write_text(files("sam2").joinpath(CONFIG_21).read_text())
    asked = (
        "--box",
        "3,24,28,40,50",
        "--image-size",
        "128",
        "--range",
        "3:5",
        "--model",
        str(config),
    )
    out = tmp_path / "labels.npy"
    weights = ("--checkpoint", str(checkpoint))
    assert call("segment", str(image), "--output", str(out), *asked, *weights).exit_code == 0
    assert np.load(out)[3].any()
    said = one_line(call("segment", str(image), "--output", str(tmp_path / "no.npy"), *asked))
    assert "a config has no weights of its own" in said


@pytest.mark.parametrize(
    ("asked", "complaint"),
    [
        (("--model", "sam2.1_hiera_tiny"), "models pull sam2.1_hiera_tiny"),
        (("--model", "sam2.1_hiera_tiny", "--memory", "best"), "unknown memory 'best'"),
        (("--model", "nothing.yaml"), "nothing.yaml: there is no such file"),
        (("--model", "sam2_hiera_tiny", "CHECKPOINT"), "another architecture"),
        (("--model", "sam2.1_hiera_tiny", "--image-size", "100", "CHECKPOINT"), "multiple of 32"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(
    checkpoint: Path,
    image: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    asked: tuple[str, ...],
    complaint: str,
) -> None:
    monkeypatch.setenv("NAPARI_MEDSAM2_MODELS", str(tmp_path / "models"))
    given = [a for a in asked if a != "CHECKPOINT"]
    given += ["--checkpoint", str(checkpoint)] if "CHECKPOINT" in asked else []
    out = tmp_path / "labels.npy"
    result = call("segment", str(image), "--output", str(out), "--box", "3,24,28,40,50", *given)
    assert complaint in one_line(result)
    assert not out.exists()
