"""The first three steps, for a person who opens the widget for the first time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import (
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QPushButton,
    QSizePolicy,
    QToolButton,
    QVBoxLayout,
)

from .preferences import told_key

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["HintPanel"]

_ACCENT = "#1b6f99"  # white on it can be read
_CARD = """
HintPanel { background: rgba(42, 159, 214, 36); border-radius: 6px; }
HintPanel QLabel { background: transparent; }
"""
_NUMBER = f"background: {_ACCENT}; color: white; border-radius: 9px; font-weight: bold"
_PLAIN = "background: transparent; border: none; padding: 0px"
# In the colour of the text, as no blue can be read on both a light and a dark card.
_LINK = f"{_PLAIN}; text-decoration: underline"


class HintPanel(QFrame):
    """Three steps on a card, to be closed for now or for good."""

    # Closed, and not to be shown again.
    declined = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.is_dismissed = False
        self.steps = tuple(_step() for _ in range(3))
        self.close_button = QToolButton()
        self.close_button.setText("✕")
        self.close_button.setAutoRaise(True)
        self.close_button.setStyleSheet(_PLAIN)
        self.close_button.setToolTip("Close; they are back when the widget opens again")
        self.close_button.clicked.connect(lambda *_: self.dismiss())
        self.decline = QPushButton("Don't show again")
        self.decline.setFlat(True)
        self.decline.setStyleSheet(_LINK)
        self.decline.setCursor(Qt.CursorShape.PointingHandCursor)
        self.decline.setToolTip("Close for good; Preferences > MedSAM2 brings them back")
        self.decline.clicked.connect(lambda *_: self._on_declined())
        for push in (self.close_button, self.decline):
            push.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setStyleSheet(_CARD)
        self._lay_out()

    def show_keys(self, keys: Mapping[str, str]) -> None:
        """State the steps with the keys that are in use."""
        box, point = (_in_brackets(keys.get(action, "")) for action in ("box", "point"))
        texts = (
            f"Draw a <b>box</b>{box} around an object",
            f"<b>Click</b>{point} where its mask is wrong",
            "<b>Propagate</b> it to the other slices",
        )
        for label, text in zip(self.steps, texts, strict=True):
            label.setText(text)

    def dismiss(self) -> None:
        """Close for now."""
        self.is_dismissed = True
        self.hide()

    def _on_declined(self) -> None:
        self.dismiss()
        self.declined.emit()

    def _lay_out(self) -> None:
        title = QLabel("First steps")
        font = title.font()
        font.setBold(True)
        title.setFont(font)
        head = QHBoxLayout()
        head.addWidget(title, 1)
        head.addWidget(self.close_button)
        grid = QGridLayout()
        grid.setHorizontalSpacing(8)
        grid.setVerticalSpacing(4)
        grid.setColumnStretch(1, 1)
        for index, label in enumerate(self.steps):
            number = QLabel(str(index + 1))
            number.setFixedSize(18, 18)
            number.setAlignment(Qt.AlignmentFlag.AlignCenter)
            number.setStyleSheet(_NUMBER)
            grid.addWidget(number, index, 0, Qt.AlignmentFlag.AlignTop)
            grid.addWidget(label, index, 1)
        foot = QHBoxLayout()
        foot.addStretch(1)
        foot.addWidget(self.decline)
        column = QVBoxLayout(self)
        column.setContentsMargins(10, 6, 8, 6)
        column.setSpacing(6)
        for part in (head, grid, foot):
            column.addLayout(part)


def _step() -> QLabel:
    label = QLabel()
    label.setWordWrap(True)
    label.setTextFormat(Qt.TextFormat.RichText)
    label.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
    return label


def _in_brackets(key: str) -> str:
    return f" ({told_key(key)})" if key else ""
