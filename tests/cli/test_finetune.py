"""`finetune` on a handful of made cases, as a user runs it, and the folder that it leaves."""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import time
import tomllib
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from tests.cli.common import call, one_line
from tests.own_models import CONFIG_21, of_litemedsam, of_sam2
from tests.training.common import discs

import napari_medsam2 as nm
from napari_medsam2.models.sam2_config import build_network

if TYPE_CHECKING:
    from pathlib import Path

QUICK = (
    *("--frames", "10", "--val-frames", "4", "--batch", "2"),
    *("--device", "cpu", "--judge-every", "3"),
)


def write_manifest(folder: Path, subjects: str = "abcd") -> Path:
    """Write volumes of moving discs, the last one to judge by."""
    lines = ["image\tlabels\tkind\tsplit\tsubject"]
    for number, subject in enumerate(subjects):
        image, labels = discs(4, seed=number, absent=1)
        np.save(folder / f"{number}.npy", image)
        np.save(folder / f"{number}_labels.npy", labels)
        split = "val" if number == len(subjects) - 1 else "train"
        lines.append(f"{number}.npy\t{number}_labels.npy\t3d\t{split}\t{subject}")
    path = folder / "cases.tsv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


@pytest.fixture(autouse=True)
def own_lists(tmp_path, monkeypatch):
    """No test adds to the lists of whoever runs it."""
    monkeypatch.setenv("NAPARI_MEDSAM2_MODELS", str(tmp_path / "models"))


@pytest.mark.slow
def test_a_model_folder_comes_of_it_and_is_used_at_once(tmp_path: Path) -> None:
    manifest, out = write_manifest(tmp_path), tmp_path / "mine"
    options = ("--base", "litemedsam", "--parts", "track", "--steps", "4", "--title", "Discs")
    done = call("finetune", manifest, "--output", out, *options, *QUICK)
    assert done.exit_code == 0, done.stderr
    assert f"use it as --model {out}" in done.stdout
    assert "click1" in done.stdout

    card = tomllib.loads((out / "card.toml").read_text(encoding="utf-8"))
    assert card["title"] == "Discs"
    assert card["family"] == "litetrack"
    assert card["recipe"]["steps"] == 4
    assert card["data"]["datasets"] == {tmp_path.name: "3 train, 1 val"}
    assert set(card["scores"]["before"]) == set(card["scores"]["after"])
    assert 0 < (out / "weights.safetensors").stat().st_size < 20e6
    with Image.open(out / "curves.png") as picture:
        assert picture.size[0] > 400
    rows = list(csv.DictReader((out / "training" / "log.csv").read_text().splitlines()))
    assert {int(row["step"]) for row in rows} == {0, 1, 2, 3, 4}

    # In the list, and as a model's name.
    assert "Discs" in call("models", "list").stdout
    image = np.load(tmp_path / "3.npy")
    labels = nm.segment(image, [nm.BoxPrompt(1, (8, 8, 56, 56))], model=str(out), window=(0, 255))
    assert labels[1].any()

    # Longer, from where it was.
    longer = (*options[:4], "--steps", "6", "--resume")
    done = call("finetune", manifest, "--output", out, *longer, *QUICK)
    assert done.exit_code == 0, done.stderr
    rows = list(csv.DictReader((out / "training" / "log.csv").read_text().splitlines()))
    assert max(int(row["step"]) for row in rows) == 6


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_killed_run_goes_on_to_the_same_losses(tmp_path: Path) -> None:
    manifest = write_manifest(tmp_path)
    common = (sys.executable, "-m", "napari_medsam2", "finetune", str(manifest))
    options = ("--base", "litemedsam", "--parts", "track", "--steps", "6", *QUICK, "--no-add")

    def command(name: str, *more: str) -> list[str]:
        return [*common, "--output", str(tmp_path / name), *options, *more]

    whole = subprocess.run(command("whole"), capture_output=True, text=True, check=False)
    assert whole.returncode == 0, whole.stderr
    log = tmp_path / "killed" / "training" / "log.csv"
    with subprocess.Popen(command("killed"), stderr=subprocess.DEVNULL) as run:
        deadline = time.monotonic() + 300
        while "\n4," not in (log.read_text() if log.exists() else ""):
            assert run.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(run.pid, signal.SIGKILL)
    again = subprocess.run(
        command("killed", "--resume"), capture_output=True, text=True, check=False
    )
    assert again.returncode == 0, again.stderr
    assert log.read_text() == (tmp_path / "whole" / "training" / "log.csv").read_text()
    weights = [tmp_path / name / "weights.safetensors" for name in ("whole", "killed")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


@pytest.mark.slow
def test_two_processes_of_torchrun_write_one_model(tmp_path: Path) -> None:
    manifest, out = write_manifest(tmp_path), tmp_path / "mine"
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", "2", "-m", "napari_medsam2", "finetune", str(manifest)]
    command += ["--output", str(out), "--base", "litemedsam", "--parts", "track", "--steps", "3"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [*command, *QUICK], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("use it as --model") == 1
    assert nm.models.get(str(out)).verify().is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("base", "parts", "kept"),
    [
        ("litemedsam", "decoder", "image_encoder."),
        ("sam2", "decoder,memory", "image_encoder."),
    ],
)
def test_other_models_learn_in_parts(tmp_path: Path, base: str, parts: str, kept: str) -> None:
    """What is not named stays as it was; that the rest learns, tests/training shows."""
    manifest, out = write_manifest(tmp_path), tmp_path / "mine"
    began = tmp_path / "base"
    if base == "sam2":
        of_sam2(began, build_network(CONFIG_21, 128), 128)
    else:
        of_litemedsam(began)
    options = ("--base", began, "--parts", parts, "--steps", "2", "--rate", "20", "--no-add")
    done = call("finetune", manifest, "--output", out, *options, *QUICK)
    assert done.exit_code == 0, done.stderr
    before, after = (load_file(folder / "weights.safetensors") for folder in (began, out))
    assert before.keys() == after.keys()
    changed = {name for name in before if not torch.equal(before[name].half(), after[name].half())}
    assert not any(name.startswith(kept) for name in changed)
    image = np.load(tmp_path / "3.npy")
    labels = nm.segment(image, [nm.BoxPrompt(1, (8, 8, 56, 56))], model=str(out), window=(0, 255))
    assert labels.shape == image.shape


class TestBadUse:
    def test_a_subject_on_both_sides(self, tmp_path):
        manifest = write_manifest(tmp_path, "aba")
        said = one_line(call("finetune", manifest, "--output", tmp_path / "o", "--steps", "1"))
        assert "subject 'a'" in said
        assert "both in train and in val" in said
        assert not (tmp_path / "o").exists()

    def test_a_folder_that_is_in_use(self, tmp_path):
        manifest, out = write_manifest(tmp_path), tmp_path / "o"
        out.mkdir()
        (out / "mine.txt").touch()
        said = one_line(call("finetune", manifest, "--output", out, "--steps", "1"))
        assert "is not empty" in said
        assert "--resume" in said
        assert [p.name for p in out.iterdir()] == ["mine.txt"]

    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            (("--base", "sam9"), "unknown model 'sam9'"),
            (("--base", "litemedsam", "--parts", "memory"), "there is no part 'memory'"),
            (("--base", "litemedsam", "--parts", "track,decoder"), "'track' includes the decoder"),
            (("--precision", "fp16"), "use auto or fp32"),
            (("--minutes", "3"), "either minutes or steps"),
            (("--rate", "0"), "must be above 0"),
            (("--device", "tpu"), "unknown device"),
        ],
    )
    def test_what_cannot_be(self, tmp_path, options, problem):
        manifest = write_manifest(tmp_path)
        said = one_line(
            call("finetune", manifest, "--output", tmp_path / "o", "--steps", "1", *options)
        )
        assert problem in said
        assert not (tmp_path / "o").exists()
