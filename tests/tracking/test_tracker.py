"""Propagation: which frames are reached from where, overlaps, ranges, and what it costs.

A model without a network (`fakes.BrightModel`) makes the right answer known.
"""

import numpy as np
import pytest
from tests.fakes import BrightModel

from napari_medsam2.errors import InputError, PromptError
from napari_medsam2.prompts import BoxPrompt, PromptSet
from napari_medsam2.tracking.embeddings import EmbeddingCache, FrameEncoder
from napari_medsam2.tracking.tracker import Propagation, segment_frame
from napari_medsam2.volume import Volume
from napari_medsam2.windows import Window

N = 9


def bright_block(first=0, last=N - 1, rows=(20, 40), cols=(20, 40), value=200):
    image = np.zeros((N, 64, 64), np.uint8)
    image[first : last + 1, rows[0] : rows[1], cols[0] : cols[1]] = value
    return image


def encoder(image, model=None):
    return FrameEncoder(
        Volume(image).stack(0), Window(0, 255), model or BrightModel(), EmbeddingCache()
    )


def boxed(*frames, object_id=1, box=(18, 18, 42, 42)):
    return PromptSet().add(object_id, *(BoxPrompt(f, box) for f in frames))


def frames_in_order(propagation):
    return [u.frame for updates in propagation for u in updates]


def masks(propagation, n=N):
    stack = np.zeros((n, 64, 64), bool)
    for updates in propagation:
        for update in updates:
            stack[update.frame] = update.full_mask((64, 64))
    return stack


def test_an_object_is_filled_on_every_frame_in_both_directions():
    image = bright_block()
    found = masks(Propagation(encoder(image), boxed(4)))
    np.testing.assert_array_equal(found, image > 0)


@pytest.mark.parametrize(
    ("direction", "frames"),
    [
        ("forward", [4, 5, 6, 7, 8]),
        ("backward", [4, 3, 2, 1, 0]),
        ("both", [4, 5, 6, 7, 8, 3, 2, 1, 0]),
    ],
)
def test_the_order_of_frames(direction, frames):
    propagation = Propagation(encoder(bright_block()), boxed(4), direction)
    assert frames_in_order(propagation) == frames
    assert propagation.total == len(frames)


@pytest.mark.parametrize(
    ("direction", "frames"),
    [
        ("both", [4, 5, 3]),
        ("forward", [4, 5]),
        ("backward", [4, 3]),
    ],
)
def test_a_range_limits_what_is_stated(direction, frames):
    propagation = Propagation(encoder(bright_block()), boxed(4), direction, start=3, stop=6)
    assert frames_in_order(propagation) == frames
    assert propagation.total == len(frames)


def test_a_range_beyond_the_prompt_is_reached_through_the_frames_between():
    model = BrightModel()
    propagation = Propagation(encoder(bright_block(), model), boxed(1), start=5, stop=7)
    assert frames_in_order(propagation) == [5, 6]
    assert len(model.embedded) == 6


def test_frames_between_two_prompts_come_from_the_nearer_one():
    # The object jumps between frames 4 and 5, further than a chain could follow.
    image = bright_block(0, 4) + bright_block(5, 8, rows=(44, 60), cols=(44, 60))
    prompts = boxed(2).add(1, BoxPrompt(7, (42, 42, 62, 62)))
    found = masks(Propagation(encoder(image), prompts))
    np.testing.assert_array_equal(found, image > 0)


def test_a_frame_is_stated_once_per_object():
    image = bright_block() + bright_block(cols=(50, 60))
    prompts = boxed(1, 4, 8).add(2, BoxPrompt(3, (18, 48, 42, 62)))
    for direction in ("both", "forward", "backward"):
        propagation = Propagation(encoder(image), prompts, direction)
        stated = [(u.object_id, u.frame) for updates in propagation for u in updates]
        assert len(stated) == len(set(stated)) == propagation.total


def test_every_frame_is_embedded_once_for_all_objects():
    model = BrightModel()
    image = bright_block(cols=(4, 20)) + bright_block(cols=(30, 50))
    prompts = boxed(4, box=(18, 2, 42, 22)).add(2, BoxPrompt(6, (18, 28, 42, 52)))
    encode = encoder(image, model)
    labels = np.zeros(image.shape, int)
    for updates in Propagation(encode, prompts):
        for update in updates:
            labels[update.frame][update.full_mask((64, 64))] = update.object_id
    assert len(model.embedded) == N
    np.testing.assert_array_equal(labels[:, 25, 10], [1] * N)
    np.testing.assert_array_equal(labels[:, 25, 40], [2] * N)
    for _ in Propagation(encode, prompts):
        pass
    assert len(model.embedded) == N


def test_an_object_that_ends_is_stated_absent_and_costs_no_encoding():
    model = BrightModel()
    propagation = Propagation(encoder(bright_block(3, 5), model), boxed(4))
    updates = {u.frame: u for group in propagation for u in group}
    assert sorted(updates) == list(range(N))
    assert [updates[f].area for f in range(N)] == [0, 0, 0, 400, 400, 400, 0, 0, 0]
    assert np.isnan(updates[8].score)
    assert updates[8].mask.shape == (0, 0)
    assert 0 < updates[5].score <= 1
    # Frames 2 and 6 show that it has ended; 0, 1, 7 and 8 are never looked at.
    assert len(model.embedded) == 5


def test_overlaps_go_to_the_higher_logit():
    image = np.zeros((3, 64, 64), np.uint8)
    image[:, 20:40, 10:50] = 200

    class Ramp(BrightModel):
        """Object 1 is surer on the left, object 2 on the right of column 30."""

        def decode(self, embedding, prompts):
            predictions = super().decode(embedding, prompts)
            slope = np.linspace(1, -1, 64, dtype=np.float32)
            for prompt, prediction in zip(prompts, predictions, strict=True):
                sign = 1 if prompt.object_id == 1 else -1
                inside = prediction.logits > 0
                prediction.logits[inside] += (sign * np.broadcast_to(slope, (64, 64)))[inside]
            return predictions

    prompts = boxed(1, box=(18, 8, 42, 52)).add(2, BoxPrompt(1, (18, 8, 42, 52)))
    first, second = segment_frame(encoder(image, Ramp()), prompts, 1)
    left, right = first.full_mask((64, 64)), second.full_mask((64, 64))
    assert not (left & right).any()
    np.testing.assert_array_equal(left | right, image[1] > 0)
    assert left[:, 10:32].sum() == 20 * 22
    assert right[:, 32:50].sum() == 20 * 18


def test_overlaps_are_settled_also_between_the_two_passes():
    # Object 1 comes forwards, object 2 backwards, onto the same pixels; 2 is surer of them.
    image = bright_block()

    class Surer(BrightModel):
        def decode(self, embedding, prompts):
            predictions = super().decode(embedding, prompts)
            for prompt, prediction in zip(prompts, predictions, strict=True):
                prediction.logits[prediction.logits > 0] += prompt.object_id
            return predictions

    prompts = boxed(0).add(2, BoxPrompt(8, (18, 18, 42, 42)))
    labels = np.zeros(image.shape, int)
    for updates in Propagation(encoder(image, Surer()), prompts):
        for update in updates:
            frame = labels[update.frame]
            frame[frame == update.object_id] = 0
            frame[update.full_mask((64, 64))] = update.object_id
    np.testing.assert_array_equal(labels[1:-1, 30, 30], [2] * (N - 2))


def test_leaving_early_is_safe_and_keeps_the_cache():
    model = BrightModel()
    encode = encoder(bright_block(), model)
    running = iter(Propagation(encode, boxed(4)))
    next(running)
    next(running)
    running.close()
    assert len(model.embedded) == 2
    assert encode.is_cached(5)


def test_one_frame_gives_its_objects_only():
    prompts = boxed(4).add(2, BoxPrompt(3, (18, 18, 42, 42)))
    (update,) = segment_frame(encoder(bright_block()), prompts, 4)
    assert update.object_id == 1
    assert update.bbox == (20, 20, 40, 40)
    with pytest.raises(PromptError, match=r"frame 7 has no prompt; .* \(3, 4\)"):
        segment_frame(encoder(bright_block()), prompts, 7)


def test_what_cannot_be_done_is_said_before_the_first_frame():
    model = BrightModel()
    encode = encoder(bright_block(), model)
    with pytest.raises(InputError, match="unknown direction 'up'"):
        Propagation(encode, boxed(4), "up")
    with pytest.raises(InputError, match="range 5:3 is no part of the frames 0:9"):
        Propagation(encode, boxed(4), start=5, stop=3)
    with pytest.raises(InputError, match="range 0:10"):
        Propagation(encode, boxed(4), stop=10)
    with pytest.raises(PromptError, match="nothing to propagate"):
        Propagation(encode, PromptSet())
    with pytest.raises(PromptError, match="object 3 has no prompt"):
        Propagation(encode, boxed(4).add(3))
    assert model.embedded == []
