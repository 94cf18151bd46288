"""Small cases with truth, as files: bright squares that move over dark frames."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path


def moving_square(n: int = 5, shift: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Return image (n, 48, 56) and labels: a square on all frames but the last."""
    rng = np.random.default_rng(0)
    image = rng.integers(20, 40, (n, 48, 56), dtype=np.uint8)
    labels = np.zeros(image.shape, np.uint8)
    for frame in range(n - 1):
        where = frame, slice(12, 28), slice(10 + shift * frame, 26 + shift * frame)
        image[where] += 160
        labels[where] = 3
    return image, labels


def write_cases(folder: Path, names: tuple[str, ...] = ("one", "two")) -> Path:
    """Write cases of a 3D data set and return the manifest."""
    rows = ["image\tlabels\tobjects\tkind\tdataset\tcase\tsplit\tmodality\tspacing"]
    for shift, name in enumerate(names):
        image, labels = moving_square(shift=shift)
        np.save(folder / f"{name}_image.npy", image)
        np.save(folder / f"{name}_labels.npy", labels)
        row = (f"{name}_image.npy", f"{name}_labels.npy", "3:square", "3d", "squares", name)
        rows.append("\t".join((*row, "val", "synthetic", "2,1,1")))
    path = folder / "manifest.tsv"
    path.write_text("\n".join(rows) + "\n")
    return path


def facts(folder: Path) -> dict:
    return json.loads((folder / "facts.json").read_text())
