"""Weights of one's own, and the form in which a model computes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from tests.gui.common import texts
from tests.gui.hands import canvas, click, pixel, press
from tests.tracking.reference import CONFIG_21, make_lively

import napari_medsam2 as nm
from napari_medsam2.gui import models_panel
from napari_medsam2.gui.controller import Controller
from napari_medsam2.models.sam2_config import build_network

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LONG = 120_000  # milliseconds; a real network on a slow machine
LEFT = Qt.MouseButton.LeftButton


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint of SAM 2.1 tiny with random weights, as Meta saves them."""
    net = build_network(CONFIG_21, 128)
    make_lively(net)
    path = tmp_path_factory.mktemp("weights") / "tiny.pt"
    torch.save({"model": net.state_dict()}, path)
    return path


@pytest.fixture
def volume() -> np.ndarray:
    """Six noisy slices with a bright disc."""
    image = np.random.default_rng(0).normal(60, 6, (6, 64, 64)).astype(np.float32)
    y, x = np.mgrid[:64, :64]
    image[:, np.hypot(y - 30, x - 34) < 12] += 100
    return image


@pytest.fixture
def no_weights(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Nothing was downloaded."""
    monkeypatch.setenv("NAPARI_MEDSAM2_MODELS", str(tmp_path / "models"))


def pick(monkeypatch: pytest.MonkeyPatch, path: Path) -> None:
    """Answer the file dialog."""
    monkeypatch.setattr(
        models_panel.QFileDialog, "getOpenFileName", lambda *_: (str(path), "Weights")
    )


def test_one_click_with_weights_of_ones_own(
    make_napari_viewer, volume, tiny, no_weights, monkeypatch, qtbot, notes
):
    viewer = make_napari_viewer(show=True)
    viewer.add_image(volume, name="ct")
    viewer.dims.set_current_step(0, 2)
    _, widget = viewer.window.add_plugin_dock_widget("napari-medsam2", "MedSAM2")
    panel = widget.models
    click(panel.more.toggle, qtbot)
    pick(monkeypatch, tiny)
    click(panel.weights, qtbot)
    assert panel.memory.isHidden()  # LiteMedSAM has none

    # The model that was chosen before is not the one that the weights are for.
    press(viewer, Qt.Key.Key_P)
    QTest.mouseClick(canvas(viewer), LEFT, pos=pixel(viewer, 30, 34))
    qtbot.waitUntil(lambda: len(notes) == 1, timeout=LONG)
    assert "tiny.pt is a checkpoint of another architecture" in texts(notes)[0]
    assert "choose the model that it was made for" in texts(notes)[0]

    choose_by = {"sam2.1_hiera_tiny": panel.model, 256: panel.image_size, "fp32": panel.precision}
    for value, choice in choose_by.items():
        choice.setCurrentIndex(choice.findData(value))
    qtbot.waitUntil(panel.memory.isVisible)
    assert panel.row.isHidden()
    assert widget.tools.buttons["point"].isEnabled()
    press(viewer, Qt.Key.Key_S)
    labels = viewer.layers["ct [MedSAM2]"]
    qtbot.waitUntil(lambda: bool(labels.data[2].any()), timeout=LONG)
    qtbot.waitUntil(widget.segment.propagate.isEnabled, timeout=LONG)
    widget.segment.propagate.click()
    qtbot.waitUntil(lambda: widget.controller.state == "idle", timeout=LONG)
    assert "SAM 2.1 tiny with tiny.pt in fp32 on" in widget.engine.text()

    session = nm.Session(
        nm.Volume(volume, axes="zyx"),
        model="sam2.1_hiera_tiny",
        checkpoint=tiny,
        image_size=256,
        precision="fp32",
    )
    (prompt,) = widget.controller.session.prompts[1].prompts
    session.add_points(2, prompt.points, prompt.labels)
    for _ in session.propagate():
        pass
    assert all(frame.any() for frame in labels.data)
    np.testing.assert_array_equal(labels.data, session.labels)

    # Back to the weights of the catalogue, which are not there.
    click(panel.own, qtbot)
    qtbot.waitUntil(panel.row.isVisible)
    assert panel.row.text.text() == "Needs download\n156 MB, Apache-2.0"
    assert widget.controller.bench.settings.checkpoint is None


@pytest.fixture
def real(volume, tiny, no_weights) -> Iterator[Controller]:
    """A controller without a window, with the tiny network."""
    from napari.components import ViewerModel

    viewer = ViewerModel()
    viewer.add_image(volume, name="ct")
    controller = Controller(viewer)
    controller.bench.configure(
        model="sam2.1_hiera_tiny", checkpoint=str(tiny), image_size=128, precision="fp32"
    )
    controller.session.add_points(0, [(30, 34)])
    assert controller.segment_slice(0)
    assert controller.wait(120)
    yield controller
    controller.close()


def test_another_memory_keeps_the_model_and_another_form_replaces_it(real, tiny):
    before, model = real.session, real.session.model
    real.bench.configure(memory="self-sorting")
    assert real.session is not before
    assert real.session.settings["memory"] == "self-sorting"
    assert real.session.model is model
    assert real.session.prompts == before.prompts
    real.bench.configure(precision="bf16")
    assert not real.session.has_model
    assert real.segment_slice(0)
    assert real.wait(120)
    assert real.session.model.precision == "bf16"
    # The same name, but the file was written anew.
    model = real.session.model
    torch.save(torch.load(tiny, weights_only=True), tiny)
    assert not real.session.has_model
    real.bench.configure(image_size=160)
    assert real.segment_slice(0)
    assert real.wait(120)
    assert real.session.model.image_size == 160
    assert real.session.model is not model


def test_a_session_that_is_opened_brings_its_model_along(real, volume, tiny, tmp_path):
    real.bench.configure(memory="self-sorting")
    assert real.save_session(tmp_path / "a.medsam2.json")
    assert real.wait(120)
    real.bench.configure(
        model="litemedsam", checkpoint=None, image_size=None, precision="auto", memory="sam2"
    )
    assert real.open_session(tmp_path / "a.medsam2.json")
    assert real.wait(120)
    assert real.last_error is None
    settings = real.bench.settings
    assert settings.model == "sam2.1_hiera_tiny"
    assert settings.checkpoint == str(tiny)
    assert (settings.image_size, settings.precision) == (128, "fp32")
    assert settings.memory == "self-sorting"
    assert real.propagate()
    assert real.wait(120)
    assert all(frame.any() for frame in real.session.labels)
