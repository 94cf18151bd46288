"""Drawing with the mouse in every kind of view: the voxel that is pointed at is the one hit."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from qtpy.QtWidgets import QApplication
from tests.gui.conftest import session_maker
from tests.gui.hands import go_to, spot_of, stroke

from napari_medsam2.gui.widget import MedSAM2Widget
from napari_medsam2.prompts import BoxPrompt, PointPrompt

if TYPE_CHECKING:
    from napari.layers import Image
    from napari.viewer import Viewer

# A bright block in the dark; every side has another length.
SHAPE = (16, 48, 64)
BLOCK = (slice(4, 12), slice(12, 30), slice(20, 50))
CENTRE = (7, 20, 33)


def block() -> np.ndarray:
    image = np.full(SHAPE, 20, np.uint8)
    image[BLOCK] = 220
    return image


def turn(degrees: float, ndim: int = 3) -> np.ndarray:
    angle = np.deg2rad(degrees)
    matrix = np.eye(ndim)
    matrix[-2:, -2:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    return matrix


@dataclass(frozen=True)
class Case:
    """A way to look at the block.

    `axis` is the frame axis of the image that results; `others` are layers that are there, too.
    """

    axis: int
    order: tuple[int, ...] = (0, 1, 2)
    placed: dict[str, Any] = field(default_factory=dict)
    others: tuple[tuple[tuple[int, ...], dict[str, Any]], ...] = ()
    rolls: int = 0


SCALED = {"scale": (3.0, 0.5, 0.75), "translate": (40.0, -7.0, 11.0)}
CASES = {
    "axial": Case(0),
    "coronal": Case(1, (1, 0, 2)),
    "sagittal": Case(2, (2, 0, 1)),
    "axial, rows and columns exchanged": Case(0, (0, 2, 1)),
    "coronal, rows and columns exchanged": Case(1, (1, 2, 0)),
    "rolled once": Case(2, rolls=1),
    "rolled twice": Case(1, rolls=2),
    "scaled and translated": Case(0, placed=SCALED),
    "coronal, scaled and translated": Case(1, (1, 0, 2), SCALED),
    "scaled, translated and rotated": Case(0, placed={**SCALED, "rotate": turn(25)}),
    "rotated, rows and columns exchanged": Case(0, (0, 2, 1), {**SCALED, "rotate": turn(-40)}),
    "sheared": Case(0, placed={**SCALED, "shear": (0.0, 0.0, 0.3)}),
    "an affine transform": Case(
        0,
        placed={
            "scale": (3.0, 1.0, 1.0),
            "affine": np.block([[turn(15), np.array([[5.0], [9.0], [-4.0]])], [np.eye(4)[3:]]]),
        },
    ),
    "mirrored": Case(0, placed={"scale": (3.0, -1.0, 1.0)}),
    "beside a larger image": Case(
        0, placed=SCALED, others=(((40, 90, 90), {"scale": (2.0, 1.0, 1.0)}),)
    ),
    "in a viewer of four axes": Case(0, (0, 1, 2, 3), others=(((3, *SHAPE), {}),)),
    "coronal in a viewer of four axes": Case(1, (0, 2, 1, 3), others=(((3, *SHAPE), {}),)),
}


@pytest.fixture
def open_widget(make_napari_viewer, model, cold):
    def build(data: np.ndarray, case: Case) -> tuple[Viewer, Image, MedSAM2Widget]:
        viewer = make_napari_viewer(show=True)
        for shape, placed in case.others:
            viewer.add_image(np.zeros(shape, np.uint8), name="other", **placed)
        image = viewer.add_image(data, name="block", **case.placed)
        viewer.dims.order = case.order
        for _ in range(case.rolls):
            viewer.dims.roll()
        widget = MedSAM2Widget(viewer, make_session=session_maker(model))
        viewer.window.add_dock_widget(widget, name="MedSAM2")
        widget.controller.bench.use(image)
        QApplication.processEvents()
        viewer.reset_view()
        QApplication.processEvents()
        return viewer, image, widget

    return build


def corners(axis: int, margin: float = 2.0) -> tuple[np.ndarray, np.ndarray]:
    """Two opposite corners, as a layer has them, of a rectangle around the block in a plane."""
    start, end = (np.array(CENTRE, float) for _ in range(2))
    for i in range(3):
        if i != axis:
            start[i], end[i] = BLOCK[i].start - 0.5 - margin, BLOCK[i].stop - 0.5 + margin
    return start, end


def box_around(axis: int, margin: int = 2) -> tuple[int, ...]:
    y, x = (BLOCK[i] for i in range(3) if i != axis)
    return y.start - margin, x.start - margin, y.stop + margin, x.stop + margin


@pytest.mark.parametrize("name", CASES)
def test_a_box_and_a_click_hit_what_they_are_drawn_on(name, open_widget, qtbot):
    case = CASES[name]
    viewer, image, widget = open_widget(block(), case)
    controller, axis = widget.controller, case.axis
    go_to(viewer, image, CENTRE)
    controller.use_box_tool()
    start, end = corners(axis)
    stroke(viewer, qtbot, [spot_of(viewer, image, start), spot_of(viewer, image, end)])
    labels = np.zeros(SHAPE, bool)
    labels[BLOCK] = True
    expected = np.moveaxis(labels, axis, 0)[CENTRE[axis]]
    qtbot.waitUntil(lambda: controller.session.labels.any(), timeout=10_000)
    session = controller.session
    assert session.stack.axis == axis
    (box,) = session.prompts[1].prompts
    assert isinstance(box, BoxPrompt)
    assert box.frame == CENTRE[axis]
    assert np.abs(np.subtract(box.box, box_around(axis))).max() <= 1
    found = np.moveaxis(session.labels == 1, axis, 0)
    np.testing.assert_array_equal(found[CENTRE[axis]], expected)
    assert found.sum() == expected.sum()

    controller.use_point_tool()
    place = np.array(CENTRE, float)
    plane = [i for i in range(3) if i != axis]
    place[plane] = [BLOCK[i].start + 3 for i in plane]
    stroke(viewer, qtbot, [spot_of(viewer, image, place)])
    qtbot.waitUntil(lambda: len(controller.session.prompts[1].prompts) == 2, timeout=10_000)
    (click,) = [p for p in session.prompts[1].prompts if isinstance(p, PointPrompt)]
    assert click.frame == CENTRE[axis]
    assert click.labels == (1,)
    # Half a pixel of the screen may be more than half a voxel.
    voxel = np.floor(np.array(click.points[0]) + 0.5)
    step = 1 / viewer.scene.camera.zoom
    sizes = [abs(image.scale[i]) for i in plane]
    assert (np.abs(voxel - place[plane]) <= [0.5 + step / size for size in sizes]).all()


def test_a_plane_in_a_viewer_of_three_axes(open_widget, qtbot):
    case = Case(0, others=(((9, 48, 64), {}),))
    viewer, image, widget = open_widget(block()[7], case)
    controller = widget.controller
    viewer.dims.set_current_step(0, 4)
    controller.use_box_tool()
    around = [(9.5, 17.5), (31.5, 51.5)]
    stroke(viewer, qtbot, [spot_of(viewer, image, place) for place in around])
    qtbot.waitUntil(lambda: controller.session.labels.any(), timeout=10_000)
    np.testing.assert_array_equal(controller.session.labels == 1, block()[7] == 220)


def test_a_slider_beyond_the_image_is_no_slice_of_it(open_widget):
    case = CASES["beside a larger image"]
    viewer, _, widget = open_widget(block(), case)
    viewer.dims.set_point(0, 2.0)
    widget.controller.session.add_box(3, (10, 18, 32, 52))
    assert not widget.controller.segment_slice()
    assert "the slider stands outside block" in str(widget.controller.last_error)


def test_five_axes_after_splitting_are_drawn_on_in_a_coronal_view(open_widget, qtbot):
    movie = np.stack([np.stack([block() // 4, block()])] * 2, axis=1)  # ctzyx
    viewer, image, widget = open_widget(
        movie, Case(0, (0, 1, 2, 3, 4), {"axis_labels": tuple("ctzyx"), "scale": (1, 1, 3, 1, 1)})
    )
    controller = widget.controller
    controller.split_channels(0)
    image = viewer.layers["block channel 1"]
    controller.bench.use(image)
    viewer.dims.order = (0, 2, 1, 3)
    viewer.reset_view()
    QApplication.processEvents()
    go_to(viewer, image, (1, *CENTRE))
    controller.use_box_tool()
    start, end = (np.insert(corner, 0, 1) for corner in corners(1))
    stroke(viewer, qtbot, [spot_of(viewer, image, start), spot_of(viewer, image, end)])
    qtbot.waitUntil(lambda: controller.session.labels.any(), timeout=10_000)
    stack = controller.session.stack
    assert (stack.axis, stack.at, stack.channel) == (2, (1,), 1)
    np.testing.assert_array_equal(
        controller.session.labels[1, :, CENTRE[1]] == 1, block()[:, CENTRE[1]] == 220
    )
    assert not controller.session.labels[0].any()
