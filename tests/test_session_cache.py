"""What a session has encoded is not encoded again: later, backwards, or by another process."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.fakes import BrightModel, Seen

from napari_medsam2.errors import InputError
from napari_medsam2.models.base import Embedding
from napari_medsam2.session import Session

ROOT = Path(__file__).resolve().parents[1]
N = 8


class PlainModel(BrightModel):
    """A `BrightModel` whose embeddings are tensors alone, so that a folder can keep them."""

    key = "bright-plain-1"

    def embed(self, frame):
        seen = super().embed(frame)
        return Embedding(seen.features.half(), seen.shape)

    def decode(self, embedding, prompts):
        height, width = embedding.shape
        image = 255 * embedding.features[0, :height, :width].float().numpy()
        seen = Seen(embedding.features, embedding.shape, image=image)
        return super().decode(seen, prompts)


def two_blocks():
    """(8, 64, 64) with a block of its own for each of two objects; no two frames are alike."""
    image = np.zeros((N, 64, 64), np.uint8)
    image[:, 8:24, 8:24] = 200
    image[:, 40:56, 32:56] = 210
    return image + np.arange(N, dtype=np.uint8)[:, None, None]


def new_session(cache=None, image=None):
    image = two_blocks() if image is None else image
    session = Session(image, cache=cache, window=(0, 255))
    session.use_model(PlainModel())
    session.add_box(3, (6, 6, 26, 26), object_id=1)
    return session


def encoded(session):
    return len(session.model.embedded)


def truth(*objects):
    labels = np.zeros((N, 64, 64), np.uint16)
    if 1 in objects:
        labels[:, 8:24, 8:24] = 1
    if 2 in objects:
        labels[:, 40:56, 32:56] = 2
    return labels


@pytest.fixture
def propagated():
    session = new_session()
    list(session.propagate())
    assert encoded(session) == N
    np.testing.assert_array_equal(session.labels, truth(1))
    return session


def test_propagating_again_encodes_nothing(propagated):
    list(propagated.propagate())
    list(propagated.propagate("backward"))
    list(propagated.propagate("forward", start=2, stop=6))
    assert encoded(propagated) == N


def test_a_correction_encodes_nothing(propagated):
    propagated.add_box(5, (8, 8, 16, 24), object_id=1)
    propagated.segment(5)
    list(propagated.propagate())
    propagated.undo()
    list(propagated.propagate())
    assert encoded(propagated) == N


def test_a_further_object_encodes_nothing(propagated):
    propagated.add_box(6, (38, 30, 58, 58), object_id=2)
    list(propagated.propagate(object_ids=[2]))
    np.testing.assert_array_equal(propagated.labels, truth(1, 2))
    assert encoded(propagated) == N


def test_going_backwards_encodes_only_what_is_new():
    session = new_session()
    list(session.propagate("forward"))
    assert encoded(session) == 5
    list(session.propagate("backward"))
    assert encoded(session) == N


def test_replaying_encodes_nothing(propagated):
    np.testing.assert_array_equal(propagated.replay(), truth(1))
    assert encoded(propagated) == N


def test_a_cache_of_nothing_encodes_every_time():
    session = new_session(cache=0)
    list(session.propagate("forward"))
    before = encoded(session)
    list(session.propagate("forward"))
    assert encoded(session) == 2 * before


# A folder


def test_a_later_session_over_the_same_folder_encodes_nothing(tmp_path):
    first = new_session(tmp_path / "cache")
    list(first.propagate())
    assert encoded(first) == N
    later = new_session(str(tmp_path / "cache"))
    list(later.propagate())
    assert encoded(later) == 0
    np.testing.assert_array_equal(later.labels, truth(1))
    assert later.scores[1].tolist() == first.scores[1].tolist()


OTHER_PROCESS = """
import sys
import numpy as np
from tests.test_session_cache import encoded, new_session, truth

session = new_session(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
list(session.propagate())
assert np.array_equal(session.labels, truth(1))
print(encoded(session))
"""


def other_process(folder):
    process = subprocess.Popen(
        [sys.executable, "-W", "error::UserWarning", "-c", OTHER_PROCESS, str(folder)],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    return process


def encoded_by(process):
    out, err = process.communicate("go\n", timeout=120)
    assert process.returncode == 0, err
    return int(out)


def test_another_process_over_the_same_folder_encodes_nothing(tmp_path):
    session = new_session(tmp_path)
    list(session.propagate())
    assert encoded_by(other_process(tmp_path)) == 0


def test_two_processes_may_fill_the_same_folder_at_once(tmp_path):
    processes = [other_process(tmp_path) for _ in range(2)]
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        assert 0 <= encoded_by(process) <= N
    session = new_session(tmp_path)
    list(session.propagate())
    assert encoded(session) == 0
    np.testing.assert_array_equal(session.labels, truth(1))


def test_only_the_frames_that_changed_are_encoded_again(tmp_path):
    list(new_session(tmp_path).propagate())
    image = two_blocks()
    image[[0, 5], 63, 63] += 1
    session = new_session(tmp_path, image)
    list(session.propagate())
    assert encoded(session) == 2


def test_another_window_is_encoded_anew(tmp_path):
    list(new_session(tmp_path).propagate())
    session = Session(two_blocks(), cache=tmp_path, window=(0, 250))
    session.use_model(PlainModel())
    session.add_box(3, (6, 6, 26, 26))
    session.segment(3)
    assert encoded(session) == 1


def test_a_disk_that_fills_up_does_not_stop_a_propagation(tmp_path, monkeypatch):
    session, writes = new_session(tmp_path), []

    def full(path, data):
        writes.append(path)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.warns(UserWarning, match="No space left on device") as told:
        list(session.propagate())
    assert (len(told), len(writes), encoded(session)) == (1, N, N)
    np.testing.assert_array_equal(session.labels, truth(1))


def test_damaged_files_do_not_stop_a_propagation(tmp_path):
    list(new_session(tmp_path).propagate())
    for path in tmp_path.rglob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:-5])
    session = new_session(tmp_path)
    list(session.propagate())
    assert encoded(session) == N
    np.testing.assert_array_equal(session.labels, truth(1))
    assert len(session.cache.store) == N


def test_a_cache_that_cannot_be_is_refused(tmp_path):
    (tmp_path / "file").touch()
    for cache in (-1, float("nan"), tmp_path / "file", "", True, [1]):
        with pytest.raises(InputError, match="cache"):
            Session(two_blocks(), cache=cache)


def test_what_a_folder_keeps_answers_as_the_network_did(tmp_path, monkeypatch):
    """The real network, in both of its forms: labels and scores to the last digit."""
    from napari_medsam2.models.litemedsam import LiteMedSAM

    calls, embed = [], LiteMedSAM.embed
    monkeypatch.setattr(
        LiteMedSAM, "embed", lambda model, frame: calls.append(model) or embed(model, frame)
    )
    for precision in ("auto", "fp32"):
        sessions = []
        for cache in (None, tmp_path / precision, tmp_path / precision):
            session = Session(two_blocks()[:3], cache=cache, window=(0, 255), precision=precision)
            session.add_box(1, (6, 6, 26, 26))
            list(session.propagate())
            sessions.append(session)
        without, _, from_folder = sessions
        assert calls.count(without.model.base) == 3
        assert calls.count(from_folder.model.base) == 0
        assert without.labels.any()
        np.testing.assert_array_equal(from_folder.labels, without.labels)
        assert from_folder.scores[1].tolist() == without.scores[1].tolist()
