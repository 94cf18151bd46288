"""What is asked for when masks are cleaned up, in the terms of a window, and what computes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from napari_medsam2.errors import InputError
from napari_medsam2.measure_objects import in_one_unit
from napari_medsam2.postprocess import (
    DropSmall,
    FillHoles,
    KeepLargest,
    Restrict,
    Smooth,
    cleaned,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari.layers import Labels

    from napari_medsam2.frames import FrameStack
    from napari_medsam2.labels import MaskUpdate
    from napari_medsam2.postprocess import Operation
    from napari_medsam2.session import Session
    from napari_medsam2.volume import View, Volume

__all__ = [
    "Kind",
    "Order",
    "further_axis",
    "is_solid",
    "noun_of",
    "scale_of",
    "text_of",
    "views_of",
    "work_of",
]

Kind = Literal["holes", "largest", "small", "smooth", "restrict"]


@dataclass(frozen=True)
class Order:
    """What is to be done.

    Attributes
    ----------
    kind : {"holes", "largest", "small", "smooth", "restrict"}
    object_ids : tuple of int
    solid : bool
        In 3D, not slice by slice; needs frames that are slices of a body.
    amount : float
        Of "small" the least size of a part, of "smooth" the sigma, in the unit of the image.
    layer : Labels or None
        Of "restrict".
    everywhere : bool
        Not only the frames of the present view but all of the image: those at every time point, or
        along time those of every slice. Each view is worked on for itself.
    """

    kind: Kind
    object_ids: tuple[int, ...]
    solid: bool = False
    amount: float = 1.0
    layer: Labels | None = None
    everywhere: bool = False


def work_of(session: Session, order: Order) -> Callable[..., Iterator[MaskUpdate]]:
    """Return what computes the masks, in the thread; what is wrong is told at once.

    Parameters
    ----------
    session : Session
    order : Order

    Returns
    -------
    callable
        Yields masks with their views. It may be given what tells, asked before each view, whether
        to stop.
    """
    stack = session.stack
    if order.solid and not is_solid(stack):
        raise InputError("the frames of this image are no slices of a body: work slice by slice")
    _check(order, stack.volume)
    spacing, _ = scale_of(stack, solid=order.solid)
    ids, locked, views = order.object_ids, session.locked, views_of(session, order)
    accepted = {view: session.accepted_of(view) for view in views}
    scores = {view: session.scores_of(view) for view in views}
    if not set(ids) - locked:
        # Says what is wrong with them.
        cleaned(session.frames_of(stack.view), spacing, FillHoles(), ids, locked=locked)

    def work(is_stopped: Callable[[], bool] = lambda: False) -> Iterator[MaskUpdate]:
        operation_in = _operations(session, order)
        # Masks are written while the next views are worked on, which share no voxel with them.
        for view in views:
            if is_stopped():
                return
            yield from cleaned(
                session.frames_of(view),
                spacing,
                operation_in(view),
                ids,
                locked=locked,
                accepted=accepted[view],
                scores=scores[view],
                view=view,
            )

    return work


def views_of(session: Session, order: Order) -> tuple[View, ...]:
    """Return the views that an order is about."""
    return session.parallel_views if order.everywhere else (session.stack.view,)


def _check(order: Order, volume: Volume) -> None:
    if order.kind != "restrict":
        _simple(order)
        return
    if order.layer is None:
        raise InputError("choose the labels layer to keep the objects inside of")
    shape = tuple(int(n) for n in _data(order.layer).shape)
    if shape != volume.label_shape:
        raise InputError(
            f"{order.layer.name} has the shape {shape}, the image {volume.label_shape}: choose a "
            "layer of the same shape"
        )


def _operations(session: Session, order: Order) -> Callable[[View], Operation]:
    """Return what tells what to do in a view; reads the layer to restrict to: for the thread."""
    layer = order.layer
    if layer is None or order.kind != "restrict":
        simple = _simple(order)
        return lambda view: simple
    inside, name = np.asarray(_data(layer)), layer.name
    return lambda view: Restrict(session.frames_of(view, inside), name)


def _simple(order: Order) -> Operation:
    if order.kind == "holes":
        return FillHoles(solid=order.solid)
    if order.kind == "largest":
        return KeepLargest(solid=order.solid)
    if order.kind == "small":
        return DropSmall(order.amount, solid=order.solid)
    return Smooth(order.amount, solid=order.solid)


def text_of(order: Order) -> str:
    """Return an order in words, for the history."""
    what = f"keep inside {order.layer.name}" if order.layer is not None else _simple(order).text
    ids = ", ".join(map(str, order.object_ids))
    return f"{what}, object {ids}{', everywhere' if order.everywhere else ''}"


def _data(layer: Labels) -> Any:
    return layer.data[0] if layer.multiscale else layer.data


def is_solid(stack: FrameStack) -> bool:
    """Whether frames are slices of a body, not moments."""
    return stack.axis is not None and stack.volume.label_axes[stack.axis] != "t"


def further_axis(axes: str, axis: int | None) -> int | None:
    """Return the axis of an image that is neither that of its frames nor in them, None if none.

    Parameters
    ----------
    axes : str
        The letters of its axes, as in `Volume.label_axes`, of which there are four at most.
    axis : int or None
        The one that frames are taken along.
    """
    others = [i for i in range(len(axes)) if i != axis][:-2]
    return others[0] if others else None


def noun_of(letter: str) -> str:
    """Return what one place along an axis is called."""
    return "time point" if letter == "t" else "slice"


def scale_of(stack: FrameStack, *, solid: bool) -> tuple[tuple[float, float, float], str]:
    """Return the spacing along (frame, y, x), and its unit; that of the frames only if solid."""
    rest = [i for i in range(len(stack.volume.label_axes)) if i != stack.axis]
    y, x = rest[-2:]
    if solid and stack.axis is not None:
        (f, dy, dx), unit = in_one_unit(stack.volume, (stack.axis, y, x))
        return (f, dy, dx), unit
    (dy, dx), unit = in_one_unit(stack.volume, (y, x))
    return (1.0, dy, dx), unit
