"""Panel: the tools to point at an object, labels as prompts, and what was said on this slice."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QLabel, QSizePolicy

from napari_medsam2.errors import MedSAM2Error

from .adapters import NEGATIVE
from .label_prompts import other_labels
from .parts import Choice, Section, button, row
from .tool_button import ToolButton
from .tools import TOOLS

if TYPE_CHECKING:
    from napari.layers import Labels

    from .controller import Controller

__all__ = ["ToolsPanel"]

_ON, _BESIDE = "On object", "Beside it"
_POLARITY = "Whether clicks and scribbles say 'this is the object' or 'this is not' (T)"
_NO_IMAGE = "Open an image first"
_BRUSH_ONLY = (
    "corrects the labels; {} cannot start from a painted mask, so propagating again undoes it"
)
_USE = (
    "Take the mask that is on this slice as a prompt to propagate from (U): that of the selected "
    "object, or labels of another layer"
)
_CLEAR = "Take back all prompts of this object on this slice, painted masks included (Shift+C)"
_RESULT, _EVERY, _SELECTED = "result", "every", "selected"


class ToolsPanel(Section):
    """A row of tools, a row for labels as prompts, and a line on this slice."""

    def __init__(self, controller: Controller) -> None:
        super().__init__("Prompt")
        self._controller = controller
        self.buttons = {
            name: ToolButton(name, tool.title, partial(controller.use_tool, name))
            for name, tool in TOOLS.items()
        }
        self.polarity = button(_ON, _POLARITY, controller.tools.toggle_polarity, checkable=True)
        tools = row(*self.buttons.values(), self.polarity)
        tools.setSpacing(3)
        self.body.addLayout(tools)
        self.use = button("Use label", _USE, self._on_use)
        self.use.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self.source = Choice("Where the label is taken from")
        self.value = Choice(
            "Every label of the slice, each for the object of its number; or the one that is "
            "selected in that layer, for the object in use",
            {_EVERY: "every label", _SELECTED: "selected label"},
        )
        for choice in (self.source, self.value):
            choice.on_chosen(lambda _: self.follow())
        self.body.addLayout(row(self.use, self.source, self.value))
        self.said = QLabel("")
        self.said.setWordWrap(True)
        self.clear = button("Clear", _CLEAR, controller.clear_prompts_here)
        self.clear.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Fixed)
        self.body.addLayout(row(self.said, self.clear))

    def refresh(self) -> None:
        """Show the tool in use, what the model takes and what there is."""
        tools = self._controller.tools
        has_image = self._controller.bench.image is not None
        for name, push in self.buttons.items():
            refusal = tools.refusal(name) if has_image else _NO_IMAGE
            push.setEnabled(refusal is None)
            push.setChecked(tools.active == name)
            push.setToolTip(refusal or self._tip(name))
            push.update()
        is_negative = tools.polarity == NEGATIVE
        self.polarity.setChecked(is_negative)
        self.polarity.setText(_BESIDE if is_negative else _ON)
        self.polarity.setEnabled(has_image and tools.takes_points)
        self._show_sources(has_image)
        self.follow()

    def follow(self) -> None:
        """Show what there is on the slice that the slider stands on."""
        self.value.setVisible(self._layer() is not None)
        controller = self._controller
        said = controller.said_here()
        object_id = controller.tools.object_id
        self.said.setText(f"Object {object_id} here: {said or 'no prompt'}")
        self.clear.setEnabled(bool(said))

    def _tip(self, name: str) -> str:
        tool = TOOLS[name]
        tip = f"{tool.title} ({tool.key}): {tool.does}"
        tools = self._controller.tools
        if name == "brush" and tools.refusal_of("mask") is not None:
            title = self._controller.bench.settings.card.title
            tip = f"{tool.title} ({tool.key}): {_BRUSH_ONLY.format(title)}"
        return tip

    def _show_sources(self, has_image: bool) -> None:
        refusal = self._controller.tools.refusal_of("mask") if has_image else _NO_IMAGE
        self.use.setEnabled(refusal is None)
        self.use.setToolTip(refusal or _USE)
        layers = self._layers()
        choices: list[tuple[Any, str]] = [(_RESULT, "of this object")]
        choices += [(layer, f"of {layer.name}") for layer in layers]
        chosen = self.source.currentData()
        self.source.show_choices(choices, chosen if chosen in layers else _RESULT)
        self.source.setEnabled(refusal is None)

    def _layers(self) -> list[Labels]:
        desk = self._controller.bench.desk
        if desk is None:
            return []
        try:
            shape = desk.volume().label_shape
        except MedSAM2Error:
            return []  # it is told when the image is to be segmented
        return other_labels(desk.viewer, desk.image, shape, desk.results.layer)

    def _layer(self) -> Labels | None:
        chosen = self.source.currentData()
        return None if chosen in (None, _RESULT) else chosen

    def _on_use(self) -> None:
        layer, value = self._layer(), None
        if layer is not None and self.value.currentData() == _SELECTED:
            value = int(layer.selected_label)
        self._controller.use_labels(layer, value)
