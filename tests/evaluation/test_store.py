"""Results survive a kill, and are not mixed with others."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from napari_medsam2.errors import InputError, ReadError
from napari_medsam2.evaluation.records import Record
from napari_medsam2.evaluation.store import ResultStore

if TYPE_CHECKING:
    from pathlib import Path

FACTS = {"seed": 0, "version": "1.2"}


def record(case: str = "a/../1", method: str = "litemedsam", **more: object) -> Record:
    about = {"dataset": "a", "modality": "CT", "kind": "3d", "split": "val"}
    asked = {"object_id": 1, "object_name": "", "protocol": "largest", "prompt": "box"}
    return Record(case=case, method=method, **{**about, **asked, **more})


def test_what_was_put_is_found_by_a_later_run(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "out", FACTS, resume=False)
    assert not store.has("a/../1", "litemedsam")
    store.put("a/../1", "litemedsam", [record(dice=0.5), record(object_id=2, dice=math.nan)])
    again = ResultStore(tmp_path / "out", FACTS, resume=True)
    assert again.has("a/../1", "litemedsam")
    assert not again.has("a/../1", "copy")
    assert [r.object_id for r in again.records()] == [1, 2]
    assert again.records()[0].dice == 0.5
    # Whatever a case is called, nothing is written elsewhere.
    assert {p.name for p in tmp_path.iterdir()} == {"out"}


def test_what_a_killed_run_was_writing_is_no_result(tmp_path: Path) -> None:
    store = ResultStore(tmp_path, FACTS, resume=False)
    store.put("a", "m", [record()])
    (tmp_path / "parts" / ".half-written.json").write_text('{"case": ')
    assert len(store.records()) == 1


def test_the_order_is_that_of_the_names(tmp_path: Path) -> None:
    store = ResultStore(tmp_path, FACTS, resume=True)
    for case, method in (("z", "m"), ("b", "n"), ("b", "m")):
        store.put(case, method, [record(case, method)])
    assert [(r.case, r.method) for r in store.records()] == [("b", "m"), ("b", "n"), ("z", "m")]


def test_results_are_not_gone_on_with_by_accident(tmp_path: Path) -> None:
    ResultStore(tmp_path, FACTS, resume=False)
    with pytest.raises(InputError, match="--resume"):
        ResultStore(tmp_path, FACTS, resume=False)


def test_results_of_other_settings_are_not_mixed_in(tmp_path: Path) -> None:
    ResultStore(tmp_path, FACTS, resume=False)
    with pytest.raises(InputError, match=r"with seed = 0, not 1"):
        ResultStore(tmp_path, {**FACTS, "seed": 1}, resume=True)


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    store = ResultStore(tmp_path, FACTS, resume=False)
    store.put("a", "m", [record()])
    (path,) = (tmp_path / "parts").iterdir()
    path.write_text("{}")
    with pytest.raises(ReadError, match=path.name):
        store.records()
