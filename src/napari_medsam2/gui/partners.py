"""Which value of the truth an object is compared with."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

__all__ = ["overlaps", "partner_of"]


def overlaps(found: NDArray[Any], truth: NDArray[Any]) -> Counter[tuple[int, int]]:
    """Count the pixels of each pair of (found, true) values but (0, 0)."""
    counts: Counter[tuple[int, int]] = Counter()
    for a, b in zip(found, truth, strict=True):
        shown = (a != 0) | (b != 0)
        ids, i = np.unique(a[shown], return_inverse=True)
        true_ids, j = np.unique(b[shown], return_inverse=True)
        table = np.bincount(i * len(true_ids) + j, minlength=len(ids) * len(true_ids))
        for cell in np.flatnonzero(table):
            row, column = divmod(int(cell), len(true_ids))
            counts[int(ids[row]), int(true_ids[column])] += int(table[cell])
    return counts


def partner_of(
    object_id: int, true_ids: Iterable[int], shared: Mapping[tuple[int, int], int]
) -> int | None:
    """Return the value of the truth that an object is held against, None if there is none.

    The same value if the two overlap at all, else the one with the largest overlap: that two
    numberings meet by chance makes no pair. An object that overlaps nothing has missed the one of
    its own value, if the truth has that.
    """
    sizes = {t: shared.get((object_id, t), 0) for t in true_ids}
    best = max(sizes, key=lambda t: (t == object_id and sizes[t] > 0, sizes[t]), default=None)
    if best is not None and sizes[best]:
        return best
    return object_id if object_id in sizes else None
