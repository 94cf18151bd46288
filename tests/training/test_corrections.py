"""Learning from one image: which slices, in which split, and that later edits change nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from tests.fakes import BrightModel
from tests.training.common import disc_case, discs

from napari_medsam2 import Session, Volume, models
from napari_medsam2.errors import InputError
from napari_medsam2.training import finetune as module
from napari_medsam2.training.clips import plan_clips
from napari_medsam2.training.corrections import (
    corrected_frames,
    correction_cases,
    gentle,
    split_frames,
    whole_clips,
)
from napari_medsam2.training.embedded import shown
from napari_medsam2.training.finetune import Report, finetune

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

N = 12
IMAGE, TRUTH = discs(N, absent=0)
BOX = (2, 2, 62, 62)


def corrected(frames: Iterable[int] = range(N), **options: Any) -> Session:
    """Return a session with the disc segmented on some frames, by a box on each."""
    volume = Volume(IMAGE, axes="zyx", spacing=(5.0, 1.0, 1.0), name="ct")
    session = Session(volume, window=(20.0, 220.0), **options)
    session.use_model(BrightModel())
    for frame in frames:
        session.add_box(frame, BOX, 1, name="disc")
        session.segment(frame)
    return session


class TestSplit:
    @pytest.mark.parametrize(
        ("n", "held"), [(4, [2]), (5, [2]), (8, [2, 6]), (12, [2, 6, 10]), (13, [2, 6, 10])]
    )
    def test_a_quarter_evenly(self, n, held):
        assert sorted(split_frames({1: range(n)})) == held

    def test_of_several_objects_no_frame_is_on_both_sides(self):
        frames = {1: (0, 1, 2, 3), 2: tuple(range(20)), 3: (1, 2, 10, 11, 12)}
        held = split_frames(frames)
        for own in frames.values():
            assert 1 <= len(held & set(own)) < len(own)
        assert len(held & set(frames[2])) == 5


class TestCases:
    def test_two_cases_of_one_image(self):
        learn, held = correction_cases(corrected())
        assert held.labelled_frames == (2, 6, 10)
        assert learn.labelled_frames == (0, 1, 3, 4, 5, 7, 8, 9, 11)
        assert learn.objects == held.objects == {1: "disc"}
        assert (learn.kind, learn.dataset, held.dataset) == ("3d", "ct", "ct")
        assert learn.id != held.id
        volume, labels = learn.load()
        assert volume.spacing == (5.0, 1.0, 1.0)
        assert labels.shape == IMAGE.shape
        assert not labels[[2, 6, 10]].any()
        assert not held.load()[1][[0, 1, 11]].any()
        np.testing.assert_array_equal(labels[4] == 1, corrected([4]).labels[4] == 1)

    def test_frames_are_shown_by_the_window_of_the_session(self):
        session = corrected()
        _, held = correction_cases(session)
        (clip,) = whole_clips([held], 64)
        frames, labels, _ = shown(clip, {held.id: held})
        expected = np.round(session.window.apply(IMAGE[6]))
        np.testing.assert_array_equal(frames[1], np.stack([expected] * 3, axis=-1))
        np.testing.assert_array_equal(labels[1] == 1, session.labels[6] == 1)

    def test_later_edits_change_nothing(self):
        session = corrected()
        learn, _ = correction_cases(session)
        before = [a.copy() for a in (np.asarray(learn.load()[0].data), learn.load()[1])]
        session.labels[:] = 3
        session.undo()
        session.clear_prompts()
        np.testing.assert_array_equal(learn.load()[0].data, before[0])
        np.testing.assert_array_equal(learn.load()[1], before[1])

    def test_prompted_frames_without_a_mask_do_not_count(self):
        session = corrected(range(5))
        session.add_box(8, BOX, 1)
        assert corrected_frames(session) == {1: (0, 1, 2, 3, 4)}

    def test_all_frames_with_a_mask(self):
        session = corrected(range(2))
        list(session.propagate())
        frames = corrected_frames(session, "segmented")[1]
        assert len(frames) > 4
        learn, held = correction_cases(session, "segmented")
        assert {*learn.labelled_frames, *held.labelled_frames} == set(frames)

    def test_too_few_frames(self):
        with pytest.raises(InputError, match=r"ct: too little .* 4 frames .*disc has 3; correct"):
            correction_cases(corrected(range(3)))
        with pytest.raises(InputError, match="there is none"):
            correction_cases(corrected([]))

    def test_an_object_with_too_few_is_left_out_unless_it_is_asked_for(self):
        session = corrected(range(4))
        session.add_box(0, (0, 0, 9, 9), 2)
        session.labels[0, :9, :9] = 2
        learn, held = correction_cases(session)
        assert set(learn.objects) == set(held.objects) == {1}
        assert set(np.unique(learn.load()[1])) == {0, 1}
        with pytest.raises(InputError, match="object 2 has 1"):
            correction_cases(session, object_ids=[1, 2])

    def test_a_movie_along_its_other_axis_and_colours(self):
        volume = Volume(np.stack([IMAGE] * 3, axis=-1), axes="tyxc", name="film")
        session = Session(volume)
        session.use_model(BrightModel())
        for frame in range(4):
            session.add_box(frame, BOX)
            session.segment(frame)
        learn, _ = correction_cases(session)
        assert learn.kind == "video"
        np.testing.assert_array_equal(learn.load()[0].data[0], volume.data[0])
        along_x = Session(Volume(IMAGE, axes="zyx"), axis=2)
        along_x.use_model(BrightModel())
        for frame in (28, 30, 32, 34):
            along_x.add_box(frame, (0, 1, N, 63))
            along_x.segment(frame)
        learn, held = correction_cases(along_x)
        assert held.labelled_frames == (32,)
        assert learn.load()[1].shape == (64, N, 64)


class TestClips:
    def test_what_is_learnt_are_known_frames_alone(self):
        learn, held = correction_cases(corrected())
        clips = plan_clips([learn], 200)
        assert {f for clip in clips for f in clip.frames} == set(learn.labelled_frames)
        assert all(clip.objects == (1,) for clip in clips)
        assert sum(map(len, clips)) >= 150
        (clip,) = whole_clips([held], 64)
        assert (clip.frames, clip.variant) == ((2, 6, 10), 0)
        assert [clip.frames for clip in whole_clips([held], 1)] == [(6,)]


def test_gentle_choices():
    choices = gentle("litemedsam", minutes=2, title="x")
    assert (choices.base, choices.minutes, choices.title) == ("litemedsam", 2, "x")
    assert choices.frames == 200
    assert choices.give_up_after > 0
    assert gentle("litemedsam", steps=3).minutes is None


@pytest.mark.slow
def test_a_model_learns_from_corrections_and_its_card_says_how(tmp_path: Path) -> None:
    learn, held = correction_cases(corrected())
    choices = gentle(
        "litemedsam",
        parts=("track",),
        steps=3,
        frames=6,
        size=2,
        judge_every=2,
        device="cpu",
        half=False,
    )
    seen: list[Report] = []
    card = finetune([learn], choices, tmp_path / "own", val=[held], progress=seen.append)
    assert models.get(tmp_path / "own") == card
    assert card.notes["data"]["held_back"] == "slices of the same images"
    assert card.notes["data"]["datasets"] == {"ct": "1 train, 1 val"}
    assert {"score", "click1", "track"} <= set(card.notes["scores"]["after"])
    assert [r.done for r in seen if r.stage == "training"][-1] == 3
    assert torch.is_inference_mode_enabled() is False


def test_without_cases_to_judge_by(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cases to judge by"):
        finetune([disc_case("a", 0)], module.Choices(steps=1), tmp_path / "own", val=[])
