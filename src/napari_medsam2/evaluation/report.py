"""A benchmark's report: results.csv, report.md and report.html, the last one file by itself."""

from __future__ import annotations

import csv
import io
import json
import math
from collections import Counter
from dataclasses import fields, replace
from itertools import count
from typing import TYPE_CHECKING, Any

from napari_medsam2.errors import InputError, WriteError
from napari_medsam2.io.atomic import atomic_path, check_target

from . import report_tables as tables
from .records import Record
from .report_html import (
    facts_html,
    figures_html,
    notes_html,
    page,
    picture_html,
    section,
    table_html,
)
from .report_markdown import table_md, text_md
from .report_plots import axis_plot, box_plot, click_plot
from .statistics import grouped

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from .report_tables import Table

__all__ = ["write_report"]

_PNG = b"\x89PNG\r\n\x1a\n"
_LINE = "\n"
_FILES = ("results.csv", "report.md", "report.html")

_BOX_NOTES = (
    "A dot is an object. Box: quartiles and median; whiskers: the farthest "
    "objects within 1.5 times the box's length. At the right, the number of objects, and of "
    "failed ones (✕), which have no dot."
)
_CLICK_NOTES = (
    "Mean over objects with its 95 % bootstrap interval, all modalities together. A run that ended "
    "early keeps its last Dice."
)
_AXIS_NOTES = (
    "From the first to the last frame that shows the object, all modalities together. Median over "
    "objects with quartiles; in grey the other methods' medians; in brackets the runs with three "
    "frames or more."
)
_PICTURE_NOTES = (
    "Of each object the frame where most pixels are wrong, cut out around it. Green: the truth, "
    "which may show nothing there; orange: what was found."
)
_NO_MODALITY = "Modality not given"


def write_report(
    records: Sequence[Record],
    facts: Mapping[str, str],
    folder: Path,
    pictures: Sequence[tuple[Record, bytes]] = (),
    *,
    title: str = "Segmentation benchmark",
    reference: str | None = None,
    overwrite: bool = False,
) -> tuple[Path, Path, Path]:
    """Write what was measured as a table and as two readable reports.

    Methods, protocols and prompts are shown in the order in which the records first name them,
    modalities by the alphabet.

    Parameters
    ----------
    records : sequence of Record
    facts : mapping of str to str
        What the reader must know to repeat it: date, versions, seed, hashes, device. A value may
        have several lines.
    folder : Path
        Made if it is missing.
    pictures : sequence of (Record, bytes)
        Overlays of the worst objects, as PNG; `statistics.worst` names them.
    title : str
    reference : str, optional
        A method that each other one is compared with, and whose lowest Dice are listed; else each
        is compared with each.
    overwrite : bool
        Replace files of an earlier report.

    Returns
    -------
    tuple of Path
        results.csv, report.md, report.html.

    Raises
    ------
    InputError
        If there are no records, if one is there twice, if no record is of the reference, or if a
        picture is no PNG.
    WriteError
        If the folder or a file cannot be written.
    """
    _check(records, pictures, reference)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(f"{folder}: the folder cannot be made ({error.strerror})") from error
    texts = (
        _csv(records),
        _markdown(records, facts, title, reference),
        _html(records, facts, pictures, title, reference),
    )
    results, markdown, html = paths = tuple(folder / name for name in _FILES)
    for path in paths:
        check_target(path, overwrite)
    for path, text in zip(paths, texts, strict=True):
        with atomic_path(path, overwrite) as temporary:
            temporary.write_text(text, encoding="utf-8", newline="")
    return results, markdown, html


def _check(
    records: Sequence[Record], pictures: Sequence[tuple[Record, bytes]], reference: str | None
) -> None:
    if not records:
        raise InputError("no records: there is nothing to report; run the benchmark first")
    counts = Counter(
        (r.method, r.protocol, r.prompt, r.seed, r.dataset, r.case, r.object_id) for r in records
    )
    key, count = counts.most_common(1)[0]
    if count > 1:
        said = ", ".join(map(str, key))
        raise InputError(f"records: {count} for the same run ({said}); keep one of each")
    methods = list(dict.fromkeys(r.method for r in records))
    if reference is not None and reference not in methods:
        raise InputError(f"reference {reference!r}: no record is of it; use {', '.join(methods)}")
    for record, png in pictures:
        if not png.startswith(_PNG):
            raise InputError(f"picture of {record.case}, {record.method}: is not a PNG")


def _csv(records: Sequence[Record]) -> str:
    """Return one row per record; nan is an empty cell, curves are JSON."""
    names = [f.name for f in fields(Record)]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for record in records:
        plain = record.to_json()
        writer.writerow([_cell(plain[name]) for name in names])
    return text.getvalue()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return json.dumps(value, separators=(",", ":")) if value else ""
    return str(value)


def _modalities(records: Sequence[Record]) -> list[tuple[str, list[Record]]]:
    found = grouped(records, lambda r: r.modality)
    return sorted(found.items(), key=lambda item: item[0].casefold())


def _modality_tables(records: Sequence[Record]) -> list[Table]:
    return [
        tables.modality_table(own, f"Table {i}. {modality or _NO_MODALITY}")
        for i, (modality, own) in enumerate(_modalities(records), start=2)
    ]


def _last_tables(
    records: Sequence[Record], reference: str | None, first: int
) -> tuple[Table | None, Table | None, Table, Table | None]:
    """Return what follows the tables by modality: pairs, clicks, lowest Dice, failures."""
    numbers = count(first)
    pairs = tables.comparison_table(records, reference, "Methods on the same objects")
    clicked = tables.click_table(records, "Clicks needed")
    own = [r for r in records if reference in (None, r.method)]
    of = "" if reference is None else f" by {reference}"
    lowest = tables.worst_table(own, f"Objects with the lowest Dice{of}")
    found = (pairs, clicked, lowest, tables.failure_table(records))
    return tuple(  # type: ignore[return-value]
        table and replace(table, caption=f"Table {next(numbers)}. {table.caption}")
        for table in found
    )


def _all_facts(records: Sequence[Record], facts: Mapping[str, str]) -> dict[str, str]:
    objects = {(r.dataset, r.case, r.object_id) for r in records}
    cases = {(r.dataset, r.case) for r in records}
    datasets = {r.dataset for r in records}
    failed = sum(r.status == "failed" for r in records)
    return {
        **{str(name): str(value) for name, value in facts.items()},
        "Data": f"{_many(len(objects), 'object')} of {_many(len(cases), 'case')} in "
        f"{_many(len(datasets), 'data set')}",
        "Runs": f"{len(records)}, of which {failed} failed",
    }


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _html(
    records: Sequence[Record],
    facts: Mapping[str, str],
    pictures: Sequence[tuple[Record, bytes]],
    title: str,
    reference: str | None,
) -> str:
    colours = {m: i for i, m in enumerate(dict.fromkeys(r.method for r in records))}
    tasks = grouped(records, lambda r: tables.task_name(r.protocol, r.prompt))
    boxes = [
        (modality or _NO_MODALITY, box_plot(own, colours, f"Box plots of Dice: {modality}"))
        for modality, own in _modalities(records)
    ]
    clicks = figures_html(
        (name, click_plot(own, colours, f"Dice against clicks: {name}"))
        for name, own in tasks.items()
    )
    axes = figures_html(
        (name, axis_plot(own, colours, f"Dice along the axis: {name}"))
        for name, own in tasks.items()
    )
    by_modality = _modality_tables(records)
    pairs, clicked, lowest, failures = _last_tables(records, reference, 2 + len(by_modality))
    return page(
        title,
        (
            facts_html(_all_facts(records, facts)),
            section("Overall", table_html(tables.overall_table(records))),
            section(
                "By modality",
                notes_html(tables.modality_notes(records)),
                *map(table_html, by_modality),
            ),
            section("Paired comparisons", table_html(pairs)),
            section("Dice of every object", notes_html(_BOX_NOTES), figures_html(boxes)),
            section(
                "Dice against the number of clicks",
                table_html(clicked),
                clicks and notes_html(_CLICK_NOTES),
                clicks,
            ),
            section("Dice along the axis", axes and notes_html(_AXIS_NOTES), axes),
            section("Lowest Dice", table_html(lowest), *_pictures(pictures)),
            section("Failures", table_html(failures)),
        ),
    )


def _pictures(pictures: Sequence[tuple[Record, bytes]]) -> list[str]:
    if not pictures:
        return []
    ordered = sorted(
        pictures, key=lambda pair: pair[0].dice if math.isfinite(pair[0].dice) else -1.0
    )
    shown = "\n".join(
        picture_html(
            f"{record.case}, {f'{record.object_id} {record.object_name}'.strip()}: "
            f"Dice {tables.number(record.dice)}",
            f"{record.modality} · {record.method} · "
            f"{tables.task_name(record.protocol, record.prompt)}",
            png,
        )
        for record, png in ordered
    )
    return [notes_html(_PICTURE_NOTES), f'<div class="pictures">\n{shown}\n</div>']


def _markdown(
    records: Sequence[Record], facts: Mapping[str, str], title: str, reference: str | None
) -> str:
    listed = "\n".join(
        f"- {text_md(name)}: {text_md(value.replace(_LINE, '; '))}"
        for name, value in _all_facts(records, facts).items()
    )
    by_modality = _modality_tables(records)
    last = _last_tables(records, reference, 2 + len(by_modality))
    parts = [
        f"# {text_md(title)}",
        listed,
        table_md(tables.overall_table(records)),
        *map(table_md, by_modality),
        text_md(tables.modality_notes(records)),
        *(table_md(table) for table in last if table),
    ]
    return "\n\n".join(parts) + "\n"
