"""Measures of a segmentation against the truth, with their formulas and their sources.

Masks are arrays of bool, found before truth. Where a measure is a matter of convention (empty
masks above all) its docstring says which one it follows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_medsam2.errors import InputError

from .metrics_frames import (
    contour_f,
    frames_beyond,
    frames_shown,
    j_and_f,
    presence_precision,
    presence_recall,
    region_j,
)
from .surfaces import SurfaceDistances, check_masks, surface_distances, union_box

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

__all__ = [
    "TOLERANCE_MM",
    "contour_f",
    "default_tolerance",
    "dice",
    "frames_beyond",
    "hd95",
    "iou",
    "j_and_f",
    "measure_object",
    "nsd",
    "presence_precision",
    "presence_recall",
    "region_j",
    "volume_error",
]

TOLERANCE_MM = 2.0
"""How far surfaces may lie apart and still agree, as in the evaluations of MedSAM and MedSAM2."""
_BY_FRAME = ("j", "f", "jf", "presence_precision", "presence_recall", "frames_beyond")


def default_tolerance(spacing: Sequence[float], unit: str) -> float:
    """Return the tolerance for `nsd` in the unit of the spacing.

    Parameters
    ----------
    spacing : sequence of float
        (frame, y, x) or (y, x).
    unit : str
        2 mm if it is "mm". For anything else (micrometres, or pixels of unknown size) a tolerance
        in millimetres means nothing, and it is the size of two pixels of the frame.
    """
    return TOLERANCE_MM if unit == "mm" else 2.0 * min(float(s) for s in tuple(spacing)[-2:])


def dice(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return the overlap 2 |A ∩ B| / (|A| + |B|).

    Both empty is 1, one of them empty 0 (Maier-Hein, Reinke et al., "Metrics reloaded", Nature
    Methods 2024; CVPR 2024 challenge of MedSAM).

    Parameters
    ----------
    found, truth : ndarray of bool
        Of one shape, with any number of axes.

    Examples
    --------
    >>> dice(np.array([True, True, False]), np.array([True, False, False]))
    0.6666666666666666
    """
    check_masks(found, truth)
    total = _count(found) + _count(truth)
    return 2 * _count(found & truth) / total if total else 1.0


def iou(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return the overlap |A ∩ B| / (|A| + |B| - |A ∩ B|), Jaccard's index; both empty is 1.

    Parameters
    ----------
    found, truth : ndarray of bool
        Of one shape, with any number of axes.
    """
    check_masks(found, truth)
    union = _count(found | truth)
    return _count(found & truth) / union if union else 1.0


def volume_error(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return (|A| - |B|) / |B|, positive if too much was found.

    Both empty is 0; the truth alone empty is inf.

    Parameters
    ----------
    found, truth : ndarray of bool
        Of one shape, with any number of axes.
    """
    check_masks(found, truth)
    a, b = _count(found), _count(truth)
    if b == 0:
        return math.inf if a else 0.0
    return (a - b) / b


def nsd(
    found: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    spacing: Sequence[float],
    tolerance_mm: float = TOLERANCE_MM,
) -> float:
    """Return the normalised surface distance (surface Dice) at a tolerance.

    The size of the parts of both surfaces that lie within the tolerance of the other one, divided
    by the size of both surfaces. Both empty is 1 (``surface-distance`` says nan), one empty 0.

    Parameters
    ----------
    found, truth : ndarray of bool
        (y, x) or (z, y, x), of one shape.
    spacing : sequence of float
        Size of a pixel along each axis, in millimetres.
    tolerance_mm : float
        In the unit of the spacing; at exactly the tolerance is within it.

    References
    ----------
    Nikolov et al., J Med Internet Res 2021; see `surfaces.surface_distances`.
    """
    check_masks(found, truth, spacing)
    return surface_distances(found, truth, spacing).overlap(tolerance_mm)


def hd95(found: NDArray[np.bool_], truth: NDArray[np.bool_], spacing: Sequence[float]) -> float:
    """Return the 95th percentile of the Hausdorff distance, in the unit of the spacing.

    The distance within which 95 % of a surface (by area; by length in 2D) lie from the other one,
    the larger of both directions. As in ``surface-distance`` it is inf if one mask is empty; both
    empty is 0, where that library says inf.

    Parameters
    ----------
    found, truth : ndarray of bool
        (y, x) or (z, y, x), of one shape.
    spacing : sequence of float
        Size of a pixel along each axis.
    """
    check_masks(found, truth, spacing)
    return surface_distances(found, truth, spacing).percentile(95)


def measure_object(
    found: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    spacing: Sequence[float],
    *,
    labelled_frames: Iterable[int] | None = None,
    kind: Literal["2d", "3d", "video"] = "3d",
    tolerance_mm: float = TOLERANCE_MM,
) -> dict[str, Any]:
    """Measure one object by all that `records.MEASURES` names, clicks aside.

    Parameters
    ----------
    found, truth : ndarray of bool
        (frame, y, x), or (y, x) for a single frame.
    spacing : sequence of float
        (frame, y, x); (y, x) will do for a single frame.
    labelled_frames : iterable of int, optional
        Frames that have a truth; what is found on the others counts nowhere. None: all.
    kind : {"2d", "3d", "video"}
        Surfaces are those of the body in "3d". Otherwise they are contours frame by frame, pooled
        over the frames as the pixels of the Dice are; HD95 is then that of the frames where both
        masks are present. J and F are given for "video" alone, what concerns the presence on
        frames for "3d" and "video".
    tolerance_mm : float
        Of the normalised surface distance, in the unit of the spacing; see `default_tolerance`.

    Returns
    -------
    dict
        The measures, nan where one does not apply or has no finite value (HD95 of a missed object,
        the volume error without true volume), and ``frame_dice``: (frame, Dice) of the labelled
        frames, nan where neither mask shows the object.

    Raises
    ------
    InputError
        For masks that are not bool or differ in shape, spacing that does not fit, or labelled
        frames that do not exist.
    """
    if found.ndim == 2 and truth.ndim == 2:
        found, truth = found[np.newaxis], truth[np.newaxis]
        spacing = (1.0, *spacing) if len(spacing) == 2 else spacing
    check_masks(found, truth, spacing)
    keep = _mask_of(labelled_frames, len(truth))
    found, truth = _only(found, keep), _only(truth, keep)
    frame_dice = tuple(
        (int(i), dice(found[i], truth[i]) if found[i].any() or truth[i].any() else math.nan)
        for i in np.flatnonzero(keep)
    )
    return {
        **_overall(found, truth, spacing, kind == "3d", tolerance_mm),
        **_by_frame(found[keep], truth[keep], kind),
        "frame_dice": frame_dice,
    }


def _overall(
    found: NDArray[np.bool_],
    truth: NDArray[np.bool_],
    spacing: Sequence[float],
    solid: bool,
    tolerance: float,
) -> dict[str, float]:
    """Return the measures of all frames together, and those of the true range."""
    box = union_box(found, truth) or (slice(0),) * 3
    found, truth = found[box], truth[box]
    shown = frames_shown(truth)
    within = _only(found, shown)
    apart = _distances(found, truth, spacing, solid)
    ranged = apart if np.array_equal(within, found) else _distances(within, truth, spacing, solid)
    hausdorff = apart
    if not solid and found.any() and truth.any():
        hausdorff = _distances(within, _only(truth, frames_shown(within)), spacing, solid)
    return {
        "dice": dice(found, truth),
        "iou": iou(found, truth),
        "nsd": apart.overlap(tolerance),
        "hd95": _finite(hausdorff.percentile(95)),
        "volume_error": _finite(volume_error(found, truth)),
        "dice_range": dice(within, truth) if shown.any() else math.nan,
        "nsd_range": ranged.overlap(tolerance) if shown.any() else math.nan,
    }


def _by_frame(found: NDArray[np.bool_], truth: NDArray[np.bool_], kind: str) -> dict[str, float]:
    """Return the measures that are taken frame by frame, on the labelled frames alone."""
    values = dict.fromkeys(_BY_FRAME, math.nan)
    if kind != "2d":
        values["presence_precision"] = presence_precision(found, truth)
        values["presence_recall"] = presence_recall(found, truth)
        values["frames_beyond"] = float(frames_beyond(found, truth))
    if kind == "video":
        values["j"], values["f"] = region_j(found, truth), contour_f(found, truth)
        values["jf"] = (values["j"] + values["f"]) / 2
    return values


def _distances(
    found: NDArray[np.bool_], truth: NDArray[np.bool_], spacing: Sequence[float], solid: bool
) -> SurfaceDistances:
    if solid:
        return surface_distances(found, truth, spacing)
    plane = tuple(spacing)[-2:]
    pairs = zip(found, truth, strict=True)
    return SurfaceDistances.pooled(surface_distances(a, b, plane) for a, b in pairs)


def _mask_of(frames: Iterable[int] | None, n: int) -> NDArray[np.bool_]:
    """Return which of `n` frames are labelled."""
    if frames is None:
        return np.ones(n, dtype=bool)
    indices = np.fromiter(frames, dtype=np.int64)
    if not indices.size:
        raise InputError("no frame is labelled, so there is nothing to measure")
    if indices.min() < 0 or indices.max() >= n:
        raise InputError(
            f"labelled frames run from {indices.min()} to {indices.max()}, but the masks have "
            f"frames 0 to {n - 1}"
        )
    keep = np.zeros(n, dtype=bool)
    keep[indices] = True
    return keep


def _only(masks: NDArray[np.bool_], frames: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Empty the other frames; cutting them out would bring their neighbours together."""
    return masks if frames.all() else masks & frames[:, np.newaxis, np.newaxis]


def _count(mask: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask))


def _finite(value: float) -> float:
    return value if math.isfinite(value) else math.nan
