"""`segment` in process, around a model without a network."""

from __future__ import annotations

import re

import numpy as np
import pytest
import tifffile
from tests.cli.common import (
    FRAMES,
    HEIGHT,
    LEFT_BOX,
    RIGHT_BOX,
    WIDTH,
    call,
    one_line,
    segment,
    squares,
    table,
)

import napari_medsam2 as nm
from napari_medsam2.io import PromptDocument, read_labels, write_prompts
from napari_medsam2.labels import MaskUpdate
from napari_medsam2.prompts import BoxPrompt, PromptSet


def replay(image, path):
    output = image.with_name("labels.npy")
    return call("segment", image, "--output", output, "--prompts", path)


def painted(frame, object_id, box):
    y0, x0, y1, x1 = box
    return MaskUpdate(frame, object_id, box, np.ones((y1 - y0, x1 - x0), bool), 1.0)


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

    @pytest.mark.parametrize(
        ("options", "frames"),
        [([], [0, 1, 2]), (["--patience", "1"], [0, 1, 2]), (["--patience", "2"], [0, 1, 2, 4])],
    )
    def test_patience(self, tmp_path, bright, options, frames):
        path, stack = tmp_path / "gap.tif", squares()
        stack[3] = 20
        tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "ZYX"})
        assert segment(path, "--box", LEFT_BOX, *options).exit_code == 0
        labels = read_labels(path.with_name("labels.npy"))
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

    def test_a_saved_session_is_replayed_to_identical_labels(self, image, bright, tmp_path):
        session = nm.Session(nm.read(image))
        session.use_model(bright)
        session.add_box(2, (8, 6, 22, 20), object_id=1)
        list(session.propagate("forward"))
        session.write_masks([painted(0, 1, (0, 0, 3, 4))], "paint")
        session.turn("y")
        session.add_box(15, (0, 26, 5, 46), object_id=2)
        session.segment(15)
        session.save(tmp_path / "x.medsam2.json")
        result = replay(image, tmp_path / "x.medsam2.json")
        assert result.exit_code == 0, result.output
        assert "replaying" in result.output
        np.testing.assert_array_equal(
            read_labels(image.with_name("labels.npy")).reshape(session.labels.shape),
            session.labels,
        )

    def test_options_ask_a_saved_session_anew(self, image, bright, tmp_path):
        session = nm.Session(nm.read(image))
        session.use_model(bright)
        session.add_box(2, (8, 6, 22, 20), object_id=1)
        session.segment(2)
        session.save(tmp_path / "x.medsam2.json")
        segment(image, "--prompts", tmp_path / "x.medsam2.json", "--direction", "forward")
        labels = read_labels(image.with_name("labels.npy"))
        assert np.flatnonzero(labels.any(axis=(1, 2))).tolist() == [2, 3, 4]

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

    def test_channels_blended_along_time_at_a_depth(self, tmp_path, bright):
        movie = np.zeros((FRAMES, 4, 3, HEIGHT, WIDTH), np.uint8)
        movie[:, 3, 2] = squares()
        path = tmp_path / "movie.tif"
        tifffile.imwrite(path, movie, imagej=True, metadata={"axes": "TZCYX"})
        options = ("--axis", "t", "--at", "3", "--channel", "0,2")
        result = segment(path, "--box", LEFT_BOX, *options)
        assert result.exit_code == 0, result.output
        labels = read_labels(tmp_path / "labels.npy")
        assert labels[:, 3].sum() == 500
        assert labels.sum() == 500

    def test_each_blended_channel_has_its_window(self, tmp_path, bright):
        cells = np.zeros((FRAMES, 2, HEIGHT, WIDTH), np.uint16)
        cells[:, 1] = squares().astype(np.uint16) * 100
        path = tmp_path / "cells.tif"
        tifffile.imwrite(path, cells, imagej=True, metadata={"axes": "ZCYX"})
        options = ("--channel", "0,1", "--window", "0,1,0,25500")
        result = segment(path, "--box", LEFT_BOX, *options)
        assert result.exit_code == 0, result.output
        assert read_labels(tmp_path / "labels.npy").sum() == 500
        result = segment(path, "--box", LEFT_BOX, "--channel", "0,1", "--window", "0,1,0",
                         output="again.npy")  # fmt: skip
        assert "2 channels are blended; give low and high once, or 2 times" in one_line(result)

    def test_a_level_of_a_pyramid(self, tmp_path, bright):
        image = squares()
        path = tmp_path / "slide.ome.tif"
        with tifffile.TiffWriter(path, ome=True) as tif:
            named = {"metadata": {"axes": "ZYX"}, "photometric": "minisblack"}
            tif.write(image, subifds=1, **named)
            tif.write(image[:, ::2, ::2], subfiletype=1, **named)
        result = segment(path, "--box", LEFT_BOX, "--level", "2")
        assert "there is no level 2; it has levels 0 to 1" in one_line(result)
        result = segment(path, "--box", LEFT_BOX, "--level", "0")
        assert result.exit_code == 0, result.output
        assert read_labels(tmp_path / "labels.npy").shape == image.shape

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
