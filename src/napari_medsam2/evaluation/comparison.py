"""Comparisons of methods over the objects that both have segmented."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from .statistics import Condition, condition, grouped, object_values

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .records import Record

__all__ = ["MIN_PAIRS", "Paired", "compare", "comparisons"]

MIN_PAIRS = 6
"""With five pairs no two-sided signed-rank test can reach 0.05: its least p is 2 / 2**5."""


@dataclass(frozen=True, kw_only=True)
class Paired:
    """Two methods on the objects that both have a value for.

    Attributes
    ----------
    first, second : Condition
        Of the same protocol and prompt.
    pairs : int
        Objects with a value of both.
    left_out : int
        Objects with a value of one alone, or of none because both failed.
    median_difference : float
        First minus second.
    p : float
        Wilcoxon signed-rank test, two-sided, pairs without a difference dropped; nan if there
        is nothing to test.
    p_holm : float
        `p` adjusted by Holm's method for the comparisons made together.
    reason : str
        Why `p` is nan, else "".
    """

    first: Condition
    second: Condition
    pairs: int
    left_out: int
    median_difference: float
    p: float
    p_holm: float
    reason: str


def compare(
    records: Iterable[Record], first: Condition, second: Condition, measure: str = "dice"
) -> Paired:
    """Compare two conditions over the objects that both have, by Wilcoxon's signed-rank test.

    Raises
    ------
    InputError
        If there is no such measure.

    References
    ----------
    Wilcoxon, "Individual comparisons by ranking methods", Biometrics Bulletin 1 (1945).
    """
    from scipy.stats import wilcoxon

    groups = grouped(records, condition)
    a, b = (object_values(groups.get(c, []), measure) for c in (first, second))
    differences = np.array([a[key] - b[key] for key in sorted(a.keys() & b.keys())])
    differences = differences[np.isfinite(differences)]
    # Equal differences of decimal numbers shall tie, whatever their last bits say.
    differences = np.round(differences, 12)
    n, differing = len(differences), int(np.count_nonzero(differences))
    p, reason = math.nan, ""
    if not n:
        reason = "no object has a value of both"
    elif not differing:
        reason = "all pairs are equal"
    elif differing < MIN_PAIRS:
        reason = f"only {differing} pairs differ; {MIN_PAIRS} are needed"
        reason = reason.replace("1 pairs differ", "1 pair differs")
    else:
        p = float(wilcoxon(differences[differences != 0]).pvalue)
    return Paired(
        first=first,
        second=second,
        pairs=n,
        left_out=len(a.keys() | b.keys()) - n,
        median_difference=float(np.median(differences)) if n else math.nan,
        p=p,
        p_holm=p,
        reason=reason,
    )


def comparisons(
    records: Sequence[Record], measure: str = "dice", reference: str | None = None
) -> list[Paired]:
    """Compare the methods in pairs, for every protocol and prompt that several of them have.

    Parameters
    ----------
    records : sequence of Record
    measure : str
    reference : str, optional
        Compare this method with each other one; else each with each.

    Returns
    -------
    list of Paired
        With `p_holm` adjusted over all of them.

    Raises
    ------
    InputError
        If there is no such measure.

    References
    ----------
    Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statist. 6 (1979).
    """
    tasks: dict[tuple[str, str], list[Condition]] = {}
    for found in grouped(records, condition):
        tasks.setdefault((found.protocol, found.prompt), []).append(found)
    made = []
    for conditions in tasks.values():
        ordered = sorted(conditions, key=lambda c: c.method != reference)
        for first, second in combinations(ordered, 2):
            if reference is None or first.method == reference:
                made.append(compare(records, first, second, measure))
    adjusted = _holm([pair.p for pair in made])
    return [replace(pair, p_holm=p) for pair, p in zip(made, adjusted, strict=True)]


def _holm(ps: Sequence[float]) -> list[float]:
    tested = sorted((p, i) for i, p in enumerate(ps) if not math.isnan(p))
    adjusted = [math.nan] * len(ps)
    highest = 0.0
    for rank, (p, i) in enumerate(tested):
        highest = max(highest, min(1.0, (len(tested) - rank) * p))
        adjusted[i] = highest
    return adjusted
