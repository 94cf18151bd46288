"""Keys, bound while the widget is open and given back when it closes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from napari.utils.key_bindings import coerce_keybinding

from .adapters import NEGATIVE, POSITIVE
from .review import REVIEW_KEYS, review_actions
from .tools import PAINTING

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel

    from .controller import Controller

__all__ = ["KEYS", "Keys"]

# Key as napari writes it, and what it does.
KEYS: dict[str, str] = {
    "B": "Box tool",
    "P": "Point tool, on the object",
    "Shift-P": "Point tool, beside the object",
    "L": "Lasso tool",
    "K": "Scribble tool, on the object",
    "Shift-K": "Scribble tool, beside the object",
    "R": "Brush on the result",
    "T": "Turn clicks and scribbles positive or negative (Shift: a single negative one)",
    "U": "Use the mask on this slice as a prompt",
    "Shift-C": "Clear the prompts of the object on this slice",
    "N": "New object",
    "S": "Segment this slice",
    **REVIEW_KEYS,
    "Control-Z": "Undo, prompts and masks alike",
    "Control-Shift-Z": "Redo",
    "Shift-Right": "Carry the masks to the next slice",
    "Shift-Left": "Carry the masks to the slice before",
    "Control-Shift-Right": "Propagate from here to the next prompt",
    "Control-Shift-Left": "Propagate from here back to the prompt before",
    "H": "Hold a propagation, or go on with it",
    "Escape": "Stop, keeping what is done",
}


class Keys:
    """The keys of one controller.

    They are bound on the viewer and, because a layer's own keys come first, on the prompt and
    result layers, whose own modes keep their digits. Other layers keep theirs. Strokes on the
    result layer are steps of our history, so that Ctrl+Z is never napari's there; while a person
    paints, Escape ends an outline as it does without us.

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
            "B": partial(controller.use_tool, "box"),
            "P": partial(controller.use_tool, "point", POSITIVE),
            "Shift-P": partial(controller.use_tool, "point", NEGATIVE),
            "L": partial(controller.use_tool, "lasso"),
            "K": partial(controller.use_tool, "scribble", POSITIVE),
            "Shift-K": partial(controller.use_tool, "scribble", NEGATIVE),
            "R": partial(controller.use_tool, "brush"),
            "T": controller.tools.toggle_polarity,
            "U": controller.use_labels,
            "Shift-C": controller.clear_prompts_here,
            "N": controller.new_object,
            "S": controller.segment_slice,
            **review_actions(controller),
            "Control-Z": controller.undo,
            "Control-Shift-Z": controller.redo,
            "Shift-Right": partial(controller.carry, "forward"),
            "Shift-Left": partial(controller.carry, "backward"),
            "Control-Shift-Right": partial(controller.propagate_to_next_prompt, "forward"),
            "Control-Shift-Left": partial(controller.propagate_to_next_prompt, "backward"),
            "H": controller.toggle_pause,
            "Escape": controller.cancel,
        }
        return {
            key: self._action(key, action, isinstance(owner, Labels))
            for key, action in plain.items()
        }

    def _action(self, key: str, ours: Callable[[], Any], on_labels: bool) -> Callable[[Any], None]:
        code = coerce_keybinding(key)

        def pressed(owner: Any) -> None:
            theirs = type(owner).class_keymap.get(code)
            # Escape also ends the drawing of an outline, on every layer.
            is_painting = on_labels and str(owner.mode) in PAINTING
            ends_drawing = self._controller.state == "idle" or is_painting
            if theirs is not None and key == "Escape" and ends_drawing:
                theirs(owner)
            else:
                ours()

        return pressed
