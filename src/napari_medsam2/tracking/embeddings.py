"""Each frame is encoded once: a memory-capped cache, and the encoder that asks it first."""

from __future__ import annotations

import math
import random
import threading
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import islice
from numbers import Real
from os import PathLike
from typing import TYPE_CHECKING, Protocol, Self, TypeVar, cast

from napari_medsam2.errors import InputError

from .embedding_store import EmbeddingStore

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable
    from pathlib import Path

    import torch

    from napari_medsam2.frames import FrameStack
    from napari_medsam2.models.base import Embedding, Segmenter
    from napari_medsam2.windows import Window

__all__ = [
    "DEFAULT_CACHE_MB",
    "Cached",
    "EmbeddingCache",
    "FrameEncoder",
    "EarlyEncoder",
    "open_cache",
]

# 500 frames of LiteMedSAM at half precision (2 MiB each).
DEFAULT_CACHE_MB = 1024.0
# Entries used last that are not dropped: those of the frame that is worked on and its neighbours.
_RECENT = 8


class Cached(Protocol):
    """What a cache can hold: anything that says how much memory it takes."""

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""


_Entry = TypeVar("_Entry", bound=Cached)


@dataclass(eq=False)
class _Pending:
    """An entry that one thread is making, for others to wait for."""

    done: threading.Event = field(default_factory=threading.Event)
    entry: Cached | None = None


class EmbeddingCache:
    """Embeddings and tracks, at most so many megabytes of them. Thread-safe.

    Beyond the cap an entry goes at random, but none of those used last: sweeps use frames in the
    same order again and again, and dropping the least recently used one would always drop the one
    that is needed next, so that a volume a little larger than the cache would find nothing in it.

    Parameters
    ----------
    max_mb : float
        Cap in MiB; 0 keeps nothing.
    store : EmbeddingStore, optional
        A folder that `FrameEncoder` asks for what is not in memory, and writes to. The cache
        itself neither reads nor writes it.

    Raises
    ------
    InputError
        For a cap that is negative or not finite.
    """

    def __init__(
        self, max_mb: float = DEFAULT_CACHE_MB, store: EmbeddingStore | None = None
    ) -> None:
        self.max_bytes = _in_bytes(max_mb)
        self.nbytes = 0
        self.store = store
        self._entries: OrderedDict[Hashable, Cached] = OrderedDict()
        self._pending: dict[Hashable, _Pending] = {}
        self._lock = threading.Lock()
        # Seeded, so that the same work does the same again.
        self._choice = random.Random(0)

    def __len__(self) -> int:
        """Return the number of entries held."""
        return len(self._entries)

    def __contains__(self, key: Hashable) -> bool:
        """Whether an entry is held."""
        return key in self._entries

    def get(self, key: Hashable) -> Cached | None:
        """Return an entry, now the most recent one, or None."""
        with self._lock:
            return self._get(key)

    def put(self, key: Hashable, entry: Cached) -> None:
        """Keep an entry, dropping others beyond the cap."""
        with self._lock:
            old = self._entries.pop(key, None)
            self.nbytes += entry.nbytes - (old.nbytes if old else 0)
            self._entries[key] = entry
            self._drop_beyond_cap()

    def resize(self, max_mb: float) -> None:
        """Change the cap, dropping what is beyond it.

        Raises
        ------
        InputError
            For a cap that is negative or not finite.
        """
        max_bytes = _in_bytes(max_mb)
        with self._lock:
            self.max_bytes = max_bytes
            self._drop_beyond_cap()

    def get_or_make(self, key: Hashable, make: Callable[[], _Entry]) -> _Entry:
        """Return an entry, making it if it is not held.

        While one thread makes an entry, others that ask for it wait and get the same one. If making
        fails, its own thread gets the error and the next one tries.

        Parameters
        ----------
        key : hashable
            All entries of a key are of one type.
        make : callable
            Returns the entry; called without any lock.
        """
        while True:
            with self._lock:
                entry = self._get(key)
                if entry is not None:
                    return cast("_Entry", entry)
                pending = self._pending.get(key)
                if pending is None:
                    mine = self._pending[key] = _Pending()
                    break
            pending.done.wait()
            if pending.entry is not None:
                return cast("_Entry", pending.entry)
        try:
            made = make()
            self.put(key, made)
            mine.entry = made
            return made
        finally:
            with self._lock:
                del self._pending[key]
            mine.done.set()

    def clear(self) -> None:
        """Forget all that is in memory; a folder keeps what it has."""
        with self._lock:
            self._entries.clear()
            self.nbytes = 0

    def _drop_beyond_cap(self) -> None:
        while self.nbytes > self.max_bytes and self._entries:
            # The oldest one, if there are no others than recent ones.
            index = self._choice.randrange(max(1, len(self._entries) - _RECENT))
            dropped = next(islice(self._entries, index, None))
            self.nbytes -= self._entries.pop(dropped).nbytes

    def _get(self, key: Hashable) -> Cached | None:
        entry = self._entries.get(key)
        if entry is not None:
            self._entries.move_to_end(key)
        return entry


def open_cache(choice: float | str | Path | None = None) -> EmbeddingCache:
    """Make the cache that a user asks for.

    Parameters
    ----------
    choice : float, path or None
        A number is the cap in MiB of what stays in memory, None the default one. A path (or any
        str) is a folder that keeps embeddings beyond this session, with the default caps.

    Raises
    ------
    InputError
        For a number that is no size, a folder that cannot be made, or anything else.
    """
    if choice is None:
        return EmbeddingCache()
    if isinstance(choice, (str, PathLike)) and str(choice):
        return EmbeddingCache(store=EmbeddingStore(choice))
    if isinstance(choice, Real) and not isinstance(choice, bool):
        return EmbeddingCache(float(choice))
    raise InputError(f"cache: give megabytes, a folder or None, not {choice!r}")


def _in_bytes(max_mb: float) -> int:
    if not 0 <= max_mb < math.inf:
        raise InputError(f"the cache size must be 0 MB or more, got {max_mb!r}")
    return int(max_mb * 2**20)


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
        """Return the embedding of a frame: from memory, from the folder, or encoded."""
        return self.cache.get_or_make(self.key(frame), lambda: self._read_or_encode(frame))

    def cropped(self, region: tuple[int, int, int, int]) -> FrameEncoder:
        """Return an encoder of a part of every frame, over the same cache.

        Parameters
        ----------
        region : (y0, x0, y1, x1)
            See `FrameStack.cropped`.
        """
        return FrameEncoder(self.stack.cropped(region), self.window, self.model, self.cache)

    def is_cached(self, frame: int) -> bool:
        """Whether the embedding of a frame is in memory."""
        return self.key(frame) in self.cache

    def key(self, frame: int) -> Hashable:
        """Return what the embedding of a frame depends on, within one volume."""
        stack = self.stack
        view = (stack.axis, stack.at, stack.channel, stack.level, stack.region)
        return (self.model.key, self.window, *view, frame)

    def _read_or_encode(self, frame: int) -> Embedding:
        embedding = self._embedding(frame)
        # What comes from a coarser level answers for the full frame: its prompts, its masks.
        shape = self.stack.shape
        return embedding if embedding.shape == shape else replace(embedding, shape=shape)

    def _embedding(self, frame: int) -> Embedding:
        image = self.stack.seen(frame)
        store = self.cache.store
        if store is None:
            return self.model.embed(self.window.apply(image))
        key = store.key(self.model.key, self.window, image)
        embedding = store.get(key, _device(self.model))
        if embedding is None:
            embedding = self.model.embed(self.window.apply(image))
            store.put(key, embedding)
        return embedding


def _device(model: Segmenter) -> torch.device | str:
    """Return where a model that has a device of its own leaves its embeddings."""
    device: torch.device | str = getattr(getattr(model, "device", None), "torch", "cpu")
    return device


class EarlyEncoder:
    """Embeds the next frame in a thread while the present one is worked on.

    Encoding and tracking each leave a core idle now and then, so that both together take less time
    than one after the other (benchmarks/overlap.py). Use as a context manager, which waits for the
    frame that is being embedded when it is left.

    Parameters
    ----------
    encoder : FrameEncoder
    """

    def __init__(self, encoder: FrameEncoder) -> None:
        self._encoder = encoder
        self._thread: ThreadPoolExecutor | None = None

    def begin(self, frame: int) -> None:
        """Embed a frame; whoever then asks the encoder for it waits for the same embedding.

        An error is not told here: whoever asks for the frame meets it again.
        """
        if self._encoder.is_cached(frame):
            return
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="napari-medsam2-early")
        self._thread.submit(self._encoder, frame)

    def __enter__(self) -> Self:
        """Begin nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Wait for the frame that is being embedded."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
