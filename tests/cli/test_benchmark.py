"""`benchmark` on small cases, as a user runs it."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from tests.cli.common import call, one_line
from tests.evaluation.common import write_cases

if TYPE_CHECKING:
    from pathlib import Path

ASKED = ("--protocols", "frames,largest", "--prompts", "box,mask")


def test_a_report_of_a_baseline_and_the_default_model(tmp_path: Path) -> None:
    manifest, out = write_cases(tmp_path, ("one",)), tmp_path / "out"
    models = ("--models", "litemedsam,copy")
    result = call("benchmark", manifest, "--output", out, *models, *ASKED)
    assert result.exit_code == 0, result.stderr
    assert {p.name for p in out.iterdir()} >= {"results.csv", "report.md", "report.html"}
    rows = list(csv.DictReader((out / "results.csv").read_text().splitlines()))
    found = {(r["method"], r["protocol"], r["prompt"]): float(r["dice"]) for r in rows}
    assert found["copy", "frames", "mask"] == 1
    assert found["litemedsam", "frames", "box"] > 0.75
    assert 0 < found["copy", "largest", "mask"] < 1
    page = (out / "report.html").read_text()
    assert "data:image/png;base64," in page
    assert "litemedsam-79d8c9dca6db4d69" in page


def test_it_goes_on_where_it_stopped(tmp_path: Path) -> None:
    manifest, out = write_cases(tmp_path), tmp_path / "out"
    asked = (manifest, "--output", out, "--models", "random-walker", *ASKED)
    assert call("benchmark", *asked).exit_code == 0
    assert "--resume" in one_line(call("benchmark", *asked))
    again = call("benchmark", *asked, "--resume")
    assert again.exit_code == 0
    assert "evaluating" not in again.stderr
    said = one_line(call("benchmark", *asked, "--resume", "--seed", "3"))
    assert "with seed = 0, not 3" in said


def test_a_further_model_joins_the_report(tmp_path: Path) -> None:
    manifest, out = write_cases(tmp_path), tmp_path / "out"
    asked = ("benchmark", manifest, "--output", out, *ASKED)
    assert call(*asked, "--models", "random-walker").exit_code == 0
    assert call(*asked, "--models", "copy", "--resume").exit_code == 0
    rows = list(csv.DictReader((out / "results.csv").read_text().splitlines()))
    assert {r["method"] for r in rows} == {"random-walker", "copy"}
    page = (out / "report.html").read_text()
    assert "random-walker: random-walker auto\ncopy: copy litemedsam-" in page
    assert "Methods on the same objects" in page


def test_what_cannot_be_done_is_said_first(tmp_path: Path) -> None:
    manifest, out = write_cases(tmp_path), tmp_path / "out"
    asked = ("benchmark", manifest, "--output", out)
    assert "unknown protocol 'best'" in one_line(call(*asked, "--protocols", "best"))
    assert "unknown model 'sam9'" in one_line(call(*asked, "--models", "sam9"))
    assert "--splits" in one_line(call(*asked, "--splits", ","))
    assert not out.exists()
