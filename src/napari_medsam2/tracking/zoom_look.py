"""Objects segmented on one large frame, each in the region that shows it best."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from napari_medsam2.models.prompting import frame_prompt
from napari_medsam2.prompts import ObjectPrompts

from .contest import Claim
from .zoom import extent, union
from .zoom_prompts import Found, area_of, in_region, is_clicked

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from napari_medsam2.models.base import FramePrompt, Prediction
    from napari_medsam2.prompts import Prompt

    from .embeddings import FrameEncoder
    from .zoom import Area, Region, Zoom

__all__ = ["Finding", "look"]

# Clicks do not tell how large an object is. They are asked in regions of so many times the
# network's input until an answer is this confident, and in the whole frame; else the most
# confident of all counts (docs/large-images.md).
_SCALES = (1.0, 0.5, 0.25, 4.0)
_SURE = 0.35
# Pixels of logits that one call of the decoder may return: 256 MiB.
_MOST_PIXELS = 1 << 26


@dataclass(frozen=True, eq=False)
class Finding:
    """What was found of an object on a frame.

    Attributes
    ----------
    region : (y0, x0, y1, x1)
        Where the network looked.
    claim : Claim
        In the coordinates of the frame.
    """

    region: Region
    claim: Claim

    @property
    def is_empty(self) -> bool:
        """Whether the mask has no pixel."""
        return not self.claim.logits.size

    def found(self, frame: int) -> Found:
        """Return the mask, to go on from."""
        return Found(frame, self.claim.bbox, self.claim.logits > 0)


@dataclass(frozen=True, eq=False)
class _Search:
    """Where to look for an object next, and the best that was found so far."""

    area: Area
    regions: tuple[Region, ...]
    best: Finding | None = None

    @classmethod
    def of(cls, prompts: Sequence[Prompt], zoom: Zoom) -> _Search:
        """Return the search for what was prompted."""
        area = area_of(prompts, zoom.shape)
        if not is_clicked(prompts):
            return cls(area, (zoom.around(area),))
        regions = (zoom.around(area, scale * zoom.side) for scale in _SCALES)
        return cls(area, tuple(dict.fromkeys((*regions, zoom.whole))))

    def told(self, finding: Finding, zoom: Zoom) -> _Search:
        """Return the search after an answer in the first of its regions."""
        left = self.regions[1:]
        better = self.best is None or finding.claim.score > self.best.claim.score
        best = finding if better else self.best
        assert best is not None
        cut = not best.is_empty and zoom.cuts(best.region, best.claim.bbox)
        if left and (cut or best.claim.score < _SURE):
            return replace(self, regions=left, best=best)
        if cut:
            # Only a larger region shows the whole object, whatever the answer in it is worth.
            larger = zoom.grown(best.region, union(self.area, best.claim.bbox))
            return replace(self, regions=(larger,), best=None)
        return replace(self, regions=(), best=best)


def look(
    encoder: FrameEncoder, zoom: Zoom, objects: Iterable[ObjectPrompts], frame: int
) -> dict[int, Finding]:
    """Segment objects on one frame, each in regions that depend on its own prompts alone.

    A region that several objects are looked for in is embedded once.

    Parameters
    ----------
    encoder : FrameEncoder
        Of the whole frames.
    zoom : Zoom
    objects : iterable of ObjectPrompts
        Each with prompts on the frame.
    frame : int

    Returns
    -------
    dict of int to Finding
        By object id.
    """
    prompts = {entry.id: entry.on(frame) for entry in objects}
    searches = {i: _Search.of(told, zoom) for i, told in prompts.items()}
    found: dict[int, Finding] = {}
    while searches:
        for region, ids in _by_region(searches).items():
            told = [_told(i, prompts[i], region, frame) for i in ids]
            for i, prediction in zip(ids, _decoded(encoder, region, frame, told), strict=True):
                finding = Finding(region, Claim.of(prediction, region[:2]))
                search = searches[i].told(finding, zoom)
                searches[i] = search
                if not search.regions:
                    assert search.best is not None
                    found[i] = search.best
        searches = {i: search for i, search in searches.items() if search.regions}
    return found


def _batches(prompts: Sequence[FramePrompt], region: Region) -> Iterator[Sequence[FramePrompt]]:
    """Divide prompts so that no call of the decoder returns too many pixels."""
    height, width = extent(region)
    most = max(1, _MOST_PIXELS // int(height * width))
    return (prompts[first : first + most] for first in range(0, len(prompts), most))


def _by_region(searches: Mapping[int, _Search]) -> dict[Region, list[int]]:
    regions: dict[Region, list[int]] = {}
    for i, search in searches.items():
        regions.setdefault(search.regions[0], []).append(i)
    return regions


def _told(object_id: int, prompts: Sequence[Prompt], region: Region, frame: int) -> FramePrompt:
    size = region[2] - region[0], region[3] - region[1]
    moved = ObjectPrompts(object_id, prompts=in_region(prompts, region))
    return frame_prompt(moved, frame, size)


def _decoded(
    encoder: FrameEncoder, region: Region, frame: int, told: Sequence[FramePrompt]
) -> Iterator[Prediction]:
    """Ask the model in a region."""
    model, cropped = encoder.model, encoder.cropped(region)
    for prompt in told:
        model.check(prompt)
    embedding = cropped(frame)
    for some in _batches(told, region):
        yield from model.decode(embedding, some)
