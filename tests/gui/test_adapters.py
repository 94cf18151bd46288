from __future__ import annotations

import numpy as np
import pytest

from napari_medsam2 import Volume
from napari_medsam2.gui.adapters import (
    DrawnPoint,
    DrawnShape,
    FrameView,
    collect,
    draw_points,
    draw_shapes,
    nearest,
)
from napari_medsam2.prompts import (
    BoxPrompt,
    MaskPrompt,
    PointPrompt,
    PolygonPrompt,
    PromptSet,
    ScribblePrompt,
)

AXIAL = FrameView((5, 64, 80), 0, ())
CORONAL = FrameView((5, 64, 80), 1, ())


def corners(frame: float, y0: float, x0: float, y1: float, x1: float) -> np.ndarray:
    return np.array([[frame, y0, x0], [frame, y0, x1], [frame, y1, x1], [frame, y1, x0]])


def box_of(vertices: np.ndarray, view: FrameView = AXIAL) -> BoxPrompt:
    ((prompt,),) = [
        o.prompts for o in collect([DrawnShape("rectangle", vertices, 1)], [], view).prompts.objects
    ]
    return prompt


@pytest.mark.parametrize(
    ("value", "index"), [(0.5, 1), (1.5, 2), (2.49, 2), (-0.5, 0), (-0.51, -1)]
)
def test_halves_always_round_up(value, index):
    assert nearest(value) == index


def test_rectangle_around_pixels_10_to_19_is_10_to_20():
    assert box_of(corners(2, 9.5, 9.5, 19.5, 19.5)) == BoxPrompt(2, (10, 10, 20, 20))


@pytest.mark.parametrize("wobble", [-0.45, -0.2, 0.2, 0.45])
def test_corners_snap_to_the_nearest_border(wobble):
    drawn = corners(2, 9.5 + wobble, 9.5 + wobble, 19.5 + wobble, 19.5 + wobble)
    assert box_of(drawn) == BoxPrompt(2, (10, 10, 20, 20))


def test_box_is_clipped_to_the_image():
    assert box_of(corners(2, -20, 70.5, 9.5, 200)) == BoxPrompt(2, (0, 71, 10, 80))


def test_box_is_the_bounds_of_a_turned_rectangle_and_of_an_ellipse():
    turned = np.array([[1, 9.5, 19.5], [1, 19.5, 29.5], [1, 29.5, 19.5], [1, 19.5, 9.5]])
    assert box_of(turned) == BoxPrompt(1, (10, 10, 30, 30))
    found = collect([DrawnShape("ellipse", turned, 1)], [], AXIAL)
    assert found.prompts[1].prompts == (BoxPrompt(1, (10, 10, 30, 30)),)


def test_a_click_with_the_box_tool_is_no_box_and_no_problem():
    click = corners(2, 10.0, 10.0, 10.28, 10.28)
    found = collect([DrawnShape("rectangle", click, 1)], [], AXIAL)
    assert found.prompts == PromptSet()
    assert found.stray_shapes == (0,)
    assert found.problems == ()


def test_a_box_outside_the_image_is_left_out_and_told():
    found = collect([DrawnShape("rectangle", corners(2, 70, 10, 90, 20), 1)], [], AXIAL)
    assert found.prompts == PromptSet()
    assert found.stray_shapes == (0,)
    assert "outside the image" in found.problems[0]


def test_a_click_outside_the_image_is_left_out_and_told():
    points = [
        DrawnPoint(np.array([2, -3.0, 10.0]), 1, axis=0),
        DrawnPoint(np.array([2, 3, 4]), 1, axis=0),
    ]
    found = collect([], points, AXIAL)
    assert found.prompts[1].prompts == (PointPrompt(2, ((3, 4),), (1,)),)
    assert found.stray_points == (0,)
    assert "outside the image" in found.problems[0]


def test_points_of_a_frame_are_one_prompt_with_their_polarity():
    points = [
        DrawnPoint(np.array([2, 10.25, 11.0]), 3, "positive", 0),
        DrawnPoint(np.array([1.6, 12.0, 13.0]), 3, "negative", 0),
        DrawnPoint(np.array([4, 1.0, 2.0]), 3, "positive", 0),
    ]
    prompts = collect([], points, AXIAL).prompts
    assert prompts[3].prompts == (
        PointPrompt(2, ((10.25, 11.0), (12.0, 13.0)), (1, 0)),
        PointPrompt(4, ((1.0, 2.0),), (1,)),
    )


def test_coronal_rectangle_lies_on_the_coronal_axis_and_waits_in_the_axial_view():
    drawn = np.array([[0.5, 30, 9.5], [0.5, 30, 29.5], [3.5, 30, 29.5], [3.5, 30, 9.5]])
    assert box_of(drawn, CORONAL) == BoxPrompt(30, (1, 10, 4, 30))
    found = collect([DrawnShape("rectangle", drawn, 1)], [], AXIAL)
    assert found.other_shapes == (0,)
    assert found.prompts == PromptSet()


def test_a_click_belongs_to_the_axis_it_was_made_in():
    click = DrawnPoint(np.array([2, 30, 40]), 1, axis=1)
    assert collect([], [click], AXIAL).other_points == (0,)
    assert collect([], [click], CORONAL).prompts[1].prompts == (PointPrompt(30, ((2, 40),), (1,)),)


def test_a_time_point_of_a_4d_image_sees_its_own_boxes_only():
    volume = Volume(np.zeros((3, 5, 64, 80), np.uint8), axes="tzyx")
    view = FrameView.of(volume.stack("z", at=(1,)))
    assert view == FrameView((3, 5, 64, 80), 1, ((0, 1),))
    shapes = [
        DrawnShape("rectangle", np.insert(corners(4, 9.5, 9.5, 19.5, 19.5), 0, t, axis=1), 1)
        for t in (0, 1)
    ]
    found = collect(shapes, [], view)
    assert found.other_shapes == (0,)
    assert found.prompts[1].prompts == (BoxPrompt(4, (10, 10, 20, 20)),)


def test_a_2d_image_is_frame_0():
    view = FrameView.of(Volume(np.zeros((64, 80), np.uint8)).stack())
    drawn = np.array([[9.5, 9.5], [9.5, 19.5], [19.5, 19.5], [19.5, 9.5]])
    assert box_of(drawn, view) == BoxPrompt(0, (10, 10, 20, 20))


@pytest.mark.parametrize("view", [AXIAL, CORONAL, FrameView((2, 5, 64, 80), 1, ((0, 1),))])
def test_prompts_survive_drawing_and_collecting(view):
    prompts = (
        PromptSet()
        .add(1, BoxPrompt(2, (0, 1, 4, 9)), BoxPrompt(3, (1, 2, 5, 7)), name="liver")
        .add(1, PointPrompt(2, ((1.5, 2.25), (3, 4)), (1, 0)))
        .add(7, PolygonPrompt(1, ((1, 1), (4, 1), (4, 8))))
        .add(7, ScribblePrompt(1, ((1, 1), (3, 6)), 0), ScribblePrompt(4, ((2, 2),), 1))
    )
    mask = np.zeros(view.frame_shape, bool)
    mask[1:3, 2:5] = True
    prompts = prompts.add(9, MaskPrompt(0, mask))
    found = collect(draw_shapes(prompts, view), draw_points(prompts, view), view, prompts)
    assert found.prompts == prompts
    assert (found.other_shapes, found.stray_shapes, found.problems) == ((), (), ())


def test_objects_keep_their_names_when_their_prompts_go():
    known = PromptSet().add(4, BoxPrompt(0, (1, 1, 9, 9)), name="aorta")
    found = collect([], [], AXIAL, known)
    assert found.prompts == PromptSet().add(4, name="aorta")


def test_a_broken_object_id_is_told():
    found = collect([DrawnShape("rectangle", corners(2, 9.5, 9.5, 19.5, 19.5), "x")], [], AXIAL)
    assert found.stray_shapes == (0,)
    assert "object id" in found.problems[0]
