"""The objects of an image as a list for a person."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_medsam2.session import Session

__all__ = ["ObjectInfo", "free_id", "list_objects"]

_SEARCHED_BYTES = 64 * 2**20


@dataclass(frozen=True)
class ObjectInfo:
    """One object.

    Attributes
    ----------
    id : int
    name : str
    n_prompts : int
    n_frames : int
        Frames that it was segmented on.
    colour : tuple of float
        RGBA, each 0 to 1.
    """

    id: int
    name: str
    n_prompts: int
    n_frames: int
    colour: tuple[float, ...]


def list_objects(
    session: Session | None, selected: int, colour: Callable[[int], NDArray[np.float32]]
) -> list[ObjectInfo]:
    """Return the objects that have prompts or labels, and the selected one, by id."""
    scores = {} if session is None else session.scores
    entries = {} if session is None else {o.id: o for o in session.prompts.objects}
    infos = []
    for object_id in sorted({*scores, *entries, selected}):
        entry = entries.get(object_id)
        n_frames = int(np.isfinite(scores[object_id]).sum()) if object_id in scores else 0
        infos.append(
            ObjectInfo(
                object_id,
                entry.name if entry else "",
                sum(_count(p) for p in entry.prompts) if entry else 0,
                n_frames,
                tuple(float(v) for v in colour(object_id)),
            )
        )
    return infos


def free_id(session: Session | None, labels: Labels | None) -> int:
    """Return the id after the highest that has prompts or labels."""
    used = {0}
    if session is not None:
        used |= {*session.prompts.prompted_ids, *session.scores}
    # Also what another program or an earlier session has left in the layer, if looking is cheap.
    if labels is not None and labels.data.nbytes <= _SEARCHED_BYTES:
        used.add(int(labels.data.max(initial=0)))
    return max(used) + 1


def _count(prompt: object) -> int:
    return len(getattr(prompt, "points", (None,)))
