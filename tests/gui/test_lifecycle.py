"""What goes away or changes while a propagation loads, runs or is paused, in a real window."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.gui.common import counts, draw, filled, texts
from tests.gui.conftest import BOX, session_maker

from napari_medsam2.gui.sessions import SessionKeeper
from napari_medsam2.gui.widget import MedSAM2Widget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari.viewer import Viewer
    from tests.gui.conftest import GatedModel

STATES = ("loading", "running", "paused")


def our_threads() -> set[threading.Thread]:
    return {t for t in threading.enumerate() if t.name.startswith("napari-medsam2")}


@pytest.fixture
def viewer(make_napari_viewer, stack) -> Viewer:
    viewer = make_napari_viewer(show=True)
    viewer.add_image(stack, name="disc", scale=(3.0, 1.0, 1.0))
    return viewer


@pytest.fixture
def loading(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Loading of the model, which goes on when the test lets it."""
    may_load = threading.Event()

    def lender(keeper: SessionKeeper) -> Callable[[], None]:
        def lend() -> None:
            assert may_load.wait(30)

        return lend

    monkeypatch.setattr(SessionKeeper, "lender", lender)
    yield may_load
    may_load.set()


class Scene:
    """A widget whose propagation is loading, running or paused."""

    def __init__(self, viewer: Viewer, model: GatedModel, loading: threading.Event, state: str):
        self.threads = our_threads()
        self.viewer, self.model, self.loading, self.state = viewer, model, loading, state
        self.widget = MedSAM2Widget(viewer, make_session=session_maker(model))
        self.dock = viewer.window.add_dock_widget(self.widget, name="MedSAM2")
        self.controller = self.widget.controller
        self.controller.segment_while_drawing = False
        self.controller.session.add_box(0, BOX)
        self.controller.propagate()
        if state != "loading":
            loading.set()
            model.open(2)
            while sum(filled(self.controller)) < 2:
                self.controller.poll(wait=0.05)
        if state == "paused":
            self.controller.pause()
        assert self.controller.state == state

    def go_on(self) -> None:
        """Let everything go on that has been held up."""
        self.loading.set()
        self.model.open()

    def new_threads_end(self) -> None:
        for thread in our_threads() - self.threads:
            thread.join(20)
            assert not thread.is_alive(), thread.name

    def works(self) -> None:
        """Everything can be done again from the start."""
        assert self.controller.last_error is None
        assert self.controller.state == "idle"
        draw(self.controller, frame=1)
        assert self.controller.propagate()
        assert self.controller.wait(20)
        assert self.controller.last_error is None
        assert all(filled(self.controller))


@pytest.fixture(params=STATES)
def scene(request, viewer, gated, loading, cold) -> Scene:
    return Scene(viewer, gated, loading, request.param)


def test_the_window_is_closed(scene: Scene):
    scene.viewer.close()
    assert scene.controller.state == "idle"
    assert not scene.controller.poll()
    scene.go_on()
    scene.new_threads_end()


def test_the_dock_is_closed(scene: Scene, qtbot):
    scene.viewer.window.remove_dock_widget(scene.dock)
    assert scene.controller.state == "idle"
    scene.go_on()
    scene.new_threads_end()
    # What was done stays where it was.
    labels = scene.viewer.layers["disc [MedSAM2]"].data
    assert int(labels.any(axis=(1, 2)).sum()) == (0 if scene.state == "loading" else 2)
    qtbot.wait(50)


def test_the_image_is_deleted(scene: Scene, qtbot, stack):
    scene.viewer.layers.remove("disc")
    assert scene.controller.state == "idle"
    scene.go_on()
    assert scene.controller.wait(20)
    qtbot.wait(50)
    assert scene.controller.last_error is None
    scene.viewer.add_image(stack, name="another")
    scene.works()


@pytest.mark.parametrize("layer", ["disc [MedSAM2]", "disc boxes"])
def test_a_layer_of_ours_is_deleted(scene: Scene, layer, qtbot):
    scene.viewer.layers.remove(layer)
    qtbot.wait(50)
    scene.controller.resume()
    scene.go_on()
    assert scene.controller.wait(20)
    scene.works()


def test_all_layers_are_deleted(scene: Scene, qtbot):
    scene.viewer.layers.clear()
    scene.go_on()
    assert scene.controller.wait(20)
    qtbot.wait(50)
    assert scene.controller.state == "idle"
    assert scene.controller.last_error is None
    assert not scene.widget.segment.propagate.isEnabled()


@pytest.mark.parametrize(
    "changes", [{"model": "sam2.1_hiera_tiny"}, {"window": "display"}, {"axis": 1}]
)
def test_settings_change(scene: Scene, changes, qtbot):
    controller = scene.controller
    controller.bench.configure(**changes)
    qtbot.wait(50)
    controller.resume()
    scene.go_on()
    assert controller.wait(20)
    assert controller.last_error is None
    # The propagation ended as it was begun.
    assert controller.state == "idle"
    assert counts(controller)[0] or controller.session.labels.any()
    controller.bench.configure(model="litemedsam-track", axis=None)
    scene.works()


def test_the_view_is_turned(scene: Scene, qtbot):
    scene.viewer.dims.order = (1, 0, 2)
    scene.viewer.dims.set_current_step(1, 30)
    qtbot.wait(50)
    scene.controller.resume()
    scene.go_on()
    assert scene.controller.wait(20)
    assert scene.viewer.layers["disc [MedSAM2]"].data.any(axis=(1, 2)).all()
    scene.viewer.dims.order = (0, 1, 2)
    scene.works()


def test_the_view_becomes_3d_and_back(scene: Scene, qtbot):
    scene.viewer.dims.ndisplay = 3
    qtbot.wait(50)
    scene.controller.resume()
    scene.go_on()
    assert scene.controller.wait(20)
    scene.viewer.dims.ndisplay = 2
    scene.works()


@pytest.mark.parametrize("state", ["running", "paused"])
def test_an_error_of_the_model_is_told_whatever_the_state(
    viewer, gated, loading, cold, notes, qtbot, state, monkeypatch
):
    scene = Scene(viewer, gated, loading, state)

    def fail(*_: object) -> None:
        raise RuntimeError("cuda: out of memory")

    monkeypatch.setattr(gated, "decode", fail)
    scene.go_on()
    scene.controller.resume()
    assert scene.controller.wait(20)
    assert "cuda: out of memory" in str(scene.controller.last_error)
    assert any("cuda: out of memory" in text for text in texts(notes))
    monkeypatch.undo()
    done = np.array(filled(scene.controller))
    # The slice that was in work may be done.
    assert done[:2].all()
    assert not done[3:].any()


def test_prompts_drawn_in_a_pause_are_taken_in(viewer, gated, loading, cold, qtbot):
    scene = Scene(viewer, gated, loading, "paused")
    scene.controller.segment_while_drawing = True
    draw(scene.controller, frame=4)
    qtbot.waitUntil(lambda: scene.controller.session.prompts.frames == (0, 4))
    assert scene.controller.is_paused
    scene.go_on()
    scene.controller.cancel()
    assert scene.controller.wait(20)
    # What was asked for meanwhile is dropped with the run that is stopped; the prompt stays.
    assert scene.controller.session.prompts.frames == (0, 4)
    scene.works()
