"""The table of objects: seen, locked, colour, id, name, prompts, slices, size, worst score."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QItemSelectionModel, QSignalBlocker, Qt
from qtpy.QtCore import Signal as QtSignal  # type: ignore[attr-defined]
from qtpy.QtWidgets import QAbstractItemView, QHeaderView, QTableWidget, QTableWidgetItem

from .object_glyphs import mark
from .parts import swatch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .objects import ObjectInfo

__all__ = ["ObjectsTable"]

_ROW_HEIGHT = 22
# Small enough that a name of a dozen letters fits into a dock of 340 pixels.
_STYLE = (
    "QTableWidget, QHeaderView::section {font-size: 11px} QHeaderView::section {padding: 1px 2px}"
)
_LEAST_ROWS, _MOST_ROWS = 2, 6
SEEN, LOCKED, ID, NAME, PROMPTS, SLICES, SIZE, WORST = range(8)
_TIPS = {
    SEEN: "Whether the object is shown; click to hide it or to show it again",
    LOCKED: "Whether the object is locked: nothing overwrites it; click to change that",
    ID: "The value in the labels, in the colour of the object",
    NAME: "Double-click to rename",
    PROMPTS: "Boxes, clicks, outlines, scribbles and masks in this view",
    SLICES: "Slices that were segmented, and how many of them you have accepted (✓)",
    SIZE: "What the object fills of the image",
    WORST: "The lowest confidence on a slice, 0 to 1",
}
_HEADERS = ("", "", "Id", "Name", "", "Slices", "Size", "Worst")
_WIDTHS = {SEEN: 21, LOCKED: 21, ID: 36, PROMPTS: 22, SLICES: 38, SIZE: 38, WORST: 38}
_PADDING, _SWATCH = 8, 16
_MILLIONS = 100_000  # from here on sizes are told in millions


class ObjectsTable(QTableWidget):
    """Rows of objects; several can be selected, the current one is the one in use."""

    # An object was chosen, was given a name, is to be hidden or shown, locked or unlocked.
    chosen = QtSignal(int)
    renamed = QtSignal(int, str)
    seen = QtSignal(int)
    locked = QtSignal(int)

    def __init__(self) -> None:
        super().__init__(0, len(_HEADERS))
        self._shown: list[ObjectInfo] = []
        self.setHorizontalHeaderLabels(list(_HEADERS))
        self._show_headers()
        self.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setShowGrid(False)
        self.setStyleSheet(_STYLE)
        self.setWordWrap(False)
        self.setToolTip(
            "Click to draw an object further, Ctrl+click to select several, double-click a name "
            "to change it"
        )
        self._set_up_headers()
        self._fit_height(0)
        self.currentCellChanged.connect(self._on_current)
        self.itemChanged.connect(self._on_changed)
        self.cellClicked.connect(self._on_clicked)

    @property
    def selected_ids(self) -> list[int]:
        """The ids of the selected rows, from the top."""
        rows = sorted({index.row() for index in self.selectedIndexes()})
        return [self._shown[row].id for row in rows if row < len(self._shown)]

    def show_objects(self, objects: Sequence[ObjectInfo], in_use: int) -> None:
        """Show other objects, or what has changed of them, and which one is in use."""
        objects = list(objects)
        if objects != self._shown:
            rows_stay = [o.id for o in objects] == [o.id for o in self._shown]
            selected = self.selected_ids
            self._shown = objects
            with QSignalBlocker(self):
                if not rows_stay:
                    self._make_rows(len(objects))
                for row, info in enumerate(objects):
                    self._write_row(row, info)
                self._fit_columns()
                if not rows_stay:
                    self._select([o.id for o in objects if o.id in selected])
            if not rows_stay:
                self._fit_height(len(objects))
        ids = [o.id for o in objects]
        if in_use in ids and self.currentRow() != ids.index(in_use):
            with QSignalBlocker(self):
                self.setCurrentCell(ids.index(in_use), NAME)

    def _set_up_headers(self) -> None:
        rows, header = self.verticalHeader(), self.horizontalHeader()
        assert rows is not None
        assert header is not None
        rows.hide()
        rows.setDefaultSectionSize(_ROW_HEIGHT)
        header.setHighlightSections(False)
        header.setMinimumSectionSize(20)
        for column, width in _WIDTHS.items():
            header.setSectionResizeMode(column, QHeaderView.ResizeMode.Fixed)
            self.setColumnWidth(column, width)
        header.setSectionResizeMode(NAME, QHeaderView.ResizeMode.Stretch)

    def _show_headers(self) -> None:
        ink = self.palette().text().color()
        icons = {SEEN: "shown", LOCKED: "locked", PROMPTS: "prompts"}
        for column, tip in _TIPS.items():
            header = self.horizontalHeaderItem(column)
            assert header is not None
            header.setToolTip(tip)
            if column in icons:
                header.setIcon(mark(icons[column], ink))

    def changeEvent(self, event: QEvent | None) -> None:
        """Draw the marks in the colour of the theme."""
        super().changeEvent(event)
        if event is not None and event.type() == QEvent.Type.StyleChange and self._shown:
            self._show_headers()
            with QSignalBlocker(self):
                for row, info in enumerate(self._shown):
                    self._write_row(row, info)

    def _fit_columns(self) -> None:
        """Make columns as wide as what stands in them, and leave the rest to the names."""
        self.ensurePolished()
        measure = self.fontMetrics()
        for column in (ID, PROMPTS, SLICES, SIZE, WORST):
            texts = [self._cell(row, column).text() for row in range(self.rowCount())]
            widest = max((measure.horizontalAdvance(text) for text in texts), default=0)
            icon = _SWATCH if column == ID else 0
            self.setColumnWidth(column, max(_WIDTHS[column], widest + icon + _PADDING))

    def _fit_height(self, n: int) -> None:
        rows = min(max(n, _LEAST_ROWS), _MOST_ROWS)
        self.setFixedHeight((rows + 1) * _ROW_HEIGHT + 8)

    def _make_rows(self, n: int) -> None:
        self.clearSelection()
        self.setRowCount(n)
        for row in range(n):
            for column in range(self.columnCount()):
                item = QTableWidgetItem()
                if column != NAME:
                    item.setFlags(item.flags() & ~Qt.ItemFlag.ItemIsEditable)
                if column in (PROMPTS, SLICES, SIZE, WORST):
                    right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
                    item.setTextAlignment(right)
                self.setItem(row, column, item)

    def _write_row(self, row: int, info: ObjectInfo) -> None:
        ink = self.palette().text().color()
        accepted = f" ✓{info.n_accepted}" if info.n_accepted else ""
        texts = {
            ID: str(info.id),
            NAME: info.name,
            PROMPTS: str(info.n_prompts),
            SLICES: f"{info.n_frames}{accepted}",
            SIZE: told_size(info),
            WORST: "–" if info.worst is None else f"{info.worst:.2f}",
        }
        for column, text in texts.items():
            self._cell(row, column).setText(text)
        self._cell(row, NAME).setToolTip(info.name)
        self._cell(row, SIZE).setToolTip(told_size(info, exactly=True))
        self._cell(row, ID).setIcon(swatch(info.colour))
        self._cell(row, SEEN).setIcon(mark("hidden" if info.is_hidden else "shown", ink))
        self._cell(row, LOCKED).setIcon(mark("locked" if info.is_locked else "unlocked", ink))

    def _cell(self, row: int, column: int) -> QTableWidgetItem:
        item = self.item(row, column)
        assert item is not None
        return item

    def _select(self, ids: Sequence[int]) -> None:
        model, selection = self.model(), self.selectionModel()
        assert model is not None
        assert selection is not None
        how = QItemSelectionModel.SelectionFlag.Select | QItemSelectionModel.SelectionFlag.Rows
        for row, info in enumerate(self._shown):
            if info.id in ids:
                selection.select(model.index(row, NAME), how)

    def _on_current(self, row: int, *_: int) -> None:
        if 0 <= row < len(self._shown):
            self.chosen.emit(self._shown[row].id)

    def _on_changed(self, item: QTableWidgetItem) -> None:
        if item.column() == NAME and item.row() < len(self._shown):
            self.renamed.emit(self._shown[item.row()].id, item.text().strip())

    def _on_clicked(self, row: int, column: int) -> None:
        info = self._shown[row]
        if column == SEEN:
            self.seen.emit(info.id)
        elif column == LOCKED:
            self.locked.emit(info.id)


def told_size(info: ObjectInfo, *, exactly: bool = False) -> str:
    """Return the size of an object in words: "12.3 ml", "840 µm²", "1,204 px", "2.35M px".

    Parameters
    ----------
    info : ObjectInfo
    exactly : bool
        Without millions, however many digits it takes.
    """
    if info.size is None:
        return "…"
    size, unit = info.size, info.unit
    if unit == "mm3" and size >= 1000:
        size, unit = size / 1000, "ml"
    unit = unit.replace("um", "µm").replace("3", "³").replace("2", "²")
    if size >= _MILLIONS and not exactly:
        return f"{size / 1e6:.2f}M {unit}"
    digits = 0 if unit == "px" or size >= 100 or size == 0 else 1 if size >= 10 else 2
    return f"{size:,.{digits}f} {unit}"
