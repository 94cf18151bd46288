"""Resuming in a real window: the bar and its buttons, and after a program was killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtWidgets import QApplication
from tests.fakes import BrightModel
from tests.gui.conftest import BOX, SHAPE, disc, session_maker
from tests.gui.hands import click

from napari_medsam2.gui.widget import MedSAM2Widget
from napari_medsam2.io.autosave import Autosave, leftovers
from napari_medsam2.session import Session
from napari_medsam2.volume import Volume

if TYPE_CHECKING:
    from napari_medsam2.gui.resume_bar import ResumeBar

ROOT = Path(__file__).resolve().parents[2]
LONG = 60_000


@pytest.fixture
def leave(stack):
    """Leave work behind as a killed program does; returns its labels."""

    def work(source: str = "", frame: int = 2) -> np.ndarray:
        session = Session(Volume(stack, source=source))
        session.use_model(BrightModel())
        session.add_box(frame, BOX, 1, name="disc")
        list(session.propagate())
        place = Autosave()
        place.write(session.snapshot())
        place.release()
        return session.labels

    return work


@pytest.fixture
def show(make_napari_viewer, cold):
    def window(image: np.ndarray | None = None) -> MedSAM2Widget:
        viewer = make_napari_viewer(show=True)
        if image is not None:
            viewer.add_image(image, name="disc")
        widget = MedSAM2Widget(viewer, make_session=session_maker(BrightModel()))
        viewer.window.add_dock_widget(widget, name="MedSAM2")
        return widget

    return window


def bar_of(widget: MedSAM2Widget, qtbot) -> ResumeBar:
    qtbot.waitUntil(widget.resume_bar.isVisible, timeout=LONG)
    return widget.resume_bar


def idle(widget: MedSAM2Widget) -> None:
    assert widget.controller.wait(60)
    QApplication.processEvents()


def test_without_leftovers_there_is_no_bar(show, stack):
    widget = show(stack)
    widget.controller.recovery.start()
    idle(widget)
    assert not widget.resume_bar.isVisible()


def test_a_click_resumes(leave, show, stack, qtbot):
    labels = leave()
    widget = show(stack)
    bar = bar_of(widget, qtbot)
    assert bar.text.text().startswith("Unsaved work on disc from ")
    assert bar.text.text().endswith(" (1\u00a0object)")
    click(bar.resume, qtbot)
    idle(widget)
    np.testing.assert_array_equal(widget.controller.session.labels, labels)
    qtbot.waitUntil(lambda: not bar.isVisible())
    assert "Resumed the work of" in widget.message.text()


def test_the_first_steps_make_room_for_the_bar(leave, show, stack, qtbot):
    leave()
    widget = show(stack)
    qtbot.waitUntil(widget.hints.isVisible)
    bar_of(widget, qtbot)
    qtbot.waitUntil(lambda: not widget.hints.isVisible())
    assert not widget.hints.is_dismissed


def test_without_an_image_the_file_is_opened(leave, show, stack, qtbot, tmp_path):
    np.save(tmp_path / "scan.npy", stack)
    labels = leave(str(tmp_path / "scan.npy"))
    widget = show()
    bar = bar_of(widget, qtbot)
    assert "scan.npy" in bar.text.text()
    click(bar.resume, qtbot)
    idle(widget)
    assert widget.controller.bench.image.name == "scan"
    np.testing.assert_array_equal(widget.controller.session.labels, labels)


def test_to_discard_takes_a_second_click(leave, show, stack, qtbot):
    leave()
    widget = show(stack)
    bar = bar_of(widget, qtbot)
    click(bar.discard, qtbot)
    assert "for good?" in bar.text.text()
    click(bar.keep, qtbot)
    assert len(leftovers()[0]) == 1
    click(bar.discard, qtbot)
    click(bar.confirm, qtbot)
    qtbot.waitUntil(lambda: not bar.isVisible())
    qtbot.waitUntil(lambda: leftovers() == ([], []), timeout=LONG)


def test_later_hides_the_bar_and_deletes_nothing(leave, show, stack, qtbot):
    leave()
    leave(frame=3)
    widget = show(stack)
    bar = bar_of(widget, qtbot)
    assert bar.text.text().endswith("(1\u00a0object), and 1 more")
    click(bar.later, qtbot)
    qtbot.waitUntil(lambda: not bar.isVisible())
    assert len(leftovers()[0]) == 2


def test_work_that_is_there_is_replaced_only_after_a_second_click(leave, show, stack, qtbot):
    labels = leave()
    widget = show(stack)
    bar = bar_of(widget, qtbot)
    controller = widget.controller
    controller.session.add_box(0, BOX, 7)
    controller.segment_slice(0)
    idle(widget)
    click(bar.resume, qtbot)
    assert "replaces the work" in bar.text.text()
    click(bar.keep, qtbot)
    assert controller.session.prompts.ids == (7,)
    click(bar.resume, qtbot)
    click(bar.confirm, qtbot)
    idle(widget)
    assert controller.session.prompts.ids == (1,)
    np.testing.assert_array_equal(controller.session.labels, labels)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")
def test_killed_in_the_middle_of_a_propagation(show, qtbot, tmp_path):
    image = np.full((12, *SHAPE[1:]), 20, dtype=np.uint8)
    image[:, disc()] = 200
    np.save(tmp_path / "scan.npy", image)
    command = [sys.executable, "-m", "tests.gui.crasher", str(tmp_path / "scan.npy"), "5"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        done: list[int] = []
        try:
            while len(done) < 4:
                line = program.stdout.readline()
                assert line, "the program has ended by itself"
                if line.startswith("saved"):
                    done = [int(i) for i in line.split()[1:]]
        finally:
            program.kill()
        assert program.wait(30) == -signal.SIGKILL

    widget = show()
    click(bar_of(widget, qtbot).resume, qtbot)
    idle(widget)
    session = widget.controller.session
    session.use_model(BrightModel())
    assert [i for i, frame in enumerate(session.labels) if frame.any()] == done
    assert 2 in done
    assert len(done) < 10
    assert session.prompts[1].prompts[0].box == BOX
    assert session.accepted == {1: frozenset({2})}
    assert [run.kind for run in session.runs] == ["segment", "propagate"]
    np.testing.assert_array_equal(session.replay(), session.labels)
    assert widget.controller.propagate("forward")
    idle(widget)
    assert [i for i, frame in enumerate(session.labels) if frame.any()] == list(range(2, 12))
