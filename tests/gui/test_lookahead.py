"""Frames that are prepared in the background while a person looks around."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from tests.gui.common import draw
from tests.gui.conftest import BOX, disc, session_maker

from napari_medsam2.gui.controller import Controller
from napari_medsam2.gui.widget import MedSAM2Widget

if TYPE_CHECKING:
    from napari.viewer import Viewer

SHORT = 10_000  # milliseconds


@pytest.fixture
def many(make_napari_viewer) -> Viewer:
    viewer = make_napari_viewer(show=True)
    image = np.full((40, 64, 64), 20, np.uint8)
    image[:, disc()] = 200
    image[:, 0, 0] = np.arange(40)  # each frame has a sum of its own
    viewer.add_image(image, name="many")
    viewer.dims.set_current_step(0, 10)
    return viewer


def frames_of(model: Any, viewer: Viewer) -> list[int]:
    """Return the frames that were embedded, in order."""
    sums = {float(f.astype(np.float32).sum()): z for z, f in enumerate(viewer.layers["many"].data)}
    return [sums[value] for value in model.embedded]


@pytest.fixture
def no_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Controller, "warm_up", lambda self: None)


def opened(viewer: Viewer, model: Any) -> MedSAM2Widget:
    widget = MedSAM2Widget(viewer, make_session=session_maker(model))
    viewer.window.add_dock_widget(widget, name="MedSAM2")
    widget.controller.bench.configure(window="0,255")
    assert widget.controller.session.has_model
    return widget


def test_frames_around_the_slider_are_embedded(many, model, no_warm_up, qtbot):
    widget = opened(many, model)
    qtbot.waitUntil(lambda: len(model.embedded) == 11, timeout=SHORT)
    assert widget.controller.lookahead.wait(10)
    assert frames_of(model, many) == [10, *range(11, 19), 9, 8]
    many.dims.set_current_step(0, 8)  # travelling down
    qtbot.waitUntil(lambda: len(model.embedded) == 19, timeout=SHORT)
    assert widget.controller.lookahead.wait(10)
    assert frames_of(model, many)[11:] == [7, 6, 5, 4, 3, 2, 1, 0]
    draw(widget.controller, frame=8)
    qtbot.waitUntil(lambda: "many [MedSAM2]" in many.layers, timeout=SHORT)
    labels = many.layers["many [MedSAM2]"]
    qtbot.waitUntil(lambda: bool(labels.data[8].any()), timeout=SHORT)
    assert widget.controller.lookahead.wait(10)
    assert len(model.embedded) == 19


def test_switched_off_nothing_is_embedded(many, model, no_warm_up, qtbot):
    widget = opened(many, model)
    qtbot.waitUntil(lambda: len(model.embedded) == 11, timeout=SHORT)
    widget.models.more.toggle.click()
    widget.models.prefetch.click()
    assert not widget.controller.bench.settings.prefetch
    many.dims.set_current_step(0, 30)
    widget.controller.look_ahead()
    assert widget.controller.lookahead.wait(10)
    assert len(model.embedded) == 11


def prefetching() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "prefetch"]


def test_real_work_comes_first_and_closing_ends_it(many, gated, no_warm_up, qtbot):
    others = prefetching()
    widget = opened(many, gated)
    controller = widget.controller
    qtbot.waitUntil(lambda: gated.asked == 1, timeout=SHORT)
    controller.session.add_box(30, BOX)
    assert controller.segment_slice(30)
    # One frame was begun, the next one is the one that is asked for.
    gated.open(2)
    assert controller.wait(10)
    qtbot.waitUntil(lambda: len(gated.embedded) == 2, timeout=SHORT)
    assert sorted(frames_of(gated, many)) == [10, 30]
    assert controller.session.labels[30].any()
    (thread,) = (t for t in prefetching() if t not in others)
    many.window.remove_dock_widget(widget)
    gated.open()
    qtbot.waitUntil(lambda: not thread.is_alive(), timeout=SHORT)
    assert len(gated.embedded) <= 3


def test_closing_the_window_ends_it_too(many, model, no_warm_up, qtbot):
    others = prefetching()
    opened(many, model)
    qtbot.waitUntil(lambda: len(model.embedded) == 11, timeout=SHORT)
    (thread,) = (t for t in prefetching() if t not in others)
    many.close()
    qtbot.waitUntil(lambda: not thread.is_alive(), timeout=SHORT)
