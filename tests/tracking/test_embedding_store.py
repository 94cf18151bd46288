"""Embeddings in a folder: exact, whole or not there, within their cap, whatever else happens."""

import errno
import json
import logging
import os
import signal
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from napari_medsam2.errors import InputError
from napari_medsam2.models.base import Embedding
from napari_medsam2.tracking.embedding_store import EmbeddingStore
from napari_medsam2.windows import Window

ROOT = Path(__file__).resolve().parents[2]


def key(n):
    return f"{n:064x}"


def embedding(seed=0, channels=256, dtype=torch.float16):
    """0.5 MiB in half precision."""
    features = torch.randn(channels, 32, 32, generator=torch.Generator().manual_seed(seed))
    return Embedding(features.to(dtype), (300, 200))


def files(folder):
    return sorted(p for p in folder.rglob("*") if p.is_file())


def run_python(code, *args, **options):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, args)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        **options,
    )


def finished(process):
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return out


def same(one, other):
    pairs = zip((one.features, *one.details), (other.features, *other.details), strict=True)
    return one.shape == other.shape and all(
        torch.equal(a, b) and a.dtype == b.dtype and a.stride() == b.stride() for a, b in pairs
    )


# What is read is what was written


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_an_embedding_comes_back_bit_by_bit_in_its_own_precision(tmp_path, dtype):
    written = Embedding(
        torch.randn(4, 8, 8).to(dtype),
        (300, 200),
        (torch.randn(2, 32, 32).to(dtype), torch.randn(3, 16, 16).to(dtype)),
    )
    EmbeddingStore(tmp_path).put(key(1), written)
    read = EmbeddingStore(tmp_path).get(key(1))
    assert type(read) is Embedding
    assert same(read, written)


def test_the_order_in_memory_comes_back_too(tmp_path):
    # Channels last, and a level that is a view into a larger tensor.
    levels = torch.randn(8, 9, 4).permute(2, 0, 1), torch.randn(5, 6, 7)[2:4]
    store = EmbeddingStore(tmp_path)
    store.put(key(1), Embedding(levels[0], (8, 9), (levels[1],)))
    assert same(store.get(key(1)), Embedding(levels[0], (8, 9), (levels[1],)))
    assert store.nbytes < 4 * (8 * 9 * 4 + 2 * 6 * 7) + 600


def test_half_precision_takes_two_bytes_a_value_and_fp32_four(tmp_path):
    for dtype, expected in ((torch.float16, 2**19), (torch.float32, 2**20)):
        store = EmbeddingStore(tmp_path / str(dtype))
        store.put(key(1), embedding(dtype=dtype))
        assert expected < store.nbytes < expected + 600


def test_large_features_of_fp32_are_not_cut_to_the_range_of_half_precision(tmp_path):
    store = EmbeddingStore(tmp_path)
    store.put(key(1), Embedding(torch.full((1, 2, 2), 1e20), (2, 2)))
    assert store.get(key(1)).features.max() == np.float32(1e20)


@pytest.mark.parametrize("value", [torch.inf, -torch.inf, torch.nan])
def test_an_embedding_that_is_not_finite_is_not_kept(tmp_path, value):
    features = torch.zeros(2, 4, 4, dtype=torch.float16)
    features[1, 2, 3] = value
    store = EmbeddingStore(tmp_path)
    store.put(key(1), Embedding(features, (4, 4)))
    store.put(key(2), Embedding(torch.zeros(2, 4, 4), (4, 4), (features,)))
    assert (len(store), files(tmp_path)) == (0, [])


def test_an_embedding_with_more_than_can_be_read_back_is_not_kept(tmp_path):
    @dataclass(frozen=True, eq=False)
    class Richer(Embedding):
        extra: str = "something"

    store = EmbeddingStore(tmp_path)
    store.put(key(1), Richer(torch.zeros(1, 2, 2), (2, 2)))
    assert store.get(key(1)) is None


def test_an_embedding_made_in_inference_mode_is_kept(tmp_path):
    store = EmbeddingStore(tmp_path)
    with torch.inference_mode():
        made = Embedding(torch.ones(1, 2, 2) * 3, (2, 2))
    store.put(key(1), made)
    assert same(store.get(key(1)), made)


# Keys


FRAME = np.arange(12, dtype=np.int16).reshape(3, 4)


def test_the_key_depends_on_model_window_and_every_bit_of_the_frame():
    keys = {
        EmbeddingStore.key("m-1", Window(0, 255), FRAME),
        EmbeddingStore.key("m-2", Window(0, 255), FRAME),
        EmbeddingStore.key("m-1", Window(0, 256), FRAME),
        EmbeddingStore.key("m-1", Window(-1, 255), FRAME),
        EmbeddingStore.key("m-1", Window(0, 255), FRAME + (FRAME == 11)),
        EmbeddingStore.key("m-1", Window(0, 255), FRAME.reshape(4, 3)),
        EmbeddingStore.key("m-1", Window(0, 255), FRAME.view(np.uint16)),
    }
    assert len(keys) == 7
    assert all(len(k) == 64 and set(k) <= set("0123456789abcdef") for k in keys)


def test_the_key_does_not_depend_on_how_the_frame_lies_in_memory():
    # As does the number in a window: 255 and 255.0 are the same intensity.
    plain = EmbeddingStore.key("m", Window(0, 255), FRAME)
    assert EmbeddingStore.key("m", Window(0.0, 255.0), np.asfortranarray(FRAME)) == plain
    assert EmbeddingStore.key("m", Window(0, 255), np.repeat(FRAME, 2, axis=1)[:, ::2]) == plain


@pytest.mark.parametrize("dtype", ["bool", "uint8", "float16", "float64", "longdouble"])
def test_frames_of_any_type_have_a_key(dtype):
    one, other = np.zeros((3, 4, 3), dtype), np.zeros((3, 4, 3), dtype)
    other[2, 3, 2] = 1
    assert EmbeddingStore.key("m", Window(0, 1), one) != EmbeddingStore.key(
        "m", Window(0, 1), other
    )


def test_files_say_nothing_but_numbers(tmp_path):
    store = EmbeddingStore(tmp_path)
    store.put(EmbeddingStore.key("m", Window(0, 1), FRAME), embedding())
    (file,) = files(tmp_path)
    name = file.name.removesuffix(".safetensors")
    assert file.parent.name == name[:2]
    assert file.parent.parent == tmp_path
    data = file.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert set(header) == {"level0", "facts", "crc32"}


# Damage


def spoiled(data, how):
    return {
        "empty": b"",
        "half a header": data[:20],
        "half the values": data[: len(data) // 2],
        "one byte short": data[:-1],
        "something else": b"PK\x03\x04" * 500,
        "one bit": data[:-1000] + bytes([data[-1000] ^ 1]) + data[-999:],
        "zeros, as after a power cut": data[:500] + bytes(len(data) - 500),
    }[how]


@pytest.mark.parametrize(
    "how",
    [
        "empty",
        "half a header",
        "half the values",
        "one byte short",
        "something else",
        "one bit",
        "zeros, as after a power cut",
    ],
)
def test_a_damaged_file_is_a_miss_and_goes(tmp_path, caplog, how):
    store = EmbeddingStore(tmp_path)
    for n in (1, 2):
        store.put(key(n), embedding(n))
    for file in files(tmp_path):
        file.write_bytes(spoiled(file.read_bytes(), how))
    with caplog.at_level(logging.WARNING):
        assert store.get(key(1)) is None
        assert store.get(key(2)) is None
    assert files(tmp_path) == []
    assert len(caplog.records) == 1
    assert "damaged" in caplog.text
    assert str(tmp_path) not in caplog.text
    store.put(key(1), embedding(1))
    assert same(store.get(key(1)), embedding(1))


KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from tests.tracking.test_embedding_store import embedding, key
from napari_medsam2.tracking.embedding_store import EmbeddingStore

def half(path, data):
    with path.open("wb") as file:
        file.write(data[:len(data) // 2])
        file.flush()
        os.kill(os.getpid(), signal.SIGKILL)

store = EmbeddingStore(sys.argv[1])
store.put(key(1), embedding(1))
Path.write_bytes = half
store.put(key(2), embedding(2))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_a_process_killed_while_writing_leaves_no_broken_entry(tmp_path):
    process = run_python(KILLED_WHILE_WRITING, tmp_path)
    process.communicate(timeout=120)
    assert process.returncode == -signal.SIGKILL
    store = EmbeddingStore(tmp_path)
    assert same(store.get(key(1)), embedding(1))
    assert store.get(key(2)) is None
    (left,) = set(files(tmp_path)) - {tmp_path / "00" / f"{key(1)}.safetensors"}
    assert left.stat().st_size > 0

    # It may belong to a process that is still writing; after an hour it does not.
    store.put(key(2), embedding(2))
    assert left.exists()
    os.utime(left, (time.time() - 3700,) * 2)
    EmbeddingStore(tmp_path).put(key(3), embedding(3))
    assert not left.exists()
    assert len(store) == 3


KILLED_AT_ANY_TIME = """
import sys
from itertools import count
from tests.tracking.test_embedding_store import embedding, key
from napari_medsam2.tracking.embedding_store import EmbeddingStore

store = EmbeddingStore(sys.argv[1], max_mb=20)
for n in count():
    store.put(key(n), embedding(n))
    print(n, flush=True)
"""


def test_whatever_a_killed_process_left_can_be_read(tmp_path):
    process = run_python(KILLED_AT_ANY_TIME, tmp_path)
    for line in process.stdout:
        if int(line) == 5:
            process.kill()
            break
    process.communicate(timeout=120)
    store = EmbeddingStore(tmp_path)
    entries = [p for p in files(tmp_path) if not p.name.startswith(".")]
    assert len(entries) >= 6
    for path in entries:
        name = path.name.removesuffix(".safetensors")
        assert same(store.get(name), embedding(int(name, 16)))


# Several processes


WRITER = """
import sys
from tests.tracking.test_embedding_store import embedding, key, same
from napari_medsam2.tracking.embedding_store import EmbeddingStore

store = EmbeddingStore(sys.argv[1], max_mb=float(sys.argv[2]))
print("ready", flush=True)
sys.stdin.readline()
found = 0
for n in range(30):
    # Both write the same entries at the same time, read what the other wrote, and make room.
    store.put(key(n % 20), embedding(n % 20))
    for m in range(n % 20):
        read = store.get(key(m))
        found += read is not None
        assert read is None or same(read, embedding(m)), m
print(found)
"""


@pytest.mark.parametrize("cap", [100, 3])
def test_two_processes_share_a_folder(tmp_path, cap):
    processes = [run_python(WRITER, tmp_path, cap, stdin=subprocess.PIPE) for _ in range(2)]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    assert all(int(finished(process)) > 0 for process in processes)
    store = EmbeddingStore(tmp_path, max_mb=cap)
    if cap == 100:
        assert len(store) == 20
    assert all(not p.name.startswith(".") for p in files(tmp_path))
    # Whatever both together left, the next write brings it under the cap.
    store.put(key(99), embedding(99))
    assert store.nbytes <= cap * 2**20


def test_what_another_process_takes_away_is_a_miss(tmp_path):
    store = EmbeddingStore(tmp_path, max_mb=1.2)
    store.put(key(1), embedding(1))
    other = EmbeddingStore(tmp_path)
    other.clear()
    assert store.get(key(1)) is None
    for n in (1, 2, 3):
        store.put(key(n), embedding(n))
    (tmp_path / "00").rename(tmp_path / "elsewhere")
    assert store.get(key(3)) is None
    store.put(key(4), embedding(4))
    assert len(store) == 1


# The cap


def test_the_embeddings_not_used_for_longest_go_first(tmp_path):
    store = EmbeddingStore(tmp_path, max_mb=2.2)
    for n in range(4):
        store.put(key(n), embedding(n))
    for n in range(4):
        path = tmp_path / "00" / f"{key(n)}.safetensors"
        os.utime(path, (time.time() - 1000 + n,) * 2)
    assert store.get(key(0)) is not None
    # Four of them fit, the fifth is one too many.
    assert len(store) == 4
    store.put(key(4), embedding(4))
    assert store.nbytes <= 2.2 * 2**20
    assert [n for n in range(5) if store.get(key(n)) is not None] == [0, 2, 3, 4]


def test_the_cap_holds_for_files_of_an_earlier_session(tmp_path):
    first = EmbeddingStore(tmp_path)
    for n in range(6):
        first.put(key(n), embedding(n))
    EmbeddingStore(tmp_path, max_mb=1.1).put(key(9), embedding(9))
    assert first.nbytes <= 1.1 * 2**20
    assert first.get(key(9)) is not None


def test_an_embedding_larger_than_the_cap_is_not_written(tmp_path):
    store = EmbeddingStore(tmp_path, max_mb=0.6)
    store.put(key(1), embedding(1))
    store.put(key(2), embedding(2, channels=512))
    assert store.get(key(1)) is not None
    assert store.get(key(2)) is None


def test_other_files_in_the_folder_are_neither_counted_nor_removed(tmp_path):
    others = [
        tmp_path / "image.nii.gz",
        tmp_path / "00" / "model.safetensors",
        tmp_path / "00" / ".hidden",
        tmp_path / "zz" / f"{key(7)}.safetensors",
    ]
    for path in others:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes(2**20))
        os.utime(path, (0, 0))
    store = EmbeddingStore(tmp_path, max_mb=0.6)
    for n in range(3):
        store.put(key(n), embedding(n))
    assert len(store) == 1
    store.clear()
    assert files(tmp_path) == sorted(others)


# Folders that cannot be written


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    file = tmp_path / "file"
    file.touch()
    for folder in (file, file / "inside", "bad\0name", "~no-such-user-of-this-computer/x"):
        with pytest.raises(InputError, match="cannot be made"):
            EmbeddingStore(folder)


@pytest.mark.parametrize("size", [0, -1, float("nan"), float("inf")])
def test_a_cap_that_is_no_size_is_refused(tmp_path, size):
    with pytest.raises(InputError, match="above 0 MB"):
        EmbeddingStore(tmp_path, max_mb=size)


def test_a_full_disk_is_told_once_and_nothing_else_happens(tmp_path, monkeypatch):
    store = EmbeddingStore(tmp_path)
    store.put(key(1), embedding(1))

    def full(path, data):
        path.open("wb").close()
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.warns(UserWarning, match=r"\(No space left on device\)") as told:
            store.put(key(2), embedding(2))
        store.put(key(3), embedding(3))
    assert len(told) == 1
    assert str(tmp_path) not in str(told[0].message)
    assert files(tmp_path) == [tmp_path / "00" / f"{key(1)}.safetensors"]
    # Once there is room again, it is used.
    store.put(key(2), embedding(2))
    assert same(store.get(key(2)), embedding(2))


@pytest.mark.skipif(
    sys.platform == "win32" or os.geteuid() == 0, reason="root may write everywhere"
)
def test_a_folder_that_can_only_be_read_is_read(tmp_path):
    EmbeddingStore(tmp_path).put(key(1), embedding(1))
    folders = (tmp_path / "00", tmp_path)
    try:
        for folder in folders:
            folder.chmod(0o555)
        store = EmbeddingStore(tmp_path)
        assert same(store.get(key(1)), embedding(1))
        with pytest.warns(UserWarning, match="cannot be written"):
            store.put(key(2), embedding(2))
        store.clear()
        assert len(store) == 1
    finally:
        for folder in folders:
            folder.chmod(0o755)


def test_a_folder_without_permission_to_write_is_read(tmp_path, monkeypatch):
    """As above, for those who run the tests as root."""
    store = EmbeddingStore(tmp_path)
    store.put(key(1), embedding(1))

    def refuse(*args, **options):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "access", lambda path, mode: mode != os.W_OK)
    monkeypatch.setattr(os, "utime", refuse)
    monkeypatch.setattr(Path, "unlink", refuse)
    assert same(store.get(key(1)), embedding(1))
    with pytest.warns(UserWarning, match=r"\(no permission\)"):
        store.put(key(2), embedding(2))
    store.clear()
    assert len(store) == 1


def test_a_file_that_another_process_holds_open_is_no_reason_to_warn(tmp_path, monkeypatch):
    """Windows refuses to replace a file that is open, with the embedding that was wanted."""
    store = EmbeddingStore(tmp_path)
    store.put(key(1), embedding(1))

    def refuse(*args):
        raise PermissionError(errno.EACCES, "in use")

    monkeypatch.setattr(os, "replace", refuse)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        store.put(key(1), embedding(1))
    assert len(files(tmp_path)) == 1
