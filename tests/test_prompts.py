"""Prompts: what is accepted, what is refused and in which words."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_medsam2.errors import PromptError
from napari_medsam2.prompts import (
    BoxPrompt,
    MaskPrompt,
    PointPrompt,
    PolygonPrompt,
    PromptSet,
    ScribblePrompt,
    check_prompt,
)

SHAPE = (40, 50)


@pytest.mark.parametrize(
    ("box", "message"),
    [
        ((5, 5, 4, 9), "inverted"),
        ((5, 9, 9, 5), "inverted"),
        ((5, 5, 5, 5), "0 x 0 pixels"),
        ((5, 5, 6, 6), "1 x 1 pixels; draw one of at least 2 x 2"),
        ((5, 5, 6, 60), "1 x 55 pixels"),
        ((5, 5, float("nan"), 9), "finite"),
        ((5, 5, 9), "four numbers"),
        (("a", 5, 6, 9), "four numbers"),
    ],
)
def test_a_box_without_an_inside_is_refused(box, message):
    with pytest.raises(PromptError, match=f"frame 3: .*{message}"):
        BoxPrompt(3, box)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (
            BoxPrompt(2, (50, 5, 60, 9)),
            "object 4, frame 2: box .* lies outside the frame of 40 x 50",
        ),
        (BoxPrompt(2, (-9, 5, -3, 9)), "lies outside"),
        (BoxPrompt(2, (39, 5, 60, 9)), "leaves 1 x 4 pixels inside"),
        (BoxPrompt(7, (5, 5, 9, 9)), "object 4, frame 7: the image has frames 0 to 4"),
        (PointPrompt(1, ((39.6, 3),), (1,)), r"point \(39.6, 3\) lies outside"),
        (PointPrompt(1, ((3, -0.6),), (1,)), "lies outside"),
        (PolygonPrompt(1, ((60, 60), (70, 60), (70, 70))), "the polygon lies outside"),
        (ScribblePrompt(1, ((-5, -5), (-3, -3))), "the scribble lies outside"),
        (MaskPrompt(1, np.ones((4, 4))), r"the mask is \(4, 4\), frames are 40 x 50"),
    ],
)
def test_a_prompt_off_the_image_is_refused(prompt, message):
    with pytest.raises(PromptError, match=message):
        check_prompt(prompt, 5, SHAPE, 4)


@pytest.mark.parametrize(
    "prompt",
    [
        BoxPrompt(4, (-10, -10, 100, 100)),
        BoxPrompt(0, (38, 48, 40, 50)),
        PointPrompt(1, ((-0.5, -0.5), (39.4, 49.4)), (1, 0)),
        PolygonPrompt(1, ((-5, -5), (10, 60), (70, 10))),
        ScribblePrompt(1, ((-5, -5), (3, 3))),
        MaskPrompt(1, np.ones(SHAPE)),
    ],
)
def test_a_prompt_on_or_over_the_border_is_accepted(prompt):
    check_prompt(prompt, 5, SHAPE, 4)


def test_a_one_pixel_high_image_can_be_boxed():
    check_prompt(BoxPrompt(0, (-1, 2, 2, 6)), 1, (1, 20))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: PointPrompt(1, ((1, 2),), (1, 0)), "1 points need as many labels, got 2"),
        (lambda: PointPrompt(1, (), ()), "at least 1 needed"),
        (lambda: PointPrompt(1, ((1, 2),), (2,)), "a label is 1"),
        (lambda: PointPrompt(1, ((1, 2, 3),), (1,)), "pairs of numbers"),
        (lambda: PointPrompt(1, ((1, float("inf")),), (1,)), "finite"),
        (lambda: PointPrompt(-1, ((1, 2),), (1,)), "whole number from 0, got -1"),
        (lambda: PointPrompt(1.5, ((1, 2),), (1,)), "whole number from 0, got 1.5"),
        (lambda: PolygonPrompt(1, ((1, 2), (3, 4))), "at least 3 needed, got 2"),
        (lambda: MaskPrompt(1, np.zeros((4, 4))), "frame 1: the mask is empty"),
        (lambda: MaskPrompt(1, np.ones((2, 4, 4))), "a mask is 2D"),
        (lambda: PromptSet().add(0), "outside 1..65535"),
        (lambda: PromptSet().add(65_536), "outside 1..65535"),
        (lambda: PromptSet().add(True), "whole number, got True"),
        (lambda: PromptSet()[3], "no object 3; objects: none yet"),
        (lambda: PromptSet().add(2).remove(1), "no object 1; objects: 2"),
    ],
)
def test_malformed_prompts_are_refused(build, message):
    with pytest.raises(PromptError, match=message):
        build()


def test_a_mask_prompt_is_a_frozen_copy():
    mask = np.ones((4, 4), bool)
    prompt = MaskPrompt(1, mask)
    mask[:] = False
    assert prompt.mask.all()
    with pytest.raises(ValueError, match="read-only"):
        prompt.mask[0, 0] = False
    assert prompt == MaskPrompt(1, np.ones((4, 4)))
    assert hash(prompt) == hash(MaskPrompt(1, np.ones((4, 4))))
    assert prompt != MaskPrompt(2, np.ones((4, 4)))


def test_a_mask_prompt_costs_what_its_object_needs():
    mask = np.zeros((5000, 5000), bool)
    mask[2000:2100, 3000:3200] = np.random.default_rng(0).random((100, 200)) > 0.5
    prompt = MaskPrompt(1, mask)
    assert prompt.bbox == (2000, 3000, 2100, 3200)
    assert len(prompt.bits) < 3000
    np.testing.assert_array_equal(prompt.mask, mask)
    again = MaskPrompt.cropped(1, mask.shape, prompt.bbox, mask[2000:2100, 3000:3200])
    assert again == prompt
    assert pickle.loads(pickle.dumps(prompt)) == prompt


def test_a_scribble_becomes_evenly_spaced_points():
    # An L of 10 + 10 pixels: five points stand 5 pixels apart along it.
    points = ScribblePrompt(2, ((0, 0), (10, 0), (10, 10)), 0).as_points(5)
    assert points == PointPrompt(2, ((0, 0), (5, 0), (10, 0), (10, 5), (10, 10)), (0,) * 5)


def test_a_dot_becomes_one_point():
    assert ScribblePrompt(2, ((3, 4), (3, 4.5))).as_points().points == ((3, 4.25),)
    assert ScribblePrompt(2, ((3, 4),)).as_points().points == ((3, 4),)


def test_a_set_changes_by_making_new_ones():
    box, point = BoxPrompt(3, (1, 2, 5, 6)), PointPrompt(1, ((1, 2),), (1,))
    first = PromptSet().add(2, box, name="liver")
    both = first.add(1, point).add(2, point)
    assert first.ids == (2,)
    assert both.ids == (1, 2)
    assert both[2].name == "liver"
    assert both[2].prompts == (box, point)
    assert both[2].frames == (1, 3)
    assert both[2].on(3) == (box,)
    assert both.frames == (1, 3)
    assert both.clear(2, 3)[2].prompts == (point,)
    assert both.clear(2)[2].prompts == ()
    assert both.clear(2).prompted_ids == (1,)
    assert both.clear(frame=1).prompted_ids == (2,)
    assert both.clear().prompted_ids == ()
    assert both.remove(1).ids == (2,)
    assert both.only([2]).ids == (2,)
    assert 2 in both
    assert 3 not in both


finite = st.floats(-1e6, 1e6)


@given(st.tuples(finite, finite), st.floats(2, 1e6), st.floats(2, 1e6), st.integers(0, 10**9))
def test_a_proper_box_is_kept_exactly(corner, height, width, frame):
    y0, x0 = corner
    y1, x1 = y0 + height, x0 + width
    if y1 - y0 >= 2 and x1 - x0 >= 2:
        assert BoxPrompt(frame, (y0, x0, y1, x1)).box == (y0, x0, y1, x1)


@given(st.lists(st.tuples(finite, finite), min_size=1, max_size=30), st.integers(1, 12))
def test_scribble_points_are_few_and_within_its_extent(path, n):
    points = np.array(ScribblePrompt(0, tuple(path)).as_points(n).points)
    assert 1 <= len(points) <= n
    low, high = np.min(path, axis=0), np.max(path, axis=0)
    assert (points >= low - 1e-3).all()
    assert (points <= high + 1e-3).all()
