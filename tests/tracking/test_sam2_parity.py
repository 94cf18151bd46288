"""Our stream gives the answers of SAM 2's own video predictor: ten ways of asking."""

from __future__ import annotations

import numpy as np
import pytest
from tests.tracking.reference import (
    CONFIG_20,
    Pair,
    logits_of,
    moving_square,
    propagate,
)

from napari_medsam2.prompts import BoxPrompt, MaskPrompt, PointPrompt, PromptSet

TOLERANCE = 1e-5
BOX = (20.0, 24.0, 40.0, 50.0)
# The reference takes (x, y) and the last pixel of a box, not the one behind it.
BOX_XYXY = [24.0, 20.0, 49.0, 39.0]


@pytest.fixture(scope="module")
def pair() -> Pair:
    return Pair()


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return moving_square()


def assert_same(ours: dict, reference: dict, keys: set | None = None) -> None:
    assert ours.keys() == (reference.keys() if keys is None else keys)
    differences = {key: float(np.abs(ours[key] - reference[key]).max()) for key in ours}
    assert max(differences.values()) <= TOLERANCE, differences
    # Not one constant: a comparison of empty masks would say nothing.
    assert min(float(logits.std()) for logits in ours.values()) > 1e-3
    assert all(logits.min() > -1000 for logits in ours.values())


def test_one_box_forward(pair: Pair, frames: np.ndarray) -> None:
    state = pair.state(frames)
    pair.reference.add_new_points_or_box(state, 2, 1, box=BOX_XYXY)
    ours = logits_of(pair.stream(frames, PromptSet().add(1, BoxPrompt(2, BOX))))
    assert_same(ours, propagate(pair, state))


def test_one_click_forward(pair: Pair, frames: np.ndarray) -> None:
    state = pair.state(frames)
    pair.reference.add_new_points_or_box(
        state, 0, 1, points=[[35.0, 30.0]], labels=np.array([1], np.int32)
    )
    ours = logits_of(pair.stream(frames, PromptSet().add(1, PointPrompt(0, ((30, 35),), (1,)))))
    assert_same(ours, propagate(pair, state))


def test_box_and_points_together(pair: Pair, frames: np.ndarray) -> None:
    state = pair.state(frames[:6])
    points, labels = [[35.0, 30.0], [5.0, 8.0]], np.array([1, 0], np.int32)
    pair.reference.add_new_points_or_box(state, 0, 1, points=points, labels=labels, box=BOX_XYXY)
    told = PromptSet().add(1, BoxPrompt(0, BOX), PointPrompt(0, ((30, 35), (8, 5)), (1, 0)))
    assert_same(logits_of(pair.stream(frames[:6], told)), propagate(pair, state))


def test_mask_prompt(pair: Pair, frames: np.ndarray) -> None:
    mask = np.zeros(frames.shape[1:], bool)
    mask[20:40, 24:50] = True
    state = pair.state(frames)
    pair.reference.add_new_mask(state, 1, 1, mask)
    ours = logits_of(pair.stream(frames, PromptSet().add(1, MaskPrompt(1, mask))))
    reference = propagate(pair, state)
    # The reference gives the drawn mask back at a quarter of its resolution; ours is as drawn.
    np.testing.assert_array_equal(ours.pop((1, 1)) > 0, mask)
    assert ((reference.pop((1, 1)) > 0) != mask).any()
    assert_same(ours, reference)


def test_three_conditioning_frames_out_of_order(pair: Pair, frames: np.ndarray) -> None:
    told = PromptSet()
    state = pair.state(frames)
    for frame in (9, 0, 15):
        y0, x0, y1, x1 = BOX
        box = (y0 + frame, x0 + frame, y1 + frame, x1 + frame)
        told = told.add(1, BoxPrompt(frame, box))
        pair.reference.add_new_points_or_box(
            state, frame, 1, box=[box[1], box[0], box[3] - 1, box[2] - 1]
        )
    assert_same(logits_of(pair.stream(frames, told)), propagate(pair, state))


def test_fresh_reverse(pair: Pair, frames: np.ndarray) -> None:
    state = pair.state(frames)
    pair.reference.add_new_points_or_box(state, 12, 1, box=BOX_XYXY)
    sweeps = pair.stream(frames, PromptSet().add(1, BoxPrompt(12, BOX)), direction="backward")
    assert_same(logits_of(sweeps), propagate(pair, state, reverse=True))


def test_both_ways_is_a_fresh_sweep_each_way(pair: Pair, frames: np.ndarray) -> None:
    """The reference reads what it tracked forwards when it then goes backwards, unless reset."""
    fresh = pair.state(frames)
    pair.reference.add_new_points_or_box(fresh, 8, 1, box=BOX_XYXY)
    backward = propagate(pair, fresh, reverse=True)
    both = pair.state(frames)
    pair.reference.add_new_points_or_box(both, 8, 1, box=BOX_XYXY)
    forward = propagate(pair, both)
    stale = propagate(pair, both, reverse=True)
    assert max(float(np.abs(stale[k] - backward[k]).max()) for k in backward) > 1e-3

    sweeps = pair.stream(frames, PromptSet().add(1, BoxPrompt(8, BOX)), direction="both")
    assert_same(logits_of(sweeps), {**backward, **forward})


def test_correction_after_propagation(frames: np.ndarray) -> None:
    """A click on a tracked frame refines its mask, and later sweeps know it.

    The reference keeps such a frame only with add_all_frames_to_correct_as_cond; without it, the
    next propagation through the frame computes it anew and the click is lost.
    """
    pair = Pair(add_all_frames_to_correct_as_cond=True)
    state = pair.state(frames)
    pair.reference.add_new_points_or_box(state, 1, 1, box=BOX_XYXY)
    propagate(pair, state)
    clicks = {"points": [[60.0, 50.0]], "labels": np.array([0], np.int32)}
    _, _, corrected = pair.reference.add_new_points_or_box(state, 10, 1, **clicks)

    told = PromptSet().add(1, BoxPrompt(1, BOX), PointPrompt(10, ((50, 60),), (0,)))
    sweeps = pair.stream(frames, told, corrections={1: {10: 1}})
    ours = sweeps.segment(10)[1]
    assert ours is not None
    assert np.abs(ours.logits - corrected[0, 0].numpy()).max() <= TOLERANCE
    again = propagate(pair, state)
    assert_same(logits_of(sweeps), again)

    lost = Pair()
    state = lost.state(frames)
    lost.reference.add_new_points_or_box(state, 1, 1, box=BOX_XYXY)
    before = propagate(lost, state)
    lost.reference.add_new_points_or_box(state, 10, 1, **clicks)
    after = propagate(lost, state)
    np.testing.assert_array_equal(after[1, 10], before[1, 10])


def test_corrections_of_one_round_do_not_know_of_each_other(frames: np.ndarray) -> None:
    pair = Pair(add_all_frames_to_correct_as_cond=True)
    state = pair.state(frames)
    pair.reference.add_new_points_or_box(state, 1, 1, box=BOX_XYXY)
    propagate(pair, state)
    told, corrected = PromptSet().add(1, BoxPrompt(1, BOX)), {}
    for frame, (y, x) in {5: (50, 60), 10: (30, 40)}.items():
        clicks = {"points": [[float(x), float(y)]], "labels": np.array([0], np.int32)}
        *_, logits = pair.reference.add_new_points_or_box(state, frame, 1, **clicks)
        corrected[frame] = logits[0, 0].numpy()
        told = told.add(1, PointPrompt(frame, ((y, x),), (0,)))
    sweeps = pair.stream(frames, told, corrections={1: {5: 1, 10: 1}})
    for frame, logits in corrected.items():
        ours = sweeps.segment(frame)[1]
        assert ours is not None
        assert np.abs(ours.logits - logits).max() <= TOLERANCE
    assert_same(logits_of(sweeps), propagate(pair, state))
    # Round after round, the second one refines what the first one has led to.
    later = pair.stream(frames, told, corrections={1: {5: 1, 10: 2}}).segment(10)[1]
    assert later is not None
    assert np.abs(later.logits - corrected[10]).max() > TOLERANCE


def test_two_objects_prompted_on_different_frames(pair: Pair, frames: np.ndarray) -> None:
    """Going forwards an object begins where it was prompted.

    The reference also tracks it on the frames before its first prompt, with nothing but a memory
    from the future: in fp32 that fails, for bfloat16 memories then meet float32 weights.
    """
    told = PromptSet().add(1, BoxPrompt(2, BOX)).add(4, BoxPrompt(7, (5.0, 6.0, 30.0, 28.0)))
    state = pair.state(frames)
    pair.reference.add_new_points_or_box(state, 2, 1, box=BOX_XYXY)
    pair.reference.add_new_points_or_box(state, 7, 4, box=[6.0, 5.0, 27.0, 29.0])
    with pytest.raises(RuntimeError, match=r"BFloat16|dtype"):
        propagate(pair, state)
    expected = {}
    for object_id, frame, box in ((1, 2, BOX_XYXY), (4, 7, [6.0, 5.0, 27.0, 29.0])):
        state = pair.state(frames)
        pair.reference.add_new_points_or_box(state, frame, object_id, box=box)
        expected.update(propagate(pair, state))
    ours = logits_of(pair.stream(frames, told))
    assert {frame for object_id, frame in ours if object_id == 4} == set(range(7, 20))
    assert_same(ours, expected)


def test_sam_2_0(frames: np.ndarray) -> None:
    pair = Pair(CONFIG_20)
    state = pair.state(frames)
    pair.reference.add_new_points_or_box(state, 0, 1, box=BOX_XYXY)
    ours = logits_of(pair.stream(frames, PromptSet().add(1, BoxPrompt(0, BOX))))
    assert_same(ours, propagate(pair, state))


def test_limited_conditioning_frames(frames: np.ndarray) -> None:
    pair = Pair(max_cond_frames_in_attn=2)
    state, told = pair.state(frames), PromptSet()
    for frame in (0, 4, 8, 13):
        told = told.add(1, BoxPrompt(frame, BOX))
        pair.reference.add_new_points_or_box(state, frame, 1, box=BOX_XYXY)
    assert_same(logits_of(pair.stream(frames, told)), propagate(pair, state))


def test_stride_three(frames: np.ndarray) -> None:
    pair = Pair(memory_temporal_stride_for_eval=3)
    for frame, direction in ((0, "forward"), (19, "backward")):
        state = pair.state(frames)
        pair.reference.add_new_points_or_box(state, frame, 1, box=BOX_XYXY)
        told = PromptSet().add(1, BoxPrompt(frame, BOX))
        ours = logits_of(pair.stream(frames, told, direction=direction))
        assert_same(ours, propagate(pair, state, reverse=direction == "backward"))


def test_at_the_size_of_medsam2() -> None:
    """At 512 pixels, on frames larger than that."""
    frames = moving_square(4, (600, 530))
    pair = Pair(size=512)
    state = pair.state(frames)
    pair.reference.add_new_points_or_box(state, 0, 1, box=BOX_XYXY)
    ours = logits_of(pair.stream(frames, PromptSet().add(1, BoxPrompt(0, BOX))))
    assert_same(ours, propagate(pair, state))


def test_short_videos_and_one_frame(pair: Pair, frames: np.ndarray) -> None:
    """Fewer than 16 frames shorten the reach of the object pointers."""
    for n in (1, 2, 5):
        state = pair.state(frames[:n])
        pair.reference.add_new_points_or_box(state, 0, 1, box=BOX_XYXY)
        ours = logits_of(pair.stream(frames[:n], PromptSet().add(1, BoxPrompt(0, BOX))))
        assert_same(ours, propagate(pair, state))


@pytest.mark.parametrize(("kind", "most"), [("memories", 4), ("pointers", 14)])
def test_the_comparison_sees_a_missing_memory(
    pair: Pair, frames: np.ndarray, monkeypatch: pytest.MonkeyPatch, kind: str, most: int
) -> None:
    """The tests above would fail if a single memory or pointer were forgotten."""
    from dataclasses import replace

    state = pair.state(frames)
    pair.reference.add_new_points_or_box(state, 0, 1, box=BOX_XYXY)
    expected = propagate(pair, state)
    track = type(pair.ours).track

    def forgetful(model, embedding, recalled):  # type: ignore[no-untyped-def]
        shorter = [replace(r, **{kind: getattr(r, kind)[:most]}) for r in recalled]
        return track(model, embedding, shorter)

    monkeypatch.setattr(type(pair.ours), "track", forgetful)
    ours = logits_of(pair.stream(frames, PromptSet().add(1, BoxPrompt(0, BOX))))
    assert max(float(np.abs(ours[k] - expected[k]).max()) for k in ours) > 10 * TOLERANCE


def test_ranges_are_half_open_and_frame_0_is_stated(pair: Pair, frames: np.ndarray) -> None:
    """The reference tracks one frame more than it is asked for, and none backwards from 0."""
    told = PromptSet().add(1, BoxPrompt(0, BOX))
    state = pair.state(frames)
    pair.reference.add_new_points_or_box(state, 0, 1, box=BOX_XYXY)
    assert len(propagate(pair, state, max_frame_num_to_track=3)) == 4
    assert propagate(pair, state, reverse=True) == {}
    assert set(logits_of(pair.stream(frames, told, wanted=range(3)))) == {(1, 0), (1, 1), (1, 2)}
    assert set(logits_of(pair.stream(frames, told, direction="backward"))) == {(1, 0)}


def test_a_switch_of_the_reference_that_we_do_not_have(frames: np.ndarray) -> None:
    pair = Pair(clear_non_cond_mem_around_input=True)
    state = pair.state(frames[:3])
    pair.reference.add_new_points_or_box(state, 0, 1, box=BOX_XYXY)
    with pytest.raises(AttributeError, match="_clear_obj_non_cond_mem_around_input"):
        propagate(pair, state)


def test_objects_do_not_see_each_other(pair: Pair, frames: np.ndarray) -> None:
    """All in one pass, each as if it were alone."""
    told = PromptSet()
    expected = {}
    for object_id in range(1, 6):
        box = BoxPrompt(object_id, (5.0 * object_id, 8.0, 5.0 * object_id + 20, 40.0))
        told = told.add(object_id, box)
        expected.update(logits_of(pair.stream(frames, PromptSet().add(object_id, box))))
    assert_same(logits_of(pair.stream(frames, told)), expected)
