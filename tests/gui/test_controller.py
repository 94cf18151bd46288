"""The controller on a viewer without a window; tests/gui/test_window.py has the window."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels
from tests.gui.common import counts, draw, filled, texts
from tests.gui.conftest import BOX, disc, rectangle, session_maker

from napari_medsam2 import BoxPrompt, PointPrompt, PromptSet

DISC = int(disc().sum())


def test_a_drawn_box_is_segmented_on_its_slice(controller, viewer_model):
    draw(controller)
    assert controller.wait(10)
    assert controller.session.prompts == PromptSet().add(1, BoxPrompt(2, BOX))
    assert counts(controller) == [0, 0, DISC, 0, 0]
    layer = viewer_model.layers["disc [MedSAM2]"]
    assert isinstance(layer, Labels)
    assert layer.data is controller.session.labels
    np.testing.assert_array_equal(layer.scale, (3, 1, 1))


def test_without_segment_while_drawing_nothing_is_segmented_until_asked(controller):
    controller.segment_while_drawing = False
    draw(controller)
    assert controller.wait(10)
    assert counts(controller) == [0] * 5
    assert controller.segment_slice()
    assert controller.wait(10)
    assert counts(controller) == [0, 0, DISC, 0, 0]


def test_propagation_reports_states_and_progress(controller):
    draw(controller)
    controller.wait(10)
    states, progress = [], []
    controller.state_changed.connect(states.append)
    controller.progressed.connect(progress.append)
    assert controller.propagate()
    assert controller.wait(10)
    assert states == ["loading", "running", "idle"]
    assert (progress[0].done, progress[-1].done, progress[-1].total) == (0, 5, 5)
    assert str(progress[-1]).startswith("frame 5 of 5")
    assert all(filled(controller))


def test_range_direction_and_objects(controller):
    draw(controller)
    controller.new_object()
    draw(controller, box=(1, 1, 9, 9))
    controller.wait(10)
    controller.propagate(direction="forward", stop=4, object_ids=[1])
    controller.wait(10)
    assert filled(controller) == [False, False, True, True, False]


def test_undo_and_redo_move_prompts_and_masks(controller):
    draw(controller)
    controller.wait(10)
    boxes = controller.bench.desk.prompts.boxes
    controller.propagate()
    controller.wait(10)
    controller.undo()
    assert counts(controller) == [0, 0, DISC, 0, 0]
    assert boxes.nshapes == 1
    controller.undo()
    assert counts(controller) == [0] * 5
    controller.undo()
    assert boxes.nshapes == 0
    for _ in range(3):
        controller.redo()
    assert boxes.nshapes == 1
    np.testing.assert_allclose(boxes.data[0], rectangle(2))
    assert all(filled(controller))
    assert controller.wait(10)
    # What undo has written into the layers is no new edit.
    assert controller.session.redo_text is None
    assert controller.session.undo_text == "propagate object 1"


def test_cancel_keeps_what_is_done(gated_controller, gated):
    controller = gated_controller
    controller.segment_while_drawing = False
    draw(controller, frame=0)
    controller.propagate()
    gated.open(2)
    while filled(controller) != [True, True, False, False, False]:
        controller.poll(wait=0.05)
    messages = []
    controller.message.connect(messages.append)
    controller.cancel()
    assert controller.state == "stopping"
    gated.open(1)  # for the frame that may be in work
    assert controller.wait(10)
    assert controller.state == "idle"
    done = sum(filled(controller))
    assert done in (2, 3)
    assert filled(controller) == [True] * done + [False] * (5 - done)
    assert messages[-1].startswith(f"Stopped after {done} of 5 frames")
    controller.undo()
    assert counts(controller) == [0] * 5


def test_undo_during_a_run_stops_it_and_takes_it_back(gated_controller, gated):
    controller = gated_controller
    controller.segment_while_drawing = False
    draw(controller, frame=0)
    controller.propagate()
    gated.open(1)
    while not counts(controller)[0]:
        controller.poll(wait=0.05)
    controller.undo()
    gated.open(4)
    assert controller.wait(10)
    assert counts(controller) == [0] * 5
    assert controller.last_error is None
    assert controller.session.redo_text == "propagate object 1"


def test_a_newer_preview_replaces_an_older_one(gated_controller, gated):
    controller = gated_controller
    controller.segment_while_drawing = False
    draw(controller, 1)
    draw(controller, 3)
    controller.segment_slice(1)
    controller.segment_slice(2)  # has no prompt; never begins
    controller.segment_slice(3)
    gated.open()
    assert controller.wait(10)
    assert controller.last_error is None
    assert counts(controller)[3] == DISC
    assert not counts(controller)[2]


def test_no_second_propagation_and_no_slice_in_mid_run(gated_controller, gated, notes):
    controller = gated_controller
    controller.segment_while_drawing = False
    draw(controller)
    assert controller.propagate()
    assert not controller.propagate()
    assert not controller.segment_slice()
    assert "a propagation is running" in texts(notes)[-1]
    gated.open()
    assert controller.wait(10)
    assert all(filled(controller))


def test_points_without_a_box_are_refused_in_words(controller, notes):
    controller.use_point_tool()
    controller.bench.desk.prompts.points.add([[2, 30, 40]])
    assert controller.wait(10)
    assert controller.session.prompts[1].prompts == (PointPrompt(2, ((30, 40),), (1,)),)
    assert [n.severity.value for n in notes] == ["warning"]
    assert texts(notes) == ["MedSAM2: object 1, frame 2: needs a box"]
    assert "needs a box" in str(controller.last_error)


@pytest.mark.parametrize("error", [RuntimeError("CUDA error"), MemoryError(), KeyError("x")])
def test_no_error_of_the_model_is_lost(controller, model, notes, monkeypatch, error):
    def fail(frame):
        raise error

    monkeypatch.setattr(model, "embed", fail)
    draw(controller)
    assert controller.wait(10)
    assert controller.state == "idle"
    assert [n.severity.value for n in notes] == ["error"]
    assert texts(notes)[0].startswith("MedSAM2: ")
    monkeypatch.undo()
    assert controller.segment_slice()
    assert controller.wait(10)
    assert counts(controller)[2] == DISC


def test_nothing_to_segment_is_said(controller, notes):
    assert not controller.propagate()
    assert "draw a box" in texts(notes)[-1]
    controller.bench.use(None)
    assert not controller.segment_slice()
    assert "there is no image" in texts(notes)[-1]


def test_a_click_outside_the_image_is_removed_and_told(controller, notes):
    controller.use_point_tool()
    points = controller.bench.desk.prompts.points
    points.add([[2, -9, 40]])
    assert controller.wait(10)
    assert len(points.data) == 0
    assert "outside the image" in texts(notes)[0]


def test_objects_have_the_colours_of_their_labels(controller, viewer_model):
    draw(controller)
    assert controller.new_object() == 2
    draw(controller, box=(1, 1, 9, 9))
    controller.wait(10)
    labels = viewer_model.layers["disc [MedSAM2]"]
    boxes = controller.bench.desk.prompts.boxes
    assert list(boxes.features["object_id"]) == [1, 2]
    for row, object_id in enumerate((1, 2)):
        np.testing.assert_allclose(boxes.edge_color[row], labels.get_color(object_id), atol=1e-6)
        np.testing.assert_allclose(
            controller.objects[row].colour, labels.get_color(object_id), atol=1e-6
        )
    assert labels.selected_label == 2


def test_new_object_is_the_next_free_id(controller):
    assert controller.new_object() == 1
    draw(controller)
    assert controller.new_object() == 2
    assert controller.new_object() == 2
    controller.session.add_box(2, (1, 1, 9, 9), object_id=7)
    assert controller.new_object() == 8


def test_removing_an_object_takes_prompts_and_labels_and_can_be_undone(controller):
    draw(controller)
    controller.wait(10)
    controller.remove_object(1)
    assert controller.session.prompts == PromptSet()
    assert counts(controller) == [0] * 5
    assert controller.bench.desk.prompts.boxes.nshapes == 0
    controller.undo()
    assert counts(controller)[2] == DISC
    assert controller.bench.desk.prompts.boxes.nshapes == 1


def test_prompts_of_a_script_appear_in_the_layers(controller):
    controller.session.add_box(1, BOX, object_id=3, name="lesion")
    controller.session.add_points(1, [(30, 40), (5, 5)], [1, 0], object_id=3)
    assert controller.propagate()
    assert controller.wait(10)
    prompts = controller.bench.desk.prompts
    np.testing.assert_allclose(prompts.boxes.data[0], rectangle(1))
    assert list(prompts.boxes.features["object_id"]) == [3]
    assert list(prompts.points.features["polarity"]) == ["positive", "negative"]
    assert [s.value for s in prompts.points.symbol] == ["disc", "x"]
    assert all(filled(controller, 3))
    assert controller.objects[-1].name == "lesion"


def test_the_same_prompts_give_the_labels_of_a_script(controller, stack, model):
    draw(controller)
    draw(controller, frame=4)
    controller.wait(10)
    controller.propagate()
    controller.wait(10)
    session = session_maker(model)(stack)
    session.add_box(2, BOX)
    session.add_box(4, BOX)
    for _ in session.propagate():
        pass
    np.testing.assert_array_equal(controller.session.labels, session.labels)


def test_a_transposed_view_works_along_its_own_slider(controller, viewer_model):
    draw(controller)
    controller.wait(10)
    viewer_model.dims.order = (1, 0, 2)
    viewer_model.dims.set_current_step(1, 30)
    controller.use_box_tool()
    drawn = np.array([[0.5, 30, 27.5], [0.5, 30, 51.5], [3.5, 30, 51.5], [3.5, 30, 27.5]])
    controller.bench.desk.prompts.boxes.add_rectangles(drawn)
    assert controller.wait(10)
    session = controller.session
    assert session.stack.axis == 1
    assert session.prompts == PromptSet().add(1, BoxPrompt(30, (1, 28, 4, 52)))
    row = int(disc()[30].sum())
    assert [int((session.labels[z, 30] == 1).sum()) for z in range(5)] == [0, row, row, row, 0]
    # The axial box waits, and its mask stays but where the coronal one says otherwise.
    assert int((session.labels[2] == 1).sum()) == DISC
    viewer_model.dims.order = (0, 1, 2)
    assert controller.session.prompts == PromptSet().add(1, BoxPrompt(2, BOX))


def test_undo_of_a_box_in_another_view_leaves_the_first_box_alone(controller, viewer_model):
    draw(controller)
    controller.wait(10)
    viewer_model.dims.order = (1, 0, 2)
    controller.session.add_box(30, (1, 28, 4, 52))
    controller.segment_slice(30)
    controller.wait(10)
    controller.undo()
    controller.undo()
    boxes = controller.bench.desk.prompts.boxes
    assert boxes.nshapes == 1
    np.testing.assert_allclose(boxes.data[0], rectangle(2))


def test_changing_the_window_keeps_prompts_labels_and_history(controller):
    draw(controller)
    controller.wait(10)
    before = controller.session
    controller.bench.configure(window="10,210")
    after = controller.session
    assert after is not before
    assert after.settings["window"] == [10.0, 210.0] or after.settings["window"] == "10,210"
    assert after.prompts == before.prompts
    assert after.labels is before.labels
    assert after.scores.keys() == {1}
    controller.undo()
    assert controller.bench.settings.window == "auto"
    assert counts(controller)[2] > 0
    controller.undo()
    assert counts(controller) == [0] * 5


def test_the_display_window_is_that_of_the_layer_when_it_runs(controller, viewer_model):
    viewer_model.layers["disc"].contrast_limits = (5, 250)
    controller.bench.configure(window="display")
    assert (controller.session.window.low, controller.session.window.high) == (5, 250)
    viewer_model.layers["disc"].contrast_limits = (7, 99)
    assert controller.session.window.low == 7
