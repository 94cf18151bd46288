"""What is drawn next: which object, with which tool, on the object or beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from napari_medsam2.errors import InputError

from .adapters import NEGATIVE, POSITIVE

if TYPE_CHECKING:
    from napari.layers import Labels

    from .bench import Bench
    from .desk import Desk

__all__ = ["PAINTING", "TOOLS", "Tool", "Tools"]

# Modes of a Labels layer that change labels.
PAINTING = ("paint", "fill", "erase", "polygon")


@dataclass(frozen=True)
class Tool:
    """One way to point at an object.

    Attributes
    ----------
    title : str
    key : str
        As a person would write it.
    does : str
        What to do with it, for tips.
    needs : str or None
        What the model must take: "box", "points" or "mask"; None works with every model.
    mode : str
        That of napari's layer which the tool is.
    others : tuple of str
        Modes of the same layer that do the same.
    """

    title: str
    key: str
    does: str
    needs: str | None
    mode: str
    others: tuple[str, ...] = ()


TOOLS: dict[str, Tool] = {
    "box": Tool(
        "Box",
        "B",
        "drag a rectangle around the object, a little larger than it",
        "box",
        "add_rectangle",
        ("add_ellipse",),
    ),
    "point": Tool(
        "Point",
        "P",
        "click on the object; Shift+click beside it, where the mask is too large",
        "points",
        "add",
    ),
    "lasso": Tool(
        "Lasso",
        "L",
        "draw around the object's border; what is inside becomes its mask here",
        "mask",
        "add_polygon_lasso",
        ("add_polygon",),
    ),
    "scribble": Tool(
        "Scribble",
        "K",
        "draw a stroke along the object; Shift+drag along what is not the object",
        "points",
        "add_path",
        ("add_polyline", "add_line"),
    ),
    "brush": Tool(
        "Brush",
        "R",
        "paint what is missing, press E to erase what is too much, [ and ] change the size; "
        "the mask as you leave it counts as a prompt",
        None,
        "paint",
        ("erase", "fill", "polygon"),
    ),
}

_TAKEN = {"box": "boxes", "points": "clicks", "mask": "masks"}


class Tools:
    """The object, the polarity and the tool in use.

    Parameters
    ----------
    bench : Bench
    """

    changed = Signal()

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._followed: Labels | None = None
        self.object_id = 1
        self.polarity = POSITIVE

    def select(self, object_id: int) -> None:
        """Draw this object from now on."""
        if object_id != self.object_id:
            self.object_id = object_id
            self.apply()
            self.changed.emit()

    def set_polarity(self, polarity: str) -> None:
        """Let clicks and scribbles be "positive" or "negative" from now on."""
        if polarity != self.polarity:
            self.polarity = polarity
            self.apply()
            self.changed.emit()

    def toggle_polarity(self) -> None:
        """Change between what is on the object and what is beside it."""
        self.set_polarity(POSITIVE if self.polarity == NEGATIVE else NEGATIVE)

    def use(self, name: str, polarity: str | None = None) -> None:
        """Take a tool in hand.

        Parameters
        ----------
        name : str
            A key of `TOOLS`.
        polarity : {"positive", "negative"}, optional
            As it is by default.

        Raises
        ------
        InputError
            Without a 2D view of an image, or if the model cannot be told so.
        """
        desk = self._prepare()
        refusal = self.refusal(name)
        if refusal is not None:
            raise InputError(refusal)
        if polarity is not None:
            self.polarity = polarity
        if name == "brush" or desk.results.layer is not None:
            desk.show_results()
        else:
            desk.want_results()  # soon, rather than in mid-run
        if name == "brush":
            self._use_brush(desk)
        elif name == "point":
            desk.prompts.use_points()
        else:
            desk.prompts.use_shapes(TOOLS[name].mode)
        self.apply()
        self.changed.emit()

    def use_box(self) -> None:
        """Get ready to draw boxes (`InputError` without a 2D view of an image)."""
        self.use("box")

    def use_points(self) -> None:
        """Get ready to click (`InputError` without a 2D view of an image)."""
        self.use("point")

    def refusal(self, name: str) -> str | None:
        """Return why the model in use cannot be told by a tool, None if it can."""
        return self.refusal_of(TOOLS[name].needs)

    def refusal_of(self, kind: str | None) -> str | None:
        """Return why the model takes no "box", "points" or "mask", None if it does."""
        card = self._bench.settings.card
        if kind is None or kind in card.prompts:
            return None
        takes = " and ".join(_TAKEN[k] for k in card.prompts)
        needs = " needs a box:" if "box" in card.prompts else ":"
        return (
            f"{card.title}{needs} it was trained to take {takes}, not {_TAKEN[kind]}. "
            "Choose another model for that, LiteMedSAM-track for one"
        )

    def apply(self) -> None:
        """State object, polarity and axis to the layers."""
        desk = self._bench.desk
        self._follow(None if desk is None else desk.results.layer)
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
        """The tool in use, a key of `TOOLS`, also if napari's own controls chose it."""
        desk = self._bench.desk
        active = self._bench.viewer.layers.selection.active
        if desk is None or active is None:
            return None
        layers: tuple[tuple[Any, tuple[str, ...]], ...] = (
            (desk.prompts.boxes, ("box", "lasso", "scribble")),
            (desk.prompts.points, ("point",)),
            (desk.results.layer, ("brush",)),
        )
        for layer, names in layers:
            if layer is active:
                mode = str(layer.mode)
                for name in names:
                    if mode in (TOOLS[name].mode, *TOOLS[name].others):
                        return name
        return None

    def close(self) -> None:
        """Let go of the result layer."""
        self._follow(None)

    def _use_brush(self, desk: Desk) -> None:
        layer = desk.results.layer
        assert layer is not None
        self._bench.viewer.layers.selection.active = layer
        layer.visible = True
        layer.mode = "paint"

    def _follow(self, layer: Labels | None) -> None:
        """Let the object in use be the label that napari's controls choose."""
        if layer is self._followed:
            return
        if self._followed is not None:
            self._followed.events.selected_label.disconnect(self._on_label)
        self._followed = layer
        if layer is not None:
            layer.events.selected_label.connect(self._on_label)

    def _on_label(self, event: Any = None) -> None:
        # Label 0 is an eraser, no object.
        if self._followed is not None and self._followed.selected_label > 0:
            self.select(int(self._followed.selected_label))

    def _prepare(self) -> Desk:
        desk = self._bench.require_desk()
        if self._bench.viewer.dims.ndisplay != 2:
            raise InputError("prompts are drawn on slices: turn to the 2D view first (Ctrl+Y)")
        desk.volume()  # or an error, before anything is made
        return desk
