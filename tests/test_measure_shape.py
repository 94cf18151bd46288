"""Outlines, surfaces and diameters: hand-drawn shapes, and scikit-image where it knows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage
from scipy.spatial.distance import pdist
from skimage.measure import find_contours

from napari_medsam2.measure_shape import count_parts, diameters, perimeter, surface_area

masks = arrays(bool, st.tuples(st.integers(1, 9), st.integers(1, 9)))
sizes = st.floats(0.2, 5)


def outline(mask: np.ndarray, spacing: tuple[float, float]) -> list[np.ndarray]:
    contours = find_contours(np.pad(mask, 1).astype(float), 0.5)
    return [(c - 1) * spacing for c in contours]


class TestPerimeter:
    def test_of_a_rectangle_its_corners_are_cut(self):
        mask = np.zeros((8, 9), bool)
        mask[2:6, 3:9] = True  # 4 x 6 pixels, up to the border
        assert perimeter(mask, (1, 1)) == pytest.approx(2 * 3 + 2 * 5 + 4 * math.sqrt(0.5))

    def test_of_a_disc_it_is_as_large_as_the_documentation_says(self):
        y, x = np.mgrid[-102:103, -102:103]
        found = perimeter(np.hypot(y, x) <= 100.5, (1, 1))
        assert found / (2 * math.pi * 100.5) == pytest.approx(1.05, abs=0.01)

    def test_of_a_pixel_it_is_a_diamond(self):
        mask = np.ones((1, 1), bool)
        assert perimeter(mask, (3, 4)) == pytest.approx(4 * 2.5)

    @given(masks, sizes, sizes)
    @settings(max_examples=80, deadline=None)
    def test_as_scikit_image_draws_it(self, mask, dy, dx):
        drawn = outline(mask, (dy, dx))
        length = sum(np.hypot(*np.diff(c, axis=0).T).sum() for c in drawn)
        assert perimeter(mask, (dy, dx)) == pytest.approx(length)


class TestSurface:
    def test_of_a_voxel_it_is_an_octahedron(self):
        # Corners at half a voxel along each axis: eight triangles.
        side = math.sqrt(0.5)
        expected = 8 * math.sqrt(3) / 4 * side**2
        assert surface_area(np.ones((1, 1, 1), bool), (1, 1, 1)) == pytest.approx(expected)

    def test_of_a_large_block_with_uneven_voxels(self):
        mask = np.ones((20, 60, 40), bool)
        full = 2 * (20 * 60 * 3 * 0.5 + 20 * 40 * 3 * 0.7 + 60 * 40 * 0.5 * 0.7)
        found = surface_area(mask, (3, 0.5, 0.7))
        assert 0.95 * full < found < full

    def test_of_a_sphere_it_is_as_large_as_the_docstring_says(self):
        z, y, x = np.mgrid[-12:13, -12:13, -12:13]
        found = surface_area(z**2 + y**2 + x**2 <= 100, (1, 1, 1))
        assert found / (4 * math.pi * 100) == pytest.approx(1.09, abs=0.01)

    def test_grows_with_the_square_of_the_spacing(self):
        mask = np.random.default_rng(0).random((5, 6, 7)) < 0.4
        one, two = surface_area(mask, (3, 1, 1)), surface_area(mask, (6, 2, 2))
        assert two == pytest.approx(4 * one, rel=1e-5)

    def test_of_nothing(self):
        assert surface_area(np.zeros((2, 2, 2), bool), (1, 1, 1)) == 0


def test_parts_that_share_a_corner_are_one():
    mask = np.zeros((3, 3, 6), bool)
    mask[0, 0, 0] = mask[1, 1, 1] = mask[2, 2, 5] = True
    assert count_parts(mask) == 2


class TestDiameters:
    def test_of_a_row_of_pixels(self):
        mask = np.zeros((3, 6, 16), bool)
        mask[1, 2, 3:13] = True
        found = diameters(mask, (5, 0.5, 0.25))
        assert found.frame == 1
        assert {found.long.start, found.long.end} == {(2, 2.5), (2, 12.5)}
        assert found.long.length == pytest.approx(10 * 0.25)
        assert found.short.length == pytest.approx(0.5)
        assert sorted([found.short.start[0], found.short.end[0]]) == [1.5, 2.5]

    def test_of_one_pixel_are_its_sides(self):
        found = diameters(np.ones((1, 1, 1), bool), (1, 2, 3))
        assert (found.long.length, found.short.length) == pytest.approx((3, 2))

    def test_of_a_rectangle(self):
        mask = np.zeros((1, 12, 12), bool)
        mask[0, 1:7, 2:10] = True  # 6 x 8 pixels of 1 x 1
        found = diameters(mask, (1, 1, 1))
        # From the middle of a side's first pixel to that of the opposite side's last one.
        assert found.long.length == pytest.approx(math.hypot(5, 8))
        assert 5 < found.short.length < found.long.length

    def test_spacing_decides_which_way_is_long(self):
        mask = np.zeros((1, 20, 20), bool)
        mask[0, 4:10, 10] = True
        mask[0, 7, 4:16] = True  # a cross, 6 high and 12 wide
        wide, high = diameters(mask, (1, 1, 1)), diameters(mask, (1, 3, 1))
        assert (wide.long.length, wide.short.length) == pytest.approx((12, 6))
        assert {wide.long.start[0], wide.long.end[0]} == {7}
        assert (high.long.length, high.short.length) == pytest.approx((18, 12))
        assert {high.long.start[1], high.long.end[1]} == {10}

    def test_the_short_axis_crosses_where_the_object_is_widest(self):
        mask = np.zeros((1, 30, 50), bool)
        mask[0, 14:17, 5:45] = True
        mask[0, 5:26, 35:38] = True  # a sword: the guard stands at columns 35 to 37
        found = diameters(mask, (1, 1, 1))
        # The blade's diagonal leans by 2 rows in 40 columns, and so does what is across it.
        assert found.long.length == pytest.approx(math.hypot(40, 2))
        assert found.short.length == pytest.approx(21, abs=0.2)
        assert 34 < found.short.start[1] < 38
        assert 34 < found.short.end[1] < 38

    def test_the_largest_slice_counts(self):
        mask = np.zeros((4, 10, 10), bool)
        mask[0, 0, 0:3] = mask[2, 4, 1:8] = mask[3, 0, 0:5] = True
        assert diameters(mask, (1, 1, 1)).frame == 2

    def test_parts_on_a_slice_are_measured_each_on_its_own(self):
        mask = np.zeros((1, 10, 40), bool)
        mask[0, 2, 0:4] = mask[0, 2, 30:36] = True
        found = diameters(mask, (1, 1, 1))
        assert found.long.length == pytest.approx(6)
        assert min(found.long.start[1], found.long.end[1]) == 29.5

    def test_parts_that_meet_on_another_slice_too(self):
        mask = np.zeros((2, 3, 20), bool)
        mask[0, 1, :4] = mask[0, 1, 14:] = True
        mask[1, 1] = True
        assert diameters(mask, (1, 1, 1)).frame == 1
        assert diameters(mask[:1], (1, 1, 1)).long.length == pytest.approx(6)

    def test_of_a_large_disc(self):
        y, x = np.mgrid[-150:151, -150:151]
        found = diameters((np.hypot(y, x) <= 140.2)[np.newaxis], (1, 1, 1))
        assert found.long.length == pytest.approx(281, abs=0.5)
        assert found.short.length == pytest.approx(281, abs=1)

    def test_of_nothing(self):
        assert diameters(np.zeros((2, 3, 4), bool), (1, 1, 1)) is None

    @given(masks.filter(np.any), sizes, sizes)
    @settings(max_examples=80, deadline=None)
    def test_as_found_by_trying_all_points_of_the_outline(self, mask, dy, dx):
        part = ndimage.label(mask, np.ones((3, 3)))[0] == 1
        found = diameters(part[np.newaxis], (1, dy, dx))
        points = np.concatenate(outline(part, (dy, dx)))
        assert found.long.length == pytest.approx(pdist(points).max())
        a, b = (np.subtract(line.end, line.start) * (dy, dx) for line in (found.long, found.short))
        assert a @ b == pytest.approx(0, abs=1e-4 * found.long.length**2)
        assert np.hypot(*b) == pytest.approx(found.short.length, abs=1e-4)
        # No other line across is longer: of pairs that are nearly perpendicular, none is.
        along = a / np.hypot(*a)
        steps = points[:, np.newaxis] - points
        near = np.abs(steps @ along) < 1e-9
        assert np.hypot(*steps[near].T).max(initial=0) <= found.short.length + 1e-6
