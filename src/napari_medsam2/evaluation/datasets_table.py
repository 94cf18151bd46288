"""Manifests: tables (.tsv, .csv) and .json files that list images with their labels.

A manifest may come from somebody else, so its paths are not trusted: a relative one stays in the
folder of the manifest. An absolute path is taken as it stands, for there its writer has said
plainly which file is meant.
"""

from __future__ import annotations

import csv
import math
import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from napari_medsam2.errors import ReadError
from napari_medsam2.io.json_text import Node, read_object

from .datasets_case import Draft
from .datasets_folders import pair_case
from .datasets_npz import npz_case

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .datasets_case import Case

__all__ = ["json_manifest", "table_manifest"]

_COLUMNS = (
    *("image", "labels", "path", "objects", "evaluate", "labelled_frames", "modality", "kind"),
    *("spacing", "axes", "split", "subject", "dataset", "case"),
)
# What the tables of prepared collections say besides, for people to read.
_NOTES = ("shape", "n_labelled_frames", "n_object_frames", "gt_kind", "licence", "note")
_KINDS = ("2d", "3d", "video")
_VERSION = 1
_UNIT = re.compile(r"\s*(mm|um|µm|nm|px)$", re.IGNORECASE)


@dataclass(frozen=True)
class _Row:
    """The fields of one case as they stand in the manifest, and where that is."""

    values: Mapping[str, Any]
    document: str
    # Such as "line 3, column {}" or "cases[2].{}".
    place: str
    folder: Path

    def error(self, column: str, problem: str) -> ReadError:
        return ReadError(f"{self.document}: {self.place.format(repr(column))}: {problem}")

    def text(self, column: str) -> str:
        value = self.values.get(column)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.error(column, f"must be text, got {value!r}")
        return value.strip()

    def file(self, column: str) -> Path:
        """Return the path in a column, which must be there, allowed and exist."""
        text = self.text(column)
        if not text or "\0" in text:
            raise self.error(column, "must be the path of a file")
        if ".." in (*PurePosixPath(text).parts, *PureWindowsPath(text).parts):
            raise self.error(
                column,
                f"{text!r} leads out of the folder of the manifest; move the manifest above its "
                "files, or write an absolute path without '..'",
            )
        path = self.folder / text
        try:
            there = path.exists()
        except OSError as error:
            raise self.error(column, f"{text[:200]!r} is no usable path ({error})") from error
        if not there:
            raise self.error(column, f"there is no file {path}")
        return path

    def kind(self) -> str:
        kind = self.text("kind").lower()
        if kind and kind not in _KINDS:
            raise self.error("kind", f"must be one of {', '.join(_KINDS)}, got {kind!r}")
        return kind

    def objects(self) -> dict[int, str] | None:
        """Return the label values worth scoring and their names, None if not stated."""
        column = "objects" if self.values.get("objects") else "evaluate"
        value = self.values.get(column)
        if not value:
            return None
        if isinstance(value, str):
            # Names may hold commas: only one before a number ends an entry.
            pairs = [
                part.partition(":")[::2] for part in re.split(r",(?=\s*\d+\s*(?::|,|$))", value)
            ]
        elif isinstance(value, dict):
            pairs = list(value.items())
        else:
            pairs = [(i, "") for i in value] if isinstance(value, list) else [("", "")]
        objects = {}
        for key, name in pairs:
            number = _whole(key)
            if number is None or number < 1 or number in objects or not isinstance(name, str):
                raise self.error(
                    column,
                    f"must be different label values from 1 with their names, as in "
                    f"1:liver,2:spleen or 1,2; got {value!r}",
                )
            objects[number] = name.strip()
        return objects

    def frames(self) -> tuple[int, ...] | None:
        """Return the labelled frames, None if not stated: 3,5-9 or a list."""
        value = self.values.get("labelled_frames")
        if value is None or value == "":
            return None
        frames: set[int] = set()
        parts = value.split(",") if isinstance(value, str) else value
        for part in parts if isinstance(parts, list) else [""]:
            first, dash, last = str(part).strip().partition("-")
            start, stop = _whole(first), _whole(last if dash else first)
            if start is None or stop is None or stop < start or stop > 10**6:
                raise self.error(
                    "labelled_frames", f"must be frames from 0, as in 3,5-9; got {value!r}"
                )
            frames.update(range(start, stop + 1))
        if not frames:
            raise self.error("labelled_frames", "names no frame; leave it out if all are labelled")
        return tuple(sorted(frames))

    def spacing(self) -> tuple[tuple[float, ...] | None, str]:
        """Return the spacing (nan where unknown) and its unit: 5,0.8,0.8 mm."""
        value = self.values.get("spacing")
        if value is None or value == "":
            return None, ""
        if isinstance(value, list):
            value = ",".join(map(str, value))
        text = str(value).strip()
        found = _UNIT.search(text)
        unit = found[1].lower().replace("µ", "u") if found else "mm"
        try:
            numbers = [float(part) for part in _UNIT.sub("", text).split(",")]
        except ValueError:
            numbers = []
        # nan is an unknown size, as in the tables of prepared collections.
        positive = all(math.isnan(n) or 0 < n < math.inf for n in numbers)
        if len(numbers) not in (2, 3) or not positive:
            raise self.error(
                "spacing",
                f"must be (frame,) y and x in mm, um, nm or px, as in 5,0.8,0.8 mm; got {value!r}",
            )
        return tuple(numbers), unit


def table_manifest(path: Path) -> list[Draft]:
    """Return the cases of a table with a header line.

    Parameters
    ----------
    path : Path
        Separated by tabs, or by commas if it ends in .csv. A row has either image and labels, two
        files of any format that `io.read` knows, or path, an .npz file with both. Further columns,
        each of which may be missing or empty: objects (or evaluate), labelled_frames, modality,
        kind, spacing and axes (of image and labels; an .npz states its own), split, subject,
        dataset, case.

    Raises
    ------
    ReadError
        With line and column, for what cannot be understood.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            delimiter = "," if path.suffix.lower() == ".csv" else "\t"
            reader = csv.reader(file, delimiter=delimiter, strict=True)
            lines = [(reader.line_num, cells) for cells in reader if any(c.strip() for c in cells)]
    except UnicodeDecodeError as error:
        raise ReadError(f"{path.name}: is no text, so no table of cases") from error
    except csv.Error as error:
        raise ReadError(f"{path.name}: line {reader.line_num}: {error}") from error
    except OSError as error:
        raise ReadError(f"{path.name}: cannot be opened ({error.strerror})") from error
    if not lines:
        raise ReadError(f"{path.name}: is empty; its first line names the columns")
    header = [name.strip() for name in lines[0][1]]
    _check_columns(header, f"{path.name}: line {lines[0][0]}")
    drafts = []
    for number, cells in lines[1:]:
        if len(cells) != len(header):
            raise ReadError(
                f"{path.name}: line {number}: has {len(cells)} columns, the header {len(header)}"
            )
        values = dict(zip(header, cells, strict=True))
        drafts.append(_draft(_Row(values, path.name, f"line {number}, column {{}}", path.parent)))
    return drafts


def json_manifest(path: Path) -> list[Draft]:
    """Return the cases of a JSON manifest.

    Parameters
    ----------
    path : Path
        ``{"version": 1, "cases": [{"image": ..., "labels": ..., ...}]}`` with the fields of
        `table_manifest`; objects may be {"1": "liver"} or [1, 2], spacing and labelled_frames
        lists.

    Raises
    ------
    ReadError
        With the place in the document, for what cannot be understood.
    """
    top = Node(read_object(path), "", path.name)
    top.keys(("version", "cases"))
    if top.get("version").integer() != _VERSION:
        raise top.get("version").error(f"must be {_VERSION}")
    drafts = []
    for node in top.get("cases").items():
        node.keys((), (*_COLUMNS, *_NOTES))
        drafts.append(_draft(_Row(node.mapping(), path.name, f"{node.where}, {{}}", path.parent)))
    return drafts


def _draft(row: _Row) -> Draft:
    both = bool(row.text("image")) + bool(row.text("labels"))
    if bool(row.text("path")) == bool(both) or both == 1:
        column = "path" if both == 2 else "labels" if row.text("image") else "image"
        raise row.error(column, "a case has either image and labels, or path (an .npz with both)")
    dataset = row.text("dataset") or row.folder.resolve().name
    return Draft(dataset, row.text("split"), partial(_build, row, dataset))


def _build(row: _Row, dataset: str) -> Case:
    spacing, unit = row.spacing()
    stated: dict[str, Any] = {
        "modality": row.text("modality"),
        "kind": row.kind(),
        "split": row.text("split"),
        "subject": row.text("subject"),
        "objects": row.objects(),
        "labelled_frames": row.frames(),
        "case": row.text("case"),
    }
    column = "path" if row.text("path") else "image"
    path = row.file(column)
    try:
        if column == "path":
            return npz_case(path, dataset=dataset, stated={**stated, "dataset": dataset})
        stated |= {"spacing": spacing, "unit": unit, "axes": row.text("axes").lower()}
        name = row.text("case") or path.name.split(".")[0]
        return pair_case(path, row.file("labels"), dataset=dataset, name=name, stated=stated)
    except ReadError as error:
        if str(error).startswith(f"{row.document}: "):
            raise
        raise row.error(column, str(error)) from error


def _check_columns(header: list[str], where: str) -> None:
    for name in header:
        if name not in (*_COLUMNS, *_NOTES):
            near = get_close_matches(name, _COLUMNS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(_COLUMNS)}"
            raise ReadError(f"{where}: unknown column {name!r}, {hint}")
    if len(set(header)) < len(header):
        twice = next(name for name in header if header.count(name) > 1)
        raise ReadError(f"{where}: the column {twice!r} comes twice")
    if "path" not in header and not {"image", "labels"} <= set(header):
        raise ReadError(f"{where}: needs the columns image and labels, or path")


def _whole(value: object) -> int | None:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    text = str(value).strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None
