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
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

__all__ = ["Choice", "Section", "button", "row", "swatch"]

_SWATCH = 12


class Section(QWidget):
    """A titled block of the widget."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self.body = QVBoxLayout(self)
        self.body.setContentsMargins(0, 0, 0, 0)
        self.body.setSpacing(4)
        heading = QLabel(title)
        font = heading.font()
        font.setBold(True)
        heading.setFont(font)
        self.body.addWidget(heading)

    def form(self) -> QFormLayout:
        """Add a form of labelled rows."""
        form = QFormLayout()
        form.setContentsMargins(0, 0, 0, 0)
        form.setSpacing(4)
        form.setLabelAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
        self.body.addLayout(form)
        return form


class Choice(QComboBox):
    """A combo box of (value, text) that does not widen the window for a long text."""

    def __init__(self, tip: str, choices: Mapping[Any, str] | None = None) -> None:
        super().__init__()
        self.setToolTip(tip)
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(6)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.show_choices((choices or {}).items(), None)

    def show_choices(self, choices: Iterable[tuple[Any, str]], value: Any) -> None:
        """Offer other choices and select one, without a signal."""
        wanted = list(choices)
        with QSignalBlocker(self):
            if wanted != [(self.itemData(i), self.itemText(i)) for i in range(self.count())]:
                self.clear()
                for data, text in wanted:
                    self.addItem(text, data)
            index = next((i for i, (data, _) in enumerate(wanted) if data == value), -1)
            if index >= 0:
                self.setCurrentIndex(index)

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
