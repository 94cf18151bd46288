"""Boxes, outlines, scribbles and clicks as napari's layers hold them: read, written, coloured."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .adapters import NEGATIVE, POSITIVE, DrawnPoint, DrawnShape
from .layers import is_same

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from napari.layers import Points, Shapes
    from numpy.typing import NDArray

    Colours = Callable[[Iterable[int]], NDArray[np.float32]]

__all__ = [
    "SYMBOLS",
    "dress_points",
    "dress_shapes",
    "mend",
    "read_points",
    "read_shapes",
    "remove",
    "shape_colour",
    "write_points",
    "write_shapes",
]

SYMBOLS = {POSITIVE: "disc", NEGATIVE: "x"}
# How far the colour of what says "not the object" goes towards white.
_PALE = 0.6


def mend(layer: Shapes) -> None:
    """Drop features without a shape: napari leaves one for an outline too small to be kept."""
    if len(layer.features) > layer.nshapes:
        layer.features = layer.features.iloc[: layer.nshapes]


def read_shapes(layer: Shapes | None) -> list[DrawnShape]:
    """Return the shapes of a layer."""
    if layer is None:
        return []
    mend(layer)
    return [
        DrawnShape(str(kind), np.asarray(data), object_id, polarity, axis)
        for kind, data, object_id, polarity, axis in zip(
            layer.shape_type,
            layer.data,
            _column(layer, "object_id", 1),
            _column(layer, "polarity", POSITIVE),
            _column(layer, "axis", -1),
            strict=True,
        )
    ]


def read_points(layer: Points | None, axis: int) -> list[DrawnPoint]:
    """Return the points of a layer; `axis` is that of points which do not say theirs."""
    if layer is None:
        return []
    return [
        DrawnPoint(np.asarray(position), object_id, polarity, its_axis)
        for position, object_id, polarity, its_axis in zip(
            layer.data,
            _column(layer, "object_id", 1),
            _column(layer, "polarity", POSITIVE),
            _column(layer, "axis", axis),
            strict=True,
        )
    ]


def remove(layer: Shapes | Points | None, indices: Sequence[int]) -> None:
    """Take items out of a layer."""
    if layer is not None and indices:
        layer.remove(list(indices))


def write_shapes(layer: Shapes, shapes: Sequence[DrawnShape], colours: Colours) -> None:
    """Make a layer hold these shapes and no others, in this order.

    What it holds already stays: napari takes some milliseconds for each shape that it is given.
    """
    gone, n_kept = _difference(read_shapes(layer), shapes)
    remove(layer, gone)
    dress_shapes(layer, colours)
    new = shapes[n_kept:]
    if not new:
        return
    layer.add(
        [s.vertices for s in new],
        shape_type=[s.kind for s in new],
        edge_color=_edge_colours(colours, [(s.object_id, s.polarity) for s in new]),
    )
    layer.features = {
        "object_id": [int(s.object_id) for s in shapes],
        "polarity": [s.polarity for s in shapes],
        "axis": [int(s.axis) for s in shapes],
    }


def write_points(layer: Points, points: Sequence[DrawnPoint], colours: Colours) -> None:
    """Make a layer hold these points and no others."""
    layer.selected_data = set()
    layer.data = np.array([p.position for p in points]).reshape(-1, layer.ndim)
    if not points:
        return
    layer.features = {
        "object_id": [int(p.object_id) for p in points],
        "polarity": [p.polarity for p in points],
        "axis": [int(p.axis) for p in points],
    }
    dress_points(layer, colours)


def dress_shapes(layer: Shapes | None, colours: Colours) -> None:
    """Let the colours of shapes follow features that a person has edited."""
    if layer is None or not layer.nshapes:
        return
    ids, polarity = _column(layer, "object_id", 1), _column(layer, "polarity", POSITIVE)
    wanted = _edge_colours(colours, list(zip(ids, polarity, strict=True)))
    if not is_same(layer.edge_color, wanted):
        layer.edge_color = wanted


def dress_points(layer: Points | None, colours: Colours) -> None:
    """Let colours and symbols of points follow features that a person has edited."""
    if layer is None or not len(layer.data):
        return
    wanted = colours(_column(layer, "object_id", 1))
    if not is_same(layer.face_color, wanted):
        layer.face_color = wanted
    symbols = [SYMBOLS[p] for p in _column(layer, "polarity", POSITIVE)]
    if [str(s.value) for s in layer.symbol] != symbols:
        layer.symbol = symbols


def shape_colour(rgba: NDArray[np.float32], polarity: str) -> NDArray[np.float32]:
    """Return the colour of a shape: that of its label, pale if it says "not the object"."""
    if polarity != NEGATIVE:
        return rgba
    pale: NDArray[np.float32] = rgba + (np.float32(1) - rgba) * np.float32(_PALE)
    return pale


def _difference(held: Sequence[DrawnShape], wanted: Sequence[DrawnShape]) -> tuple[list[int], int]:
    """Return which shapes to remove, and with how many of the wanted ones the others agree."""
    gone, n_kept = [], 0
    for index, shape in enumerate(held):
        if n_kept < len(wanted) and _is_same_shape(shape, wanted[n_kept]):
            n_kept += 1
        else:
            gone.append(index)
    return gone, n_kept


def _is_same_shape(a: DrawnShape, b: DrawnShape) -> bool:
    said = (a.kind, a.object_id, a.polarity, a.axis) == (b.kind, b.object_id, b.polarity, b.axis)
    return said and np.array_equal(a.vertices, b.vertices)


def _edge_colours(colours: Colours, said: Sequence[tuple[Any, str]]) -> NDArray[np.float32]:
    rgba = colours(object_id for object_id, _ in said)
    return np.array([shape_colour(c, p) for c, (_, p) in zip(rgba, said, strict=True)])


def _column(layer: Shapes | Points, name: str, default: Any) -> list[Any]:
    n = len(layer.data)
    return list(layer.features[name])[:n] if name in layer.features else [default] * n
