"""Calling the command line in process, and reading what it said."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

import numpy as np
from typer.testing import CliRunner

from napari_medsam2.cli import app

if TYPE_CHECKING:
    from pathlib import Path


FRAMES, HEIGHT, WIDTH = 5, 64, 64
# Around the left square (rows 10 to 20, columns 8 to 18) and the right one (12 to 24, 30 to 44).
LEFT_BOX, RIGHT_BOX = "2,8,6,22,20", "1,10,28,26,46"


def squares() -> np.ndarray:
    """Return two bright squares that stay where they are, on a dark ground."""
    image = np.full((FRAMES, HEIGHT, WIDTH), 20, np.uint8)
    image[:, 10:20, 8:18] = 220
    image[:, 12:24, 30:44] = 200
    return image


def call(*args: object, env: dict[str, str] | None = None):
    return CliRunner(env=env).invoke(app, [str(a) for a in args], prog_name="napari-medsam2")


def one_line(result) -> str:
    """Return what was said on stderr, having checked that it is bad use told in one line."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    return result.stderr.strip()


def segment(image: Path, *args: object, output: str = "labels.npy"):
    options = ("--window", "0,255", *args)
    return call("segment", image, "--output", image.parent / output, *options)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
