"""Small building blocks of the panels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtGui import QColor, QIcon, QPainter, QPixmap
from qtpy.QtWidgets import (
    QComboBox,
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QSizePolicy,
    QStyle,
    QStyleOptionComboBox,
    QStylePainter,
    QVBoxLayout,
    QWidget,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from qtpy.QtGui import QPaintEvent, QResizeEvent

__all__ = ["Choice", "Fold", "Section", "button", "row", "show_bar", "swatch"]

_SWATCH = 12
_AIR = 4
_MARGIN = 16
_FLAT = "background: transparent; border: none; padding: 2px 5px; text-align: left"


class Section(QWidget):
    """A titled block of the widget."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.body = QVBoxLayout(self)
        self.body.setContentsMargins(0, 0, 0, 0)
        self.body.setSpacing(4)
        name = QLabel(title)
        font = name.font()
        font.setBold(True)
        name.setFont(font)
        # Small things may join the title on its right.
        self.heading = row(name)
        self.heading.addStretch(1)
        self.body.addLayout(self.heading)

    def form(self) -> QFormLayout:
        """Add a form of labelled rows."""
        form = _form()
        self.body.addLayout(form)
        return form


class Fold(QWidget):
    """A form that is seldom needed, closed until its title is clicked."""

    def __init__(self, title: str, tip: str) -> None:
        super().__init__()
        self._title, self._note = title, ""
        self.toggle = button(title, tip, lambda: self.show_note(self._note), checkable=True)
        self.toggle.setStyleSheet(_FLAT)
        self.toggle.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self._inside = QWidget()
        self.form = _form()
        self._inside.setLayout(self.form)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(self.toggle)
        column.addWidget(self._inside)
        self.show_note("")

    def show_note(self, note: str) -> None:
        """Say beside the title, while closed, what is unusual inside."""
        self._note = note
        is_open = self.toggle.isChecked()
        self._inside.setVisible(is_open)
        told = f" – {note}" if note and not is_open else ""
        text = f"{'▾' if is_open else '▸'} {self._title}{told}"
        room = self.width() - _MARGIN
        self.toggle.setText(
            self.toggle.fontMetrics().elidedText(text, Qt.TextElideMode.ElideRight, room)
        )

    def resizeEvent(self, event: QResizeEvent | None) -> None:
        """Shorten the note to the room that there is."""
        super().resizeEvent(event)
        self.show_note(self._note)


class Choice(QComboBox):
    """A combo box of (value, text) that shortens a long text rather than widen the window."""

    def __init__(self, tip: str, choices: Mapping[Any, str] | None = None) -> None:
        super().__init__()
        self.setToolTip(tip)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(6)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.show_choices((choices or {}).items(), None)

    def show_choices(
        self, choices: Iterable[tuple[Any, str]], value: Any, tips: Iterable[str] = ()
    ) -> None:
        """Offer other choices, with a tip for each, and select one, without a signal."""
        wanted = list(choices)
        with QSignalBlocker(self):
            if wanted != [(self.itemData(i), self.itemText(i)) for i in range(self.count())]:
                self.clear()
                for data, text in wanted:
                    self.addItem(text, data)
                for index, tip in enumerate(tips):
                    self.setItemData(index, tip, Qt.ItemDataRole.ToolTipRole)
            index = next((i for i, (data, _) in enumerate(wanted) if data == value), -1)
            if index >= 0:
                self.setCurrentIndex(index)

    def show_value(self, value: Any, text: str) -> None:
        """Select a value, which is added with this text if it is not among the choices."""
        choices = [(self.itemData(i), self.itemText(i)) for i in range(self.count())]
        if value not in [data for data, _ in choices]:
            choices.append((value, text))
        self.show_choices(choices, value)

    def told(self) -> str:
        """Return what to show while the list is closed."""
        return self.currentText()

    def paintEvent(self, event: QPaintEvent | None) -> None:
        """Draw the box, with an ellipsis where its text is too long."""
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        painter = QStylePainter(self)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        style = self.style()
        assert style is not None
        room = style.subControlRect(
            QStyle.ComplexControl.CC_ComboBox,
            option,
            QStyle.SubControl.SC_ComboBoxEditField,
            self,
        ).width()
        option.currentText = self.fontMetrics().elidedText(
            self.told(), Qt.TextElideMode.ElideRight, room - _AIR
        )
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)

    def on_chosen(self, slot: Callable[[Any], Any]) -> None:
        """Call a slot with the value that a person chooses."""
        self.currentIndexChanged.connect(lambda index: slot(self.itemData(index)))


def button(
    text: str, tip: str, clicked: Callable[[], Any], *, checkable: bool = False
) -> QPushButton:
    """Return a push button."""
    push = QPushButton(text)
    push.setToolTip(tip)
    push.setCheckable(checkable)
    # Keys belong to the canvas: a button that took the focus would swallow them.
    push.setFocusPolicy(Qt.FocusPolicy.NoFocus)
    push.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
    push.clicked.connect(lambda *_: clicked())
    return push


def row(*widgets: QWidget) -> QHBoxLayout:
    """Return widgets side by side."""
    layout = QHBoxLayout()
    layout.setContentsMargins(0, 0, 0, 0)
    layout.setSpacing(4)
    for widget in widgets:
        layout.addWidget(widget)
    return layout


def show_bar(bar: QProgressBar, value: int, maximum: int, text: str) -> None:
    """Let a progress bar show other numbers, if they differ."""
    if (value, maximum, text) == (bar.value(), bar.maximum(), bar.format()):
        return
    # A progress bar paints at once, and with it the whole window; let it wait for the canvas.
    bar.setUpdatesEnabled(False)
    bar.setRange(0, maximum)
    bar.setValue(value)
    bar.setFormat(text)
    bar.setUpdatesEnabled(True)


def swatch(colour: tuple[float, ...]) -> QIcon:
    """Return a round patch of an RGBA colour, each 0 to 1."""
    pixmap = QPixmap(_SWATCH, _SWATCH)
    pixmap.fill(Qt.GlobalColor.transparent)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(QColor.fromRgbF(*colour))
    painter.drawEllipse(0, 0, _SWATCH, _SWATCH)
    painter.end()
    icon = QIcon(pixmap)
    # Else Qt tints it while its row is selected.
    icon.addPixmap(pixmap, QIcon.Mode.Selected)
    return icon


def _form() -> QFormLayout:
    form = QFormLayout()
    form.setContentsMargins(0, 0, 0, 0)
    form.setSpacing(4)
    form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    return form
