"""Mask updates composed into labels, and taken back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from napari_medsam2.errors import InputError
from napari_medsam2.labels import LabelStore, MaskUpdate


def update(frame, object_id, rows, cols, score=0.5, shape=(6, 8)):
    mask = np.zeros(shape, bool)
    mask[rows, cols] = True
    return MaskUpdate.from_mask(frame, object_id, mask, score)


@pytest.fixture
def store():
    return LabelStore(np.zeros((3, 6, 8), np.uint16))


def test_an_update_is_cropped_and_comes_back_whole():
    mask = np.zeros((6, 8), bool)
    mask[1:3, 4:7] = True
    mask[1, 4] = False
    cropped = MaskUpdate.from_mask(0, 1, mask, 0.5)
    assert cropped.bbox == (1, 4, 3, 7)
    assert cropped.mask.shape == (2, 3)
    assert cropped.area == 5
    np.testing.assert_array_equal(cropped.full_mask((6, 8)), mask)


def test_a_later_mask_replaces_the_earlier_one_of_the_object(store):
    store.apply(update(1, 7, slice(0, 3), slice(0, 3)))
    store.apply(update(1, 7, slice(2, 4), slice(2, 5)))
    expected = np.zeros((3, 6, 8))
    expected[1, 2:4, 2:5] = 7
    np.testing.assert_array_equal(store.frames, expected)


def test_other_objects_and_frames_stay(store):
    store.apply(update(1, 1, slice(0, 4), slice(0, 4)))
    store.apply(update(1, 2, slice(2, 6), slice(2, 6)))
    assert (store.frames[1] == 1).sum() == 12
    assert (store.frames[1] == 2).sum() == 16
    store.apply(update(1, 2, slice(5, 6), slice(7, 8)))
    assert (store.frames[1] == 1).sum() == 12
    assert (store.frames[1] == 2).sum() == 1
    assert not store.frames[[0, 2]].any()


def test_scores_are_nan_where_nothing_was_segmented(store):
    store.apply(update(1, 4, slice(0, 2), slice(0, 2), score=0.75))
    np.testing.assert_array_equal(store.scores[4], [np.nan, 0.75, np.nan])
    assert list(store.scores) == [4]


def test_an_empty_update_takes_the_object_away(store):
    store.apply(update(1, 4, slice(0, 2), slice(0, 2)))
    store.apply(MaskUpdate(1, 4, (0, 0, 0, 0), np.zeros((0, 0), bool), float("nan")))
    assert not store.frames.any()
    assert store.scores == {}


def test_what_changes_nothing_is_no_edit(store):
    assert store.apply(update(1, 4, slice(0, 2), slice(0, 2))) is not None
    assert store.apply(update(1, 4, slice(0, 2), slice(0, 2))) is None


def test_erase_removes_an_object_everywhere_and_can_be_taken_back(store):
    for frame in (0, 2):
        store.apply(update(frame, 1, slice(0, 3), slice(0, 3)))
    store.apply(update(0, 2, slice(4, 6), slice(4, 6)))
    before, scores = store.frames.copy(), store.scores
    edits = store.erase(1)
    assert not (store.frames == 1).any()
    assert (store.frames == 2).sum() == 4
    for edit in reversed(edits):
        store.revert(edit)
    np.testing.assert_array_equal(store.frames, before)
    np.testing.assert_array_equal(store.scores[1], scores[1])


def test_the_array_given_is_the_one_written():
    labels = np.zeros((6, 3, 8), np.uint16)
    store = LabelStore(np.moveaxis(labels, 1, 0))
    store.apply(update(2, 9, slice(0, 2), slice(0, 2)))
    assert (labels[:2, 2, :2] == 9).all()


def test_what_cannot_hold_the_object_is_refused(store):
    small = LabelStore(np.zeros((3, 6, 8), np.uint8))
    with pytest.raises(InputError, match="uint8 cannot hold object 256"):
        small.apply(update(0, 256, slice(0, 2), slice(0, 2)))
    with pytest.raises(InputError, match="frames 0 to 2, not 3"):
        store.apply(update(3, 1, slice(0, 2), slice(0, 2)))
    with pytest.raises(InputError, match="unsigned"):
        LabelStore(np.zeros((3, 6, 8), np.int32))


def test_the_journal_is_small():
    store = LabelStore(np.zeros((1, 1000, 1000), np.uint16))
    edit = store.apply(update(0, 1, slice(100, 300), slice(100, 300), shape=(1000, 1000)))
    # The box alone is 200 x 200 x 2 bytes, before and after.
    assert edit.nbytes < 2_000


masks = arrays(bool, (5, 6))
steps = st.lists(
    st.tuples(st.integers(0, 1), st.integers(1, 3), masks, st.floats(0, 1)), max_size=12
)


@given(steps)
def test_undo_and_redo_of_any_edits_are_exact(sequence):
    store = LabelStore(np.zeros((2, 5, 6), np.uint16))
    states, edits = [store.frames.copy()], []
    for frame, object_id, mask, score in sequence:
        edit = store.apply(MaskUpdate.from_mask(frame, object_id, mask, score))
        assert ((store.frames[frame] == object_id) == mask).all()
        if edit is not None:
            edits.append(edit)
            states.append(store.frames.copy())
    final_scores = store.scores
    for edit, state in zip(reversed(edits), reversed(states[:-1]), strict=True):
        store.revert(edit)
        np.testing.assert_array_equal(store.frames, state)
    assert store.scores == {}
    for edit, state in zip(edits, states[1:], strict=True):
        store.redo(edit)
        np.testing.assert_array_equal(store.frames, state)
    assert final_scores.keys() == store.scores.keys()
    for object_id, scores in final_scores.items():
        np.testing.assert_array_equal(store.scores[object_id], scores)


def test_the_journal_keeps_what_changed_not_the_box_of_the_object():
    store = LabelStore(np.zeros((1, 400, 400), np.uint16))
    mask = np.zeros((400, 400), bool)
    mask[:40, :40] = True
    store.apply(MaskUpdate.from_mask(0, 3, mask, 0.5))
    mask[390:395, 390:395] = True
    edit = store.apply(MaskUpdate.from_mask(0, 3, mask, 1.0))
    assert edit is not None
    assert edit.bbox == (390, 390, 395, 395)
    written = store.written(edit).update()
    np.testing.assert_array_equal(written.full_mask((400, 400)), mask)
    assert written.score == 1.0
    store.revert(edit)
    mask[390:] = False
    np.testing.assert_array_equal(store.mask(3, 0), mask)
    assert store.scores[3][0] == 0.5


def test_a_score_alone_is_a_change_that_can_be_taken_back():
    store = LabelStore(np.zeros((1, 6, 8), np.uint16))
    store.apply(update(0, 1, slice(0, 2), slice(0, 2), 0.5))
    before = store.frames.copy()
    edit = store.apply(update(0, 1, slice(0, 2), slice(0, 2), 0.9))
    assert edit is not None
    assert edit.bbox == (0, 0, 0, 0)
    assert store.scores[1][0] == 0.9
    store.revert(edit)
    assert store.scores[1][0] == 0.5
    np.testing.assert_array_equal(store.frames, before)
