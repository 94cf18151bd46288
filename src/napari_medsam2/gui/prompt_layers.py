"""The boxes and points of one image: made on demand, coloured by object, read and written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Points, Shapes
from psygnal import Signal

from .adapters import (
    NEGATIVE,
    POSITIVE,
    Collected,
    DrawnPoint,
    DrawnShape,
    collect,
    draw_points,
    draw_shapes,
)
from .layers import (
    add_behind_selection,
    align,
    boxes_name,
    existing,
    is_same,
    label_colormap,
    new_boxes,
    new_points,
    points_name,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from napari.components import ViewerModel
    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_medsam2.prompts import PromptSet

    from .adapters import FrameView

__all__ = ["PromptLayers"]

_SYMBOLS = {POSITIVE: "disc", NEGATIVE: "x"}


class PromptLayers:
    """The two prompt layers of one image.

    Parameters
    ----------
    viewer : ViewerModel
    image : Image
    colours : callable
        Returns the Labels layer whose colours to use, or None.
    """

    # A person (or a script) changed a layer; never emitted by `write`.
    edited = Signal()
    # A shape or point is about to be added.
    begun = Signal()
    # A layer was made.
    created = Signal(object)

    def __init__(
        self, viewer: ViewerModel, image: Image, colours: Callable[[], Labels | None]
    ) -> None:
        self.viewer = viewer
        self.image = image
        self.boxes: Shapes | None = None
        self.points: Points | None = None
        self.is_drawing = False
        self._colours = colours
        self._object_id = 1
        self._polarity = POSITIVE
        self._axis = -1
        self._writing = False
        boxes = existing(viewer, boxes_name(image), Shapes)
        if boxes is not None:
            self._adopt_boxes(boxes)
        points = existing(viewer, points_name(image), Points)
        if points is not None:
            self._adopt_points(points)

    @property
    def layers(self) -> tuple[Shapes | Points, ...]:
        """Those of the two layers that exist."""
        return tuple(layer for layer in (self.boxes, self.points) if layer is not None)

    def use_boxes(self) -> Shapes:
        """Make the layer of boxes the active one, ready to draw."""
        layer = self._ensure_boxes()
        self.viewer.layers.selection.active = layer
        layer.visible = True
        layer.mode = "add_rectangle"
        return layer

    def use_points(self) -> Points:
        """Make the layer of points the active one, ready to click."""
        layer = self._ensure_points()
        self.viewer.layers.selection.active = layer
        layer.visible = True
        layer.mode = "add"
        return layer

    def rest(self) -> None:
        """Put the drawing tools away."""
        for layer in self.layers:
            layer.mode = "pan_zoom"

    def set_defaults(self, object_id: int, polarity: str, axis: int) -> None:
        """State the object, polarity and frame axis of what is drawn next."""
        self._object_id, self._polarity, self._axis = object_id, polarity, axis
        self._apply_defaults()

    def align(self) -> None:
        """Put the layers where the image is, should it have been moved."""
        for layer in self.layers:
            align(layer, self.image)

    def forget(self, layer: Any) -> None:
        """Let go of a layer that was deleted."""
        if layer is self.boxes:
            self.boxes = None
        elif layer is self.points:
            self.points = None
        else:
            return
        self.is_drawing = False
        self._disconnect(layer)
        self.edited.emit()

    def close(self) -> None:
        """Stop listening; the layers stay."""
        for layer in self.layers:
            self._disconnect(layer)

    def collect(self, view: FrameView, known: PromptSet) -> Collected:
        """Read the layers, and remove what can be no prompt."""
        found = collect(self._shapes(), self._clicks(), view, known)
        self._writing = True
        try:
            if self.boxes is not None and found.stray_shapes:
                self.boxes.selected_data = set(found.stray_shapes)
                self.boxes.remove_selected()
            if self.points is not None and found.stray_points:
                self.points.selected_data = set(found.stray_points)
                self.points.remove_selected()
            self._apply_defaults()
            self._recolour()
        finally:
            self._writing = False
        return found

    def write(self, prompts: PromptSet, view: FrameView) -> None:
        """Make the layers show these prompts; items of other views stay as they are."""
        shapes, points = self._shapes(), self._clicks()
        now = collect(shapes, points, view, prompts)
        if now.prompts == prompts and not (now.stray_shapes or now.stray_points):
            return
        self._writing = True
        try:
            new_shapes = [shapes[i] for i in now.other_shapes] + draw_shapes(prompts, view)
            if new_shapes or self.boxes is not None:
                self._write_shapes(self._ensure_boxes(), new_shapes)
            new_clicks = [points[i] for i in now.other_points] + draw_points(prompts, view)
            if new_clicks or self.points is not None:
                self._write_points(self._ensure_points(), new_clicks)
            self._apply_defaults()
        finally:
            self._writing = False

    def colour(self, object_id: int) -> NDArray[np.float32]:
        """Return the RGBA of an object, that of its label."""
        rgba: NDArray[np.float32] = self._rgba([object_id])[0]
        return rgba

    # Inside

    def _ensure_boxes(self) -> Shapes:
        if self.boxes is None:
            layer = new_boxes(self.image)
            add_behind_selection(self.viewer, layer)
            self._adopt_boxes(layer)
            self._apply_defaults()
            self.created.emit(layer)
        assert self.boxes is not None
        return self.boxes

    def _ensure_points(self) -> Points:
        if self.points is None:
            layer = new_points(self.image)
            add_behind_selection(self.viewer, layer)
            self._adopt_points(layer)
            self._apply_defaults()
            self.created.emit(layer)
        assert self.points is not None
        return self.points

    def _adopt_boxes(self, layer: Shapes) -> None:
        self.boxes = layer
        layer.events.data.connect(self._on_data)
        layer.events.features.connect(self._on_features)

    def _adopt_points(self, layer: Points) -> None:
        self.points = layer
        layer.events.data.connect(self._on_data)
        layer.events.features.connect(self._on_features)
        layer.mouse_drag_callbacks.append(self._on_press)

    def _disconnect(self, layer: Any) -> None:
        layer.events.data.disconnect(self._on_data)
        layer.events.features.disconnect(self._on_features)
        if self._on_press in layer.mouse_drag_callbacks:
            layer.mouse_drag_callbacks.remove(self._on_press)

    def _on_data(self, event: Any) -> None:
        action = str(getattr(event.action, "value", event.action))
        # A press begins a shape that is whole at the release only.
        self.is_drawing = action in ("adding", "changing")
        if action == "adding" and not self._writing:
            self.begun.emit()
        if not self.is_drawing:
            self._on_features()

    def _on_features(self, event: Any = None) -> None:
        if not self._writing:
            self.edited.emit()

    def _on_press(self, layer: Points, event: Any) -> None:
        """Let Shift make a single click negative."""
        if layer.mode == "add":
            self._point_defaults(NEGATIVE if "Shift" in event.modifiers else self._polarity)

    def _apply_defaults(self) -> None:
        writing, self._writing = self._writing, True
        try:
            if self.boxes is not None and not self.is_drawing:
                # Else the selected shapes would take the new values.
                self.boxes.selected_data = set()
                self.boxes.feature_defaults = {
                    "object_id": self._object_id,
                    "polarity": POSITIVE,
                }
                self.boxes.current_edge_color = self.colour(self._object_id)
                self.boxes.current_face_color = "transparent"
            self._point_defaults(self._polarity)
        finally:
            self._writing = writing

    def _point_defaults(self, polarity: str) -> None:
        if self.points is None:
            return
        writing, self._writing = self._writing, True
        try:
            self.points.selected_data = set()
            self.points.feature_defaults = {
                "object_id": self._object_id,
                "polarity": polarity,
                "axis": self._axis,
            }
            self.points.current_face_color = self.colour(self._object_id)
            self.points.current_symbol = _SYMBOLS[polarity]
        finally:
            self._writing = writing

    def _shapes(self) -> list[DrawnShape]:
        layer = self.boxes
        if layer is None:
            return []
        ids = _column(layer, "object_id", 1)
        polarity = _column(layer, "polarity", POSITIVE)
        kinds = [str(kind) for kind in layer.shape_type]
        return [
            DrawnShape(kind, np.asarray(data), i, p)
            for kind, data, i, p in zip(kinds, layer.data, ids, polarity, strict=True)
        ]

    def _clicks(self) -> list[DrawnPoint]:
        layer = self.points
        if layer is None:
            return []
        ids = _column(layer, "object_id", 1)
        polarity = _column(layer, "polarity", POSITIVE)
        axes = _column(layer, "axis", self._axis)
        return [
            DrawnPoint(np.asarray(p), i, s, a)
            for p, i, s, a in zip(layer.data, ids, polarity, axes, strict=True)
        ]

    def _write_shapes(self, layer: Shapes, shapes: Sequence[DrawnShape]) -> None:
        layer.selected_data = set(range(layer.nshapes))
        layer.remove_selected()
        if not shapes:
            return
        layer.add(
            [s.vertices for s in shapes],
            shape_type=[s.kind for s in shapes],
            edge_color=self._rgba(s.object_id for s in shapes),
        )
        layer.features = {
            "object_id": [int(s.object_id) for s in shapes],
            "polarity": [s.polarity for s in shapes],
        }

    def _write_points(self, layer: Points, points: Sequence[DrawnPoint]) -> None:
        layer.selected_data = set()
        layer.data = np.array([p.position for p in points]).reshape(-1, layer.ndim)
        if not points:
            return
        layer.features = {
            "object_id": [int(p.object_id) for p in points],
            "polarity": [p.polarity for p in points],
            "axis": [int(p.axis) for p in points],
        }
        self._recolour()

    def _recolour(self) -> None:
        """Let colours and symbols follow features that a person has edited."""
        if self.boxes is not None and self.boxes.nshapes:
            colours = self._rgba(_column(self.boxes, "object_id", 1))
            if not is_same(self.boxes.edge_color, colours):
                self.boxes.edge_color = colours
        if self.points is not None and len(self.points.data):
            colours = self._rgba(_column(self.points, "object_id", 1))
            if not is_same(self.points.face_color, colours):
                self.points.face_color = colours
            symbols = [_SYMBOLS[p] for p in _column(self.points, "polarity", POSITIVE)]
            if [str(s.value) for s in self.points.symbol] != symbols:
                self.points.symbol = symbols

    def _rgba(self, object_ids: Iterable[int]) -> NDArray[np.float32]:
        labels = self._colours()
        colormap = label_colormap() if labels is None else labels.colormap
        ids = np.array([int(i) for i in object_ids], dtype=np.uint16)
        return np.asarray(colormap.map(ids), dtype=np.float32)


def _column(layer: Shapes | Points, name: str, default: Any) -> list[Any]:
    n = len(layer.data)
    return list(layer.features[name]) if name in layer.features else [default] * n
