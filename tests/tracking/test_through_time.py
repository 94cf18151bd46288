"""A 3D object through time."""

from __future__ import annotations

import numpy as np
import pytest
from tests.fakes import BrightModel

from napari_medsam2.errors import InputError
from napari_medsam2.session import Session
from napari_medsam2.volume import View, Volume

N_TIMES, N_SLICES = 4, 8


def movie() -> np.ndarray:
    """A block of six slices that moves by two pixels a time point, and is gone at the last."""
    image = np.full((N_TIMES, N_SLICES, 64, 64), 20, dtype=np.uint8)
    for time in range(N_TIMES - 1):
        image[time, 1:7, 20:40, 10 + 2 * time : 30 + 2 * time] = 200
    return image


def session(image: np.ndarray, axis: str = "z", at=(0,)) -> Session:
    volume = Volume(image, "tzyx")
    session = Session(volume, axis=axis, at=at, model="litemedsam", window=(0, 255))
    session.use_model(BrightModel())
    return session


def test_an_object_is_found_at_each_time_point_until_it_is_gone():
    image = movie()
    moving = session(image)
    moving.add_box(3, (18, 8, 42, 32))
    updates = list(moving.propagate_through_time())
    np.testing.assert_array_equal(moving.labels == 1, image > 100)
    assert {u.view for u in updates} == {View(1, (t,)) for t in range(N_TIMES - 1)}
    moving.turn("z", (2,))
    assert np.isfinite(moving.scores[1][1:7]).all()
    np.testing.assert_array_equal(moving.replay(), moving.labels)
    moving.undo()
    assert not moving.labels.any()


def test_backward_and_only_so_far():
    image = movie()
    moving = session(image, at=(2,))
    moving.add_box(3, (18, 12, 42, 36))
    list(moving.propagate_through_time("backward", stop=0))
    found = (moving.labels == 1).any(axis=(1, 2, 3))
    assert found.tolist() == [False, True, True, False]


def test_what_is_said_at_a_later_time_comes_first():
    image = movie()
    image[1, :, 44:60, 44:60] = 200
    moving = session(image)
    moving.turn("z", (1,))
    moving.add_box(3, (42, 42, 62, 62))
    moving.turn("z", (0,))
    moving.add_box(3, (18, 8, 42, 32))
    list(moving.propagate_through_time(stop=2))
    assert (moving.labels[1, :, 44:60, 44:60] == 1).all()
    assert (moving.labels[1] == 1).sum() == 8 * 16 * 16


def test_an_accepted_time_point_stays_as_it_is():
    image = movie()
    moving = session(image)
    moving.add_box(3, (18, 8, 42, 32))
    list(moving.propagate_through_time())
    moving.turn("z", (1,))
    moving.labels[1, 3, 20:30] = 0
    moving.accept(3, [1])
    moving.turn("z", (0,))
    list(moving.propagate_through_time())
    assert not moving.labels[1, 3, 20:30].any()
    assert (moving.labels[1, 3, 30:40, 12:32] == 1).all()


@pytest.mark.parametrize(
    ("letters", "axis", "at", "options", "message"),
    [
        ("zyx", "z", None, {}, "images of t, z, y and x"),
        ("tzyx", "t", (0,), {}, "choose that axis"),
        ("tzyx", "y", (0,), {}, "choose that axis"),
        ("tzyx", "z", (3,), {"stop": 2}, "nothing forward from time point 3 to 2"),
    ],
)
def test_what_cannot_go_through_time_is_refused(letters, axis, at, options, message):
    image = movie()[0] if letters == "zyx" else movie()
    still = Session(Volume(image, letters), axis=axis, at=at)
    still.add_box(2, (1, 1, 5, 6))
    with pytest.raises(InputError, match=message):
        next(still.propagate_through_time(**options))
