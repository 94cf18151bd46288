"""Sessions on blended channels, on pyramids and on five axes: computing, saving and replaying."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.fakes import BrightModel
from torch.nn import functional

from napari_medsam2.errors import InputError
from napari_medsam2.models.base import Prediction
from napari_medsam2.session import Session
from napari_medsam2.volume import Volume

BOX = (8, 8, 24, 24)
SQUARE = (slice(10, 22), slice(10, 22))


class WatchingModel(BrightModel):
    """Keeps the frames that it was shown, and answers at the size that the embedding states."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def embed(self, frame):
        self.seen.append(frame)
        return super().embed(frame)

    def decode(self, embedding, prompts):
        shape = embedding.shape
        grey = torch.from_numpy(np.ascontiguousarray(embedding.image))[None, None]
        large = functional.interpolate(grey, size=shape, mode="nearest")[0, 0].numpy()
        answers = super().decode(replace(embedding, image=large), prompts)
        return [Prediction(a.logits, a.predicted_iou) for a in answers]


def session_on(volume, **options):
    session = Session(volume, **options)
    session.use_model(WatchingModel())
    return session


@pytest.fixture
def cells():
    """The object is bright in channel 0 on its left half, in channel 2 on its right one."""
    data = np.zeros((3, 4, 32, 32), np.uint16)
    data[0, :, 10:22, 10:16] = 900
    data[2, :, 10:22, 16:22] = 60_000
    data[1, :, 0, 0] = 1
    return Volume(data, axes="czyx", name="cells")


def test_blended_channels_reach_the_model_as_colours_each_windowed_by_itself(cells):
    session = session_on(cells, channel=[0, 2])
    session.add_box(1, BOX)
    session.segment(1)
    (frame,) = session.model.seen
    assert frame.shape == (32, 32, 3)
    np.testing.assert_allclose(frame[15, 12], [0, 255, 0])
    np.testing.assert_allclose(frame[15, 18], [255, 0, 255])
    assert session.labels.shape == (4, 32, 32)
    assert session.settings["channel"] == [0, 2]


def test_a_session_on_blended_channels_is_saved_and_replayed(cells, tmp_path):
    session = session_on(cells, channel=[0, 2], window=(0, 900, 0, 60_000))
    session.add_box(1, BOX)
    list(session.propagate())
    assert session.labels.any()
    path = session.save(tmp_path / "cells.medsam2.json")
    settings = json.loads(path.read_text())["session"]["settings"]
    assert settings["channel"] == [0, 2]
    assert settings["window"] == [0, 900, 0, 60_000]
    loaded = Session.load(path, cells)
    loaded.use_model(WatchingModel())
    assert loaded.stack.channel == (0, 2)
    assert loaded.window.values == (0, 900, 0, 60_000)
    np.testing.assert_array_equal(loaded.replay(), session.labels)


def test_replaying_uses_the_channels_and_windows_of_each_run(cells):
    session = session_on(cells, channel=[0, 2])
    session.add_box(1, BOX)
    session.segment(1)
    other = session_on(cells, channel=0, labels=session.labels)
    other.take_over(session)
    other.add_box(2, BOX, object_id=2)
    other.segment(2)
    other.cache.clear()
    other.model.seen.clear()
    replayed = other.replay()
    assert [frame.ndim for frame in other.model.seen] == [3, 2]
    np.testing.assert_array_equal(replayed, other.labels)


@pytest.fixture
def slide():
    full = np.zeros((3, 64, 64), np.uint8)
    full[:, 20:44, 20:44] = 250
    full[:, ::2, 63] = 9
    return Volume(full, levels=(full[:, ::2, ::2], full[:, ::4, ::4]), name="slide")


@pytest.mark.parametrize("level", [0, 1, 2])
def test_labels_are_those_of_the_full_image_at_every_level(slide, level, tmp_path):
    session = session_on(slide, level=level, window=(0, 255))
    session.add_box(1, (16, 16, 48, 48))
    session.segment(1)
    (seen,) = session.model.seen
    assert seen.shape == (64 // 2**level, 64 // 2**level)
    expected = np.zeros((64, 64), bool)
    expected[20:44, 20:44] = True
    np.testing.assert_array_equal(session.labels[1] == 1, expected)
    assert not session.labels[[0, 2]].any()
    loaded = Session.load(session.save(tmp_path / "slide.medsam2.json"), slide)
    assert loaded.stack.level == level
    loaded.use_model(WatchingModel())
    np.testing.assert_array_equal(loaded.replay(), session.labels)


def test_replaying_uses_the_level_of_each_run(slide):
    session = session_on(slide, level=2, window=(0, 255))
    session.add_box(1, (16, 16, 48, 48))
    session.segment(1)
    other = session_on(slide, level=0, window=(0, 255), labels=session.labels)
    other.take_over(session)
    other.replay()
    assert [frame.shape for frame in other.model.seen] == [(16, 16)]


def test_turning_keeps_channels_and_level():
    data = np.random.default_rng(0).integers(0, 99, (2, 3, 8, 16, 16)).astype(np.uint16)
    levels = (data[..., ::2, ::2],)
    session = session_on(
        Volume(data, axes="ctzyx", levels=levels), axis="z", at=[1], channel=[0, 1], level=1
    )
    session.turn("t", at=[5])
    assert (session.stack.channel, session.stack.level) == ((0, 1), 1)
    np.testing.assert_array_equal(session.stack.seen(2)[..., 1], data[1, 2, 5, ::2, ::2])


def test_a_level_that_is_not_there_is_refused(cells):
    with pytest.raises(InputError, match="no level 1; it has no coarser levels"):
        Session(cells, channel=0, level=1)


@pytest.mark.parametrize("channel", ["0", 1.5, [0, 1.5], {"a": 1}])
def test_a_channel_that_is_no_number_is_refused(cells, channel):
    with pytest.raises(InputError, match="there is no channel"):
        Session(cells, channel=channel)


def test_the_real_model_finds_the_same_on_a_coarser_level():
    y, x = np.mgrid[:512, :512]
    disc = np.hypot(y - 250, x - 300) < 90
    rng = np.random.default_rng(0)
    full = rng.normal(60, 10, (1, 512, 512)) + 90 * disc
    small = full.reshape(1, 256, 2, 256, 2).mean(axis=(2, 4))
    volume = Volume(full, levels=(small,))
    found = []
    for level in (0, 1):
        session = Session(volume, level=level, window=(30, 180))
        session.add_box(0, (155, 205, 345, 395))
        session.segment(0)
        found.append(session.labels[0] == 1)
    assert all((2 * (m & disc).sum() / (m.sum() + disc.sum())) > 0.97 for m in found)
    assert (found[0] ^ found[1]).sum() < 0.01 * disc.sum()
