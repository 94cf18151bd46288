"""How long an object that is not found is waited for, with and without a memory."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.fakes import BrightModel
from tests.tracking.test_ended import BOX, Ending, session, shown

from napari_medsam2 import BoxPrompt, PromptSet
from napari_medsam2.errors import InputError
from napari_medsam2.tracking.embeddings import EmbeddingCache, FrameEncoder
from napari_medsam2.tracking.tracker import Propagation
from napari_medsam2.volume import Volume
from napari_medsam2.windows import Window

N = 12


class Endless(Ending):
    """Never takes an object for gone, as SAM 2."""

    rules = replace(Ending.rules, ends_after=None)


class Empty(Endless):
    """Is sure that the object is there where its mask has no pixel."""

    def _trace(self, present):
        return replace(super()._trace(present), object_score=8.0)

    def predict(self, trace, shape):
        seen = replace(trace, object_score=float(trace.logits.max()))
        return super().predict(seen, shape)


def carried(model, bright, **options):
    opened, _ = session(bright)
    opened.use_model(model)
    opened.add_box(1, BOX, 1)
    list(opened.propagate("forward", **options))
    return opened


def blocks(*bright: int) -> np.ndarray:
    """A block that is on some frames only."""
    image = np.zeros((N, 64, 64), np.uint8)
    image[list(bright), 20:40, 20:40] = 200
    return image


def found(image, patience, model=None, **options):
    """Frames with a mask, from a box on the first one."""
    encoder = FrameEncoder(
        Volume(image).stack(0), Window(0, 255), model or BrightModel(), EmbeddingCache()
    )
    prompts = PromptSet().add(1, BoxPrompt(0, (18, 18, 42, 42)))
    updates = [u for us in Propagation(encoder, prompts, patience=patience, **options) for u in us]
    assert sorted(u.frame for u in updates) == list(range(N))
    return [u.frame for u in updates if u.area]


class TestMemory:
    def test_a_model_that_waits_for_ever_can_be_told_to_stop(self):
        bright = [1, 2, 5, 6, 10]
        assert shown(carried(Endless(), bright)) == bright
        assert shown(carried(Endless(), bright, patience=2)) == [1, 2]
        assert shown(carried(Endless(), bright, patience=3)) == [1, 2, 5, 6]

    def test_it_goes_before_the_rule_of_the_model(self):
        # Two dark frames are the end by the model's own rule.
        bright = [1, 4, 5]
        assert shown(carried(Ending(), bright)) == [1]
        assert shown(carried(Ending(), bright, patience=3)) == bright
        assert shown(carried(Ending(), [1, 3], patience=1)) == [1]

    def test_frames_beyond_are_not_looked_at(self):
        model = Endless()
        carried(model, [1, 2], patience=2)
        # Two dark frames, and the one that is embedded ahead.
        assert set(model.embedded) <= {1, 2, 3, 4, 5}

    def test_a_mask_without_a_pixel_is_no_object(self):
        model = Empty()
        assert shown(carried(model, [1, 2, 5], patience=2)) == [1, 2]
        assert max(model.embedded) <= 5

    def test_what_was_tracked_with_more_patience_is_not_taken_for_it(self):
        """A second prompt beyond the end: what follows it depends on what was seen before."""
        opened, model = session([1, 2, 9, 10])
        model = Endless()
        opened.use_model(model)
        opened.add_box(1, BOX, 1)
        opened.add_box(9, BOX, 1)
        list(opened.propagate("forward"))
        asked = []
        track = model.track
        model.track = lambda e, recalled: asked.append(len(recalled)) or track(e, recalled)
        list(opened.propagate("forward", patience=2))
        # Frames 2 to 4 are the same; 10 and 11 have not seen frames 5 to 8.
        assert sum(asked) == 2
        list(opened.propagate("forward", patience=2))
        assert sum(asked) == 2

    def test_a_run_says_how_long_it_waited_and_is_done_again(self):
        opened = carried(Endless(), [1, 2, 5, 6, 10], patience=3)
        assert opened.runs[-1].patience == 3
        np.testing.assert_array_equal(opened.replay(), opened.labels)


class TestChain:
    def test_by_default_one_frame_without_it_is_the_end(self):
        assert found(blocks(0, 1, 3, 4), None) == [0, 1]
        assert found(blocks(0, 1, 3, 4), 1) == [0, 1]

    def test_it_comes_back_while_it_is_waited_for(self):
        assert found(blocks(0, 1, 3, 4, 7, 8), 2) == [0, 1, 3, 4]
        assert found(blocks(0, 1, 3, 4, 7, 8), 3) == [0, 1, 3, 4, 7, 8]

    def test_what_appears_out_of_reach_is_another_object(self):
        image = blocks(0, 1, 3, 4)
        image[3:5] = 0
        image[3:5, 4:14, 50:60] = 200
        assert found(image, 3) == [0, 1]

    def test_frames_beyond_the_end_cost_nothing(self):
        model = BrightModel()
        found(blocks(0, 1), 3, model)
        assert len(model.embedded) == 5

    def test_more_patience_goes_on_where_less_has_ended(self):
        image, model = blocks(0, 1, 3, 4), BrightModel()
        encoder = FrameEncoder(Volume(image).stack(0), Window(0, 255), model, EmbeddingCache())
        prompts = PromptSet().add(1, BoxPrompt(0, (18, 18, 42, 42)))
        list(Propagation(encoder, prompts))
        before = model.decoded
        masks = [u.area for us in Propagation(encoder, prompts, patience=2) for u in us]
        assert masks == [400, 400, 0, 400, 400, 0, 0, 0, 0, 0, 0, 0]
        # Frames 3 to 6: what was found before is not asked for again.
        assert model.decoded - before == 4


def test_no_patience_at_all_is_refused():
    opened, _ = session([1])
    opened.add_box(1, BOX, 1)
    with pytest.raises(InputError, match="patience"):
        list(opened.propagate(patience=0))
    encoder = FrameEncoder(
        Volume(blocks(0)).stack(0), Window(0, 255), BrightModel(), EmbeddingCache()
    )
    prompts = PromptSet().add(1, BoxPrompt(0, (18, 18, 42, 42)))
    with pytest.raises(InputError, match="patience 0"):
        Propagation(encoder, prompts, patience=0)
