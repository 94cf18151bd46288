"""Which frames to fill: a slider with two handles, its two numbers, and back to all."""

from __future__ import annotations

from typing import cast

from psygnal import Signal
from qtpy.QtCore import QSignalBlocker, Qt
from qtpy.QtWidgets import QLabel, QSizePolicy, QSpinBox, QVBoxLayout, QWidget
from superqt import QRangeSlider

from .parts import button, row

__all__ = ["FrameRange"]

_DIGITS = 34  # pixels for three digits; more take their own room
_HEIGHT = 18


class FrameRange(QWidget):
    """The first and the last frame, both included."""

    # First and last, as a person has chosen them.
    chosen = Signal(int, int)

    def __init__(self) -> None:
        super().__init__()
        self._n_frames = 1
        self.first, self.last = _number("First frame to fill"), _number("Last frame to fill")
        self.slider = QRangeSlider(Qt.Orientation.Horizontal)  # type: ignore[no-untyped-call]
        self.slider.setToolTip(
            "The frames to fill: drag either end, or what lies between them; propagation passes "
            "through others where it comes from a prompt there, and leaves them as they are"
        )
        self.slider.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.slider.setFixedHeight(_HEIGHT)
        self.whole = button("Whole", "Fill all frames again", self._on_whole)
        self.whole.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Fixed)
        numbers = row(QLabel("Frames"), self.first, QLabel("to"), self.last)
        numbers.addStretch(1)
        numbers.addWidget(self.whole)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(2)
        column.addLayout(numbers)
        column.addWidget(self.slider)
        self.slider.valueChanged.connect(self._on_slider)
        for spin in (self.first, self.last):
            spin.editingFinished.connect(self._on_numbers)

    @property
    def value(self) -> tuple[int, int]:
        """The first and the last frame."""
        first, last = cast("tuple[float, float]", self.slider.value())
        return int(first), int(last)

    def show_range(self, first: int, last: int, n_frames: int) -> None:
        """Show a range of so many frames, without a signal."""
        if n_frames == self._n_frames and (first, last) == self.value:
            return
        self._n_frames = n_frames
        with QSignalBlocker(self.slider):
            self.slider.setRange(0, max(1, n_frames - 1))
            self.slider.setValue((first, last))
        self._show_numbers(first, last)

    def _show_numbers(self, first: int, last: int) -> None:
        digits = self.fontMetrics().horizontalAdvance("0") * len(str(self._n_frames - 1))
        width = max(_DIGITS, digits + 14)
        for spin, value in ((self.first, first), (self.last, last)):
            with QSignalBlocker(spin):
                spin.setMaximum(self._n_frames - 1)
                spin.setValue(value)
            # napari's style makes them so wide that the row would be cut off.
            spin.setStyleSheet(f"min-width: {width}px; max-width: {width}px; padding: 1px 2px")
        self.whole.setEnabled((first, last) != (0, self._n_frames - 1))

    def _on_slider(self, value: tuple[int, int]) -> None:
        first, last = (int(v) for v in value)
        self._show_numbers(first, last)
        self.chosen.emit(first, last)

    def _on_numbers(self) -> None:
        first, last = sorted((self.first.value(), self.last.value()))
        if (first, last) != self.value:
            self.slider.setValue((first, last))

    def _on_whole(self) -> None:
        self.slider.setValue((0, self._n_frames - 1))


def _number(tip: str) -> QSpinBox:
    spin = QSpinBox()
    spin.setToolTip(tip)
    spin.setButtonSymbols(QSpinBox.ButtonSymbols.NoButtons)
    spin.setAlignment(Qt.AlignmentFlag.AlignCenter)
    return spin
