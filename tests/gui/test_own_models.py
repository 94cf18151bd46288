"""Model folders of one's own in the widget, in a real napari window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qtpy.QtCore import Qt
from tests.gui.common import draw, texts
from tests.gui.conftest import BOX, disc, session_maker
from tests.own_models import CONFIG_21, few_bytes, of_sam2
from tests.tracking.reference import make_lively

import napari_medsam2 as nm
from napari_medsam2 import models
from napari_medsam2.errors import ModelError
from napari_medsam2.gui.controller import Controller
from napari_medsam2.gui.model_files import ModelFiles
from napari_medsam2.gui.settings import Settings
from napari_medsam2.gui.widget import MedSAM2Widget
from napari_medsam2.models.sam2_config import build_network

if TYPE_CHECKING:
    from pathlib import Path

    from napari.viewer import Viewer

    from napari_medsam2.gui.models_panel import ModelsPanel

SHORT, LONG = 10_000, 120_000  # milliseconds


@pytest.fixture(autouse=True)
def livers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a model folder that is registered."""
    monkeypatch.setenv("NAPARI_MEDSAM2_MODELS", str(tmp_path / "models"))
    few_bytes(tmp_path / "livers")
    models.register(tmp_path / "livers")
    return tmp_path / "livers"


@pytest.fixture
def viewer(make_napari_viewer, stack) -> Viewer:
    viewer = make_napari_viewer(show=True)
    viewer.add_image(stack, name="disc")
    viewer.dims.set_current_step(0, 2)
    return viewer


@pytest.fixture
def widget(viewer, model, cold) -> MedSAM2Widget:
    widget = MedSAM2Widget(viewer, make_session=session_maker(model))
    viewer.window.add_dock_widget(widget, name="MedSAM2")
    return widget


@pytest.fixture
def panel(widget) -> ModelsPanel:
    return widget.models


def names(panel: ModelsPanel) -> list[str]:
    return [panel.model.itemData(i) for i in range(panel.model.count())]


def titles(panel: ModelsPanel) -> list[str]:
    return [panel.model.itemText(i) for i in range(panel.model.count())]


def open_list(panel: ModelsPanel) -> None:
    panel.model.showPopup()
    panel.model.hidePopup()


def choose(panel: ModelsPanel, name: str, qtbot: Any) -> None:
    panel.model.setCurrentIndex(panel.model.findData(name))
    qtbot.waitUntil(lambda: panel.row.card == models.get(name), timeout=SHORT)


class TestList:
    def test_ones_own_follow_the_catalogue_by_title(self, panel, livers):
        assert names(panel) == [*models.names(), str(livers)]
        assert titles(panel)[-1] == "Livers"
        tip = panel.model.itemData(panel.model.count() - 1, Qt.ItemDataRole.ToolTipRole)
        assert tip == (
            "LiteMedSAM fine-tuned on livers.\n"
            "Made from litemedsam\n"
            "Data: cases 12, source our CT\n"
            "Scores: dice.before 0.8125, dice.after 0.9\n"
            "Licence: Apache-2.0\n"
            f"Weights in {livers}"
        )

    def test_what_is_registered_later_is_seen_when_the_list_opens(self, panel, tmp_path):
        few_bytes(tmp_path / "kidneys", title="Kidneys")
        models.register(tmp_path / "kidneys")
        open_list(panel)
        assert titles(panel)[-2:] == ["Livers", "Kidneys"]
        models.forget(tmp_path / "kidneys")
        open_list(panel)
        assert titles(panel)[-1] == "Livers"

    def test_those_of_one_title_are_told_apart_by_their_folders(self, panel, tmp_path):
        few_bytes(tmp_path / "more")
        models.register(tmp_path / "more")
        open_list(panel)
        assert titles(panel)[-2:] == ["Livers (livers)", "Livers (more)"]

    def test_one_that_was_never_registered_joins_while_it_is_in_use(self, panel, tmp_path, qtbot):
        few_bytes(tmp_path / "kidneys", title="Kidneys")
        panel._bench.configure(model=str(tmp_path / "kidneys"))
        qtbot.waitUntil(lambda: panel.model.currentText() == "Kidneys", timeout=SHORT)
        assert panel.model.told() == "Kidneys"
        choose(panel, "litemedsam", qtbot)
        assert titles(panel)[-1] == "Kidneys"


class TestUse:
    def test_chosen_and_used(self, viewer, widget, panel, livers, qtbot):
        choose(panel, str(livers), qtbot)
        assert panel.row.isHidden()
        draw(widget.controller)
        qtbot.waitUntil(lambda: "disc [MedSAM2]" in viewer.layers, timeout=SHORT)
        labels = viewer.layers["disc [MedSAM2]"]
        qtbot.waitUntil(lambda: bool(labels.data[2].any()), timeout=SHORT)
        np.testing.assert_array_equal(labels.data[2] == 1, disc())
        assert widget.controller.session.settings["model"] == str(livers)
        assert "Livers on" in widget.engine.text()

    def test_weights_that_are_not_whole(self, panel, livers, qtbot):
        (livers / "weights.safetensors").write_bytes(b"cut")
        open_list(panel)
        assert titles(panel)[-1] == "Livers – wrong file"
        choose(panel, str(livers), qtbot)
        qtbot.waitUntil(panel.row.isVisible, timeout=SHORT)
        assert panel.row.text.text() == (
            "Wrong file: weights.safetensors\nrestore it or fine-tune again"
        )
        assert panel.row.download.isHidden()

    def test_without_whole_weights_work_is_refused(self, viewer_model, livers, notes):
        controller = Controller(viewer_model)
        controller.bench.configure(model=str(livers))
        controller.session.add_box(2, BOX)
        (livers / "weights.safetensors").write_bytes(b"cut")
        assert not controller.propagate()
        assert (
            f"Livers: its weights {livers / 'weights.safetensors'} are gone, cut off or"
            in (texts(notes)[-1])
        )
        livers.rename(livers.with_name("away"))
        assert not controller.propagate()
        assert f"model folder {livers}: there is no such folder" in texts(notes)[-1]
        controller.close()

    @pytest.mark.parametrize("by", ["a refresh", "the list"])
    def test_a_folder_that_goes_gives_place_to_the_default(
        self, widget, panel, livers, qtbot, notes, by
    ):
        choose(panel, str(livers), qtbot)
        livers.rename(livers.with_name("away"))
        # Until that is noticed, nothing stumbles over it.
        panel._bench.configure(window="10,200")
        panel.model.repaint()
        assert notes == []
        if by == "the list":
            open_list(panel)
        else:
            widget.refresh()
        assert panel._bench.settings.model == models.DEFAULT_MODEL
        assert panel._bench.settings.window == "10,200"
        assert len(notes) == 1
        assert f"model folder {livers}: there is no such folder" in texts(notes)[0]
        assert "LiteMedSAM-track takes its place" in texts(notes)[0]
        qtbot.waitUntil(lambda: panel.model.currentText() == "LiteMedSAM-track", timeout=SHORT)
        assert names(panel) == list(models.names())
        # It is back in the list with its folder.
        livers.with_name("away").rename(livers)
        open_list(panel)
        assert titles(panel)[-1] == "Livers"
        assert len(notes) == 1

    def test_so_does_one_whose_card_was_spoilt(self, widget, panel, livers, qtbot, notes):
        choose(panel, str(livers), qtbot)
        (livers / "card.toml").write_text("title = 3")
        open_list(panel)
        assert panel._bench.settings.model == models.DEFAULT_MODEL
        assert len(notes) == 1
        assert f"{livers / 'card.toml'}: version: is None" in texts(notes)[0]

    def test_a_session_whose_model_is_gone(self, controller, livers, tmp_path, notes):
        controller.bench.configure(model=str(livers))
        assert controller.save_session(tmp_path / "a.medsam2.json")
        assert controller.wait(60)
        controller.bench.configure(model="litemedsam")
        livers.rename(livers.with_name("away"))
        assert controller.open_session(tmp_path / "a.medsam2.json")
        assert controller.wait(60)
        assert isinstance(controller.last_error, ModelError)
        assert [f"model folder {livers}" in text for text in texts(notes)] == [True]
        assert controller.bench.settings.model == "litemedsam"
        livers.with_name("away").rename(livers)
        assert controller.open_session(tmp_path / "a.medsam2.json")
        assert controller.wait(60)
        assert controller.bench.settings.model == str(livers)


class TestSettings:
    def test_the_path_is_made_whole(self, livers, monkeypatch):
        monkeypatch.chdir(livers.parent)
        assert Settings(model="livers").model == str(livers)
        assert Settings(model="livers") == Settings(model=str(livers))

    def test_weights_written_anew_are_another_network(self, livers):
        settings = Settings(model=str(livers))
        before = settings.network
        assert settings.network == before
        few_bytes(livers, title="Newer")
        (livers / "weights.safetensors").write_bytes(b"other weights")
        assert settings.network != before

    def test_a_list_that_is_looked_at_says_whether_it_has_changed(self, livers):
        files, seen = ModelFiles(), []
        files.changed.connect(lambda: seen.append(1))
        files.look()
        assert seen == []
        few_bytes(livers, title="Newer")
        files.look()
        assert seen == [1]
        assert files.title(str(livers)) == "Newer"


def test_a_real_network_from_a_folder(make_napari_viewer, tmp_path, qtbot):
    net = build_network(CONFIG_21, 128)
    make_lively(net)
    of_sam2(tmp_path / "lesions", net, 128)
    models.register(tmp_path / "lesions")
    image = np.random.default_rng(0).normal(60, 6, (4, 64, 64)).astype(np.float32)
    viewer = make_napari_viewer(show=True)
    viewer.add_image(image, name="ct")
    _, widget = viewer.window.add_plugin_dock_widget("napari-medsam2", "MedSAM2")
    panel = widget.models
    choose(panel, str(tmp_path / "lesions"), qtbot)
    panel.precision.setCurrentIndex(panel.precision.findData("fp32"))
    assert panel.more.form.isRowVisible(panel.memory)
    controller = widget.controller
    controller.session.add_points(1, [(30, 34)])
    assert controller.propagate()
    qtbot.waitUntil(lambda: controller.state == "idle", timeout=LONG)
    assert controller.last_error is None
    session = nm.Session(nm.Volume(image, axes="zyx"), model=tmp_path / "lesions", precision="fp32")
    session.add_points(1, [(30, 34)])
    for _ in session.propagate():
        pass
    assert all(frame.any() for frame in session.labels)
    np.testing.assert_array_equal(viewer.layers["ct [MedSAM2]"].data, session.labels)
    assert "Lesions in fp32 on" in widget.engine.text()
