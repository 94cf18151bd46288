"""An object that a model takes for gone costs no frames beyond, until it is prompted again."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_medsam2 import Session, Volume
from napari_medsam2.models.base import (
    Embedding,
    FramePrompt,
    MemoryRules,
    Prediction,
    Recalled,
    Trace,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

SIDE, N = 16, 12
BOX = (4, 4, 12, 12)


class Ending:
    """Finds an object where a frame's first pixel is bright."""

    name = "ending"
    key = answers_key = "ending-1"
    rules = MemoryRules(past_pointers_only=False, ends_after=(2, 4))

    def __init__(self) -> None:
        self.embedded: list[int] = []

    def check(self, prompt: FramePrompt) -> None:
        pass

    def embed(self, frame: np.ndarray) -> Embedding:
        self.embedded.append(int(frame[0, 1]))
        bright = torch.full((1, 4, 4), float(frame[0, 0] > 127))
        return Embedding(bright, (SIDE, SIDE))

    def decode(self, embedding: Embedding, prompts: Sequence[FramePrompt]) -> list[Prediction]:
        return [self.predict(trace, embedding.shape) for trace in self.begin(embedding, prompts)]

    def begin(self, embedding: Embedding, prompts: Sequence[FramePrompt]) -> list[Trace]:
        return [self._trace(present=True) for _ in prompts]

    def track(self, embedding: Embedding, recalled: Sequence[Recalled]) -> list[Trace]:
        present = bool(embedding.features.max() > 0)
        return [self._trace(present=present) for _ in recalled]

    def correct(
        self, embedding: Embedding, prompt: FramePrompt, recalled: Recalled, previous: Trace
    ) -> Trace:
        self.corrected = previous
        return self._trace(present=True)

    def predict(self, trace: Trace, shape: tuple[int, int]) -> Prediction:
        logits = np.full(shape, -9.0, np.float32)
        logits[4:12, 4:12] = 9.0 if trace.is_present else -9.0
        return Prediction(logits, 0.9, trace.object_score)

    def _trace(self, present: bool) -> Trace:
        score = 8.0 if present else -8.0
        return Trace(
            logits=torch.full((4, 4), score),
            predicted_iou=0.9,
            object_score=score,
            pointer=torch.tensor([score]),
            memory=torch.full((1, 2, 2), score),
        )


def session(bright: Sequence[int], axes: str = "zyx") -> tuple[Session, Ending]:
    """Return a session on N frames, each of which tells its number in its second pixel."""
    frames = np.zeros((N, SIDE, SIDE), np.uint8)
    frames[:, 0, 1] = np.arange(N)
    frames[list(bright), 0, 0] = 255
    model = Ending()
    opened = Session(Volume(frames, axes=axes), window=(0, 255))
    opened.use_model(model)
    return opened, model


def shown(opened: Session) -> list[int]:
    return np.flatnonzero(opened.labels.any(axis=(1, 2))).tolist()


def test_frames_beyond_the_end_are_not_looked_at_but_stated():
    opened, model = session(range(3, 7))
    opened.add_box(5, BOX, 1)
    updates = list(opened.propagate())
    assert shown(opened) == [3, 4, 5, 6]
    # Two dark frames on either side, and the one that is embedded ahead.
    assert set(model.embedded) <= {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}
    assert 10 not in model.embedded
    assert 11 not in model.embedded
    assert sorted(u.frame for u in updates) == list(range(N))
    assert all(np.isfinite(opened.scores[1][frame]) for frame in (3, 4, 5, 6))
    assert np.isnan(opened.scores[1][11])


def test_one_dark_frame_is_no_end():
    opened, _ = session([4, 5, 7, 8])
    opened.add_box(5, BOX, 1)
    list(opened.propagate())
    assert shown(opened) == [4, 5, 7, 8]


def test_what_moves_is_waited_for_longer():
    opened, _ = session([4, 5, 9], "tyx")
    opened.add_box(5, BOX, 1)
    list(opened.propagate("forward"))
    assert shown(opened) == [5, 9]
    body, _ = session([4, 5, 9])
    body.add_box(5, BOX, 1)
    list(body.propagate("forward"))
    assert shown(body) == [5]


def test_a_prompt_beyond_the_end_begins_anew():
    opened, _ = session([1, 2, 8, 9])
    opened.add_box(1, BOX, 1)
    opened.add_box(8, BOX, 1)
    list(opened.propagate("forward"))
    assert shown(opened) == [1, 2, 8, 9]


def test_an_object_that_ended_takes_no_other_with_it():
    opened, _ = session(range(N))
    opened.add_box(5, BOX, 1)
    list(opened.propagate())
    opened.add_box(0, (0, 0, 3, 3), 2)
    list(opened.propagate(object_ids=[2]))
    assert shown(opened) == list(range(N))


def test_the_second_propagation_asks_for_nothing():
    opened, model = session(range(3, 7))
    opened.add_box(5, BOX, 1)
    list(opened.propagate())
    before = len(model.embedded)
    list(opened.propagate())
    assert len(model.embedded) == before


def test_a_click_beyond_the_end_corrects_what_the_past_says_of_that_frame():
    opened, _ = session(range(3, 7))
    opened.add_box(5, BOX, 1)
    list(opened.propagate())
    opened.add_points(11, [(8.0, 8.0)], [1], 1)
    # Nothing was found there, so the click says anew what the object is.
    list(opened.propagate())
    assert 11 in shown(opened)
    assert 8 not in shown(opened)
