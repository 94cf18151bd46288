"""The panel `Learn from my corrections` in a real window, with the mouse."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from qtpy.QtWidgets import QApplication, QScrollArea
from tests.gui.common import texts
from tests.gui.conftest import session_maker
from tests.gui.hands import click
from tests.gui.learners import Training, correct

from napari_medsam2 import models
from napari_medsam2.gui import lesson as module
from napari_medsam2.gui.widget import MedSAM2Widget
from napari_medsam2.models.folders import registered

if TYPE_CHECKING:
    from pathlib import Path

    from napari.viewer import Viewer

    from napari_medsam2.gui.learn_panel import LearnPanel

SHORT, LONG = 20_000, 300_000  # milliseconds


@pytest.fixture(autouse=True)
def own(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Where models of one's own are made."""
    monkeypatch.setenv("NAPARI_MEDSAM2_MODELS", str(tmp_path / "models"))
    return tmp_path / "models" / "own"


@pytest.fixture
def training(monkeypatch: pytest.MonkeyPatch):
    training = Training()
    monkeypatch.setattr(module, "finetune", training)
    yield training
    training.go_on()


@pytest.fixture
def viewer(make_napari_viewer, stack) -> Viewer:
    viewer = make_napari_viewer(show=True)
    viewer.add_image(stack, name="disc", scale=(3.0, 1.0, 1.0))
    viewer.dims.set_current_step(0, 2)
    return viewer


@pytest.fixture
def widget(viewer, model, cold) -> MedSAM2Widget:
    widget = MedSAM2Widget(viewer, make_session=session_maker(model))
    viewer.window.add_dock_widget(widget, name="MedSAM2")
    return widget


@pytest.fixture
def panel(widget, qtbot) -> LearnPanel:
    panel = widget.learn
    assert not panel.learn.isVisible()
    reveal(widget, panel.toggle)
    click(panel.toggle, qtbot)
    assert panel.material.isVisible()
    return panel


def reveal(widget: MedSAM2Widget, part: Any) -> None:
    """Scroll to a part of the panel."""
    QApplication.processEvents()
    widget.findChild(QScrollArea).ensureWidgetVisible(part)
    QApplication.processEvents()


def press(widget: MedSAM2Widget, push: Any, qtbot: Any) -> None:
    qtbot.waitUntil(push.isVisible, timeout=SHORT)
    reveal(widget, push)
    click(push, qtbot)


def learn(widget: MedSAM2Widget, panel: LearnPanel, qtbot: Any) -> None:
    correct(widget.controller)
    press(widget, panel.learn, qtbot)


def test_what_there_is_to_learn_from(widget, panel, qtbot, training):
    assert not panel.learn.isEnabled()
    assert panel.material.text().endswith("on each of them: none so far.")
    assert panel.learn.toolTip() == "4 corrected slices of an object are needed"
    correct(widget.controller, range(2))
    qtbot.waitUntil(lambda: panel.material.text().endswith("2 so far."), timeout=SHORT)
    assert not panel.learn.isEnabled()
    correct(widget.controller, [2, 3, 4])
    qtbot.waitUntil(panel.learn.isEnabled, timeout=SHORT)
    told = "Corrected slices of 1 object: 4 to learn from, 1 held back to judge by."
    qtbot.waitUntil(lambda: panel.material.text() == told, timeout=SHORT)
    panel.frames.setCurrentIndex(panel.frames.findData("segmented"))
    assert panel.material.text().startswith("Every slice with a mask counts")
    assert panel.minimumSizeHint().width() <= 286


def test_learn_watch_and_keep(viewer, widget, panel, qtbot, training):
    training.hold()
    learn(widget, panel, qtbot)
    qtbot.waitUntil(panel.bar.isVisible, timeout=SHORT)
    assert not panel.learn.isVisible()
    training.go_on(9)
    qtbot.waitUntil(lambda: panel.bar.format() == "step 5 of 10", timeout=SHORT)
    assert panel.bar.value() == panel.bar.maximum() // 2
    assert panel.live.text().startswith("Loss 0.")
    assert panel.live.text().endswith("Held-back Dice 0.750, before 0.700")
    training.go_on()
    qtbot.waitUntil(panel.keep.isVisible, timeout=SHORT)
    assert "Better: Dice on 1 held-back slice rose from 0.700 to 0.800." in panel.verdict.text()
    assert panel.preselected is panel.keep
    press(widget, panel.keep, qtbot)
    qtbot.waitUntil(lambda: len(registered()) == 1, timeout=SHORT)
    qtbot.waitUntil(panel.learn.isVisible, timeout=SHORT)
    (folder,) = registered()
    qtbot.waitUntil(lambda: widget.models.model.currentData() == str(folder), timeout=SHORT)
    title = models.get(models.DEFAULT_MODEL).title
    assert widget.models.model.currentText() == f"{title} corrected on disc"


def test_worse_preselects_discard(widget, panel, qtbot, training, own):
    training.after = training.before
    training.last = 0.6
    learn(widget, panel, qtbot)
    qtbot.waitUntil(panel.discard.isVisible, timeout=SHORT)
    assert "It became worse" in panel.verdict.text()
    assert panel.preselected is panel.discard
    press(widget, panel.discard, qtbot)
    qtbot.waitUntil(panel.learn.isVisible, timeout=SHORT)
    assert list(own.iterdir()) == []
    assert widget.message.text() == "What was learnt is discarded"


def test_cancel(widget, panel, qtbot, training):
    training.hold()
    learn(widget, panel, qtbot)
    training.go_on(7)
    qtbot.waitUntil(lambda: panel.bar.format() == "step 3 of 10", timeout=SHORT)
    press(widget, panel.cancel, qtbot)
    qtbot.waitUntil(lambda: panel.bar.format() == "stopping…", timeout=SHORT)
    assert not panel.cancel.isEnabled()
    training.go_on()
    qtbot.waitUntil(panel.keep.isVisible, timeout=SHORT)
    assert training.steps == 4


def test_an_error_becomes_a_notification(widget, panel, qtbot, training, notes):
    training.error = RuntimeError("CUDA gave up")
    learn(widget, panel, qtbot)
    qtbot.waitUntil(lambda: any("CUDA gave up" in text for text in texts(notes)), timeout=SHORT)
    qtbot.waitUntil(panel.learn.isVisible, timeout=SHORT)


def test_a_model_that_cannot_learn_says_why(widget, panel, qtbot, training, monkeypatch):
    correct(widget.controller)
    qtbot.waitUntil(panel.learn.isEnabled, timeout=SHORT)
    monkeypatch.setattr("napari_medsam2.gui.learning.PARTS", {})
    widget.refresh()
    assert not panel.learn.isEnabled()
    assert " cannot learn: " in panel.learn.toolTip()


def test_closed_it_says_in_its_title_how_far_it_is(widget, panel, qtbot, training):
    training.hold()
    learn(widget, panel, qtbot)
    training.go_on(9)
    qtbot.waitUntil(lambda: panel.bar.format() == "step 5 of 10", timeout=SHORT)
    panel.toggle.click()
    assert panel.toggle.text() == "▸ Learn from my corrections – 50 %"
    training.go_on()
    qtbot.waitUntil(lambda: panel.toggle.text().endswith("– done"), timeout=SHORT)


def test_the_widget_closed_meanwhile(viewer, widget, panel, qtbot, training, own):
    training.hold()
    learn(widget, panel, qtbot)
    training.go_on(7)
    qtbot.waitUntil(lambda: panel.bar.format() == "step 3 of 10", timeout=SHORT)
    controller = widget.controller
    viewer.window.remove_dock_widget(widget)
    assert not controller.learner.is_busy
    training.go_on()
    assert training.ended.wait(30)
    controller.learner._worker._executor.shutdown(wait=True)
    assert not controller.poll()
    assert list(own.iterdir()) == []


@pytest.mark.slow
def test_a_real_network_learns(widget, panel, qtbot):
    widget.controller.learner.options = {
        "steps": 2,
        "frames": 6,
        "size": 2,
        "device": "cpu",
        "half": False,
    }
    learn(widget, panel, qtbot)
    qtbot.waitUntil(panel.discard.isVisible, timeout=LONG)
    assert widget.controller.last_error is None
    assert "One click" in panel.verdict.text()
    press(widget, panel.discard, qtbot)
    qtbot.waitUntil(panel.learn.isVisible, timeout=SHORT)
