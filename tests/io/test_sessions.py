"""The files of a session: whole at any moment, and nobody else's are touched."""

from __future__ import annotations

import json
import os
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.fakes import BrightModel

from napari_medsam2.io import sessions
from napari_medsam2.session import Session

if TYPE_CHECKING:
    from pathlib import Path

IMAGE = np.zeros((3, 40, 64), np.uint8)
IMAGE[:, 10:30, 4:20] = 200
MASK = IMAGE[0] > 0


def masked(mask: np.ndarray = MASK) -> Session:
    session = Session(IMAGE, window=(0, 255))
    session.use_model(BrightModel())
    session.add_mask(1, mask, 1)
    session.add_box(1, (8, 2, 32, 22), 2)
    list(session.propagate(object_ids=[2]))
    return session


def names(folder: Path) -> list[str]:
    return sorted(re.sub(r"-[0-9a-f]{10}", "-TOKEN", p.name) for p in folder.iterdir())


WHOLE = ["case.json", "case.labels-TOKEN.tif", "case.masks-TOKEN.npz"]


def test_masks_and_labels_are_files_of_this_write_alone(tmp_path):
    path = masked().save(tmp_path / "case.json")
    assert names(tmp_path) == WHOLE
    before = {p.name for p in tmp_path.iterdir()}
    masked(~MASK).save(path)
    assert names(tmp_path) == WHOLE
    assert {p.name for p in tmp_path.iterdir()} & before == {"case.json"}
    np.testing.assert_array_equal(Session.load(path, IMAGE).prompts[1].prompts[0].mask, ~MASK)


def test_a_crash_before_the_last_file_leaves_the_old_masks(tmp_path, monkeypatch):
    path = masked().save(tmp_path / "case.json")
    replace = os.replace

    def crash(source, target):
        if str(target).endswith(".json"):
            raise KeyboardInterrupt
        replace(source, target)

    monkeypatch.setattr("os.replace", crash)
    with pytest.raises(KeyboardInterrupt):
        masked(~MASK).save(path)
    monkeypatch.undo()
    np.testing.assert_array_equal(Session.load(path, IMAGE).prompts[1].prompts[0].mask, MASK)


def test_an_error_leaves_no_new_files(tmp_path, monkeypatch):
    path = masked().save(tmp_path / "case.json")
    before = sorted(tmp_path.iterdir())

    def fail(content):
        raise ValueError("nan")

    monkeypatch.setattr("napari_medsam2.io.prompts.dump", fail)
    with pytest.raises(Exception, match="JSON cannot express"):
        masked(~MASK).save(path)
    assert sorted(tmp_path.iterdir()) == before


def test_two_programs_that_write_at_once_leave_one_whole_session(tmp_path, monkeypatch):
    path = masked().save(tmp_path / "case.json")
    write = sessions.write_document

    def meanwhile(*args, **kwargs):
        monkeypatch.undo()
        masked(~MASK).save(path)
        return write(*args, **kwargs)

    monkeypatch.setattr(sessions, "write_document", meanwhile)
    masked().save(path)
    loaded = Session.load(path, IMAGE)
    np.testing.assert_array_equal(loaded.prompts[1].prompts[0].mask, MASK)
    assert loaded.labels.any()


def test_files_that_a_crash_has_left_go_once_nobody_can_be_writing_them(tmp_path):
    path = masked().save(tmp_path / "case.json")
    stale, fresh = (tmp_path / f"case.labels-{c * 10}.tif" for c in "ab")
    other = tmp_path / "other.labels-0123456789.tif"
    for file in (stale, fresh, other):
        file.write_bytes(b"")
    for file in (stale, other):
        os.utime(file, (0, 0))
    masked().save(path)
    assert not stale.exists()
    assert fresh.exists()
    assert other.exists()


def test_older_sessions_keep_their_masks_until_they_are_written_anew(tmp_path):
    path = masked().save(tmp_path / "case.json")
    (masks,) = tmp_path.glob("*.npz")
    masks.rename(tmp_path / "case.masks.npz")
    path.write_text(path.read_text().replace(masks.name, "case.masks.npz"))
    loaded = Session.load(path, IMAGE)
    np.testing.assert_array_equal(loaded.prompts[1].prompts[0].mask, MASK)
    loaded.save(path)
    assert names(tmp_path) == WHOLE


def test_masks_of_plain_prompts_are_not_taken_for_ours(tmp_path):
    path = tmp_path / "case.json"
    np.savez(tmp_path / "case.masks.npz", mask=MASK)
    entry = {"id": 1, "prompts": [{"type": "mask", "frame": 0, "file": "case.masks.npz"}]}
    path.write_text(json.dumps({"version": 1, "objects": [entry]}))
    masked().save(path)
    assert (tmp_path / "case.masks.npz").exists()
