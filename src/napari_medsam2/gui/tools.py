"""What is drawn next: the object, boxes or clicks, on the object or beside it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal

from napari_medsam2.errors import InputError

from .adapters import NEGATIVE, POSITIVE

if TYPE_CHECKING:
    from .bench import Bench
    from .desk import Desk

__all__ = ["Tools"]


class Tools:
    """The object, the polarity and the tool in use.

    Parameters
    ----------
    bench : Bench
    """

    changed = Signal()

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.object_id = 1
        self.polarity = POSITIVE

    def select(self, object_id: int) -> None:
        """Draw this object from now on."""
        if object_id != self.object_id:
            self.object_id = object_id
            self.apply()
            self.changed.emit()

    def set_polarity(self, polarity: str) -> None:
        """Let clicks be "positive" or "negative" from now on."""
        if polarity != self.polarity:
            self.polarity = polarity
            self.apply()
            self.changed.emit()

    def toggle_polarity(self) -> None:
        """Change between clicks on the object and clicks beside it."""
        self.set_polarity(POSITIVE if self.polarity == NEGATIVE else NEGATIVE)

    def use_box(self) -> None:
        """Get ready to draw boxes (`InputError` without a 2D view of an image)."""
        desk = self._prepare()
        desk.prompts.use_boxes()
        self.apply()
        self.changed.emit()

    def use_points(self) -> None:
        """Get ready to click (`InputError` without a 2D view of an image)."""
        desk = self._prepare()
        desk.prompts.use_points()
        self.apply()
        self.changed.emit()

    def apply(self) -> None:
        """State object, polarity and axis to the layers."""
        desk = self._bench.desk
        if desk is None:
            return
        axis = desk.axis(self._bench.settings) if desk.image.ndim > 2 else -1
        desk.prompts.set_defaults(self.object_id, self.polarity, axis)
        if desk.results.layer is not None:
            desk.results.layer.selected_label = self.object_id

    @property
    def takes_points(self) -> bool:
        """Whether clicks alone say enough for the model, without a box."""
        return "points" in self._bench.settings.card.prompts

    @property
    def active(self) -> str | None:
        """The tool in use: "box", "point" or None."""
        desk = self._bench.desk
        active = self._bench.viewer.layers.selection.active
        if desk is None or active is None:
            return None
        boxes, points = desk.prompts.boxes, desk.prompts.points
        if boxes is active and str(boxes.mode) == "add_rectangle":
            return "box"
        if points is active and str(points.mode) == "add":
            return "point"
        return None

    def _prepare(self) -> Desk:
        desk = self._bench.require_desk()
        if self._bench.viewer.dims.ndisplay != 2:
            raise InputError("prompts are drawn on slices: turn to the 2D view first (Ctrl+Y)")
        # Made now rather than in mid-run: a new layer takes a fifth of a second.
        desk.show_results()
        return desk
