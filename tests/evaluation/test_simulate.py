"""Simulated prompts, on shapes whose right prompt is known."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medsam2.errors import InputError
from napari_medsam2.evaluation.simulate import PROMPTS, click_in_error, innermost, simulate
from napari_medsam2.prompts import BoxPrompt, MaskPrompt, PointPrompt


def square(y0: int = 10, x0: int = 20, y1: int = 21, x1: int = 31) -> np.ndarray:
    mask = np.zeros((60, 80), bool)
    mask[y0:y1, x0:x1] = True
    return mask


def rng() -> np.random.Generator:
    return np.random.default_rng(4)


def test_a_box_is_that_of_the_truth() -> None:
    assert simulate("box", square(), 3, rng()) == (BoxPrompt(3, (10, 20, 21, 31)),)


def test_a_moved_box_stays_within_reach_and_in_the_image() -> None:
    sides = []
    generator = rng()
    for _ in range(200):
        (prompt,) = simulate("box+5px", square(), 0, generator)
        assert isinstance(prompt, BoxPrompt)
        sides.append(np.subtract(prompt.box, (10, 20, 21, 31)))
    assert np.abs(sides).max() == 5
    assert len({tuple(s) for s in sides}) > 50
    (prompt,) = simulate("box+20px", square(0, 0, 2, 2), 0, generator)
    y0, x0, y1, x1 = prompt.box
    assert 0 <= y0 < y1 <= 60
    assert 0 <= x0 < x1 <= 80


def test_a_box_around_a_single_pixel_can_be_drawn() -> None:
    (prompt,) = simulate("box", square(59, 79, 60, 80), 0, rng())
    assert prompt.box == (58, 78, 60, 80)


def test_the_same_seed_moves_alike() -> None:
    one, other = (simulate("box+9px", square(), 0, rng()) for _ in range(2))
    assert one == other


def test_a_point_is_the_innermost_one() -> None:
    assert innermost(square()) == (15, 25)
    assert simulate("point", square(), 2, rng()) == (PointPrompt(2, ((15, 25),), (1,)),)
    # At the border of the image, the middle is still the middle.
    assert innermost(square(0, 0, 11, 11)) == (5, 5)


def test_three_points_lie_on_the_object() -> None:
    (prompt,) = simulate("points3", square(), 2, rng())
    assert isinstance(prompt, PointPrompt)
    assert prompt.labels == (1, 1, 1)
    assert all(square()[int(y), int(x)] for y, x in prompt.points)
    (single,) = simulate("points3", square(10, 20, 11, 21), 2, rng())
    assert set(single.points) == {(10, 20)}


def test_a_mask_is_the_truth() -> None:
    (prompt,) = simulate("mask", square(), 2, rng())
    assert isinstance(prompt, MaskPrompt)
    np.testing.assert_array_equal(prompt.mask, square())


@pytest.mark.parametrize("kind", [*PROMPTS, "box+3px"])
def test_nothing_cannot_be_prompted(kind: str) -> None:
    with pytest.raises(InputError, match="frame 7: there is no object"):
        simulate(kind, np.zeros((5, 5), bool), 7, rng())


@pytest.mark.parametrize("kind", ["boxes", "box+px", "box+-3px", ""])
def test_unknown_prompts(kind: str) -> None:
    with pytest.raises(InputError, match="unknown prompt"):
        simulate(kind, square(), 0, rng())


def test_a_click_goes_into_the_largest_error() -> None:
    truth = square()
    found = truth.copy()
    found[10:13, 20:23] = False  # 9 pixels missing
    assert click_in_error(found, truth) == ((11, 21), 1)
    found[40:45, 50:55] = True  # 25 pixels too much
    assert click_in_error(found, truth) == ((42, 52), 0)
    assert click_in_error(truth, truth) is None
