"""A vote among axes."""

from __future__ import annotations

import numpy as np
import pytest
from tests.fakes import BrightModel

from napari_medsam2.errors import InputError
from napari_medsam2.session import Session
from napari_medsam2.volume import View, Volume

SHAPE = (64, 64, 64)
CUBE = (slice(20, 44), slice(20, 44), slice(20, 44))


def cube() -> np.ndarray:
    image = np.full(SHAPE, 20, dtype=np.uint8)
    image[CUBE] = 200
    return image


def prepared(session: Session) -> Session:
    session.use_model(BrightModel())
    return session


def test_axes_that_agree_give_the_object_and_full_agreement():
    session = prepared(Session(cube(), model="litemedsam", window=(0, 255)))
    session.add_box(30, (18, 18, 46, 46))
    updates = list(session.vote())
    assert np.array_equal(session.labels == 1, cube() > 100)
    assert {u.score for u in updates[-24:]} == {1.0}
    assert session.undo_text == "vote on object 1"
    np.testing.assert_array_equal(session.replay(), session.labels)
    session.undo()
    assert not session.labels.any()


def test_what_one_axis_misses_the_others_bring_back():
    image = cube()
    # On this slice alone the object is dark: the first axis ends there, the others look across.
    image[38] = 20
    session = prepared(Session(image, model="litemedsam", window=(0, 255)))
    session.add_box(30, (18, 18, 46, 46))
    list(session.propagate())
    assert not session.labels[39:].any()
    session.undo()
    list(session.vote(("z", "y", "x")))
    assert (session.labels[39:44, 20:44, 20:44] == 1).mean() > 0.8
    assert session.scores[1][41] < 0.8
    assert session.scores[1][30] == 1.0


def test_the_first_axis_may_be_another_one():
    session = prepared(Session(cube(), model="litemedsam", axis="y", window=(0, 255)))
    session.add_box(30, (18, 18, 46, 46))
    list(session.vote(("x", "y")))
    assert np.array_equal(session.labels == 1, cube() > 100)
    assert session.stack.view == View(1)


def test_a_time_point_of_a_movie_of_stacks_can_be_voted_on():
    movie = np.stack([np.full(SHAPE, 20, np.uint8), cube()])
    session = prepared(
        Session(Volume(movie, "tzyx"), axis="z", at=(1,), model="litemedsam", window=(0, 255))
    )
    session.add_box(30, (18, 18, 46, 46))
    list(session.vote(("z", "x")))
    assert np.array_equal(session.labels[1] == 1, cube() > 100)
    assert not session.labels[0].any()


@pytest.mark.parametrize(
    ("axes", "shape", "letters", "message"),
    [
        (("z",), SHAPE, "zyx", "at least two axes"),
        (("t", "y"), SHAPE, "tyx", "needs a 3D image"),
        (("z", "t"), (2, *SHAPE), "tzyx", "time cannot"),
        (("z", "q"), SHAPE, "zyx", "no axis 'q'"),
    ],
)
def test_what_cannot_vote_is_refused_before_anything_is_computed(axes, shape, letters, message):
    volume = Volume(np.zeros(shape, np.uint8), letters)
    at = (0,) if len(shape) == 4 else None
    session = Session(volume, axis=letters[-3], at=at)
    session.add_box(3, (10, 10, 20, 20))
    with pytest.raises(InputError, match=message):
        next(session.vote(axes))
