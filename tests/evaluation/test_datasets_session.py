"""Saved sessions are cases: frames that a person has prompted count as truth."""

from __future__ import annotations

import json
import pickle
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile
from tests.fakes import BrightModel

from napari_medsam2 import Session, read
from napari_medsam2.errors import ReadError
from napari_medsam2.evaluation.dataset import read_manifest
from napari_medsam2.evaluation.datasets_session import true_frames
from napari_medsam2.prompts import BoxPrompt, PromptSet
from napari_medsam2.volume import Volume

if TYPE_CHECKING:
    from pathlib import Path

# A block of 200 on 20: rows 16 to 31 and columns 24 to 39, on slices 0 to 5 of 6.
BLOCK = np.zeros((6, 64, 64), bool)
BLOCK[:, 16:32, 24:40] = True
BOX = (14, 22, 34, 42)


def image(folder: Path, name: str = "ct.tif", axes: str = "ZYX") -> Path:
    path = folder / name
    pixels = np.where(BLOCK, 200, 20).astype(np.uint8)
    tifffile.imwrite(
        path, pixels, imagej=True, metadata={"axes": axes, "unit": "um"}, resolution=(2, 4)
    )
    return path


def saved(path: Path, source: Any, frames: tuple[int, ...] = (1, 3), **options: Any) -> Path:
    """Save a session whose block is prompted on some frames and carried to the rest."""
    volume = source if isinstance(source, Volume) else read(source)
    session = Session(volume, **options)
    session.use_model(BrightModel())
    for frame in frames:
        session.add_box(frame, BOX, 1, name="block")
    list(session.propagate())
    return session.save(path)


def test_a_session_is_a_manifest(tmp_path: Path) -> None:
    path = saved(tmp_path / "first.medsam2.json", image(tmp_path))
    (case,) = read_manifest(path)
    assert case.id == f"{tmp_path.name}/first"
    assert (case.kind, case.split, case.objects) == ("3d", "", {1: "block"})
    assert case.subject == str(tmp_path / "ct.tif")
    assert case.labelled(1, 6) == case.labelled_frames == (1, 3)
    assert [file.name for file in case.files][::2] == ["first.medsam2.json", "ct.tif"]
    volume, labels = pickle.loads(pickle.dumps(case)).load()
    assert volume.axes == "zyx"
    assert volume.spacing[1:] == (0.25, 0.5)
    np.testing.assert_array_equal(volume.data[1], np.where(BLOCK[1], 200, 20))
    np.testing.assert_array_equal(labels == 1, BLOCK)


def test_a_folder_of_sessions_is_a_data_set_and_one_image_one_subject(tmp_path: Path) -> None:
    ct = image(tmp_path)
    saved(tmp_path / "b.medsam2.json", ct)
    saved(tmp_path / "a.medsam2.json", ct, (2,))
    saved(tmp_path / "c.medsam2.json", image(tmp_path, "mr.tif"), (4,))
    first, second, third = read_manifest(tmp_path)
    assert [case.id.split("/")[1] for case in (first, second, third)] == ["a", "b", "c"]
    assert first.subject == second.subject != third.subject
    assert len(read_manifest(tmp_path, limit=2)) == 2


def test_a_movie_and_another_axis(tmp_path: Path) -> None:
    saved(tmp_path / "movie.medsam2.json", image(tmp_path, "movie.tif", "TYX"))
    sideways = Session(read(image(tmp_path)), axis=2)
    sideways.use_model(BrightModel())
    sideways.add_box(30, (0, 14, 6, 34), 7, name="side")
    sideways.segment(30)
    sideways.save(tmp_path / "sideways.medsam2.json")
    movie, side = read_manifest(tmp_path)
    assert movie.kind == "video"
    assert movie.load()[0].axes == "tyx"
    assert side.kind == "3d"
    assert side.labelled_frames_by_object == {7: (30,)}
    volume, labels = side.load()
    assert volume.shape == labels.shape == (64, 6, 64)
    assert volume.spacing[2] == 0.25
    np.testing.assert_array_equal(volume.data[30] == 200, BLOCK[:, :, 30])
    np.testing.assert_array_equal(labels[30] == 7, BLOCK[:, :, 30])


def test_the_position_and_the_channel_of_the_session(tmp_path: Path) -> None:
    pixels = np.full((3, 6, 2, 64, 64), 20, np.uint8)
    pixels[1, :, 1][BLOCK] = 200
    tifffile.imwrite(
        tmp_path / "all.ome.tif",
        pixels,
        ome=True,
        photometric="minisblack",
        metadata={"axes": "TZCYX"},
    )
    volume = read(tmp_path / "all.ome.tif")
    assert volume.label_axes == "tzyx"
    saved(tmp_path / "at.medsam2.json", volume, axis="z", at=(1,), channel=1)
    (case,) = read_manifest(tmp_path / "at.medsam2.json")
    found, labels = case.load()
    assert (found.axes, found.shape) == ("zyx", (6, 64, 64))
    np.testing.assert_array_equal(np.asarray(found.data) == 200, BLOCK)
    np.testing.assert_array_equal(labels == 1, BLOCK)


def test_an_image_that_was_moved_is_found_beside_its_session(tmp_path: Path) -> None:
    away, here = tmp_path / "away", tmp_path / "here"
    away.mkdir()
    here.mkdir()
    path = saved(here / "x.medsam2.json", image(away))
    assert json.loads(path.read_text())["session"]["image"]["source"] == str(away / "ct.tif")
    (away / "ct.tif").rename(here / "ct.tif")
    (case,) = read_manifest(path)
    assert case.subject == str(here / "ct.tif")
    (here / "ct.tif").unlink()
    with pytest.raises(
        ReadError, match=r"x\.medsam2\.json: session\.image\.source: the image .*is "
    ):
        read_manifest(path)


def test_an_image_of_memory_cannot_be_read_again(tmp_path: Path) -> None:
    volume = Volume(np.where(BLOCK, 200, 20).astype(np.uint8))
    path = saved(tmp_path / "x.medsam2.json", volume)
    with pytest.raises(ReadError, match="the image was in memory; save it as a file"):
        read_manifest(path)


def test_a_session_without_truth_says_so(tmp_path: Path) -> None:
    session = Session(read(image(tmp_path)))
    session.add_box(1, BOX)
    session.save(tmp_path / "x.medsam2.json")
    with pytest.raises(ReadError, match=r"x\.medsam2\.json: no object has a frame with both"):
        read_manifest(tmp_path)


def test_another_image_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.medsam2.json", image(tmp_path))
    empty = np.zeros(BLOCK.shape, np.uint8)
    tifffile.imwrite(tmp_path / "ct.tif", empty, imagej=True, metadata={"axes": "ZYX"})
    with pytest.raises(ReadError, match="the image is another one"):
        read_manifest(path)
    tifffile.imwrite(tmp_path / "ct.tif", empty[0])
    with pytest.raises(ReadError, match=r"x\.medsam2\.json: does not fit its image: "):
        read_manifest(path)


def test_an_axis_that_is_none(tmp_path: Path) -> None:
    path = saved(tmp_path / "x.medsam2.json", image(tmp_path))
    document = json.loads(path.read_text())
    document["session"]["settings"]["axis"] = 9
    path.write_text(json.dumps(document))
    with pytest.raises(ReadError, match=r"x\.medsam2\.json: does not fit its image: .*axis 9"):
        read_manifest(path)


def test_npz_cases_beside_sessions_are_ambiguous_unless_they_are_the_images(tmp_path: Path) -> None:
    np.savez(tmp_path / "own.npz", image=np.where(BLOCK, 200, 20).astype(np.uint8))
    saved(tmp_path / "x.medsam2.json", tmp_path / "own.npz")
    (case,) = read_manifest(tmp_path)
    assert case.id.endswith("/x")
    np.savez(tmp_path / "other.npz", image=BLOCK, labels=BLOCK)
    with pytest.raises(ReadError, match=r"holds saved sessions and also other\.npz"):
        read_manifest(tmp_path)


def test_prompts_alone_are_no_session(tmp_path: Path) -> None:
    (tmp_path / "p.medsam2.json").write_text('{"version": 1, "axis": 0, "objects": []}')
    with pytest.raises(ReadError, match="holds prompts but no saved session"):
        read_manifest(tmp_path)


def test_which_frames_are_true() -> None:
    labels = np.zeros((5, 4, 4), np.uint16)
    labels[1:4, :2] = 1
    labels[2:, 3] = 2
    prompts = PromptSet().add(1, *(BoxPrompt(f, (0, 0, 2, 4)) for f in (0, 1, 3))).add(2)
    assert true_frames(prompts, labels) == {1: (1, 3)}
    assert true_frames(prompts, labels, "segmented") == {1: (1, 2, 3), 2: (2, 3, 4)}
    with pytest.raises(ValueError, match="use prompted or segmented"):
        true_frames(prompts, labels, "all")  # type: ignore[arg-type]
