"""Comparing with a layer that holds the truth: the numbers, the panel and the strip."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QEvent, QPoint, Qt
from qtpy.QtGui import QHelpEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QScrollArea, QToolTip
from tests.gui.common import texts
from tests.gui.conftest import BOX, SHAPE, disc, session_maker
from tests.gui.hands import click

from napari_medsam2 import Volume
from napari_medsam2.errors import InputError
from napari_medsam2.evaluation.metrics import dice, frames_beyond, measure_object, nsd
from napari_medsam2.gui import scoring as module
from napari_medsam2.gui.controller import Controller
from napari_medsam2.gui.layers import METADATA_KEY
from napari_medsam2.gui.strip import ScoreStrip, StripRow
from napari_medsam2.gui.tiles import ramp
from napari_medsam2.gui.widget import MedSAM2Widget

if TYPE_CHECKING:
    from napari.layers import Labels
    from napari.viewer import Viewer

SHORT = 10_000  # milliseconds


def shifted(by: int = 3) -> np.ndarray:
    """The disc on slices 1 to 4, a little beside where the model finds it."""
    truth = np.zeros(SHAPE, np.int32)
    truth[1:, np.roll(disc(), by, axis=1)] = 1
    return truth


def segmented(controller: Controller) -> np.ndarray:
    """Let the model find object 1 on slices 0 to 3."""
    controller.session.add_box(1, BOX, object_id=1, name="disc")
    controller.propagate(start=0, stop=4)
    assert controller.wait(10)
    return controller.session.labels


def compared(controller: Controller, layer: Labels, **options: Any) -> module.Comparison:
    assert controller.compare(layer, **options)
    assert controller.wait(10)
    assert controller.last_error is None
    assert controller.comparison is not None
    return controller.comparison


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch):
    """Comparisons that wait in their thread until the test lets them go on."""
    gate, real = threading.Event(), module.overlaps

    def wait_and_count(*arrays: Any) -> Any:
        gate.wait(30)
        return real(*arrays)

    monkeypatch.setattr(module, "overlaps", wait_and_count)
    yield gate
    gate.set()


class TestNumbers:
    def test_they_are_those_of_the_evaluation(self, controller, viewer_model):
        found, truth = segmented(controller) == 1, shifted()
        comparison = compared(controller, viewer_model.add_labels(truth, name="truth"))
        expected = measure_object(found, truth == 1, (3, 1, 1), tolerance_mm=2.0)
        (score,) = comparison.objects
        assert (score.id, score.true_id) == (1, 1)
        assert 0.5 < score.dice < 1
        assert score.dice == expected["dice"]
        assert score.nsd == expected["nsd"]
        assert score.beyond == expected["frames_beyond"] == 1
        assert score.frame_dice == tuple(v for _, v in expected["frame_dice"])
        assert score.frame_dice[0] == score.frame_dice[4] == 0
        assert score.frame_nsd[0] == score.frame_nsd[4] == 0
        assert score.frame_nsd[2] == nsd(found[2], truth[2] == 1, (1, 1), 2.0)
        assert 0 < score.frame_nsd[2] < 1
        assert (comparison.tolerance, comparison.unit) == (2.0, "px")
        assert comparison.missed == ()
        assert comparison.mean_dice == score.dice
        assert not controller.comparer.is_stale

    def test_a_frame_with_neither_is_nan(self, controller, viewer_model):
        segmented(controller)
        truth = shifted()
        truth[4] = 0
        (score,) = compared(controller, viewer_model.add_labels(truth)).objects
        assert math.isnan(score.frame_dice[4])
        assert math.isnan(score.frame_nsd[4])
        assert not any(math.isnan(v) for v in score.frame_dice[:4])

    def test_in_millimetres_with_the_spacing_of_the_volume(self, stack, model):
        volume = Volume(stack, "zyx", spacing=(5.0, 0.7, 0.8), units=("mm",) * 3)
        viewer = ViewerModel()
        viewer.add_image(stack, metadata={METADATA_KEY: {"volume": volume}})
        controller = Controller(viewer, session_maker(model))
        found = segmented(controller) == 1
        comparison = compared(controller, viewer.add_labels(shifted()))
        expected = measure_object(found, shifted() == 1, (5.0, 0.7, 0.8), tolerance_mm=2.0)
        assert comparison.objects[0].nsd == expected["nsd"]
        assert (comparison.tolerance, comparison.unit) == (2.0, "mm")
        controller.close()

    def test_of_a_movie_surfaces_are_contours(self, stack, model):
        viewer = ViewerModel()
        viewer.add_image(stack, axis_labels=("t", "y", "x"))
        controller = Controller(viewer, session_maker(model))
        found = segmented(controller) == 1
        (score,) = compared(controller, viewer.add_labels(shifted())).objects
        expected = measure_object(found, shifted() == 1, (1, 1, 1), kind="video")
        assert (score.dice, score.nsd) == (expected["dice"], expected["nsd"])
        assert score.beyond == expected["frames_beyond"]
        controller.close()

    def test_along_another_axis(self, controller, viewer_model):
        viewer_model.dims.order = (1, 0, 2)
        session = controller.session
        assert session.stack.axis == 1
        labels = session.labels
        labels[1:4, 22:38, 32:48] = 1
        controller.bench.desk.show_results()
        truth = np.zeros(SHAPE, np.uint8)
        truth[1:5, 20:36, 30:48] = 1
        comparison = compared(controller, viewer_model.add_labels(truth))
        a, b = (np.moveaxis(v == 1, 1, 0) for v in (labels, truth))
        expected = measure_object(a, b, (1, 3, 1), tolerance_mm=2.0)
        (score,) = comparison.objects
        assert len(score.frame_dice) == SHAPE[1]
        np.testing.assert_array_equal(score.frame_dice, [v for _, v in expected["frame_dice"]])
        assert (score.dice, score.nsd) == (expected["dice"], expected["nsd"])
        assert score.beyond == frames_beyond(a, b) == 2
        controller.comparer.show_frame(30)
        assert viewer_model.dims.current_step[1] == 30
        assert controller.comparer.frame_on_show() == 30
        viewer_model.dims.order = (0, 1, 2)
        assert controller.comparer.frame_on_show() is None

    def test_of_one_time_point(self, model, stack):
        viewer = ViewerModel()
        viewer.add_image(np.stack([stack, stack]), name="4d")
        viewer.dims.set_current_step(0, 1)
        viewer.dims.set_current_step(1, 2)
        controller = Controller(viewer, session_maker(model))
        assert controller.session.stack.at == (1,)
        controller.session.labels[1, 1:3, 20:40, 30:50] = 1
        controller.bench.desk.show_results()
        truth = np.zeros((2, *SHAPE), np.uint8)
        truth[0] = 1
        truth[1, 1:4, 20:40, 30:50] = 1
        (score,) = compared(controller, viewer.add_labels(truth)).objects
        assert score.dice == dice(controller.session.labels[1] == 1, truth[1] == 1)
        assert controller.comparer.frame_on_show() == 2
        viewer.dims.set_current_step(0, 0)
        assert controller.comparer.frame_on_show() is None
        controller.comparer.show_frame(3)
        assert viewer.dims.current_step[:2] == (1, 3)
        controller.close()

    def test_of_a_plane(self, model, stack):
        viewer = ViewerModel()
        viewer.add_image(stack[0])
        controller = Controller(viewer, session_maker(model))
        controller.session.add_box(0, BOX)
        controller.segment_slice()
        assert controller.wait(10)
        (score,) = compared(controller, viewer.add_labels(disc())).objects
        assert (score.dice, score.nsd, score.frame_dice) == (1.0, 1.0, (1.0,))
        controller.comparer.show_frame(0)
        controller.close()


class TestPartners:
    @pytest.fixture
    def labels(self, controller) -> np.ndarray:
        labels = controller.session.labels
        labels[:, 0:10, 0:10] = 1
        labels[:, 20:30, 0:10] = 2
        labels[:, 40:50, 0:10] = 5
        controller.bench.desk.show_results()
        return labels

    def test_same_value_else_the_largest_overlap_else_none(self, controller, viewer_model, labels):
        truth = np.zeros(SHAPE, np.int16)
        truth[:, 30:40, 30:40] = 1  # elsewhere, yet of the same value
        truth[:, 20:23, 0:10] = 7
        truth[:, 23:30, 0:10] = 3
        comparison = compared(controller, viewer_model.add_labels(truth))
        assert [(o.id, o.true_id) for o in comparison.objects] == [(1, 1), (2, 3), (5, None)]
        assert comparison.objects[0].dice == 0
        assert comparison.objects[1].dice == dice(labels == 2, truth == 3)
        assert math.isnan(comparison.objects[2].dice)
        assert comparison.missed == (7,)
        assert comparison.mean_dice == comparison.objects[1].dice / 2

    def test_numbers_that_meet_by_chance_make_no_pair(self, controller, viewer_model, labels):
        truth = np.zeros(SHAPE, np.int16)
        truth[:, 0:10, 0:9] = 2  # where object 1 is
        truth[:, 20:30, 0:9] = 1  # where object 2 is
        truth[:, 40:50, 0:2] = 5
        truth[:, 40:50, 2:10] = 6
        comparison = compared(controller, viewer_model.add_labels(truth))
        assert [(o.id, o.true_id) for o in comparison.objects] == [(1, 2), (2, 1), (5, 5)]
        assert comparison.missed == (6,)

    def test_a_truth_that_is_empty(self, controller, viewer_model, labels):
        said: list[str] = []
        controller.message.connect(said.append)
        comparison = compared(controller, viewer_model.add_labels(np.zeros(SHAPE, int), name="no"))
        assert {o.true_id for o in comparison.objects} == {None}
        assert said[-1] == "Compared with no: no object has a partner there"

    def test_a_script_may_choose(self, controller, viewer_model, labels):
        truth = np.where(labels == 2, 1, 0)
        layer = viewer_model.add_labels(truth)
        comparison = compared(controller, layer, partners={1: 9, 2: 1})
        assert [(o.id, o.true_id, o.dice) for o in comparison.objects[:2]] == [
            (1, 9, 0.0),
            (2, 1, 1.0),
        ]


class TestState:
    def test_candidates_are_other_labels_of_the_same_shape(self, controller, viewer_model):
        segmented(controller)
        fits = viewer_model.add_labels(shifted(), name="fits")
        viewer_model.add_labels(shifted()[0], name="plane")
        assert controller.comparer.candidates() == [fits]

    def test_what_cannot_be_compared_is_refused(self, controller, viewer_model, notes):
        truth = viewer_model.add_labels(shifted(), name="truth")
        assert not controller.compare(truth)
        assert "nothing to compare yet" in texts(notes)[-1]
        segmented(controller)
        result = viewer_model.layers["disc [MedSAM2]"]
        assert not controller.compare(result)
        assert "is the result itself" in texts(notes)[-1]
        assert not controller.compare(viewer_model.add_labels(shifted()[0], name="plane"))
        assert "plane is no labels layer of shape (5, 64, 64)" in texts(notes)[-1]
        assert not controller.compare(viewer_model.layers["disc"])
        assert isinstance(controller.last_error, InputError)
        assert {n.severity.value for n in notes} == {"warning"}

    def test_a_change_of_either_layer_makes_it_stale(self, controller, viewer_model):
        segmented(controller)
        truth = viewer_model.add_labels(shifted(), name="truth", scale=(3.0, 1.0, 1.0))
        result = viewer_model.layers["disc [MedSAM2]"]

        def is_stale_after(change: Any) -> bool:
            compared(controller, truth)
            assert not controller.comparer.is_stale
            viewer_model.dims.set_current_step(0, 2)
            truth.refresh()
            assert not controller.comparer.is_stale
            change()
            controller.wait(10)
            return controller.comparer.is_stale

        assert not is_stale_after(lambda: viewer_model.dims.set_current_step(0, 4))
        assert not is_stale_after(lambda: controller.rename_object(1, "other"))
        assert not is_stale_after(controller.undo)
        assert is_stale_after(lambda: truth.paint((2, 5, 5), 4))
        assert is_stale_after(lambda: result.fill((2, 5, 5), 4))
        assert is_stale_after(result.undo)
        assert is_stale_after(lambda: setattr(truth, "data", shifted(5)))
        assert is_stale_after(lambda: controller.segment_slice(1))
        assert is_stale_after(controller.undo)
        assert is_stale_after(lambda: controller.remove_object(1))
        assert is_stale_after(lambda: viewer_model.layers.remove(truth))

    @pytest.mark.parametrize("name", ["truth", "disc [MedSAM2]", "disc"])
    def test_a_layer_that_goes_meanwhile_stops_it(self, controller, viewer_model, held, name):
        segmented(controller)
        said: list[str] = []
        controller.message.connect(said.append)
        assert controller.compare(viewer_model.add_labels(shifted(), name="truth"))
        assert controller.is_awake
        viewer_model.layers.remove(name)
        held.set()
        assert controller.wait(10)
        assert not controller.comparer.is_busy
        assert controller.comparison is None
        assert controller.last_error is None
        assert ("The comparison was stopped: truth is gone" in said) == (name == "truth")

    def test_closing_meanwhile(self, controller, viewer_model, held):
        segmented(controller)
        truth = viewer_model.add_labels(shifted())
        assert controller.compare(truth)
        controller.close()
        held.set()
        assert not controller.poll()
        assert not controller.compare(truth)
        truth.data = shifted(5)

    def test_an_error_in_the_thread_is_told(self, controller, viewer_model, notes, monkeypatch):
        segmented(controller)

        def fail(*_: Any) -> None:
            raise MemoryError("9 GB")

        monkeypatch.setattr(module, "overlaps", fail)
        assert controller.compare(viewer_model.add_labels(shifted()))
        assert controller.wait(10)
        assert "out of memory (9 GB)" in str(controller.last_error)
        assert "out of memory (9 GB)" in texts(notes)[-1]
        assert controller.comparison is None

    def test_it_belongs_to_its_image(self, controller, viewer_model, stack):
        segmented(controller)
        compared(controller, viewer_model.add_labels(shifted()))
        other = viewer_model.add_image(stack, name="other")
        controller.bench.use(other)
        assert controller.comparison is None
        assert controller.comparer.frame_on_show() is None
        controller.bench.use(viewer_model.layers["disc"])
        assert controller.comparison is not None


class TestStrip:
    def test_what_it_says(self, qtbot):
        strip = ScoreStrip(lambda frame: None)
        qtbot.addWidget(strip)
        assert (strip.frame_at(5), strip.told(5, 5)) == (None, "")
        strip.show_rows([StripRow("1 liver", (1, 0, 0, 1), (0.826, math.nan, 1.0))])
        strip.resize(300, strip.height())
        assert [strip.frame_at(strip.x_of(f)) for f in range(3)] == [0, 1, 2]
        assert (strip.frame_at(-9), strip.frame_at(999)) == (0, 2)
        assert strip.told(strip.x_of(0), strip.y_of(0)) == "frame 0: Dice 0.83\n1 liver"
        assert strip.told(strip.x_of(1), strip.y_of(0)) == "frame 1: on neither\n1 liver"
        assert strip.told(strip.x_of(1), strip.height() - 1) == ""

    def test_tiles_have_the_colours_of_the_ramp(self, qtbot):
        strip = ScoreStrip(lambda frame: None)
        qtbot.addWidget(strip)
        strip.show_rows([StripRow("1", (1, 0, 0, 1), (0.0, 0.5, 1.0, math.nan))])
        strip.resize(300, strip.height())
        picture = strip.grab().toImage()
        ratio = picture.devicePixelRatio()

        def colour(frame: int, dy: int = 0) -> str:
            x, y = strip.x_of(frame) * ratio, (strip.y_of(0) + dy) * ratio
            return picture.pixelColor(round(x), round(y)).name()

        assert [colour(f, -5) for f in range(3)] == [ramp(v).name() for v in (0, 0.5, 1)]
        assert colour(3) == "#808080"
        assert colour(3, -5) != "#808080"
        greys = [np.dot(ramp(v).getRgb()[:3], (0.3, 0.59, 0.11)) for v in np.linspace(0, 1, 20)]
        assert (np.diff(greys) > 0).all()

    def test_of_more_frames_than_pixels_the_worst_shows(self, qtbot):
        strip = ScoreStrip(lambda frame: None)
        qtbot.addWidget(strip)
        values = np.ones(2000)
        values[1003] = 0
        strip.show_rows([StripRow("1", (1, 0, 0, 1), tuple(values))])
        strip.resize(200, strip.height())
        picture = strip.grab().toImage()
        ratio = picture.devicePixelRatio()
        row = [
            picture.pixelColor(x, round(strip.y_of(0) * ratio)).name()
            for x in range(picture.width())
        ]
        assert ramp(0).name() in row


class TestPanel:
    @pytest.fixture
    def viewer(self, make_napari_viewer, stack) -> Viewer:
        viewer = make_napari_viewer(show=True)
        viewer.add_image(stack, name="disc", scale=(3.0, 1.0, 1.0))
        viewer.dims.set_current_step(0, 2)
        return viewer

    @pytest.fixture
    def widget(self, viewer, model, cold) -> MedSAM2Widget:
        widget = MedSAM2Widget(viewer, make_session=session_maker(model))
        viewer.window.add_dock_widget(widget, name="MedSAM2")
        segmented(widget.controller)
        return widget

    @pytest.fixture
    def panel(self, viewer, widget, qtbot):
        panel = widget.compare
        assert not panel.compare.isVisible()
        truth = shifted()
        truth[2:, :9, :9] = 6
        viewer.add_labels(truth, name="truth", scale=(3.0, 1.0, 1.0))
        panel.toggle.click()
        qtbot.waitUntil(lambda: panel.truth.currentText() == "truth")
        return panel

    def compare(self, panel, widget, qtbot) -> None:
        widget.findChild(QScrollArea).ensureWidgetVisible(panel.compare)
        click(panel.compare, qtbot)
        qtbot.waitUntil(lambda: panel.strip.isVisible(), timeout=SHORT)
        widget.findChild(QScrollArea).ensureWidgetVisible(panel.strip)
        QApplication.processEvents()

    def test_texts(self, widget, panel, qtbot):
        assert not panel.table.isVisible()
        self.compare(panel, widget, qtbot)
        score = widget.controller.comparison.objects[0]
        row = [panel.table.item(0, c).text() for c in range(6)]
        assert panel.minimumSizeHint().width() <= 286
        assert row == ["1", "disc", "1", f"{score.dice:.3f}", f"{score.nsd:.3f}", "1"]
        assert panel.note.text() == (
            "True 6: not compared with any object\nWith truth; NSD at two pixels"
        )
        assert widget.message.text() == f"Compared with truth: mean Dice {score.dice:.3f}"
        widget.controller.rename_object(1, "ball")
        qtbot.waitUntil(lambda: panel.table.item(0, 1).text() == "ball")
        widget.controller.undo()
        qtbot.waitUntil(lambda: panel.table.item(0, 1).text() == "disc")
        assert "changed" not in panel.note.text()
        widget.controller.undo()
        qtbot.waitUntil(lambda: panel.note.text().startswith("Labels have changed since"))
        panel.toggle.click()
        assert panel.toggle.text().startswith("▸ Compare – mean Dice")

    def test_an_object_without_partner_says_so(self, viewer, widget, panel, qtbot):
        widget.controller.session.labels[0, 60:, :4] = 4
        self.compare(panel, widget, qtbot)
        assert [panel.table.item(1, c).text() for c in range(6)] == ["4", "", "none"] + ["–"] * 3
        assert "none: the truth has nothing where this object is" in panel.note.text()

    def test_a_click_on_the_strip_moves_the_slider(self, viewer, widget, panel, qtbot):
        self.compare(panel, widget, qtbot)
        strip = panel.strip
        assert strip.current == 2
        where = QPoint(round(strip.x_of(4)), round(strip.y_of(0)))
        QTest.mouseClick(strip, Qt.MouseButton.LeftButton, pos=where)
        assert viewer.dims.current_step[0] == 4
        assert strip.current == 4
        viewer.dims.set_current_step(0, 1)
        assert strip.current == 1

    def test_the_tip(self, widget, panel, qtbot):
        self.compare(panel, widget, qtbot)
        strip = panel.strip
        where = QPoint(round(strip.x_of(3)), round(strip.y_of(0)))
        event = QHelpEvent(QEvent.Type.ToolTip, where, strip.mapToGlobal(where))
        QApplication.sendEvent(strip, event)
        value = widget.controller.comparison.objects[0].frame_dice[3]
        assert QToolTip.text() == f"frame 3: Dice {value:.2f}\n1 disc"

    def test_the_strip_shows_either_measure(self, widget, panel, qtbot):
        self.compare(panel, widget, qtbot)
        (score,) = widget.controller.comparison.objects
        assert panel.strip.rows[0].values == score.frame_dice
        panel.measure.setFocus()
        QTest.keyClick(panel.measure, Qt.Key.Key_Down)
        assert panel.measure.currentText() == "NSD"
        assert panel.strip.rows[0].values == score.frame_nsd != score.frame_dice
        strip = panel.strip
        told = strip.told(strip.x_of(2), strip.y_of(0))
        assert told == f"frame 2: NSD {score.frame_nsd[2]:.2f}\n1 disc"

    def test_layers_that_come_and_go(self, viewer, widget, panel, qtbot):
        second = viewer.add_labels(shifted(), name="second")
        qtbot.waitUntil(lambda: panel.truth.count() == 2)
        assert panel.truth.currentText() == "truth"
        second.name = "better"
        qtbot.waitUntil(lambda: panel.truth.itemText(1) == "better")
        self.compare(panel, widget, qtbot)
        viewer.layers.remove("truth")
        qtbot.waitUntil(lambda: panel.truth.currentText() == "better")
        qtbot.waitUntil(lambda: "have changed since" in panel.note.text())
        viewer.layers.remove("better")
        qtbot.waitUntil(lambda: not panel.compare.isEnabled())
        assert panel.truth.currentText() == "add the truth as a labels layer"

    def test_the_widget_closed_meanwhile(self, viewer, widget, panel, held, qtbot):
        click(panel.compare, qtbot)
        qtbot.waitUntil(lambda: panel.compare.text() == "Comparing…")
        assert not panel.compare.isEnabled()
        controller = widget.controller
        viewer.window.remove_dock_widget(widget)
        assert not controller.comparer.is_busy
        held.set()
        assert not controller.poll()
        viewer.layers["truth"].data = shifted(5)
        viewer.dims.set_current_step(0, 0)
