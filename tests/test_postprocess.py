"""Cleaning up: small labels whose right answer can be drawn, scipy and scikit-image beside it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage
from skimage.morphology import remove_small_objects

from napari_medsam2 import Session
from napari_medsam2.errors import InputError
from napari_medsam2.labels import LabelStore
from napari_medsam2.postprocess import (
    DropSmall,
    FillHoles,
    KeepLargest,
    Restrict,
    Smooth,
    cleaned,
    cleaned_frame,
)
from napari_medsam2.volume import View

UNIT = (1.0, 1.0, 1.0)


def drawn(*frames: str) -> np.ndarray:
    """Labels from digits; a dot is background."""
    rows = [[list(row) for row in frame.split()] for frame in frames]
    return np.where(np.array(rows) == ".", "0", rows).astype(np.uint16)


def after(labels, operation, ids=(1,), spacing=UNIT, **options) -> np.ndarray:
    """The labels once all masks have been written, as a session writes them."""
    written = labels.copy()
    store = LabelStore(written)
    for update in cleaned(labels, spacing, operation, ids, **options):
        assert store.apply(update) is not None, "told of a frame that does not differ"
    for frame in range(len(labels)):
        same = cleaned_frame(labels, frame, spacing, operation, ids, **options)
        np.testing.assert_array_equal(same, written[frame])
    return written


def ball(radius: float, spacing: float = 1.0) -> np.ndarray:
    n = math.ceil(radius / spacing) + 6
    z, y, x = np.mgrid[-n : n + 1, -n : n + 1, -n : n + 1] * spacing
    return (np.sqrt(z**2 + y**2 + x**2) <= radius).astype(np.uint16)


def test_masks_tell_whose_frames_they_are():
    labels = drawn("1111 1..1 1111")
    (update,) = cleaned(labels, UNIT, FillHoles(), [1], view=View(1, (2,)))
    assert update.view == View(1, (2,))
    (update,) = cleaned(labels, UNIT, FillHoles(), [1])
    assert update.view is None


class TestFillHoles:
    def test_on_a_slice(self):
        labels = drawn("...... .1111. .1..1. .1111. ......", "...... .111.. .1..1. .1111. ......")
        expected = drawn("...... .1111. .1111. .1111. ......")
        np.testing.assert_array_equal(after(labels, FillHoles())[0], expected[0])
        # The gap in the second one is diagonal: it does not let the background in.
        assert after(labels, FillHoles())[1, 2].tolist() == [0, 1, 1, 1, 1, 0]

    def test_a_hole_with_another_object_keeps_it(self):
        labels = drawn("11111 1...1 1.2.1 1...1 11111")
        expected = drawn("11111 11111 11211 11111 11111")
        np.testing.assert_array_equal(after(labels, FillHoles()), expected)
        np.testing.assert_array_equal(after(labels, FillHoles(), [2]), labels)

    def test_a_dent_at_the_border_is_no_hole(self):
        labels = drawn("1.1 1.1 111")
        np.testing.assert_array_equal(after(labels, FillHoles()), labels)

    def test_solid_holes_are_closed_above_and_below(self):
        lid, ring = "111 111 111", "111 1.1 111"
        closed, tube = drawn(lid, ring, lid), drawn(ring, ring, lid)
        assert after(closed, FillHoles(solid=True)).all()
        np.testing.assert_array_equal(after(tube, FillHoles(solid=True)), tube)
        assert after(tube, FillHoles()).all()

    @pytest.mark.parametrize("solid", [False, True])
    def test_as_scipy_does(self, solid):
        mask = np.random.default_rng(1).random((8, 30, 30)) < 0.65
        found = after(mask.astype(np.uint16), FillHoles(solid=solid)) == 1
        structure = ndimage.generate_binary_structure(3, 1)
        structure[[0, 2]] &= solid
        flat = [ndimage.binary_fill_holes(m) for m in mask]
        expected = ndimage.binary_fill_holes(mask) if solid else np.stack(flat)
        np.testing.assert_array_equal(found, expected)
        assert found.sum() > mask.sum()


class TestKeepLargest:
    labels = drawn(
        "11...1 11...1 ...... 1.....", "1..... ...... ..222. ...111", "...... ...111 ...... ......"
    )

    def test_in_3d(self):
        found = after(self.labels, KeepLargest())
        expected = drawn(
            "11.... 11.... ...... ......", "1..... ...... ..222. ......", *["...... " * 4]
        )
        np.testing.assert_array_equal(found, expected)

    def test_on_every_slice(self):
        found = after(self.labels, KeepLargest(solid=False))
        expected = drawn("11.... 11.... ...... ......", "...... ...... ..222. ...111")
        np.testing.assert_array_equal(found[:2], expected)
        np.testing.assert_array_equal(found[2], self.labels[2])


class TestDropSmall:
    def test_in_cubic_units(self):
        labels = drawn("111..1 .....1 1.....", "...... .....1 ......")
        # Parts of 3, 3 and 1 voxels of 2 x 0.5 x 0.5.
        np.testing.assert_array_equal(
            after(labels, DropSmall(1.5), spacing=(2, 0.5, 0.5)),
            drawn("111..1 .....1 ......", "...... .....1 ......"),
        )
        assert not after(labels, DropSmall(1.51), spacing=(2, 0.5, 0.5)).any()

    def test_in_square_units_on_slices(self):
        labels = drawn("111..1 .....1 1.....", "...... .....1 ......")
        found = after(labels, DropSmall(0.5, solid=False), spacing=(2, 0.5, 0.5))
        np.testing.assert_array_equal(found, drawn("111..1 .....1 ......", "...... ...... ......"))

    def test_as_scikit_image_does(self):
        mask = np.random.default_rng(2).random((6, 30, 30)) < 0.12
        found = after(mask.astype(np.uint16), DropSmall(4)) == 1
        expected = remove_small_objects(mask, max_size=3, connectivity=3)
        np.testing.assert_array_equal(found, expected)


class TestSmooth:
    @pytest.mark.parametrize("solid", [True, False])
    def test_what_is_smooth_stays_nearly_as_it_is(self, solid):
        before = ball(12)
        found = after(before, Smooth(1.5, solid=solid))
        assert found.sum() == pytest.approx(before.sum(), rel=0.01)
        assert 2 * (found * before).sum() / (found.sum() + before.sum()) > 0.985

    def test_a_thin_object_does_not_vanish(self):
        labels = np.zeros((1, 30, 40), np.uint16)
        labels[0, 15:17, 5:35] = 1
        found = after(labels, Smooth(3.0, solid=False))
        assert found.sum() == pytest.approx(60, abs=4)
        half = ndimage.gaussian_filter((labels[0] == 1).astype(float), 3.0) > 0.5
        assert not half.any()

    def test_bumps_and_specks_go(self):
        labels = np.zeros((1, 40, 60), np.uint16)
        labels[0, 10:30, 10:40] = 1
        clean = labels.copy()
        labels[0, 5:10, 20], labels[0, 20, 55], labels[0, 10:14, 30] = 1, 1, 0
        found = after(labels, Smooth(2.0, solid=False))
        assert not found[0, :8].any()
        assert not found[0, :, 50:].any()
        assert found[0, 11:14, 30].all()
        assert (found != clean).sum() < (labels != clean).sum() + 40

    def test_sigma_is_in_the_unit_of_the_spacing(self):
        rng = np.random.default_rng(3)
        mask = (ndimage.gaussian_filter(rng.random((9, 40, 40)), 2) > 0.5).astype(np.uint16)
        found = after(mask, Smooth(2.0), spacing=(4.0, 1.0, 0.5))
        blurred = ndimage.gaussian_filter(
            (mask == 1).astype(np.float32), (0.5, 2, 4), mode="nearest"
        )
        lowest, highest = blurred[found == 1].min(), blurred[found == 0].max()
        assert lowest >= highest * (1 - 1e-3)
        assert found.sum() == pytest.approx(mask.sum(), rel=0.001)

    def test_slices_are_smoothed_apart(self):
        labels = np.zeros((3, 20, 20), np.uint16)
        labels[1, 5:15, 5:15] = 1
        found = after(labels, Smooth(2.0, solid=False))
        assert not found[[0, 2]].any()
        assert after(labels, Smooth(2.0))[[0, 2]].any()

    def test_cut_by_the_border_of_the_image_it_stays_there(self):
        labels = np.zeros((1, 20, 20), np.uint16)
        labels[0, :, :10] = 1
        np.testing.assert_array_equal(after(labels, Smooth(2.0, solid=False)), labels)

    def test_a_neighbour_keeps_its_pixels(self):
        labels = np.zeros((1, 30, 30), np.uint16)
        labels[0, 5:25, 5:15] = 1
        labels[0, 5:25, 15:25:2] = 1
        labels[0, 5:25, 16:25:2] = 2
        found = after(labels, Smooth(1.5, solid=False))
        assert (found[labels == 2] == 2).all()

    def test_what_one_has_gained_the_next_leaves_alone(self):
        labels = np.zeros((1, 20, 41), np.uint16)
        labels[0, 3:17:2, 2:20] = 1
        labels[0, 3:17:2, 21:39] = 2
        updates = list(cleaned(labels, UNIT, Smooth(2.0, solid=False), [1, 2]))
        one, two = (u.full_mask((20, 41)) for u in updates)
        assert not (one & two).any()


class TestRestrict:
    def test_to_a_mask_of_any_type(self):
        labels = drawn("111 111", "11. 222")
        inside = np.zeros((2, 2, 3), np.int64)
        inside[0, :, 0] = 5
        found = after(labels, Restrict(inside, "lung"), [1, 2])
        np.testing.assert_array_equal(found, drawn("1.. 1..", "... ..."))
        assert Restrict(inside, "lung").text == "restrict to lung"

    def test_to_a_mask_of_another_shape(self):
        with pytest.raises(InputError, match=r"lung: has the shape \(1, 2, 3\)"):
            cleaned(drawn("11 11"), UNIT, Restrict(np.ones((1, 2, 3)), "lung"), [1])


class TestWhatStays:
    labels = drawn("111 1.1 111", "111 1.1 111")

    def test_accepted_frames(self):
        found = after(self.labels, FillHoles(), accepted={1: {1}})
        np.testing.assert_array_equal(found, drawn("111 111 111", "111 1.1 111"))

    def test_locked_objects(self):
        labels = drawn("111222 1.12.2 111222")
        found = after(labels, FillHoles(), [1, 2], locked={2})
        np.testing.assert_array_equal(found, drawn("111222 1112.2 111222"))
        with pytest.raises(InputError, match="object 2 is locked"):
            cleaned(labels, UNIT, FillHoles(), [2], locked={2})

    def test_objects_that_were_not_chosen(self):
        labels = drawn("111222 1.12.2 111222")
        np.testing.assert_array_equal(
            after(labels, FillHoles(), [2]), drawn("111222 1.1222 111222")
        )

    def test_the_score(self):
        (first, second) = cleaned(
            self.labels, UNIT, FillHoles(), [1], scores={1: np.array([0.25, np.nan])}
        )
        assert first.score == 0.25
        assert math.isnan(second.score)


@pytest.mark.parametrize("wrong", [0, -1.0, math.nan, math.inf])
def test_numbers_that_make_no_sense(wrong):
    with pytest.raises(InputError, match="strength of smoothing must be a positive number"):
        Smooth(wrong)
    with pytest.raises(InputError, match="least size of a part must be a positive number"):
        DropSmall(wrong)


def test_no_object():
    with pytest.raises(InputError, match="no object to clean up"):
        cleaned(drawn("11 11"), UNIT, FillHoles(), [])
    assert list(cleaned(drawn("11 11"), UNIT, FillHoles(), [9])) == []


def test_through_a_session_it_is_one_step_that_can_be_undone():
    session = Session(np.zeros((2, 3, 6), np.uint8))
    session.labels[...] = drawn("111222 1.12.2 111222", "111222 1.12.2 111222")
    before = session.labels.copy()
    session.add_box(0, (0, 3, 3, 6), object_id=2)
    session.set_locked(2, True)
    updates = cleaned(session.labels, UNIT, FillHoles(), [1, 2], locked=session.locked)
    session.write_masks(updates, "fill holes")
    assert session.labels[:, 1].tolist() == [[1, 1, 1, 2, 0, 2]] * 2
    assert session.undo_text == "fill holes"
    session.undo()
    np.testing.assert_array_equal(session.labels, before)
