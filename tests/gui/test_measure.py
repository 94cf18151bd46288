"""Measuring in the window: the table, the diameters on the image, the file."""

from __future__ import annotations

import csv
import math
import threading

import numpy as np
import pytest
from napari.components import ViewerModel
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QFileDialog, QScrollArea
from tests.gui.common import texts
from tests.gui.conftest import BOX, session_maker
from tests.gui.hands import push

from napari_medsam2 import Volume
from napari_medsam2.gui import measuring as module
from napari_medsam2.gui.controller import Controller
from napari_medsam2.gui.layers import METADATA_KEY
from napari_medsam2.gui.widget import MedSAM2Widget
from napari_medsam2.measure_objects import measure_objects

LINES = "disc diameters"


def segmented(controller: Controller) -> np.ndarray:
    """The disc on slices 1 to 3, and a bar of 4 x 12 pixels as object 5 on slice 4."""
    controller.session.add_box(1, BOX, object_id=1, name="disc")
    controller.propagate(start=1, stop=4)
    assert controller.wait(10)
    labels = controller.session.labels
    labels[4, 50:54, 10:22] = 5
    return labels


def measured(controller: Controller):
    assert controller.measure()
    assert controller.wait(10)
    assert controller.last_error is None
    return controller.measurer.table


def in_millimetres(stack, model) -> tuple[ViewerModel, Controller]:
    volume = Volume(stack, "zyx", spacing=(5.0, 0.5, 0.25), units=("mm",) * 3, name="disc")
    viewer = ViewerModel()
    viewer.add_image(stack, name="disc", metadata={METADATA_KEY: {"volume": volume}})
    viewer.dims.set_current_step(0, 2)
    return viewer, Controller(viewer, session_maker(model))


class TestNumbers:
    def test_they_are_those_of_the_engine(self, controller):
        labels = segmented(controller)
        session = controller.session
        table = measured(controller)
        again = measure_objects(labels, session.stack, {1: "disc"}, session.scores)
        # Compared as text, for nan is not equal to itself.
        assert [str(m) for m in table] == [str(m) for m in again]
        assert [(m.object_id, m.name, m.voxels) for m in table] == [
            (1, "disc", int((labels == 1).sum())),
            (5, "", 48),
        ]
        assert table[0].intensity.mean == 200
        assert table[0].n_frames == 3

    def test_in_millimetres(self, stack, model):
        _, controller = in_millimetres(stack, model)
        segmented(controller)
        _, bar = measured(controller)
        assert (bar.size, bar.size_unit) == (48 * 5 * 0.5 * 0.25, "mm3")
        # 4 rows and 11 columns apart, from the middle of a pixel's side to that of another's.
        assert bar.diameters.long.length == pytest.approx(math.hypot(4 * 0.5, 11 * 0.25))
        controller.close()

    def test_of_a_movie_at_every_time_point(self, stack, model):
        viewer = ViewerModel()
        viewer.add_image(stack, axis_labels=("t", "y", "x"))
        controller = Controller(viewer, session_maker(model))
        segmented(controller)
        table = measured(controller)
        assert [(m.object_id, m.time) for m in table] == [(1, 1), (1, 2), (1, 3), (5, 4)]
        controller.close()

    def test_nothing_to_measure(self, controller, notes):
        assert not controller.measure()
        assert "nothing to measure yet" in texts(notes)[-1]


class TestState:
    def test_stale_once_labels_change(self, controller):
        segmented(controller)
        measured(controller)
        assert not controller.measurer.is_stale
        controller.rename_object(1, "ball")
        assert not controller.measurer.is_stale
        controller.remove_object(1)
        assert controller.measurer.is_stale
        table = measured(controller)
        assert not controller.measurer.is_stale
        assert [m.object_id for m in table] == [5]

    def test_stale_after_painting_or_without_the_layer(self, controller, viewer_model):
        segmented(controller)
        measured(controller)
        layer = viewer_model.layers["disc [MedSAM2]"]
        layer.data_setitem((np.array([0]), np.array([3]), np.array([3])), 7)
        assert controller.measurer.is_stale
        measured(controller)
        viewer_model.layers.remove(layer)
        assert controller.measurer.is_stale

    def test_each_image_has_its_own(self, controller, viewer_model, stack):
        segmented(controller)
        measured(controller)
        other = viewer_model.add_image(stack, name="other")
        controller.bench.use(other)
        assert controller.measurer.table is None
        controller.bench.use(viewer_model.layers["disc"])
        assert controller.measurer.table is not None
        viewer_model.layers.remove("disc")
        assert controller.measurer.table is None

    def test_the_window_changes_images_meanwhile(self, controller, viewer_model, stack, held):
        segmented(controller)
        assert controller.measure()
        assert controller.measurer.is_busy
        controller.bench.use(viewer_model.add_image(stack, name="other"))
        held.set()
        assert controller.wait(10)
        assert not controller.measurer.is_busy
        assert controller.measurer.table is None

    def test_an_error_in_the_thread_is_told(self, controller, notes, monkeypatch):
        segmented(controller)

        def fail(*args):
            raise RuntimeError("disk on fire")
            yield

        monkeypatch.setattr(module, "measure_objects", fail)
        controller.measure()
        assert controller.wait(10)
        assert "disk on fire" in texts(notes)[-1]
        assert not controller.measurer.is_busy


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch):
    """Measuring that waits in its thread until the test lets it go on."""
    gate, real = threading.Event(), measure_objects

    def wait_and_measure(*args):
        gate.wait(30)
        yield from real(*args)

    monkeypatch.setattr(module, "measure_objects", wait_and_measure)
    yield gate
    gate.set()


class TestDiameters:
    def test_lines_lie_on_the_object(self, stack, model):
        viewer, controller = in_millimetres(stack, model)
        labels = segmented(controller)
        _, bar = measured(controller)
        controller.measurer.show_lines(True)
        layer = viewer.layers[LINES]
        assert len(layer.data) == 4
        long, short = layer.data[2:]
        assert (long[:, 0] == 4).all()
        spacing = np.array((5.0, 0.5, 0.25))
        for drawn, line in ((long, bar.diameters.long), (short, bar.diameters.short)):
            assert np.linalg.norm((drawn[1] - drawn[0]) * spacing) == pytest.approx(line.length)
            middle = tuple(np.floor(drawn.mean(axis=0) + 0.5).astype(int))
            assert labels[middle] == 5
        controller.measurer.show_lines(False)
        assert LINES not in viewer.layers
        controller.close()

    def test_on_slices_of_another_axis_and_at_a_time_point(self, stack, model):
        viewer = ViewerModel()
        viewer.add_image(np.stack([stack, stack]), name="disc")
        viewer.dims.set_current_step(0, 1)
        viewer.dims.order = (0, 2, 1, 3)
        controller = Controller(viewer, session_maker(model))
        assert (controller.session.stack.axis, controller.session.stack.at) == (2, (1,))
        controller.session.labels[1, 1:4, 20:40, 33] = 3
        controller.bench.desk.show_results()
        (rod,) = measured(controller)
        assert (rod.axis, rod.time) == ("y", 1)
        controller.measurer.show_lines(True)
        long = viewer.layers[LINES].data[0]
        assert (long[:, 0] == 1).all()
        assert (long[:, 2] == rod.diameters.frame).all()
        assert sorted(long[:, 1]) == [0.5, 3.5]
        assert (long[:, 3] == 33).all()
        controller.close()

    def test_they_follow_when_measured_again_and_may_be_removed(self, controller, viewer_model):
        labels = segmented(controller)
        measured(controller)
        controller.measurer.show_lines(True)
        layer = viewer_model.layers[LINES]
        labels[4, 50:54, 22:40] = 5
        measured(controller)
        assert viewer_model.layers[LINES] is layer
        assert len(layer.edge_color) == layer.nshapes == 2 * len(controller.measurer.table)
        long = viewer_model.layers[LINES].data[2]
        assert abs(long[1, 2] - long[0, 2]) == 30
        viewer_model.layers.remove(LINES)
        assert not controller.measurer.shows_lines

    def test_going_to_the_slice(self, controller, viewer_model):
        segmented(controller)
        _, bar = measured(controller)
        controller.measurer.go_to(bar)
        assert viewer_model.dims.current_step[0] == 4


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
        assert not widget.measure.measure.isEnabled()
        segmented(widget.controller)
        widget.measure.toggle.click()
        qtbot.waitUntil(widget.measure.measure.isVisible)
        return widget.measure

    def measure(self, widget, panel, qtbot) -> None:
        push(widget, panel.measure, qtbot)
        qtbot.waitUntil(lambda: panel.table.isVisible() and panel.measure.isEnabled())
        widget.findChild(QScrollArea).ensureWidgetVisible(panel.table)

    def cells(self, panel) -> list[list[str]]:
        model = panel.table.model()
        rows, columns = range(model.rowCount()), range(model.columnCount())
        return [[model.data(model.index(r, c)) for c in columns] for r in rows]

    def test_the_table(self, widget, panel, qtbot):
        assert not panel.save.isEnabled()
        assert not panel.table.isVisible()
        self.measure(widget, panel, qtbot)
        disc, bar = self.cells(panel)
        voxels = int((widget.controller.session.labels == 1).sum())
        assert disc[:3] == ["1", "disc", f"{3 * voxels:,}"]
        assert bar == ["5", "", "144.0", "12.4", "4.12", "20.0"]
        horizontal = Qt.Orientation.Horizontal
        model = panel.table.model()
        assert [model.headerData(c, horizontal) for c in range(6)] == [
            *("Id", "Name", "Volume\npx³", "Long\npx", "Short\npx", "Mean")
        ]
        tip = model.data(model.index(1, 0), Qt.ItemDataRole.ToolTipRole)
        assert "48 pixels, 144.0 px³" in tip
        assert "1 connected part" in tip
        assert "diameters on z 4" in tip
        assert widget.message.text() == "Measured 2 objects"
        assert panel.note.text() == "In pixels: the image states no unit of length"
        assert panel.minimumSizeHint().width() <= 286

    def test_it_says_when_it_is_stale(self, widget, panel, qtbot):
        self.measure(widget, panel, qtbot)
        widget.controller.remove_object(1)
        qtbot.waitUntil(lambda: panel.note.text().startswith("Labels have changed since"))
        panel.toggle.click()
        assert "labels have changed since" in panel.toggle.text()
        panel.toggle.click()
        push(widget, panel.measure, qtbot)
        qtbot.waitUntil(lambda: len(self.cells(panel)) == 1)
        assert "changed" not in panel.note.text()

    def test_a_click_goes_to_the_slice(self, widget, panel, qtbot):
        self.measure(widget, panel, qtbot)
        model, table = panel.table.model(), panel.table
        where = table.visualRect(model.index(1, 1)).center()
        QTest.mouseClick(table.viewport(), Qt.MouseButton.LeftButton, pos=QPoint(where))
        assert widget.controller.viewer.dims.current_step[0] == 4

    def test_what_is_large_is_told_in_millilitres(self, stack, model, qtbot):
        from napari_medsam2.gui.measure_panel import MeasurePanel

        _, controller = in_millimetres(stack, model)
        labels = segmented(controller)
        labels[2:4] = 1
        measured(controller)
        panel = MeasurePanel(controller)
        qtbot.addWidget(panel)
        panel.refresh()
        horizontal = Qt.Orientation.Horizontal
        assert panel.model.headerData(2, horizontal) == "Volume\nml"
        disc, _ = self.cells(panel)
        cubic = int((labels == 1).sum()) * 5.0 * 0.5 * 0.25
        assert float(disc[2]) == pytest.approx(cubic / 1000, abs=0.005)
        controller.close()

    def test_lines_come_and_go(self, widget, panel, qtbot):
        viewer = widget.controller.viewer
        self.measure(widget, panel, qtbot)
        push(widget, panel.lines, qtbot)
        assert LINES in viewer.layers
        viewer.layers.remove(LINES)
        qtbot.waitUntil(lambda: not panel.lines.isChecked())
        push(widget, panel.lines, qtbot)
        push(widget, panel.lines, qtbot)
        assert LINES not in viewer.layers

    def test_saving(self, widget, panel, qtbot, tmp_path, monkeypatch):
        self.measure(widget, panel, qtbot)
        asked = []

        def choose(parent, title, name, kinds):
            asked.append(name)
            return str(tmp_path / "table"), kinds

        monkeypatch.setattr(QFileDialog, "getSaveFileName", choose)
        push(widget, panel.save, qtbot)
        path = tmp_path / "table.csv"
        qtbot.waitUntil(path.is_file)
        assert asked[0].endswith("disc_measurements.csv")
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [(r["object"], r["name"], r["voxels"]) for r in rows][1] == ("5", "", "48")
        assert rows[0]["name"] == "disc"
        assert (rows[1]["bbox"], rows[1]["slice"]) == ("4:5 50:54 10:22", "z 4")
        qtbot.waitUntil(lambda: widget.message.text() == f"Saved {path}")

    def test_the_widget_closed_meanwhile(self, widget, panel, held, qtbot):
        push(widget, panel.measure, qtbot)
        qtbot.waitUntil(lambda: panel.measure.text() == "Measuring…")
        controller = widget.controller
        controller.viewer.window.remove_dock_widget(widget)
        assert not controller.measurer.is_busy
        held.set()
        assert not controller.poll()


def test_a_long_movie_fills_no_table_with_rows_that_nobody_sees(qtbot, stack, model):
    from napari_medsam2.gui.measure_panel import MeasurePanel

    n = 1000
    movie = np.zeros((n, 8, 8), np.uint8)
    viewer = ViewerModel()
    viewer.add_image(movie, name="movie", axis_labels=("t", "y", "x"))
    controller = Controller(viewer, session_maker(model))
    controller.session.labels[:, 2:4, 2:4] = 1
    controller.bench.desk.show_results()
    assert len(measured(controller)) == n
    panel = MeasurePanel(controller)
    qtbot.addWidget(panel)
    panel.toggle.click()
    panel.show()
    asked = []
    real = panel.model.data

    def count(index, role=Qt.ItemDataRole.DisplayRole):
        asked.append(index.row())
        return real(index, role)

    panel.model.data = count
    panel.refresh()
    panel.table.grab()
    assert len(set(asked)) < 40
    assert panel.model.data(panel.model.index(n - 1, 2)) == str(n - 1)
    controller.close()
