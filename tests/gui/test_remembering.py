"""Preferences reach the widget when it opens, are followed, and kept when something is chosen."""

from __future__ import annotations

import pytest
from napari.settings import get_plugin_settings
from tests.gui.common import draw, texts
from tests.gui.conftest import session_maker

from napari_medsam2.gui.controller import Controller
from napari_medsam2.gui.preferences import Preferences
from napari_medsam2.gui.remembering import Remembering

PLUGIN = "napari-medsam2"


def general():
    return get_plugin_settings(PLUGIN).general


@pytest.fixture
def remembering(controller):
    remembering = Remembering(controller)
    yield remembering
    remembering.close()


def test_what_was_remembered_is_applied_at_the_start(viewer_model, model):
    general().update({"model": "litemedsam", "precision": "fp32", "prefetch": False, "cache_mb": 7})
    general().segment_while_drawing = False
    controller = Controller(viewer_model, session_maker(model))
    Remembering(controller)
    settings = controller.bench.settings
    assert (settings.model, settings.precision, settings.prefetch) == ("litemedsam", "fp32", False)
    assert not controller.segment_while_drawing
    assert controller.session.cache.max_bytes == 7 * 2**20
    controller.close()


def test_another_cache_size_reaches_the_session_at_hand(controller, remembering):
    draw(controller)
    assert controller.segment_slice(2)
    controller.wait(30)
    session = controller.session
    assert len(session.cache) > 0
    general().cache_mb = 0
    assert controller.session is session
    assert session.cache.max_bytes == 0
    assert len(session.cache) == 0


def test_napari_preferences_are_followed(controller, remembering):
    seen = []
    remembering.changed.connect(seen.append)
    general().device = "cpu"
    general().segment_while_drawing = False
    assert controller.bench.settings.device == "cpu"
    assert not controller.segment_while_drawing
    assert seen[-1] == Preferences(device="cpu", segment_while_drawing=False)


def test_a_change_of_one_setting_leaves_the_others_as_they_are_here(controller, remembering):
    controller.bench.configure(model="litemedsam")
    general().device = "cpu"
    assert controller.bench.settings.model == "litemedsam"


def test_what_is_no_preference_is_not_kept(remembering):
    remembering.remember(memory="self-sorting", device="cpu")
    assert remembering.preferences == Preferences(device="cpu")
    assert general().device == "cpu"


def test_a_bad_model_does_not_keep_the_widget_from_opening(viewer_model, model, notes):
    general().model = "nothing-like-it"
    controller = Controller(viewer_model, session_maker(model))
    Remembering(controller)
    assert controller.bench.settings.model == Preferences().model
    assert "setting model" in texts(notes)[0]
    controller.close()
