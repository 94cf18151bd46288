"""Surfaces of masks, how far they lie apart, and how their contours match.

The elements of a surface, their sizes and the measures made of them follow DeepMind's
``surface-distance``; the distances come from a k-d tree of the surface alone, so that a pair of
whole CTs takes seconds where distance maps of all voxels take a minute and gigabytes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medsam2.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

__all__ = ["SurfaceDistances", "check_masks", "contour_match", "surface_distances", "union_box"]


@dataclass(frozen=True, eq=False)
class SurfaceDistances:
    """Distances between two surfaces, element by element.

    Attributes
    ----------
    of_found, of_truth : ndarray of float
        Distance of each element to the other surface, in the unit of the spacing; inf if the
        other mask is empty.
    found_sizes, truth_sizes : ndarray of float
        Size of each element: area in 3D, length in 2D.
    """

    of_found: NDArray[np.float64] = field(repr=False)
    of_truth: NDArray[np.float64] = field(repr=False)
    found_sizes: NDArray[np.float64] = field(repr=False)
    truth_sizes: NDArray[np.float64] = field(repr=False)

    @classmethod
    def pooled(cls, parts: Iterable[SurfaceDistances]) -> SurfaceDistances:
        """Join the elements of several pairs of surfaces, such as the frames of a video."""
        parts = [_NOTHING, *parts]
        return cls(
            np.concatenate([p.of_found for p in parts]),
            np.concatenate([p.of_truth for p in parts]),
            np.concatenate([p.found_sizes for p in parts]),
            np.concatenate([p.truth_sizes for p in parts]),
        )

    def overlap(self, tolerance: float) -> float:
        """Return the share of both surfaces within `tolerance` of the other, 1 if both are none."""
        size = self.found_sizes.sum() + self.truth_sizes.sum()
        if size == 0:
            return 1.0
        near = self.found_sizes[self.of_found <= tolerance].sum()
        return float((near + self.truth_sizes[self.of_truth <= tolerance].sum()) / size)

    def percentile(self, percent: float) -> float:
        """Return the larger of the two directed percentiles, weighted by the elements' sizes.

        It is 0 if both surfaces are none, and inf if one is.
        """
        if not self.of_found.size and not self.of_truth.size:
            return 0.0
        if not self.of_found.size or not self.of_truth.size:
            return math.inf
        return max(
            _weighted_percentile(self.of_found, self.found_sizes, percent),
            _weighted_percentile(self.of_truth, self.truth_sizes, percent),
        )


_NOTHING = SurfaceDistances(np.empty(0), np.empty(0), np.empty(0), np.empty(0))


def surface_distances(
    found: NDArray[np.bool_], truth: NDArray[np.bool_], spacing: Sequence[float]
) -> SurfaceDistances:
    """Measure how far two surfaces lie apart.

    A surface element sits at each corner where the 2 x 2 (x 2) pixels around it are neither all
    inside nor all outside the mask; beyond the array all is outside. Its size is that of the
    contour or surface which marching squares or cubes draw there.

    Parameters
    ----------
    found, truth : ndarray of bool
        (y, x) or (z, y, x), of one shape.
    spacing : sequence of float
        Size of a pixel along each axis of the arrays.

    Returns
    -------
    SurfaceDistances

    References
    ----------
    Nikolov et al., "Clinically applicable segmentation of head and neck anatomy for radiotherapy",
    J Med Internet Res 2021; https://github.com/google-deepmind/surface-distance
    """
    box = union_box(found, truth)
    if box is None:
        return _NOTHING
    sampling = np.asarray(spacing, dtype=np.float64)
    found_at, found_sizes = _elements(found[box], tuple(map(float, sampling)))
    truth_at, truth_sizes = _elements(truth[box], tuple(map(float, sampling)))
    return SurfaceDistances(
        _nearest(found_at, truth_at, sampling),
        _nearest(truth_at, found_at, sampling),
        found_sizes,
        truth_sizes,
    )


def contour_match(found: NDArray[np.bool_], truth: NDArray[np.bool_], share: float) -> float:
    """Match the contours of two masks on one frame: the F of DAVIS.

    Contour pixels within ``ceil(share * diagonal)`` pixels of the other contour match; F is the
    harmonic mean of the shares that do. No contour on either mask is 1, on one of them 0.

    Parameters
    ----------
    found, truth : ndarray of bool
        (y, x), whole frames: the tolerance is relative to their diagonal.
    share : float
        Tolerance as a share of the diagonal.

    References
    ----------
    Perazzi et al., "A benchmark dataset and evaluation methodology for video object segmentation",
    CVPR 2016; https://github.com/davisvideochallenge/davis2017-evaluation
    """
    box = union_box(found, truth)
    if box is None:
        return 1.0
    radius = math.ceil(share * math.hypot(*found.shape))
    # One pixel more on each side: a contour lies half a pixel towards the origin of its mask.
    wider = tuple(slice(max(s.start - 1, 0), s.stop + 1) for s in box)
    found_at, truth_at = (np.argwhere(_contour(mask[wider])) for mask in (found, truth))
    if not len(found_at) or not len(truth_at):
        return 1.0 if len(found_at) == len(truth_at) else 0.0
    unit = np.ones(2)
    precision = float(np.mean(_nearest(found_at, truth_at, unit) <= radius))
    recall = float(np.mean(_nearest(truth_at, found_at, unit) <= radius))
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def union_box(a: NDArray[np.bool_], b: NDArray[np.bool_]) -> tuple[slice, ...] | None:
    """Return the smallest box that holds both masks, as slices, None if both are empty."""
    box: list[slice] = []
    for axis in range(a.ndim):
        others = tuple(i for i in range(a.ndim) if i != axis)
        # What was found on the axes before narrows the search on those that follow.
        key = tuple(box)
        hit = np.flatnonzero(a[key].any(axis=others) | b[key].any(axis=others))
        if not hit.size:
            return None
        box.append(slice(int(hit[0]), int(hit[-1]) + 1))
    return tuple(box)


def check_masks(
    found: NDArray[np.bool_], truth: NDArray[np.bool_], spacing: Sequence[float] | None = None
) -> None:
    """Raise `InputError` for masks that are not bool or differ, or spacing that does not fit."""
    for name, mask in (("found", found), ("true", truth)):
        if mask.dtype != bool:
            raise InputError(
                f"the {name} mask is of type {mask.dtype}; choose one object, as in labels == 1"
            )
    if found.shape != truth.shape:
        raise InputError(f"the found mask has shape {found.shape}, the true one {truth.shape}")
    if spacing is None:
        return
    values = [float(s) for s in spacing]
    if truth.ndim not in (2, 3) or len(values) != truth.ndim:
        raise InputError(f"spacing {tuple(values)} does not fit masks of shape {truth.shape}")
    if not all(math.isfinite(s) and s > 0 for s in values):
        raise InputError(f"spacing {tuple(values)} must be positive numbers; unknown counts as 1")


def _weighted_percentile(
    distances: NDArray[np.float64], sizes: NDArray[np.float64], percent: float
) -> float:
    order = np.lexsort((sizes, distances))
    cumulated = np.cumsum(sizes[order]) / sizes.sum()
    index = int(np.searchsorted(cumulated, percent / 100))
    return float(distances[order[min(index, order.size - 1)]])


def _elements(
    mask: NDArray[np.bool_], spacing: tuple[float, ...]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return where the surface elements of a mask sit (n, ndim), and their sizes (n,)."""
    padded = np.pad(mask, 1).view(np.uint8)
    code = np.zeros([n - 1 for n in padded.shape], dtype=np.uint8)
    for bit, corner in _corners(mask.ndim):
        code |= padded[tuple(slice(c, c + n) for c, n in zip(corner, code.shape, strict=True))] << (
            np.uint8(bit)
        )
    sizes = _sizes_3d(spacing) if mask.ndim == 3 else _sizes_2d(spacing)
    at = np.flatnonzero((code != 0) & (code != len(sizes) - 1))
    return np.column_stack(np.unravel_index(at, code.shape)), sizes[code.ravel()[at]]


def _corners(ndim: int) -> list[tuple[int, tuple[int, ...]]]:
    """Return (bit, offset) of each pixel around a corner; the first has the highest bit."""
    offsets = list(product((0, 1), repeat=ndim))
    return [(len(offsets) - 1 - i, offset) for i, offset in enumerate(offsets)]


@lru_cache(maxsize=64)
def _sizes_3d(spacing: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the surface area for each of the 256 ways to fill 2 x 2 x 2 voxels.

    The area of Lorensen's marching cubes at level 0.5. A filling and its opposite have the same
    surface: where his table joins ambiguous corners differently, that of at most four filled
    voxels counts, as in the table of ``surface-distance``.
    """
    from skimage.measure import marching_cubes, mesh_surface_area

    areas = np.zeros(256)
    for code in range(1, 255):
        least = min(code, 255 - code, key=int.bit_count)
        cube = np.zeros((2, 2, 2))
        for bit, corner in _corners(3):
            cube[corner] = least >> bit & 1
        points, faces, _, _ = marching_cubes(cube, 0.5, method="lorensen")
        areas[code] = mesh_surface_area(points * np.array(spacing), faces)
    return areas


@lru_cache(maxsize=64)
def _sizes_2d(spacing: tuple[float, ...]) -> NDArray[np.float64]:
    """Return the contour length for each of the 16 ways to fill 2 x 2 pixels (marching squares)."""
    dy, dx = spacing
    slanted = math.hypot(dy, dx) / 2
    lengths = np.full(16, slanted)
    lengths[[0b0000, 0b1111]] = 0.0
    lengths[[0b0011, 0b1100]] = dx
    lengths[[0b0101, 0b1010]] = dy
    lengths[[0b0110, 0b1001]] = 2 * slanted
    return lengths


def _nearest(
    points: NDArray[Any], others: NDArray[Any], spacing: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the distance of each grid point to the nearest of the others, inf if there is none."""
    if not len(points) or not len(others):
        return np.full(len(points), np.inf)
    # Half of the time that the widget takes to open, if it came with the module.
    from scipy.spatial import KDTree

    _, index = KDTree(others * spacing).query(points * spacing)
    # From differences of whole numbers, so that three steps of 0.1 are the same anywhere and a
    # distance equal to the tolerance is not lost to rounding of large coordinates.
    steps = (points - others[index]) * spacing
    distances: NDArray[np.float64] = np.sqrt((steps * steps).sum(axis=1))
    return distances


def _contour(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return the pixels that differ from the next one in y, in x or in both, as DAVIS does."""
    # Beyond the frame the mask goes on: its edge is no contour.
    on = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    return (mask ^ on[1:, :-1]) | (mask ^ on[:-1, 1:]) | (mask ^ on[1:, 1:])
