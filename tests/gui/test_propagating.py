"""Propagation under control: pausing, steps from the slice on show, and what is chosen for them."""

from __future__ import annotations

import numpy as np
import pytest
from tests.gui.common import counts, draw, filled, texts
from tests.gui.conftest import BOX

from napari_medsam2 import Session
from napari_medsam2.errors import PromptError
from napari_medsam2.gui.course import Course, next_slice, to_next_prompt
from napari_medsam2.gui.worker import Job


def until(controller, done) -> None:
    while not done():
        controller.poll(wait=0.05)


@pytest.fixture
def started(gated_controller, gated):
    """A propagation from slice 0 that has shown two slices of five."""
    controller = gated_controller
    controller.segment_while_drawing = False
    draw(controller, frame=0)
    controller.propagate()
    gated.open(2)
    until(controller, lambda: sum(filled(controller)) == 2)
    return controller


class TestPause:
    def test_it_waits_between_slices_and_goes_on(self, started, gated):
        states = []
        started.state_changed.connect(states.append)
        assert started.pause()
        assert started.is_paused
        gated.open()
        until(started, lambda: len(gated.embedded) == 3)
        # The slice in work is done, shown later, and none begun after it.
        assert not started.wait(10)
        assert gated.asked == 3
        assert filled(started) == [True, True, False, False, False]
        assert started.resume()
        assert started.wait(10)
        assert all(filled(started))
        assert states == ["paused", "running", "idle"]
        started.undo()
        assert counts(started) == [0] * 5

    def test_stop_ends_it_where_it_is(self, started, gated):
        messages = []
        started.message.connect(messages.append)
        started.pause()
        gated.open(1)
        started.cancel()
        until(started, lambda: started.state == "idle")
        assert filled(started) == [True, True, False, False, False]
        assert messages[-1].startswith("Stopped after 2 of 5 frames")
        assert started.last_error is None

    def test_before_the_first_slice(self, gated_controller, gated):
        controller = gated_controller
        controller.segment_while_drawing = False
        draw(controller, frame=0)
        controller.propagate()
        assert controller.state == "loading"
        assert controller.pause()
        gated.open()
        until(controller, lambda: len(gated.embedded) == 1)
        assert not any(filled(controller))
        assert controller.is_paused
        controller.resume()
        assert controller.wait(10)
        assert all(filled(controller))

    def test_undo_takes_back_what_was_paused(self, started, gated):
        started.pause()
        gated.open()
        started.undo()
        assert started.wait(10)
        assert counts(started) == [0] * 5
        assert started.session.redo_text == "propagate object 1"

    def test_no_other_propagation_meanwhile(self, started, notes):
        started.pause()
        assert not started.propagate()
        assert "a propagation is paused: resume it or stop it first (Esc)" in texts(notes)[-1]

    def test_all_objects_of_a_slice_are_shown_before_a_pause(self, gated_controller, gated):
        controller = gated_controller
        controller.segment_while_drawing = False
        controller.session.add_box(0, BOX, 1)
        controller.session.add_box(0, (18, 28, 27, 52), 2)
        controller.propagate()
        gated.open(2)
        until(controller, lambda: filled(controller, 2)[1])
        controller.pause()
        gated.open()
        until(controller, lambda: len(gated.embedded) == 3)
        assert filled(controller, 1) == filled(controller, 2) == [True] * 2 + [False] * 3

    def test_nothing_to_pause(self, controller):
        assert not controller.pause()
        assert not controller.resume()
        assert not controller.toggle_pause()
        controller.segment_while_drawing = False
        draw(controller)
        controller.segment_slice()
        assert not controller.pause()
        assert controller.wait(10)

    def test_a_paused_job_that_is_cancelled_does_not_go_on(self):
        job = Job(lambda job: None)
        assert job.hold()
        job.pause()
        job.cancel()
        assert not job.hold()

    def test_a_job_that_is_cancelled_cannot_be_paused(self):
        job = Job(lambda job: None)
        job.cancel()
        job.pause()
        assert job.hold()


class TestSteps:
    def test_carry_fills_the_next_slice_and_goes_there(self, controller, viewer_model, notes):
        controller.segment_while_drawing = False
        draw(controller, frame=2)
        for at in (3, 4):
            assert controller.carry()
            assert controller.wait(10)
            assert viewer_model.dims.current_step[0] == at
            assert filled(controller) == [2 < f <= at for f in range(5)]
        assert not controller.carry()
        assert "slice 4 is the last one" in texts(notes)[-1]
        assert not controller.carry("backward")
        assert "object 1 has no prompt on slice 4 or after it" in texts(notes)[-1]
        assert viewer_model.dims.current_step[0] == 4

    def test_a_step_gives_what_a_propagation_gives(self, controller, viewer_model):
        controller.segment_while_drawing = False
        draw(controller, frame=2)
        controller.propagate()
        assert controller.wait(10)
        whole = controller.session.labels.copy()
        controller.undo()
        for _ in range(2):
            controller.carry("backward")
            assert controller.wait(10)
        np.testing.assert_array_equal(controller.session.labels[:2], whole[:2])

    def test_a_second_step_waits_for_the_first(self, gated_controller, gated, viewer_model):
        controller = gated_controller
        controller.segment_while_drawing = False
        draw(controller, frame=2)
        assert controller.carry()
        assert controller.carry()
        gated.open()
        assert controller.wait(10)
        assert filled(controller) == [False, False, False, True, True]
        assert viewer_model.dims.current_step[0] == 4

    def test_to_the_next_prompt_and_not_beyond(self, controller, viewer_model):
        controller.segment_while_drawing = False
        draw(controller, frame=0)
        draw(controller, frame=4)
        viewer_model.dims.set_current_step(0, 1)
        assert controller.propagate_to_next_prompt("forward")
        assert controller.wait(10)
        assert filled(controller) == [False, False, True, True, False]
        viewer_model.dims.set_current_step(0, 0)
        assert controller.propagate_to_next_prompt("forward")
        assert controller.wait(10)
        assert filled(controller) == [True, True, True, True, False]

    def test_only_the_selected_object_and_patience_count_here_too(self, controller, viewer_model):
        controller.segment_while_drawing = False
        controller.session.add_box(2, BOX, 1)
        controller.session.add_box(2, (0, 0, 30, 52), 2)
        controller.tools.select(2)
        controller.course.only_selected = True
        controller.course.patience = 3
        controller.carry()
        assert controller.wait(10)
        (record,) = controller.session.runs
        assert (record.prompts.ids, record.patience) == ((2,), 3)
        assert (record.direction, record.start, record.stop) == ("forward", 3, 4)

    def test_a_way_that_does_not_exist_is_told(self, controller):
        draw(controller)
        assert not controller.carry("both")
        assert 'goes "forward" or "backward"' in str(controller.last_error)


class TestLegs:
    @pytest.fixture
    def session(self) -> Session:
        session = Session(np.zeros((20, 16, 16), np.uint8))
        session.add_box(4, (2, 2, 9, 9), 1)
        session.add_box(12, (2, 2, 9, 9), 1)
        session.add_box(9, (2, 2, 9, 9), 2)
        return session

    @pytest.mark.parametrize(
        ("frame", "step", "ids", "start", "stop", "objects"),
        [
            (4, 1, None, 4, 12, (1,)),
            (6, 1, [1], 7, 12, (1,)),
            (9, 1, None, 9, 12, (1, 2)),
            (13, 1, None, 14, 20, (1, 2)),
            (8, -1, None, 5, 8, (1, 2)),
            (8, -1, [2], 0, 8, (2,)),
            (12, -1, [1], 5, 13, (1,)),
        ],
    )
    def test_to_the_next_prompt(self, session, frame, step, ids, start, stop, objects):
        leg = to_next_prompt(session, frame, step, ids)
        assert (leg.start, leg.stop, leg.object_ids) == (start, stop, objects)
        assert leg.direction == ("forward" if step > 0 else "backward")

    def test_an_accepted_slice_is_an_end_and_a_beginning(self, session):
        session.labels[15, 3:6, 3:6] = 2
        session.accept(15, [2])
        leg = to_next_prompt(session, 13, 1)
        assert (leg.start, leg.stop) == (14, 15)
        assert next_slice(session, 14, -1).object_ids == (2,)

    def test_nothing_between(self, session):
        with pytest.raises(PromptError, match="no slice between slice 11 and the next"):
            to_next_prompt(session, 11, 1, [1])

    def test_no_way_from_here(self, session):
        with pytest.raises(PromptError, match="there is no prompt on slice 2 or before it"):
            next_slice(session, 2, 1)
        with pytest.raises(PromptError, match="slice 0 is the first one"):
            next_slice(session, 0, -1)

    def test_locked_objects_stay_where_they_are(self, session):
        session.set_locked(1, True)
        assert next_slice(session, 13, 1).object_ids == (2,)


class TestCourse:
    def test_a_limit_belongs_to_the_axis_it_was_made_on(self):
        course = Course()
        assert (course.frames(10), course.span(10)) == ((0, 9), (None, None))
        course.limit(7, 2, 10)
        assert (course.frames(10), course.span(10)) == ((2, 7), (2, 8))
        assert course.span(64) == (None, None)
        course.limit(0, 9, 10)
        assert course.span(10) == (None, None)
        course.limit(0, 3, 10)
        course.lift_limit()
        assert course.span(10) == (None, None)

    def test_a_propagation_goes_as_it_is_set(self, controller):
        controller.segment_while_drawing = False
        controller.session.add_box(1, BOX, 1)
        controller.session.add_box(1, (0, 0, 30, 52), 2)
        course = controller.course
        course.way, course.only_selected, course.patience = "forward", True, 2
        course.limit(2, 3, 5)
        assert controller.propagate_as_set()
        assert controller.wait(10)
        assert filled(controller) == [False, False, True, True, False]
        assert not any(filled(controller, 2))
        assert controller.session.runs[-1].patience == 2
