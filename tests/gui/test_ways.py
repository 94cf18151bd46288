"""Votes among axes and objects through time, from the widget."""

from __future__ import annotations

import numpy as np
import pytest
from napari.components import ViewerModel
from tests.gui.conftest import session_maker
from tests.gui.hands import click

from napari_medsam2.gui.controller import Controller
from napari_medsam2.gui.course import ways
from napari_medsam2.gui.widget import MedSAM2Widget

CUBE = (slice(20, 44),) * 3
BOX = (18, 18, 46, 46)


def cube() -> np.ndarray:
    image = np.full((64, 64, 64), 20, dtype=np.uint8)
    image[CUBE] = 200
    return image


@pytest.mark.parametrize(
    ("axes", "axis", "more"),
    [
        ("yx", 0, []),
        ("tyx", 0, []),
        ("zyx", 1, ["vote"]),
        ("tzyx", 0, []),
        ("tzyx", 1, ["vote", "later", "earlier"]),
        ("tzyx", 2, ["vote"]),
    ],
)
def test_the_ways_that_an_image_offers(axes, axis, more):
    assert list(ways(axes, axis)) == ["both", "forward", "backward", *more]


def test_a_vote_from_the_list_beside_propagate(make_napari_viewer, model, cold, qtbot):
    viewer = make_napari_viewer(show=True)
    viewer.add_image(cube(), name="cube")
    widget = MedSAM2Widget(viewer, make_session=session_maker(model))
    viewer.window.add_dock_widget(widget, name="MedSAM2")
    widget.controller.bench.configure(model="litemedsam")
    widget.controller.session.add_box(30, BOX)
    way = widget.segment.way
    qtbot.waitUntil(lambda: way.findText("Vote: z, y, x") >= 0)
    way.setCurrentIndex(way.findText("Vote: z, y, x"))
    click(widget.segment.propagate, qtbot)
    qtbot.waitUntil(lambda: widget.controller.state == "idle", timeout=30_000)
    session = widget.controller.session
    np.testing.assert_array_equal(session.labels == 1, cube() > 100)
    assert session.undo_text == "vote on object 1"


def test_an_object_through_time_fills_the_time_points(model):
    movie = np.full((3, 8, 64, 64), 20, dtype=np.uint8)
    for time in range(3):
        movie[time, 1:7, 20:40, 10 + 2 * time : 30 + 2 * time] = 200
    viewer = ViewerModel()
    viewer.add_image(movie, name="movie")
    viewer.dims.set_current_step(0, 0)
    viewer.dims.set_current_step(1, 3)
    controller = Controller(viewer, session_maker(model))
    # What stands in for the model takes boxes alone, as this one does.
    controller.bench.configure(model="litemedsam")
    controller.session.add_box(3, (18, 8, 42, 32))
    controller.course.way = "later"
    assert controller.propagate_as_set()
    assert controller.wait(30)
    np.testing.assert_array_equal(viewer.layers["movie [MedSAM2]"].data == 1, movie > 100)
    viewer.dims.set_current_step(0, 2)
    assert np.isfinite(controller.session.scores[1][1:7]).all()
    controller.undo()
    assert not viewer.layers["movie [MedSAM2]"].data.any()
    assert viewer.dims.current_step[0] == 0
    controller.close()
