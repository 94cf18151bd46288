"""The embedding cache and the encoder that asks it."""

import threading
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from tests.fakes import BrightModel

from napari_medsam2.errors import InputError
from napari_medsam2.models.base import Embedding
from napari_medsam2.tracking.embedding_store import EmbeddingStore
from napari_medsam2.tracking.embeddings import (
    EarlyEncoder,
    EmbeddingCache,
    FrameEncoder,
    open_cache,
)
from napari_medsam2.volume import Volume
from napari_medsam2.windows import Window


def one_mb():
    return Embedding(torch.zeros(256, 32, 32), (8, 8))


def test_a_sweep_over_more_than_fits_finds_what_fits():
    """Dropping the least recently used would find nothing: each is dropped just before its turn."""
    cache = EmbeddingCache(80)
    found = []
    for _ in range(6):
        hits = 0
        for frame in range(100):
            if cache.get(frame) is not None:
                hits += 1
            else:
                cache.put(frame, MegaByte())
        found.append(hits)
    assert found[0] == 0
    assert min(found[2:]) > 50
    assert cache.nbytes <= 80 * 2**20


class MegaByte:
    nbytes = 2**20


def test_the_least_recently_used_embedding_goes_first_among_few():
    cache = EmbeddingCache(max_mb=2)
    assert one_mb().nbytes == 2**20
    cache.put("a", one_mb())
    cache.put("b", one_mb())
    cache.get("a")
    cache.put("c", one_mb())
    assert ("a" in cache, "b" in cache, "c" in cache) == (True, False, True)
    assert cache.nbytes == 2 * 2**20


def test_replacing_an_entry_counts_it_once():
    cache = EmbeddingCache(max_mb=2)
    cache.put("a", one_mb())
    cache.put("a", one_mb())
    assert cache.nbytes == 2**20
    cache.clear()
    assert (len(cache), cache.nbytes) == (0, 0)


def test_a_cache_of_nothing_keeps_nothing():
    cache = EmbeddingCache(max_mb=0)
    cache.put("a", one_mb())
    assert cache.get("a") is None
    assert cache.nbytes == 0


def test_a_cap_that_is_no_size_is_refused():
    for size in (-1, float("nan"), float("inf")):
        with pytest.raises(InputError, match="0 MB or more"):
            EmbeddingCache(size)


def encoder(cache, model, **options):
    volume = Volume(np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6))
    return FrameEncoder(volume.stack(**options), Window(0, 255), model, cache)


def test_a_frame_is_encoded_once():
    model, cache = BrightModel(), EmbeddingCache()
    encode = encoder(cache, model)
    first = encode(2)
    assert encode(2) is first
    assert len(model.embedded) == 1
    assert encode.is_cached(2)
    assert not encode.is_cached(1)


def test_another_axis_or_window_is_another_embedding():
    model, cache = BrightModel(), EmbeddingCache()
    encoder(cache, model)(0)
    along_y = encoder(cache, model, axis=1)
    assert not along_y.is_cached(0)
    windowed = FrameEncoder(along_y.stack.volume.stack(0), Window(0, 100), model, cache)
    assert not windowed.is_cached(0)


def test_the_model_sees_the_windowed_frame():
    model = BrightModel()
    volume = Volume(np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6))
    FrameEncoder(volume.stack(), Window(30, 59), model, EmbeddingCache())(1)
    # Frame 1 holds 30..59, which become 0..255.
    assert model.embedded[0] == pytest.approx(255 / 29 * np.arange(30).sum(), rel=1e-5)


# Anything that says its size


@dataclass(frozen=True)
class Thing:
    nbytes: int


def test_other_things_share_the_cap_with_embeddings():
    cache = EmbeddingCache(max_mb=2)
    cache.put("thing", Thing(2**20))
    cache.put("a", one_mb())
    assert cache.nbytes == 2 * 2**20
    cache.put("small", Thing(1))
    assert "thing" not in cache
    assert cache.nbytes == 2**20 + 1


def test_an_entry_is_made_once_and_then_held():
    cache, made = EmbeddingCache(), []

    def make():
        made.append(Thing(3))
        return made[-1]

    assert cache.get_or_make("a", make) is cache.get_or_make("a", make) is cache.get("a")
    assert made == [Thing(3)]


# Two threads


class Threads:
    """Threads that ask for entries; answers and errors by name."""

    def __init__(self, **calls):
        self.results = {}
        self.threads = {name: threading.Thread(target=self._run, args=(name,)) for name in calls}
        self.calls = calls

    def _run(self, name):
        try:
            self.results[name] = self.calls[name]()
        except InputError as error:
            self.results[name] = str(error)

    def start(self, name):
        self.threads[name].start()

    def join(self):
        for thread in self.threads.values():
            thread.join(60)
            assert not thread.is_alive()
        return self.results


class Watched:
    """A key that tells when another thread looks for it."""

    def __init__(self):
        self.maker = None
        self.looked_for = threading.Event()

    def __hash__(self):
        # The cache's own lock is held by now: who looks is sure to find what is being made.
        if self.maker not in (None, threading.get_ident()):
            self.looked_for.set()
        return 1


@pytest.mark.parametrize("max_mb", [0, 10])
def test_two_threads_that_want_the_same_entry_get_the_same_one(max_mb):
    cache, key = EmbeddingCache(max_mb), Watched()
    begun, go_on, second_made = threading.Event(), threading.Event(), []

    def slow():
        key.maker = threading.get_ident()
        begun.set()
        assert go_on.wait(60)
        return Thing(1)

    def second():
        second_made.append(True)
        return Thing(1)

    threads = Threads(
        first=lambda: cache.get_or_make(key, slow), second=lambda: cache.get_or_make(key, second)
    )
    threads.start("first")
    assert begun.wait(60)
    # Meanwhile other entries can be made.
    assert cache.get_or_make("b", lambda: Thing(2)) == Thing(2)
    threads.start("second")
    assert key.looked_for.wait(60)
    go_on.set()
    results = threads.join()
    assert results["first"] is results["second"]
    assert second_made == []


def test_if_making_fails_the_next_thread_tries():
    cache, key = EmbeddingCache(), Watched()
    begun, go_on = threading.Event(), threading.Event()

    def fail():
        key.maker = threading.get_ident()
        begun.set()
        assert go_on.wait(60)
        raise InputError("no such frame")

    threads = Threads(
        first=lambda: cache.get_or_make(key, fail),
        second=lambda: cache.get_or_make(key, lambda: Thing(1)),
    )
    threads.start("first")
    assert begun.wait(60)
    threads.start("second")
    assert key.looked_for.wait(60)
    go_on.set()
    assert threads.join() == {"first": "no such frame", "second": Thing(1)}
    assert cache.get(key) == Thing(1)


# With a folder


class PlainModel:
    """Its embedding is the frame; counts how often it is asked."""

    name, key = "plain", "plain-1"

    def __init__(self):
        self.embedded = 0

    def embed(self, frame):
        self.embedded += 1
        return Embedding(torch.from_numpy(frame.copy())[None], frame.shape)


def in_folder(folder, **cap):
    return EmbeddingCache(**cap, store=EmbeddingStore(folder))


def test_another_cache_over_the_same_folder_needs_no_encoding(tmp_path):
    first = encoder(in_folder(tmp_path), PlainModel())(1)
    model = PlainModel()
    encode = encoder(in_folder(tmp_path), model)
    assert not encode.is_cached(1)
    again = encode(1)
    assert torch.equal(again.features, first.features)
    assert again.shape == first.shape == (5, 6)
    assert model.embedded == 0
    assert encode.is_cached(1)
    assert encode(1) is again


def test_what_memory_dropped_comes_from_the_folder(tmp_path):
    model = PlainModel()
    encode = encoder(in_folder(tmp_path, max_mb=0), model)
    for frame in (0, 1, 2, 3, 2, 1, 0):
        encode(frame)
    assert model.embedded == 4


def test_the_folder_knows_a_frame_by_its_content(tmp_path):
    """The same slice of another volume, in another place and memory order, is the same frame."""
    data = np.random.default_rng(0).integers(0, 255, (4, 5, 6), dtype=np.uint8)
    model = PlainModel()

    def encode(array, frame, **options):
        stack = Volume(array).stack(**options)
        return FrameEncoder(stack, Window(0, 255), model, in_folder(tmp_path))(frame)

    encode(data, 3)
    encode(data[2:], 1)
    encode(np.moveaxis(data, 0, 1), 3, axis=1)
    assert model.embedded == 1
    encode(data.astype(np.int16), 3)
    assert model.embedded == 2
    changed = data.copy()
    changed[3, 4, 5] ^= 1
    encode(changed, 3)
    assert model.embedded == 3


def test_another_model_finds_nothing_in_the_folder(tmp_path):
    encoder(in_folder(tmp_path), PlainModel())(0)
    model = PlainModel()
    model.key = "plain-2"
    encoder(in_folder(tmp_path), model)(0)
    assert model.embedded == 1


def test_an_embedding_is_read_to_the_device_of_its_model(tmp_path):
    encoder(in_folder(tmp_path), PlainModel())(0)

    class Elsewhere(PlainModel):
        class device:  # noqa: N801
            torch = torch.device("meta")

    features = encoder(in_folder(tmp_path), Elsewhere())(0).features
    assert features.device.type == "meta"


# What a user may ask for


def test_a_cache_is_megabytes_or_a_folder_or_neither(tmp_path):
    assert (open_cache().max_bytes, open_cache().store) == (2**30, None)
    assert open_cache(3).max_bytes == 3 * 2**20
    assert open_cache(np.float32(0.5)).max_bytes == 2**19
    for folder in (tmp_path / "new" / "a", str(tmp_path / "new" / "b")):
        cache = open_cache(folder)
        assert cache.max_bytes == 2**30
        assert cache.store.folder.is_dir()
        assert cache.store.max_bytes == 10 * 2**30


def test_a_cache_that_is_nothing_of_that_is_refused(tmp_path):
    (tmp_path / "file").touch()
    wrong = {
        "0 MB or more": (-1, float("nan")),
        "cannot be made": (tmp_path / "file", str(tmp_path / "file" / "in")),
        "megabytes, a folder or None": (True, "", [1], b"bytes"),
    }
    for message, choices in wrong.items():
        for choice in choices:
            with pytest.raises(InputError, match=message):
                open_cache(choice)


# The next frame, while the present one is worked on


class Waiting(BrightModel):
    """A model that embeds when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.started, self.may_go_on = threading.Event(), threading.Event()

    def embed(self, frame):
        self.started.set()
        assert self.may_go_on.wait(20)
        return super().embed(frame)


def of_three_frames(model, cache=None):
    volume = Volume(np.arange(3 * 16 * 16, dtype=np.uint8).reshape(3, 16, 16))
    return FrameEncoder(volume.stack(), Window(0, 255), model, cache or EmbeddingCache())


def test_the_next_frame_is_embedded_aside_and_only_once():
    model = Waiting()
    encoder = of_three_frames(model)
    with EarlyEncoder(encoder) as early:
        early.begin(1)
        assert model.started.wait(20)  # in a thread of its own, for this one is still here
        model.may_go_on.set()
        encoder(1)
    assert len(model.embedded) == 1


def test_leaving_waits_for_the_frame_that_is_being_embedded():
    model = Waiting()
    encoder = of_three_frames(model)
    before = threading.active_count()
    with EarlyEncoder(encoder) as early:
        early.begin(2)
        assert model.started.wait(20)
        model.may_go_on.set()
    assert encoder.is_cached(2)
    assert threading.active_count() == before


def test_a_frame_that_is_there_starts_no_thread():
    model = BrightModel()
    encoder = of_three_frames(model)
    encoder(1)
    before = threading.active_count()
    with EarlyEncoder(encoder) as early:
        early.begin(1)
        assert threading.active_count() == before


def test_an_error_is_met_by_whoever_needs_the_frame():
    class Broken(BrightModel):
        def embed(self, frame):
            raise InputError("the disk is gone")

    encoder = of_three_frames(Broken())
    with EarlyEncoder(encoder) as early:
        early.begin(1)
        with pytest.raises(InputError, match="the disk is gone"):
            encoder(1)
