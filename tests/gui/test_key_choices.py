"""Keys that a person has chosen: bound, given back, and named in tips and hints."""

from __future__ import annotations

import pytest
from napari.settings import get_plugin_settings
from qtpy.QtCore import QEvent, QPoint, Qt
from qtpy.QtGui import QHelpEvent
from qtpy.QtWidgets import QApplication, QToolTip
from tests.gui.conftest import session_maker
from tests.gui.hands import press

from napari_medsam2.gui.actions import ACTIONS
from napari_medsam2.gui.key_tips import with_keys
from napari_medsam2.gui.keys import KEYS
from napari_medsam2.gui.preferences import DEFAULT_KEYS
from napari_medsam2.gui.widget import MedSAM2Widget


def chosen():
    return get_plugin_settings("napari-medsam2").keys


@pytest.fixture
def widget(make_napari_viewer, stack, model, cold) -> MedSAM2Widget:
    viewer = make_napari_viewer(show=True)
    viewer.add_image(stack, name="disc")
    widget = MedSAM2Widget(viewer, make_session=session_maker(model))
    viewer.window.add_dock_widget(widget, name="MedSAM2")
    return widget


def tip_shown(part) -> str:
    place = QPoint(3, 3)
    QApplication.sendEvent(part, QHelpEvent(QEvent.Type.ToolTip, place, part.mapToGlobal(place)))
    return QToolTip.text()


def test_a_key_chosen_in_preferences_works_at_once_and_the_old_one_no_more(widget):
    viewer, tools = widget.controller.viewer, widget.controller.tools
    press(viewer, Qt.Key.Key_B)
    assert tools.active == "box"
    chosen().lasso = "J"
    press(viewer, Qt.Key.Key_L)
    assert tools.active != "lasso"
    press(viewer, Qt.Key.Key_J)
    assert tools.active == "lasso"
    assert len(viewer.keymap) == len(KEYS)
    chosen().lasso = ""
    assert len(viewer.keymap) == len(KEYS) - 1


def test_the_keys_of_our_layers_change_and_are_given_back(widget):
    viewer = widget.controller.viewer
    press(viewer, Qt.Key.Key_B)
    boxes = viewer.layers["disc boxes"]
    chosen().box = "Control-J"
    assert {str(key) for key in boxes.keymap} >= {"Ctrl+J"}
    assert "B" not in {str(key) for key in boxes.keymap}
    widget.shut_down()
    assert not boxes.keymap
    assert not viewer.keymap


def test_remembered_keys_are_bound_when_the_widget_opens(make_napari_viewer, stack, model, cold):
    chosen().box = "Control-J"
    viewer = make_napari_viewer(show=True)
    viewer.add_image(stack, name="disc")
    widget = MedSAM2Widget(viewer, make_session=session_maker(model))
    viewer.window.add_dock_widget(widget, name="MedSAM2")
    press(viewer, Qt.Key.Key_J, Qt.KeyboardModifier.ControlModifier)
    assert widget.controller.tools.active == "box"


def test_tips_name_the_key_in_use(widget):
    push = widget.segment.slice
    assert "(S)" in tip_shown(push)
    chosen().segment = "Control-J"
    assert "(Ctrl+J)" in tip_shown(push)
    chosen().segment = ""
    assert "(" not in tip_shown(push)
    assert tip_shown(widget.save.toggle) == widget.save.toggle.toolTip()


@pytest.mark.parametrize(
    ("tip", "told"),
    [
        ("Take it back (Ctrl+Z)", "Take it back (Alt+U)"),
        ("Stop (Esc); go on (H)", "Stop (Esc); go on"),
        ("Volume (mm) or one (of several)", "Volume (mm) or one (of several)"),
    ],
)
def test_only_keys_in_brackets_are_replaced(tip, told):
    assert with_keys(tip, {**DEFAULT_KEYS, "undo": "Alt-U", "pause": ""}) == told


def test_no_two_actions_have_one_key():
    assert len({action.key for action in ACTIONS.values()}) == len(ACTIONS)
