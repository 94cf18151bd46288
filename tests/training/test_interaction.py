"""Prompts as a person would give them while a model learns."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medsam2.training.interaction import (
    blurred_mask,
    error_click,
    first_click,
    loose_box,
)


def block(y0: int, x0: int, y1: int, x1: int, side: int = 256) -> np.ndarray:
    mask = np.zeros((side, side), dtype=bool)
    mask[y0:y1, x0:x1] = True
    return mask


def rngs(count: int = 60) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in range(count)]


NOTHING = np.zeros((256, 256), dtype=bool)


def test_the_first_click_is_on_the_object() -> None:
    truth = block(100, 40, 131, 61)
    clicks = [first_click(truth, rng) for rng in rngs()]
    assert all(truth[int(y), int(x)] and label == 1 for x, y, label in clicks)
    middle = sum((x, y) == (50, 115) or abs(x - 50) < 1 for x, y, _ in clicks)
    assert 15 < middle < 50  # often in the middle, often elsewhere
    # Two pixels off the border.
    assert all(102 <= y < 129 and 42 <= x < 59 for x, y, _ in clicks)


def test_an_object_thinner_than_the_border_is_clicked_all_the_same() -> None:
    truth = block(10, 10, 11, 60)
    assert all(truth[int(y), int(x)] for x, y, _ in (first_click(truth, r) for r in rngs(20)))


def test_a_correction_adds_what_is_missing() -> None:
    truth, found = block(50, 50, 100, 100), block(50, 50, 100, 70)
    for rng in rngs():
        x, y, label = error_click(found, truth, rng)
        assert label == 1
        assert 70 <= x < 100
        assert 50 <= y < 100


def test_a_correction_takes_away_what_is_too_much() -> None:
    truth, found = block(50, 50, 100, 70), block(50, 50, 100, 100)
    for rng in rngs():
        x, y, label = error_click(found, truth, rng)
        assert label == 0
        assert 70 <= x < 100
        assert 50 <= y < 100


def test_where_the_object_is_absent_clicks_are_negative() -> None:
    found = block(10, 10, 40, 40)
    assert {error_click(found, NOTHING, rng)[2] for rng in rngs()} == {0}
    for rng in rngs():
        x, y, label = error_click(NOTHING, NOTHING, rng)
        assert label == 0
        assert 0 <= x < 256
        assert 0 <= y < 256


def test_where_nothing_is_wrong_the_object_is_clicked() -> None:
    truth = block(50, 50, 100, 70)
    for rng in rngs():
        x, y, label = error_click(truth, truth, rng)
        assert label == 1
        assert truth[int(y), int(x)]


def test_boxes_are_a_little_off() -> None:
    truth = block(100, 60, 150, 140)
    boxes = np.stack([loose_box(truth, rng) for rng in rngs(300)])
    tight = np.array([60, 100, 139, 149])
    off = boxes - tight
    # x0, y0, x1, y1; a normal of 8 % of the side, one pixel wider on average.
    np.testing.assert_allclose(off.mean(0), [-1, -1, 1, 1], atol=1.2)
    np.testing.assert_allclose(off.std(0), [6.1, 4.0, 6.1, 4.0], rtol=0.2)
    assert np.abs(off).max() <= 14
    assert (boxes[:, 0] < boxes[:, 2]).all()
    assert (boxes[:, 1] < boxes[:, 3]).all()


@pytest.mark.parametrize("side", [128, 256, 512])
def test_boxes_stay_inside_whatever_the_square(side: int) -> None:
    truth = block(0, 0, side, side, side)
    boxes = np.stack([loose_box(truth, rng) for rng in rngs()])
    assert boxes.min() >= 0
    assert boxes.max() == side - 1


def test_a_box_is_as_loose_on_a_larger_square() -> None:
    small, large = block(100, 60, 150, 140), block(200, 120, 300, 280, 512)
    for seed in range(20):
        one = loose_box(small, np.random.default_rng(seed))
        other = loose_box(large, np.random.default_rng(seed))
        np.testing.assert_allclose(other, 2 * one, atol=2.1)


def test_a_mask_is_not_quite_right() -> None:
    truth = block(100, 100, 140, 160)
    masks = [blurred_mask(truth, rng) for rng in rngs(200)]
    assert all(mask.any() and mask.dtype == bool for mask in masks)
    overlaps = [(m & truth).sum() / (m | truth).sum() for m in masks]
    assert min(overlaps) > 0.5
    same = np.mean([np.array_equal(m, truth) for m in masks])
    assert 0.1 < same < 0.5
    assert any(m.sum() > truth.sum() for m in masks)
    assert any(m.sum() < truth.sum() for m in masks)


def test_a_small_mask_is_not_lost() -> None:
    assert all(blurred_mask(block(0, 0, 1, 2), rng).any() for rng in rngs())


def test_random_numbers_decide_alone() -> None:
    truth, found = block(50, 50, 100, 100), block(60, 40, 110, 90)
    for make in (
        lambda rng: first_click(truth, rng),
        lambda rng: error_click(found, truth, rng),
        lambda rng: tuple(loose_box(truth, rng)),
    ):
        results = [make(np.random.default_rng(seed)) for seed in (1, 1, 2, 3, 4)]
        assert results[0] == results[1]
        assert len(set(results)) > 1
