"""Results survive a kill, and are not mixed with others."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from tests.evaluation.common import facts

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


def test_the_order_is_that_in_which_it_was_asked(tmp_path: Path) -> None:
    asked = {"protocols": ["largest", "first"], "methods": {"n": "1", "m": "2"}}
    store = ResultStore(tmp_path, asked, resume=True)
    for case, method in (("z", "m"), ("b", "n"), ("b", "m"), ("z", "n")):
        many = [record(case, method, protocol=p) for p in ("clicks", "first", "largest")]
        store.put(case, method, many)
    assert [(r.protocol, r.method, r.case) for r in store.records()] == [
        (protocol, method, case)
        for protocol in ("largest", "first", "clicks")
        for method in ("n", "m")
        for case in ("b", "z")
    ]


def test_results_are_not_gone_on_with_by_accident(tmp_path: Path) -> None:
    ResultStore(tmp_path, FACTS, resume=False)
    with pytest.raises(InputError, match="--resume"):
        ResultStore(tmp_path, FACTS, resume=False)


def test_results_of_other_settings_are_not_mixed_in(tmp_path: Path) -> None:
    ResultStore(tmp_path, FACTS, resume=False)
    with pytest.raises(InputError, match=r"with seed = 0, not 1"):
        ResultStore(tmp_path, {**FACTS, "seed": 1}, resume=True)


def test_another_method_joins_those_that_are_there(tmp_path: Path) -> None:
    first = {**FACTS, "methods": {"litemedsam": "1a"}}
    ResultStore(tmp_path, first, resume=False).put("a", "litemedsam", [record("a")])
    asked = {**FACTS, "methods": {"copy": "2b"}}
    with pytest.raises(InputError, match="--resume"):
        ResultStore(tmp_path, asked, resume=False)
    store = ResultStore(tmp_path, asked, resume=True)
    store.put("a", "copy", [record("a", "copy")])
    both = {"litemedsam": "1a", "copy": "2b"}
    assert store.facts["methods"] == facts(tmp_path)["methods"] == both
    assert store.facts["seed"] == 0
    # Whichever are asked for now, the folder keeps what it has.
    again = ResultStore(tmp_path, first, resume=True)
    assert again.facts["methods"] == facts(tmp_path)["methods"] == both
    assert [r.method for r in again.records()] == ["litemedsam", "copy"]
    assert again.count(["a", "b"], "copy") == 1


def test_a_method_that_changed_does_not_join_itself(tmp_path: Path) -> None:
    first = {**FACTS, "methods": {"litemedsam": "1a", "copy": "2b"}}
    ResultStore(tmp_path, first, resume=False)
    changed = {**FACTS, "methods": {"box-chain": "4d", "copy": "3c"}}
    with pytest.raises(InputError, match=r"results of copy were made with '2b', not '3c'"):
        ResultStore(tmp_path, changed, resume=True)
    other_seed = {**FACTS, "seed": 1, "methods": {"box-chain": "4d"}}
    with pytest.raises(InputError, match="with seed = 0, not 1"):
        ResultStore(tmp_path, other_seed, resume=True)
    # What was refused left no trace.
    assert facts(tmp_path) == first


@pytest.mark.parametrize("text", ["{", "[]", '{"methods": []}'])
def test_damaged_facts_are_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "facts.json").write_text(text)
    with pytest.raises(ReadError, match=r"facts\.json: is damaged"):
        ResultStore(tmp_path, FACTS, resume=True)


def test_a_damaged_result_is_named(tmp_path: Path) -> None:
    store = ResultStore(tmp_path, FACTS, resume=False)
    store.put("a", "m", [record()])
    (path,) = (tmp_path / "parts").iterdir()
    path.write_text("{}")
    with pytest.raises(ReadError, match=path.name):
        store.records()
