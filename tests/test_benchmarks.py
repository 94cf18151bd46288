"""The benchmarks of SAM 2 run, and print what they promise. Speed is not judged here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).resolve().parents[1] / "benchmarks"
SMALL = ("--image-size", "128")

pytestmark = pytest.mark.slow


def run(script: str, *arguments: str, fails: bool = False) -> list[list[str]]:
    """Return the words of every line that a benchmark prints."""
    command = [sys.executable, str(BENCHMARKS / script), *SMALL, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == fails, done.stderr
    return [line.split() for line in done.stdout.splitlines()]


def starting(lines: list[list[str]], *words: str) -> list[str]:
    """Return the line that starts with some words, without them."""
    (found,) = [line for line in lines if tuple(line[: len(words)]) == words]
    return found[len(words) :]


def test_against_reference() -> None:
    options = ("--frames", "3", "--chunk", "1", "--objects", "1", "2", "--precision", "fp32")
    lines = run("against_reference.py", *options)
    assert "ratio" in starting(lines, "click")
    for objects in ("1", "2"):
        for name in ("first", "again"):
            *speed, mean, worst, inside = starting(lines, objects, name)
            assert len(speed) == 6
            assert all(float(number) > 0 for number in speed)
            assert 0.99 < float(worst) <= float(mean) <= 1
            assert 0 < int(inside.rstrip("%")) < 100
    weighed = lines[next(i for i, line in enumerate(lines) if line[:2] == ["MB", "a"]) + 2 :]
    assert [line[0] for line in weighed[:2]] == ["1", "2"]
    # Three planes of 128 x 128 in fp32.
    assert [line[2] for line in weighed[:2]] == ["0.20", "0.20"]


def test_against_reference_needs_two_frames() -> None:
    command = [sys.executable, str(BENCHMARKS / "against_reference.py"), "--frames", "1"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 2
    assert "at least 2" in done.stderr


@pytest.mark.parametrize(("limit", "exceeds"), [("500", False), ("-10000", True)])
def test_memory_bound(limit: str, exceeds: bool) -> None:
    lines = run("memory_bound.py", "--frames", "2", "4", f"--limit-mb={limit}", fails=exceeds)
    for frames in ("2", "4"):
        peak, held = (float(starting(lines, frames, "frames")[i]) for i in (1, 6))
        assert peak > 0.9 * held > 100
    assert starting(lines, "difference")
    assert starting(lines, "limit") == [f"{float(limit):.1f}", "MB"]


def test_precision(tmp_path: Path) -> None:
    """Without real images, on those that come with the package."""
    lines = run("precision.py", "--frames", "3", "--data", str(tmp_path))
    for name in ("phantom", "cells", "echocardiogram", "all"):
        masks, mean, worst, inside = starting(lines, name)
        assert masks == ("9" if name == "all" else "3")
        assert 0.5 < float(worst) <= float(mean) <= 1
        assert 0 < int(inside.rstrip("%")) < 100
