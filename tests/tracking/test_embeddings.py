"""The embedding cache and the encoder that asks it."""

import numpy as np
import pytest
import torch
from tests.fakes import BrightModel

from napari_medsam2.errors import InputError
from napari_medsam2.models.base import Embedding
from napari_medsam2.tracking.embeddings import EmbeddingCache, FrameEncoder
from napari_medsam2.volume import Volume
from napari_medsam2.windows import Window


def one_mb():
    return Embedding(torch.zeros(256, 32, 32), (8, 8))


def test_the_least_recently_used_embedding_goes_first():
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


def test_a_negative_or_nan_cap_is_refused():
    for size in (-1, float("nan")):
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
