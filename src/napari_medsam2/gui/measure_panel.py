"""Panel: a table of what was measured of each object."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QAbstractTableModel, QModelIndex, Qt
from qtpy.QtWidgets import QAbstractItemView, QFileDialog, QHeaderView, QLabel, QTableView

from .measuring import TABLE_FILTER, suggestion
from .parts import Fold, button, row, swatch

if TYPE_CHECKING:
    from collections.abc import Callable

    from qtpy.QtGui import QIcon

    from napari_medsam2.measure_objects import ObjectMeasures

    from .controller import Controller

__all__ = ["MeasurePanel"]

_ROW_HEIGHT = 22
_MOST_ROWS = 6
_NAME = 1  # the column of names
_STALE = "Labels have changed since: measure again"
_POWERS = {"2": "²", "3": "³"}


class MeasurePanel(Fold):
    """`Measure`, `Save CSV…`, the table, and the diameters on the image."""

    def __init__(self, controller: Controller) -> None:
        super().__init__("Measure", "Volume, diameters, intensity and more of every object")
        # It stands among sections, whose titles are bold.
        self.toggle.setStyleSheet(f"{self.toggle.styleSheet()}; font-weight: bold")
        self._controller = controller
        self._measurer = controller.measurer
        self.measure = button(
            "Measure",
            "Measure every object, at every time point of a movie",
            controller.measure,
        )
        self.save = button("Save CSV…", "Write all that was measured as a table", self._save)
        self.lines = button(
            "Show diameters",
            "Draw long and short axis of every object on the slice where they are",
            self._show_lines,
            checkable=True,
        )
        self.model = _Rows(self._colour)
        self.table = _view(self.model)
        self.table.clicked.connect(self._go_to)
        self.note = QLabel("")
        self.note.setWordWrap(True)
        self.form.addRow(row(self.measure, self.save))
        self.form.addRow(self.table)
        self.form.addRow(self.lines)
        self.form.addRow(self.note)

    def refresh(self) -> None:
        """Show what was measured."""
        measurer, desk = self._measurer, self._controller.bench.desk
        table, is_busy = measurer.table or (), measurer.is_busy
        has_result = desk is not None and desk.results.layer is not None
        self.measure.setEnabled(has_result and not is_busy)
        done = f" {measurer.n_done}" if measurer.n_done else ""
        self.measure.setText(f"Measuring…{done}" if is_busy else "Measure")
        self.save.setEnabled(bool(table))
        self.lines.setChecked(measurer.shows_lines)
        self.model.show(table)
        for widget in (self.table, self.lines):
            self.form.setRowVisible(widget, bool(table))
        header = self.table.horizontalHeader()
        assert header is not None
        if table:
            # What a model that is reset forgets.
            header.setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
        shown = min(len(table), _MOST_ROWS)
        self.table.setFixedHeight(shown * _ROW_HEIGHT + header.sizeHint().height() + 4)
        note = self._said(table)
        self.note.setText(note)
        self.form.setRowVisible(self.note, bool(note))
        is_stale = bool(table) and measurer.is_stale
        self.show_note("labels have changed since" if is_stale else "")

    # Inside

    def _said(self, table: tuple[ObjectMeasures, ...]) -> str:
        if not table:
            return "" if self._measurer.table is None else "There is no object to measure"
        said = [_STALE] if self._measurer.is_stale else []
        if any(m.unit == "px" for m in table):
            said.append("In pixels: the image states no unit of length")
        return "\n".join(said)

    def _colour(self, object_id: int) -> QIcon:
        desk = self._controller.bench.desk
        rgba = (0.5, 0.5, 0.5, 1.0) if desk is None else desk.colour(object_id)
        return swatch(tuple(float(v) for v in rgba))

    def _go_to(self, index: QModelIndex) -> None:
        measures = self.model.rows[index.row()]
        self._measurer.go_to(measures)

    def _show_lines(self) -> None:
        self._measurer.show_lines(self.lines.isChecked())

    def _save(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Save measurements", suggestion(self._controller.bench), TABLE_FILTER
        )
        if path:
            self._controller.save_measurements(
                path if path.lower().endswith(".csv") else f"{path}.csv"
            )


class _Rows(QAbstractTableModel):
    """The table; only rows on show are asked for, since a movie may have thousands."""

    def __init__(self, icon: Callable[[int], QIcon]) -> None:
        super().__init__()
        self.rows: tuple[ObjectMeasures, ...] = ()
        self._icon = icon
        self._columns: tuple[tuple[str, str, Callable[[ObjectMeasures], str]], ...] = ()

    def show(self, rows: tuple[ObjectMeasures, ...]) -> None:
        """Show other rows."""
        if rows is self.rows:
            return
        self.beginResetModel()
        self.rows = rows
        self._columns = _columns(rows)
        self.endResetModel()

    def rowCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of rows."""
        return len(self.rows)

    def columnCount(self, parent: QModelIndex | None = None) -> int:
        """Return the number of columns."""
        return len(self._columns)

    def headerData(
        self,
        section: int,
        orientation: Qt.Orientation,
        role: int = Qt.ItemDataRole.DisplayRole,
    ) -> Any:
        """Return a heading, or what it means."""
        if orientation != Qt.Orientation.Horizontal or section >= len(self._columns):
            return None
        title, tip, _ = self._columns[section]
        return {Qt.ItemDataRole.DisplayRole: title, Qt.ItemDataRole.ToolTipRole: tip}.get(
            Qt.ItemDataRole(role)
        )

    def data(self, index: QModelIndex, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        """Return what a cell shows."""
        measures = self.rows[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return self._columns[index.column()][2](measures)
        if role == Qt.ItemDataRole.ToolTipRole:
            return _details(measures)
        if role == Qt.ItemDataRole.DecorationRole and index.column() == 0:
            return self._icon(measures.object_id)
        if role == Qt.ItemDataRole.TextAlignmentRole and index.column() > _NAME:
            return int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        return None


def _columns(
    rows: tuple[ObjectMeasures, ...],
) -> tuple[tuple[str, str, Callable[[ObjectMeasures], str]], ...]:
    if not rows:
        return ()
    first = rows[0]
    size = "Volume" if first.is_solid else "Area"
    unit, scale = first.size_unit, 1.0
    if unit == "mm3" and max(m.size for m in rows) >= 1000:
        # As in the table of objects.
        unit, scale = "ml", 1000.0
    long_tip = "The longest diameter on any slice (RECIST)"
    short_tip = "The longest diameter across it, on the same slice"
    found = [("Id", "Object", lambda m: str(m.object_id)), ("Name", "Its name", lambda m: m.name)]
    if any(m.time is not None for m in rows):
        found.append(("t", "Time point", lambda m: "" if m.time is None else str(m.time)))
    return (
        *found,
        (
            f"{size}\n{_pretty(unit)}",
            f"{size} of the object",
            lambda m: _number(m.size / scale),
        ),
        (f"Long\n{first.unit}", long_tip, lambda m: _diameter(m, "long")),
        (f"Short\n{first.unit}", short_tip, lambda m: _diameter(m, "short")),
        ("Mean", "Mean intensity of the image inside", lambda m: _number(m.intensity.mean)),
    )


def _diameter(measures: ObjectMeasures, which: str) -> str:
    found = measures.diameters
    return "–" if found is None else _number(getattr(found, which).length)


def _details(measures: ObjectMeasures) -> str:
    """Return all that was measured, in lines."""
    m = measures
    title = " ".join(filter(None, (f"Object {m.object_id}", m.name)))
    if m.time is not None:
        title += f" at time point {m.time}"
    if not m.voxels:
        return f"{title}\nnot found"
    outline = (
        f"surface {_number(m.surface)} {m.unit}²"
        if m.is_solid
        else f"perimeter {_number(m.perimeter)} {m.unit}"
    )
    inside = m.intensity
    lines = [
        title,
        f"{m.voxels:,} pixels, {_number(m.size)} {_pretty(m.size_unit)}, {outline}",
        f"intensity {_number(inside.mean)} ± {_number(inside.sd)}, "
        f"{_number(inside.low)} to {_number(inside.high)}",
        f"{m.n_parts} connected part{'s' * (m.n_parts != 1)}",
        "extent " + ", ".join(f"{low} to {high - 1}" for low, high in m.bbox),
    ]
    if m.diameters is not None and m.axis:
        lines.append(f"diameters on {m.axis} {m.diameters.frame}")
    return "\n".join(lines)


def _number(value: float) -> str:
    """Return a number with four digits, never as a power of ten."""
    if math.isnan(value):
        return "–"
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    decimals = 3 if abs(value) < 1 else 2 if abs(value) < 10 else 1
    return f"{value:.{decimals}f}"


def _pretty(unit: str) -> str:
    return unit[:-1] + _POWERS.get(unit[-1], unit[-1])


def _view(model: _Rows) -> QTableView:
    table = QTableView()
    table.setToolTip("Click on an object to go to the slice where it was measured")
    table.setModel(model)
    table.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    table.setShowGrid(False)
    rows, header = table.verticalHeader(), table.horizontalHeader()
    assert rows is not None
    assert header is not None
    rows.hide()
    rows.setDefaultSectionSize(_ROW_HEIGHT)
    header.setHighlightSections(False)
    header.setMinimumSectionSize(22)
    # The rows on show decide, not thousands of others.
    header.setResizeContentsPrecision(0)
    header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
    return table
