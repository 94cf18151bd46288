"""Counts that follow changing labels."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medsam2.tally import Tally


def labels(dtype: str = "uint16") -> np.ndarray:
    frames = np.zeros((4, 6, 8), dtype)
    frames[1, :2, :3] = 2
    frames[2, :4, :3] = 2
    frames[2, 5, 5] = 300
    return frames


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "int64"])
def test_counts_by_object_and_frame(dtype):
    tally = Tally(labels(dtype))
    assert tally.is_stale
    assert not tally.count()
    assert tally.object_ids == (2, 300)
    assert tally.per_frame(2).tolist() == [0, 6, 12, 0]
    assert (tally.pixels(2), tally.pixels(300), tally.pixels(7)) == (18, 1, 0)
    assert tally.per_frame(7).tolist() == [0] * 4


def test_only_touched_frames_are_counted_again():
    frames = labels()
    tally = Tally(frames)
    tally.count()
    frames[0], frames[3] = 5, 2
    tally.touch([3, 3, 99, -1])
    tally.count()
    assert tally.pixels(2) == 18 + 48
    assert tally.pixels(5) == 0
    tally.touch()
    tally.count()
    assert tally.pixels(5) == 48


def test_an_object_that_goes_is_gone():
    frames = labels()
    tally = Tally(frames)
    tally.count()
    frames[2] = 0
    tally.touch([2])
    tally.count()
    assert tally.object_ids == (2,)
    assert tally.pixels(300) == 0


def test_a_few_frames_at_a_time():
    tally = Tally(labels())
    assert tally.count(most=2)
    assert tally.pixels(2) == 6
    assert not tally.count(most=2)
    assert tally.pixels(2) == 18
    assert not tally.count(most=2)


def test_of_a_turned_view():
    tally = Tally(np.moveaxis(labels(), 2, 0))
    tally.count()
    assert tally.per_frame(2).tolist() == [6, 6, 6, 0, 0, 0, 0, 0]
