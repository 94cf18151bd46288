"""Clips that are made up: shapes of many kinds that move, grow, fade and end.

Shapes are level sets of smooth noise around ellipses; each has an intensity, a texture and a border
of its own, and so has what lies around it. They teach what holds for any image (a click means what
hangs together there, an object ends where its cross-section shrinks to nothing) where real truth is
scarce. `warped` does the same with the objects of a single real image.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["made_up", "warped"]

_SIDE = 256


def made_up(
    seed: int, frames: int = 8, shapes: tuple[int, int] = (2, 7)
) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Make up a clip.

    Parameters
    ----------
    seed : int
    frames : int
    shapes : (int, int)
        The fewest and the most objects.

    Returns
    -------
    images : ndarray of float32
        (frame, 256, 256), 0..255.
    labels : ndarray of uint8
        (frame, 256, 256), objects from 1.
    """
    rng = np.random.default_rng(seed)
    count = int(rng.integers(shapes[0], shapes[1] + 1))
    image: NDArray[np.floating] = np.empty((frames, _SIDE, _SIDE), dtype=np.float32)
    labels = np.zeros((frames, _SIDE, _SIDE), dtype=np.uint8)
    drift = _noise(rng, (frames, _SIDE, _SIDE), (frames / 2, 40, 40))
    image[:] = rng.uniform(0.1, 0.7) + rng.uniform(0.02, 0.15) * drift
    image += rng.uniform(0.0, 0.08) * _noise(rng, (frames, _SIDE, _SIDE), (0.7, 2, 2))
    yy, xx = np.mgrid[:_SIDE, :_SIDE].astype(np.float32)
    time = np.arange(frames) - (frames - 1) / 2
    for number in range(1, count + 1):
        size = float(np.exp(rng.uniform(np.log(7), np.log(60))))
        y, x = rng.uniform(0.1, 0.9, 2) * _SIDE
        dy, dx = rng.normal(0.0, 0.12, 2) * size
        angle, aspect = rng.uniform(0, np.pi), float(np.exp(rng.normal(0.0, 0.35)))
        # A body that is cut: its cross-section shrinks towards both ends, some of them in sight.
        half = float(rng.uniform(1.5, 3.0 * frames))
        peak = float(rng.uniform(-frames / 2, frames / 2))
        bumps = _noise(rng, (frames, _SIDE, _SIDE), (3, size / 2.5 + 2, size / 2.5 + 2))
        bumpy = float(rng.uniform(0.0, 0.35))
        level = np.full((frames, _SIDE, _SIDE), -1.0, dtype=np.float32)
        for i, t in enumerate(time):
            radius = 1 - ((t - peak) / half) ** 2
            if radius <= 0:
                continue
            cy, cx = y + dy * t, x + dx * t
            u = (yy - cy) * np.cos(angle) + (xx - cx) * np.sin(angle)
            v = -(yy - cy) * np.sin(angle) + (xx - cx) * np.cos(angle)
            distance = np.hypot(u * aspect, v / aspect) / (size * np.sqrt(radius))
            level[i] = 1 - distance + bumpy * bumps[i]
        mask = level > 0
        if not mask.any():
            continue
        labels[mask] = number
        soft = ndimage.gaussian_filter(mask.astype(np.float32), (0, *(rng.uniform(0.4, 2.0),) * 2))
        own = rng.uniform(0.0, 1.0) + rng.uniform(0.0, 0.12) * _noise(
            rng, image.shape, (2, *(rng.uniform(1, 10),) * 2)
        )
        image = image * (1 - soft) + own * soft
        if rng.random() < 0.25:
            border = mask ^ ndimage.binary_erosion(mask, np.ones((1, 3, 3)))
            image = image + rng.normal(0.0, 0.3) * border
    if rng.random() < 0.3:
        image = image * rng.gamma(8, 1 / 8, image.shape)
    image = image + rng.normal(0.0, abs(rng.normal(0.0, 0.04)), image.shape)
    return np.clip(image * 255, 0, 255).astype(np.float32), labels


def warped(
    image: NDArray[np.float32], labels: NDArray[np.uint8], frames: int, rng: np.random.Generator
) -> tuple[list[NDArray[np.float32]], NDArray[np.uint8]]:
    """Turn a single image into a clip: each frame is it, pulled a little further by smooth fields.

    Parameters
    ----------
    image : ndarray of float32
        (y, x) or (y, x, 3).
    labels : ndarray of uint8
        (y, x).
    frames : int
    rng : numpy.random.Generator

    Returns
    -------
    images : list of ndarray of float32
    labels : ndarray of uint8
        (frame, y, x).
    """
    height, width = labels.shape
    reach = 0.02 * max(height, width)
    fields = [_noise(rng, (height, width), (height / 6, width / 6)) for _ in range(2)]
    shift = rng.normal(0.0, 1.0, 2) * reach * 0.7
    grid = np.mgrid[:height, :width].astype(np.float32)
    images, found = [], []
    for t in range(frames):
        by = [f * reach * t * 0.6 + s * t for f, s in zip(fields, shift, strict=True)]
        where = [grid[0] + by[0], grid[1] + by[1]]
        planes = image[..., None] if image.ndim == 2 else image
        moved = np.stack(
            [
                ndimage.map_coordinates(planes[..., c], where, order=1, mode="nearest")
                for c in range(planes.shape[2])
            ],
            axis=-1,
        ).astype(np.float32)
        images.append(moved[..., 0] if image.ndim == 2 else moved)
        found.append(ndimage.map_coordinates(labels, where, order=0, mode="constant"))
    return images, np.stack(found)


def _noise(
    rng: np.random.Generator, shape: tuple[int, ...], sigma: tuple[float, ...]
) -> NDArray[np.float32]:
    """Return smooth noise of mean 0 and standard deviation 1."""
    # Coarse noise that is enlarged is as smooth as filtered noise, and much cheaper.
    coarse = tuple(max(2, round(n / s)) for n, s in zip(shape, sigma, strict=True))
    rough = rng.normal(size=coarse).astype(np.float32)
    zoom = [n / c for n, c in zip(shape, coarse, strict=True)]
    smooth = ndimage.zoom(rough, zoom, order=1 if max(sigma) < 2 else 3, mode="nearest")
    cut = smooth[tuple(slice(n) for n in shape)]
    pad = [(0, n - m) for n, m in zip(shape, cut.shape, strict=True)]
    cut = np.pad(cut, pad, mode="edge")
    result: NDArray[np.float32] = ((cut - cut.mean()) / max(float(cut.std()), 1e-6)).astype(
        np.float32
    )
    return result
