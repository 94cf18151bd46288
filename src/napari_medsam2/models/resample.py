"""Area resampling, the one that LiteMedSAM was trained with (OpenCV's INTER_AREA)."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["resize_area"]


def resize_area(image: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Resize by the area that each output pixel covers of the input pixels.

    Exact for any ratio, up or down: what OpenCV calls INTER_AREA.

    Parameters
    ----------
    image : ndarray of float32
        (y, x) or (y, x, channels).
    shape : (height, width)

    Returns
    -------
    ndarray of float32
        (height, width) or (height, width, channels).
    """
    height, width = shape
    if image.shape[:2] == shape:
        return image
    rows, cols = _overlap(image.shape[0], height), _overlap(image.shape[1], width)
    resized = np.tensordot(rows, image, axes=(1, 0))
    return np.ascontiguousarray(np.moveaxis(np.tensordot(cols, resized, axes=(1, 1)), 0, 1))


@lru_cache(maxsize=16)
def _overlap(n_in: int, n_out: int) -> NDArray[np.float32]:
    edges_out = np.arange(n_out + 1) * (n_in / n_out)
    low, high = edges_out[:-1, None], edges_out[1:, None]
    pixel = np.arange(n_in)[None]
    weights = np.clip(np.minimum(high, pixel + 1) - np.maximum(low, pixel), 0, None)
    overlap: NDArray[np.float32] = (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
    return overlap
