"""The way of an object along large frames, cut into legs: on each, one region is looked at.

What a model remembers of an object belongs to one region. Where the object leaves it, the next leg
sets out from the last mask, in a region around that.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from .zoom import contains, union
from .zoom_prompts import Found, area_of, in_region

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_medsam2.prompts import ObjectPrompts

    from .contest import Claim
    from .zoom import Area, Region, Zoom

__all__ = ["Known", "Leg", "next_leg"]


@dataclass(frozen=True, eq=False)
class Known:
    """What was found on a frame before the leg, to be used in place of prompts.

    Attributes
    ----------
    found : Found
    claim : Claim or None
        What to state of the frame; None if that has been done.
    """

    found: Found
    claim: Claim | None = None


@dataclass(frozen=True, eq=False)
class Leg:
    """A stretch of frames along which an object is carried in one region, in one direction.

    Attributes
    ----------
    entry : ObjectPrompts
        The object, with all that was said of it.
    region : (y0, x0, y1, x1)
    origin : int
        The frame that it sets out from.
    first, last : int
        The frames to state, in the order of travel; `first` may come after `last`.
    step : {1, -1}
    frames : frozenset of int
        The prompted frames whose prompts hold on this leg.
    known : mapping of int to Known
        By frame.
    seen : Found or None
        The object's mask on the origin, if it is known by now.
    is_half : bool
        Whether the other half goes from the same origin in the other direction.
    """

    entry: ObjectPrompts
    region: Region
    origin: int
    first: int
    last: int
    step: int
    frames: frozenset[int]
    known: Mapping[int, Known] = field(default_factory=dict)
    seen: Found | None = None
    is_half: bool = False

    @property
    def later(self) -> int | None:
        """The first frame ahead whose prompts the region does not show."""
        return next((f for f in self.ahead(self.first) if f not in self.frames), None)

    @property
    def end(self) -> int:
        """The last frame that can be stated in this region."""
        later = self.later
        return self.last if later is None else later - self.step

    @property
    def span(self) -> range:
        """The frames from `first` to `end`, ascending."""
        low, high = sorted((self.first, self.end))
        return range(low, high + 1) if (self.end - self.first) * self.step >= 0 else range(0)

    def ahead(self, frame: int) -> list[int]:
        """Return the prompted frames from one on, in the order of travel."""
        way = range(frame, self.last + self.step, self.step)
        return [f for f in self.entry.frames[:: self.step] if f in way]

    def prompts(self, *, takes_masks: bool) -> ObjectPrompts:
        """Return what holds on the leg, in the coordinates of the region."""
        found = (known.found for known in self.known.values())
        masks = (f.as_mask(self.region) if takes_masks else f.as_box(self.region) for f in found)
        told = [p for p in self.entry.prompts if p.frame in self.frames - {*self.known}]
        return replace(self.entry, prompts=(*masks, *in_region(told, self.region)))


def next_leg(leg: Leg, zoom: Zoom, frame: int, seen: Found | None, cut: Area | None = None) -> Leg:
    """Return the leg that goes on where another one cannot.

    Parameters
    ----------
    leg : Leg
    zoom : Zoom
    frame : int
        The first frame that it has not stated: there the mask reaches the region's edge, or there
        are prompts that it does not show.
    seen : Found or None
        The last mask before, None if there is none.
    cut : (y0, x0, y1, x1), optional
        The mask that reaches the edge.
    """
    areas = [] if cut is None else [cut]
    if frame == leg.later:
        areas.append(area_of(leg.entry.on(frame), zoom.shape))
    if seen is None:
        # Nothing to set out from: the same way again, in a region that shows more.
        region = zoom.grown(leg.region, union(leg.region, *areas))
        return replace(leg, region=region, first=frame, frames=leg.frames | {frame})
    region = leg.region
    if cut is None:
        region = zoom.around(union(seen.bbox, *areas))
    elif seen.frame != leg.origin:
        # It has come a part of the way: a region that has moved may be enough.
        region = zoom.around(seen.bbox)
    if region == leg.region:
        region = zoom.grown(leg.region, union(seen.bbox, *areas))
    ahead = leg.ahead(frame)
    known = {f: k for f, k in leg.known.items() if f in ahead and contains(region, k.found.bbox)}
    shown = (f for f in ahead if contains(region, area_of(leg.entry.on(f), zoom.shape)))
    return Leg(
        entry=leg.entry,
        region=region,
        origin=seen.frame,
        first=frame,
        last=leg.last,
        step=leg.step,
        frames=frozenset({*shown, *known}),
        known={seen.frame: Known(seen), **known},
        seen=seen,
    )
