"""Panel: clean up masks, looking before anything is changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QDoubleSpinBox, QLabel

from .cleanup import COLOURS, COME, GONE, Kind, Order, Preview
from .parts import Choice, Fold, button, row

if TYPE_CHECKING:
    from napari.layers import Labels

    from .controller import Controller

__all__ = ["CleanupPanel"]

_KINDS: dict[Kind, str] = {
    "holes": "Fill holes",
    "largest": "Keep the largest part",
    "smooth": "Smooth the border",
    "small": "Remove small parts",
    "restrict": "Keep what is inside a layer",
}
_TIPS: dict[Kind, str] = {
    "holes": "Background that an object encloses becomes part of it; other objects stay",
    "largest": "All other parts of the object go",
    "smooth": "Even out steps and bumps; the size stays about the same",
    "small": "Parts below this size go",
    "restrict": "What lies outside of the labels of another layer goes",
}
_AMOUNTS = {"smooth": "Strength", "small": "Smaller than"}
_WHERE = "Only the {0} on show, or every {0} of the image as one step, each for itself"
_LEAST, _MOST, _DECIMALS = 0.001, 1e6, 3
_NO_LAYER = "add the mask as a labels layer"


class CleanupPanel(Fold):
    """The operation, its amount, which objects; `Preview`, `Apply`, and what would change."""

    def __init__(self, controller: Controller) -> None:
        super().__init__("Clean up", "Fill holes, smooth, remove parts that do not belong there")
        # It stands among sections, whose titles are bold.
        self.toggle.setStyleSheet(f"{self.toggle.styleSheet()}; font-weight: bold")
        self._controller = controller
        self._cleaner = controller.cleaner
        self._wanted: Labels | None = None
        self._is_solid = False
        # What the amount was suggested for; another image has another scale.
        self._suggested: tuple[object, ...] = ()
        self.kind = Choice("What to do", _KINDS)
        for index, tip in enumerate(_TIPS.values()):
            self.kind.setItemData(index, tip, Qt.ItemDataRole.ToolTipRole)
        self.amount = _Amount()
        self._amount_name = QLabel("")
        self.layer = Choice("A labels layer of the image's shape; all its labels count as inside")
        self.how = Choice("Each slice for itself, or all slices together")
        self.where = Choice(_WHERE.format("time point"))
        self.objects = Choice(
            "Which objects to clean up; locked ones and accepted slices stay as they are",
            {"one": "Selected object", "all": "All objects"},
        )
        self.look = button("Preview", "Show what would change, and change nothing", self._look)
        self.apply = button("Apply", "Make the change; Ctrl+Z takes it back", self._apply)
        self.next = button("Next slice", "Go to the next slice that would change", self._go_on)
        self.cancel = button("Cancel", "Take the preview away", self._cleaner.cancel)
        self.note = QLabel("")
        self.note.setWordWrap(True)
        self.note.setTextFormat(Qt.TextFormat.RichText)
        self._lay_out()

    def refresh(self) -> None:
        """Show what can be done now."""
        kind = self._kind
        self._offer_ways(kind)
        self._offer_places()
        self._offer_layers()
        self._show_amount(kind)
        for widget, shown in (
            (self.amount, kind in _AMOUNTS),
            (self.layer, kind == "restrict"),
            (self.how, kind != "restrict"),
            (self.where, bool(self._cleaner.beside)),
        ):
            self.form.setRowVisible(widget, shown)
        ready = self._controller.state == "idle" and bool(self._ids)
        ready = ready and (kind != "restrict" or self._wanted is not None)
        is_busy, preview = self._cleaner.is_busy, self._cleaner.preview
        self.look.setEnabled(ready and not is_busy)
        self.look.setText("Looking…" if is_busy else "Preview")
        self.apply.setEnabled(ready)
        changes = preview is not None and bool(preview.places)
        self.next.setVisible(changes)
        self.cancel.setVisible(is_busy or preview is not None)
        self.note.setVisible(preview is not None)
        if preview is not None:
            self.note.setText(_told(preview))
        self.show_note("preview" if preview is not None else "")

    # Inside

    @property
    def _kind(self) -> Kind:
        kind: Kind = self.kind.currentData()
        return kind

    @property
    def _ids(self) -> tuple[int, ...]:
        """The objects that are meant, but for those that are locked."""
        desk = self._controller.bench.desk
        if desk is None or desk.session is None:
            return ()
        if self.objects.currentData() == "one":
            return (self._controller.tools.object_id,)
        locked = desk.session.locked
        return tuple(info.id for info in self._controller.objects if info.id not in locked)

    def _ids_everywhere(self) -> tuple[int, ...]:
        """Return the objects that are meant, with those that are at other places alone."""
        desk = self._controller.bench.desk
        if desk is None or desk.session is None or self.objects.currentData() == "one":
            return self._ids
        further = self._cleaner.objects_everywhere() - {*self._ids, *desk.session.locked}
        return (*self._ids, *sorted(further))

    def _order(self) -> Order:
        kind = self._kind
        return Order(
            kind,
            self._ids_everywhere() if self._everywhere else self._ids,
            solid=self._solid,
            amount=self.amount.value() if kind in _AMOUNTS else 1.0,
            layer=self._wanted if kind == "restrict" else None,
            everywhere=self._everywhere,
        )

    @property
    def _solid(self) -> bool:
        return self._kind != "restrict" and bool(self.how.currentData())

    @property
    def _everywhere(self) -> bool:
        return bool(self._cleaner.beside) and bool(self.where.currentData())

    def _offer_places(self) -> None:
        noun = self._cleaner.beside
        if noun:
            choices = {False: f"This {noun}", True: f"All {noun}s"}
            self.where.show_choices(choices.items(), bool(self.where.currentData()))
            self.where.setToolTip(_WHERE.format(noun))

    def _offer_ways(self, kind: Kind) -> None:
        ways = {False: "slice by slice"}
        if self._cleaner.can_be_solid:
            ways[True] = "in 3D"
            # Once there is a choice, begin with the one that suits most.
            if not self._is_solid:
                self.how.show_choices(ways.items(), kind != "holes")
        self.how.show_choices(ways.items(), bool(self.how.currentData()) and True in ways)
        self._is_solid = True in ways
        self.how.setEnabled(self._is_solid)

    def _offer_layers(self) -> None:
        layers = self._controller.comparer.candidates()
        self._wanted = self._wanted if self._wanted in layers else (layers[-1] if layers else None)
        choices = [(layer, layer.name) for layer in layers]
        self.layer.show_choices(choices or [(None, _NO_LAYER)], self._wanted)
        self.layer.setEnabled(bool(layers))

    def _show_amount(self, kind: Kind) -> None:
        if kind not in _AMOUNTS:
            return
        unit = self._cleaner.unit(solid=self._solid)
        power = ("³" if self._solid else "²") if kind == "small" else ""
        self._amount_name.setText(_AMOUNTS[kind])
        self.amount.setToolTip(_TIPS[kind])
        self.amount.setSuffix(f" {unit}{power}")
        scale = (kind, self._solid, unit, self._controller.bench.image)
        if scale != self._suggested:
            self._suggested = scale
            with QSignalBlocker(self.amount):
                self.amount.setValue(self._cleaner.suggested_amount(kind, solid=self._solid))

    def _choose_kind(self, kind: Kind) -> None:
        if self._is_solid:
            # Holes are mostly those of a slice; parts and borders those of the whole.
            self.how.show_value(kind != "holes", "")
        self._forget()

    def _choose_layer(self, layer: Labels | None) -> None:
        self._wanted = layer
        self._forget()

    def _forget(self) -> None:
        """Drop a preview of what is no longer asked for."""
        self._cleaner.cancel()
        self.refresh()

    def _look(self) -> None:
        self._controller.preview_cleanup(self._order())

    def _apply(self) -> None:
        self._controller.clean_up(self._order())

    def _go_on(self) -> None:
        self._cleaner.show_next()

    def _lay_out(self) -> None:
        form = self.form
        form.addRow("Do", self.kind)
        form.addRow(self._amount_name, self.amount)
        form.addRow("Layer", self.layer)
        form.addRow("How", self.how)
        form.addRow("Where", self.where)
        form.addRow("Objects", self.objects)
        form.addRow(row(self.look, self.apply))
        form.addRow(row(self.next, self.cancel))
        form.addRow(self.note)
        self.kind.on_chosen(self._choose_kind)
        self.layer.on_chosen(self._choose_layer)
        for choice in (self.how, self.where, self.objects):
            choice.on_chosen(lambda _: self._forget())
        self.amount.valueChanged.connect(lambda _: self._forget())


class _Amount(QDoubleSpinBox):
    """A number without the zeros behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.setDecimals(_DECIMALS)
        self.setRange(_LEAST, _MOST)
        self.setStepType(QDoubleSpinBox.StepType.AdaptiveDecimalStepType)

    def textFromValue(self, value: float) -> str:
        """Return a value as a person writes it."""
        return f"{value:.{_DECIMALS}f}".rstrip("0").rstrip(".")


def _told(preview: Preview) -> str:
    if not preview.places:
        return str(preview)
    gone, come = (f"<span style='color:{COLOURS[i]}'>■</span>" for i in (GONE, COME))
    return f"{gone} {preview.removed:,} px go, {come} {preview.added:,} px come, on {preview.where}"
