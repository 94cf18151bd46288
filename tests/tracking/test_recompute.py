"""After corrections on several slices, a propagation computes only what they can affect."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.fakes import BrightModel
from tests.tracking.test_ended import BOX, Ending, session

from napari_medsam2 import BoxPrompt, PointPrompt, PromptSet, Session
from napari_medsam2.history import RunRecord, corrections
from napari_medsam2.tracking.embeddings import EmbeddingCache

N = 12


class Asked(BrightModel):
    """Tells which object was decoded on which frame."""

    def __init__(self):
        super().__init__()
        self.asked = []

    def decode(self, embedding, prompts):
        self.asked += [(p.object_id, p.frame) for p in prompts]
        return super().decode(embedding, prompts)


class Tracked(Ending):
    """Tells on which frame how many objects were tracked; looks at all conditioning frames."""

    rules = replace(Ending.rules, ends_after=None)

    def __init__(self):
        super().__init__()
        self.tracked = []

    def embed(self, frame):
        made = super().embed(frame)
        return replace(made, features=made.features + float(frame[0, 1]))

    def track(self, embedding, recalled):
        self.tracked += [int(embedding.features[0, 0, 0])] * len(recalled)
        return [self._trace(present=True) for _ in recalled]


class Near(Tracked):
    """Looks at the two nearest conditioning frames."""

    rules = replace(Tracked.rules, max_conditioning=2)


def two_blocks(n=21):
    image = np.zeros((n, 64, 64), np.uint8)
    image[:, 8:24, 8:24] = 200
    image[:, 36:60, 36:60] = 200
    return image


@pytest.fixture
def chained():
    opened = Session(two_blocks(), model="litemedsam", window=(0, 255))
    model = Asked()
    opened.use_model(model)
    opened.add_box(10, (6, 6, 26, 26), 1)
    opened.add_box(10, (34, 34, 62, 62), 2)
    list(opened.propagate())
    model.asked.clear()
    model.embedded.clear()
    return opened, model


def remembering(model, *frames):
    opened, _ = session([])
    opened.use_model(model)
    for frame in frames:
        opened.add_box(frame, BOX, 1)
    list(opened.propagate("forward"))
    model.tracked.clear()
    model.embedded.clear()
    return opened


class TestChain:
    def test_the_same_again_asks_nothing(self, chained):
        opened, model = chained
        before, scores = opened.labels.copy(), opened.scores
        list(opened.propagate())
        np.testing.assert_array_equal(opened.labels, before)
        for object_id, values in opened.scores.items():
            np.testing.assert_array_equal(values, scores[object_id])
        assert (model.asked, model.embedded) == ([], [])

    def test_boxes_on_two_slices_decode_what_is_now_reached_from_them(self, chained):
        opened, model = chained
        opened.add_box(4, (6, 6, 26, 26), 1)
        opened.add_box(16, (6, 6, 26, 26), 1)
        list(opened.propagate())
        # Frame 10 keeps 8 to 13; nothing of object 2 is asked again.
        expected = [*range(8), *range(14, 21)]
        assert sorted(model.asked) == [(1, frame) for frame in expected]
        assert model.embedded == []

    def test_it_gives_what_a_fresh_session_gives(self, chained):
        opened, _ = chained
        opened.add_box(4, (6, 6, 26, 20), 1)
        list(opened.propagate())
        fresh = Session(two_blocks(), model="litemedsam", window=(0, 255), cache=0)
        fresh.use_model(Asked())
        fresh.set_prompts(opened.prompts)
        list(fresh.propagate())
        np.testing.assert_array_equal(opened.labels, fresh.labels)

    def test_a_chain_goes_on_where_the_cache_has_a_gap(self, chained):
        opened, model = chained
        before = opened.labels.copy()
        links = [k for k in opened.cache._entries if "chain" in k]
        kept = opened.cache._entries
        for key in links[3:9]:
            del kept[key]
        list(opened.propagate())
        assert len(model.asked) == 6
        np.testing.assert_array_equal(opened.labels, before)

    def test_without_a_cache_all_is_asked_again(self):
        opened = Session(two_blocks(5), model="litemedsam", window=(0, 255))
        opened.cache = EmbeddingCache(0)
        model = Asked()
        opened.use_model(model)
        opened.add_box(2, (6, 6, 26, 26), 1)
        list(opened.propagate())
        first = len(model.asked)
        list(opened.propagate())
        assert len(model.asked) == 2 * first == 10


class TestMemory:
    def test_two_corrections_find_their_frames_without_tracking(self):
        model = Tracked()
        opened = remembering(model, 0)
        for frame in (5, 9):
            opened.add_points(frame, [(8.0, 8.0)], [1], 1)
            opened.segment(frame)
        assert (model.tracked, model.embedded) == ([], [])
        # Every frame looks at both of them, so each is tracked once more.
        list(opened.propagate("forward"))
        assert sorted(model.tracked) == [1, 2, 3, 4, 6, 7, 8, 10, 11]
        assert model.embedded == []

    def test_a_later_round_corrects_what_the_one_before_has_led_to(self):
        model = Tracked()
        opened = remembering(model, 0)
        for frame in (5, 9):
            opened.add_points(frame, [(8.0, 8.0)], [1], 1)
        list(opened.propagate("forward"))
        opened.add_points(7, [(8.0, 8.0)], [1], 1)
        model.tracked.clear()
        opened.segment(7)
        assert model.tracked == []
        said = PromptSet().add(1, BoxPrompt(0, BOX))
        clicks = {f: PointPrompt(f, ((8.0, 8.0),), (1,)) for f in (5, 7, 9)}
        corrected = said.add(1, clicks[5], clicks[9])
        runs = [
            RunRecord("propagate", said),
            RunRecord("propagate", corrected, corrections={1: {5: 1, 9: 1}}),
        ]
        rounds = corrections(corrected.add(1, clicks[7]), runs, lambda object_id, frame: True)
        assert rounds == {1: {5: 1, 7: 2, 9: 1}}

    def test_other_objects_are_left_alone(self):
        model = Tracked()
        opened = remembering(model, 0)
        opened.add_box(0, (0, 0, 3, 3), 2)
        list(opened.propagate("forward"))
        assert len(model.tracked) == N - 1
        model.tracked.clear()
        opened.add_points(5, [(1.0, 1.0)], [1], 2)
        opened.add_points(9, [(1.0, 1.0)], [1], 2)
        list(opened.propagate("forward"))
        assert sorted(model.tracked) == [1, 2, 3, 4, 6, 7, 8, 10, 11]

    def test_frames_that_do_not_look_at_a_correction_are_not_tracked_again(self):
        model = Near()
        opened = remembering(model, 0, 4)
        for frame in (8, 10):
            opened.add_points(frame, [(8.0, 8.0)], [1], 1)
        list(opened.propagate("forward"))
        # Frames 1 to 3 look at 0 and 4 alone; 5 looks at 4 and 8.
        assert sorted(model.tracked) == [5, 6, 7, 9, 11]

    def test_it_gives_what_a_fresh_session_gives(self):
        opened = remembering(Near(), 0, 4)
        opened.add_points(8, [(8.0, 8.0)], [1], 1)
        list(opened.propagate("forward"))
        np.testing.assert_array_equal(opened.replay(), opened.labels)
