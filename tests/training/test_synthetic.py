"""Clips that are made up, and single images pulled into clips."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy import ndimage

from napari_medsam2.training.synthetic import made_up, warped


@pytest.fixture(scope="module")
def clips() -> list[tuple[np.ndarray, np.ndarray]]:
    return [made_up(seed, frames=6) for seed in range(5)]


def test_shapes_and_types(clips: list) -> None:
    for images, labels in clips:
        assert images.shape == labels.shape == (6, 256, 256)
        assert (images.dtype, labels.dtype) == (np.float32, np.uint8)
        assert 0 <= images.min() < images.max() <= 255
        assert 1 <= len(np.unique(labels)) - 1 <= 7


def test_a_seed_is_a_clip() -> None:
    one, same, other = (made_up(seed, frames=2) for seed in (5, 5, 6))
    np.testing.assert_array_equal(one[0], same[0])
    np.testing.assert_array_equal(one[1], same[1])
    assert not np.array_equal(one[1], other[1])


def test_objects_can_be_told_from_what_is_around_them(clips: list) -> None:
    contrasts = []
    for images, labels in clips:
        for value in np.unique(labels)[1:]:
            inside = labels == value
            ring = ndimage.binary_dilation(inside, np.ones((1, 9, 9))) & (labels == 0)
            if inside.sum() > 500 and ring.any():
                contrasts.append(abs(images[inside].mean() - images[ring].mean()))
    assert np.median(contrasts) > 15


def test_objects_move_little_between_frames_and_some_end(clips: list) -> None:
    overlaps, ends = [], 0
    for _, labels in clips:
        for value in np.unique(labels)[1:]:
            masks = labels == value
            there = masks.any(axis=(1, 2))
            ends += not there.all()
            for one, two in pairwise(masks):
                if min(one.sum(), two.sum()) > 200:
                    overlaps.append((one & two).sum() / (one | two).sum())
    assert np.median(overlaps) > 0.6
    assert ends > 1


def disc() -> tuple[np.ndarray, np.ndarray]:
    yy, xx = np.mgrid[:80, :100]
    labels = (np.hypot(yy - 40, xx - 50) < 15).astype(np.uint8) * 7
    return np.where(labels, 200, 50).astype(np.float32), labels


def test_a_warped_clip_begins_with_the_image_itself() -> None:
    image, labels = disc()
    frames, found = warped(image, labels, 4, np.random.default_rng(0))
    assert len(frames) == 4
    assert found.shape == (4, 80, 100)
    np.testing.assert_allclose(frames[0], image, atol=1e-3)
    np.testing.assert_array_equal(found[0], labels)


@pytest.mark.parametrize("seed", range(6))
def test_labels_follow_the_warp_unmixed(seed: int) -> None:
    image, labels = disc()
    frames, found = warped(image, labels, 4, np.random.default_rng(seed))
    assert set(np.unique(found)) <= {0, 7}
    for frame, plane in zip(frames, found, strict=True):
        bright, there = frame > 125, plane == 7
        assert (bright & there).sum() / (bright | there).sum() > 0.97
    assert not np.array_equal(found[0], found[-1])


def test_a_warp_is_drawn_from_its_random_numbers_alone() -> None:
    image, labels = disc()
    one, same, other = (
        warped(image, labels, 3, np.random.default_rng(seed))[1] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert not np.array_equal(one, other)


def test_colours_are_warped_alike() -> None:
    image, labels = disc()
    colour = np.stack([image, image / 2, image], axis=-1)
    grey, _ = warped(image, labels, 3, np.random.default_rng(1))
    frames, _ = warped(colour, labels, 3, np.random.default_rng(1))
    np.testing.assert_allclose(frames[2][..., 0], grey[2], atol=1e-3)
    np.testing.assert_allclose(frames[2][..., 1], grey[2] / 2, atol=1e-3)
