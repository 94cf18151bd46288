"""Results on disk, as they come: what is done is not done again."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from napari_medsam2.errors import InputError, ReadError
from napari_medsam2.io.atomic import atomic_path

from .records import Record

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

__all__ = ["ResultStore"]

_FACTS = "facts.json"
# The one fact that may grow: each method's results depend on its own key and no other.
_GROWS = "methods"


class ResultStore:
    """A folder with one small file for each case and method.

    A file is written whole or not at all when its case is done, so that a killed run loses the
    cases that it was at.

    Parameters
    ----------
    folder : Path
    facts : dict
        What all results depend on: seed, versions, settings; and, as "methods", by the name of
        each method what its results depend on besides. A folder of other facts is refused, but
        methods that it does not have yet are added to those that it has.
    resume : bool
        Whether a folder that has results may be gone on with.

    Attributes
    ----------
    facts : dict
        Those of all results in the folder, of earlier runs too.

    Raises
    ------
    InputError
        If the folder has results and `resume` is false, or they depend on other facts.
    """

    def __init__(self, folder: Path, facts: dict[str, Any], *, resume: bool) -> None:
        self.folder = folder
        self._parts = folder / "parts"
        path = folder / _FACTS
        old = self._read(path, resume) if path.exists() else None
        self.facts = facts if old is None else _joined(old, facts, folder)
        if self.facts != old:
            folder.mkdir(parents=True, exist_ok=True)
            with atomic_path(path, overwrite=True) as temporary:
                temporary.write_text(json.dumps(self.facts, indent=2) + "\n", encoding="utf-8")
        self._parts.mkdir(exist_ok=True)

    def has(self, case: str, method: str) -> bool:
        """Whether a case is done by a method."""
        return self._path(case, method).exists()

    def count(self, cases: Iterable[str], method: str) -> int:
        """Return how many of some cases are done by a method."""
        return sum(self.has(case, method) for case in cases)

    def put(self, case: str, method: str, records: Sequence[Record]) -> None:
        """Keep all records of a case and a method."""
        plain = {"case": case, "method": method, "records": [r.to_json() for r in records]}
        with atomic_path(self._path(case, method), overwrite=True) as temporary:
            temporary.write_text(json.dumps(plain, allow_nan=False) + "\n", encoding="utf-8")

    def records(self) -> list[Record]:
        """Return all records that there are, in an order that does not depend on when they came.

        That is the order of protocols, prompts and methods in the facts, then the alphabet.

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
        asked = [list(self.facts.get(name, ())) for name in ("protocols", "prompts", _GROWS)]

        def place(record: Record) -> tuple[Any, ...]:
            names = record.protocol, record.prompt, record.method
            places = [
                order.index(name) if name in order else len(order)
                for order, name in zip(asked, names, strict=True)
            ]
            return (*places, *names, record.dataset, record.case, record.object_id)

        return sorted(found, key=place)

    def _path(self, case: str, method: str) -> Path:
        # Names of cases come from files: they never become paths.
        digest = hashlib.sha256(f"{case}\n{method}".encode()).hexdigest()
        return self._parts / f"{digest[:32]}.json"

    def _read(self, path: Path, resume: bool) -> dict[str, Any]:
        if not resume:
            raise InputError(
                f"{self.folder}: has results of an earlier run; go on with it (--resume), or "
                "choose another folder"
            )
        try:
            old = json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise ReadError(f"{path}: is damaged; choose another folder") from error
        if not isinstance(old, dict) or not isinstance(old.get(_GROWS, {}), dict):
            raise ReadError(f"{path}: is damaged; choose another folder")
        return old


def _joined(old: dict[str, Any], new: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Return the facts of both with the methods of both, the old ones first."""
    for name in sorted({*old, *new} - {_GROWS}):
        if old.get(name) != new.get(name):
            raise InputError(
                f"{folder}: its results were made with {name} = {old.get(name)!r}, not "
                f"{new.get(name)!r}; choose another folder"
            )
    had, asked = old.get(_GROWS, {}), new.get(_GROWS, {})
    for method in asked:
        if method in had and had[method] != asked[method]:
            raise InputError(
                f"{folder}: its results of {method} were made with {had[method]!r}, not "
                f"{asked[method]!r}; choose another folder"
            )
    # A folder of no methods stays one.
    return {**old, _GROWS: {**had, **asked}} if had or asked else old
