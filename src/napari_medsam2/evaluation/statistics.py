"""What many records come to: means, spreads and intervals.

The unit is the object of a case. If one was segmented several times with different seeds, these
runs are averaged first, because they are not independent. Failed objects have no measures; they
are counted, and where a measure has a worst value of zero its mean is also given with them at zero.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, TypeVar

import numpy as np

from napari_medsam2.errors import InputError

from .records import MEASURES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from typing import Any

    from numpy.typing import NDArray

    from .records import Record

__all__ = [
    "Condition",
    "Summary",
    "condition",
    "grouped",
    "interval",
    "object_values",
    "summarise",
    "summarise_datasets",
    "worst",
]

ZERO_IS_WORST = frozenset(MEASURES) - {
    "hd95",
    "volume_error",
    "frames_beyond",
    "clicks_to_80",
    "clicks_to_90",
}
_RESAMPLES = 2000
_SEED = 20240607

K = TypeVar("K")
ObjectKey = tuple[str, str, int]


class Condition(NamedTuple):
    """What is compared: a method, and what it was asked to do."""

    method: str
    protocol: str
    prompt: str


@dataclass(frozen=True, kw_only=True)
class Summary:
    """One measure over objects, or over the means of data sets.

    Attributes
    ----------
    n : int
        Values summarised: objects, or data sets.
    objects : int
        Objects with a value.
    failed : int
        Objects of which a run failed.
    undefined : int
        Objects that were segmented but have no finite value, as HD95 of an empty mask.
    mean, sd, median : float
        Of the values; `sd` with n - 1 in the denominator. nan where there are too few.
    low, high : float
        95 % bootstrap interval of the mean; nan for fewer than two values.
    mean_with_failures : float
        The mean with failed runs at zero; nan for measures whose worst value is not zero.
    """

    n: int
    objects: int
    failed: int
    undefined: int
    mean: float
    sd: float
    median: float
    low: float
    high: float
    mean_with_failures: float


def condition(record: Record) -> Condition:
    """Return what a record is a result of."""
    return Condition(record.method, record.protocol, record.prompt)


def grouped(records: Iterable[Record], key: Callable[[Record], K]) -> dict[K, list[Record]]:
    """Sort records into groups, in the order in which the groups first appear."""
    groups: dict[K, list[Record]] = {}
    for record in records:
        groups.setdefault(key(record), []).append(record)
    return groups


def object_values(
    records: Iterable[Record], measure: str, *, failed_as: float = math.nan
) -> dict[ObjectKey, float]:
    """Return one value per object: the mean over its runs that have a finite one.

    Parameters
    ----------
    records : iterable of Record
        Of one condition.
    measure : str
        One of `MEASURES`, or "seconds".
    failed_as : float
        What a failed run counts as; nan leaves it out.

    Returns
    -------
    dict
        (data set, case, object id) to the value, nan where no run has one.

    Raises
    ------
    InputError
        If there is no such measure.
    """
    if measure not in (*MEASURES, "seconds"):
        raise InputError(f"measure {measure!r}: none of {', '.join(MEASURES)}, seconds")
    found: dict[ObjectKey, list[float]] = {}
    for record in records:
        value = failed_as if record.status == "failed" else float(getattr(record, measure))
        runs = found.setdefault(_object(record), [])
        if math.isfinite(value):
            runs.append(value)
    return {key: _mean(runs) for key, runs in found.items()}


def summarise(records: Sequence[Record], measure: str = "dice") -> Summary:
    """Summarise a measure over the objects of one condition.

    Raises
    ------
    InputError
        If there is no such measure.
    """
    values = object_values(records, measure)
    filled = _with_failures(records, measure)
    return _summary(records, values, list(values.values()), list(filled.values()))


def summarise_datasets(records: Sequence[Record], measure: str = "dice") -> Summary:
    """Summarise the means of data sets, so that a large data set weighs as much as a small one.

    Raises
    ------
    InputError
        If there is no such measure.
    """
    values = object_values(records, measure)
    filled = _with_failures(records, measure)
    return _summary(records, values, _by_dataset(values), _by_dataset(filled))


def worst(records: Iterable[Record], count: int = 5) -> list[Record]:
    """Return the segmented objects with the lowest Dice, the lowest first, each object once.

    Of equals, as many are missed altogether, objects of different data sets come first.
    """
    chosen: dict[ObjectKey, Record] = {}
    for record in sorted((r for r in records if math.isfinite(r.dice)), key=lambda r: r.dice):
        chosen.setdefault(_object(record), record)
    met: Counter[tuple[str, float]] = Counter()
    turns = []
    for record in chosen.values():
        like = record.dataset, round(record.dice, 3)
        turns.append((like[1], met[like]))
        met[like] += 1
    order = sorted(range(len(turns)), key=turns.__getitem__)
    found = list(chosen.values())
    return [found[i] for i in order[:count]]


def interval(values: Sequence[float] | NDArray[Any]) -> tuple[float, float]:
    """Return the 95 % bootstrap interval (BCa) of the mean; (nan, nan) for fewer than two values.

    The same values give the same interval, in whatever order they come.

    References
    ----------
    Efron, "Better bootstrap confidence intervals", J. Am. Stat. Assoc. 82 (1987).
    """
    from scipy.stats import bootstrap

    ordered = np.sort(np.asarray(values, dtype=float))
    if len(ordered) < 2:
        return math.nan, math.nan
    if np.ptp(ordered) < 1e-12:
        # Nothing to resample: BCa would divide by zero.
        return float(ordered[0]), float(ordered[-1])
    generator = np.random.default_rng(_SEED)
    found = bootstrap(
        (ordered,), np.mean, n_resamples=_RESAMPLES, method="BCa", random_state=generator
    ).confidence_interval
    return float(found.low), float(found.high)


def _object(record: Record) -> ObjectKey:
    return record.dataset, record.case, record.object_id


def _with_failures(records: Iterable[Record], measure: str) -> dict[ObjectKey, float]:
    if measure not in ZERO_IS_WORST:
        return {}
    return object_values(records, measure, failed_as=0.0)


def _by_dataset(values: dict[ObjectKey, float]) -> list[float]:
    datasets: dict[str, list[float]] = {}
    for (dataset, _, _), value in values.items():
        found = datasets.setdefault(dataset, [])
        if math.isfinite(value):
            found.append(value)
    return [_mean(found) for found in datasets.values()]


def _summary(
    records: Sequence[Record],
    values: dict[ObjectKey, float],
    units: Sequence[float],
    filled: Sequence[float],
) -> Summary:
    kept = np.array([v for v in units if math.isfinite(v)])
    failed = {_object(r) for r in records if r.status == "failed"}
    segmented = {_object(r) for r in records if r.status == "ok"}
    low, high = interval(kept)
    return Summary(
        n=len(kept),
        objects=sum(map(math.isfinite, values.values())),
        failed=len(failed),
        undefined=sum(not math.isfinite(values[key]) for key in segmented),
        mean=_mean(kept),
        sd=float(np.std(kept, ddof=1)) if len(kept) > 1 else math.nan,
        median=float(np.median(kept)) if len(kept) else math.nan,
        low=low,
        high=high,
        mean_with_failures=_mean([v for v in filled if math.isfinite(v)]),
    )


def _mean(values: Sequence[float] | NDArray[Any]) -> float:
    return float(np.mean(values)) if len(values) else math.nan
