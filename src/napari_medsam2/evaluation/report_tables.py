"""The report's tables, as text cells that Markdown and HTML both show."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .comparison import comparisons
from .protocols import PROTOCOLS
from .statistics import condition, grouped, summarise, summarise_datasets, worst

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .records import Record
    from .statistics import Summary

__all__ = [
    "NONE",
    "Table",
    "click_table",
    "comparison_table",
    "failure_table",
    "modality_notes",
    "modality_table",
    "number",
    "overall_table",
    "protocol_title",
    "task_name",
    "worst_table",
]

NONE = "–"
"""What stands where there is no number."""

_WHO = tuple(("", name) for name in ("method", "protocol", "prompt", "case", "object"))


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes
    ----------
    caption : str
    header : tuple of (str, str)
        Of each column: the heading that it shares with its neighbours, "" if none, and its own.
    blocks : tuple of (str, rows)
        A heading, "" if none, and rows of one cell per column.
    words : int
        So many columns at the left hold text, the rest numbers.
    notes : str
    """

    caption: str
    header: tuple[tuple[str, str], ...]
    blocks: tuple[tuple[str, tuple[tuple[str, ...], ...]], ...]
    words: int
    notes: str = ""


def number(value: float, digits: int = 3) -> str:
    """Return a number as the tables write it; "–" if there is none."""
    if not math.isfinite(value):
        return NONE
    text = f"{value:.{digits}f}"
    # A difference that rounds to nothing has no sign.
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def protocol_title(name: str) -> str:
    """Return a protocol's name with what it does and where it was published."""
    known = PROTOCOLS.get(name)
    return f"{name}: {known.title} ({known.source})" if known else name


def task_name(protocol: str, prompt: str) -> str:
    """Return what was asked in a few words."""
    return protocol if prompt == protocol else f"{protocol} · {prompt}"


def overall_table(records: Sequence[Record]) -> Table:
    """Return means of data set means, a row per method and prompt."""

    def row(own: Sequence[Record]) -> dict[tuple[str, str], str]:
        dice = summarise_datasets(own)
        return {
            ("", "data sets"): str(dice.n),
            **_counts(dice),
            **_dice(dice),
            ("Dice", "true range"): number(summarise_datasets(own, "dice_range").mean),
            ("", "NSD"): number(summarise_datasets(own, "nsd").mean),
            ("", "J&F"): number(summarise_datasets(own, "jf").mean),
            **_presence(own, summarise_datasets),
            ("", "seconds"): _seconds(summarise_datasets(own, "seconds").mean),
        }

    notes = (
        "Means of data set means: each data set weighs the same, whatever its size; sd, median and "
        "interval are over data sets." + _notes(records) + " True range: on the frames that show "
        "the object alone. NSD: share of the surfaces within the tolerance. J&F: as in DAVIS. "
        "Presence: precision (P) and recall (R) of the frames with a mask; beyond: frames with a "
        "mask before the first or after the last that shows the object. Seconds: per object; what "
        "an earlier protocol left in the cache of embeddings is not computed again."
    )
    return _table("Table 1. All data sets", records, row, notes)


def modality_table(records: Sequence[Record], caption: str) -> Table:
    """Return means over objects, a row per method and prompt."""

    def row(own: Sequence[Record]) -> dict[tuple[str, str], str]:
        dice, distance = summarise(own), summarise(own, "hd95")
        hd95 = number(distance.mean, 1)
        if distance.n and distance.n != dice.n:
            hd95 += f" (n {distance.n})"
        return {
            **_counts(dice),
            **_dice(dice),
            ("Dice", "true range"): number(summarise(own, "dice_range").mean),
            ("", "NSD"): number(summarise(own, "nsd").mean),
            ("", "HD95"): hd95,
            ("", "J&F"): number(summarise(own, "jf").mean),
            **_presence(own, summarise),
            ("", "seconds"): _seconds(summarise(own, "seconds").mean),
        }

    return _table(caption, records, row, "")


def modality_notes(records: Sequence[Record]) -> str:
    """Return what the tables by modality have in common."""
    return (
        "Means over objects. HD95 in the unit of the spacing; it has no value where a mask is "
        "empty, so its n may be smaller. The rest as in table 1." + _notes(records)
    )


def click_table(records: Sequence[Record], caption: str) -> Table | None:
    """Return clicks needed per method and prompt; None if nothing was clicked."""
    clicked = [r for r in records if math.isfinite(r.click_auc) or r.click_dice]
    tasks = {(r.protocol, r.prompt) for r in clicked}
    kept = [r for r in records if (r.protocol, r.prompt) in tasks]
    if not clicked:
        return None

    def row(own: Sequence[Record]) -> dict[tuple[str, str], str]:
        area = summarise(own, "click_auc")
        return {
            **_counts(area),
            ("mean Dice over the clicks", "mean ± sd"): _spread(area),
            ("mean Dice over the clicks", "95 % interval"): _range(area),
            **_reached(own, "0.80", [r.clicks_to_80 for r in own]),
            **_reached(own, "0.90", [r.clicks_to_90 for r in own]),
        }

    notes = (
        "Clicks: the median over all runs, those that never reached the Dice and those that "
        f"failed counted as needing more than any other; {NONE} if half of them did not reach it."
    )
    return _table(caption, kept, row, notes)


def comparison_table(
    records: Sequence[Record], reference: str | None, caption: str
) -> Table | None:
    """Return the paired comparisons; None if there is nothing to compare."""
    pairs = comparisons(records, reference=reference)
    if not pairs:
        return None
    header = (
        *(("", name) for name in ("first", "second", "pairs", "left out")),
        ("Dice, first − second", "median difference"),
        *(("Wilcoxon", name) for name in ("p", "p, Holm")),
    )
    blocks: dict[str, list[tuple[str, ...]]] = {}
    for pair in pairs:
        heading = task_name(protocol_title(pair.first.protocol), pair.first.prompt)
        p = f"{NONE} ({pair.reason})" if pair.reason else _p(pair.p)
        blocks.setdefault(heading, []).append(
            (
                pair.first.method,
                pair.second.method,
                str(pair.pairs),
                str(pair.left_out),
                number(pair.median_difference),
                p,
                _p(pair.p_holm),
            )
        )
    notes = (
        "Wilcoxon signed-rank test, two-sided, over the objects that both methods segmented. Left "
        f"out: objects that only one of them, or neither, has a value for. Holm: adjusted for all "
        f"{len(pairs)} comparisons of this table. Objects of one case are not independent, so the "
        "p values are, if anything, too small."
    )
    frozen = tuple((heading, tuple(rows)) for heading, rows in blocks.items())
    return Table(caption, header, frozen, 2, notes)


def worst_table(records: Sequence[Record], caption: str) -> Table:
    """Return the objects with the lowest Dice."""
    rows = tuple((*_who(record), number(record.dice)) for record in worst(records))
    return Table(caption, (*_WHO, ("", "Dice")), (("", rows),), 5)


def failure_table(records: Sequence[Record]) -> Table | None:
    """Return the failed runs with their errors; None if none failed."""
    failed = [r for r in records if r.status == "failed"]
    if not failed:
        return None
    rows = tuple((*_who(record), record.error or NONE) for record in failed)
    caption = f"Failed runs: {len(failed)} of {len(records)}"
    return Table(caption, (*_WHO, ("", "error")), (("", rows),), 6)


def _table(
    caption: str,
    records: Sequence[Record],
    row: Callable[[Sequence[Record]], dict[tuple[str, str], str]],
    notes: str,
) -> Table:
    """Build a table, a block per protocol, without the columns that nothing is in."""
    prompts = list(dict.fromkeys(r.prompt for r in records))
    blocks: list[tuple[str, list[dict[tuple[str, str], str]]]] = []
    for protocol, found in grouped(records, lambda r: r.protocol).items():
        groups = sorted(
            grouped(found, condition).items(), key=lambda group: prompts.index(group[0].prompt)
        )
        rows = [
            {("", "method"): c.method, ("", "prompt"): c.prompt, **row(own)} for c, own in groups
        ]
        blocks.append((protocol_title(protocol), rows))
    every = [cells for _, rows in blocks for cells in rows]
    header = tuple(
        name
        for name in every[0]
        if name[1] == "objects" or any(cells[name] not in (NONE, "0") for cells in every)
    )
    frozen = tuple(
        (heading, tuple(tuple(cells[name] for name in header) for cells in rows))
        for heading, rows in blocks
    )
    return Table(caption, header, frozen, 2, notes)


def _counts(summary: Summary) -> dict[tuple[str, str], str]:
    return {("", "objects"): str(summary.objects), ("", "failed"): str(summary.failed)}


def _dice(dice: Summary) -> dict[tuple[str, str], str]:
    return {
        ("Dice", "mean ± sd"): _spread(dice),
        ("Dice", "median"): number(dice.median),
        ("Dice", "95 % interval"): _range(dice),
        # Shown where it says something that the mean does not.
        ("Dice", "failed as 0"): number(dice.mean_with_failures) if dice.failed else NONE,
    }


def _presence(
    own: Sequence[Record], summary: Callable[[Sequence[Record], str], Summary]
) -> dict[tuple[str, str], str]:
    return {
        ("presence", "P"): number(summary(own, "presence_precision").mean),
        ("presence", "R"): number(summary(own, "presence_recall").mean),
        ("presence", "beyond"): number(summary(own, "frames_beyond").mean, 1),
    }


def _reached(
    own: Sequence[Record], dice: str, clicks: Sequence[float]
) -> dict[tuple[str, str], str]:
    never = [c if math.isfinite(c) else math.inf for c in clicks]
    reached = sum(map(math.isfinite, never))
    return {
        (f"Dice {dice}", "clicks"): number(float(np.median(never)), 1).removesuffix(".0"),
        (f"Dice {dice}", "reached by"): f"{reached} of {len(own)}",
    }


def _notes(records: Sequence[Record]) -> str:
    notes = " Interval: 95 % bootstrap interval of the mean."
    if any(r.status == "failed" for r in records):
        notes += " Failed objects are in no mean but “failed as 0”: there their Dice is 0."
    return notes


def _spread(summary: Summary) -> str:
    mean, sd = number(summary.mean), number(summary.sd)
    return mean if NONE in (mean, sd) else f"{mean} ± {sd}"


def _range(summary: Summary) -> str:
    known = math.isfinite(summary.low)
    return f"[{number(summary.low)}, {number(summary.high)}]" if known else NONE


def _seconds(value: float) -> str:
    return number(value, 2 if value < 10 else 1 if value < 100 else 0)


def _p(value: float) -> str:
    return "< 0.001" if value < 0.001 else number(value)


def _who(r: Record) -> tuple[str, str, str, str, str]:
    return r.method, r.protocol, r.prompt, r.case, f"{r.object_id} {r.object_name}".strip()
