"""Results on disk, as they come: what is done is not done again."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from napari_medsam2.errors import InputError, ReadError
from napari_medsam2.io.atomic import atomic_path

from .records import Record

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["ResultStore"]

_FACTS = "facts.json"


class ResultStore:
    """A folder with one small file for each case and method.

    A file is written whole or not at all when its case is done, so that a killed run loses the
    cases that it was at.

    Parameters
    ----------
    folder : Path
    facts : dict
        What all results depend on: seed, versions, settings. A folder of other facts is refused.
    resume : bool
        Whether a folder that has results may be gone on with.

    Raises
    ------
    InputError
        If the folder has results and `resume` is false, or they depend on other facts.
    """

    def __init__(self, folder: Path, facts: dict[str, Any], *, resume: bool) -> None:
        self.folder = folder
        self._parts = folder / "parts"
        self.facts = facts
        old = folder / _FACTS
        if old.exists():
            self._check(old, resume)
        else:
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(old, overwrite=True) as temporary:
                temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        self._parts.mkdir(exist_ok=True)

    def has(self, case: str, method: str) -> bool:
        """Whether a case is done by a method."""
        return self._path(case, method).exists()

    def put(self, case: str, method: str, records: Sequence[Record]) -> None:
        """Keep all records of a case and a method."""
        plain = {"case": case, "method": method, "records": [r.to_json() for r in records]}
        with atomic_path(self._path(case, method), overwrite=True) as temporary:
            temporary.write_text(json.dumps(plain, allow_nan=False) + "\n", encoding="utf-8")

    def records(self) -> list[Record]:
        """Return all records that there are, in an order that does not depend on when they came.

        Raises
        ------
        ReadError
            For a file that was altered.
        """
        found = []
        # A name with a dot is what a killed run was writing.
        for path in sorted(self._parts.glob("[!.]*.json")):
            try:
                plain = json.loads(path.read_text(encoding="utf-8"))
                found += [Record.from_json(record) for record in plain["records"]]
            except (ValueError, KeyError, TypeError) as error:
                raise ReadError(f"{path}: is no result of a benchmark; delete it") from error
        key = ("dataset", "case", "object_id", "protocol", "prompt", "method")
        return sorted(found, key=lambda r: tuple(getattr(r, name) for name in key))

    def _path(self, case: str, method: str) -> Path:
        # Names of cases come from files: they never become paths.
        digest = hashlib.sha256(f"{case}\n{method}".encode()).hexdigest()
        return self._parts / f"{digest[:32]}.json"

    def _check(self, path: Path, resume: bool) -> None:
        if not resume:
            raise InputError(
                f"{self.folder}: has results of an earlier run; go on with it (--resume), or "
                "choose another folder"
            )
        try:
            old = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ReadError(f"{path}: is damaged; choose another folder") from error
        for name in sorted({*old, *self.facts}):
            if old.get(name) != self.facts.get(name):
                raise InputError(
                    f"{self.folder}: its results were made with {name} = {old.get(name)!r}, not "
                    f"{self.facts.get(name)!r}; choose another folder"
                )
