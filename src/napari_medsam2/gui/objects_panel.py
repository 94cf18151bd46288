"""Panel: the objects."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker

from .objects_table import ObjectsTable
from .parts import Section, row
from .tool_button import ToolButton

if TYPE_CHECKING:
    from collections.abc import Callable

    from .controller import Controller

__all__ = ["ObjectsPanel"]


class ObjectsPanel(Section):
    """The table of objects, and what can be done with those selected."""

    def __init__(self, controller: Controller) -> None:
        super().__init__("Objects")
        self._controller = controller
        self.table = ObjectsTable()
        self.table.chosen.connect(controller.tools.select)
        self.table.renamed.connect(controller.rename_object)
        self.table.seen.connect(self._on_seen)
        self.table.locked.connect(self._on_locked)
        self.body.addWidget(self.table)
        self.new = _button("new", "New object, in another colour (N)", controller.new_object)
        self.merge = _button(
            "merge",
            "Merge the selected objects into the one in use (Ctrl+click selects several)",
            self._on_merge,
        )
        self.delete = _button(
            "delete",
            "Delete the selected objects: their prompts and their labels",
            self._on_delete,
        )
        self.up = _button(
            "up", "Move the object in use up: it wins overlaps", lambda: self._move(-1)
        )
        self.down = _button("down", "Move the object in use down", lambda: self._move(1))
        self.order = ToolButton("order", "Upper rows win", self._on_order)
        self.order.setToolTip(
            "Whether upper rows win where objects overlap, from the next run on. Off: the model "
            "tells to which object a pixel belongs"
        )
        self.buttons = (self.new, self.merge, self.delete, self.up, self.down, self.order)
        line = row(*self.buttons)
        line.addStretch(1)
        self.body.addLayout(line)

    def refresh(self) -> None:
        """Show the present objects."""
        controller = self._controller
        has_image = controller.bench.image is not None
        self.table.show_objects(controller.objects, controller.tools.object_id)
        order = self._order()
        for widget in (self.table, *self.buttons):
            widget.setEnabled(has_image)
        several = len(controller.objects) > 1
        for push in (self.merge, self.up, self.down, self.order):
            push.setEnabled(has_image and several)
        with QSignalBlocker(self.order):
            self.order.setChecked(bool(order))

    def _order(self) -> tuple[int, ...]:
        desk = self._controller.bench.desk
        return () if desk is None or desk.session is None else desk.session.order

    def _on_seen(self, object_id: int) -> None:
        hidden = self._controller.session.hidden
        self._controller.hide_object(object_id, object_id not in hidden)

    def _on_locked(self, object_id: int) -> None:
        locked = self._controller.session.locked
        self._controller.lock_object(object_id, object_id not in locked)

    def _on_merge(self) -> None:
        into = self._controller.tools.object_id
        self._controller.merge_objects([i for i in self.table.selected_ids if i != into], into)

    def _on_delete(self) -> None:
        chosen = self.table.selected_ids or [self._controller.tools.object_id]
        self._controller.remove_objects(chosen)

    def _move(self, by: int) -> None:
        controller = self._controller
        ids = [info.id for info in controller.objects]
        at = ids.index(controller.tools.object_id)
        to = min(max(at + by, 0), len(ids) - 1)
        ids.insert(to, ids.pop(at))
        controller.reorder_objects(ids)

    def _on_order(self) -> None:
        ids = [info.id for info in self._controller.objects]
        self._controller.reorder_objects([] if self._order() else ids)
        self.refresh()


def _button(glyph: str, tip: str, clicked: Callable[[], Any]) -> ToolButton:
    push = ToolButton(glyph, tip.split(":")[0], clicked, checkable=False)
    push.setToolTip(tip)
    return push
