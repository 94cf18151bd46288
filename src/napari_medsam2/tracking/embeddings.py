"""Each frame is encoded once: a memory-capped cache, and the encoder that asks it first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from napari_medsam2.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Hashable

    from napari_medsam2.models.base import Embedding, Segmenter
    from napari_medsam2.volume import FrameStack
    from napari_medsam2.windows import Window

__all__ = ["DEFAULT_CACHE_MB", "EmbeddingCache", "FrameEncoder"]

# 500 frames of LiteMedSAM at half precision (2 MiB each).
DEFAULT_CACHE_MB = 1024.0


class EmbeddingCache:
    """The most recently used embeddings, at most so many megabytes of them. Thread-safe.

    Parameters
    ----------
    max_mb : float
        Cap in MiB; 0 keeps nothing.
    """

    def __init__(self, max_mb: float = DEFAULT_CACHE_MB) -> None:
        if not max_mb >= 0:
            raise InputError(f"the cache size must be 0 MB or more, got {max_mb!r}")
        self.max_bytes = int(max_mb * 2**20)
        self.nbytes = 0
        self._entries: OrderedDict[Hashable, Embedding] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        """Return the number of embeddings held."""
        return len(self._entries)

    def __contains__(self, key: Hashable) -> bool:
        """Whether an embedding is held."""
        return key in self._entries

    def get(self, key: Hashable) -> Embedding | None:
        """Return an embedding, now the most recent one, or None."""
        with self._lock:
            embedding = self._entries.get(key)
            if embedding is not None:
                self._entries.move_to_end(key)
            return embedding

    def put(self, key: Hashable, embedding: Embedding) -> None:
        """Keep an embedding, dropping the least recently used ones beyond the cap."""
        with self._lock:
            old = self._entries.pop(key, None)
            self.nbytes += embedding.nbytes - (old.nbytes if old else 0)
            self._entries[key] = embedding
            while self.nbytes > self.max_bytes and self._entries:
                _, dropped = self._entries.popitem(last=False)
                self.nbytes -= dropped.nbytes

    def clear(self) -> None:
        """Forget all embeddings."""
        with self._lock:
            self._entries.clear()
            self.nbytes = 0


class FrameEncoder:
    """Embeds the frames of a stack, each once as long as the cache holds it.

    Parameters
    ----------
    stack : FrameStack
    window : Window
        Intensities that become 0 and 255.
    model : Segmenter
    cache : EmbeddingCache
        May be shared between encoders of the same volume.
    """

    def __init__(
        self, stack: FrameStack, window: Window, model: Segmenter, cache: EmbeddingCache
    ) -> None:
        self.stack = stack
        self.window = window
        self.model = model
        self.cache = cache

    def __call__(self, frame: int) -> Embedding:
        """Return the embedding of a frame, encoding it if it is not cached."""
        key = self.key(frame)
        embedding = self.cache.get(key)
        if embedding is None:
            embedding = self.model.embed(self.window.apply(self.stack.frame(frame)))
            self.cache.put(key, embedding)
        return embedding

    def with_window(self, window: Window) -> FrameEncoder:
        """Return an encoder of the same frames through another window, over the same cache."""
        return FrameEncoder(self.stack, window, self.model, self.cache)

    def is_cached(self, frame: int) -> bool:
        """Whether a frame will cost no encoding."""
        return self.key(frame) in self.cache

    def key(self, frame: int) -> Hashable:
        """Return what the embedding of a frame depends on, within one volume."""
        stack = self.stack
        return (self.model.key, self.window, stack.axis, stack.at, stack.channel, frame)
