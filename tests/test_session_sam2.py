"""A session with a model that remembers: corrections, what is computed again, collections."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from tests.fakes import BrightModel
from tests.tracking.reference import CONFIG_21, CPU, make_lively, moving_square

import napari_medsam2 as nm
from napari_medsam2.errors import InputError, ModelError, PromptError
from napari_medsam2.models.sam2 import SAM2
from napari_medsam2.models.sam2_config import build_network

if TYPE_CHECKING:
    from pathlib import Path

FRAMES = moving_square(12)
BOX = (20.0, 24.0, 40.0, 50.0)


class Counting:
    """A model that counts what it is asked."""

    def __init__(self, model: SAM2) -> None:
        self._model = model
        self.embedded = 0
        self.tracked: list[int] = []
        self.begun: list[int] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def embed(self, frame: np.ndarray) -> Any:
        self.embedded += 1
        return self._model.embed(frame)

    def begin(self, embedding: Any, prompts: Any) -> Any:
        self.begun.append(len(prompts))
        return self._model.begin(embedding, prompts)

    def track(self, embedding: Any, recalled: Any) -> Any:
        self.tracked.append(len(recalled))
        return self._model.track(embedding, recalled)

    def reset(self) -> None:
        self.embedded, self.tracked, self.begun = 0, [], []


@pytest.fixture(scope="module")
def network() -> Any:
    net = build_network(CONFIG_21, 128)
    make_lively(net)
    return net


@pytest.fixture
def model(network: Any) -> Counting:
    return Counting(SAM2.of(network, CPU, "fp32"))


@pytest.fixture
def session(model: Counting) -> nm.Session:
    session = nm.Session(FRAMES, model="sam2.1_hiera_tiny", window=(0, 255))
    session.use_model(model)
    session.add_box(2, BOX)
    return session


def run(session: nm.Session, *args: Any, **asked: Any) -> np.ndarray:
    for _ in session.propagate(*args, **asked):
        pass
    return session.labels.copy()


# Corrections


def test_a_click_on_a_tracked_frame_refines_what_was_found(session: nm.Session) -> None:
    tracked = run(session)
    session.add_points(7, [(50, 60)], labels=[0])
    session.segment(7)
    refined = session.labels[7].copy()
    assert (refined != tracked[7]).any()
    np.testing.assert_array_equal(session.labels[8], tracked[8])
    again = run(session)
    np.testing.assert_array_equal(again[7], refined)
    assert (again[8] != tracked[8]).any()
    assert [dict(r.corrections) for r in session.runs] == [{}, {1: {7: 1}}, {1: {7: 1}}]


def test_without_a_propagation_a_click_says_what_the_object_is(session: nm.Session) -> None:
    session.add_points(7, [(50, 60)], labels=[1])
    run(session)
    assert session.runs[-1].corrections == {}


def test_a_negative_click_where_nothing_was_tracked_is_refused(session: nm.Session) -> None:
    session.add_points(7, [(50, 60)], labels=[0])
    with pytest.raises(PromptError, match="frame 7: negative points alone"):
        run(session)
    assert not session.labels.any()


def test_a_box_says_anew_what_the_object_is(session: nm.Session) -> None:
    run(session)
    session.add_box(7, BOX)
    run(session)
    assert session.runs[-1].corrections == {}


def test_undoing_the_propagation_makes_the_click_a_first_one(session: nm.Session) -> None:
    run(session)
    session.undo()
    session.add_points(7, [(50, 60)], labels=[1])
    run(session)
    assert session.runs[-1].corrections == {}


def test_corrections_are_saved_and_done_again(session: nm.Session, tmp_path: Path) -> None:
    run(session)
    session.add_points(7, [(50, 60)], labels=[0])
    session.segment(7)
    session.add_points(10, [(30, 30)], labels=[1])
    final = run(session)
    np.testing.assert_array_equal(session.replay(), final)
    path = session.save(tmp_path / "x.medsam2.json")
    loaded = nm.Session.load(path, FRAMES)
    loaded.use_model(session.model)
    assert [r.corrections for r in loaded.runs] == [r.corrections for r in session.runs]
    np.testing.assert_array_equal(loaded.replay(), final)


def test_a_change_of_model_is_done_again(tmp_path: Path, network: Any) -> None:
    """The session on the same labels goes on with another model; both runs are remembered."""
    torch.save({"model": network.state_dict()}, tmp_path / "tiny.pt")
    chosen = {"model": "sam2.1_hiera_tiny", "checkpoint": tmp_path / "tiny.pt", "image_size": 128}
    first = nm.Session(FRAMES, window=(0, 255), precision="fp32", **chosen)
    first.add_box(2, BOX)
    run(first)
    second = nm.Session(FRAMES, window=(0, 255), labels=first.labels)
    second.take_over(first)
    second.add_box(5, (40, 50, 60, 80), object_id=2)
    final = run(second, object_ids=[2])
    assert set(np.unique(final)) == {0, 1, 2}
    assert [r.model.model for r in second.runs] == ["sam2.1_hiera_tiny", nm.models.DEFAULT_MODEL]
    loaded = nm.Session.load(second.save(tmp_path / "x.json"), FRAMES)
    np.testing.assert_array_equal(loaded.replay(), final)


# What is computed again


def test_propagating_again_computes_nothing(session: nm.Session, model: Counting) -> None:
    first = run(session)
    assert model.embedded == 12
    assert model.tracked == [1] * 11
    model.reset()
    np.testing.assert_array_equal(run(session), first)
    assert (model.embedded, model.tracked, model.begun) == (0, [], [])


def test_a_new_prompt_encodes_nothing(session: nm.Session, model: Counting) -> None:
    run(session)
    model.reset()
    session.add_box(9, BOX)
    run(session)
    assert model.embedded == 0
    assert len(model.tracked) == 10


def test_another_object_does_not_track_the_first_again(
    session: nm.Session, model: Counting
) -> None:
    first = run(session)
    model.reset()
    session.add_box(4, (40, 50, 60, 80), object_id=2)
    both = run(session)
    assert model.embedded == 0
    assert model.tracked == [1] * 11
    assert ((both == 1) <= (first == 1)).all()


def test_a_correction_finds_its_frame_without_tracking(
    session: nm.Session, model: Counting
) -> None:
    run(session)
    model.reset()
    session.add_points(9, [(50, 60)], labels=[0])
    session.segment(9)
    assert (model.embedded, model.tracked, model.begun) == (0, [], [])


def test_going_backwards_encodes_only_what_is_new(session: nm.Session, model: Counting) -> None:
    run(session, "forward")
    assert model.embedded == 10
    model.reset()
    run(session, "backward")
    assert model.embedded == 2


def test_objects_on_a_frame_are_tracked_together(session: nm.Session, model: Counting) -> None:
    for object_id in range(2, 6):
        session.add_box(2, (10 * object_id, 5, 10 * object_id + 15, 60), object_id=object_id)
    run(session, "forward")
    assert model.begun == [5]
    assert model.tracked == [5] * 9


def test_a_range_ends_the_work(session: nm.Session, model: Counting) -> None:
    labels = run(session, "both", 1, 6)
    assert model.embedded == 5
    assert not labels[0].any()
    assert not labels[6:].any()


def test_progress_counts_what_will_be_stated(session: nm.Session) -> None:
    session.add_box(6, (40, 50, 60, 80), object_id=2)
    task = session.start_propagation("forward", 0, 9)
    total = task.total()
    assert total == 7 + 3
    stated = {(u.object_id, u.frame) for u in task.complete()}
    assert len(stated) == total


# Objects that come and go


class ComingAndGoing(Counting):
    """Sees the object on some frames alone."""

    def __init__(self, model: SAM2, gone: set[int]) -> None:
        super().__init__(model)
        self.gone = gone
        self.frame = 2

    def track(self, embedding: Any, recalled: Any) -> Any:
        self.frame += 1
        score = -4.0 if self.frame in self.gone else 6.0
        return [replace(t, object_score=score) for t in super().track(embedding, recalled)]


def test_an_object_that_is_gone_may_come_back(network: Any) -> None:
    session = nm.Session(FRAMES, model="sam2.1_hiera_tiny", window=(0, 255))
    session.use_model(ComingAndGoing(SAM2.of(network, CPU, "fp32"), {5, 6, 7}))
    session.add_box(2, BOX)
    labels = run(session, "forward")
    assert [f for f in range(2, 12) if not labels[f].any()] == [5, 6, 7]
    gone = np.isnan(session.scores[1])
    assert list(np.flatnonzero(gone)) == [0, 1, 5, 6, 7]


# Memory banks and collections


def test_the_self_sorting_bank_is_a_choice(network: Any) -> None:
    masks = []
    for memory in ("sam2", "self-sorting"):
        session = nm.Session(FRAMES, model="sam2.1_hiera_tiny", window=(0, 255), memory=memory)
        session.use_model(SAM2.of(network, CPU, "fp32"))
        session.add_box(2, BOX)
        masks.append(run(session))
        np.testing.assert_array_equal(session.replay(), masks[-1])
    assert (masks[0] != masks[1]).any()
    with pytest.raises(InputError, match="unknown memory 'best'; use sam2, self-sorting"):
        nm.Session(FRAMES, memory="best")


def test_one_prompt_segments_a_collection_in_any_order(model: Counting) -> None:
    session = nm.Session(FRAMES, model="sam2.1_hiera_tiny", window=(0, 255))
    session.use_model(model)
    images = [FRAMES[0], FRAMES[3, :50], FRAMES[7, :, :60], FRAMES[11]]
    found = session.segment_collection(images, nm.BoxPrompt(1, (20, 24, 40, 50)))
    assert [one.index for one in found] == [0, 1, 2, 3]
    assert [one.mask.shape for one in found] == [image.shape for image in images]
    assert all(0 <= one.score <= 1 for one in found if one.mask.any())
    assert not session.labels.any()
    order = [2, 0, 3, 1]
    shuffled = session.segment_collection(
        [images[i] for i in order], nm.BoxPrompt(order.index(1), (20, 24, 40, 50))
    )
    for place, index in enumerate(order):
        np.testing.assert_array_equal(shuffled[place].mask, found[index].mask)


def test_the_prompted_image_of_a_collection_is_segmented_as_ever(model: Counting) -> None:
    session = nm.Session(FRAMES[4], model="sam2.1_hiera_tiny", window=(0, 255))
    session.use_model(model)
    prompt = nm.BoxPrompt(0, BOX)
    session.add_box(0, BOX)
    session.segment(0)
    found = session.segment_collection([FRAMES[4], FRAMES[5]], prompt)
    np.testing.assert_array_equal(found[0].mask, session.labels == 1)


def test_what_a_collection_cannot_be(model: Counting) -> None:
    session = nm.Session(FRAMES, model="sam2.1_hiera_tiny", window=(0, 255))
    session.use_model(model)
    images = [FRAMES[0], FRAMES[1]]
    with pytest.raises(PromptError, match="no image 5 among the 2"):
        session.segment_collection(images, nm.BoxPrompt(5, BOX))
    with pytest.raises(PromptError, match=r"exactly one image .*prompted: 0, 1"):
        session.segment_collection(images, [nm.BoxPrompt(0, BOX), nm.BoxPrompt(1, BOX)])
    with pytest.raises(PromptError, match="prompted: none"):
        session.segment_collection(images, [])
    with pytest.raises(InputError, match="image 1 of the collection is a volume of 3 frames"):
        session.segment_collection([FRAMES[0], FRAMES[:3]], nm.BoxPrompt(0, BOX))
    with pytest.raises(PromptError):
        session.segment_collection(images, nm.BoxPrompt(0, (500, 500, 600, 600)))


def test_a_model_without_memory_cannot_segment_a_collection() -> None:
    session = nm.Session(FRAMES)
    session.use_model(BrightModel())
    with pytest.raises(ModelError, match="bright has no memory"):
        session.segment_collection([FRAMES[0], FRAMES[1]], nm.BoxPrompt(0, BOX))
