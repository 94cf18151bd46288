"""Model folders among the methods that are compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.own_models import few_bytes

from napari_medsam2.errors import InputError, ModelError
from napari_medsam2.evaluation.methods import ModelOptions, make_method

if TYPE_CHECKING:
    from pathlib import Path


def test_a_model_folder_is_shown_by_its_name(tmp_path: Path) -> None:
    card = few_bytes(tmp_path / "runs" / "livers")
    method = make_method(card.name, ModelOptions())
    assert method.name == "livers"
    assert method.prompts == ("box",)


def test_its_name_may_hold_an_equals_sign(tmp_path: Path) -> None:
    few_bytes(tmp_path / "rate=0.001")
    method = make_method(str(tmp_path / "rate=0.001"), ModelOptions())
    assert method.name == "rate=0.001"


def test_a_relative_path_and_other_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    few_bytes(tmp_path / "livers")
    (tmp_path / "w.pt").write_bytes(b"w")
    monkeypatch.chdir(tmp_path)
    assert make_method("./livers", ModelOptions()).name == "livers"
    assert make_method("./livers=w.pt", ModelOptions()).name == "livers (w.pt)"
    with pytest.raises(InputError, match=r"there is no file gone\.pt"):
        make_method("./livers=gone.pt", ModelOptions())
    with pytest.raises(ModelError, match="there is no such folder"):
        make_method("./gone", ModelOptions())
