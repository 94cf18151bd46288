"""Which frames are learnt from, and which are held back."""

from __future__ import annotations

import numpy as np
import pytest
from tests.training.common import case, disc_case, discs, flat_case

from napari_medsam2.errors import InputError
from napari_medsam2.training.clips import Clip, check_split, made_up_clips, plan_clips, split_cases


def stack(n: int, first: int, last: int, value: int = 1) -> np.ndarray:
    labels = np.zeros((n, 32, 32), np.uint8)
    labels[first : last + 1, 8:20, 8:20] = value
    return labels


def labelled(name: str, labels: np.ndarray, **facts: object):
    image = np.where(labels > 0, 200, 50).astype(np.uint8)
    return case(name, image, labels, **facts)


# Splits


def test_a_split_that_is_stated_is_taken() -> None:
    cases = [
        disc_case("a", 0, split="train"),
        disc_case("b", 1, split="val"),
        disc_case("c", 2, split="test"),
    ]
    train, val = split_cases(cases)
    assert [c.id for c in train] == ["discs/a"]
    assert [c.id for c in val] == ["discs/b"]


@pytest.mark.parametrize("seed", range(5))
def test_no_subject_is_on_both_sides(seed: int) -> None:
    cases = [disc_case(f"{n}", n, subject=f"s{n // 3}") for n in range(30)]
    train, val = split_cases(cases, seed)
    subjects = [{c.subject for c in side} for side in (train, val)]
    assert not subjects[0] & subjects[1]
    assert len(train) + len(val) == 30
    # A fifth of ten subjects.
    assert len(subjects[1]) == 2


def test_the_same_subject_of_two_data_sets_is_two() -> None:
    cases = [
        disc_case("a", 0, dataset="x", subject="1"),
        disc_case("b", 1, dataset="y", subject="1"),
    ]
    train, val = split_cases(cases)
    assert len(train) == len(val) == 1


def test_a_case_without_a_subject_is_one_of_its_own() -> None:
    train, val = split_cases([disc_case(str(n), n) for n in range(10)])
    assert (len(train), len(val)) == (8, 2)


def test_the_split_depends_on_the_seed_alone() -> None:
    cases = [disc_case(str(n), n) for n in range(10)]
    sides = {tuple(c.id for c in split_cases(cases, seed)[1]) for seed in range(8)}
    assert len(sides) > 1
    assert split_cases(cases, 3)[1] == split_cases(cases, 3)[1]


def test_a_stated_split_that_divides_a_subject_is_refused() -> None:
    cases = [
        disc_case("a", 0, split="train", subject="Ann"),
        disc_case("b", 1, split="val", subject="Ann"),
    ]
    with pytest.raises(InputError, match="subject 'Ann' of the data set 'discs' is both in train"):
        split_cases(cases)
    with pytest.raises(InputError, match="both in train and in val"):
        check_split(cases[:1], cases[1:])


def test_one_subject_cannot_be_divided() -> None:
    cases = [disc_case("a", 0, subject="Ann"), disc_case("b", 1, subject="Ann")]
    with pytest.raises(InputError, match="cases of two subjects at least"):
        split_cases(cases)


def test_nothing_to_learn_from_is_told() -> None:
    with pytest.raises(InputError, match='there are 0 of the split "train" and 1 of "val"'):
        split_cases([disc_case("a", 0, split="val")])


# Clips


def test_clips_are_neighbouring_frames_around_an_object() -> None:
    cases = [labelled("a", stack(40, 15, 24))]
    for clip in plan_clips(cases, 300):
        assert list(clip.frames) == list(range(clip.frames[0], clip.frames[-1] + 1))
        assert len(clip) <= 8
        assert clip.objects == (1,)
        assert any(15 <= f <= 24 for f in clip.frames)


def test_many_clips_hold_frames_without_the_object() -> None:
    clips = plan_clips([labelled("a", stack(60, 10, 49))], 450)
    # By chance alone it would be a twelfth, for there are forty frames with the object.
    assert np.mean([clip.frames[0] < 10 for clip in clips]) > 0.15
    assert np.mean([clip.frames[-1] > 49 for clip in clips]) > 0.15
    assert any(clip.frames[0] >= 10 and clip.frames[-1] <= 49 for clip in clips)


def test_the_budget_is_about_met_and_shared_by_data_sets() -> None:
    cases = [disc_case(str(n), n, n=20, dataset="many") for n in range(6)]
    cases.append(disc_case("one", 9, n=20, dataset="few"))
    clips = plan_clips(cases, 200)
    counts = {
        name: sum(len(c) for c in clips if c.case.startswith(name)) for name in ("many", "few")
    }
    for count in counts.values():
        assert 100 <= count < 108  # the last clip may stand over


def test_every_case_is_shown_as_it_is_before_it_is_shown_otherwise() -> None:
    clips = plan_clips([disc_case(str(n), n) for n in range(4)], 100)
    assert {c.case for c in clips if c.variant == 0} == {f"discs/{n}" for n in range(4)}
    assert len({c.variant for c in clips}) > 2
    assert all(c.axis == 0 for c in clips)  # the voxels are five times as long as wide


def test_a_plan_depends_on_the_seed_alone() -> None:
    cases = [disc_case(str(n), n, n=20) for n in range(3)]
    assert plan_clips(cases, 100, seed=1) == plan_clips(cases, 100, seed=1)
    assert plan_clips(cases, 100, seed=1) != plan_clips(cases, 100, seed=2)


def test_flat_images_are_not_shown_too_often() -> None:
    clips = plan_clips([flat_case("a", 0), flat_case("b", 1)], 10_000)
    assert {c.frames for c in clips} == {(0,)}
    assert max(c.variant for c in clips) == 8
    # Every second time it is made a clip by pulling at it.
    assert {(c.variant % 2, len(c)) for c in clips} == {(0, 1), (1, 4)}


def test_flat_images_do_not_hold_back_volumes_beside_them() -> None:
    clips = plan_clips([flat_case("a", 0), disc_case("b", 1)], 200)
    assert sum(len(c) for c in clips) >= 200


def test_only_frames_with_a_truth_are_shown() -> None:
    known = (3, 4, 5, 6, 12)
    cases = [labelled("a", stack(20, 0, 19), labelled_frames=known, spacing=(1.0, 1.0, 1.0))]
    clips = plan_clips(cases, 100)
    assert sum(len(c) for c in clips) >= 100
    assert {f for c in clips for f in c.frames} == set(known)
    # From another side no frame is known from edge to edge.
    assert {c.axis for c in clips} == {0}


def test_an_object_is_not_absent_where_its_truth_is_unknown() -> None:
    labels = stack(16, 4, 11)
    labels[6:9, 22:30, 22:30] = 2
    cases = [labelled("a", labels, labelled_frames_by_object={2: (6, 7, 8)})]
    clips = plan_clips(cases, 400)
    with_two = [set(c.frames) for c in clips if 2 in c.objects]
    assert with_two
    assert all(frames <= {6, 7, 8} for frames in with_two)
    assert any(1 in c.objects and 2 not in c.objects and 7 in c.frames for c in clips)
    assert {c.axis for c in clips} == {0}


def test_isotropic_volumes_are_seen_from_all_sides() -> None:
    labels = np.zeros((20, 24, 28), np.uint8)
    labels[5:15, 6:16, 7:17] = 1
    clips = plan_clips([labelled("a", labels, spacing=(1.0, 1.0, 1.2))], 200)
    assert {c.axis for c in clips} == {0, 1, 2}
    assert all(c.axis == 0 for c in clips if c.variant == 0)
    for clip in clips:
        assert max(clip.frames) < labels.shape[clip.axis]


def test_movies_are_cut_along_time_alone() -> None:
    image, labels = discs(12)
    movie = case("a", image, labels, kind="video", spacing=(1.0, 1.0, 1.0))
    assert {c.axis for c in plan_clips([movie], 100)} == {0}


def test_a_case_without_objects_makes_no_clips() -> None:
    empty = case("a", np.zeros((4, 9, 9), np.uint8), np.zeros((4, 9, 9), np.uint8))
    assert plan_clips([empty], 50) == []


def test_made_up_clips_are_all_different() -> None:
    clips = made_up_clips(5, seed=1)
    assert len({c.variant for c in clips}) == 5
    assert {c.case for c in clips} == {""}
    assert not set(clips) & set(made_up_clips(5, seed=2))


def test_an_augmentation_is_drawn_from_the_clip_alone() -> None:
    clip = Clip("a/b", 0, (1, 2), (1,), variant=3)
    same, other = (Clip("a/b", 0, (1, 2), (1,), variant=v) for v in (3, 4))
    drawn = [c.rng.integers(1 << 40) for c in (clip, same, other)]
    assert drawn[0] == drawn[1] != drawn[2]
