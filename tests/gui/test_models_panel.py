"""Choosing, downloading and replacing models, in a real napari window with a local server."""

from __future__ import annotations

import functools
import hashlib
import io
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QMessageBox
from tests.gui.common import draw, texts
from tests.gui.conftest import BOX, disc, session_maker
from tests.gui.hands import click
from tests.http_server import Server, no_proxies, serving

from napari_medsam2 import models
from napari_medsam2.errors import ModelError
from napari_medsam2.gui.controller import Controller
from napari_medsam2.gui.widget import MedSAM2Widget
from napari_medsam2.models import catalogue, download

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari.viewer import Viewer

    from napari_medsam2.gui.models_panel import ModelsPanel

SHORT = 10_000  # milliseconds


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Server]:
    """Serve `free` and `shared` (licence to accept, no hash); `broken` has a file cut off."""
    no_proxies(monkeypatch)
    monkeypatch.setenv("NAPARI_MEDSAM2_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(download, "_PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(download, "_CHUNK_BYTES", 50_000)
    file = io.BytesIO()
    torch.save({"a": torch.arange(250_000.0)}, file)
    with serving() as script:
        script.content = file.getvalue()
        free = replace(
            models.get("sam2.1_hiera_tiny"),
            name="free",
            title="Free",
            filename="free.pt",
            source=f"{script.url}/free.pt",
            bytes=len(script.content),
            sha256=hashlib.sha256(script.content).hexdigest(),
        )
        cards = (
            models.get(models.DEFAULT_MODEL),
            free,
            replace(
                models.get("medsam2_latest"),
                name="shared",
                title="Shared",
                filename="shared.pt",
                source=f"{script.url}/shared.pt",
            ),
            replace(free, name="broken", title="Broken", filename="broken.pt"),
        )
        monkeypatch.setattr(catalogue, "_cards", lambda: {card.name: card for card in cards})
        (tmp_path / "models").mkdir()
        (tmp_path / "models" / "broken.pt").write_bytes(b"cut off")
        yield script


@pytest.fixture
def viewer(make_napari_viewer, stack) -> Viewer:
    viewer = make_napari_viewer(show=True)
    viewer.add_image(stack, name="disc")
    viewer.dims.set_current_step(0, 2)
    return viewer


@pytest.fixture
def widget(viewer, model, cold, server) -> MedSAM2Widget:
    """The widget with the catalogue of `server`."""
    widget = MedSAM2Widget(viewer, make_session=session_maker(model))
    viewer.window.add_dock_widget(widget, name="MedSAM2")
    return widget


@pytest.fixture
def panel(widget) -> ModelsPanel:
    return widget.models


def choose(panel: ModelsPanel, name: str, qtbot: Any) -> None:
    """Choose a model in the list, by the keys."""
    while panel.model.currentData() != name:
        QTest.keyClick(panel.model, Qt.Key.Key_Down)
        assert panel.model.currentIndex() < panel.model.count()
    qtbot.waitUntil(lambda: panel.row.card == models.get(name))


def titles(panel: ModelsPanel) -> list[str]:
    return [panel.model.itemText(i) for i in range(panel.model.count())]


def downloads() -> list[str]:
    """Return the names of the threads that download."""
    return [t.name for t in threading.enumerate() if t.name.startswith("download-")]


class TestStates:
    def test_each_model_says_what_it_lacks(self, panel, tmp_path):
        assert titles(panel) == [
            "LiteMedSAM-track",
            "Free – needs download, 1.00 MB",
            "Shared – needs download",
            "Broken – wrong file",
        ]
        tip = panel.model.itemData(2, Qt.ItemDataRole.ToolTipRole)
        assert "the one that its authors recommend" in tip
        assert "Licence: CC-BY-SA-4.0" in tip
        assert str(tmp_path / "models") in tip

    def test_the_row_is_there_only_while_something_is_missing(self, panel, qtbot, tmp_path):
        assert panel.row.isHidden()
        choose(panel, "free", qtbot)
        assert panel.row.isVisible()
        assert panel.row.text.text() == "Needs download\n1.00 MB, Apache-2.0"
        choose(panel, "broken", qtbot)
        assert panel.row.text.text() == "Wrong file\n1.00 MB, Apache-2.0"
        panel._bench.configure(checkpoint=str(tmp_path / "my.pt"))
        qtbot.waitUntil(panel.row.isHidden)

    def test_a_file_that_was_brought_by_hand_is_seen_when_the_list_opens(self, panel, server):
        models.get("free").path.write_bytes(server.content)
        panel.model.showPopup()
        assert titles(panel)[1] == "Free"
        panel.model.hidePopup()

    def test_without_weights_work_is_refused_with_the_way_out(self, viewer, model, server, notes):
        controller = Controller(viewer)
        controller.bench.configure(model="free")
        controller.session.add_box(2, BOX)
        assert not controller.propagate()
        assert notes[-1].severity.value == "warning"
        assert (
            "Free needs its weights first: press Download under Model (1.00 MB, Apache-2.0), or "
            "choose another model"
        ) in texts(notes)[-1]
        controller.close()

    def test_an_unknown_model_is_refused_at_once(self, controller):
        with pytest.raises(ModelError, match="unknown model 'sam9'"):
            controller.bench.configure(model="sam9")


class TestDownload:
    def test_progress_then_ready_while_another_model_works(
        self, viewer, widget, panel, server, qtbot
    ):
        half = len(server.content) // 2 // 50_000 * 50_000
        server.stalls = [half]
        choose(panel, "free", qtbot)
        click(panel.row.download, qtbot)
        qtbot.waitUntil(lambda: panel.row.bar.format() == "0.50 of 1.00 MB", timeout=SHORT)
        assert panel.row.bar.isVisible()
        assert panel.row.cancel.isVisible()
        assert panel.row.download.isHidden()
        assert panel.row.bar.value() == round(1000 * half / len(server.content))
        assert titles(panel)[1] == "Free – downloading"
        widget.controller.bench.configure(model=models.DEFAULT_MODEL)
        qtbot.waitUntil(panel.row.isHidden)
        draw(widget.controller)
        qtbot.waitUntil(lambda: "disc [MedSAM2]" in viewer.layers, timeout=SHORT)
        labels = viewer.layers["disc [MedSAM2]"]
        qtbot.waitUntil(lambda: bool(labels.data[2].any()), timeout=SHORT)
        np.testing.assert_array_equal(labels.data[2] == 1, disc())
        widget.controller.bench.configure(model="free")
        qtbot.waitUntil(panel.row.isVisible)
        server.resume.set()
        qtbot.waitUntil(panel.row.isHidden, timeout=SHORT)
        assert titles(panel)[1] == "Free"
        assert widget.message.text() == "Free is ready"
        assert models.get("free").path.read_bytes() == server.content
        qtbot.waitUntil(lambda: not downloads())

    def test_cancelled_and_continued(self, widget, panel, server, qtbot, notes):
        server.stalls = [500_000]
        choose(panel, "free", qtbot)
        click(panel.row.download, qtbot)
        qtbot.waitUntil(lambda: panel.row.bar.format() == "0.50 of 1.00 MB", timeout=SHORT)
        click(panel.row.cancel, qtbot)
        assert panel.row.text.text() == "0.50 of 1.00 MB are here\nApache-2.0"
        assert "0.50 of 1.00 MB are kept, and Download goes on" in widget.message.text()
        server.resume.set()
        qtbot.waitUntil(lambda: not downloads(), timeout=SHORT)
        assert models.get("free").path.with_name("free.pt.part").stat().st_size >= 500_000
        click(panel.row.download, qtbot)
        qtbot.waitUntil(panel.row.isHidden, timeout=SHORT)
        assert server.ranges_asked[-1] is not None
        assert models.get("free").path.read_bytes() == server.content
        assert notes == []

    def test_a_file_cut_off_is_replaced(self, panel, server, qtbot):
        choose(panel, "broken", qtbot)
        click(panel.row.download, qtbot)
        qtbot.waitUntil(panel.row.isHidden, timeout=SHORT)
        assert models.get("broken").path.read_bytes() == server.content

    def test_an_error_is_shown_and_the_row_returns(self, widget, panel, server, qtbot, notes):
        server.statuses = [404]
        choose(panel, "free", qtbot)
        click(panel.row.download, qtbot)
        qtbot.waitUntil(lambda: len(notes) == 1, timeout=SHORT)
        assert notes[0].severity.value == "error"
        assert "the server answers 404" in texts(notes)[0]
        assert "the server answers 404" in widget.message.text()
        assert panel.row.download.isVisible()
        assert panel.row.text.text() == "Needs download\n1.00 MB, Apache-2.0"

    def test_a_server_that_falls_silent(self, panel, server, qtbot, notes, monkeypatch):
        monkeypatch.setattr(models, "pull", functools.partial(models.pull, timeout=0.1))
        server.stalls = [500_000] + [0] * 5
        choose(panel, "free", qtbot)
        click(panel.row.download, qtbot)
        qtbot.waitUntil(lambda: len(notes) == 1, timeout=SHORT)
        assert "no answer within the time limit" in texts(notes)[0]
        assert panel.row.text.text() == "0.50 of 1.00 MB are here\nApache-2.0"
        assert panel.row.download.isVisible()

    def test_closing_the_widget_stops_it(self, viewer, widget, panel, server, qtbot):
        server.stalls = [500_000]
        choose(panel, "free", qtbot)
        click(panel.row.download, qtbot)
        qtbot.waitUntil(lambda: panel.row.bar.format() == "0.50 of 1.00 MB", timeout=SHORT)
        viewer.window.remove_dock_widget(widget)
        server.resume.set()
        qtbot.waitUntil(lambda: not downloads(), timeout=SHORT)
        assert not models.get("free").path.exists()
        assert models.get("free").path.with_name("free.pt.part").exists()


class TestLicence:
    def ask(self, panel: ModelsPanel, qtbot: Any) -> QMessageBox:
        choose(panel, "shared", qtbot)
        assert panel.row.text.text() == "Needs download\nCC-BY-SA-4.0"
        click(panel.row.download, qtbot)
        qtbot.waitUntil(lambda: panel.row.question is not None)
        return panel.row.question

    def test_refused_nothing_is_asked_of_the_server(self, panel, server, qtbot):
        question = self.ask(panel, qtbot)
        assert "CC-BY-SA-4.0" in question.text()
        assert "share alike" in question.informativeText()
        assert "this first copy is trusted" in question.informativeText()
        click(question.button(QMessageBox.StandardButton.Cancel), qtbot)
        qtbot.waitUntil(lambda: panel.row.question is None)
        question = self.ask(panel, qtbot)
        QTest.keyClick(question, Qt.Key.Key_Escape)
        qtbot.waitUntil(lambda: panel.row.question is None)
        assert server.gets == []
        assert panel.row.download.isVisible()

    def test_accepted(self, panel, server, qtbot):
        question = self.ask(panel, qtbot)
        (accept,) = (b for b in question.buttons() if b.text() == "Accept and download")
        click(accept, qtbot)
        qtbot.waitUntil(panel.row.isHidden, timeout=SHORT)
        assert models.get("shared").path.read_bytes() == server.content
