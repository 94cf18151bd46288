"""The prompt layers of one image: made on demand, coloured by object, read and written.

Boxes, outlines (lasso) and scribbles are shapes in one layer, clicks are points in another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Points, Shapes
from napari.utils.colormaps.standardize_color import transform_color
from psygnal import Signal

from .adapters import NEGATIVE, POSITIVE, Collected, collect, draw_points, draw_shapes
from .layers import (
    add_behind_selection,
    align,
    boxes_name,
    existing,
    label_colormap,
    new_boxes,
    new_points,
    points_name,
    snap,
)
from .prompt_items import (
    SYMBOLS,
    dress_points,
    dress_shapes,
    read_points,
    read_shapes,
    remove,
    shape_colour,
    write_points,
    write_shapes,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from napari.components import ViewerModel
    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_medsam2.prompts import PromptSet

    from .adapters import FrameView

__all__ = ["PromptLayers"]

# Modes of a Shapes layer whose shapes may say "this is not the object".
_SCRIBBLES = ("add_path", "add_polyline", "add_line")
_NO_FACE = np.zeros(4, dtype=np.float32)


class PromptLayers:
    """The two prompt layers of one image.

    Parameters
    ----------
    viewer : ViewerModel
    image : Image
    colours : callable
        Returns the Labels layer whose colours to use, or None.
    """

    # A person (or a script) changed a layer; never emitted by `write`. True if something was
    # added or removed, which is whole at once; what is moved or edited may go on changing.
    edited = Signal(bool)
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

    def use_shapes(self, mode: str) -> Shapes:
        """Make the layer of shapes the active one, ready to draw.

        Parameters
        ----------
        mode : str
            napari's mode of a Shapes layer, "add_rectangle" for one.
        """
        layer = self._ensure_boxes()
        self.viewer.layers.selection.active = layer
        layer.visible = True
        layer.mode = mode
        self._apply_defaults()
        return layer

    def use_boxes(self) -> Shapes:
        """Get ready to draw boxes."""
        return self.use_shapes("add_rectangle")

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
        self.edited.emit(True)

    def close(self) -> None:
        """Stop listening; the layers stay."""
        for layer in self.layers:
            self._disconnect(layer)

    def collect(self, view: FrameView, known: PromptSet) -> Collected:
        """Read the layers, and remove what can be no prompt."""
        self._writing = True
        try:
            shapes, points = read_shapes(self.boxes), read_points(self.points, self._axis)
            found = collect(shapes, points, view, known)
            remove(self.boxes, found.stray_shapes)
            remove(self.points, found.stray_points)
            self._apply_defaults()
            dress_shapes(self.boxes, self._rgba)
            dress_points(self.points, self._rgba)
        finally:
            self._writing = False
        return found

    def write(
        self,
        prompts: PromptSet,
        view: FrameView,
        elsewhere: Mapping[FrameView, PromptSet] | None = None,
    ) -> None:
        """Make the layers show these prompts, and those of other views; the rest stays."""
        wanted = {view: prompts, **(elsewhere or {})}
        self._writing = True
        try:
            shapes, points = read_shapes(self.boxes), read_points(self.points, self._axis)
            now = [collect(shapes, points, at, said) for at, said in wanted.items()]
            is_shown = all(n.prompts == said for n, said in zip(now, wanted.values(), strict=True))
            if is_shown and not any(n.stray_shapes or n.stray_points for n in now):
                return
            apart = set.intersection(*(set(n.other_shapes) for n in now))
            new_shapes = [shapes[i] for i in sorted(apart)]
            new_shapes += [s for at, said in wanted.items() for s in draw_shapes(said, at)]
            if new_shapes or self.boxes is not None:
                write_shapes(self._ensure_boxes(), new_shapes, self._rgba)
            apart = set.intersection(*(set(n.other_points) for n in now))
            new_clicks = [points[i] for i in sorted(apart)]
            new_clicks += [p for at, said in wanted.items() for p in draw_points(said, at)]
            if new_clicks or self.points is not None:
                write_points(self._ensure_points(), new_clicks, self._rgba)
            self._apply_defaults()
        finally:
            self._writing = False

    def recolour(self) -> None:
        """Let prompts have the colours that their objects have now."""
        self._writing = True
        try:
            dress_shapes(self.boxes, self._rgba)
            dress_points(self.points, self._rgba)
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
        if "axis" not in layer.features:
            layer.features = layer.features.assign(axis=np.full(layer.nshapes, -1))
        self._connect(layer)

    def _adopt_points(self, layer: Points) -> None:
        self.points = layer
        self._connect(layer)

    def _connect(self, layer: Shapes | Points) -> None:
        layer.events.data.connect(self._on_data)
        layer.events.features.connect(self._on_features)
        layer.events.mode.connect(self._on_mode)
        # Before napari's own, which takes the defaults as they are.
        layer.mouse_drag_callbacks.insert(0, self._on_press)

    def _disconnect(self, layer: Any) -> None:
        layer.events.data.disconnect(self._on_data)
        layer.events.features.disconnect(self._on_features)
        layer.events.mode.disconnect(self._on_mode)
        if self._on_press in layer.mouse_drag_callbacks:
            layer.mouse_drag_callbacks.remove(self._on_press)

    def _on_data(self, event: Any) -> None:
        action = str(getattr(event.action, "value", event.action))
        # A press begins a shape that is whole at the release only.
        self.is_drawing = action in ("adding", "changing")
        if action == "adding" and not self._writing:
            self.begun.emit()
        if action in ("added", "removed", "changed") and not self._writing:
            self.edited.emit(action != "changed")

    def _on_features(self, event: Any = None) -> None:
        if not self._writing:
            self.edited.emit(False)

    def _on_mode(self, event: Any) -> None:
        self._apply_defaults()

    def _on_press(self, layer: Shapes | Points, event: Any) -> None:
        """Get ready for what is drawn: on one slice, and negative with Shift."""
        if self.is_drawing:
            return
        snap(layer, self.image, self.viewer.dims)
        polarity = NEGATIVE if "Shift" in event.modifiers else self._polarity
        mode = str(layer.mode)
        if layer is self.points and mode == "add":
            self._point_defaults(polarity)
        elif layer is self.boxes and mode in _SCRIBBLES:
            self._shape_defaults(polarity)

    def _apply_defaults(self) -> None:
        self._shape_defaults(self._polarity)
        self._point_defaults(self._polarity)

    def _shape_defaults(self, polarity: str) -> None:
        layer = self.boxes
        if layer is None or self.is_drawing or _is_being_edited(layer):
            return
        if layer.mode not in _SCRIBBLES:
            polarity = POSITIVE
        writing, self._writing = self._writing, True
        try:
            # Else what is selected would take the new values.
            if layer.selected_data:
                layer.selected_data = set()
            self._set_features(layer, polarity)
            edge = shape_colour(self.colour(self._object_id), polarity)
            if not _is_colour(layer.current_edge_color, edge):
                layer.current_edge_color = edge
            if not _is_colour(layer.current_face_color, _NO_FACE):
                layer.current_face_color = _NO_FACE
        finally:
            self._writing = writing

    def _point_defaults(self, polarity: str) -> None:
        layer = self.points
        if layer is None or _is_being_edited(layer):
            return
        writing, self._writing = self._writing, True
        try:
            if layer.selected_data:
                layer.selected_data = set()
            self._set_features(layer, polarity)
            face = self.colour(self._object_id)
            if not _is_colour(layer.current_face_color, face):
                layer.current_face_color = face
            if str(layer.current_symbol.value) != SYMBOLS[polarity]:
                layer.current_symbol = SYMBOLS[polarity]
        finally:
            self._writing = writing

    def _set_features(self, layer: Shapes | Points, polarity: str) -> None:
        """State what is said next; napari takes some milliseconds, so only if it is new."""
        said, known = self._said(polarity), layer.feature_defaults
        if any(name not in known or known[name].iloc[0] != value for name, value in said.items()):
            layer.feature_defaults = said

    def _said(self, polarity: str) -> dict[str, Any]:
        return {"object_id": self._object_id, "polarity": polarity, "axis": self._axis}

    def _rgba(self, object_ids: Iterable[int]) -> NDArray[np.float32]:
        labels = self._colours()
        colormap = label_colormap() if labels is None else labels.colormap
        ids = np.array([int(i) for i in object_ids], dtype=np.uint16)
        return np.asarray(colormap.map(ids), dtype=np.float32)


def _is_being_edited(layer: Shapes | Points) -> bool:
    """Whether a person has selected something to move or delete, which must stay selected."""
    return bool(layer.selected_data) and not str(layer.mode).startswith("add")


def _is_colour(now: Any, wanted: NDArray[np.float32]) -> bool:
    """Whether a layer's colour, a name or RGBA, is this one."""
    return bool(np.allclose(transform_color(now)[0], wanted, atol=1e-3))
