"""A list whose entries are ticked, several at a time, folded into the height of a combo box."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psygnal import Signal
from qtpy.QtCore import QEvent, QObject, QSignalBlocker, Qt
from qtpy.QtGui import QStandardItemModel

from .parts import Choice

if TYPE_CHECKING:
    from collections.abc import Iterable

    from qtpy.QtGui import QStandardItem, QWheelEvent

__all__ = ["Ticks"]

_STATE = Qt.ItemDataRole.CheckStateRole


class Ticks(Choice):
    """A combo box of (value, text) of which several are chosen; its list stays open meanwhile."""

    # A person has ticked an entry, or taken its tick away.
    ticked = Signal()

    def __init__(self, tip: str) -> None:
        super().__init__(tip)
        view = self.view()
        assert view is not None
        viewport = view.viewport()
        assert viewport is not None
        viewport.installEventFilter(self)
        view.installEventFilter(self)

    def show_ticks(
        self, choices: Iterable[tuple[Any, str]], chosen: Iterable[Any], fixed: Any
    ) -> None:
        """Offer choices, some of them ticked; the fixed one is ticked always."""
        wanted = [fixed, *chosen]
        self.show_choices(choices, fixed)
        with QSignalBlocker(self):
            for index in range(self.count()):
                item = self._item(index)
                value = self.itemData(index)
                is_on = any(value is other for other in wanted)
                item.setData(Qt.CheckState.Checked if is_on else Qt.CheckState.Unchecked, _STATE)
                item.setEnabled(value is not fixed)
        self.update()

    def chosen(self) -> list[Any]:
        """Return the values that are ticked, in their order."""
        return [self.itemData(i) for i in range(self.count()) if self._is_on(i)]

    def toggle(self, index: int) -> None:
        """Tick an entry or take its tick away, as a click on it does."""
        item = self._item(index)
        if not item.isEnabled():
            return
        state = Qt.CheckState.Unchecked if self._is_on(index) else Qt.CheckState.Checked
        item.setData(state, _STATE)
        self.update()
        self.ticked.emit()

    def told(self) -> str:
        """Return the ticked entries."""
        return " + ".join(self.itemText(i) for i in range(self.count()) if self._is_on(i))

    def eventFilter(self, watched: QObject | None, event: QEvent | None) -> bool:
        """Let a click or the space bar tick the entry under it, and keep the list open."""
        view = self.view()
        if view is None or event is None:
            return False
        if event.type() == QEvent.Type.MouseButtonRelease and watched is view.viewport():
            index = view.indexAt(event.position().toPoint())  # type: ignore[attr-defined]
            if index.isValid():
                self.toggle(index.row())
            return True
        if event.type() == QEvent.Type.KeyPress and event.key() == Qt.Key.Key_Space:  # type: ignore[attr-defined]
            self.toggle(view.currentIndex().row())
            return True
        return False

    def wheelEvent(self, event: QWheelEvent | None) -> None:
        """Leave the wheel to the panel: there is no one entry to change."""
        if event is not None:
            event.ignore()

    def _item(self, index: int) -> QStandardItem:
        model = self.model()
        assert isinstance(model, QStandardItemModel)
        item = model.item(index)
        assert item is not None
        return item

    def _is_on(self, index: int) -> bool:
        return bool(self._item(index).checkState() == Qt.CheckState.Checked)
