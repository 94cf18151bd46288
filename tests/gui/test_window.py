"""The widget in a real napari window: mouse, keys, notifications, closing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from tests.gui.common import filled
from tests.gui.conftest import BOX, disc, rectangle, session_maker
from tests.gui.hands import canvas, click, drag, pixel, press

import napari_medsam2 as nm
from napari_medsam2.gui import widget as widget_module
from napari_medsam2.gui.keys import KEYS
from napari_medsam2.gui.objects_table import ID, NAME
from napari_medsam2.gui.widget import MedSAM2Widget

if TYPE_CHECKING:
    from napari.viewer import Viewer

PLUGIN = ("napari-medsam2", "MedSAM2")
LONG = 120_000  # milliseconds; the real model on a slow machine


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


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return float(2 * (a & b).sum() / (a.sum() + b.sum()))


@pytest.fixture
def bright(make_napari_viewer):
    """A viewer on four noisy slices with a bright disc that moves, and where it is."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :112]
    truth = np.stack([np.hypot(y - 48, x - 56 - z) < 17 for z in range(4)])
    image = rng.normal(60, 6, truth.shape)
    image[truth] += 100
    viewer = make_napari_viewer(show=True)
    viewer.add_image(image.astype(np.float32), name="ct")
    viewer.dims.set_current_step(0, 1)
    return viewer, truth


def test_a_box_drawn_with_the_mouse_is_segmented_propagated_and_undone(bright, qtbot):
    viewer, truth = bright
    _, widget = viewer.window.add_plugin_dock_widget(*PLUGIN)
    controller = widget.controller
    widget.segment.while_drawing.setChecked(False)
    press(viewer, Qt.Key.Key_B)
    boxes = viewer.layers["ct boxes"]
    assert viewer.layers.selection.active is boxes
    drag(viewer, qtbot, (27.5, 36.5), (68.5, 77.5))
    assert boxes.nshapes == 1
    press(viewer, Qt.Key.Key_S)
    labels = viewer.layers["ct [MedSAM2]"]
    qtbot.waitUntil(lambda: bool(labels.data[1].any()), timeout=LONG)
    assert dice(labels.data[1] == 1, truth[1]) > 0.95
    assert not labels.data[[0, 2, 3]].any()

    qtbot.waitUntil(widget.segment.propagate.isEnabled, timeout=LONG)
    widget.segment.propagate.click()
    assert controller.state == "loading"
    qtbot.waitUntil(lambda: controller.state == "idle", timeout=LONG)
    scores = [dice(labels.data[z] == 1, truth[z]) for z in range(4)]
    assert min(scores) > 0.9, scores

    (prompt,) = controller.session.prompts[1].prompts
    assert np.abs(np.array(prompt.box) - (28, 37, 69, 78)).max() <= 1
    image = nm.Volume(np.asarray(viewer.layers["ct"].data), axes="zyx")
    alone = nm.segment(image, controller.session.prompts)
    np.testing.assert_array_equal(labels.data, alone)

    press(viewer, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    press(viewer, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert not labels.data.any()
    assert boxes.nshapes == 1
    press(viewer, Qt.Key.Key_Z, Qt.KeyboardModifier.ControlModifier)
    assert boxes.nshapes == 0


def test_drawing_previews_the_slice_and_a_click_draws_nothing(viewer, widget, qtbot):
    press(viewer, Qt.Key.Key_B)
    drag(viewer, qtbot, (17.6, 27.6), (41.4, 51.4))
    labels = viewer.layers["disc [MedSAM2]"]
    qtbot.waitUntil(lambda: bool(labels.data[2].any()), timeout=10_000)
    np.testing.assert_array_equal(labels.data[2] == 1, disc())
    QTest.mouseClick(canvas(viewer), Qt.MouseButton.LeftButton, pos=pixel(viewer, 5, 5))
    assert viewer.layers["disc boxes"].nshapes == 2
    qtbot.waitUntil(lambda: viewer.layers["disc boxes"].nshapes == 1, timeout=10_000)


def test_clicks_are_positive_and_with_shift_or_t_negative(viewer, widget, qtbot):
    widget.controller.session.add_box(2, BOX)
    press(viewer, Qt.Key.Key_P)
    points = viewer.layers["disc points"]
    click = QTest.mouseClick
    left = Qt.MouseButton.LeftButton
    click(canvas(viewer), left, pos=pixel(viewer, 30, 40))
    click(canvas(viewer), left, Qt.KeyboardModifier.ShiftModifier, pixel(viewer, 20, 30))
    press(viewer, Qt.Key.Key_T)
    click(canvas(viewer), left, pos=pixel(viewer, 40, 50))
    assert list(points.features["polarity"]) == ["positive", "negative", "negative"]
    assert [s.value for s in points.symbol] == ["disc", "x", "x"]
    qtbot.waitUntil(lambda: widget.tools.polarity.text() == "Beside it")


def test_points_alone_bring_a_notification_with_the_reason(viewer, qtbot, notes, cold):
    _, widget = viewer.window.add_plugin_dock_widget(*PLUGIN)
    widget.controller.bench.configure(model="litemedsam")
    press(viewer, Qt.Key.Key_P)
    QTest.mouseClick(canvas(viewer), Qt.MouseButton.LeftButton, pos=pixel(viewer, 30, 40))
    qtbot.waitUntil(lambda: len(notes) > 0, timeout=LONG)
    assert [n.severity.value for n in notes] == ["warning"]
    assert "LiteMedSAM needs a box" in notes[0].message
    assert "LiteMedSAM needs a box" in widget.message.text()


def test_undo_and_redo_keys(viewer, widget, qtbot):
    press(viewer, Qt.Key.Key_B)
    drag(viewer, qtbot, (17.6, 27.6), (41.4, 51.4))
    labels = viewer.layers["disc [MedSAM2]"]
    qtbot.waitUntil(lambda: bool(labels.data[2].any()), timeout=10_000)
    qtbot.waitUntil(lambda: widget.controller.state == "idle")
    control, shift = Qt.KeyboardModifier.ControlModifier, Qt.KeyboardModifier.ShiftModifier
    press(viewer, Qt.Key.Key_Z, control)
    assert not labels.data.any()
    press(viewer, Qt.Key.Key_Z, control | shift)
    np.testing.assert_array_equal(labels.data[2] == 1, disc())
    # On the result layer too, where what was painted is a step of its own.
    viewer.layers.selection.active = labels
    press(viewer, Qt.Key.Key_Z, control)
    assert not labels.data.any()
    labels.mode = "paint"
    labels.data_setitem((np.array([2]), np.array([5]), np.array([5])), 9)
    press(viewer, Qt.Key.Key_Z, control)
    assert not labels.data.any()
    assert widget.controller.session.redo_text == "paint object 9"


def test_new_object_key_and_table(viewer, widget, qtbot):
    widget.controller.session.add_box(2, BOX, name="first")
    press(viewer, Qt.Key.Key_N)
    assert widget.controller.tools.object_id == 2
    qtbot.waitUntil(lambda: widget.objects.table.rowCount() == 2)
    table = widget.objects.table
    assert [table.item(r, ID).text() for r in range(2)] == ["1", "2"]
    assert table.item(0, NAME).text() == "first"
    table.setCurrentCell(0, NAME)
    assert widget.controller.tools.object_id == 1
    table.item(0, NAME).setText("liver")
    assert widget.controller.session.prompts[1].name == "liver"
    click(widget.objects.delete, qtbot)
    qtbot.waitUntil(lambda: table.rowCount() == 1)


def test_the_stop_button_and_the_bar(viewer, gated, cold, qtbot):
    widget = MedSAM2Widget(viewer, make_session=session_maker(gated))
    viewer.window.add_dock_widget(widget, name="MedSAM2")
    widget.controller.session.add_box(0, BOX)
    widget.segment.propagate.click()
    gated.open(2)
    qtbot.waitUntil(lambda: widget.segment.bar.value() == 2, timeout=10_000)
    assert widget.segment.bar.format().startswith("frame 2 of 5")
    qtbot.waitUntil(lambda: not widget.segment.propagate.isEnabled())
    widget.segment.stop.click()
    gated.open(1)
    qtbot.waitUntil(lambda: widget.controller.state == "idle", timeout=10_000)
    qtbot.waitUntil(lambda: widget.segment.propagate.isEnabled())
    done = [bool(frame.any()) for frame in viewer.layers["disc [MedSAM2]"].data]
    assert sum(done) in (2, 3)
    assert f"Stopped after {sum(done)} of 5" in widget.message.text()


def test_a_quick_answer_is_shown_once_and_a_slow_one_as_work_in_between(
    viewer, gated, cold, qtbot, monkeypatch
):
    monkeypatch.setattr(widget_module, "_ANSWER_MS", 60_000)
    widget = MedSAM2Widget(viewer, make_session=session_maker(gated))
    viewer.window.add_dock_widget(widget, name="MedSAM2")
    widget.controller.use_box_tool()
    widget.controller.wait(10)
    qtbot.waitUntil(lambda: not widget._refresh_later.isActive())
    shown: list[str] = []
    widget.segment.refresh = lambda: shown.append(widget.controller.state)  # type: ignore[method-assign]
    boxes = viewer.layers["disc boxes"]
    gated.open(1)
    boxes.add_rectangles(rectangle(2))
    qtbot.waitUntil(lambda: widget.controller.state == "idle" and filled(widget.controller)[2])
    qtbot.waitUntil(lambda: not widget._refresh_later.isActive())
    assert set(shown) == {"idle"}
    shown.clear()
    monkeypatch.setattr(widget_module, "_ANSWER_MS", 1)
    viewer.dims.set_current_step(0, 3)
    boxes.add_rectangles(rectangle(3))
    qtbot.waitUntil(lambda: "loading" in shown or "running" in shown)
    gated.open(1)
    qtbot.waitUntil(lambda: shown[-1] == "idle")


def test_choices_follow_layers_view_and_settings(viewer, widget, qtbot, stack):
    panel = widget.image
    texts = lambda choice: [choice.itemText(i) for i in range(choice.count())]  # noqa: E731
    assert texts(panel.axis) == ["slider: z", "z", "y", "x"]
    viewer.add_image(stack[0], name="plane")
    qtbot.waitUntil(lambda: texts(panel.image) == ["disc", "plane"])
    viewer.layers["plane"].name = "flat"
    qtbot.waitUntil(lambda: texts(panel.image) == ["disc", "flat"])
    viewer.dims.order = (1, 0, 2)
    qtbot.waitUntil(lambda: texts(panel.axis)[0] == "slider: y")
    panel.axis.setCurrentIndex(3)
    assert widget.controller.session.stack.axis == 2
    panel.intensities.setCurrentIndex(1)
    assert widget.controller.bench.settings.window == "display"
    panel.image.setCurrentIndex(1)
    assert widget.controller.bench.image is viewer.layers["flat"]
    viewer.layers.clear()
    qtbot.waitUntil(lambda: texts(panel.image) == ["open an image first"])
    qtbot.waitUntil(lambda: not widget.tools.buttons["box"].isEnabled())


def test_save_dialogs(viewer, widget, qtbot, tmp_path, monkeypatch):
    from napari_medsam2.gui import save_panel

    answers = {"Save labels": tmp_path / "a.nii.gz", "Save session": tmp_path / "b"}
    monkeypatch.setattr(
        save_panel.QFileDialog,
        "getSaveFileName",
        lambda parent, title, *_: (str(answers[title]), ""),
    )
    widget.controller.session.add_box(2, BOX)
    widget.controller.segment_slice()
    assert widget.controller.wait(10)
    qtbot.waitUntil(lambda: widget.save.labels.isEnabled())
    widget.save.labels.click()
    assert widget.controller.wait(10)
    qtbot.waitUntil(lambda: widget.save.session.isEnabled())
    widget.save.session.click()
    assert widget.controller.wait(10)
    assert (tmp_path / "a.nii.gz").is_file()
    assert (tmp_path / "b.medsam2.json").is_file()


def test_closing_the_dock_stops_the_run_and_gives_the_keys_back(viewer, gated, cold, qtbot):
    mine = lambda viewer: None  # noqa: E731
    viewer.bind_key("S", mine)
    before = dict(viewer.keymap)
    widget = MedSAM2Widget(viewer, make_session=session_maker(gated))
    dock = viewer.window.add_dock_widget(widget, name="MedSAM2")
    assert len(viewer.keymap) == len(KEYS)
    controller = widget.controller
    controller.session.add_box(0, BOX)
    controller.propagate()
    boxes = viewer.layers["disc boxes"]
    viewer.window.remove_dock_widget(dock)
    assert controller.state == "idle"
    assert dict(viewer.keymap) == before
    assert not boxes.keymap
    gated.open()
    assert not controller.poll()
    boxes.add_rectangles(rectangle(3))  # nobody listens any more
    # And it can be opened again, on the layers that are there.
    again = MedSAM2Widget(viewer, make_session=session_maker(gated))
    viewer.window.add_dock_widget(again, name="MedSAM2")
    assert again.controller.session.prompts.frames == (0, 3)
    press(viewer, Qt.Key.Key_B)
    assert viewer.layers.selection.active is boxes


def test_closing_the_window_in_mid_run(viewer, gated, cold):
    widget = MedSAM2Widget(viewer, make_session=session_maker(gated))
    viewer.window.add_dock_widget(widget, name="MedSAM2")
    controller = widget.controller
    controller.session.add_box(0, BOX)
    controller.propagate()
    assert controller.state == "loading"
    viewer.close()
    gated.open()
    assert controller.state == "idle"


def test_nothing_is_cut_off_at_300_pixels(viewer, widget, qtbot):
    room = 300 - 14  # beside a vertical scroll bar
    for panel in widget.panels:
        assert panel.minimumSizeHint().width() <= room, panel
