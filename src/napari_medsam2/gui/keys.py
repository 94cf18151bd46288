"""Keys, bound while the widget is open and given back when it closes."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from napari.utils.key_bindings import coerce_keybinding

from .actions import ACTIONS
from .adapters import NEGATIVE, POSITIVE
from .preferences import DEFAULT_KEYS
from .review import review_actions
from .tools import PAINTING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from napari.components import ViewerModel

    from .controller import Controller

__all__ = ["KEYS", "Keys"]

# The usual keys, as napari writes them, and what they do.
KEYS: dict[str, str] = {action.key: action.text for action in ACTIONS.values()}


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
    keys : mapping of str to str
        Name of an action to its key, as napari writes it; "" is none.
    """

    def __init__(
        self, viewer: ViewerModel, controller: Controller, keys: Mapping[str, str] = DEFAULT_KEYS
    ) -> None:
        self._controller = controller
        self._keys = keys
        self._before: list[tuple[Any, Any, Any, Any]] = []
        self._bind(viewer)
        for layer in controller.bench.layers:
            self._bind(layer)
        controller.bench.layer_created.connect(self._bind)

    def use(self, keys: Mapping[str, str]) -> None:
        """Bind other keys from now on."""
        if keys != self._keys:
            self._keys = keys
            owners = {id(owner): owner for owner, *_ in self._before}
            self._give_back()
            for owner in owners.values():
                self._bind(owner)

    def close(self) -> None:
        """Give every key back."""
        self._controller.bench.layer_created.disconnect(self._bind)
        self._give_back()

    def _give_back(self) -> None:
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
        """Return what to call for each key."""
        controller = self._controller
        plain: dict[str, Callable[[], Any]] = {
            "box": partial(controller.use_tool, "box"),
            "point": partial(controller.use_tool, "point", POSITIVE),
            "point_beside": partial(controller.use_tool, "point", NEGATIVE),
            "lasso": partial(controller.use_tool, "lasso"),
            "scribble": partial(controller.use_tool, "scribble", POSITIVE),
            "scribble_beside": partial(controller.use_tool, "scribble", NEGATIVE),
            "brush": partial(controller.use_tool, "brush"),
            "polarity": controller.tools.toggle_polarity,
            "use_mask": controller.use_labels,
            "clear_prompts": controller.clear_prompts_here,
            "new_object": controller.new_object,
            "segment": controller.segment_slice,
            **review_actions(controller),
            "undo": controller.undo,
            "redo": controller.redo,
            "carry_forward": partial(controller.carry, "forward"),
            "carry_backward": partial(controller.carry, "backward"),
            "to_next_prompt": partial(controller.propagate_to_next_prompt, "forward"),
            "to_previous_prompt": partial(controller.propagate_to_next_prompt, "backward"),
            "pause": controller.toggle_pause,
            "stop": controller.cancel,
        }
        return {
            key: self._action(name, key, plain[name], isinstance(owner, Labels))
            for name, key in self._keys.items()
            if key
        }

    def _action(
        self, name: str, key: str, ours: Callable[[], Any], on_labels: bool
    ) -> Callable[[Any], None]:
        code = coerce_keybinding(key)

        def pressed(owner: Any) -> None:
            theirs = type(owner).class_keymap.get(code)
            # Escape also ends the drawing of an outline, on every layer.
            is_painting = on_labels and str(owner.mode) in PAINTING
            ends_drawing = self._controller.state == "idle" or is_painting
            if theirs is not None and name == "stop" and ends_drawing:
                theirs(owner)
            else:
                ours()

        return pressed
