"""Cleaning up in the window: look first, then change, then take it back."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from tests.gui.common import texts
from tests.gui.conftest import BOX, SHAPE, disc, session_maker
from tests.gui.hands import push

from napari_medsam2 import Volume
from napari_medsam2.gui import cleanup_order as module
from napari_medsam2.gui.cleanup import COME, GONE, Order, Preview
from napari_medsam2.gui.controller import Controller
from napari_medsam2.gui.layers import METADATA_KEY
from napari_medsam2.gui.widget import MedSAM2Widget

NAME = "disc preview"
HOLES = Order("holes", (1,))


def holed(controller: Controller) -> np.ndarray:
    """Segment the disc on slices 0 to 3; it has a hole on slices 1 and 2 and a speck on 3."""
    controller.session.add_box(1, BOX, object_id=1, name="disc")
    controller.propagate(start=0, stop=4)
    assert controller.wait(10)
    labels = controller.session.labels
    labels[1:3, 28:31, 38:41] = 0
    labels[3, 60, 60] = 1
    return labels


def looked(controller: Controller, order: Order) -> Preview:
    assert controller.preview_cleanup(order)
    assert controller.wait(10)
    assert controller.last_error is None
    assert controller.cleaner.preview is not None
    return controller.cleaner.preview


def cleaned(controller: Controller, order: Order) -> None:
    assert controller.clean_up(order)
    assert controller.wait(10)


class TestPreview:
    def test_shows_what_would_change_and_changes_nothing(self, controller, viewer_model):
        labels = holed(controller)
        before = labels.copy()
        active = viewer_model.layers.selection.active
        preview = looked(controller, HOLES)
        np.testing.assert_array_equal(labels, before)
        assert (preview.added, preview.removed) == (18, 0)
        assert preview.places == (((), 1), ((), 2))
        layer = viewer_model.layers[NAME]
        expected = np.zeros(SHAPE, np.uint8)
        expected[1:3, 28:31, 38:41] = COME
        np.testing.assert_array_equal(layer.data, expected)
        np.testing.assert_array_equal(layer.scale, (3, 1, 1))
        assert viewer_model.layers.selection.active is active

    def test_what_goes_has_another_colour(self, controller, viewer_model):
        holed(controller)
        preview = looked(controller, Order("largest", (1,), solid=False))
        data = viewer_model.layers[NAME].data
        assert (data[3, 60, 60], data.sum()) == (GONE, GONE)
        layer = viewer_model.layers[NAME]
        colours = [tuple(layer.get_color(v)) for v in (GONE, COME)]
        assert len(set(colours)) == 2
        assert layer.colormap.map(0)[-1] == 0
        assert str(preview) == "1 px removed, 0 px added on slice 3"

    def test_another_one_takes_its_place(self, controller, viewer_model):
        holed(controller)
        looked(controller, HOLES)
        looked(controller, Order("largest", (1,)))
        assert [layer.name for layer in viewer_model.layers].count(NAME) == 1

    def test_nothing_to_change_has_no_layer(self, controller, viewer_model):
        holed(controller)
        said: list[str] = []
        controller.message.connect(said.append)
        looked(controller, Order("small", (1,), amount=0.5))
        assert NAME not in viewer_model.layers
        assert said[-1] == "Preview: Nothing to change"

    def test_it_goes_when_labels_change(self, controller, viewer_model):
        holed(controller)
        looked(controller, HOLES)
        controller.undo()
        assert controller.cleaner.preview is None
        assert NAME not in viewer_model.layers

    def test_it_goes_with_the_image_or_its_own_layer(self, controller, viewer_model):
        holed(controller)
        looked(controller, HOLES)
        viewer_model.layers.remove(NAME)
        assert controller.cleaner.preview is None
        looked(controller, HOLES)
        viewer_model.layers.remove("disc")
        assert NAME not in viewer_model.layers

    def test_it_is_no_truth_and_no_prompt(self, controller, viewer_model):
        holed(controller)
        looked(controller, HOLES)
        assert controller.comparer.candidates() == []

    def test_next_slice_goes_round(self, controller, viewer_model):
        holed(controller)
        looked(controller, HOLES)
        seen = []
        for _ in range(3):
            controller.cleaner.show_next()
            seen.append(viewer_model.dims.current_step[0])
        assert seen == [1, 2, 1]  # it began at 2

    def test_cancelled_while_it_is_computed(self, controller, viewer_model, monkeypatch):
        holed(controller)
        gate, real = threading.Event(), module.cleaned

        def wait_and_clean(*args, **options):
            gate.wait(30)
            return real(*args, **options)

        monkeypatch.setattr(module, "cleaned", wait_and_clean)
        controller.preview_cleanup(HOLES)
        assert controller.cleaner.is_busy
        controller.cleaner.cancel()
        gate.set()
        assert controller.wait(10)
        assert NAME not in viewer_model.layers
        assert controller.cleaner.preview is None


class TestApply:
    def test_after_a_preview_and_back(self, controller, viewer_model):
        labels = holed(controller)
        before = labels.copy()
        looked(controller, HOLES)
        cleaned(controller, HOLES)
        assert NAME not in viewer_model.layers
        assert (labels[1:3, 28:31, 38:41] == 1).all()
        assert labels.sum() == before.sum() + 18
        assert controller.session.undo_text == "fill holes, object 1"
        controller.undo()
        np.testing.assert_array_equal(labels, before)
        controller.redo()
        assert labels.sum() == before.sum() + 18

    def test_without_a_preview_or_after_one_of_something_else(self, controller):
        labels = holed(controller)
        looked(controller, HOLES)
        cleaned(controller, Order("largest", (1,), solid=True))
        assert labels[3, 60, 60] == 0
        assert labels[1, 29, 39] == 0

    def test_needs_no_model(self, viewer_model):
        controller = Controller(viewer_model)
        controller.session.labels[1, 20:30, 20:30] = 1
        controller.session.labels[1, 25, 25] = 0
        controller.bench.desk.show_results()
        cleaned(controller, HOLES)
        assert controller.last_error is None
        assert controller.session.labels[1, 25, 25] == 1
        assert not controller.session.has_model
        controller.close()

    def test_says_what_came_of_it(self, controller):
        holed(controller)
        said: list[str] = []
        controller.message.connect(said.append)
        cleaned(controller, HOLES)
        assert said[-1] == "Cleaned up 2 masks (Ctrl+Z undoes)"
        cleaned(controller, HOLES)
        assert said[-1] == "There was nothing to clean up"
        assert controller.session.undo_text == "fill holes, object 1"

    def test_locked_objects_and_accepted_slices_stay(self, controller, notes):
        labels = holed(controller)
        controller.session.accept(1, [1])
        preview = looked(controller, HOLES)
        assert preview.places == (((), 2),)
        cleaned(controller, HOLES)
        assert labels[1, 29, 39] == 0
        assert labels[2, 29, 39] == 1
        controller.session.set_locked(1, True)
        assert not controller.clean_up(Order("largest", (1,)))
        assert "object 1 is locked" in texts(notes)[-1]

    def test_restrict_to_a_layer_as_it_is_now(self, controller, viewer_model):
        labels = holed(controller)
        inside = np.zeros(SHAPE, np.int64)
        inside[:, :30] = 7
        layer = viewer_model.add_labels(inside, name="upper")
        order = Order("restrict", (1,), layer=layer)
        looked(controller, order)
        layer.data[0, 30:] = 7
        cleaned(controller, order)
        assert (labels[0] == disc()).all()
        assert not labels[1:, 30:].any()
        assert labels[1:3, :30].any()
        assert controller.session.undo_text == "keep inside upper, object 1"

    def test_along_another_axis(self, controller, viewer_model):
        labels = holed(controller)
        looked(controller, HOLES)
        viewer_model.dims.order = (1, 0, 2)
        order = Order("largest", (1,), solid=False)
        cleaned(controller, order)
        assert controller.session.stack.axis == 1
        assert labels[3, 60, 60] == 1  # alone on its coronal slice, it is the largest there
        cleaned(controller, Order("largest", (1,), solid=True))
        assert labels[3, 60, 60] == 0

    @pytest.mark.parametrize(
        ("order", "why"),
        [
            (Order("smooth", (1,), amount=0), "strength of smoothing must be a positive"),
            (Order("holes", ()), "no object to clean up"),
            (Order("restrict", (1,)), "choose the labels layer"),
        ],
    )
    def test_what_cannot_be_done_is_refused(self, controller, notes, order, why):
        holed(controller)
        assert not controller.preview_cleanup(order)
        assert why in texts(notes)[-1]
        assert not controller.clean_up(order)

    def test_a_layer_of_another_shape_is_refused(self, controller, viewer_model, notes):
        holed(controller)
        layer = viewer_model.add_labels(disc().astype(int), name="plane")
        assert not controller.clean_up(Order("restrict", (1,), layer=layer))
        assert "plane has the shape (64, 64), the image (5, 64, 64)" in texts(notes)[-1]

    def test_moments_of_a_movie_are_no_slices(self, stack, model, notes):
        viewer = ViewerModel()
        viewer.add_image(stack, axis_labels=("t", "y", "x"))
        controller = Controller(viewer, session_maker(model))
        holed(controller)
        assert not controller.cleaner.can_be_solid
        assert not controller.clean_up(Order("largest", (1,), solid=True))
        assert "slice by slice" in texts(notes)[-1]
        controller.close()

    def test_amounts_are_in_the_unit_of_the_image(self, stack, model):
        volume = Volume(stack, "zyx", spacing=(5.0, 0.5, 0.5), units=("mm",) * 3)
        viewer = ViewerModel()
        viewer.add_image(stack, metadata={METADATA_KEY: {"volume": volume}})
        controller = Controller(viewer, session_maker(model))
        labels = holed(controller)
        cleaner = controller.cleaner
        assert cleaner.unit(solid=True) == "mm"
        assert cleaner.suggested_amount("smooth", solid=True) == 1.0
        assert cleaner.suggested_amount("small", solid=True) == 60  # 50 voxels of 1.25 mm3
        assert cleaner.suggested_amount("small", solid=False) == 10  # 50 pixels of 0.25 mm2
        cleaned(controller, Order("small", (1,), solid=False, amount=0.25))
        assert labels[3, 60, 60] == 1
        cleaned(controller, Order("small", (1,), solid=False, amount=0.26))
        assert labels[3, 60, 60] == 0
        controller.close()


class TestPanel:
    @pytest.fixture
    def widget(self, make_napari_viewer, stack, model, cold) -> MedSAM2Widget:
        viewer = make_napari_viewer(show=True)
        viewer.add_image(stack, name="disc", scale=(3.0, 1.0, 1.0))
        viewer.dims.set_current_step(0, 2)
        widget = MedSAM2Widget(viewer, make_session=session_maker(model))
        viewer.window.add_dock_widget(widget, name="MedSAM2")
        return widget

    @pytest.fixture
    def panel(self, widget, qtbot):
        holed(widget.controller)
        widget.cleanup.toggle.click()
        qtbot.waitUntil(widget.cleanup.look.isVisible)
        return widget.cleanup

    def test_look_apply_undo(self, widget, panel, qtbot):
        viewer, labels = widget.controller.viewer, widget.controller.session.labels
        before = labels.copy()
        assert not panel.cancel.isVisible()
        push(widget, panel.look, qtbot)
        qtbot.waitUntil(lambda: NAME in viewer.layers)
        qtbot.waitUntil(panel.note.isVisible)
        assert "0 px go" in panel.note.text()
        assert "18 px come, on 2 slices" in panel.note.text()
        push(widget, panel.next, qtbot)
        assert viewer.dims.current_step[0] == 1
        push(widget, panel.apply, qtbot)
        qtbot.waitUntil(lambda: labels[1, 29, 39] == 1 and widget.controller.state == "idle")
        qtbot.waitUntil(lambda: not panel.note.isVisible())
        assert NAME not in viewer.layers
        assert widget.message.text() == "Cleaned up 2 masks (Ctrl+Z undoes)"
        widget.controller.undo()
        np.testing.assert_array_equal(labels, before)

    def test_cancel_and_other_choices_take_the_preview_away(self, widget, panel, qtbot):
        viewer = widget.controller.viewer
        push(widget, panel.look, qtbot)
        qtbot.waitUntil(lambda: NAME in viewer.layers)
        push(widget, panel.cancel, qtbot)
        assert NAME not in viewer.layers
        push(widget, panel.look, qtbot)
        qtbot.waitUntil(lambda: NAME in viewer.layers)
        panel.kind.setFocus()
        QTest.keyClick(panel.kind, Qt.Key.Key_Down)
        assert NAME not in viewer.layers
        assert panel.kind.currentText() == "Keep the largest part"
        assert panel.how.currentText() == "in 3D"

    def test_only_what_matters_is_asked(self, widget, panel, qtbot):
        def shown() -> list[bool]:
            return [panel.amount.isVisible(), panel.layer.isVisible(), panel.how.isVisible()]

        found = {}
        for index in range(panel.kind.count()):
            panel.kind.setCurrentIndex(index)
            found[panel.kind.currentData()] = shown()
        assert found == {
            "holes": [False, False, True],
            "largest": [False, False, True],
            "smooth": [True, False, True],
            "small": [True, False, True],
            "restrict": [False, True, False],
        }
        assert panel.minimumSizeHint().width() <= 286

    def test_the_amount_has_a_unit(self, widget, panel):
        panel.kind.setCurrentIndex(panel.kind.findData("small"))
        assert panel.how.currentText() == "in 3D"
        assert panel.amount.text() == "200 px³"  # 50 voxels of 3 x 1 x 1, in round numbers
        panel.how.setCurrentIndex(0)
        assert panel.amount.text() == "50 px²"
        panel.kind.setCurrentIndex(panel.kind.findData("smooth"))
        assert panel.amount.text() == "2 px"

    def test_all_objects_but_locked_ones(self, widget, panel, qtbot):
        session = widget.controller.session
        session.labels[:, 2:8, 2:8] = 2
        session.labels[:, 4, 4] = 0
        session.add_box(0, (2, 2, 8, 8), object_id=2)
        session.set_locked(1, True)
        panel.objects.setCurrentIndex(1)
        push(widget, panel.apply, qtbot)
        qtbot.waitUntil(lambda: (session.labels[:, 4, 4] == 2).all())
        assert session.labels[1, 29, 39] == 0

    def test_a_layer_to_keep_inside_of_must_be_there(self, widget, panel, qtbot):
        panel.kind.setCurrentIndex(panel.kind.findData("restrict"))
        assert panel.layer.currentText() == "add the mask as a labels layer"
        assert not panel.look.isEnabled()
        inside = np.zeros(SHAPE, np.uint8)
        inside[:, :30] = 1
        widget.controller.viewer.add_labels(inside, name="upper", scale=(3, 1, 1))
        qtbot.waitUntil(lambda: panel.layer.currentText() == "upper")
        push(widget, panel.apply, qtbot)
        labels = widget.controller.session.labels
        qtbot.waitUntil(lambda: not labels[:4, 30:].any())
        assert labels[:4, :30].any()

    def test_the_widget_closed_with_a_preview(self, widget, panel, qtbot):
        viewer = widget.controller.viewer
        push(widget, panel.look, qtbot)
        qtbot.waitUntil(lambda: NAME in viewer.layers)
        viewer.window.remove_dock_widget(widget)
        assert NAME not in viewer.layers
        assert "disc [MedSAM2]" in viewer.layers

    def test_the_window_closed_with_a_preview(self, widget, panel, qtbot):
        viewer = widget.controller.viewer
        push(widget, panel.look, qtbot)
        qtbot.waitUntil(lambda: NAME in viewer.layers)
        viewer.close()
