"""The image panel: the choices that an image has, and no others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from tests.gui.conftest import session_maker
from tests.gui.hands import click

from napari_medsam2.gui.widget import MedSAM2Widget

if TYPE_CHECKING:
    from napari_medsam2.gui.image_panel import ImagePanel


@pytest.fixture
def open_panel(make_napari_viewer, model, cold, qtbot):
    def build(*images, **kwargs) -> ImagePanel:
        viewer = make_napari_viewer(show=True)
        for name, data in images:
            viewer.add_image(data, name=name, **kwargs)
        widget = MedSAM2Widget(viewer, make_session=session_maker(model))
        viewer.window.add_dock_widget(widget, name="MedSAM2")
        qtbot.waitUntil(lambda: widget.image.image.isVisible())
        widget.image.refresh()
        return widget.image

    return build


def rows(panel: ImagePanel) -> list[str]:
    """The labels of the rows that are to be seen."""
    form = panel._form
    return [
        form.labelForField(form.itemAt(i, form.ItemRole.FieldRole).widget()).text()
        for i in range(form.rowCount())
        if form.isRowVisible(i)
    ]


STACK = np.zeros((9, 32, 32), np.uint8)


def test_a_grey_image_alone_has_three_choices(open_panel):
    assert rows(open_panel(("ct", STACK))) == ["Image", "Along", "Window"]


def test_a_colour_image_has_its_colours(open_panel):
    panel = open_panel(("photo", np.zeros((32, 32, 3), np.uint8)), rgb=True)
    assert rows(panel) == ["Image", "Colour", "Along", "Window"]
    assert panel.colour.currentText() == "RGB"


def test_images_of_one_shape_can_be_ticked_as_channels(open_panel, qtbot):
    panel = open_panel(("nuclei", STACK), ("walls", STACK), ("other", STACK[:7]))
    bench = panel._controller.bench
    bench.use(panel._controller.viewer.layers["nuclei"])
    qtbot.waitUntil(lambda: rows(panel) == ["Image", "Channels", "Along", "Window"])
    assert panel.channels.told() == "nuclei"
    panel.channels.showPopup()
    view = panel.channels.view()
    qtbot.waitUntil(view.isVisible)
    for row in (0, 1):  # the image itself cannot be taken away
        where = view.visualRect(view.model().index(row, 0)).center()
        QTest.mouseClick(view.viewport(), Qt.MouseButton.LeftButton, pos=where)
    assert view.isVisible()
    assert panel.channels.told() == "nuclei + walls"
    assert [layer.name for layer in bench.desk.source.layers] == ["nuclei", "walls"]
    QTest.keyClick(view, Qt.Key.Key_Space)
    assert panel.channels.told() == "nuclei"
    panel.channels.hidePopup()


def test_an_image_of_channels_is_split_by_a_click(open_panel, qtbot):
    movie = np.zeros((2, 5, 32, 32), np.uint8)
    panel = open_panel(("cells", movie), axis_labels=("c", "z", "y", "x"))
    assert rows(panel) == ["Image", "Channels", "Along", "Window"]
    click(panel.split, qtbot)
    names = [layer.name for layer in panel._controller.viewer.layers]
    assert names == ["cells channel 0", "cells channel 1"]
    qtbot.waitUntil(lambda: panel.channels.told() == "cells channel 0")
    assert not panel.split.isVisible()
    assert panel.channels.isVisible()


def test_which_axis_holds_channels_is_asked_where_it_is_not_named(open_panel, qtbot):
    panel = open_panel(("cells", np.zeros((3, 2, 5, 32, 32), np.uint8)))
    click(panel.split, qtbot)
    menu = panel.menu
    assert [action.text() for action in menu.actions()] == [
        "Axis 0 (3 channels)",
        "Axis 1 (2 channels)",
        "Axis 2 (5 channels)",
    ]
    menu.actions()[1].trigger()
    menu.close()
    names = [layer.name for layer in panel._controller.viewer.layers]
    assert names == ["cells channel 0", "cells channel 1"]
    assert panel._controller.bench.image.data.shape == (3, 5, 32, 32)


def test_a_pyramid_has_its_levels(make_napari_viewer, model, cold, qtbot):
    viewer = make_napari_viewer(show=True)
    sides = (4096, 2048, 1024, 512)
    levels = [np.broadcast_to(np.uint8(0), (n, n + n // 2)) for n in sides]
    viewer.add_image(levels, name="slide", multiscale=True, contrast_limits=(0, 255))
    widget = MedSAM2Widget(viewer, make_session=session_maker(model))
    viewer.window.add_dock_widget(widget, name="MedSAM2")
    panel = widget.image
    qtbot.waitUntil(lambda: rows(panel) == ["Image", "Along", "Window", "Level"])
    texts = [panel.level.itemText(i) for i in range(panel.level.count())]
    assert texts == [
        "Automatic (2: 1536 x 1024)",
        "0: 6144 x 4096",
        "1: 3072 x 2048",
        "2: 1536 x 1024",
        "3: 768 x 512",
    ]
    panel.level.setCurrentIndex(2)
    assert widget.controller.bench.settings.level == 1
