"""Panel: the objects."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QToolButton,
)

from .parts import Section, button, swatch

if TYPE_CHECKING:
    from .controller import Controller
    from .objects import ObjectInfo

__all__ = ["ObjectsPanel"]

_ROW_HEIGHT = 22
_SHOWN_ROWS = 4
_ID, _NAME, _PROMPTS, _FRAMES, _REMOVE = range(5)


class ObjectsPanel(Section):
    """The list of objects, and `New object`."""

    def __init__(self, controller: Controller) -> None:
        super().__init__("Objects")
        self._controller = controller
        self._shown: list[ObjectInfo] = []
        self.table = self._make_table()
        self.body.addWidget(self.table)
        self.new = button(
            "New object", "Draw another object, in another colour (N)", controller.new_object
        )
        self.body.addWidget(self.new)

    def refresh(self) -> None:
        """Show the present objects and tools."""
        tools = self._controller.tools
        objects = self._controller.objects
        if objects != self._shown:
            rows_stay = [o.id for o in objects] == [o.id for o in self._shown]
            self._shown = objects
            if not rows_stay:
                self._make_rows(objects)
            self._write_rows(objects)
        with QSignalBlocker(self.table):
            ids = [info.id for info in objects]
            if tools.object_id in ids:
                self.table.selectRow(ids.index(tools.object_id))
        has_image = self._controller.bench.image is not None
        for widget in (self.new, self.table):
            widget.setEnabled(has_image)

    def _make_table(self) -> QTableWidget:
        table = QTableWidget(0, 5)
        table.setHorizontalHeaderLabels(["Id", "Name", "Prompts", "Frames", ""])
        table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        table.setShowGrid(False)
        rows, header = table.verticalHeader(), table.horizontalHeader()
        assert rows is not None
        assert header is not None
        rows.hide()
        rows.setDefaultSectionSize(_ROW_HEIGHT)
        header.setHighlightSections(False)
        header.setMinimumSectionSize(22)
        for column in (_ID, _PROMPTS, _FRAMES, _REMOVE):
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
        header.setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
        table.setFixedHeight((_SHOWN_ROWS + 1) * _ROW_HEIGHT + 6)
        table.setToolTip("Click to draw an object further; double-click its name to change it")
        table.itemSelectionChanged.connect(self._on_selected)
        table.itemChanged.connect(self._on_renamed)
        return table

    def _make_rows(self, objects: list[ObjectInfo]) -> None:
        with QSignalBlocker(self.table):
            self.table.setRowCount(len(objects))
            for number, info in enumerate(objects):
                for column in (_ID, _NAME, _PROMPTS, _FRAMES):
                    item = QTableWidgetItem()
                    if column != _NAME:
                        item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
                    if column in (_PROMPTS, _FRAMES):
                        item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
                    self.table.setItem(number, column, item)
                self.table.setCellWidget(number, _REMOVE, self._remove_button(info.id))

    def _write_rows(self, objects: list[ObjectInfo]) -> None:
        with QSignalBlocker(self.table):
            for number, info in enumerate(objects):
                texts = (str(info.id), info.name, str(info.n_prompts), str(info.n_frames))
                for column, text in enumerate(texts):
                    item = self.table.item(number, column)
                    assert item is not None
                    if item.text() != text:
                        item.setText(text)
                    if column == _ID:
                        item.setIcon(swatch(info.colour))

    def _remove_button(self, object_id: int) -> QToolButton:
        push = QToolButton()
        push.setText("✕")
        push.setAutoRaise(True)
        push.setStyleSheet("background: transparent; border: none")
        push.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        push.setToolTip(f"Remove object {object_id}, its prompts and its labels")
        push.clicked.connect(lambda *_: self._controller.remove_object(object_id))
        return push

    def _on_selected(self) -> None:
        number = self.table.currentRow()
        if 0 <= number < len(self._shown):
            self._controller.tools.select(self._shown[number].id)

    def _on_renamed(self, item: QTableWidgetItem) -> None:
        if item.column() == _NAME and item.row() < len(self._shown):
            self._controller.rename_object(self._shown[item.row()].id, item.text().strip())
