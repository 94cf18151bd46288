"""What bad input and an interruption get: one clear line, and nothing half written."""

from __future__ import annotations

import json
import os

import pytest
from tests.cli.common import (
    LEFT_BOX,
    one_line,
    segment,
)
from tests.fakes import BrightModel

from napari_medsam2.io import PromptDocument, files, write_prompts
from napari_medsam2.prompts import BoxPrompt, PromptSet


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
            (["--slice-only", "--patience", "2"], "leave out --patience"),
            (["--patience", "0"], "--patience 0: give 1 frame or more"),
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
            (["--channel", "0,0"], "name one twice"),
            (["--level", "1"], "no level 1; it has no coarser levels"),
            (["--spacing", "1,1"], "must be 3 positive numbers"),
            (["--spacing", "1,1,0"], "must be 3 positive numbers"),
            (["--spacing", "1,1,mm"], "'mm' is no number"),
            (["--window", "liver"], "unknown window 'liver'"),
            (["--window", "5,1"], "low < high"),
            (["--window", "abdomen"], "needs Hounsfield units"),
            (["--window", "display"], "no display window"),
            (["--model", "sam9"], "unknown model 'sam9'; known: litemedsam-track"),
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
        assert result.stderr.endswith("interrupted; no unfinished result was left\n")
        assert os.listdir(image.parent) == ["image.tif"]

    def test_ctrl_c_while_writing_leaves_nothing(self, image, bright, monkeypatch):
        def interrupted(path, labels, volume):
            path.write_bytes(b"half")
            raise KeyboardInterrupt

        monkeypatch.setitem(files._WRITERS, ".npy", interrupted)
        scores = image.with_name("s.csv")
        assert segment(image, "--box", LEFT_BOX, "--scores", scores).exit_code == 130
        assert os.listdir(image.parent) == ["image.tif"]
