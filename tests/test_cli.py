"""The command line in process, around a model without a network; tests/e2e runs the program."""

from __future__ import annotations

import csv
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from tests.fakes import BrightModel
from typer.testing import CliRunner

import napari_medsam2 as nm
from napari_medsam2 import models
from napari_medsam2.cli import app
from napari_medsam2.io import PromptDocument, files, read_labels, write_prompts
from napari_medsam2.prompts import BoxPrompt, PromptSet

FRAMES, HEIGHT, WIDTH = 5, 64, 64
# Around the left square (rows 10 to 20, columns 8 to 18) and the right one (12 to 24, 30 to 44).
LEFT_BOX, RIGHT_BOX = "2,8,6,22,20", "1,10,28,26,46"


def squares() -> np.ndarray:
    """Return two bright squares that stay where they are, on a dark ground."""
    image = np.full((FRAMES, HEIGHT, WIDTH), 20, np.uint8)
    image[:, 10:20, 8:18] = 220
    image[:, 12:24, 30:44] = 200
    return image


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, squares(), imagej=True, metadata={"axes": "ZYX"})
    return path


@pytest.fixture
def bright(monkeypatch: pytest.MonkeyPatch) -> BrightModel:
    """Compute with brightness instead of a network."""
    model = BrightModel()
    monkeypatch.setattr(models, "build", lambda *args, **kwargs: model)
    return model


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if a model is loaded: what is wrong with the input must be found before."""

    def build(*args: object, **kwargs: object) -> None:
        pytest.fail("the model was loaded")

    monkeypatch.setattr(models, "build", build)


def call(*args: object, env: dict[str, str] | None = None):
    return CliRunner(env=env).invoke(app, [str(a) for a in args], prog_name="napari-medsam2")


def one_line(result) -> str:
    """Return what was said on stderr, having checked that it is bad use told in one line."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    return result.stderr.strip()


def segment(image: Path, *args: object, output: str = "labels.npy"):
    options = ("--window", "0,255", *args)
    return call("segment", image, "--output", image.parent / output, *options)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


class TestTop:
    def test_version(self):
        assert call("--version").stdout == f"napari-medsam2 {nm.__version__}\n"

    @pytest.mark.parametrize("command", ["demo", "view", "segment", "info", "models"])
    def test_help_names_every_command(self, command: str):
        assert re.search(rf"\b{command}\b", call("--help").stdout)
        assert call(command, "--help").exit_code == 0

    def test_no_command(self):
        assert "give a command: demo, view, segment, info or models" in one_line(call())

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


class TestSegment:
    def test_a_box_labels_the_object_on_every_frame(self, image, bright):
        result = segment(image, "--box", LEFT_BOX)
        assert result.exit_code == 0, result.output
        expected = np.zeros((FRAMES, HEIGHT, WIDTH), int)
        expected[:, 10:20, 8:18] = 1
        np.testing.assert_array_equal(read_labels(image.with_name("labels.npy")), expected)
        assert re.search(r"1 +5 +500 +500 +0\.\d+", result.stdout)
        assert f"wrote {image.with_name('labels.npy')}" in result.stdout
        assert "5 of 5" in result.stderr

    def test_ids_belong_to_the_boxes_that_name_them(self, image, bright):
        segment(image, "--box", f"{LEFT_BOX}@7", "--box", f"{RIGHT_BOX}@300")
        labels = read_labels(image.with_name("labels.npy"))
        assert labels[4, 15, 10] == 7
        assert labels[0, 15, 35] == 300
        assert set(np.unique(labels)) == {0, 7, 300}

    @pytest.mark.parametrize(
        ("options", "frames"),
        [
            (["--direction", "forward"], [2, 3, 4]),
            (["--direction", "backward"], [0, 1, 2]),
            (["--range", "1:4"], [1, 2, 3]),
            (["--range", "3:"], [3, 4]),
            (["--range", ":1"], [0]),
            (["--slice-only"], [2]),
            (["--slice-only", "--range", "2:3"], [2]),
        ],
    )
    def test_frames(self, image, bright, options, frames):
        assert segment(image, "--box", LEFT_BOX, *options).exit_code == 0
        labels = read_labels(image.with_name("labels.npy"))
        assert np.flatnonzero(labels.any(axis=(1, 2))).tolist() == frames

    def test_prompts_file(self, image, bright, tmp_path):
        prompts = PromptSet().add(2, BoxPrompt(2, (8, 6, 22, 20)), name="left")
        prompts = prompts.add(5, BoxPrompt(1, (10, 28, 26, 46)), name="right")
        write_prompts(tmp_path / "p.json", PromptDocument(prompts))
        result = segment(image, "--prompts", tmp_path / "p.json", "--objects", "5")
        assert result.exit_code == 0, result.output
        assert set(np.unique(read_labels(image.with_name("labels.npy")))) == {0, 5}
        assert re.search(r"5 +right +5 +840", result.stdout)

    def test_prompts_file_and_a_box_together(self, image, bright, tmp_path):
        prompts = PromptSet().add(2, BoxPrompt(2, (8, 6, 22, 20)))
        write_prompts(tmp_path / "p.json", PromptDocument(prompts))
        segment(image, "--prompts", tmp_path / "p.json", "--box", f"{RIGHT_BOX}@3")
        assert set(np.unique(read_labels(image.with_name("labels.npy")))) == {0, 2, 3}

    def test_a_saved_session_serves_as_prompts(self, image, bright, tmp_path):
        session = nm.Session(nm.read(image), axis=2)
        session.add_box(10, (0, 8, 5, 22), object_id=4, name="side view")
        session.save(tmp_path / "x.medsam2.json")
        result = segment(image, "--prompts", tmp_path / "x.medsam2.json")
        assert result.exit_code == 0, result.output
        labels = read_labels(image.with_name("labels.npy"))
        assert np.argwhere(labels == 4).min(axis=0).tolist() == [0, 10, 8]
        assert np.argwhere(labels == 4).max(axis=0).tolist() == [4, 19, 17]

    def test_axis(self, image, bright):
        assert segment(image, "--box", "15,0,6,5,20", "--axis", "y").exit_code == 0
        labels = read_labels(image.with_name("labels.npy"))
        assert np.argwhere(labels).min(axis=0).tolist() == [0, 10, 8]
        assert np.argwhere(labels).max(axis=0).tolist() == [4, 19, 17]

    def test_position_and_channel_of_a_movie_of_stacks(self, tmp_path, bright):
        movie = np.zeros((2, FRAMES, 2, HEIGHT, WIDTH), np.uint8)
        movie[1, :, 1] = squares()
        path = tmp_path / "movie.tif"
        tifffile.imwrite(path, movie, imagej=True, metadata={"axes": "TZCYX"})
        options = ("--axis", "z", "--at", "1", "--channel", "1")
        result = segment(path, "--box", LEFT_BOX, *options)
        assert result.exit_code == 0, result.output
        labels = read_labels(tmp_path / "labels.npy")
        assert labels.shape == (2, FRAMES, HEIGHT, WIDTH)
        assert labels[0].sum() == 0
        assert labels[1].sum() == 500

    def test_a_click_refines_a_box(self, image, bright):
        result = segment(image, "--box", LEFT_BOX, "--point", "2,15,12,+", "--slice-only")
        assert result.exit_code == 0, result.output

    def test_scores(self, image, bright, tmp_path):
        segment(image, "--box", f"{LEFT_BOX}@3", "--range", "1:3", "--scores", tmp_path / "s.csv")
        rows = table(tmp_path / "s.csv")
        assert [(r["object"], r["frame"]) for r in rows] == [("3", "1"), ("3", "2")]
        assert all(0 < float(r["score"]) <= 1 for r in rows)

    def test_measurements_in_the_given_spacing(self, image, bright, tmp_path):
        options = ("--spacing", "3,0.5,0.5", "--measurements", tmp_path / "m.csv")
        segment(image, "--box", LEFT_BOX, *options)
        (row,) = table(tmp_path / "m.csv")
        assert row["voxels"] == "500"
        assert float(row["size"]) == 500 * 3 * 0.5 * 0.5
        assert row["unit"] == "px3"
        assert row["bbox"] == "0:5 10:20 8:18"
        assert row["centre"] == "2.00 14.50 12.50"
        assert row["n_frames"] == "5"
        assert 0 < float(row["mean_score"]) <= 1

    def test_overwrite(self, image, bright):
        image.with_name("labels.npy").write_bytes(b"old")
        assert segment(image, "--box", LEFT_BOX, "--overwrite").exit_code == 0
        assert read_labels(image.with_name("labels.npy")).sum() == 500

    def test_an_object_that_is_not_found_is_reported(self, image, bright):
        result = segment(image, "--box", "2,25,2,35,12")
        assert result.exit_code == 0, result.output
        assert re.search(r"1 +0 +0 +0 ", result.stdout)


class TestKindsOfImages:
    @pytest.mark.parametrize(
        "dtype",
        [
            "bool",
            "uint8",
            "int16",
            "uint16",
            "int32",
            "float16",
            "float32",
            "float64",
            ">u2",
            ">i2",
            ">f4",
        ],
    )
    def test_every_dtype(self, tmp_path, bright, dtype):
        data = squares() > 127 if dtype == "bool" else squares().astype(dtype)
        np.save(tmp_path / "image.npy", data)
        path, output = tmp_path / "image.npy", tmp_path / "labels.nii.gz"
        result = call("segment", path, "--output", output, "--box", LEFT_BOX)
        assert result.exit_code == 0, result.output
        assert (read_labels(output) > 0).sum() == 500

    def test_nan_and_infinity(self, tmp_path, bright):
        data = squares().astype(np.float32)
        data[0, 0, 0], data[1, 1, 1], data[2, 2, 2] = np.nan, np.inf, -np.inf
        np.save(tmp_path / "image.npy", data)
        result = segment(tmp_path / "image.npy", "--box", LEFT_BOX, output="out.tif")
        assert result.exit_code == 0, result.output
        assert read_labels(tmp_path / "out.tif").sum() == 500

    @pytest.mark.parametrize("data", [squares()[:1], squares()[0]], ids=["one slice", "2D"])
    def test_one_frame(self, tmp_path, bright, data):
        np.save(tmp_path / "image.npy", data)
        result = segment(tmp_path / "image.npy", "--box", "0,8,6,22,20", output="out.npy")
        assert result.exit_code == 0, result.output
        labels = read_labels(tmp_path / "out.npy")
        assert labels.shape == data.shape
        assert labels.sum() == 100

    def test_colour(self, tmp_path, bright):
        np.save(tmp_path / "image.npy", np.repeat(squares()[..., np.newaxis], 3, axis=-1))
        result = segment(tmp_path / "image.npy", "--box", LEFT_BOX, output="out.npy")
        assert result.exit_code == 0, result.output
        assert read_labels(tmp_path / "out.npy").shape == (FRAMES, HEIGHT, WIDTH)

    @pytest.mark.parametrize("value", [7, 0.0, np.nan])
    def test_a_constant_image_is_refused(self, tmp_path, no_model, value):
        np.save(tmp_path / "image.npy", np.full((3, 20, 20), value))
        path, output = tmp_path / "image.npy", tmp_path / "out.npy"
        said = one_line(call("segment", path, "--output", output, "--box", "1,2,2,9,9"))
        assert "image is constant" in said or "no finite intensity" in said
        assert not output.exists()


@pytest.mark.usefixtures("no_model")
class TestBadInput:
    """One clear line, exit code 2, nothing written, and no model loaded."""

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("20,5,5", '--box "20,5,5": expected frame,y0,x0,y1,x1[@id]'),
            ("a,5,5,9,9", "'a' is no whole number"),
            ("1.5,5,5,9,9", "'1.5' is no whole number"),
            ("2,5,5,9,nine", "'nine' is no number"),
            ("2,5,5,9,9@", "expected frame,y0,x0,y1,x1[@id]"),
            ("2,5,5,9,9@x", "'x' is no whole number"),
            ("2,5,5,9,9@0", "object id 0 is outside 1..65535"),
            ("2,5,5,9,9@70000", "object id 70000 is outside"),
            ("-1,5,5,9,9", "frames are counted from 0"),
            ("2,5,5,9,nan", "finite"),
            ("2,9,5,5,9", "inverted"),
            ("2,5,5,5,9", "0 x 4 pixels"),
            ("2,5,5,6,6", "1 x 1 pixels"),
            ("2,100,100,120,120", "lies outside the frame of 64 x 64"),
            ("9,5,5,9,9", "frames 0 to 4"),
        ],
    )
    def test_box(self, image, text, said):
        line = one_line(segment(image, "--box", text))
        assert line.startswith(f'napari-medsam2: --box "{text}": ')
        assert said in line
        assert os.listdir(image.parent) == ["image.tif"]

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("2,5,5", "expected frame,y,x,+|-[@id]"),
            ("2,5,5,1", "'1' is neither + nor -"),
            ("2,5,x,+", "'x' is no number"),
            ("2,500,5,+", "lies outside the frame"),
            ("7,5,5,-", "frames 0 to 4"),
        ],
    )
    def test_point(self, image, text, said):
        line = one_line(segment(image, "--point", text))
        assert line.startswith(f'napari-medsam2: --point "{text}": ')
        assert said in line

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (["--range", "3"], '--range "3": expected A:B'),
            (["--range", "1:2:3"], "expected A:B"),
            (["--range", "-1:2"], "expected A:B"),
            (["--range", "3:3"], "--range 3:3: the image has 5 frames"),
            (["--range", "0:6"], "--range 0:6: the image has 5 frames"),
            (["--slice-only", "--range", "3:5"], "no prompted frame lies in it"),
            (["--slice-only", "--direction", "both"], "leave out --direction"),
            (["--direction", "up"], '--direction "up": use both, forward, backward'),
            (["--objects", "1,x"], "'x' is no whole number"),
            (["--objects", "2"], "--objects: there is no object 2; objects: 1"),
            (["--objects", "0"], "object id 0 is outside"),
            (["--axis", "t"], "no axis 't'; its axes are 0 (z), 1 (y), 2 (x)"),
            (["--axis", "3"], "no axis"),
            (["--at", "1"], "fix a position for each of: none (got 1)"),
            (["--at", "one"], "'one' is no whole number"),
            (["--channel", "1"], "no channel 1"),
            (["--channel", "x"], "--channel"),
            (["--spacing", "1,1"], "must be 3 positive numbers"),
            (["--spacing", "1,1,0"], "must be 3 positive numbers"),
            (["--spacing", "1,1,mm"], "'mm' is no number"),
            (["--window", "liver"], "unknown window 'liver'"),
            (["--window", "5,1"], "low < high"),
            (["--window", "abdomen"], "needs Hounsfield units"),
            (["--window", "display"], "no display window"),
            (["--model", "sam9"], "unknown model 'sam9'; known: litemedsam"),
            (["--precision", "fp8"], "unknown precision 'fp8'"),
            (["--device", "tpu"], "unknown device 'tpu'"),
            (["--device", "cuda:99"], "'cuda:99' is not there"),
            (["--checkpoint", "no.pth"], "--checkpoint no.pth: there is no such file"),
            (["--prompts", "no.json"], "no.json"),
        ],
    )
    def test_option(self, image, options, said):
        assert said in one_line(segment(image, "--box", LEFT_BOX, *options))
        assert os.listdir(image.parent) == ["image.tif"]

    def test_nothing_to_segment(self, image):
        assert "give --box, --point or --prompts" in one_line(segment(image))

    def test_prompts_file_with_a_mistake_names_the_place(self, image, tmp_path):
        path = tmp_path / "p.json"
        box = {"type": "box", "frame": 1, "boxx": [1, 1, 9, 9]}
        path.write_text(json.dumps({"version": 1, "objects": [{"id": 1, "prompts": [box]}]}))
        assert "p.json: objects[0].prompts[0]" in one_line(segment(image, "--prompts", path))

    def test_prompts_file_of_another_image(self, image, tmp_path):
        prompts = PromptSet().add(2, BoxPrompt(30, (8, 6, 22, 20)))
        write_prompts(tmp_path / "p.json", PromptDocument(prompts))
        said = one_line(segment(image, "--prompts", tmp_path / "p.json"))
        assert "object 2, frame 30: the image has frames 0 to 4" in said

    def test_prompts_file_without_prompts(self, image, tmp_path):
        write_prompts(tmp_path / "p.json", PromptDocument(PromptSet().add(2)))
        assert "nothing to segment" in one_line(segment(image, "--prompts", tmp_path / "p.json"))

    def test_prompts_along_another_axis(self, image, tmp_path):
        prompts = PromptSet().add(2, BoxPrompt(3, (1, 6, 4, 20)))
        write_prompts(tmp_path / "p.json", PromptDocument(prompts, axis=1))
        said = one_line(segment(image, "--prompts", tmp_path / "p.json", "--axis", "z"))
        assert "--axis z: the prompts were made along axis 1" in said

    @pytest.mark.parametrize(
        ("output", "said"),
        [
            ("labels", "use one of the suffixes .nii.gz"),
            ("labels.xyz", "use one of the suffixes .nii.gz"),
            ("no/where/labels.tif", "does not exist"),
            ("taken.tif", "exists"),
            ("folder.tif", "is a folder"),
            ("image.tif", "is an input"),
        ],
    )
    def test_output(self, image, output, said):
        image.with_name("taken.tif").write_bytes(b"mine")
        image.with_name("folder.tif").mkdir()
        line = one_line(segment(image, "--box", LEFT_BOX, output=output))
        assert line.startswith("napari-medsam2: --output ")
        assert said in line
        assert image.with_name("taken.tif").read_bytes() == b"mine"

    def test_overwrite_does_not_reach_the_image(self, image):
        before = image.read_bytes()
        said = one_line(segment(image, "--box", LEFT_BOX, "--overwrite", output="image.tif"))
        assert "is an input" in said
        assert image.read_bytes() == before

    @pytest.mark.parametrize("option", ["--scores", "--measurements"])
    def test_tables(self, image, option):
        image.with_name("taken.csv").touch()
        for name, said in (("a.txt", "is written as .csv"), ("taken.csv", "exists")):
            line = one_line(segment(image, "--box", LEFT_BOX, option, image.with_name(name)))
            assert line.startswith(f"napari-medsam2: {option} ")
            assert said in line

    def test_two_outputs_in_one_file(self, image, tmp_path):
        both = ("--scores", tmp_path / "t.csv", "--measurements", tmp_path / "t.csv")
        said = one_line(segment(image, "--box", LEFT_BOX, *both))
        assert "is the file of --scores already" in said

    @pytest.mark.skipif(
        not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
    )
    def test_a_folder_that_cannot_be_written(self, image, tmp_path):
        closed = tmp_path / "closed"
        closed.mkdir()
        closed.chmod(0o555)
        said = one_line(segment(image, "--box", LEFT_BOX, output="closed/labels.tif"))
        assert "cannot be written" in said


class TestInterrupted:
    def test_ctrl_c_while_computing_leaves_nothing(self, image, bright, monkeypatch):
        decode = BrightModel.decode

        def interrupted(self, embedding, prompts):
            if self.decoded == 2:
                raise KeyboardInterrupt
            return decode(self, embedding, prompts)

        monkeypatch.setattr(BrightModel, "decode", interrupted)
        result = segment(image, "--box", LEFT_BOX, "--scores", image.with_name("s.csv"))
        assert result.exit_code == 130
        assert result.stderr.endswith("interrupted; no unfinished file was left\n")
        assert os.listdir(image.parent) == ["image.tif"]

    def test_ctrl_c_while_writing_leaves_nothing(self, image, bright, monkeypatch):
        def interrupted(path, labels, volume):
            path.write_bytes(b"half")
            raise KeyboardInterrupt

        monkeypatch.setitem(files._WRITERS, ".npy", interrupted)
        scores = image.with_name("s.csv")
        assert segment(image, "--box", LEFT_BOX, "--scores", scores).exit_code == 130
        assert os.listdir(image.parent) == ["image.tif"]


class TestModels:
    def test_list(self):
        result = call("models", "list")
        assert re.search(r"litemedsam +LiteMedSAM +Apache-2.0 +ready +256", result.stdout)

    def test_list_as_json(self):
        cards = json.loads(call("models", "list", "--json").stdout)
        assert [card["name"] for card in cards] == list(models.names())
        assert cards[0]["licence"] == "Apache-2.0"
        assert cards[0]["state"] == "ready"

    def test_path(self):
        assert Path(call("models", "path", "litemedsam").stdout.strip()).is_file()

    def test_verify(self):
        assert "as it should be" in call("models", "verify", "litemedsam").stdout

    def test_verify_an_altered_file(self, monkeypatch, tmp_path):
        card = models.get("litemedsam")
        (tmp_path / "weights.pth").write_bytes(b"short")
        monkeypatch.setattr(type(card), "path", property(lambda self: tmp_path / "weights.pth"))
        assert "has 5 bytes, expected" in one_line(call("models", "verify", "litemedsam"))
        assert "missing" in call("models", "list").stdout

    @pytest.mark.parametrize("command", ["path", "verify"])
    def test_unknown(self, command):
        said = one_line(call("models", command, "sam9"))
        assert "unknown model 'sam9'; known: litemedsam" in said


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
            "embeddings": 6 * 4 * 2**20,
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
