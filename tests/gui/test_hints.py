"""The first steps, help, and a tooltip on everything that can be used."""

from __future__ import annotations

import pytest
from napari.settings import get_plugin_settings
from qtpy.QtCore import QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
    QScrollBar,
    QWidget,
)
from tests.gui.common import texts
from tests.gui.conftest import session_maker
from tests.gui.hands import click

from napari_medsam2.gui.documentation import HelpButton, docs_url
from napari_medsam2.gui.widget import MedSAM2Widget

PLUGIN = "napari-medsam2"
USABLE = (
    QAbstractButton,
    QAbstractItemView,
    QAbstractSlider,
    QAbstractSpinBox,
    QComboBox,
    QLineEdit,
)
# Parts of other widgets, which answer for them.
OWNERS = (QComboBox, QAbstractSpinBox, QAbstractItemView)


@pytest.fixture
def viewer(make_napari_viewer, stack):
    viewer = make_napari_viewer(show=True)
    viewer.add_image(stack, name="disc")
    return viewer


def dock(viewer, model) -> MedSAM2Widget:
    widget = MedSAM2Widget(viewer, make_session=session_maker(model))
    viewer.window.add_dock_widget(widget, name="MedSAM2")
    return widget


def is_part_of_another(widget: QWidget) -> bool:
    if isinstance(widget, QScrollBar):
        return True
    above = widget.parentWidget()
    while above is not None:
        if isinstance(above, OWNERS) and not widget.toolTip():
            return True
        above = above.parentWidget()
    return False


def test_everything_that_can_be_used_says_what_it_does(viewer, model, cold):
    widget = dock(viewer, model)
    for toggle in (b for b in widget.findChildren(QAbstractButton) if b.isCheckable()):
        if toggle.text().startswith("▸"):
            toggle.click()
    usable = [
        w
        for kind in USABLE
        for w in widget.findChildren(kind)
        if w.isVisibleTo(widget) and not is_part_of_another(w)
    ]
    assert len(usable) > 30
    silent = [
        f"{type(w).__name__} {w.objectName()} {getattr(w, 'text', str)()}"
        for w in usable
        if not w.toolTip()
    ]
    assert not silent


def test_the_first_steps_go_for_now_and_for_good(viewer, model, cold, qtbot):
    widget = dock(viewer, model)
    qtbot.waitUntil(widget.hints.isVisible)
    assert "(B)" in widget.hints.steps[0].text()
    click(widget.hints.close_button, qtbot)
    assert not widget.hints.isVisible()
    assert get_plugin_settings(PLUGIN).general.show_hints

    again = dock(viewer, model)
    qtbot.waitUntil(again.hints.isVisible)
    click(again.hints.decline, qtbot)
    assert not again.hints.isVisible()
    assert not get_plugin_settings(PLUGIN).general.show_hints
    assert not dock(viewer, model).hints.isVisible()


def test_preferences_bring_the_first_steps_back_with_the_keys_in_use(viewer, model, cold, qtbot):
    settings = get_plugin_settings(PLUGIN)
    settings.general.show_hints = False
    widget = dock(viewer, model)
    assert not widget.hints.isVisible()
    settings.keys.box = "Control-B"
    settings.general.show_hints = True
    qtbot.waitUntil(widget.hints.isVisible)
    assert "(Ctrl+B)" in widget.hints.steps[0].text()


def test_what_is_chosen_in_the_widget_is_remembered(viewer, model, cold):
    widget = dock(viewer, model)
    device = widget.models.device
    device.setCurrentIndex(device.findData("cpu"))
    widget.segment.while_drawing.setChecked(False)
    assert get_plugin_settings(PLUGIN).general.device == "cpu"
    assert not get_plugin_settings(PLUGIN).general.segment_while_drawing
    widget.controller.bench.configure(precision="fp32")
    assert get_plugin_settings(PLUGIN).general.precision == "auto"
    other = dock(viewer, model)
    assert other.models.device.currentData() == "cpu"
    assert not other.segment.while_drawing.isChecked()


def test_a_wrong_key_in_preferences_is_told_once_it_rests(viewer, model, cold, qtbot, notes):
    widget = dock(viewer, model)
    get_plugin_settings(PLUGIN).keys.box = "Contr"
    assert not notes
    qtbot.waitUntil(lambda: len(notes) == 1, timeout=20_000)
    assert "keys.box = 'Contr'" in texts(notes)[0]
    assert widget.remembering.preferences.keys["box"] == "B"


class TestHelp:
    def test_it_opens_the_documentation_of_the_package(self, viewer, model, cold, monkeypatch):
        opened = []
        monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: opened.append(url) or True)
        widget = dock(viewer, model)
        (button,) = widget.findChildren(HelpButton)
        button.click()
        assert docs_url() == "https://napari-medsam2.github.io/napari-medsam2/"
        assert opened == [QUrl(docs_url())]

    def test_without_a_browser_the_address_is_told(self, qtbot, monkeypatch, notes):
        monkeypatch.setattr(QDesktopServices, "openUrl", lambda url: False)
        button = HelpButton()
        qtbot.addWidget(button)
        button.click()
        assert "https://napari-medsam2.github.io" in texts(notes)[0]
