"""Boxes around masks, and packed masks."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_medsam2 import masks
from napari_medsam2.masks import bounding_box, inside, moved, pack, union, unpack, value_box

SIDES = st.integers(1, 9)


def test_a_box_is_half_open():
    mask = np.zeros((6, 8), bool)
    mask[1:3, 4:7] = True
    assert bounding_box(mask) == (1, 4, 3, 7)
    assert bounding_box(np.zeros((6, 8), bool)) == (0, 0, 0, 0)


@pytest.mark.parametrize("block", [1, 20, 1 << 18])
@given(
    image=arrays(np.uint16, st.tuples(SIDES, SIDES), elements=st.integers(0, 2)),
    turned=st.booleans(),
)
def test_the_box_of_a_value_is_that_of_its_mask_however_it_is_cut(block, image, turned):
    image = image.T if turned else image
    before, masks._BLOCK = masks._BLOCK, block
    try:
        assert value_box(image, 1) == bounding_box(image == 1)
    finally:
        masks._BLOCK = before


def test_boxes_are_joined_cut_and_moved():
    assert union((1, 2, 3, 4), (0, 3, 2, 9)) == (0, 2, 3, 9)
    assert union((0, 0, 0, 0), (5, 6, 7, 8)) == union((5, 6, 7, 8), (0, 0, 0, 0)) == (5, 6, 7, 8)
    frame = np.arange(80).reshape(8, 10)
    crop = frame[inside((2, 3, 7, 9))]
    np.testing.assert_array_equal(crop[inside((4, 5, 6, 8), (2, 3, 7, 9))], frame[4:6, 5:8])
    assert moved((2, 2, 4, 5), (2, 3, 7, 9)) == (4, 5, 6, 8)
    assert moved((0, 0, 0, 0), (2, 3, 7, 9)) == (0, 0, 0, 0)


@given(mask=arrays(bool, st.tuples(SIDES, SIDES)))
def test_a_packed_mask_comes_back(mask):
    np.testing.assert_array_equal(unpack(pack(mask), mask.shape), mask)
