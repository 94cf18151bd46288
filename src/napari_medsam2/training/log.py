"""The log of a run: a table that anything can read, and a picture of it."""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from napari_medsam2.io.atomic import atomic_path

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Log"]

_COLUMNS = ("step", "rate", "name", "value")


class Log:
    """A CSV file of (step, rate, name, value): losses by name, scores as "val NAME".

    Parameters
    ----------
    path : Path
        Made when there is something to write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(
        self, step: int, rate: float, losses: Mapping[str, float], scores: Mapping[str, float]
    ) -> None:
        """Add what a step came to."""
        begun = self.path.exists()
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            if not begun:
                writer.writerow(_COLUMNS)
            named = [*losses.items(), *((f"val {name}", v) for name, v in scores.items())]
            writer.writerows((step, f"{rate:.3g}", name, f"{value:.6g}") for name, value in named)

    def read(self) -> dict[str, list[tuple[int, float]]]:
        """Return the values by name, each with its step."""
        found: dict[str, list[tuple[int, float]]] = {}
        if not self.path.exists():
            return found
        with self.path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row["value"]:  # a killed run may have left half a line
                    found.setdefault(row["name"], []).append(
                        (int(row["step"]), float(row["value"]))
                    )
        return found

    def cut(self, step: int) -> None:
        """Forget what came after a step: a resumed run writes it again."""
        if not self.path.exists():
            return
        with self.path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.reader(file) if len(row) == len(_COLUMNS)]
        kept = [row for row in rows if row[0] == _COLUMNS[0] or int(row[0]) <= step]
        with (
            atomic_path(self.path, overwrite=True) as temporary,
            temporary.open("w", newline="", encoding="utf-8") as file,
        ):
            csv.writer(file).writerows(kept)
