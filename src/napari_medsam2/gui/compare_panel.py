"""Panel: the result beside a true segmentation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QLabel,
    QTableWidget,
    QTableWidgetItem,
)

from .parts import Choice, Fold, button, swatch
from .strip import ScoreStrip, StripRow

if TYPE_CHECKING:
    from napari.layers import Labels

    from .controller import Controller
    from .scoring import Comparison, ObjectScore

__all__ = ["ComparePanel"]

_ROW_HEIGHT = 22
_MOST_ROWS = 6
_HEADINGS = ("Id", "Name", "Truth", "Dice", "NSD", "Past")
_ID, _NAME, _TRUTH, _DICE, _NSD, _BEYOND = range(6)
_NO_TRUTH = "add the truth as a labels layer"
_STALE = "Labels have changed since"


class ComparePanel(Fold):
    """The choice of the truth, `Compare`, a table of objects and a strip of frames."""

    def __init__(self, controller: Controller) -> None:
        super().__init__("Compare", "Compare the result with a true segmentation")
        # It stands among sections, whose titles are bold.
        self.toggle.setStyleSheet(f"{self.toggle.styleSheet()}; font-weight: bold")
        self._controller = controller
        self._comparer = controller.comparer
        self._wanted: Labels | None = None
        self.truth = Choice("A labels layer of the same shape that holds the truth")
        self.compare = button(
            "Compare", "Measure how well each object agrees with the truth", self._compare
        )
        self.table = _table()
        self.measure = Choice("What the strip shows of each frame", {"Dice": "Dice", "NSD": "NSD"})
        self.strip = ScoreStrip(self._comparer.show_frame)
        self.note = QLabel("")
        self.note.setWordWrap(True)
        self.form.addRow("Truth", self.truth)
        self.form.addRow(self.compare)
        self.form.addRow(self.table)
        self.form.addRow("Frames", self.measure)
        self.form.addRow(self.strip)
        self.form.addRow(self.note)
        self.truth.on_chosen(self._choose)
        self.measure.on_chosen(lambda _: self.refresh())

    def refresh(self) -> None:
        """Show the present layers and the comparison."""
        layers = self._comparer.candidates()
        choices = [(layer, layer.name) for layer in layers]
        self._wanted = self._wanted if self._wanted in layers else (layers[-1] if layers else None)
        self.truth.show_choices(choices or [(None, _NO_TRUTH)], self._wanted)
        self.truth.setEnabled(bool(layers))
        is_busy = self._comparer.is_busy
        self.compare.setEnabled(bool(layers) and not is_busy)
        done, total = self._comparer.progress
        of = f" {done + 1} of {total}" if total else ""
        self.compare.setText(f"Comparing…{of}" if is_busy else "Compare")
        self._show(self._comparer.comparison)
        self.follow()

    def follow(self) -> None:
        """Mark the frame on show."""
        self.strip.mark(self._comparer.frame_on_show())

    def _show(self, comparison: Comparison | None) -> None:
        has_rows = comparison is not None and bool(comparison.objects)
        for widget in (self.table, self.measure, self.strip):
            self.form.setRowVisible(widget, has_rows)
        self.form.setRowVisible(self.note, comparison is not None)
        if comparison is None:
            self.strip.show_rows(())
            self.show_note("comparing…" if self._comparer.is_busy else "")
            return
        names = {info.id: info.name for info in self._controller.objects}
        desk = self._controller.bench.require_desk()
        colours = {o.id: tuple(float(v) for v in desk.colour(o.id)) for o in comparison.objects}
        self.table.setRowCount(len(comparison.objects))
        for number, score in enumerate(comparison.objects):
            self._write(number, score, names.get(score.id, ""), colours[score.id])
        shown = min(len(comparison.objects), _MOST_ROWS)
        header = self.table.horizontalHeader()
        assert header is not None
        self.table.setFixedHeight(shown * _ROW_HEIGHT + header.sizeHint().height() + 4)
        measure = str(self.measure.currentData())
        self.strip.show_rows(
            [
                StripRow(
                    " ".join(filter(None, (str(o.id), names.get(o.id, "")))),
                    colours[o.id],
                    o.frame_nsd if measure == "NSD" else o.frame_dice,
                )
                for o in comparison.objects
            ],
            measure,
        )
        self.note.setText(_told(comparison, is_stale=self._comparer.is_stale))
        mean = f"mean Dice {comparison.mean_dice:.2f}" if comparison.mean_dice >= 0 else ""
        stale = _STALE.lower() if self._comparer.is_stale else ""
        self.show_note(", ".join(filter(None, (mean, stale))))

    def _write(self, number: int, score: ObjectScore, name: str, colour: tuple[float, ...]) -> None:
        has_partner = score.true_id is not None
        texts = (
            str(score.id),
            name,
            str(score.true_id) if has_partner else "none",
            f"{score.dice:.3f}" if has_partner else "–",
            f"{score.nsd:.3f}" if has_partner else "–",
            str(score.beyond) if has_partner else "–",
        )
        for column, text in enumerate(texts):
            item = self.table.item(number, column)
            if item is None:
                item = QTableWidgetItem()
                if column > _NAME:
                    item.setTextAlignment(Qt.AlignmentFlag.AlignCenter)
                self.table.setItem(number, column, item)
            item.setText(text)
            if column == _ID:
                item.setIcon(swatch(colour))
            if column == _NAME:
                item.setToolTip(name)

    def _choose(self, layer: Labels | None) -> None:
        self._wanted = layer

    def _compare(self) -> None:
        layer = self.truth.currentData()
        if layer is not None:
            self._controller.compare(layer)


def _told(comparison: Comparison, *, is_stale: bool) -> str:
    """Return what the table does not say."""
    said = [f"{_STALE}: compare again"] if is_stale else []
    if not comparison.objects:
        said.append("Nothing is segmented here")
    if any(o.true_id is None for o in comparison.objects):
        said.append("none: the truth has nothing where this object is")
    if comparison.missed:
        values = ", ".join(map(str, comparison.missed[:8]))
        more = ", …" if len(comparison.missed) > 8 else ""
        said.append(f"True {values}{more}: not compared with any object")
    tolerance = f"{comparison.tolerance:.3g} {comparison.unit}"
    # In other units the tolerance is that of two pixels, see `default_tolerance`.
    tolerance = {"mm": tolerance, "px": "two pixels"}.get(
        comparison.unit, f"two pixels ({tolerance})"
    )
    said.append(f"With {comparison.truth}; NSD at {tolerance}")
    return "\n".join(said)


def _table() -> QTableWidget:
    table = QTableWidget(0, len(_HEADINGS))
    table.setHorizontalHeaderLabels(list(_HEADINGS))
    table.setSelectionMode(QAbstractItemView.SelectionMode.NoSelection)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    table.setShowGrid(False)
    table.setToolTip("How well each object agrees with the truth; the headings say by what")
    rows, header = table.verticalHeader(), table.horizontalHeader()
    assert rows is not None
    assert header is not None
    rows.hide()
    rows.setDefaultSectionSize(_ROW_HEIGHT)
    header.setHighlightSections(False)
    header.setMinimumSectionSize(22)
    for column in range(len(_HEADINGS)):
        header.setSectionResizeMode(column, QHeaderView.ResizeMode.ResizeToContents)
    header.setSectionResizeMode(_NAME, QHeaderView.ResizeMode.Stretch)
    tips = {
        _TRUTH: "The value in the truth: the same, or else the one with the largest overlap",
        _DICE: "Overlap of the volumes, 1 at best",
        _NSD: "Share of the surfaces that agree within the tolerance, 1 at best",
        _BEYOND: "Frames with a mask before the first or after the last true one",
    }
    for column, tip in tips.items():
        item = table.horizontalHeaderItem(column)
        assert item is not None
        item.setToolTip(tip)
    return table
