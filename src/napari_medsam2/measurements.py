"""What a clinician or biologist wants to know of each object, in physical units. Numpy only."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Measurement", "measure"]


@dataclass(frozen=True)
class Measurement:
    """One object of a label array.

    Attributes
    ----------
    object_id : int
    voxels : int
    size : float
        Voxels times the product of the spacing: a volume or an area in the image's units.
    bbox : tuple of (start, stop)
        Half-open, for every axis of the array.
    centre : tuple of float
        Centre of mass in array coordinates.
    """

    object_id: int
    voxels: int
    size: float
    bbox: tuple[tuple[int, int], ...]
    centre: tuple[float, ...]


def measure(labels: NDArray[Any], spacing: Sequence[float]) -> list[Measurement]:
    """Measure every object of a label array.

    Parameters
    ----------
    labels : ndarray of int
        Any number of axes; 0 is background.
    spacing : sequence of float
        Physical size along every axis.

    Returns
    -------
    list of Measurement
        Ascending ids.
    """
    voxel = math.prod(spacing)
    where = np.nonzero(labels)
    if not where[0].size:
        return []
    ids, group = np.unique(labels[where], return_inverse=True)
    counts = np.bincount(group)
    low = np.full((labels.ndim, ids.size), np.iinfo(np.int64).max)
    high = np.full((labels.ndim, ids.size), -1)
    centre = np.empty((labels.ndim, ids.size))
    for axis, positions in enumerate(where):
        np.minimum.at(low[axis], group, positions)
        np.maximum.at(high[axis], group, positions)
        centre[axis] = np.bincount(group, weights=positions) / counts
    return [
        Measurement(
            object_id=int(ids[k]),
            voxels=int(counts[k]),
            size=float(counts[k] * voxel),
            bbox=tuple((int(a), int(b) + 1) for a, b in zip(low[:, k], high[:, k], strict=True)),
            centre=tuple(float(c) for c in centre[:, k]),
        )
        for k in range(ids.size)
    ]
