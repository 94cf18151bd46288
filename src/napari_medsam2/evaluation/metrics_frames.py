"""Measures frame by frame: the J and F of DAVIS, and on which frames an object was found."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from .surfaces import check_masks, contour_match

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "contour_f",
    "frames_beyond",
    "frames_shown",
    "j_and_f",
    "presence_precision",
    "presence_recall",
    "region_j",
]

_DAVIS_SHARE = 0.008


def region_j(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return DAVIS's J: the mean over the frames of their `iou`, 1 where both are empty.

    Parameters
    ----------
    found, truth : ndarray of bool
        (frame, y, x).

    References
    ----------
    Pont-Tuset et al., "The 2017 DAVIS challenge on video object segmentation", arXiv:1704.00675.
    """
    check_masks(found, truth)
    both = np.count_nonzero(found & truth, axis=(1, 2))
    either = np.count_nonzero(found | truth, axis=(1, 2))
    return float(np.mean(np.where(either == 0, 1.0, both / np.maximum(either, 1))))


def contour_f(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return DAVIS's F: the mean over the frames of how well the contours match.

    Contours match within 0.008 of the frame's diagonal, rounded up to whole pixels. A frame with
    no contour on either mask is 1. A mask that fills the frame has no contour.

    Parameters
    ----------
    found, truth : ndarray of bool
        (frame, y, x), whole frames.

    References
    ----------
    Perazzi et al., CVPR 2016; see `surfaces.contour_match`.
    """
    check_masks(found, truth)
    pairs = zip(found, truth, strict=True)
    return float(np.mean([contour_match(a, b, _DAVIS_SHARE) for a, b in pairs]))


def j_and_f(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return DAVIS's J&F: the mean of `region_j` and `contour_f`.

    DAVIS leaves out the first and the last frame of a video; cut them off to compare with its
    tables.
    """
    return (region_j(found, truth) + contour_f(found, truth)) / 2


def presence_precision(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return which share of the frames with a mask truly shows the object.

    Parameters
    ----------
    found, truth : ndarray of bool
        (frame, y, x).

    Returns
    -------
    float
        1 if there is neither a mask nor an object on any frame, nan if there is an object but no
        mask.
    """
    check_masks(found, truth)
    return _share(frames_shown(found), frames_shown(truth))


def presence_recall(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Return which share of the frames that show the object has a mask.

    Parameters
    ----------
    found, truth : ndarray of bool
        (frame, y, x).

    Returns
    -------
    float
        1 if there is neither a mask nor an object on any frame, nan if there is a mask but no
        object.
    """
    check_masks(found, truth)
    return _share(frames_shown(truth), frames_shown(found))


def frames_beyond(found: NDArray[np.bool_], truth: NDArray[np.bool_]) -> int:
    """Return the number of frames with a mask before the first or after the last true one.

    How far a propagation ran past the ends of the object; every frame with a mask, if the truth
    shows the object nowhere.

    Parameters
    ----------
    found, truth : ndarray of bool
        (frame, y, x).
    """
    check_masks(found, truth)
    masks, true = np.flatnonzero(frames_shown(found)), np.flatnonzero(frames_shown(truth))
    if not true.size:
        return int(masks.size)
    return int(np.count_nonzero((masks < true[0]) | (masks > true[-1])))


def frames_shown(masks: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return for each frame of (frame, y, x) whether there is a mask on it."""
    return np.asarray(masks.any(axis=(1, 2)))


def _share(of: NDArray[np.bool_], which: NDArray[np.bool_]) -> float:
    if not of.any():
        return math.nan if which.any() else 1.0
    return float(np.mean(which[of]))
