"""Frames shown in other ways, with their labels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from napari_medsam2.training.augment import Augmentation, draw

SHAPE = (90, 120)
AS_IT_IS = Augmentation(centre=(44.5, 59.5), size=(90, 120), shape=SHAPE)


def square(y: int = 30, x: int = 70, size: int = 21) -> tuple[np.ndarray, np.ndarray]:
    labels = np.zeros(SHAPE, np.uint8)
    labels[y : y + size, x : x + size] = 1
    return np.where(labels, 200, 40).astype(np.float32), labels


def centre(weights: np.ndarray) -> tuple[float, float]:
    y, x = ndimage.center_of_mass(weights)
    return float(y), float(x)


def test_nothing_drawn_is_nothing_changed() -> None:
    image, labels = square()
    np.testing.assert_allclose(AS_IT_IS.image(image), image, atol=1e-3)
    np.testing.assert_array_equal(AS_IT_IS.labels(labels), labels)


@pytest.mark.parametrize("seed", range(20))
def test_labels_and_image_move_together(seed: int) -> None:
    _, labels = square()
    way = draw(SHAPE, (40, 80), np.random.default_rng(seed))
    plain = replace(way, gamma=1, contrast=1, brightness=0, invert=False, noise=0, blur=0)
    shown, moved = plain.image(np.where(labels, 255, 0).astype(np.float32)), plain.labels(labels)
    assert shown.shape == moved.shape == way.shape
    assert max(way.shape) <= 256
    assert moved.any()
    np.testing.assert_allclose(centre(shown), centre(moved), atol=0.3)
    assert shown.sum() / 255 == pytest.approx(moved.sum(), rel=0.06)


def test_the_middle_goes_to_the_middle() -> None:
    _, labels = square(y=20, x=30)
    way = replace(AS_IT_IS, centre=(30.0, 40.0), size=(45.0, 60.0))
    # Twice as large, in the middle of 90 x 120.
    np.testing.assert_allclose(centre(way.labels(labels)), (44.5, 59.5), atol=0.6)
    assert way.labels(labels).sum() == pytest.approx(4 * labels.sum(), rel=0.1)


def test_a_flip_is_a_flip() -> None:
    image, labels = square()
    upside = replace(AS_IT_IS, flip=(True, False))
    mirrored = replace(AS_IT_IS, flip=(False, True))
    np.testing.assert_array_equal(upside.labels(labels), labels[::-1])
    np.testing.assert_array_equal(mirrored.labels(labels), labels[:, ::-1])
    np.testing.assert_allclose(mirrored.image(image), image[:, ::-1], atol=1e-3)


def test_a_quarter_turn_is_a_quarter_turn() -> None:
    labels = np.zeros((64, 64), np.uint8)
    labels[10:20, 40:60] = 1
    way = Augmentation((31.5, 31.5), (64, 64), (64, 64), angle=np.pi / 2)
    turned = way.labels(labels)
    assert any(np.array_equal(turned, np.rot90(labels, k)) for k in (1, 3))


def test_values_of_labels_are_never_mixed() -> None:
    labels = np.zeros(SHAPE, np.uint8)
    labels[10:50, 20:60], labels[50:80, 60:100] = 3, 9
    for seed in range(20):
        way = draw(SHAPE, (45, 60), np.random.default_rng(seed))
        assert set(np.unique(way.labels(labels))) <= {0, 3, 9}


def test_things_are_stretched_too() -> None:
    ratios = []
    labels = np.zeros((256, 256), np.uint8)
    labels[108:148, 108:148] = 1
    for seed in range(60):
        way = replace(draw((256, 256), (128, 128), np.random.default_rng(seed)), angle=0.0)
        ys, xs = np.nonzero(way.labels(labels))
        if len(ys) and ys.min() > 0 and ys.max() < way.shape[0] - 1:
            ratios.append(np.log(np.ptp(ys) / max(np.ptp(xs), 1)))
    assert len(ratios) > 20
    assert np.std(ratios) > 0.1


def test_intensities_by_hand() -> None:
    frame = np.full(SHAPE, 0.25 * 255, np.float32)
    seen = replace(AS_IT_IS, gamma=0.5, contrast=0.8, brightness=0.1).image(frame)
    # 0.25 ** 0.5 = 0.5, which contrast leaves, and a tenth more.
    np.testing.assert_allclose(seen[20:-20, 20:-20], 0.6 * 255, rtol=1e-5)
    inverted = replace(AS_IT_IS, invert=True).image(frame)
    np.testing.assert_allclose(inverted[20:-20, 20:-20], 0.75 * 255, rtol=1e-5)


def test_intensities_stay_in_range() -> None:
    image, _ = square()
    for seed in range(10):
        shown = draw(SHAPE, (45, 60), np.random.default_rng(seed)).image(image)
        assert shown.dtype == np.float32
        assert 0 <= shown.min() <= shown.max() <= 255


def test_each_frame_has_noise_of_its_own_and_always_the_same() -> None:
    frame = np.full(SHAPE, 120, np.float32)
    way = replace(AS_IT_IS, noise=0.05, seed=4)
    np.testing.assert_array_equal(way.image(frame, 1), way.image(frame, 1))
    assert not np.array_equal(way.image(frame, 1), way.image(frame, 2))
    assert way.image(frame, 1).std() == pytest.approx(0.05 * 255, rel=0.05)


def test_a_way_is_drawn_from_its_random_numbers_alone() -> None:
    ways = [draw(SHAPE, (45, 60), np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert ways[0] == ways[1] != ways[2]


def test_colours_are_shown_alike() -> None:
    image, _ = square()
    colour = np.stack([image, image * 0.5, image * 0.25], axis=-1)
    way = draw(SHAPE, (40, 80), np.random.default_rng(3))
    plain = replace(way, noise=0, gamma=1, contrast=1, brightness=0, invert=False)
    np.testing.assert_allclose(plain.image(colour)[..., 0], plain.image(image), atol=1e-3)
    np.testing.assert_allclose(plain.image(colour)[..., 2], plain.image(image) / 4, atol=1e-3)
