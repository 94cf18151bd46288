"""Where an object was prompted on large frames, and from where each frame is reached."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_medsam2.models.base import has_memory

from .zoom import contains, extent, union
from .zoom_legs import Known, Leg
from .zoom_look import look
from .zoom_prompts import area_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from napari_medsam2.prompts import ObjectPrompts

    from .tracker import Propagation
    from .zoom import Area, Region, Zoom
    from .zoom_look import Finding

__all__ = ["first_legs"]

# Prompts on several frames share a region unless it must be larger by more than this for it.
_SPREAD = 2.0


@dataclass(frozen=True, eq=False)
class _Place:
    """Prompted frames of an object, one after the other, that are seen in one region."""

    region: Region
    frames: tuple[int, ...]
    findings: Mapping[int, Finding]

    @property
    def low(self) -> int:
        return self.frames[0]

    @property
    def high(self) -> int:
        return self.frames[-1]


def first_legs(propagation: Propagation, zoom: Zoom) -> list[Leg]:
    """Return the legs that set out from the prompts of a propagation, all those forward first.

    Frames with prompts that say what an object is are segmented for it; the others, corrections,
    belong to the leg that reaches them.
    """
    objects = propagation.prompts.objects
    told = {entry.id: _told_first(entry, propagation) for entry in objects}
    findings: dict[int, dict[int, Finding]] = {entry.id: {} for entry in objects}
    for frame in sorted({f for frames in told.values() for f in frames}):
        here = [entry for entry in objects if frame in told[entry.id]]
        for i, finding in look(propagation.encoder, zoom, here, frame).items():
            findings[i][frame] = finding
    legs = [
        leg
        for entry in objects
        for leg in _legs(entry, _places(entry, findings[entry.id], propagation, zoom), propagation)
    ]
    return sorted(legs, key=lambda leg: -leg.step)


def _told_first(entry: ObjectPrompts, propagation: Propagation) -> list[int]:
    """Return the frames that say what an object is, as `StreamedSweeps` has it."""
    remembers = has_memory(propagation.encoder.model)
    corrected = {*propagation.corrections.get(entry.id, ())} if remembers else set()
    return [f for f in entry.frames if f not in corrected] or list(entry.frames)


def _places(
    entry: ObjectPrompts, findings: Mapping[int, Finding], propagation: Propagation, zoom: Zoom
) -> list[_Place]:
    """Return where an object was prompted, ascending."""
    areas = {f: _area(entry, f, finding, zoom) for f, finding in findings.items()}
    groups: list[list[int]] = []
    # Without a memory, a frame is reached from one prompted frame alone.
    remembers = has_memory(propagation.encoder.model)
    for frame in sorted(areas):
        if groups and remembers and _are_near([areas[f] for f in (*groups[-1], frame)], zoom):
            groups[-1].append(frame)
        else:
            groups.append([frame])
    places = []
    owned = _owned([f for f in entry.frames if f not in areas], groups, propagation.direction)
    for group, corrected in zip(groups, owned, strict=True):
        region = _region([findings[f] for f in group], union(*(areas[f] for f in group)), zoom)
        shown = [f for f in corrected if contains(region, area_of(entry.on(f), zoom.shape))]
        frames = tuple(sorted((*group, *shown)))
        places.append(_Place(region, frames, {f: findings[f] for f in group}))
    return places


def _area(entry: ObjectPrompts, frame: int, finding: Finding, zoom: Zoom) -> Area:
    said = area_of(entry.on(frame), zoom.shape)
    return said if finding.is_empty else union(said, finding.claim.bbox)


def _are_near(areas: Sequence[Area], zoom: Zoom) -> bool:
    single = max(max(extent(zoom.around(area))) for area in areas)
    return max(extent(zoom.around(union(*areas)))) <= _SPREAD * single


def _region(findings: Sequence[Finding], area: Area, zoom: Zoom) -> Region:
    """Return the region to look at, one that was looked at already if it shows enough.

    None below the size of the network's input: there an object would seem to move too fast.
    """
    used = [f.region for f in findings if zoom.shows(f.region, area)]
    used = [region for region in used if max(extent(region)) >= zoom.side]
    return min(used, key=extent, default=zoom.around(area))


def _owned(
    corrected: Sequence[int], groups: Sequence[Sequence[int]], direction: str
) -> list[list[int]]:
    """Divide corrected frames among the places, by where they are reached from."""
    owned: list[list[int]] = [[] for _ in groups]
    for frame in corrected:
        behind = [k for k, group in enumerate(groups) if group[0] <= frame]
        owner = behind[-1] if behind else 0
        if direction != "forward" and frame > groups[owner][-1] and owner + 1 < len(groups):
            beyond_middle = frame > (groups[owner][-1] + groups[owner + 1][0]) // 2
            owner += direction == "backward" or beyond_middle
        owned[owner].append(frame)
    return owned


def _legs(entry: ObjectPrompts, places: Sequence[_Place], propagation: Propagation) -> list[Leg]:
    legs = []
    wanted, direction = propagation.wanted, propagation.direction
    for k, place in enumerate(places):
        if direction != "backward":
            last = wanted[-1]
            if k + 1 < len(places):
                last = min(last, _border(place, places[k + 1], direction))
            if max(place.low, wanted[0]) <= last:
                legs.append(_leg(entry, place, place.low, place.low, last, 1, direction))
        if direction != "forward":
            last = wanted[0]
            if k > 0:
                last = max(last, _border(places[k - 1], place, direction) + 1)
            origin = place.high if direction == "backward" else place.low
            first = origin if direction == "backward" else origin - 1
            if min(first, wanted[-1]) >= last:
                legs.append(_leg(entry, place, origin, first, last, -1, direction))
    return legs


def _border(place: _Place, following: _Place, direction: str) -> int:
    """Return the last frame that is reached from the first of two places."""
    if direction == "both":
        return (place.high + following.low) // 2
    return following.low - 1 if direction == "forward" else place.high


def _leg(
    entry: ObjectPrompts,
    place: _Place,
    origin: int,
    first: int,
    last: int,
    step: int,
    direction: str,
) -> Leg:
    known = {
        f: Known(finding.found(f), finding.claim)
        for f, finding in place.findings.items()
        if finding.region != place.region and not finding.is_empty
    }
    start = place.findings.get(origin)
    return Leg(
        entry=entry,
        region=place.region,
        origin=origin,
        first=first,
        last=last,
        step=step,
        frames=frozenset(place.frames),
        known=known,
        seen=None if start is None or start.is_empty else start.found(origin),
        is_half=direction == "both",
    )
