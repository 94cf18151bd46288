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
    """Return the same value if the truth has it, else the one with the largest overlap."""
    if object_id in true_ids:
        return object_id
    sizes = {t: shared.get((object_id, t), 0) for t in true_ids}
    best = max(sizes, key=lambda t: sizes[t], default=None)
    return best if best is not None and sizes[best] else None
