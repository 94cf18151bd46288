"""Keys, bound while the widget is open and given back when it closes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from napari.utils.key_bindings import coerce_keybinding

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel

    from .controller import Controller

__all__ = ["KEYS", "Keys"]

# Key as napari writes it, and what it does.
KEYS: dict[str, str] = {
    "B": "Box tool",
    "P": "Point tool",
    "T": "Turn clicks positive or negative (Shift+click: one negative)",
    "N": "New object",
    "S": "Segment this slice",
    "Control-Z": "Undo, prompts and masks alike",
    "Control-Shift-Z": "Redo",
    "Escape": "Stop, keeping what is done",
}

_PAINTING = ("paint", "fill", "erase", "polygon")


class Keys:
    """The keys of one controller.

    They are bound on the viewer and, because a layer's own keys come first, on the prompt and
    result layers. Other layers keep theirs. While a person paints on the result layer, Ctrl+Z and
    Escape are those of the brush.

    Parameters
    ----------
    viewer : ViewerModel
    controller : Controller
    """

    def __init__(self, viewer: ViewerModel, controller: Controller) -> None:
        self._controller = controller
        self._before: list[tuple[Any, Any, Any, Any]] = []
        self._bind(viewer)
        for layer in controller.bench.layers:
            self._bind(layer)
        controller.bench.layer_created.connect(self._bind)

    def close(self) -> None:
        """Give every key back."""
        self._controller.bench.layer_created.disconnect(self._bind)
        for owner, key, ours, before in self._before:
            if owner.keymap.get(key) is ours:
                owner.bind_key(key, before, overwrite=True)
        self._before.clear()

    def _bind(self, owner: Any) -> None:
        for key, action in self._actions(owner).items():
            code = coerce_keybinding(key)
            before = owner.keymap.get(code)
            owner.bind_key(code, action, overwrite=True)
            self._before.append((owner, code, action, before))

    def _actions(self, owner: Any) -> dict[str, Callable[[Any], None]]:
        controller = self._controller
        plain: dict[str, Callable[[], Any]] = {
            "B": controller.use_box_tool,
            "P": controller.use_point_tool,
            "T": controller.tools.toggle_polarity,
            "N": controller.new_object,
            "S": controller.segment_slice,
            "Control-Z": controller.undo,
            "Control-Shift-Z": controller.redo,
            "Escape": controller.cancel,
        }
        return {
            key: self._action(key, action, isinstance(owner, Labels))
            for key, action in plain.items()
        }

    def _action(self, key: str, ours: Callable[[], Any], on_labels: bool) -> Callable[[Any], None]:
        code = coerce_keybinding(key)

        def pressed(owner: Any) -> None:
            brush = on_labels and str(owner.mode) in _PAINTING
            theirs = type(owner).class_keymap.get(code)
            undoes_brush = key.endswith("-Z") and brush
            # Escape also ends the drawing of a polygon.
            ends_drawing = key == "Escape" and self._controller.state == "idle"
            if theirs is not None and (undoes_brush or ends_drawing):
                theirs(owner)
            else:
                ours()

        return pressed
