"""Measurements, against numbers counted by hand and scipy."""

import numpy as np
import pytest
from scipy import ndimage

from napari_medsam2.measurements import measure


def test_a_block_is_measured_by_hand():
    labels = np.zeros((4, 6, 8), np.uint16)
    labels[1:3, 2:5, 3:7] = 9
    (block,) = measure(labels, (5.0, 0.5, 0.25))
    assert block.object_id == 9
    assert block.voxels == 24
    assert block.size == pytest.approx(24 * 0.625)
    assert block.bbox == ((1, 3), (2, 5), (3, 7))
    assert block.centre == (1.5, 3.0, 4.5)


def test_any_labels_agree_with_scipy():
    labels = np.random.default_rng(0).integers(0, 5, size=(5, 6, 7)).astype(np.uint16)
    for found in measure(labels, (1, 1, 1)):
        mask = labels == found.object_id
        assert found.voxels == mask.sum()
        assert found.centre == pytest.approx(ndimage.center_of_mass(mask))
        slices = ndimage.find_objects(mask.astype(int))[0]
        assert found.bbox == tuple((s.start, s.stop) for s in slices)


def test_nothing_gives_nothing():
    assert measure(np.zeros((3, 4), np.uint16), (1, 1)) == []
