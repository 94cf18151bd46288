"""Area resampling, on numbers worked out by hand."""

import numpy as np
import pytest

from napari_medsam2.models.resample import resize_area


def test_halving_is_the_mean_of_four_pixels():
    image = np.arange(16, dtype=np.float32).reshape(4, 4)
    np.testing.assert_allclose(resize_area(image, (2, 2)), [[2.5, 4.5], [10.5, 12.5]])


def test_three_pixels_to_two_weigh_the_shared_one_by_half():
    # Output 0 covers pixel 0 and half of pixel 1: (1 + 0.5 * 4) / 1.5 = 2.
    image = np.array([[1, 4, 7]], dtype=np.float32)
    np.testing.assert_allclose(resize_area(image, (1, 2)), [[2, 6]], rtol=1e-6)


def test_doubling_repeats_pixels():
    image = np.array([[1, 2]], dtype=np.float32)
    np.testing.assert_allclose(resize_area(image, (2, 4)), [[1, 1, 2, 2], [1, 1, 2, 2]])


def test_colour_channels_stay_apart():
    rng = np.random.default_rng(0)
    image = rng.random((9, 14, 3)).astype(np.float32)
    resized = resize_area(image, (5, 6))
    assert resized.shape == (5, 6, 3)
    for channel in range(3):
        alone = resize_area(image[..., channel], (5, 6))
        np.testing.assert_allclose(resized[..., channel], alone, rtol=1e-5)


@pytest.mark.parametrize("shape", [(7, 2000), (1, 1), (300, 3)])
def test_the_mean_is_kept(shape):
    image = np.random.default_rng(0).random(shape).astype(np.float32)
    assert resize_area(image, (16, 16)).mean() == pytest.approx(image.mean(), rel=1e-4)
