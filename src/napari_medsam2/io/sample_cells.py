"""A fluorescence time-lapse of cells that crawl, change shape and divide, with true labels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medsam2.volume import Volume

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CELL_DIVISION_FRAMES", "cells"]

_N_FRAMES = 24
_SIZE = 256
_N_CELLS = 12
_RADIUS = 13.0
_MARGIN = 22.0
_LOBES = np.array([2, 3, 4])

# The frame on which the daughters of the first, second, ... cell appear.
CELL_DIVISION_FRAMES: dict[int, int] = {1: 7, 4: 12, 9: 17}


@dataclass(frozen=True)
class _Cell:
    id: int
    position: NDArray[np.float64]
    velocity: NDArray[np.float64]
    radius: float
    lobes: NDArray[np.complex128]
    brightness: float


def cells(seed: int = 0) -> tuple[Volume, NDArray[np.uint8]]:
    """Make a movie of 12 cells, three of which divide.

    Cells walk persistently, push each other away and deform; the image is blurred by the
    microscope, then photons are counted (Poisson) over a background, with read noise and an offset.

    When a cell divides, its label ends with the frame before, and from that frame on two daughters
    carry new ids, both greater than any id before: no id is ever used again.

    Parameters
    ----------
    seed : int

    Returns
    -------
    volume : Volume
        tyx, (24, 256, 256) uint16, spacing 300 s and 0.5 um. ``metadata["lineage"]`` lists
        (id, first frame, last frame, parent or 0), the columns of the Cell Tracking Challenge.
    labels : ndarray of uint8
        The cell of each pixel, 0 for none.
    """
    from scipy import ndimage

    rng = np.random.default_rng(seed)
    population = _founders(rng)
    lineage = {c.id: [c.id, 0, _N_FRAMES - 1, 0] for c in population}
    image = np.zeros((_N_FRAMES, _SIZE, _SIZE), dtype=np.uint16)
    labels = np.zeros((_N_FRAMES, _SIZE, _SIZE), dtype=np.uint8)
    for frame in range(_N_FRAMES):
        dividing = [i for i, at in CELL_DIVISION_FRAMES.items() if at == frame]
        for mother in [c for c in population if c.id in dividing]:
            first_id = max(lineage) + 1
            daughters = _divide(mother, first_id, rng)
            population = [c for c in population if c is not mother] + daughters
            lineage[mother.id][2] = frame - 1
            lineage |= {d.id: [d.id, frame, _N_FRAMES - 1, mother.id] for d in daughters}
        light, labels[frame] = _draw(population)
        blurred = ndimage.gaussian_filter(light, 1.3)
        photons = rng.poisson(blurred + 40.0)
        image[frame] = np.clip(photons + rng.normal(100, 3, photons.shape), 0, 65_535).astype(int)
        population = _move(population, rng)
    volume = Volume(
        image,
        axes="tyx",
        spacing=(300.0, 0.5, 0.5),
        units=("s", "um", "um"),
        name="cells",
        metadata={"format": "synthetic", "lineage": [tuple(row) for row in lineage.values()]},
    )
    return volume, labels


def _founders(rng: np.random.Generator) -> list[_Cell]:
    """Place cells on a loose grid, in the order of their ids."""
    columns = 4
    places = np.stack(np.divmod(np.arange(_N_CELLS), columns), axis=1)
    cell = np.array([_SIZE / (_N_CELLS // columns), _SIZE / columns])
    positions = (places + 0.5) * cell + rng.uniform(-9, 9, (_N_CELLS, 2))
    return [
        _Cell(
            id=i + 1,
            position=position,
            velocity=rng.normal(0, 2.0, 2),
            radius=_RADIUS * rng.uniform(0.85, 1.15),
            lobes=_shape_noise(rng, 0.08),
            brightness=rng.uniform(90, 260),
        )
        for i, position in enumerate(positions)
    ]


def _shape_noise(rng: np.random.Generator, size: float) -> NDArray[np.complex128]:
    # Cells are rather long than star-shaped: the more lobes, the weaker.
    real, imaginary = rng.normal(0, size, (2, len(_LOBES))) * 3 / _LOBES**1.5
    return np.asarray(real + 1j * imaginary)


def _divide(mother: _Cell, first_id: int, rng: np.random.Generator) -> list[_Cell]:
    angle = rng.uniform(0, np.pi)
    offset = np.array([np.sin(angle), np.cos(angle)]) * mother.radius * 0.8
    return [
        replace(
            mother,
            id=first_id + i,
            position=mother.position + sign * offset,
            velocity=sign * offset / 4,
            radius=mother.radius * 0.8,
            lobes=_shape_noise(rng, 0.06),
        )
        for i, sign in enumerate((-1, 1))
    ]


def _move(population: list[_Cell], rng: np.random.Generator) -> list[_Cell]:
    """Return the cells of the next frame: a walk with memory, contacts that push, walls."""
    positions = np.array([c.position for c in population])
    radii = np.array([c.radius for c in population])
    apart = positions[:, None] - positions[None]
    distance = np.linalg.norm(apart, axis=-1) + 1e-9
    overlap = np.clip((radii[:, None] + radii[None]) * 1.15 - distance, 0, None)
    np.fill_diagonal(overlap, 0)
    push = (apart / distance[..., None] * overlap[..., None]).sum(axis=1) * 0.5
    wall = np.clip(_MARGIN - positions, 0, None) - np.clip(positions - (_SIZE - _MARGIN), 0, None)
    return [
        replace(
            c,
            position=c.position + c.velocity + push[i] + wall[i],
            velocity=0.75 * c.velocity + rng.normal(0, 1.2, 2) + 0.3 * wall[i],
            radius=min(_RADIUS, c.radius * 1.01) if c.radius < _RADIUS else c.radius,
            lobes=0.85 * c.lobes + _shape_noise(rng, 0.04),
        )
        for i, c in enumerate(population)
    ]


def _draw(population: list[_Cell]) -> tuple[NDArray[np.float64], NDArray[np.uint8]]:
    """Return the light of the cells and who covers each pixel; the deeper inside wins."""
    light = np.zeros((_SIZE, _SIZE))
    labels = np.zeros((_SIZE, _SIZE), dtype=np.uint8)
    deepest = np.zeros((_SIZE, _SIZE))
    for c in population:
        reach = int(c.radius * 1.7) + 2
        y0, x0 = (max(0, int(p) - reach) for p in c.position)
        y, x = np.mgrid[y0 : min(_SIZE, y0 + 2 * reach), x0 : min(_SIZE, x0 + 2 * reach)]
        dy, dx = y - c.position[0], x - c.position[1]
        depth = _outline(c, np.arctan2(dy, dx)) - np.hypot(dy, dx)
        window = (slice(y0, y0 + depth.shape[0]), slice(x0, x0 + depth.shape[1]))
        grain = 1 + 0.15 * np.sin(dy / 2.1 + c.id) * np.sin(dx / 2.7 - c.id)
        dome = np.clip(depth + 0.5, 0, 1) * (0.75 + 0.25 * np.clip(depth / c.radius, 0, 1))
        light[window] = np.maximum(light[window], c.brightness * dome * grain)
        mine = (depth > 0) & (depth > deepest[window])
        labels[window][mine] = c.id
        deepest[window][mine] = depth[mine]
    return light, labels


def _outline(cell: _Cell, angle: NDArray[Any]) -> NDArray[np.float64]:
    """Return the radius of a cell in each direction."""
    waves = np.exp(1j * angle[..., None] * _LOBES) @ cell.lobes
    return np.asarray(cell.radius * np.clip(1 + waves.real, 0.6, 1.5))
