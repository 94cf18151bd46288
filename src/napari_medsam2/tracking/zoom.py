"""Which part of a large frame a network looks at.

A network sees a frame at 256 to 1024 pixels a side, and an object of 60 pixels on a frame of 5,000
is nothing by then. So the network is shown a square around the object instead: large enough for
what was prompted with its surroundings, as a rule no smaller than the network's own input, and
larger again when the mask reaches its edge (Isensee et al., "nnInteractive: Redefining 3D
Promptable Segmentation", 2025, do so with volumes and call it AutoZoom). docs/large-images.md has
the measurements behind the constants.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING

from napari_medsam2.models.base import input_side

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .embeddings import FrameEncoder

__all__ = ["Area", "Region", "Zoom", "contains", "extent", "union"]

Region = tuple[int, int, int, int]
"""A part of a frame: (y0, x0, y1, x1), half-open, in pixels."""
Area = tuple[float, float, float, float]
"""The same in fractions of pixels; without extent for a single point."""

# A frame is large from this many times the network's input on.
_LARGE = 2.0
# The smallest regions, as a share of the network's input: they are shown enlarged.
_FINEST = 4
# A region with more than one by this of the frame's longer side is no gain over the frame.
_GAIN = 1.5
# The surroundings that an object is shown with, on each side, as a share of its own extent.
_MARGIN = 0.5
# Regions lie on a grid, so that neighbouring objects and prompts that move meet in the same one,
# which is embedded already: one of half their side if that shows enough, else one of a quarter.
_GRIDS = (2, 4)
# By how much a region grows at least when the mask reaches its edge.
_GROWTH = 1.5
# How near to the edge a mask must come to have reached it, as a share of the region's side.
_REACH = 1 / 128


@dataclass(frozen=True)
class Zoom:
    """How regions of a large frame are chosen, the same way for the same prompts.

    Attributes
    ----------
    shape : (height, width)
        Of the frame in pixels.
    side : int
        Of the network's input.
    """

    shape: tuple[int, int]
    side: int

    @classmethod
    def of(cls, encoder: FrameEncoder) -> Zoom | None:
        """Return how to look at the frames of an encoder, None if they are to be seen whole."""
        side = input_side(encoder.model)
        shape = encoder.stack.shape
        if side is None or max(shape) <= _LARGE * side:
            return None
        return cls(shape, side)

    @property
    def whole(self) -> Region:
        """The whole frame."""
        return (0, 0, *self.shape)

    def around(self, area: Area, least: float | None = None) -> Region:
        """Return the smallest region that shows an area with its surroundings.

        Parameters
        ----------
        area : (y0, x0, y1, x1)
            Cut to the frame.
        least : float, optional
            The region's side must not be smaller; the side of the network's input by default.

        Returns
        -------
        Region
            On the grid of its size; the whole frame where a region would be no gain.
        """
        least = self.side if least is None else least
        needed = self._with_surroundings(area)
        for side in self._sides():
            for grid in _GRIDS:
                region = self._region(area, side, side // grid)
                if side >= least and contains(region, needed):
                    return region
        return self.whole

    def grown(self, region: Region, area: Area) -> Region:
        """Return a larger region around an area that reaches the edge of this one."""
        return self.around(area, least=_GROWTH * max(extent(region)))

    def shows(self, region: Region, area: Area) -> bool:
        """Whether a region holds an area with its surroundings, as far as the frame has any."""
        return contains(region, self._with_surroundings(area))

    def cuts(self, region: Region, area: Area) -> bool:
        """Whether an area reaches an edge of a region behind which the frame goes on."""
        reach = max(1.0, _REACH * max(extent(region)))
        height, width = self.shape
        return (
            (region[0] > 0 and area[0] < region[0] + reach)
            or (region[1] > 0 and area[1] < region[1] + reach)
            or (region[2] < height and area[2] > region[2] - reach)
            or (region[3] < width and area[3] > region[3] - reach)
        )

    def _sides(self) -> Iterator[int]:
        """Return the sides of regions: 1, 1.5, 2, 3, 4, 6, ... times the smallest."""
        longest, finest = max(self.shape), self.side // _FINEST
        for power in count():
            for side in (finest << power, 3 * finest << power >> 1):
                if side * _GAIN > longest:
                    return
                yield side

    def _with_surroundings(self, area: Area) -> Area:
        margin = _MARGIN * max(extent(area))
        y0, x0, y1, x1 = area
        height, width = self.shape
        return (
            max(y0 - margin, 0.0),
            max(x0 - margin, 0.0),
            min(y1 + margin, float(height)),
            min(x1 + margin, float(width)),
        )

    def _region(self, area: Area, side: int, step: int) -> Region:
        """Return the region of a size on a grid that has the area most in its middle."""
        corner, size = [], []
        for low, high, n in zip(area[:2], area[2:], self.shape, strict=True):
            at = round(((low + high) / 2 - side / 2) / step) * step
            corner.append(max(0, min(at, n - side)))
            size.append(min(side, n))
        return corner[0], corner[1], corner[0] + size[0], corner[1] + size[1]


def contains(region: Region, area: Area) -> bool:
    """Whether an area lies inside a region."""
    return all(a >= r for a, r in zip(area[:2], region[:2], strict=True)) and all(
        a <= r for a, r in zip(area[2:], region[2:], strict=True)
    )


def extent(area: Area) -> tuple[float, float]:
    """Return the height and width of an area."""
    return area[2] - area[0], area[3] - area[1]


def union(*areas: Area) -> Area:
    """Return the smallest area that holds all."""
    lows = (min(a[i] for a in areas) for i in (0, 1))
    highs = (max(a[i] for a in areas) for i in (2, 3))
    y0, x0 = lows
    y1, x1 = highs
    return y0, x0, y1, x1
