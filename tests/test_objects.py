"""What a person decides about objects: locks, acceptance, order, merging; views of one history."""

from __future__ import annotations

import numpy as np
import pytest
from tests.fakes import BrightModel

from napari_medsam2.errors import InputError, PromptError
from napari_medsam2.labels import MaskUpdate
from napari_medsam2.prompts import MaskPrompt
from napari_medsam2.session import Session
from napari_medsam2.volume import View, Volume

SHAPE = (6, 64, 64)
LEFT, RIGHT = (20, 10, 40, 30), (20, 36, 40, 56)


def blocks() -> np.ndarray:
    image = np.full(SHAPE, 20, dtype=np.uint8)
    for y0, x0, y1, x1 in (LEFT, RIGHT):
        image[:, y0:y1, x0:x1] = 200
    return image


def around(box):
    y0, x0, y1, x1 = box
    return (y0 - 2, x0 - 2, y1 + 2, x1 + 2)


def prepared(session: Session) -> Session:
    session.use_model(BrightModel())
    return session


@pytest.fixture
def session() -> Session:
    session = prepared(Session(blocks(), model="litemedsam", window=(0, 255)))
    session.add_box(2, around(LEFT), object_id=1, name="left")
    session.add_box(2, around(RIGHT), object_id=2, name="right")
    list(session.propagate())
    return session


def count(session: Session, object_id: int) -> list[int]:
    return [int((frame == object_id).sum()) for frame in session.labels]


def square(frame: int, object_id: int, box, score: float = 1.0, view=None) -> MaskUpdate:
    y0, x0, y1, x1 = box
    return MaskUpdate(frame, object_id, box, np.ones((y1 - y0, x1 - x0), bool), score, view)


def test_a_locked_object_loses_no_pixel_and_is_not_segmented(session):
    session.set_locked(1)
    session.write_masks([square(3, 2, (0, 0, 64, 64))], "paint")
    assert count(session, 1) == [400] * 6
    assert count(session, 2)[3] == 64 * 64 - 400
    with pytest.raises(PromptError, match="object 1 is locked"):
        session.propagate(object_ids=[1]).__next__()
    with pytest.raises(PromptError, match="object 1 is locked"):
        session.remove_object(1)
    session.write_masks([square(0, 1, (0, 0, 5, 5))], "paint")
    assert count(session, 1)[0] == 400


def test_only_objects_that_are_not_locked_are_propagated(session):
    session.set_locked(1)
    assert {update.object_id for update in session.propagate()} == {2}
    session.set_locked(2)
    with pytest.raises(PromptError, match="all objects with prompts are locked"):
        next(session.propagate())
    session.set_locked(1, False)
    assert {update.object_id for update in session.propagate()} == {1}


def test_an_accepted_mask_never_changes(session):
    session.write_masks([square(4, 1, (20, 10, 40, 20))], "half of it")
    session.accept(4, [1])
    session.add_box(4, around(LEFT), object_id=1)
    with pytest.raises(PromptError, match="frame 4 is accepted for object 1"):
        session.segment(4)
    session.write_masks([square(4, 2, (20, 0, 40, 60))], "over it")
    assert count(session, 1)[4] == 200
    assert session.accepted == {1: frozenset({4})}
    session.unaccept(4)
    session.segment(4)
    assert count(session, 1)[4] == 400


def test_propagation_starts_from_an_accepted_mask(session):
    image = blocks()
    image[4:, 20:40, 20:30] = 20
    session = prepared(Session(image, model="litemedsam", window=(0, 255)))
    session.write_masks([square(4, 1, (20, 10, 40, 20))], "by hand")
    session.accept(4)
    found = {u.frame: u.area for u in session.propagate("forward")}
    assert found == {4: 200, 5: 200}


def test_accepting_needs_a_mask(session):
    with pytest.raises(PromptError, match="no mask to accept"):
        prepared(Session(blocks())).accept(1)
    with pytest.raises(InputError, match="no frame 6"):
        session.accept(6)


def test_merging_unites_labels_prompts_and_scores(session):
    session.merge_objects([2], 1)
    assert count(session, 1) == [800] * 6
    assert count(session, 2) == [0] * 6
    assert session.prompts.ids == (1,)
    assert len(session.prompts[1].prompts) == 2
    assert list(session.scores) == [1]
    np.testing.assert_array_equal(session.replay(), session.labels)
    session.undo()
    assert count(session, 1) == count(session, 2) == [400] * 6
    assert [o.name for o in session.prompts.objects] == ["left", "right"]


def test_merging_refuses_what_makes_no_sense(session):
    with pytest.raises(PromptError, match="at least one other object"):
        session.merge_objects([1], 1)
    with pytest.raises(PromptError, match="there is no object 7"):
        session.merge_objects([7], 1)
    session.set_locked(2)
    with pytest.raises(PromptError, match="object 2 is locked"):
        session.merge_objects([2], 1)


@pytest.mark.parametrize(("order", "winner"), [((1, 2), 1), ((2, 1), 2)])
def test_the_order_says_who_wins(order, winner):
    session = prepared(Session(blocks(), model="litemedsam", window=(0, 255)))
    session.add_box(2, around(LEFT), object_id=1)
    session.add_box(2, around(LEFT), object_id=2)
    session.reorder(order)
    session.segment(2)
    assert count(session, winner)[2] == 400
    assert count(session, 3 - winner)[2] == 0
    session.write_masks([square(2, 3 - winner, (0, 0, 64, 64))], "paint")
    assert count(session, winner)[2] == 400


def test_an_order_lists_each_object_once(session):
    with pytest.raises(PromptError, match="listed twice"):
        session.reorder([1, 1])


def test_every_decision_can_be_undone(session):
    before = session.labels.copy()
    session.set_locked(1)
    session.set_hidden(2)
    session.reorder([2, 1])
    session.accept(0)
    assert (session.locked, session.hidden, session.order) == ({1}, {2}, (2, 1))
    assert session.accepted == {1: {0}, 2: {0}}
    for _ in range(4):
        session.undo()
    assert (session.locked, session.hidden, session.order) == (frozenset(), frozenset(), ())
    assert session.accepted == {}
    np.testing.assert_array_equal(session.labels, before)
    assert session.redo()
    assert session.locked == {1}


def test_a_decision_that_changes_nothing_is_no_step(session):
    session.set_locked(1, False)
    assert session.undo_text == "propagate object 1, 2"


def test_written_masks_are_replayed(session):
    session.set_locked(2)
    session.write_masks([square(1, 1, (0, 30, 64, 40))], "paint")
    session.set_locked(2, False)
    list(session.propagate(object_ids=[2]))
    np.testing.assert_array_equal(session.replay(), session.labels)


def test_masks_can_be_computed_in_one_place_and_written_in_another(session):
    run = session.start_writing(lambda: iter([square(0, 1, (0, 0, 4, 4))]), 1, "clean up")
    updates = list(run.updates())
    with pytest.raises(InputError, match="a run is in progress"):
        session.undo()
    for update in updates:
        run.apply(update)
    assert count(session, 1)[0] == 16
    assert session.snapshot().runs[-1].kind == "write"
    run.close()
    assert session.undo_text == "clean up"
    np.testing.assert_array_equal(session.replay(), session.labels)


# Views


def test_each_view_has_its_prompts_and_all_share_the_history(session):
    session.turn("y")
    assert session.prompts.ids == (1, 2)
    assert session.prompts.prompted_ids == ()
    session.add_points(30, [(2, 20)], object_id=1)
    session.rename_object(1, "liver")
    session.turn("z")
    assert session.prompts[1].name == "liver"
    assert session.prompts.frames == (2,)
    session.undo()
    assert session.stack.view == View(1)
    assert session.prompts[1].name == "left"
    session.undo()
    session.undo()
    assert session.stack.view == View(0)
    assert not session.labels.any()


def test_an_accepted_frame_holds_in_every_view(session):
    session.accept(2, [1])
    session.turn("y")
    # Row 25, columns 0 to 63, on slices 0 to 5; slice 2 of object 1 is accepted.
    session.write_masks([square(25, 2, (0, 0, 6, 64))], "across")
    row = session.labels[:, 25]
    assert (row[2] == 1).sum() == 20
    assert (row[2] == 2).sum() == 44
    assert (row[[0, 1, 3, 4, 5]] == 2).all()
    session.write_masks([square(25, 1, (0, 0, 6, 64))], "across, too")
    assert (session.labels[2, 25] == 1).sum() == 20
    assert (session.labels[1, 25] == 1).all()


def test_runs_in_several_views_are_replayed(session):
    session.turn("y")
    session.add_box(30, (0, 8, 6, 32), object_id=1)
    list(session.propagate(object_ids=[1]))
    np.testing.assert_array_equal(session.replay(), session.labels)


def test_time_points_are_views_of_one_session(tmp_path):
    movie = np.stack([blocks(), blocks()])
    session = prepared(
        Session(Volume(movie, "tzyx"), axis="z", at=(0,), model="litemedsam", window=(0, 255))
    )
    session.add_box(2, around(LEFT))
    list(session.propagate())
    session.turn("z", (1,))
    assert session.scores == {}
    session.add_box(3, around(RIGHT))
    list(session.propagate())
    assert [int((t == 1).sum()) for t in session.labels] == [2400, 2400]
    path = session.save(tmp_path / "movie.medsam2.json")
    again = prepared(Session.load(path, Volume(movie, "tzyx")))
    assert again.stack.view == View(1, (1,))
    assert again.prompts.frames == (3,)
    again.turn("z", (0,))
    assert again.prompts.frames == (2,)
    # A given box scores .9, carried ones a little less.
    assert again.scores[1][2] == 0.9
    assert ((again.scores[1] > 0.8) & (again.scores[1] <= 0.9)).all()
    session.remove_object(1)
    assert not session.labels.any()
    np.testing.assert_array_equal(session.replay(), session.labels)
    session.undo()
    assert session.labels.any(axis=(1, 2, 3)).all()


def test_views_beside_the_present_one_can_be_asked():
    movie = Volume(np.stack([blocks(), blocks()]), "tzyx")
    session = Session(movie, axis="z", at=(0,), model="litemedsam")
    there = View(1, (1,))
    session.write_masks([square(3, 1, (0, 0, 4, 4), 0.7, there)], "draw")
    session.turn("z", (1,))
    session.accept(3, [1])
    session.turn("z", (0,))
    assert session.parallel_views == (View(1, (0,)), there)
    assert (session.accepted, session.accepted_of(there)) == ({}, {1: {3}})
    assert session.scores == session.scores_of(View(1, (0,))) == {}
    np.testing.assert_array_equal(session.scores_of(there)[1], [np.nan] * 3 + [0.7] + [np.nan] * 2)
    assert session.frames_of(there)[3].sum() == 16
    session.turn("t", (3,))
    assert session.parallel_views == tuple(View(0, (z,)) for z in range(6))
    assert session.accepted_of(there) == {1: {3}}


def test_decisions_survive_saving(session, tmp_path):
    session.set_locked(1)
    session.set_hidden(2)
    session.reorder([2, 1])
    session.accept(3)
    session.write_masks([square(5, 2, (0, 0, 7, 9)), square(0, 3, (50, 50, 60, 60))], "paint")
    session.turn("x")
    path = session.save(tmp_path / "case.medsam2.json")
    again = prepared(Session.load(path, blocks()))
    assert again.stack.view == View(2)
    again.turn("z")
    assert (again.locked, again.hidden, again.order) == ({1}, {2}, (2, 1))
    assert again.accepted == {1: {3}, 2: {3}}
    assert again.prompts == session_at(session, "z").prompts
    np.testing.assert_array_equal(again.labels, session.labels)
    np.testing.assert_array_equal(again.replay(), session.labels)


def session_at(session: Session, axis: str) -> Session:
    session.turn(axis)
    return session


def test_notes_of_others_travel_with_the_history(session):
    session.note("window: lung", "auto", "lung")
    step = session.travel("undo")
    assert step is not None
    assert step.note == ("auto", "lung")
    assert session.redo_text == "window: lung"
    assert count(session, 1) == [400] * 6


def test_a_run_in_progress_is_in_the_snapshot(session):
    run = session.start_propagation("forward", object_ids=[1])
    updates = run.updates()
    run.apply(next(updates))
    run.apply(next(updates))
    saved = session.snapshot()
    assert (saved.runs[-1].kind, saved.runs[-1].updates) == ("propagate", 2)
    run.close()
    assert len(session.runs) == 1


def test_changes_are_told_once(session):
    session.take_changes()
    session.write_masks([square(1, 1, (0, 0, 3, 3))], "paint")
    assert session.take_changes() == {(View(0), 1)}
    assert session.take_changes() == frozenset()
    session.undo()
    assert session.take_changes() == {(View(0), 1)}


def test_masks_and_prompts_can_be_one_step(session):
    prompts = session.prompts.add(1, MaskPrompt(5, np.eye(64, dtype=bool)))
    session.write_masks([square(5, 1, (0, 0, 2, 2))], "paint", prompts=prompts)
    assert session.prompts[1].frames == (2, 5)
    session.undo()
    assert session.prompts[1].frames == (2,)
    assert count(session, 1)[5] == 400
    session.write_masks([], "only said", prompts=prompts)
    assert session.undo_text == "only said"
    bad = session.prompts.add(1, MaskPrompt(5, np.eye(3, dtype=bool)))
    with pytest.raises(PromptError, match="the mask is"):
        session.write_masks([square(5, 1, (0, 0, 2, 2))], "paint", prompts=bad)
    assert count(session, 1)[5] == 400
