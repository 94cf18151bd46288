"""The panel that segments and propagates, by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from qtpy.QtCore import QPoint, Qt
from qtpy.QtTest import QTest
from tests.gui.common import filled
from tests.gui.conftest import BOX, session_maker
from tests.gui.hands import click, press

from napari_medsam2.gui.widget import MedSAM2Widget

if TYPE_CHECKING:
    from napari.viewer import Viewer

    from napari_medsam2.gui.controller import Controller
    from napari_medsam2.gui.segment_panel import SegmentPanel

LEFT = Qt.MouseButton.LeftButton


@pytest.fixture
def viewer(make_napari_viewer, stack) -> Viewer:
    viewer = make_napari_viewer(show=True)
    viewer.add_image(stack, name="disc", scale=(3.0, 1.0, 1.0))
    viewer.dims.set_current_step(0, 2)
    return viewer


def docked(viewer: Viewer, model) -> MedSAM2Widget:
    widget = MedSAM2Widget(viewer, make_session=session_maker(model))
    viewer.window.add_dock_widget(widget, name="MedSAM2")
    widget.controller.segment_while_drawing = False
    return widget


@pytest.fixture
def panel(viewer, model, cold, qtbot) -> SegmentPanel:
    widget = docked(viewer, model)
    qtbot.waitUntil(widget.segment.range.isEnabled)
    return widget.segment


@pytest.fixture
def controller(panel) -> Controller:
    panel._controller.session.add_box(2, BOX)
    return panel._controller


def drag(slider, start: float, end: float) -> None:
    """Drag on a slider, from and to a part of its width."""
    first, last = (
        QPoint(round(x * (slider.width() - 1)), slider.height() // 2) for x in (start, end)
    )
    QTest.mousePress(slider, LEFT, pos=first)
    QTest.mouseMove(slider, (first + last) / 2)
    QTest.mouseMove(slider, last)
    QTest.mouseRelease(slider, LEFT, pos=last)


def write(spin, text: str) -> None:
    spin.setFocus()
    spin.selectAll()
    QTest.keyClicks(spin, text)
    QTest.keyClick(spin, Qt.Key.Key_Return)


def propagated(panel, controller, qtbot) -> list[bool]:
    click(panel.propagate, qtbot)
    assert controller.wait(10)
    return filled(controller)


class TestRange:
    def test_a_handle_is_dragged(self, panel, controller, qtbot):
        drag(panel.range.slider, 0.02, 0.5)
        assert panel.range.value == (2, 4)
        assert (panel.range.first.value(), panel.range.last.value()) == (2, 4)
        drag(panel.range.slider, 0.98, 0.75)
        assert panel.range.value == (2, 3)
        assert propagated(panel, controller, qtbot) == [False, False, True, True, False]

    def test_numbers_are_written_in_either_order_and_taken_back(self, panel, controller, qtbot):
        assert not panel.range.whole.isEnabled()
        write(panel.range.first, "3")
        write(panel.range.last, "1")
        assert panel.range.value == (1, 3)
        assert panel.range.first.value() == 1
        assert propagated(panel, controller, qtbot) == [False, True, True, True, False]
        click(panel.range.whole, qtbot)
        assert panel.range.value == (0, 4)
        assert all(propagated(panel, controller, qtbot))

    def test_another_axis_begins_whole_again(self, panel, controller, viewer, qtbot):
        drag(panel.range.slider, 0.02, 0.5)
        viewer.dims.order = (1, 0, 2)
        qtbot.waitUntil(lambda: panel.range.value == (0, 63))
        viewer.dims.order = (0, 1, 2)
        qtbot.waitUntil(lambda: panel.range.value == (2, 4))

    def test_thousands_of_frames_have_room(self, panel):
        panel.range.show_range(100, 12_345, 20_000)
        assert panel.minimumSizeHint().width() <= 300 - 14


class TestRuns:
    def test_pause_look_resume(self, viewer, gated, cold, qtbot):
        widget = docked(viewer, gated)
        panel, controller = widget.segment, widget.controller
        controller.session.add_box(0, BOX)
        click(panel.propagate, qtbot)
        gated.open(2)
        qtbot.waitUntil(lambda: panel.bar.value() == 2, timeout=10_000)
        click(panel.pause, qtbot)
        qtbot.waitUntil(lambda: panel.pause.text() == "Resume")
        gated.open()
        qtbot.waitUntil(lambda: len(gated.embedded) == 3)
        assert panel.bar.format() == "paused at frame 2 of 5"
        for at in (4, 0):
            viewer.dims.set_current_step(0, at)
        qtbot.wait(60)
        assert filled(controller) == [True, True, False, False, False]
        click(panel.pause, qtbot)
        qtbot.waitUntil(lambda: controller.state == "idle", timeout=10_000)
        assert all(filled(controller))
        qtbot.waitUntil(lambda: not panel.pause.isEnabled() and panel.pause.text() == "Pause")

    def test_keys_pause_and_stop(self, viewer, gated, cold, qtbot):
        widget = docked(viewer, gated)
        panel, controller = widget.segment, widget.controller
        controller.session.add_box(0, BOX)
        click(panel.propagate, qtbot)
        gated.open(2)
        qtbot.waitUntil(lambda: sum(filled(controller)) == 2, timeout=10_000)
        press(viewer, Qt.Key.Key_H)
        assert controller.is_paused
        press(viewer, Qt.Key.Key_H)
        assert controller.state == "running"
        press(viewer, Qt.Key.Key_H)
        qtbot.waitUntil(panel.stop.isEnabled)
        gated.open()
        press(viewer, Qt.Key.Key_Escape)
        qtbot.waitUntil(lambda: controller.state == "idle", timeout=10_000)
        assert filled(controller) == [True, True, False, False, False]
        assert "Stopped after 2 of 5" in widget.message.text()

    def test_the_selected_object_alone_forward_and_for_how_long(self, panel, controller, qtbot):
        controller.session.add_box(2, (0, 0, 30, 52), 2)
        click(panel.only_object, qtbot)
        panel.way.setCurrentIndex(1)
        write(panel.patience, "3")
        assert panel.patience.text() == "3 frames"
        assert propagated(panel, controller, qtbot) == [False, False, True, True, True]
        assert not any(filled(controller, 2))
        assert controller.session.runs[-1].patience == 3
        write(panel.patience, "0")
        assert panel.patience.text() == "automatic"
        assert controller.course.patience is None


class TestSteps:
    def test_keys_carry_from_slice_to_slice(self, panel, controller, viewer, qtbot):
        shift, control = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.ControlModifier
        press(viewer, Qt.Key.Key_Right, shift)
        assert controller.wait(10)
        assert viewer.dims.current_step[0] == 3
        assert filled(controller) == [False, False, False, True, False]
        viewer.dims.set_current_step(0, 2)
        press(viewer, Qt.Key.Key_Left, shift)
        assert controller.wait(10)
        assert viewer.dims.current_step[0] == 1
        press(viewer, Qt.Key.Key_Left, control | shift)
        assert controller.wait(10)
        assert filled(controller) == [True, True, False, True, False]
        # The arrows alone are still napari's.
        press(viewer, Qt.Key.Key_Right)
        assert viewer.dims.current_step[0] == 2

    def test_buttons_say_where_they_go(self, panel, controller, viewer, qtbot):
        back_to_prompt, back, on, on_to_prompt = panel.steps
        controller.session.add_box(0, BOX)
        click(back_to_prompt, qtbot)
        assert controller.wait(10)
        assert filled(controller) == [False, True, True, False, False]
        click(on, qtbot)
        assert controller.wait(10)
        assert viewer.dims.current_step[0] == 3
        click(on_to_prompt, qtbot)
        assert controller.wait(10)
        assert filled(controller) == [False, True, True, True, True]
        viewer.dims.set_current_step(0, 1)
        click(back, qtbot)
        assert controller.wait(10)
        assert viewer.dims.current_step[0] == 0
        assert all(filled(controller))

    def test_in_a_turned_view(self, panel, controller, viewer, qtbot):
        viewer.dims.order = (1, 0, 2)
        viewer.dims.set_current_step(1, 30)
        controller.session.add_box(30, (0, 28, 5, 52))
        press(viewer, Qt.Key.Key_Right, Qt.KeyboardModifier.ShiftModifier)
        assert controller.wait(10)
        assert viewer.dims.current_step[1] == 31
        assert controller.session.labels[:, 31].any()
        assert not controller.session.labels[:, [30, 32]].any()


@pytest.mark.parametrize("theme", ["dark", "light"])
def test_nothing_is_cut_off(panel, viewer, theme, qtbot):
    viewer.theme = theme
    qtbot.wait(20)
    assert panel.minimumSizeHint().width() <= 300 - 14
    for push in (*panel.steps, panel.pause, panel.stop, panel.undo, panel.redo):
        room = push.width() - push.fontMetrics().horizontalAdvance(push.text())
        assert room >= 2, push.text()
