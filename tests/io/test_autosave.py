"""Autosaves as files: whose they are, which are found, which are thrown away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.fakes import BrightModel

from napari_medsam2.errors import ReadError, WriteError
from napari_medsam2.io.autosave import Autosave, leftovers, state_folder
from napari_medsam2.io.sessions import fingerprint
from napari_medsam2.session import Session
from napari_medsam2.volume import Volume

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = np.zeros((3, 40, 64), np.uint8)
IMAGE[:, 10:30, 4:20] = 200


def worked(source: str = "", image: np.ndarray = IMAGE) -> Session:
    session = Session(Volume(image, source=source), window=(0, 255))
    session.use_model(BrightModel())
    session.add_box(1, (8, 2, 32, 22), 1)
    list(session.propagate())
    return session


def left(source: str = "", image: np.ndarray = IMAGE) -> Path:
    place = Autosave()
    place.write(worked(source, image).snapshot())
    folder = place.folder
    assert folder is not None
    place.release()
    return folder


def edit_about(folder: Path, **changes: object) -> None:
    path = folder / "about.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def ago(**span: float) -> str:
    return (datetime.now(UTC) - timedelta(**span)).isoformat()


def test_a_leftover_is_the_whole_session():
    session = worked()
    place = Autosave()
    place.write(session.snapshot())
    place.release()
    (leftover,), problems = leftovers()
    assert problems == []
    assert (leftover.n_objects, leftover.source, leftover.is_exported) == (1, "", False)
    assert leftover.image == fingerprint(Volume(IMAGE))
    assert abs(datetime.now(UTC) - leftover.time) < timedelta(minutes=1)
    loaded = Session.load(leftover.take().path, IMAGE)
    np.testing.assert_array_equal(loaded.labels, session.labels)
    assert loaded.prompts == session.prompts
    assert loaded.runs == session.runs


def test_names_and_index_tell_nothing_of_the_image(tmp_path):
    source = str(tmp_path / "Doe^Jane_1970.nii.gz")
    folder = left(source)
    assert folder.parent == state_folder()
    assert "Doe" not in folder.name
    assert not [p for p in folder.iterdir() if "Doe" in p.name]
    about = json.loads((folder / "about.json").read_text())
    assert about.pop("source") == source
    assert set(about) == {"version", "image", "time", "objects", "exported"}


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has rights of another kind")
def test_nobody_else_may_look_in():
    folder = left()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert folder.parent.stat().st_mode & 0o777 == 0o700


def test_what_is_in_use_is_not_left_behind():
    place = Autosave()
    place.write(worked().snapshot())
    assert leftovers() == ([], [])
    place.release()
    (leftover,), _ = leftovers()
    taken = leftover.take()
    assert leftovers() == ([], [])
    with pytest.raises(ReadError, match="gone or open in another window"):
        leftover.take()
    taken.discard()
    assert list(state_folder().iterdir()) == []
    with pytest.raises(ReadError, match="gone or open in another window"):
        leftover.take()


HOLDER = """
import sys
from napari_medsam2.io.autosave import leftovers
(leftover,), _ = leftovers()
place = leftover.take()
print("mine", flush=True)
sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_the_system_tells_when_another_program_has_died():
    folder = left()
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "mine\n"
        assert leftovers() == ([], [])
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait(30)
        (leftover,), _ = leftovers()
    assert leftover.folder == folder


def test_the_newest_comes_first_and_only_so_many_stay():
    folders = [left() for _ in range(4)]
    for hours, folder in enumerate(folders):
        edit_about(folder, time=ago(hours=hours))
    found, _ = leftovers(most=3)
    assert [o.folder for o in found] == folders[:3]
    assert not folders[3].exists()


def test_what_is_old_is_deleted():
    young, old = left(), left()
    edit_about(young, time=ago(days=29))
    edit_about(old, time=ago(days=31))
    found, _ = leftovers()
    assert [o.folder for o in found] == [young]
    assert not old.exists()


@pytest.mark.parametrize(
    "damage",
    [
        lambda folder: (folder / "about.json").write_text("{"),
        lambda folder: (folder / "session.medsam2.json").unlink(),
        lambda folder: edit_about(folder, time="noon"),
        lambda folder: edit_about(folder, patient="x"),
    ],
)
def test_a_broken_one_is_told_once_and_hides_no_other(damage):
    broken, whole = left(), left()
    damage(broken)
    found, problems = leftovers()
    assert [o.folder for o in found] == [whole]
    (problem,) = problems
    assert problem.startswith("an autosave cannot be read")
    assert f"{broken.name}.broken" in problem
    assert leftovers() == (found, [])


def test_one_of_a_newer_program_is_left_alone():
    folder = left()
    edit_about(folder, version=2, more="than we know")
    assert leftovers() == ([], [])
    assert folder.exists()


def test_a_folder_without_a_session_goes_after_a_while():
    fresh, stale = left(), left()
    for folder in (fresh, stale):
        (folder / "about.json").unlink()
    os.utime(stale, (0, 0))
    assert leftovers() == ([], [])
    assert fresh.exists()
    assert not stale.exists()


def test_a_place_that_cannot_be_made_is_told(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NAPARI_MEDSAM2_STATE", str(tmp_path / "file"))
    with pytest.raises(WriteError, match=r"cannot be made .* NAPARI_MEDSAM2_STATE"):
        Autosave().write(worked().snapshot())
    assert leftovers() == ([], [])
