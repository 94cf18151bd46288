"""An abdominal CT phantom in Hounsfield units, with true labels."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from napari_medsam2.volume import Geometry, Volume

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

__all__ = ["PHANTOM_NAMES", "phantom"]

PHANTOM_NAMES: dict[int, str] = {
    1: "liver",
    2: "spleen",
    3: "right kidney",
    4: "left kidney",
    5: "aorta",
    6: "spine",
    7: "gallbladder",
    8: "liver lesion",
}

_SHAPE = (40, 192, 192)
_SPACING = (3.0, 1.8, 1.8)
_NOISE_HU = 15.0
_AIR, _FAT, _MUSCLE, _BOWEL = -1000.0, -100.0, 55.0, 35.0
_RIGHT_KIDNEY, _LEFT_KIDNEY = (-12.0, 36.0, -66.0), (-4.0, 36.0, 66.0)


class _Tissue(NamedTuple):
    """A shape, its Hounsfield units, its label (0 for none) and the box in mm that holds it.

    A shape is a function of z, y, x in mm from the centre (z to the head, y to the back, x to the
    patient's left) that grows by about 1 for each mm, negative inside.
    """

    shape: Callable[..., NDArray[np.float32]]
    hu: float
    label: int
    low: tuple[float, float, float]
    high: tuple[float, float, float]


def phantom(seed: int = 0) -> tuple[Volume, NDArray[np.uint8]]:
    """Make an abdomen: organs in fat, a body wall, bowel as distraction, noise.

    Edges are averaged over eight points a voxel (partial volume), then blurred by the scanner's
    point spread; noise of 15 HU is correlated within a slice, as filtered back projection makes it.
    All objects but spine and aorta begin and end within the volume. The left kidney and the spleen,
    the liver, its lesion and the gallbladder touch or nearly touch.

    Parameters
    ----------
    seed : int
        Of the noise; the anatomy is always the same.

    Returns
    -------
    volume : Volume
        zyx, (40, 192, 192) int16 in HU, spacing (3.0, 1.8, 1.8) mm, LPS geometry.
    labels : ndarray of uint8
        Ids as in `PHANTOM_NAMES`: the tissue of each voxel's larger part.
    """
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    image = np.full(_SHAPE, _AIR, dtype=np.float32)
    labels = np.zeros(_SHAPE, dtype=np.uint8)
    for tissue in _anatomy():
        box, share = _share(tissue)
        image[box] += share * (tissue.hu - image[box])
        labels[box][share > 0.5] = tissue.label
    image = ndimage.gaussian_filter(image, (0.3, 0.6, 0.6))
    noise = ndimage.gaussian_filter(
        rng.standard_normal(_SHAPE, dtype=np.float32), (0.4, 0.8, 0.8), mode="wrap"
    )
    image += noise * (_NOISE_HU / noise.std())
    origin = tuple(-(n - 1) / 2 * s for n, s in zip(_SHAPE[::-1], _SPACING[::-1], strict=True))
    volume = Volume(
        np.clip(np.rint(image), -1024, 3071).astype(np.int16),
        axes="zyx",
        spacing=_SPACING,
        units=("mm", "mm", "mm"),
        geometry=Geometry(origin, (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)),
        name="phantom",
        display=(-160.0, 240.0),
        modality="CT",
        metadata={"format": "phantom", "names": PHANTOM_NAMES},
    )
    return volume, labels


def _anatomy() -> list[_Tissue]:
    """Return tissues in the order of painting: later ones lie over earlier ones."""
    everywhere = (-1e3, -1e3, -1e3), (1e3, 1e3, 1e3)
    tissues = [
        _Tissue(_tube(0, 0, 105, 150), _FAT, 0, *everywhere),
        _Tissue(_tube(2, 0, 90, 134), _MUSCLE, 0, *everywhere),
        _Tissue(_tube(-3, 0, 76, 122), _FAT, 0, *everywhere),
        _Tissue(_tube(52, -34, 20, 18), _MUSCLE, 0, *everywhere),
        _Tissue(_tube(52, 34, 20, 18), _MUSCLE, 0, *everywhere),
    ]
    tissues += [
        _ellipsoid(centre, radii, _BOWEL, 0)
        for centre, radii in (
            ((-30, -35, 40), (18, 15, 26)),
            ((-40, -40, -20), (14, 14, 22)),
            ((-25, -15, 80), (30, 12, 13)),
            ((-46, -20, 10), (10, 16, 30)),
            ((20, -30, 62), (26, 24, 30)),
        )
    ]
    right_kidney = _kidney(_RIGHT_KIDNEY, side=-1)
    left_kidney = _kidney(_LEFT_KIDNEY, side=1)
    return [
        *tissues,
        _Tissue(_liver, 110.0, 1, (-46, -80, -125), (58, 62, 68)),
        _Tissue(_spleen, 130.0, 2, (-30, -20, 64), (58, 68, 122)),
        _Tissue(right_kidney, 180.0, 3, (-56, 4, -102), (32, 68, -38)),
        _Tissue(left_kidney, 180.0, 4, (-48, 4, 36), (40, 68, 100)),
        _Tissue(_aorta, 220.0, 5, (-1e3, 4, -10), (1e3, 40, 36)),
        _Tissue(_spine, 400.0, 6, (-1e3, 30, -60), (1e3, 90, 60)),
        # The canal counts as spine, as in the masks of most CT data sets.
        _Tissue(_tube(63, 0, 7, 8), 30.0, 6, (-1e3, 50, -12), (1e3, 76, 12)),
        _ellipsoid((-18, -38, -52), (22, 13, 12), 12.0, 7),
        _ellipsoid((14, -14, -88), (13, 12, 13), 60.0, 8),
    ]


def _share(tissue: _Tissue) -> tuple[tuple[slice, ...], NDArray[np.float32]]:
    """Return the box of a tissue and how much of each voxel in it, 0 to 1, it fills."""
    box, grids = [], []
    for n, step, low, high in zip(_SHAPE, _SPACING, tissue.low, tissue.high, strict=True):
        first = max(0, int(np.floor(low / step + (n - 1) / 2)))
        stop = min(n, int(np.ceil(high / step + (n - 1) / 2)) + 1)
        box.append(slice(first, stop))
        # Two points a voxel along each axis, and a ramp between: smooth shares at little cost.
        points = np.arange(first - 0.25, stop - 0.25, 0.5)
        grids.append(((points - (n - 1) / 2) * step).astype(np.float32))
    z, y, x = np.meshgrid(*grids, indexing="ij", sparse=True)
    inside = np.clip(0.5 - tissue.shape(z, y, x) / 0.9, 0, 1)
    depth, height, width = (s.stop - s.start for s in box)
    # A shape that does not depend on z has been evaluated for one plane only.
    per_voxel = inside.reshape(-1, min(2, len(inside)), height, 2, width, 2).mean(axis=(1, 3, 5))
    return tuple(box), np.broadcast_to(per_voxel, (depth, height, width))


def _ellipsoid(
    centre: tuple[float, float, float], radii: tuple[float, float, float], hu: float, label: int
) -> _Tissue:
    def shape(
        z: NDArray[np.float32], y: NDArray[np.float32], x: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        return _ball(z, y, x, centre, radii)

    low = (centre[0] - radii[0] - 2, centre[1] - radii[1] - 2, centre[2] - radii[2] - 2)
    high = (centre[0] + radii[0] + 2, centre[1] + radii[1] + 2, centre[2] + radii[2] + 2)
    return _Tissue(shape, hu, label, low, high)


def _ball(
    z: NDArray[np.float32],
    y: NDArray[np.float32],
    x: NDArray[np.float32],
    centre: tuple[float, float, float],
    radii: tuple[float, float, float],
) -> NDArray[np.float32]:
    """Return about the distance in mm from an ellipsoid."""
    offsets = [(v - c) / r for v, c, r in zip((z, y, x), centre, radii, strict=True)]
    squares = offsets[0] ** 2 + offsets[1] ** 2 + offsets[2] ** 2
    slope = np.sqrt(sum((o / r) ** 2 for o, r in zip(offsets, radii, strict=True)))
    radius = np.sqrt(squares)
    return np.asarray((radius - 1) * radius / np.maximum(slope, 1e-6), dtype=np.float32)


def _tube(y0: float, x0: float, height: float, width: float) -> Callable[..., NDArray[np.float32]]:
    """Return an elliptical tube along z with these half axes in mm."""

    def shape(
        z: NDArray[np.float32], y: NDArray[np.float32], x: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        return _ball(np.zeros((1, 1, 1), np.float32), y, x, (0.0, y0, x0), (1.0, height, width))

    return shape


def _join(a: NDArray[np.float32], b: NDArray[np.float32], blend: float) -> NDArray[np.float32]:
    """Return the union of two shapes with a rounded seam of `blend` mm."""
    h = np.clip(0.5 + 0.5 * (b - a) / blend, 0, 1)
    return np.asarray(b + (a - b) * h - blend * h * (1 - h), dtype=np.float32)


def _liver(
    z: NDArray[np.float32], y: NDArray[np.float32], x: NDArray[np.float32]
) -> NDArray[np.float32]:
    right = _ball(z, y, x + 0.15 * z, (5, -8, -70), (46, 60, 46))
    left = _ball(z, y, x, (24, -44, -6), (22, 24, 54))
    # The impression of the right kidney, with a little fat between.
    kidney = _ball(z, y, x, _RIGHT_KIDNEY, (42, 28, 26))
    return np.maximum(_join(right, left, 14), -kidney)


def _spleen(
    z: NDArray[np.float32], y: NDArray[np.float32], x: NDArray[np.float32]
) -> NDArray[np.float32]:
    bent = x + 0.006 * (y - 24) ** 2
    kidney = _ball(z, y, x, _LEFT_KIDNEY, (40, 26, 24))
    return np.maximum(_ball(z, y, bent, (16, 24, 104), (38, 38, 14)), -kidney)


def _kidney(centre: tuple[float, float, float], side: int) -> Callable[..., NDArray[np.float32]]:
    """Return a bean that opens towards the spine; `side` is -1 for the right one."""

    def shape(
        z: NDArray[np.float32], y: NDArray[np.float32], x: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        tilted = x + side * 0.12 * (z - centre[0])
        bean = _ball(z, y, tilted, centre, (38, 24, 22))
        middle = (centre[0], centre[1] - 4, centre[2] - side * 22)
        return np.maximum(bean, -_ball(z, y, tilted, middle, (12, 9, 13)))

    return shape


def _aorta(
    z: NDArray[np.float32], y: NDArray[np.float32], x: NDArray[np.float32]
) -> NDArray[np.float32]:
    radius = np.hypot(y - (22 + 0.04 * z), x - (13 + 4 * np.sin(z / 40)))
    return np.asarray(radius - (10.5 + 0.02 * z), dtype=np.float32)


def _spine(
    z: NDArray[np.float32], y: NDArray[np.float32], x: NDArray[np.float32]
) -> NDArray[np.float32]:
    waist = 1.5 * np.cos(2 * np.pi * z / 32).astype(np.float32)
    body = _ball(np.zeros_like(z), y, x, (0, 44, 0), (1, 15, 20)) - waist
    arch = _ball(np.zeros_like(z), y, x, (0, 66, 0), (1, 13, 17))
    return _join(body, arch, 4)
