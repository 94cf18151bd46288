"""Embedding in advance: which frames, in which order, and that real work always comes first."""

import os
import subprocess
import sys
import threading
from queue import Queue

import numpy as np
import pytest
import torch

from napari_medsam2.errors import DeviceError, InputError
from napari_medsam2.models.base import Embedding
from napari_medsam2.tracking.embeddings import EmbeddingCache, FrameEncoder
from napari_medsam2.tracking.prefetch import Prefetcher
from napari_medsam2.volume import Volume
from napari_medsam2.windows import Window

N = 30
LONG = 60


class SlowModel:
    """Knows a frame by its brightness; frames that are held take until they are released."""

    name, key = "slow", "slow-1"

    def __init__(self, *held, mb=0.0):
        self.begun = Queue()
        self.frames = []
        self.held = {frame: threading.Event() for frame in held}
        self.values = max(1, int(mb * 2**20))

    def embed(self, image):
        frame = int(image[0, 0])
        self.frames.append(frame)
        self.begun.put(frame)
        if frame in self.held:
            assert self.held[frame].wait(LONG)
        return Embedding(torch.zeros(1, 1, self.values, dtype=torch.uint8), image.shape)


class Slices:
    """An array whose slices are as bright as their index; one of them cannot be read."""

    shape, dtype = (N, 2, 2), np.dtype(np.uint8)

    def __init__(self, broken=None):
        self.broken = broken

    def __getitem__(self, key):
        if key[0] == self.broken:
            raise OSError("the disk is gone")
        return np.full((2, 2), key[0], np.uint8)


def encoder_of(model, max_mb=100.0, broken=None):
    stack = Volume(Slices(broken)).stack(0)
    return FrameEncoder(stack, Window(0, 255), model, EmbeddingCache(max_mb))


@pytest.fixture
def started():
    """Start prefetchers that are closed at the end, and let go of what they wait for."""
    made = []

    def start(model, encoder=None, **options):
        encoder = encoder_of(model) if encoder is None else encoder
        made.append((Prefetcher(lambda: encoder, **options), model))
        return made[-1][0]

    yield start
    for prefetcher, model in made:
        for event in model.held.values():
            event.set()
        assert prefetcher.close(LONG)
    assert not [t for t in threading.enumerate() if t.name == "prefetch"]


# Which frames


@pytest.mark.parametrize(
    ("frame", "direction", "expected"),
    [
        (10, 1, [10, 11, 12, 13, 9, 8]),
        (10, -1, [10, 9, 8, 7, 11, 12]),
        (10, 7, [10, 11, 12, 13, 9, 8]),
        (N - 2, 1, [28, 29, 27, 26]),
        (0, -1, [0, 1, 2]),
        (N + 5, 1, []),
    ],
)
def test_the_present_frame_comes_first_then_those_ahead_then_those_behind(
    started, frame, direction, expected
):
    model = SlowModel()
    prefetcher = started(model, ahead=3, behind=2)
    prefetcher.want(frame, direction)
    assert prefetcher.wait(LONG)
    assert model.frames == expected


def test_by_default_eight_frames_ahead_and_two_behind(started):
    model = SlowModel()
    prefetcher = started(model)
    prefetcher.want(10)
    assert prefetcher.wait(LONG)
    assert model.frames == [*range(10, 19), 9, 8]


def test_without_a_direction_the_last_one_stays(started):
    model = SlowModel()
    prefetcher = started(model, ahead=2, behind=0)
    for frame, direction in ((10, -1), (20, 0)):
        prefetcher.want(frame, direction)
        assert prefetcher.wait(LONG)
    assert model.frames == [10, 9, 8, 20, 19, 18]


def test_cached_frames_are_passed_over(started):
    model = SlowModel()
    encoder = encoder_of(model)
    encoder(10)
    encoder(12)
    prefetcher = started(model, encoder, ahead=3, behind=0)
    prefetcher.want(10, 1)
    assert prefetcher.wait(LONG)
    assert model.frames == [10, 12, 11, 13]
    # Looking at the next frame costs one new frame.
    prefetcher.want(11, 1)
    assert prefetcher.wait(LONG)
    assert model.frames[4:] == [14]


def test_turning_round_replaces_what_was_planned(started):
    model = SlowModel(10)
    prefetcher = started(model, ahead=2, behind=1)
    prefetcher.want(10, 1)
    assert model.begun.get(timeout=LONG) == 10
    prefetcher.want(9, -1)
    model.held[10].set()
    assert prefetcher.wait(LONG)
    assert model.frames == [10, 9, 8, 7]


# Real work comes first


def test_pausing_lets_no_further_frame_begin(started):
    model = SlowModel(10)
    prefetcher = started(model, ahead=2, behind=0)
    prefetcher.want(10, 1)
    assert model.begun.get(timeout=LONG) == 10
    prefetcher.pause()
    prefetcher.pause()
    model.held[10].set()
    assert prefetcher.wait(LONG)
    assert model.frames == [10]
    prefetcher.resume()
    assert prefetcher.wait(LONG)
    assert model.frames == [10, 11, 12]


def test_nothing_begins_while_busy_however_deep(started):
    model = SlowModel()
    prefetcher = started(model, ahead=1, behind=0)
    with prefetcher.busy():
        with pytest.raises(KeyError), prefetcher.busy():
            raise KeyError
        prefetcher.want(10, 1)
        assert prefetcher.wait(LONG)
        prefetcher.want(20, 1)
        prefetcher.resume()
        assert prefetcher.wait(LONG)
        assert model.frames == []
    assert prefetcher.wait(LONG)
    assert model.frames == [20, 21]


def test_paused_and_busy_are_two_things(started):
    model = SlowModel()
    prefetcher = started(model, ahead=0, behind=0)
    prefetcher.pause()
    with prefetcher.busy():
        prefetcher.want(10)
    assert prefetcher.wait(LONG)
    assert model.frames == []


def test_real_work_does_not_wait_for_a_frame_under_way(started):
    model = SlowModel(10)
    encoder = encoder_of(model)
    prefetcher = started(model, encoder)
    prefetcher.want(10, 1)
    assert model.begun.get(timeout=LONG) == 10
    with prefetcher.busy():
        # In this thread, while frame 10 is still held.
        assert encoder(20).shape == (2, 2)
    assert model.frames == [10, 20]


def test_real_work_that_wants_the_frame_under_way_gets_it_and_encodes_nothing(started):
    model = SlowModel(10)
    encoder = encoder_of(model)
    prefetcher = started(model, encoder, ahead=0, behind=0)
    prefetcher.want(10, 1)
    assert model.begun.get(timeout=LONG) == 10
    found = []
    worker = threading.Thread(target=lambda: found.append(encoder(10)))
    worker.start()
    model.held[10].set()
    worker.join(LONG)
    assert found == [encoder(10)]
    assert model.frames == [10]


def test_a_frame_that_real_work_is_encoding_is_not_encoded_in_advance(started):
    model = SlowModel(10)
    encoder = encoder_of(model)
    worker = threading.Thread(target=encoder, args=(10,))
    worker.start()
    assert model.begun.get(timeout=LONG) == 10
    prefetcher = started(model, encoder, ahead=1, behind=0)
    prefetcher.want(10, 1)
    model.held[10].set()
    worker.join(LONG)
    assert prefetcher.wait(LONG)
    assert model.frames == [10, 11]


# The memory it may use


def test_only_a_part_of_the_cache_is_filled_in_advance(started):
    model = SlowModel(mb=1)
    encoder = encoder_of(model, max_mb=10)
    for frame in range(20, 30):
        encoder(frame)
    del model.frames[:]
    prefetcher = started(model, encoder, share=0.5)
    prefetcher.want(5, 1)
    assert prefetcher.wait(LONG)
    assert model.frames == [5, 6, 7, 8, 9]
    # What real work used last is still there.
    assert all(encoder.is_cached(frame) for frame in range(27, 30))


def test_what_was_embedded_in_advance_is_never_dropped_for_more_of_it(started):
    model = SlowModel(mb=1)
    encoder = encoder_of(model, max_mb=3)
    prefetcher = started(model, encoder, share=1)
    for _ in range(3):
        prefetcher.want(5, 1)
        assert prefetcher.wait(LONG)
    assert model.frames == [5, 6, 7]


@pytest.mark.parametrize(("max_mb", "tries"), [(0, []), (0.4, [5]), (1.5, [5])])
def test_a_cache_that_is_too_small_is_left_alone(started, max_mb, tries):
    model = SlowModel(mb=1)
    prefetcher = started(model, encoder_of(model, max_mb=max_mb))
    for frame in (5, 15):
        prefetcher.want(frame, 1)
        assert prefetcher.wait(LONG)
    # The size of an embedding is known after the first.
    assert model.frames == tries


# What goes wrong


def test_a_frame_that_cannot_be_read_is_passed_over(started):
    model = SlowModel()
    encoder = encoder_of(model, broken=11)
    prefetcher = started(model, encoder, ahead=2, behind=1)
    prefetcher.want(10, 1)
    assert prefetcher.wait(LONG)
    assert model.frames == [10, 12, 9]
    assert isinstance(prefetcher.error, OSError)
    # Whoever asks for it is told.
    with pytest.raises(OSError, match="the disk is gone"):
        encoder(11)


def test_a_device_out_of_memory_is_left_alone(started):
    class Full(SlowModel):
        def embed(self, image):
            super().embed(image)
            raise DeviceError("cuda: out of memory")

    model = Full()
    prefetcher = started(model)
    prefetcher.want(10)
    assert prefetcher.wait(LONG)
    assert model.frames == [10]
    assert "out of memory" in str(prefetcher.error)
    prefetcher.want(20)
    assert prefetcher.wait(LONG)
    assert model.frames == [10, 20]


def test_without_an_encoder_nothing_is_done_yet():
    model = SlowModel()
    encoders = [None]
    prefetcher = Prefetcher(lambda: encoders[0], ahead=1, behind=0)
    try:
        prefetcher.want(10)
        assert prefetcher.wait(LONG)
        encoders[0] = encoder_of(model)
        assert prefetcher.wait(LONG)
        assert model.frames == []
        prefetcher.want(10)
        assert prefetcher.wait(LONG)
        assert model.frames == [10, 11]
    finally:
        assert prefetcher.close(LONG)


def test_numbers_that_make_no_sense_are_refused():
    for options in ({"ahead": -1}, {"behind": -1}, {"share": 1.1}, {"share": float("nan")}):
        with pytest.raises(InputError, match="0 frames or more"):
            Prefetcher(lambda: None, **options)


# The thread


def test_closing_waits_for_the_frame_under_way_and_begins_no_other(started):
    model = SlowModel(10)
    prefetcher = started(model)
    prefetcher.want(10)
    assert model.begun.get(timeout=LONG) == 10
    assert not prefetcher.close(timeout=0)
    assert not prefetcher.wait(timeout=0)
    model.held[10].set()
    assert prefetcher.close(LONG)
    assert prefetcher.close(LONG)
    prefetcher.want(20)
    assert prefetcher.wait(LONG)
    assert model.frames == [10]


def test_without_a_wish_there_is_no_thread():
    before = threading.active_count()
    prefetcher = Prefetcher(lambda: None)
    with prefetcher.busy():
        assert threading.active_count() == before
    assert prefetcher.wait(LONG)
    assert prefetcher.close()


@pytest.mark.skipif(sys.platform != "linux", reason="threads have a priority of their own on Linux")
def test_the_thread_gives_way_to_others(started):
    class Asking(SlowModel):
        def embed(self, image):
            thread = threading.get_native_id()
            self.niceness = os.getpriority(os.PRIO_PROCESS, thread)
            return super().embed(image)

    model = Asking()
    prefetcher = started(model, ahead=0, behind=0)
    prefetcher.want(10)
    assert prefetcher.wait(LONG)
    own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    assert model.niceness == min(19, own + 10)


NEVER_CLOSED = """
from tests.tracking.test_prefetch import SlowModel, encoder_of
from napari_medsam2.tracking.prefetch import Prefetcher

model = SlowModel()
encoder = encoder_of(model)
Prefetcher(lambda: encoder).want(10)
assert model.begun.get(timeout=60) == 10
print("end")
"""


def test_a_program_that_forgets_to_close_it_ends_all_the_same(pytestconfig):
    done = subprocess.run(
        [sys.executable, "-c", NEVER_CLOSED],
        env=os.environ | {"PYTHONPATH": str(pytestconfig.rootpath)},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("end\n", "")
