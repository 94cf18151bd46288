"""Learning from corrections without a window: begun, cancelled, kept, discarded, left."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.gui.common import texts
from tests.gui.learners import Training, correct

from napari_medsam2 import models
from napari_medsam2.errors import InputError
from napari_medsam2.gui import lesson as module
from napari_medsam2.models.folders import registered

if TYPE_CHECKING:
    from pathlib import Path

    from napari_medsam2.gui.controller import Controller

TITLE = f"{models.get(models.DEFAULT_MODEL).title} corrected on disc"


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


def folders(own: Path) -> list[Path]:
    return sorted(own.iterdir()) if own.exists() else []


def until(controller: Controller, so) -> None:
    for _ in range(1000):
        if so():
            return
        controller.wait(timeout=0.02)
    raise AssertionError("it never came to this")


class TestMaterial:
    def test_counts_what_is_prompted_and_segmented(self, controller):
        learner = controller.learner
        assert learner.material().frames == {}
        correct(controller, range(3))
        material = learner.material()
        assert (dict(material.frames), material.is_enough) == ({1: 3}, False)
        correct(controller, [3, 4])
        material = learner.material()
        assert (material.learnt, material.held_back, material.is_enough) == (4, 1, True)
        controller.undo()
        assert controller.learner.material().frames == {1: 4}

    def test_too_little_is_told(self, controller, notes, training):
        correct(controller, range(2))
        assert not controller.learn()
        assert "4 frames with a prompt and a mask are needed" in str(controller.last_error)
        assert "disc has 2" in texts(notes)[-1]
        assert controller.learner.state == "idle"
        assert not training.calls


class TestCourse:
    def test_from_corrections_to_a_model_in_use(self, controller, training, own):
        correct(controller)
        said: list[str] = []
        controller.message.connect(said.append)
        assert controller.learn(minutes=2)
        assert controller.learner.state == "running"
        assert controller.wait(30)
        (call,) = training.calls
        assert (call["choices"].minutes, call["choices"].base) == (2, models.DEFAULT_MODEL)
        assert call["choices"].title == TITLE
        (learn,), (held,) = call["cases"], call["val"]
        assert (learn.labelled_frames, held.labelled_frames) == ((0, 1, 3, 4), (2,))
        learner = controller.learner
        assert learner.state == "deciding"
        assert learner.stage.score == 0.75
        assert 0.1 < learner.stage.loss < 1
        lesson = learner.lesson
        assert lesson.is_better
        assert str(lesson) == "Better: Dice on 1 held-back slice rose from 0.700 to 0.800."
        (folder,) = folders(own)
        assert not (folder / "training").exists()
        assert registered() == ()

        learner.keep()
        assert learner.state == "keeping"
        assert controller.wait(30)
        assert (learner.state, learner.lesson) == ("idle", None)
        assert registered() == (folder,)
        assert controller.bench.settings.model == str(folder)
        assert str(folder) in [card.name for card in controller.model_files.cards]
        assert said[0].startswith("Learning from 4 slices of disc")
        assert said[-1] == f"{TITLE} is on the list of models, and in use"

    def test_discarded(self, controller, training, own):
        correct(controller)
        controller.learn()
        controller.wait(30)
        controller.learner.discard()
        assert (controller.learner.state, folders(own), registered()) == ("idle", [], ())
        assert controller.bench.settings.model == models.DEFAULT_MODEL

    def test_worse_and_no_better_say_so(self, controller, training):
        correct(controller)
        training.after = 0.7
        training.last = 0.65
        controller.learn()
        controller.wait(30)
        lesson = controller.learner.lesson
        assert not lesson.is_better
        assert str(lesson).startswith("It became worse: Dice on 1 held-back slice fell from 0.700 ")
        assert "to 0.650" in str(lesson)
        controller.learner.discard()
        training.last = 0.7
        controller.learn()
        controller.wait(30)
        assert str(controller.learner.lesson).startswith("No better: Dice on 1 held-back slice is ")
        controller.learner.discard()
        training.after = training.before = training.last = float("nan")
        controller.learn()
        controller.wait(30)
        assert not controller.learner.lesson.is_better
        assert "could not be judged" in str(controller.learner.lesson)

    def test_what_was_copied_is_learnt_whatever_is_edited(self, controller, training):
        correct(controller)
        training.hold()
        controller.learn()
        until(controller, lambda: bool(training.calls))
        training_labels = training.calls[0]["cases"][0].load()[1]
        labels = training_labels.copy()
        controller.session.labels[:] = 0
        controller.undo()
        training.go_on()
        assert controller.wait(30)
        np.testing.assert_array_equal(training_labels, labels)
        assert labels.any()

    def test_one_at_a_time(self, controller, training):
        correct(controller)
        training.hold()
        assert controller.learn()
        assert not controller.learn()
        assert "still learning" in str(controller.last_error)
        training.go_on()
        controller.wait(30)
        assert not controller.learn()
        assert "keep or discard" in str(controller.last_error)

    def test_the_image_and_the_model_may_change_meanwhile(
        self, controller, training, viewer_model, stack
    ):
        correct(controller)
        training.hold()
        controller.learn()
        other = viewer_model.add_image(stack, name="other")
        controller.bench.use(other)
        controller.bench.configure(model="sam2.1_hiera_tiny")
        viewer_model.layers.remove("disc")
        training.go_on()
        assert controller.wait(30)
        lesson = controller.learner.lesson
        assert lesson.image == "disc"
        controller.learner.keep()
        assert controller.wait(30)
        assert controller.bench.settings.model == lesson.card.name


class TestEnds:
    def test_cancelled_it_keeps_the_best_so_far(self, controller, training, own):
        correct(controller)
        training.hold()
        controller.learn()
        training.go_on(7)
        until(controller, lambda: controller.learner.stage.done == 3)
        controller.learner.cancel()
        assert controller.learner.state == "stopping"
        training.go_on()
        assert controller.wait(30)
        assert training.steps == 4
        assert controller.learner.lesson.is_better

    def test_cancelled_before_the_first_step_nothing_is_left(self, controller, training, own):
        correct(controller)
        training.hold()
        controller.learn()
        training.go_on(1)
        until(controller, lambda: controller.learner.stage.done == 1)
        said: list[str] = []
        controller.message.connect(said.append)
        controller.learner.cancel()
        training.go_on()
        assert controller.wait(30)
        assert (controller.learner.state, folders(own), training.steps) == ("idle", [], 0)
        assert said[-1] == "Stopped before anything was learnt"

    @pytest.mark.parametrize("error", [RuntimeError("CUDA gave up"), MemoryError("9 GB")])
    def test_every_error_reaches_the_user(self, controller, training, own, notes, error):
        correct(controller)
        training.error = error
        assert controller.learn()
        controller.wait(30)
        assert str(error) in str(controller.last_error)
        assert str(error) in texts(notes)[-1]
        assert (controller.learner.state, folders(own)) == ("idle", [])
        training.error = None
        assert controller.learn()
        controller.wait(30)
        assert controller.learner.lesson is not None

    def test_left_while_it_learns(self, controller, training, own):
        correct(controller)
        training.hold()
        controller.learn()
        training.go_on(7)
        until(controller, lambda: controller.learner.stage.done == 3)
        controller.close()
        training.go_on()
        assert training.ended.wait(30)
        controller.learner._worker._executor.shutdown(wait=True)
        assert (training.steps, folders(own)) == (4, [])
        assert not controller.learner.is_busy

    def test_left_with_an_error_that_nobody_sees(self, controller, training, own, caplog):
        correct(controller)
        training.hold()
        training.error = RuntimeError("CUDA gave up")
        controller.learn()
        training.go_on(4)
        until(controller, lambda: controller.learner.stage.name == "training")
        controller.close()
        with caplog.at_level(logging.ERROR):
            training.go_on()
            controller.learner._worker._executor.shutdown(wait=True)
        assert "CUDA gave up" in caplog.text
        assert folders(own) == []

    def test_left_undecided(self, controller, training, own):
        correct(controller)
        controller.learn()
        controller.wait(30)
        assert len(folders(own)) == 1
        controller.close()
        assert folders(own) == []

    def test_a_list_that_cannot_be_written_leaves_it_undecided(self, controller, training, own):
        correct(controller)
        controller.learn()
        controller.wait(30)
        lesson = controller.learner.lesson
        lesson.card.path.write_bytes(b"altered")
        controller.learner.keep()
        controller.wait(30)
        assert "weights" in str(controller.last_error)
        assert controller.learner.state == "deciding"
        controller.learner.discard()
        assert folders(own) == []


class TestObstacles:
    def test_families_that_cannot_learn(self, controller, monkeypatch, training):
        assert controller.learner.obstacle() is None
        monkeypatch.setattr("napari_medsam2.gui.learning.PARTS", {"sam2": ("decoder",)})
        assert " cannot learn" in controller.learner.obstacle()
        correct(controller)
        assert not controller.learn()
        assert isinstance(controller.last_error, InputError)

    def test_weights_of_ones_own_under_more(self, controller, tmp_path):
        controller.bench.configure(checkpoint=str(tmp_path / "my.pt"))
        assert "under More" in controller.learner.obstacle()

    def test_a_model_whose_weights_are_missing(self, controller, training):
        correct(controller)
        controller.bench.configure(model="sam2.1_hiera_tiny")
        assert not controller.learn()
        assert "needs its weights first" in str(controller.last_error)


@pytest.mark.slow
def test_a_real_network_learns(controller, own):
    correct(controller)
    learner = controller.learner
    learner.options = {
        "steps": 2,
        "frames": 6,
        "size": 2,
        "device": "cpu",
        "half": False,
    }
    assert controller.learn()
    assert controller.wait(300)
    assert controller.last_error is None
    lesson = learner.lesson
    assert {"score", "click1", "box"} <= set(lesson.before)
    learner.keep()
    assert controller.wait(60)
    assert controller.bench.settings.card.family == "litetrack"
    assert controller.bench.settings.card.base == models.DEFAULT_MODEL
