"""Panel: which model, with which weights, where and in which form."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from psygnal import Signal
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QCheckBox, QFileDialog, QHBoxLayout, QSizePolicy, QToolButton

from napari_medsam2 import models
from napari_medsam2.errors import MedSAM2Error, ModelError
from napari_medsam2.models import DEFAULT_MODEL
from napari_medsam2.models.cards import story

from .download_row import DownloadRow
from .model_files import in_mb
from .notify import warn
from .parts import Choice, Fold, Section, button, row
from .settings import DEVICES, IMAGE_SIZES, MEMORIES, PRECISIONS

if TYPE_CHECKING:
    from napari_medsam2.models import ModelCard

    from .controller import Controller
    from .model_files import ModelFiles

__all__ = ["ModelsPanel"]

_LONGEST = 20
_FILES = "Weights (*.pt *.pth *.safetensors);;All files (*)"


class ModelsPanel(Section):
    """The model; below `More`, what few people change."""

    # Name and value of a setting that a person has chosen.
    chosen = Signal(str, object)

    def __init__(self, controller: Controller) -> None:
        super().__init__("Model")
        self._bench = controller.bench
        self._model_files = controller.model_files
        self.model = _ModelChoice(controller.model_files)
        self.row = DownloadRow(controller.model_files)
        self.device = Choice("Where the model runs: Automatic takes a GPU if there is one", DEVICES)
        self.more = Fold("More", "Device, precision, memory, image size, weights of your own, zoom")
        self.precision = Choice(
            "Numbers of the image encoder: half precision is faster where the hardware has it, and "
            "rounds; Automatic chooses by the hardware",
            PRECISIONS,
        )
        self.memory = Choice(
            "What the model remembers of an object. SAM 2: the latest frames, as it was trained. "
            "Self-sorting: frames that it was sure of and that differ, as in Medical SAM 2",
            MEMORIES,
        )
        self.image_size = Choice("Side of the model's input: smaller is faster and coarser")
        self.weights = button("", "", self._choose_weights)
        self.own = QToolButton()
        self.zoom = QCheckBox("Zoom in on objects of large images")
        self.prefetch = QCheckBox("Prepare frames in the background")
        self._lay_out()
        for name, choice in (
            ("model", self.model),
            ("device", self.device),
            ("precision", self.precision),
            ("memory", self.memory),
            ("image_size", self.image_size),
        ):
            choice.on_chosen(partial(self._configure, name))
        self.zoom.toggled.connect(lambda on: self._configure("zoom", "auto" if on else "off"))
        self.prefetch.toggled.connect(partial(self._configure, "prefetch"))
        self._model_files.changed.connect(self._on_files)

    def refresh(self) -> None:
        """Show the present choices."""
        self._settle()
        self._show_model()
        settings = self._bench.settings
        self.device.show_value(settings.device, settings.device)
        self.precision.show_value(settings.precision, settings.precision)
        self.memory.show_value(settings.memory, settings.memory)
        self.zoom.setChecked(settings.zoom == "auto")
        self.prefetch.setChecked(settings.prefetch)
        sizes = sorted({*IMAGE_SIZES, settings.image_size or IMAGE_SIZES[0]})
        self.image_size.show_choices(
            [
                (None, f"Own ({settings.card.image_size} px)"),
                *((size, f"{size} px") for size in sizes),
            ],
            settings.image_size,
        )
        for choice in (self.memory, self.image_size):
            self.more.form.setRowVisible(choice, settings.has_memory)
        self._show_weights(settings.checkpoint)
        self.more.show_note(", ".join(self._unusual()))

    def _lay_out(self) -> None:
        for widget in (self.model, self.row):
            self.body.addWidget(widget)
        self.body.addWidget(self.more)
        self.zoom.setToolTip(
            "On frames larger than twice the model's input, the model sees the surroundings of "
            "each object, which follow it, instead of the whole frame made small. Off is for "
            "objects that fill such a frame"
        )
        self.prefetch.setToolTip(
            "While nothing else is to be done, the model looks at the frames around the one on "
            "show, so that their masks come at once"
        )
        self.own.setText("✕")
        self.own.setAutoRaise(True)
        self.own.setStyleSheet("background: transparent; border: none")
        self.own.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.own.setToolTip("Go back to the model's own weights")
        self.own.clicked.connect(lambda *_: self._configure("checkpoint", None))
        # A long name is cut off rather than the window widened.
        self.weights.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        weights: QHBoxLayout = row(self.weights, self.own)
        form = self.more.form
        form.addRow("Device", self.device)
        form.addRow("Precision", self.precision)
        form.addRow("Memory", self.memory)
        form.addRow("Image size", self.image_size)
        form.addRow("Weights", weights)
        form.addRow(self.zoom)
        form.addRow(self.prefetch)

    def _on_files(self) -> None:
        """Show what has become of the models."""
        self._settle()
        self._show_model()

    def _settle(self) -> None:
        """See that the chosen model is there; if its folder is gone, take the default instead."""
        files, card = self._model_files, self._bench.settings.card
        files.welcome(card)
        if card.folder is not None and not os.path.isdir(card.folder):
            files.look()
        chosen = self._bench.settings.model
        if all(other.name != chosen for other in files.cards):
            try:
                models.get(chosen)
            except MedSAM2Error as error:
                self._bench.configure(model=DEFAULT_MODEL)
                warn(f"{error}. {self._bench.settings.card.title} takes its place")

    def _show_model(self) -> None:
        cards = self._model_files.cards
        settings = self._bench.settings
        self.model.show_choices(
            [(card.name, self._title(card)) for card in cards],
            settings.model,
            (_tip(card) for card in cards),
        )
        self.model.setToolTip(_tip(settings.card))
        self.row.show_model(settings.card if settings.checkpoint is None else None)

    def _title(self, card: ModelCard) -> str:
        state = self._model_files.state(card.name)
        title = self._model_files.title(card.name)
        if self._model_files.transfer(card.name) is not None:
            return f"{title} – downloading"
        if state == "ready":
            return title
        size = f", {in_mb(card.bytes)}" if card.bytes and state == "needs download" else ""
        return f"{title} – {state}{size}"

    def _show_weights(self, checkpoint: str | None) -> None:
        self.weights.setText("Weights…" if checkpoint is None else _short(Path(checkpoint).name))
        self.weights.setToolTip(
            "Use a checkpoint of your own, made for the model above"
            if checkpoint is None
            else f"{checkpoint}: made for the model above; click to choose another file"
        )
        self.own.setVisible(checkpoint is not None)

    def _unusual(self) -> list[str]:
        """Return what is chosen below More and is not the default."""
        settings = self._bench.settings
        unusual = []
        if settings.device != "auto":
            unusual.append(settings.device)
        if settings.precision != "auto":
            unusual.append(settings.precision)
        if settings.has_memory and settings.memory != "sam2":
            unusual.append(settings.memory)
        if settings.has_memory and settings.image_size is not None:
            unusual.append(f"{settings.image_size} px")
        if settings.zoom != "auto":
            unusual.append("no zoom")
        if settings.checkpoint is not None:
            unusual.append(_short(Path(settings.checkpoint).name))
        return unusual

    def _choose_weights(self) -> None:
        before = self._bench.settings.checkpoint
        folder = str(Path(before).parent) if before else ""
        path, _ = QFileDialog.getOpenFileName(self, "Weights of your own", folder, _FILES)
        if path:
            self._configure("checkpoint", path)

    def _configure(self, name: str, value: Any) -> None:
        if getattr(self._bench.settings, name) != value:
            self._bench.configure(**{name: value})
            self.chosen.emit(name, value)


class _ModelChoice(Choice):
    """Models, whose files are looked at when the list is opened."""

    def __init__(self, model_files: ModelFiles) -> None:
        super().__init__("")
        self._model_files = model_files

    def showPopup(self) -> None:
        """Open the list."""
        self._model_files.look()
        super().showPopup()

    def told(self) -> str:
        """Return the title alone: what is missing stands below."""
        return self._model_files.title(self.currentData())


def _short(name: str) -> str:
    """Return the name of a file without its middle, if it is long."""
    return (
        name if len(name) <= _LONGEST else f"{name[: _LONGEST // 2 - 1]}…{name[-_LONGEST // 2 :]}"
    )


def _tip(card: ModelCard) -> str:
    try:
        folder = f"Weights in {card.path.parent}"
    except ModelError as error:
        folder = str(error)
    return "\n".join((f"{card.summary}.", *story(card), f"Licence: {card.licence}", folder))
