"""Copy as Python, copy as command, and labels by name."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
from qtpy.QtWidgets import QApplication, QFileDialog
from tests.gui.common import draw
from tests.gui.conftest import SHAPE, disc, session_maker
from tests.gui.hands import click

import napari_medsam2 as nm
from napari_medsam2.gui.widget import MedSAM2Widget
from napari_medsam2.io import read_labels
from napari_medsam2.io.layers import image_layers
from napari_medsam2.labels import MaskUpdate


@pytest.fixture
def path(tmp_path, stack):
    path = tmp_path / "disc.tif"
    tifffile.imwrite(path, stack, imagej=True, metadata={"axes": "ZYX"})
    return path


@pytest.fixture
def widget(make_napari_viewer, path, model, cold) -> MedSAM2Widget:
    viewer = make_napari_viewer(show=True)
    data, kwargs, _ = image_layers(nm.read(path))[0]
    viewer.add_image(data, **kwargs)
    viewer.dims.set_current_step(0, 2)
    widget = MedSAM2Widget(viewer, make_session=session_maker(model))
    viewer.window.add_dock_widget(widget, name="MedSAM2")
    widget.save.toggle.click()
    return widget


def segmented(widget) -> None:
    draw(widget.controller)
    widget.controller.segment_slice(2)
    assert widget.controller.wait(30)


def test_python_goes_to_the_clipboard(widget, qtbot, path):
    segmented(widget)
    click(widget.save.python, qtbot)
    text = QApplication.clipboard().text()
    assert f"nm.read({str(path)!r})" in text
    assert "session.add_box(2, (18, 28, 42, 52), object_id=1)" in text
    assert widget.message.text() == "Copied as Python"


def test_a_command_goes_to_the_clipboard(widget, qtbot, path):
    segmented(widget)
    click(widget.save.command, qtbot)
    text = QApplication.clipboard().text()
    assert text.startswith(f"napari-medsam2 segment {path} ")
    assert "--box 2,18,28,42,52" in text
    assert widget.message.text() == "Copied as a command"


def test_what_text_cannot_say_names_the_saved_session_if_it_is_up_to_date(widget, qtbot, tmp_path):
    segmented(widget)
    controller = widget.controller
    full = MaskUpdate.from_mask(1, 1, np.ones(SHAPE[1:], dtype=bool), 1.0)
    controller.session.write_masks([full], "paint")
    click(widget.save.python, qtbot)
    assert "SESSION.medsam2.json" in QApplication.clipboard().text()
    assert "save the session" in widget.message.text()

    saved = tmp_path / "case.medsam2.json"
    controller.save_session(saved)
    controller.wait(30)
    click(widget.save.python, qtbot)
    assert f"nm.Session.load({str(saved)!r})" in QApplication.clipboard().text()
    assert widget.message.text().endswith("so it replays case.medsam2.json")

    controller.session.write_masks([MaskUpdate.from_mask(0, 1, disc(), 1.0)], "paint")
    click(widget.save.command, qtbot)
    assert "SESSION.medsam2.json" in QApplication.clipboard().text()


def test_labels_are_saved_by_name(widget, qtbot, tmp_path, monkeypatch):
    segmented(widget)
    controller = widget.controller
    controller.rename_object(1, "disc")
    controller.tools.select(4)
    draw(controller, frame=0)
    controller.rename_object(4, "disc")
    controller.segment_slice(0)
    controller.wait(30)
    target = tmp_path / "out.tif"
    monkeypatch.setattr(QFileDialog, "getSaveFileName", lambda *_: (str(target), ""))
    widget.save.values.setCurrentIndex(widget.save.values.findData("names"))
    click(widget.save.labels, qtbot)
    controller.wait(30)
    labels = read_labels(target)
    assert set(np.unique(labels)) == {0, 1}
    assert labels[0].any()
    assert (tmp_path / "out.names.csv").read_text() == "value,name,objects\n1,disc,1 4\n"
