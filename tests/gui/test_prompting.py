"""What the tools say, without a window: paint, labels as prompts, prompts that go."""

from __future__ import annotations

import numpy as np
import pytest
from napari.layers import Labels
from tests.gui.common import counts, draw, texts
from tests.gui.conftest import BOX, SHAPE, disc, rectangle

from napari_medsam2 import (
    BoxPrompt,
    MaskPrompt,
    PointPrompt,
    PolygonPrompt,
    PromptSet,
    ScribblePrompt,
)
from napari_medsam2.gui.adapters import FrameView
from napari_medsam2.gui.brush import painted, read_strokes
from napari_medsam2.gui.label_prompts import is_preview, told
from napari_medsam2.history import RunRecord
from napari_medsam2.labels import MaskUpdate, Write
from napari_medsam2.volume import View

DISC = int(disc().sum())
AXIAL = FrameView(SHAPE, 0, ())
Z = View(0, ())


def free(frame: int) -> frozenset[int]:
    return frozenset()


def paint(labels: Labels, *strokes) -> list:
    """Paint boxes of one frame as napari does; return what its events tell."""
    seen: list = []
    labels.events.paint.connect(lambda event: seen.extend(event.value))
    for frame, rows, columns, value in strokes:
        y, x = np.mgrid[rows, columns]
        indices = (np.full(y.size, frame), y.ravel(), x.ravel())
        labels.data_setitem(indices, value, refresh=False)
    return seen


class TestStrokes:
    def test_the_labels_before_are_found_and_put_back(self):
        array = np.zeros(SHAPE, np.uint16)
        array[2, 10:20, 10:20] = 1
        before = array.copy()
        strokes = paint(
            Labels(array), (2, slice(15, 25), slice(5, 15), 2), (2, slice(12, 18), slice(8, 12), 0)
        )
        after = array.copy()
        patch = read_strokes(strokes, array)
        wanted = patch.put_back(array)
        np.testing.assert_array_equal(array, before)
        array[patch.region] = wanted
        np.testing.assert_array_equal(array, after)

    def test_the_brush_of_napari_itself_is_understood(self):
        array = np.zeros(SHAPE, np.uint16)
        layer = Labels(array)
        seen: list = []
        layer.events.paint.connect(lambda event: seen.extend(event.value))
        layer.brush_size = 5
        layer.paint((2, 30, 30), 4)
        layer.fill((2, 0, 0), 7)
        patch = read_strokes(seen, array)
        patch.put_back(array)
        assert not array.any()

    def test_what_a_run_has_written_since_stays(self):
        array = np.zeros(SHAPE, np.uint16)
        strokes = paint(Labels(array), (2, slice(0, 10), slice(0, 10), 1))
        patch = read_strokes(strokes, array)
        array[2, :5, :10] = 6
        wanted = patch.put_back(array)
        assert (array[2, :5, :10] == 6).all()
        assert not array[2, 5:10, :10].any()
        assert (wanted[0] == 1).all()

    def test_who_gained_who_lost_and_who_was_erased(self):
        array = np.zeros(SHAPE, np.uint16)
        array[2, 0:10, 0:10], array[2, 0:10, 20:30] = 1, 2
        strokes = paint(
            Labels(array), (2, slice(0, 10), slice(5, 12), 3), (2, slice(0, 10), slice(25, 30), 0)
        )
        patch = read_strokes(strokes, array)
        (found,) = painted(patch, patch.put_back(array), array, AXIAL, free)
        assert found.frame == 2
        assert found.said == {2, 3}
        assert list(found.updates)[-1] == 3
        sizes = {i: update.area for i, update in found.updates.items()}
        assert sizes == {1: 50, 2: 50, 3: 70}

    def test_locked_objects_keep_their_pixels_and_get_none(self):
        array = np.zeros(SHAPE, np.uint16)
        array[2, 0:10, 0:10] = 1
        strokes = paint(
            Labels(array), (2, slice(0, 10), slice(5, 15), 3), (2, slice(20, 30), slice(0, 9), 1)
        )
        patch = read_strokes(strokes, array)
        lock = lambda frame: frozenset({1})  # noqa: E731
        (found,) = painted(patch, patch.put_back(array), array, AXIAL, lock)
        assert found.updates.keys() == {3}
        assert found.updates[3].area == 50
        assert found.kept == {1}

    def test_a_stroke_through_several_frames_says_something_on_each(self):
        array = np.zeros(SHAPE, np.uint16)
        strokes = paint(Labels(array), *((z, slice(30, 31), slice(4, 9), 1) for z in (1, 2, 4)))
        patch = read_strokes(strokes, array)
        found = list(painted(patch, patch.put_back(array), array, AXIAL, free))
        assert [part.frame for part in found] == [1, 2, 4]
        # Seen from the side it is one frame.
        array[...] = 0
        strokes = paint(Labels(array), (1, slice(30, 31), slice(4, 9), 1))
        patch = read_strokes(strokes, array)
        side = FrameView(SHAPE, 1, ())
        (part,) = painted(patch, patch.put_back(array), array.transpose(1, 0, 2), side, free)
        assert part.frame == 30
        mask = part.updates[1].full_mask((SHAPE[0], SHAPE[2]))
        assert np.argwhere(mask).tolist() == [[1, x] for x in range(4, 9)]

    def test_another_time_point_is_none_of_this_view(self):
        array = np.zeros((3, *SHAPE), np.uint16)
        layer = Labels(array)
        seen: list = []
        layer.events.paint.connect(lambda event: seen.extend(event.value))
        for t in (0, 1):
            layer.data_setitem(tuple(np.array([v]) for v in (t, 2, 5, 6)), 1, refresh=False)
            view = FrameView((3, *SHAPE), 1, ((0, 1),))
            patch = read_strokes(seen[-1:], array)
            found = list(painted(patch, patch.put_back(array), array[1], view, free))
            assert len(found) == t


def test_paint_during_a_propagation_is_taken_in_when_it_ends(gated_controller, gated):
    controller = gated_controller
    controller.segment_while_drawing = False
    draw(controller, frame=0)
    controller.propagate()
    gated.open(1)
    while not counts(controller)[0]:
        controller.poll(wait=0.05)
    labels = controller.bench.desk.results.layer
    paint(labels, (3, slice(0, 5), slice(0, 5), 2))
    controller.poll()
    assert 2 not in controller.session.prompts
    gated.open()
    assert controller.wait(10)
    assert controller.last_error is None
    (prompt,) = controller.session.prompts[2].prompts
    assert (prompt.frame, int(prompt.mask.sum())) == (3, 25)
    assert counts(controller, 2) == [0, 0, 0, 25, 0]
    assert counts(controller) == [DISC] * 5
    controller.undo()
    assert counts(controller, 2) == [0] * 5
    controller.undo()
    assert counts(controller) == [0] * 5


def test_undo_right_after_a_stroke_takes_back_the_stroke(controller):
    draw(controller)
    controller.wait(10)
    labels = controller.bench.desk.results.layer
    paint(labels, (2, slice(0, 5), slice(0, 5), 2))
    controller.undo()
    assert counts(controller, 2) == [0] * 5
    assert counts(controller)[2] == DISC
    controller.redo()
    assert counts(controller, 2)[2] == 25


def test_a_wholly_erased_object_has_no_prompt_left_there(controller):
    draw(controller)
    controller.wait(10)
    labels = controller.bench.desk.results.layer
    paint(labels, (2, slice(0, 64), slice(0, 64), 0))
    assert controller.wait(10)
    assert counts(controller) == [0] * 5
    assert controller.session.prompts[1].prompts == ()
    assert controller.bench.desk.prompts.boxes.nshapes == 0


def test_of_many_quick_prompts_only_the_last_request_is_answered(gated_controller, gated):
    controller = gated_controller
    for column in range(5):
        draw(controller, box=(18, 28, 42, 38 + 3 * column))
        controller.poll()
    gated.open()
    assert controller.wait(10)
    assert gated.decoded == 2  # the first, which was at work, and the last
    assert counts(controller)[2] == int(disc()[:, :50].sum())
    assert len(controller.session.prompts[1].prompts) == 5


def test_added_prompts_are_read_at_once_and_moved_ones_when_they_rest(controller):
    draw(controller)
    controller.poll()
    assert controller.state != "idle"
    assert controller.wait(10)
    boxes = controller.bench.desk.prompts.boxes
    boxes.data = [rectangle(2, (18, 28, 42, 40))]
    controller.poll()
    assert controller.state == "idle"
    assert controller.wait(10)
    assert counts(controller)[2] == int(disc()[:, :40].sum())


def test_a_deleted_prompt_takes_its_mask_along_but_not_a_propagated_one(controller):
    draw(controller)
    controller.wait(10)
    boxes = controller.bench.desk.prompts.boxes
    boxes.selected_data = {0}
    boxes.remove_selected()
    assert controller.wait(10)
    assert counts(controller) == [0] * 5
    controller.undo()
    controller.undo()
    assert counts(controller)[2] == DISC
    controller.propagate(start=1, stop=4)
    controller.wait(10)
    boxes.selected_data = {0}
    boxes.remove_selected()
    assert controller.wait(10)
    assert counts(controller) == [0, DISC, DISC, DISC, 0]


def test_one_of_two_prompts_deleted_segments_again(controller):
    draw(controller, box=(18, 28, 42, 38))
    draw(controller, box=(18, 38, 42, 52))
    controller.wait(10)
    assert counts(controller)[2] == DISC
    boxes = controller.bench.desk.prompts.boxes
    boxes.selected_data = {0}
    boxes.remove_selected()
    assert controller.wait(10)
    assert counts(controller)[2] == int(disc()[:, 38:].sum())


def test_straight_scribbles_belong_to_the_axis_they_were_drawn_in(controller, viewer_model):
    viewer_model.dims.order = (1, 0, 2)
    controller.segment_while_drawing = False
    controller.use_tool("scribble")
    boxes = controller.bench.desk.prompts.boxes
    boxes.add_paths(np.array([[2.0, 30, 35], [2, 30, 45]]))
    assert controller.wait(10)
    assert controller.session.prompts.frames == (30,)
    viewer_model.dims.order = (0, 1, 2)
    assert controller.session.prompts.prompted_ids == ()


def test_labels_of_the_wrong_shape_and_locked_objects_are_refused(controller, viewer_model, notes):
    other = viewer_model.add_labels(np.ones((5, 10, 10), np.uint8), name="small")
    assert not controller.use_labels(other)
    assert "small has the shape (5, 10, 10)" in texts(notes)[-1]
    flat = viewer_model.add_labels(disc().astype(np.uint8) * 4, name="flat")
    assert controller.use_labels(flat)
    assert counts(controller, 4) == [0, 0, DISC, 0, 0]
    controller.session.set_locked(4)
    assert not controller.use_labels(flat)
    assert "object 4 is locked" in texts(notes)[-1]


def test_a_label_that_can_be_no_object_is_told(controller, viewer_model, notes):
    huge = viewer_model.add_labels(disc().astype(np.int32) * 70_000, name="huge")
    assert not controller.use_labels(huge)
    assert "object id 70000 is outside 1..65535" in texts(notes)[-1]
    assert controller.use_labels(huge, 70_000)
    assert counts(controller)[2] == DISC


@pytest.mark.parametrize(
    ("prompts", "words"),
    [
        ((), ""),
        ((BoxPrompt(0, BOX),), "1 box"),
        (
            (BoxPrompt(0, BOX), PointPrompt(0, ((1, 1), (2, 2)), (1, 0)), BoxPrompt(0, BOX)),
            "2 boxes, 2 clicks",
        ),
        ((PointPrompt(0, ((1, 1),), (1,)),), "1 click"),
        (
            (
                PolygonPrompt(0, ((1, 1), (1, 9), (9, 9))),
                ScribblePrompt(0, ((1, 1), (2, 2))),
                MaskPrompt(0, disc()),
            ),
            "1 outline, 1 scribble, 1 mask",
        ),
    ],
)
def test_what_was_said_in_words(prompts, words):
    assert told(prompts) == words


def test_where_a_mask_came_from():
    one = PromptSet().add(1, BoxPrompt(2, BOX))
    segment = RunRecord("segment", one, frame=2, view=Z)
    propagate = RunRecord("propagate", one, view=Z)
    remove = RunRecord("remove", one, view=Z)

    def write(mask: np.ndarray, frame: int = 2) -> RunRecord:
        update = MaskUpdate.from_mask(frame, 1, mask, 1.0)
        return RunRecord("write", view=Z, writes=(Write.of(update),))

    assert is_preview([segment], Z, 1, 2)
    assert not is_preview([propagate, segment], Z, 1, 2)
    assert is_preview([propagate, remove, segment], Z, 1, 2)
    assert not is_preview([segment], View(1, ()), 1, 2)
    assert not is_preview([segment, write(disc())], Z, 1, 2)
    assert is_preview([segment, write(disc(), frame=4)], Z, 1, 2)
    assert is_preview([write(disc()), write(np.zeros_like(disc())), segment], Z, 1, 2)
