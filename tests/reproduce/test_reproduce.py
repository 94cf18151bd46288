"""Text that was copied from a session makes the same labels when it is run."""

from __future__ import annotations

import inspect
import os
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from tests.cli.common import call
from tests.fakes import BrightModel

import napari_medsam2 as nm
from napari_medsam2 import models
from napari_medsam2.cli.app import app
from napari_medsam2.io import read_labels
from napari_medsam2.labels import MaskUpdate
from napari_medsam2.reproduce import as_command, as_python
from napari_medsam2.reproduce.command import _OPTIONS

LEFT, RIGHT = (8, 6, 22, 20), (10, 28, 26, 46)


class ReachModel(BrightModel):
    """Takes clicks, too: a negative one takes its row away; and masks, as they are."""

    def check(self, prompt) -> None:
        pass

    def decode(self, embedding, prompts):
        found = super().decode(embedding, prompts)
        for prompt, prediction in zip(prompts, found, strict=True):
            for (y, _), label in zip(prompt.points, prompt.labels, strict=True):
                if not label:
                    prediction.logits[round(y)] = -10
            if prompt.mask is not None:
                prediction.logits[...] = np.where(prompt.mask, 10, -10)
        return found


@pytest.fixture(autouse=True)
def no_network(request, monkeypatch):
    if "slow" not in request.keywords:
        monkeypatch.setattr(models, "build", lambda *args, **kwargs: ReachModel())


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "a patient's folder"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def image(folder) -> Path:
    path = folder / "two squares $x.tif"
    data = np.full((5, 64, 64), 20, np.uint8)
    data[:, 10:20, 8:18] = 220
    data[:, 12:24, 30:44] = 200
    tifffile.imwrite(path, data, imagej=True, metadata={"axes": "ZYX"})
    return path


@pytest.fixture
def session(image) -> nm.Session:
    return nm.Session(nm.read(image), window=(0, 255))


def run_python(text: str) -> np.ndarray:
    """Run a script, and return the labels that it wrote."""
    before = set(Path().iterdir())
    exec(compile(text, "copied", "exec"), {})
    (written,) = set(Path().iterdir()) - before
    return read_labels(written)


def run_command(text: str) -> np.ndarray:
    """Run a command as a shell would split it, and return the labels that it wrote."""
    program, *words = shlex.split(text.replace("\\\n", " "))
    assert program == "napari-medsam2"
    result = call(*words)
    assert result.exit_code == 0, result.output
    return read_labels(words[words.index("--output") + 1])


def propagate(session: nm.Session, **span) -> None:
    for _ in session.propagate(**span):
        pass


def box_then_everything(session: nm.Session) -> None:
    session.add_box(2, LEFT, 1, name='it\'s "left"')
    session.segment(2)
    session.add_box(2, RIGHT, 3)
    session.segment(2)
    propagate(session)


def clicks_on_slices(session: nm.Session) -> None:
    session.add_box(1, LEFT, 1)
    session.segment(1)
    session.add_points(1, [(12, 10), (15.25, 12)], [1, 0], 1)
    session.segment(1)
    session.add_box(4, RIGHT, 2)
    session.segment(4)


def one_way_in_a_range(session: nm.Session) -> None:
    session.add_box(1, LEFT, 1)
    session.segment(1)
    propagate(session, direction="both", start=1, stop=4)


def moved_box(session: nm.Session) -> None:
    session.add_box(1, RIGHT, 1)
    propagate(session)
    session.clear_prompts(1)
    session.add_box(1, LEFT, 1)
    propagate(session)


def removed(session: nm.Session) -> None:
    session.add_box(1, LEFT, 1)
    propagate(session)
    session.add_box(1, RIGHT, 2)
    propagate(session, object_ids=[2])
    session.remove_object(1)


def stopped(session: nm.Session) -> None:
    session.add_box(1, LEFT, 1)
    updates = session.propagate("forward")
    next(updates)
    next(updates)
    updates.close()


def several_slices(session: nm.Session) -> None:
    session.add_box(1, LEFT, 1)
    session.add_box(3, RIGHT, 2)
    propagate(session, direction="backward", patience=2)


def undone(session: nm.Session) -> None:
    box_then_everything(session)
    session.remove_object(3)
    session.undo()


def locked(session: nm.Session) -> None:
    session.add_box(1, LEFT, 1)
    propagate(session)
    session.set_locked(1)
    session.add_box(1, (8, 6, 26, 46), 2)
    propagate(session)
    session.set_locked(1, False)
    session.reorder([2, 1])
    propagate(session)


def outlines(session: nm.Session) -> None:
    session.add_box(1, LEFT, 1)
    session.add_scribble(1, [(12, 10), (15, 12)], 1, 1)
    session.rename_object(1, "left")
    session.segment(1)
    session.rename_object(1, "right")
    session.add_points(1, [(12, 12)], None, 1)
    session.segment(1)


def turned(session: nm.Session) -> None:
    session.add_box(1, LEFT, 1)
    propagate(session)
    session.turn(1)
    session.add_box(15, (0, 26, 5, 46), 2)
    propagate(session)


def accepted(session: nm.Session) -> None:
    session.add_box(2, LEFT, 1)
    session.segment(2)
    session.accept(2)
    propagate(session)


def painted(session: nm.Session) -> None:
    session.add_box(2, LEFT, 1)
    propagate(session)
    mask = np.zeros((64, 64), dtype=bool)
    mask[40:50, 40:50] = True
    session.write_masks([MaskUpdate.from_mask(3, 1, mask, 1.0)], "paint")


STORIES = {
    f.__name__: f
    for f in (
        box_then_everything,
        clicks_on_slices,
        one_way_in_a_range,
        moved_box,
        removed,
        stopped,
        several_slices,
        undone,
        locked,
        outlines,
        turned,
        accepted,
        painted,
    )
}
NEED_A_FILE = {"python": {"accepted", "painted"}}
NEED_A_FILE["command"] = NEED_A_FILE["python"] | {
    "stopped",
    "several_slices",
    "locked",
    "outlines",
    "turned",
}


@pytest.mark.parametrize("story", STORIES)
class TestTheSameLabels:
    def test_of_python(self, session, folder, story):
        STORIES[story](session)
        saved = session.save(folder / "case.medsam2.json")
        copied = as_python(session, saved)
        assert ("case.medsam2.json" in copied.text) == (story in NEED_A_FILE["python"])
        assert copied.is_complete
        assert session.labels.any()
        np.testing.assert_array_equal(run_python(copied.text), session.labels)

    def test_of_the_command(self, session, folder, story):
        STORIES[story](session)
        saved = session.save(folder / "case.medsam2.json")
        copied = as_command(session, saved)
        assert ("case.medsam2.json" in copied.text) == (story in NEED_A_FILE["command"])
        np.testing.assert_array_equal(run_command(copied.text), session.labels)


class TestText:
    def test_python_reads_like_what_was_done(self, session, image):
        session.add_box(2, LEFT, 1, name="left")
        session.segment(2)
        session.add_points(2, [(15.5, 12)], [0], 1)
        propagate(session)
        assert as_python(session).text.splitlines() == [
            "import napari_medsam2 as nm",
            "",
            f"volume = nm.read({str(image.resolve())!r})",
            "session = nm.Session(volume, model='litemedsam-track', window=(0, 255))",
            "",
            "session.add_box(2, (8, 6, 22, 20), object_id=1, name='left')",
            "session.segment(2)",
            "session.add_points(2, [(15.5, 12)], labels=[0], object_id=1)",
            "for _ in session.propagate():",
            "    pass",
            "",
            "nm.write_labels('two squares $x_labels.tif', session.labels, session.volume)",
        ]

    def test_the_command_is_quoted_for_the_shell(self, session, image):
        session.add_box(2, LEFT, 1)
        session.add_points(2, [(15.5, 12)], [0], 2)
        propagate(session)
        text = as_command(session).text
        assert text == (
            f"napari-medsam2 segment {shlex.quote(str(image.resolve()))} "
            "--output 'two squares $x_labels.tif' \\\n"
            "    --box 2,8,6,22,20 \\\n"
            "    --point 2,15.5,12,-@2 \\\n"
            "    --model litemedsam-track \\\n"
            "    --window 0,255\n"
        )

    def test_a_window_below_zero_is_no_option(self, image):
        session = nm.Session(nm.read(image), window=(-160, 240))
        session.add_box(2, LEFT, 1)
        session.segment(2)
        assert "--window=-160,240" in as_command(session).text
        assert "window=(-160, 240)" in as_python(session).text

    def test_what_is_not_usual_is_said(self, image):
        session = nm.Session(
            nm.read(image), device="cpu", axis=1, precision="fp32", spacing=(3.0, 0.5, 0.5)
        )
        session.add_box(15, (0, 6, 5, 20), 1)
        session.segment(15)
        text = as_python(session).text
        for said in ("device='cpu'", "axis=1", "precision='fp32'", "spacing=(3, 0.5, 0.5)"):
            assert said in text
        assert "--spacing 3,0.5,0.5" in as_command(session).text

    @pytest.mark.parametrize("copy", [as_python, as_command])
    def test_an_image_in_memory_is_said_to_be_missing(self, copy):
        session = nm.Session(np.zeros((3, 64, 64), np.uint8), window=(0, 255))
        session.add_box(1, LEFT, 1)
        session.segment(1)
        copied = copy(session)
        assert not copied.is_complete
        assert "in memory only" in copied.text
        assert "in memory only" in copied.note

    @pytest.mark.parametrize("copy", [as_python, as_command])
    def test_without_a_saved_session_it_is_asked_for(self, session, copy):
        painted(session)
        copied = copy(session)
        assert not copied.is_complete
        assert "SESSION.medsam2.json" in copied.text
        assert copied.note.startswith("Painted or computed masks cannot be written as text")

    def test_settings_that_were_changed_between_runs_need_the_file(self, session):
        session.add_box(2, LEFT, 1)
        session.segment(2)
        other = nm.Session(session.volume, window=(10, 255), labels=session.labels)
        other.take_over(session)
        other.add_box(3, LEFT, 1)
        other.segment(3)
        assert "The window was changed between runs" in as_python(other).note

    def test_prompts_that_were_never_run_give_no_command(self, session):
        session.add_box(2, LEFT, 1)
        assert "Nothing was segmented yet" in as_command(session).note

    def test_every_option_exists(self):
        (segment,) = (c for c in app.registered_commands if c.name == "segment")
        names = set(inspect.signature(segment.callback).parameters)
        assert {
            option.removeprefix("--").replace("-", "_") for option in _OPTIONS.values()
        } <= names


@pytest.mark.slow
@pytest.mark.parametrize("copy", [as_python, as_command])
def test_with_the_real_model_in_a_process_of_its_own(image, folder, copy):
    session = nm.Session(nm.read(image), model="litemedsam-track", device="cpu")
    session.add_box(2, LEFT, 1, name="left")
    session.segment(2)
    session.add_points(2, [(15, 12)], [1], 1)
    propagate(session)
    text = copy(session).text
    program = Path(sys.executable).with_name("napari-medsam2")
    before = set(folder.iterdir())
    if copy is as_python:
        (folder / "script.py").write_text(text)
        before.add(folder / "script.py")
        argv = [sys.executable, "script.py"]
    else:
        argv = ["sh", "-c", text]
    path = os.pathsep.join([str(program.parent), os.environ["PATH"]])
    done = subprocess.run(
        argv, cwd=folder, env={**os.environ, "PATH": path}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    (written,) = set(folder.iterdir()) - before
    labels = read_labels(written)
    assert labels.any()
    np.testing.assert_array_equal(labels, session.labels)
