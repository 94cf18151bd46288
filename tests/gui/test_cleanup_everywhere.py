"""Cleaning up a movie of volumes at all its time points at once."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from napari.components import ViewerModel
from tests.gui.conftest import disc, session_maker
from tests.gui.hands import push

from napari_medsam2.gui import cleanup_order as module
from napari_medsam2.gui.cleanup import COME, Order, Preview
from napari_medsam2.gui.controller import Controller
from napari_medsam2.gui.widget import MedSAM2Widget
from napari_medsam2.labels import MaskUpdate
from napari_medsam2.session import Session
from napari_medsam2.volume import View

if TYPE_CHECKING:
    from collections.abc import Iterator

NAME = "movie preview"
HOLES = ((0, 3), (2, 1), (2, 4))  # time point, slice
HOLE = (slice(28, 31), slice(38, 41))
FILL = Order("holes", (1,), everywhere=True)


@pytest.fixture
def movie(stack) -> np.ndarray:
    return np.stack([stack] * 3)


@pytest.fixture
def viewer(movie) -> ViewerModel:
    viewer = ViewerModel()
    viewer.add_image(movie, name="movie", axis_labels=("t", "z", "y", "x"), scale=(1, 3, 1, 1))
    viewer.dims.set_current_step((0, 1), (1, 2))
    return viewer


@pytest.fixture
def controller(viewer, model) -> Iterator[Controller]:
    controller = Controller(viewer, session_maker(model))
    yield controller
    controller.close()


def at(time: int) -> View:
    return View(1, (time,))


def masks() -> Iterator[MaskUpdate]:
    """The disc everywhere, with holes."""
    for time in range(3):
        for z in range(5):
            mask = disc()
            mask[HOLE] = (time, z) not in HOLES
            yield MaskUpdate.from_mask(z, 1, mask, 0.8, at(time))


def holed(controller: Controller) -> np.ndarray:
    session = controller.session
    session.write_masks(masks(), "draw")
    return session.labels


def full() -> np.ndarray:
    return np.broadcast_to(disc(), (3, 5, 64, 64))


def looked(controller: Controller, order: Order) -> Preview:
    assert controller.preview_cleanup(order)
    assert controller.wait(10)
    assert controller.last_error is None
    assert controller.cleaner.preview is not None
    return controller.cleaner.preview


def cleaned(controller: Controller, order: Order) -> None:
    assert controller.clean_up(order)
    assert controller.wait(10)
    assert controller.last_error is None


def go_to(viewer: ViewerModel, time: int) -> None:
    viewer.dims.set_current_step(0, time)


class TestPreview:
    def test_marks_all_time_points(self, controller, viewer):
        before = holed(controller).copy()
        preview = looked(controller, FILL)
        assert preview.places == (((0,), 3), ((2,), 1), ((2,), 4))
        assert str(preview) == "0 px removed, 27 px added on 3 slices of 2 time points"
        expected = np.zeros(before.shape, np.uint8)
        for place in HOLES:
            expected[(*place, *HOLE)] = COME
        np.testing.assert_array_equal(viewer.layers[NAME].data, expected)
        np.testing.assert_array_equal(controller.session.labels, before)

    @pytest.mark.parametrize(
        ("holes", "told"),
        [
            (((2, 1), (2, 4)), "2 slices of time point 2"),
            (((2, 1),), "slice 1 of time point 2"),
            (((0, 1), (2, 1)), "2 slices of 2 time points"),
        ],
    )
    def test_tells_where(self, controller, holes, told):
        labels = holed(controller)
        labels[full()] = 1
        for place in holes:
            labels[(*place, *HOLE)] = 0
        assert looked(controller, FILL).where == told

    def test_is_of_the_time_point_on_show_unless_asked(self, controller, viewer):
        holed(controller)
        here = Order("holes", (1,))
        assert not looked(controller, here).places
        go_to(viewer, 2)
        preview = looked(controller, here)
        assert preview.places == (((2,), 1), ((2,), 4))
        assert preview.where == "2 slices"

    def test_next_slice_goes_on_at_the_next_time_point(self, controller, viewer):
        holed(controller)
        looked(controller, FILL)
        seen = []
        for _ in range(4):
            controller.cleaner.show_next()
            seen.append(viewer.dims.current_step[:2])
        assert seen == [(2, 1), (2, 4), (0, 3), (2, 1)]  # it began at (1, 2)
        assert NAME in viewer.layers

    def test_along_time_it_is_of_all_slices(self, controller, viewer):
        holed(controller)
        viewer.dims.order = (1, 0, 2, 3)
        preview = looked(controller, FILL)
        assert preview.places == (((1,), 2), ((3,), 0), ((4,), 2))
        assert preview.where == "3 time points of 3 slices"
        assert controller.cleaner.beside == "slice"
        controller.cleaner.show_next()
        assert viewer.dims.current_step[:2] == (0, 3)  # it began at (1, 2)

    def test_cancelled_it_looks_at_no_further_time_point(self, controller, monkeypatch):
        holed(controller)
        gate, begun, views = threading.Event(), threading.Event(), []

        def wait(*args, view, **options):
            views.append(view)
            begun.set()
            gate.wait(30)
            return iter(())

        monkeypatch.setattr(module, "cleaned", wait)
        controller.preview_cleanup(FILL)
        assert begun.wait(30)
        controller.cleaner.cancel()
        monkeypatch.undo()
        gate.set()
        looked(controller, FILL)
        assert views == [at(0)]


class TestApply:
    @pytest.mark.parametrize("look", [False, True])
    def test_is_one_step(self, controller, viewer, look):
        labels = holed(controller)
        before = labels.copy()
        if look:
            looked(controller, FILL)
            controller.cleaner.show_next()
        cleaned(controller, FILL)
        np.testing.assert_array_equal(labels == 1, full())
        assert controller.session.undo_text == "fill holes, object 1, everywhere"
        controller.undo()
        np.testing.assert_array_equal(labels, before)
        controller.redo()
        np.testing.assert_array_equal(labels == 1, full())

    def test_a_preview_of_one_time_point_is_not_taken_for_all(self, controller, viewer):
        labels = holed(controller)
        go_to(viewer, 2)
        looked(controller, Order("holes", (1,)))
        cleaned(controller, FILL)
        np.testing.assert_array_equal(labels == 1, full())

    def test_keeps_scores_locked_objects_and_accepted_slices_of_each_time_point(
        self, controller, viewer
    ):
        labels, session = holed(controller), controller.session
        ring = np.ones((8, 8), dtype=bool)
        ring[3, 3] = False
        session.write_masks([MaskUpdate(3, 2, (0, 0, 8, 8), ring, 0.6, at(0))], "draw")
        go_to(viewer, 0)
        controller.session.set_locked(2)
        go_to(viewer, 2)
        controller.session.accept(1, [1])
        go_to(viewer, 1)
        order = Order("holes", (1, 2), everywhere=True)
        assert looked(controller, order).places == (((0,), 3), ((2,), 4))
        cleaned(controller, order)
        assert labels[0, 3, 3, 3] == 0
        assert not labels[(2, 1, *HOLE)].any()
        assert labels[(0, 3, *HOLE)].all()
        assert labels[(2, 4, *HOLE)].all()
        assert session.scores_of(at(0))[1].tolist() == [0.8] * 5
        assert session.scores_of(at(0))[2][3] == 0.6
        assert session.scores_of(at(2))[1].tolist() == [0.8] * 5

    def test_in_3d_each_time_point_for_itself(self, controller):
        labels = holed(controller)
        labels[...] = 0
        labels[0, 0, :9, :9] = labels[0, 2, :8, :8] = labels[2, 4, :3, :3] = 1
        cleaned(controller, Order("largest", (1,), solid=True, everywhere=True))
        assert np.argwhere(labels.any(axis=(2, 3))).tolist() == [[0, 0], [2, 4]]

    def test_inside_a_layer(self, controller, viewer):
        labels = holed(controller)
        inside = np.zeros(labels.shape, np.int64)
        inside[:, :, :30] = 7
        inside[0] = 0
        layer = viewer.add_labels(inside, name="upper")
        cleaned(controller, Order("restrict", (1,), layer=layer, everywhere=True))
        expected = full() & (inside > 0)
        for place in HOLES:
            expected[(*place, *HOLE)] = False
        np.testing.assert_array_equal(labels == 1, expected)

    def test_saved_loaded_and_replayed(self, controller, tmp_path):
        holed(controller)
        cleaned(controller, FILL)
        session = controller.session
        path = session.save(tmp_path / "movie.medsam2.json")
        again = Session.load(path, session.volume)
        np.testing.assert_array_equal(again.labels, session.labels)
        np.testing.assert_array_equal(again.replay(), session.labels)
        assert {write.view for write in again.runs[-1].writes} == {at(0), at(2)}
        np.testing.assert_array_equal(again.scores_of(at(2))[1], [0.8] * 5)


class TestPanel:
    @pytest.fixture
    def widget(self, make_napari_viewer, movie, model, cold) -> MedSAM2Widget:
        viewer = make_napari_viewer(show=True)
        viewer.add_image(movie, name="movie", axis_labels=("t", "z", "y", "x"), scale=(1, 3, 1, 1))
        viewer.dims.set_current_step((0, 1), (1, 2))
        widget = MedSAM2Widget(viewer, make_session=session_maker(model))
        viewer.window.add_dock_widget(widget, name="MedSAM2")
        return widget

    @pytest.fixture
    def panel(self, widget, qtbot):
        holed(widget.controller)
        widget.cleanup.toggle.click()
        qtbot.waitUntil(widget.cleanup.where.isVisible)
        return widget.cleanup

    def test_look_go_apply_undo(self, widget, panel, qtbot):
        viewer, labels = widget.controller.viewer, widget.controller.session.labels
        before = labels.copy()
        texts = [panel.where.itemText(i) for i in range(panel.where.count())]
        assert texts == ["This time point", "All time points"]
        assert panel.where.currentText() == "This time point"
        panel.where.setCurrentIndex(1)
        push(widget, panel.look, qtbot)
        qtbot.waitUntil(lambda: NAME in viewer.layers)
        qtbot.waitUntil(panel.note.isVisible)
        assert "27 px come, on 3 slices of 2 time points" in panel.note.text()
        push(widget, panel.next, qtbot)
        assert viewer.dims.current_step[:2] == (2, 1)
        push(widget, panel.apply, qtbot)
        qtbot.waitUntil(lambda: widget.message.text() == "Cleaned up 3 masks (Ctrl+Z undoes)")
        np.testing.assert_array_equal(labels == 1, full())
        assert NAME not in viewer.layers
        widget.controller.undo()
        np.testing.assert_array_equal(labels, before)

    def test_another_choice_takes_the_preview_away(self, widget, panel, qtbot):
        panel.where.setCurrentIndex(1)
        push(widget, panel.look, qtbot)
        qtbot.waitUntil(lambda: NAME in widget.controller.viewer.layers)
        panel.where.setCurrentIndex(0)
        assert NAME not in widget.controller.viewer.layers

    def test_it_is_asked_where_there_is_a_choice(self, widget, panel, stack, qtbot):
        viewer = widget.controller.viewer
        viewer.dims.order = (1, 0, 2, 3)
        qtbot.waitUntil(lambda: panel.where.currentText() == "This slice")
        assert panel.where.itemText(1) == "All slices"
        assert "every slice of the image" in panel.where.toolTip()
        disc_layer = viewer.add_image(stack, name="disc")
        widget.controller.bench.use(disc_layer)
        widget.controller.session.labels[:] = stack > 100
        qtbot.waitUntil(lambda: not panel.where.isVisible())

    def test_all_objects_are_those_of_all_time_points(self, widget, panel, qtbot):
        session = widget.controller.session
        ring = np.ones((8, 8), dtype=bool)
        ring[3, 3] = False
        session.write_masks([MaskUpdate(3, 2, (0, 0, 8, 8), ring, 0.6, at(0))], "draw")
        panel.objects.setCurrentIndex(1)
        panel.where.setCurrentIndex(1)
        push(widget, panel.apply, qtbot)
        qtbot.waitUntil(lambda: session.labels[0, 3, 3, 3] == 2)
        np.testing.assert_array_equal(session.labels == 1, full())
