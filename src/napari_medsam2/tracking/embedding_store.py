"""Embeddings kept in a folder: what one session encoded, the next one reads.

Nobody holds a lock on the folder. A file gets its name when it is whole, a damaged one is a miss,
and whatever another process takes away in between is one, too.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import re
import threading
import time
import warnings
import zlib
from contextlib import suppress
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medsam2.errors import DeviceError, InputError, WriteError
from napari_medsam2.io.atomic import atomic_path
from napari_medsam2.models.base import Embedding

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from numpy.typing import NDArray

    from napari_medsam2.windows import Window

__all__ = ["DEFAULT_STORE_MB", "EmbeddingStore"]

# 5000 frames of LiteMedSAM at half precision (2 MiB each).
DEFAULT_STORE_MB = 10240.0

# Only what is named so is ever counted or removed: the folder may hold other things.
_SHARD = re.compile(r"[0-9a-f]{2}")
_ENTRY = re.compile(r"[0-9a-f]{64}\.safetensors")
# As `atomic_path` names it; one that is left lying was left by a crash.
_TEMPORARY = re.compile(r"\.[0-9a-f]+-[0-9a-f]{64}\.safetensors")
_STALE_SECONDS = 3600.0
# Part of the cap that is written between two looks at the folder, and freed when it is full.
_LOOK_EVERY = 16

_LEVEL = "level{}"
_FACTS = "facts"
_CHECKSUM = "crc32"

_log = logging.getLogger(__name__)


class EmbeddingStore:
    """A folder of embeddings, one safetensors file each. For any number of threads and processes.

    An embedding is kept as it is, in its own precision, so that it answers later exactly what it
    answered at first: two bytes a value for models that run in half precision (their embeddings
    are half precision from the start), four in fp32. Nothing is rounded or clamped on the way. Not
    kept are embeddings with inf or nan (a model that failed must not fail for ever), and those of
    a class of their own, which could not be read back.

    Files are named by a hash of what the embedding depends on; no name, path or date of an image is
    written. What is in them does describe the image: protect the folder as the images are.

    Parameters
    ----------
    folder : path
        Made if it is missing. One that can only be read is read.
    max_mb : float
        Cap in MiB. The files that were not used for longest go first. While several processes
        write, each may exceed the cap by a sixteenth.

    Raises
    ------
    InputError
        If the folder cannot be made or the cap is not positive.
    """

    def __init__(self, folder: str | os.PathLike[str], max_mb: float = DEFAULT_STORE_MB) -> None:
        if not 0 < max_mb < math.inf:
            raise InputError(f"the cache folder needs a size above 0 MB, got {max_mb!r}")
        self.max_bytes = int(max_mb * 2**20)
        try:
            self.folder = Path(folder).expanduser()
            self.folder.mkdir(parents=True, exist_ok=True)
        except (OSError, RuntimeError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise InputError(
                f"the cache folder {os.fspath(folder)!r} cannot be made ({reason}); choose another"
            ) from error
        self._lock = threading.Lock()
        self._until_look = 0
        self._told: set[str] = set()

    def __len__(self) -> int:
        """Return the number of embeddings in the folder."""
        return len(self._entries())

    @property
    def nbytes(self) -> int:
        """Size of all embeddings in the folder."""
        return sum(size for _, size, _ in self._entries())

    @staticmethod
    def key(model_key: str, window: Window, frame: NDArray[Any]) -> str:
        """Return what names the embedding of a frame: a hash of all that it depends on.

        Parameters
        ----------
        model_key : str
            Weights and numerical form, as in `Segmenter.key`.
        window : Window
        frame : ndarray
            As it comes from the image, before the window is applied.

        Returns
        -------
        str
            64 hexadecimal digits.
        """
        facts = (
            _release(),
            model_key,
            *(float(value).hex() for value in window.values),
            frame.dtype.str,
            frame.shape,
        )
        digest = hashlib.sha256(repr(facts).encode())
        digest.update(np.ascontiguousarray(frame).view(np.uint8).data)
        return digest.hexdigest()

    def get(self, key: str, device: torch.device | str = "cpu") -> Embedding | None:
        """Read an embedding, which is then the most recently used one.

        Parameters
        ----------
        key : str
        device : torch.device or str
            Where its tensors shall be.

        Returns
        -------
        Embedding or None
            None if it is not there, cannot be read, or is damaged; a damaged file is removed.

        Raises
        ------
        DeviceError
            If the device cannot take it.
        """
        path = self._path(key)
        try:
            data = path.read_bytes()
        except OSError:
            return None
        unpacked = _unpack(data)
        if unpacked is None:
            self._drop_damaged(path)
            return None
        shape, levels = unpacked
        # A folder that can only be read keeps its times.
        with suppress(OSError):
            os.utime(path)
        try:
            features, *details = (level.to(device) for level in levels)
        except RuntimeError as error:
            raise DeviceError(f"{device}: cannot take a cached embedding: {error}") from error
        return Embedding(features, shape, tuple(details))

    def put(self, key: str, embedding: Embedding) -> None:
        """Write an embedding and make room for it; where that fails, warn once and go on."""
        data = _pack(embedding)
        if data is None or len(data) > self.max_bytes:
            return
        path = self._path(key)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with atomic_path(path, overwrite=True) as temporary:
                temporary.write_bytes(data)
        except (OSError, WriteError) as error:
            # Where another process has the file open, some systems refuse to replace it.
            if not path.exists():
                self._warn_unwritable(error)
            return
        with self._lock:
            self._until_look -= len(data)
            if self._until_look < 0:
                self._make_room()

    def clear(self) -> None:
        """Remove all embeddings from the folder; other files in it stay."""
        with self._lock:
            for _, _, path in self._entries():
                _remove(path)
            self._until_look = 0

    def _path(self, key: str) -> Path:
        return self.folder / key[:2] / f"{key}.safetensors"

    def _entries(self) -> list[tuple[float, int, Path]]:
        """Return time of last use, size and path of every embedding."""
        return [found for found in _files(self.folder) if _ENTRY.fullmatch(found[2].name)]

    def _make_room(self) -> None:
        entries, stale = [], time.time() - _STALE_SECONDS
        for used, size, path in _files(self.folder):
            if _ENTRY.fullmatch(path.name):
                entries.append((used, size, path))
            elif _TEMPORARY.fullmatch(path.name) and used < stale:
                _remove(path)
        total = sum(size for _, size, _ in entries)
        part = self.max_bytes // _LOOK_EVERY
        if total > self.max_bytes:
            # A part more than needed, or every further file would mean another look.
            for _, size, path in sorted(entries):
                _remove(path)
                total -= size
                if total <= self.max_bytes - part:
                    break
        self._until_look = min(part, self.max_bytes - total)

    def _drop_damaged(self, path: Path) -> None:
        _remove(path)
        if self._first_time("damaged"):
            _log.warning(
                "a damaged file was removed from the cache folder (%s); its frame is encoded again",
                path.name,
            )

    def _warn_unwritable(self, error: OSError | WriteError) -> None:
        if self._first_time("unwritable"):
            cause = error if isinstance(error, OSError) else error.__cause__
            # The message of the error names paths, which may name patients.
            reason = cause.strerror if isinstance(cause, OSError) else "no permission"
            warnings.warn(
                f"embeddings cannot be written to the cache folder ({reason}): segmentation goes "
                "on, but these frames will be encoded again next time; make room or choose another "
                "folder",
                stacklevel=3,
            )

    def _first_time(self, what: str) -> bool:
        with self._lock:
            first = what not in self._told
            self._told.add(what)
            return first


@cache
def _release() -> str:
    # Part of the keys, since another release may prepare frames in another way.
    return version("napari-medsam2")


def _files(folder: Path) -> Iterator[tuple[float, int, Path]]:
    """Find modification time, size and path of the files in the shards of a folder."""
    for shard in _scan(folder):
        if _SHARD.fullmatch(shard.name):
            for file in _scan(Path(shard.path)):
                try:
                    status = file.stat(follow_symlinks=False)
                except OSError:
                    continue
                yield status.st_mtime, status.st_size, Path(file.path)


def _scan(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:
        return []


def _remove(path: Path) -> None:
    # What is open in another process, or not ours to remove, stays.
    with suppress(OSError):
        path.unlink(missing_ok=True)


def _pack(embedding: Embedding) -> bytes | None:
    """Return the bytes of a file, None for an embedding that is not to be kept."""
    import torch
    from safetensors.torch import save

    if type(embedding) is not Embedding:
        return None
    tensors, orders = {}, []
    for number, level in enumerate((embedding.features, *embedding.details)):
        # In the order of its memory: with other strides, networks round in another way.
        order = sorted(range(level.ndim), key=level.stride, reverse=True)
        kept = level.detach().cpu().permute(order).contiguous()
        # The extremes are nan where any value is.
        if not bool(torch.stack(torch.aminmax(kept)).isfinite().all()):
            return None
        if kept.untyped_storage().nbytes() > kept.nbytes:
            # safetensors refuses tensors that share memory.
            kept = kept.clone()
        tensors[_LEVEL.format(number)] = kept
        orders += order
    tensors[_FACTS] = torch.tensor([*embedding.shape, *orders])
    tensors[_CHECKSUM] = torch.tensor(_checksum(tensors))
    return save(tensors)


def _unpack(data: bytes) -> tuple[tuple[int, int], list[torch.Tensor]] | None:
    """Return shape and tensors of what was packed, None if the bytes are not what they were."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(data)
        if int(tensors.pop(_CHECKSUM)) != _checksum(tensors):
            return None
        height, width, *orders = tensors.pop(_FACTS).tolist()
        levels = []
        for number in range(len(tensors)):
            kept = tensors[_LEVEL.format(number)]
            order, orders = orders[: kept.ndim], orders[kept.ndim :]
            levels.append(kept.permute([order.index(axis) for axis in range(kept.ndim)]))
    except (SafetensorError, KeyError, ValueError, RuntimeError, AssertionError):
        return None
    return (height, width), levels


def _checksum(tensors: dict[str, torch.Tensor]) -> int:
    """Return a checksum of names, types, shapes and values; safetensors itself has none."""
    import torch

    checksum = 0
    for name, tensor in sorted(tensors.items()):
        checksum = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), checksum)
        checksum = zlib.crc32(tensor.reshape(-1).view(torch.uint8).numpy().data, checksum)
    return checksum
