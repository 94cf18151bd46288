"""Autosave and resume, without a window: what is written, when, and what comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from napari.components import ViewerModel
from tests.fakes import BrightModel
from tests.gui.common import draw, filled, texts
from tests.gui.conftest import BOX, SHAPE, disc, session_maker

import napari_medsam2 as nm
from napari_medsam2.gui.controller import Controller
from napari_medsam2.gui.shadow import Shadow
from napari_medsam2.io.autosave import leftovers, state_folder
from napari_medsam2.io.layers import image_layers
from napari_medsam2.session import Session
from napari_medsam2.volume import View

if TYPE_CHECKING:
    from pathlib import Path

WAIT = 30


def save_now(controller: Controller) -> None:
    controller.autosaver.configure(True, 0)
    assert controller.wait(WAIT)
    controller.autosaver.configure(True, 60)


def folders() -> list[Path]:
    return sorted(state_folder().iterdir()) if state_folder().exists() else []


def written(folder: Path) -> Session:
    viewer_image = np.full(SHAPE, 20, dtype=np.uint8)
    viewer_image[:, disc()] = 200
    session = Session.load(folder / "session.medsam2.json", viewer_image)
    session.use_model(BrightModel())
    return session


def files(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir()}


def opened(image: np.ndarray | None = None) -> Controller:
    """Return what another window would be, with an image or empty."""
    viewer = ViewerModel()
    if image is not None:
        viewer.add_image(image, name="again")
    controller = Controller(viewer, session_maker(BrightModel()))
    controller.recovery.start()
    assert controller.wait(WAIT)
    return controller


@pytest.fixture
def worker_done(controller):
    """Close the controller and wait for its thread, as the end of the program does."""

    def done(which: Controller = controller) -> None:
        executor = which.autosaver._worker._executor
        which.close()
        executor.shutdown(wait=True)

    return done


class TestWriting:
    def test_nothing_is_written_where_nothing_was_done(self, controller):
        controller.look_ahead()
        _ = controller.session
        save_now(controller)
        assert folders() == []

    def test_off_until_it_is_told_to(self, controller):
        draw(controller)
        assert controller.wait(WAIT)
        controller.autosaver.poll()
        assert not controller.autosaver.is_on
        assert folders() == []

    def test_all_of_the_work_is_there(self, controller):
        draw(controller)
        assert controller.wait(WAIT)
        controller.propagate()
        assert controller.wait(WAIT)
        controller.session.accept(3)
        controller.session.set_locked(1)
        controller.session.rename_object(1, "spleen")
        save_now(controller)
        (folder,) = folders()
        found = written(folder)
        np.testing.assert_array_equal(found.labels, controller.session.labels)
        assert found.prompts == controller.session.prompts
        assert found.prompts[1].name == "spleen"
        assert found.accepted == {1: frozenset({3})}
        assert found.locked == {1}
        assert controller.autosaver.saved_at is not None
        np.testing.assert_array_equal(found.replay(), controller.session.labels)

    def test_again_only_if_something_has_changed(self, controller):
        draw(controller)
        assert controller.wait(WAIT)
        save_now(controller)
        (folder,) = folders()
        before = files(folder)
        save_now(controller)
        assert files(folder) == before
        controller.session.accept(2)
        save_now(controller)
        assert files(folder) != before
        assert written(folder).accepted == {1: frozenset({2})}

    def test_undo_is_a_change_like_any_other(self, controller):
        draw(controller)
        assert controller.wait(WAIT)
        controller.propagate()
        assert controller.wait(WAIT)
        save_now(controller)
        controller.undo()
        save_now(controller)
        (folder,) = folders()
        np.testing.assert_array_equal(written(folder).labels, controller.session.labels)
        assert filled(controller) == [False, False, True, False, False]

    def test_in_the_middle_of_a_propagation(self, gated_controller, gated):
        controller = gated_controller
        controller.segment_while_drawing = False
        draw(controller)
        assert controller.wait(WAIT)
        controller.propagate("forward", start=2)
        gated.open(2)
        while sum(filled(controller)) < 2:
            controller.poll(wait=0.02)
        controller.autosaver.configure(True, 0)
        while controller.autosaver.saved_at is None:
            controller.poll(wait=0.02)
        assert controller.state == "running"
        (folder,) = folders()
        found = written(folder)
        np.testing.assert_array_equal(found.labels, controller.session.labels)
        assert [bool(f.any()) for f in found.labels] == [False, False, True, True, False]
        np.testing.assert_array_equal(found.replay(), found.labels)
        gated.open()
        assert controller.wait(WAIT)
        save_now(controller)
        np.testing.assert_array_equal(written(folder).labels, controller.session.labels)
        assert filled(controller) == [False, False, True, True, True]

    def test_changes_survive_another_session_in_the_place_of_the_first(self, controller):
        draw(controller)
        assert controller.wait(WAIT)
        save_now(controller)
        first = controller.session
        first.add_box(4, BOX, 2)
        list(first.segment(4))
        controller.bench.configure(precision="fp32")
        assert controller.session is not first
        save_now(controller)
        (folder,) = folders()
        assert written(folder).labels[4].any()
        np.testing.assert_array_equal(written(folder).labels, controller.session.labels)

    def test_every_image_has_its_own(self, controller, stack):
        draw(controller)
        assert controller.wait(WAIT)
        controller.viewer.add_image(stack[:, ::-1], name="flipped")
        controller.bench.use(controller.viewer.layers["flipped"])
        draw(controller, box=(22, 28, 46, 52))
        assert controller.wait(WAIT)
        save_now(controller)
        assert len(folders()) == 2
        assert len({folder.name[:16] for folder in folders()}) == 2

    def test_what_cannot_be_written_is_told_once_until_it_can(
        self, controller, notes, tmp_path, monkeypatch
    ):
        good = state_folder().parent
        (tmp_path / "file").write_text("")
        monkeypatch.setenv("NAPARI_MEDSAM2_STATE", str(tmp_path / "file"))
        draw(controller)
        assert controller.wait(WAIT)
        save_now(controller)
        save_now(controller)
        (told,) = texts(notes)
        assert "the work is not saved in the background" in told
        monkeypatch.setenv("NAPARI_MEDSAM2_STATE", str(good))
        save_now(controller)
        assert written(folders()[0]).labels.any()
        assert len(notes) == 1


class TestShadow:
    def session(self) -> Session:
        session = Session(np.zeros((4, 700, 800), np.uint8))
        session.labels[...] = np.random.default_rng(0).integers(0, 9, session.labels.shape)
        return session

    def test_is_whole_after_many_short_turns(self):
        session = self.session()
        shadow = Shadow(session)
        turns = 1
        while not shadow.copy(session, 0.0):
            turns += 1
        assert turns > 4
        np.testing.assert_array_equal(shadow.labels, session.labels)

    def test_takes_in_what_changes_meanwhile_in_any_view(self):
        session = self.session()
        shadow = Shadow(session)
        assert not shadow.copy(session, 0.0)
        for view, frame in ((View(0, ()), 0), (View(1, ()), 650), (View(2, ()), 3)):
            session.frames_of(view)[frame] = 77
            shadow.note([(view, frame)])
        while not shadow.copy(session, 0.0):
            pass
        np.testing.assert_array_equal(shadow.labels, session.labels)

    def test_copies_no_more_than_what_has_changed(self):
        session = self.session()
        shadow = Shadow(session)
        assert shadow.copy(session, 60)
        session.labels[...] = 5
        shadow.note([(View(0, ()), 2)])
        assert shadow.copy(session, 60)
        assert [bool((f == 5).all()) for f in shadow.labels] == [False, False, True, False]


class TestEnd:
    def test_what_was_not_saved_is_written_at_the_end_and_stays(self, controller, worker_done):
        controller.autosaver.configure(True, 60)
        draw(controller)
        assert controller.wait(WAIT)
        labels = controller.session.labels.copy()
        worker_done()
        (leftover,), _ = leftovers()
        np.testing.assert_array_equal(written(leftover.folder).labels, labels)
        assert not leftover.is_exported

    def test_what_was_saved_as_a_session_does_not_stay(self, controller, worker_done, tmp_path):
        draw(controller)
        assert controller.wait(WAIT)
        save_now(controller)
        controller.save_session(tmp_path / "x.medsam2.json")
        assert controller.wait(WAIT)
        worker_done()
        assert folders() == []

    def test_other_settings_make_no_unsaved_work(self, controller, worker_done, tmp_path):
        controller.autosaver.configure(True, 60)
        draw(controller)
        assert controller.wait(WAIT)
        controller.save_session(tmp_path / "x.medsam2.json")
        assert controller.wait(WAIT)
        controller.bench.configure(precision="fp32")
        _ = controller.session
        worker_done()
        assert folders() == []

    def test_a_session_that_was_only_opened_does_not_stay(self, controller, stack, tmp_path):
        draw(controller)
        assert controller.wait(WAIT)
        controller.save_session(tmp_path / "x.medsam2.json")
        assert controller.wait(WAIT)
        other = opened(stack)
        other.open_session(tmp_path / "x.medsam2.json")
        assert other.wait(WAIT)
        save_now(other)
        assert len(folders()) == 1
        executor = other.autosaver._worker._executor
        other.close()
        executor.shutdown(wait=True)
        assert folders() == []

    def test_turned_off_while_it_copies_it_rests(self, controller, monkeypatch):
        monkeypatch.setattr("napari_medsam2.gui.autosave._BUDGET", -1.0)
        draw(controller)
        assert controller.wait(WAIT)
        controller.autosaver.configure(True, 0)
        controller.autosaver.poll()
        assert controller.is_awake
        controller.autosaver.configure(False, 60)
        assert controller.wait(WAIT)
        assert not controller.is_awake
        assert folders() == []

    def test_work_after_saving_stays(self, controller, worker_done, tmp_path):
        controller.autosaver.configure(True, 60)
        draw(controller)
        assert controller.wait(WAIT)
        controller.save_session(tmp_path / "x.medsam2.json")
        assert controller.wait(WAIT)
        controller.session.accept(2)
        worker_done()
        (leftover,), _ = leftovers()
        assert written(leftover.folder).accepted == {1: frozenset({2})}

    def test_after_saving_labels_it_is_offered_with_its_image_alone(
        self, tmp_path, stack, worker_done
    ):
        np.save(tmp_path / "scan.npy", stack)
        controller = opened()
        controller.bench.viewer.add_layer(layer_of(tmp_path / "scan.npy"))
        controller.autosaver.configure(True, 60)
        draw(controller)
        assert controller.wait(WAIT)
        controller.save_labels(tmp_path / "labels.npy")
        assert controller.wait(WAIT)
        worker_done(controller)
        empty = opened()
        assert empty.recovery.offers == ()
        empty.viewer.add_layer(layer_of(tmp_path / "scan.npy"))
        assert empty.wait(WAIT)
        assert len(empty.recovery.offers) == 1
        empty.close()

    def test_what_was_undone_does_not_stay(self, controller, worker_done):
        draw(controller)
        assert controller.wait(WAIT)
        save_now(controller)
        controller.undo()
        controller.undo()
        worker_done()
        assert folders() == []

    def test_an_image_that_is_deleted_leaves_its_work(self, controller):
        controller.autosaver.configure(True, 60)
        draw(controller)
        assert controller.wait(WAIT)
        controller.viewer.layers.clear()
        controller.poll()
        executor = controller.autosaver._worker._executor
        controller.close()
        executor.shutdown(wait=True)
        (leftover,), _ = leftovers()
        assert written(leftover.folder).labels[2].any()


def layer_of(path):
    from napari.layers import Layer

    (data,) = image_layers(nm.read(path))
    return Layer.create(*data)


class TestResume:
    @pytest.fixture
    def left(self, controller, worker_done) -> np.ndarray:
        """Work that another window has left, and its labels."""
        controller.autosaver.configure(True, 60)
        draw(controller)
        assert controller.wait(WAIT)
        controller.propagate()
        assert controller.wait(WAIT)
        controller.session.accept(3)
        labels = controller.session.labels.copy()
        worker_done()
        return labels

    def test_all_is_there_again(self, left, stack):
        again = opened(stack)
        assert again.recovery.name == "again"
        assert again.recover(again.recovery.offer)
        assert again.wait(WAIT)
        np.testing.assert_array_equal(again.session.labels, left)
        assert again.session.prompts[1].prompts[0].box == BOX
        assert again.session.accepted == {1: frozenset({3})}
        assert again.viewer.layers["again boxes"].nshapes == 1
        np.testing.assert_array_equal(again.viewer.layers["again [MedSAM2]"].data, left)
        assert again.recovery.offers == ()
        again.close()

    def test_going_on_writes_in_the_same_place(self, left, stack, worker_done):
        again = opened(stack)
        (folder,) = folders()
        again.recover(again.recovery.offer)
        assert again.wait(WAIT)
        assert leftovers() == ([], [])
        again.session.unaccept(3)
        save_now(again)
        assert folders() == [folder]
        assert written(folder).accepted == {}
        worker_done(again)
        (leftover,), _ = leftovers()
        assert leftover.folder == folder

    def test_resumed_work_that_is_not_touched_stays(self, left, stack, worker_done):
        again = opened(stack)
        again.autosaver.configure(True, 60)
        again.recover(again.recovery.offer)
        assert again.wait(WAIT)
        worker_done(again)
        (leftover,), _ = leftovers()
        np.testing.assert_array_equal(written(leftover.folder).labels, left)

    def test_another_image_has_no_offer(self, left, stack):
        other = opened(stack[:, ::-1])
        assert other.recovery.offers == ()
        other.viewer.add_image(stack, name="the one")
        other.bench.use(other.viewer.layers["the one"])
        assert other.wait(WAIT)
        assert len(other.recovery.offers) == 1
        other.close()

    def test_an_image_in_memory_is_not_offered_without_it(self, left):
        empty = opened()
        assert empty.recovery.offers == ()
        empty.close()

    def test_an_image_that_was_read_from_a_file_is_opened_along(self, tmp_path, stack, worker_done):
        np.save(tmp_path / "scan.npy", stack)
        first = opened()
        first.viewer.add_layer(layer_of(tmp_path / "scan.npy"))
        first.autosaver.configure(True, 60)
        draw(first)
        assert first.wait(WAIT)
        worker_done(first)
        again = opened()
        assert again.recovery.name == "scan.npy"
        again.recover(again.recovery.offer)
        assert again.wait(WAIT)
        assert again.viewer.layers[0].name == "scan"
        assert again.session.labels[2].any()
        again.close()

    def test_what_a_living_window_works_on_is_not_offered(self, controller, stack):
        draw(controller)
        assert controller.wait(WAIT)
        save_now(controller)
        other = opened(stack)
        assert other.recovery.offers == ()
        other.close()

    def test_discarded_is_gone_and_put_off_comes_back(self, left, stack):
        again = opened(stack)
        again.recovery.put_off()
        assert again.recovery.offers == ()
        again.close()
        third = opened(stack)
        third.recovery.discard(third.recovery.offer)
        assert third.recovery.offers == ()
        executor = third.recovery._worker._executor
        third.close()
        executor.shutdown(wait=True)
        assert folders() == []

    def test_a_damaged_session_is_told_and_stays(self, left, stack, notes):
        (folder,) = folders()
        next(folder.glob("*.tif")).unlink()
        again = opened(stack)
        again.recover(again.recovery.offer)
        assert again.wait(WAIT)
        assert any("are missing" in text for text in texts(notes))
        assert not again.session.labels.any()
        assert len(again.recovery.offers) == 1
        again.close()
        assert folders() == [folder]

    def test_a_broken_autosave_is_told_once_and_the_image_can_be_worked_on(
        self, left, stack, notes
    ):
        (folder,) = folders()
        (folder / "about.json").write_text("[]")
        again = opened(stack)
        (told,) = texts(notes)
        assert "an autosave cannot be read" in told
        draw(again)
        assert again.wait(WAIT)
        assert again.session.labels.any()
        again.close()
        opened(stack).close()
        assert len(notes) == 1
