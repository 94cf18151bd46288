"""The objects of an image as a list for a person."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from napari_medsam2.measure_objects import in_one_unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from napari.layers import Labels
    from numpy.typing import NDArray

    from napari_medsam2.session import Session
    from napari_medsam2.volume import View, Volume

__all__ = ["ObjectInfo", "free_id", "list_objects", "pixel_size"]

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
    n_accepted : int
        Frames whose mask was accepted.
    size : float or None
        Volume, or area, in `unit`; None while it is not known.
    unit : str
        "mm3", "um3", "px"...
    worst : float or None
        The lowest confidence on a frame.
    is_locked, is_hidden : bool
    """

    id: int
    name: str
    n_prompts: int
    n_frames: int
    colour: tuple[float, ...]
    n_accepted: int = 0
    size: float | None = None
    unit: str = ""
    worst: float | None = None
    is_locked: bool = False
    is_hidden: bool = False


def list_objects(
    session: Session | None,
    selected: int,
    colour: Callable[[int], NDArray[np.float32]],
    pixels: Callable[[int], int | None] = lambda object_id: None,
) -> list[ObjectInfo]:
    """Return the objects that have prompts or labels, and the selected one.

    They are ordered as they win where they overlap, and then by id.

    Parameters
    ----------
    session : Session or None
    selected : int
    colour : callable
        Returns the RGBA of an object.
    pixels : callable
        Returns the number of pixels of an object, None while it is not known.
    """
    if session is None:
        return [ObjectInfo(selected, "", 0, 0, _plain(colour(selected)))]
    scores, accepted = session.scores, session.accepted
    entries = {o.id: o for o in session.prompts.objects}
    pixel, unit = pixel_size(session.volume, session.stack.view)
    infos = []
    for object_id in _in_order({*scores, *entries, selected}, session.order):
        entry, values = entries.get(object_id), scores.get(object_id)
        told = np.array([]) if values is None else values[np.isfinite(values)]
        n = pixels(object_id)
        infos.append(
            ObjectInfo(
                object_id,
                entry.name if entry else "",
                sum(_count(p) for p in entry.prompts) if entry else 0,
                len(told),
                _plain(colour(object_id)),
                n_accepted=len(accepted.get(object_id, ())),
                size=None if n is None else n * pixel,
                unit=unit,
                worst=float(told.min()) if len(told) else None,
                is_locked=object_id in session.locked,
                is_hidden=object_id in session.hidden,
            )
        )
    return infos


def pixel_size(volume: Volume, view: View) -> tuple[float, str]:
    """Return the size of a pixel of a view's frames, and its unit: a volume where there is depth.

    Returns
    -------
    size : float
        1 where the axes are not lengths in one unit.
    unit : str
        "mm3", "um2" and so on, or "px".
    """
    n = len(volume.label_axes)
    plane = [i for i in range(n) if i != view.axis][-2:]
    axes = plane if view.axis is None else sorted([view.axis, *plane])
    space = [i for i in axes if volume.label_axes[i] != "t"]
    spacing, unit = in_one_unit(volume, space)
    return math.prod(spacing), unit if unit == "px" else f"{unit}{len(space)}"


def free_id(session: Session | None, labels: Labels | None) -> int:
    """Return the id after the highest that has prompts or labels."""
    used = {0}
    if session is not None:
        used |= {*session.prompts.prompted_ids, *session.scores}
    # Also what another program or an earlier session has left in the layer, if looking is cheap.
    if labels is not None and labels.data.nbytes <= _SEARCHED_BYTES:
        used.add(int(labels.data.max(initial=0)))
    return max(used) + 1


def _in_order(ids: Iterable[int], order: Sequence[int]) -> list[int]:
    places = {object_id: place for place, object_id in enumerate(order)}
    return sorted(ids, key=lambda i: (places.get(i, len(places)), i))


def _plain(rgba: NDArray[np.float32]) -> tuple[float, ...]:
    return tuple(float(v) for v in rgba)


def _count(prompt: object) -> int:
    return len(getattr(prompt, "points", (None,)))
