"""Frames shown in other ways: turned, zoomed, stretched, brighter, noisier, blurred.

One draw holds for all frames of a clip, so that what changes from frame to frame is the object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import ndimage

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Augmentation", "draw"]

_SIDE = 256


@dataclass(frozen=True)
class Augmentation:
    """One way of showing frames.

    Attributes
    ----------
    centre : (y, x)
        What lies in the middle, in pixels of the frame.
    size : (height, width)
        Of what is shown, in pixels of the frame.
    shape : (height, width)
        Of the result.
    angle : float
        In radians.
    flip : (bool, bool)
        Upside down, left to right.
    gamma, contrast, brightness : float
        Of intensities in [0, 1]: ``contrast * (x ** gamma - 0.5) + 0.5 + brightness``.
    invert : bool
    noise : float
        Standard deviation, of intensities in [0, 1].
    blur : float
        In pixels of the result.
    seed : int
        Of the noise.
    """

    centre: tuple[float, float]
    size: tuple[float, float]
    shape: tuple[int, int]
    angle: float = 0.0
    flip: tuple[bool, bool] = (False, False)
    gamma: float = 1.0
    contrast: float = 1.0
    brightness: float = 0.0
    invert: bool = False
    noise: float = 0.0
    blur: float = 0.0
    seed: int = 0

    def image(self, frame: NDArray[np.float32], index: int = 0) -> NDArray[np.float32]:
        """Show a frame.

        Parameters
        ----------
        frame : ndarray of float32
            (y, x) or (y, x, 3), 0..255.
        index : int
            Which one of a clip: each has noise of its own.

        Returns
        -------
        ndarray of float32
            Of `shape`, 0..255.
        """
        if frame.ndim == 3:
            planes = [self._warped(frame[..., c], 1) for c in range(frame.shape[2])]
            shown = np.stack(planes, axis=-1)
        else:
            shown = self._warped(frame, 1)
        shown = np.clip(shown / 255.0, 0.0, 1.0) ** self.gamma
        shown = self.contrast * (shown - 0.5) + 0.5 + self.brightness
        if self.invert:
            shown = 1.0 - shown
        if self.noise:
            rng = np.random.default_rng([self.seed, index])
            shown = shown + rng.normal(0.0, self.noise, shown.shape)
        if self.blur:
            sigma = (self.blur, self.blur, 0)[: shown.ndim]
            shown = ndimage.gaussian_filter(shown, sigma)
        result: NDArray[np.float32] = (np.clip(shown, 0.0, 1.0) * 255.0).astype(np.float32)
        return result

    def labels(self, labels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Show the labels (y, x) of a frame, without mixing their values."""
        return self._warped(labels, 0).astype(np.uint8)

    def _warped(self, plane: NDArray[Any], order: int) -> NDArray[Any]:
        height, width = self.shape
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        turn = np.array([[cos, -sin], [sin, cos]])
        signs = np.where(self.flip, -1.0, 1.0)
        # From a pixel of the result to one of the frame.
        matrix = turn @ np.diag(signs * np.array(self.size) / [height, width])
        offset = np.array(self.centre) - matrix @ np.array([(height - 1) / 2, (width - 1) / 2])
        source = plane
        shrink = max(s / n for s, n in zip(self.size, self.shape, strict=True))
        if order and shrink > 1.5:
            source = ndimage.gaussian_filter(plane.astype(np.float32), shrink / 3)
        warped: NDArray[Any] = ndimage.affine_transform(
            source, matrix, offset, output_shape=self.shape, order=order, mode="constant"
        )
        return warped


def draw(
    shape: tuple[int, int], middle: tuple[float, float], rng: np.random.Generator
) -> Augmentation:
    """Draw a way of showing frames.

    Parameters
    ----------
    shape : (height, width)
        Of the frames.
    middle : (y, x)
        Where the object is: zooming in keeps it in sight.
    rng : numpy.random.Generator
    """
    # Zooming out shows darkness around the frame, so it is rarer than zooming in.
    zoom = float(np.exp(rng.uniform(-1.0, 0.2)))
    stretch = float(np.exp(rng.normal(0.0, 0.12)))
    height, width = (n * zoom for n in shape)
    size = (height * stretch, width / stretch)
    share = min(1.0, max(0.0, 1.0 - zoom))
    centre = tuple(
        (n - 1) / 2 + (m - (n - 1) / 2) * share + rng.normal(0.0, 0.08) * s
        for n, m, s in zip(shape, middle, size, strict=True)
    )
    # Without the stretch, which so changes the shape of things.
    scale = _SIDE / max(height, width)
    quarter = float(rng.integers(4)) * np.pi / 2 if rng.random() < 0.3 else 0.0
    return Augmentation(
        centre=(float(centre[0]), float(centre[1])),
        size=size,
        shape=(max(16, round(height * scale)), max(16, round(width * scale))),
        angle=quarter + float(rng.normal(0.0, 0.15)),
        flip=(bool(rng.random() < 0.3), bool(rng.random() < 0.5)),
        gamma=float(np.exp(rng.normal(0.0, 0.25))),
        contrast=float(np.exp(rng.normal(0.0, 0.15))),
        brightness=float(rng.normal(0.0, 0.05)),
        invert=bool(rng.random() < 0.1),
        noise=float(abs(rng.normal(0.0, 0.03))),
        blur=float(max(0.0, rng.normal(0.0, 0.6))),
        seed=int(rng.integers(2**31)),
    )
