"""What is missing of a model, and the button that fetches it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qtpy.QtWidgets import QLabel, QMessageBox, QProgressBar, QVBoxLayout, QWidget

from napari_medsam2.models.licences import is_permissive, notices

from .model_files import facts, in_mb
from .parts import button, row, show_bar

if TYPE_CHECKING:
    from napari_medsam2.models import ModelCard
    from napari_medsam2.models.catalogue import State

    from .model_files import ModelFiles, Transfer

__all__ = ["DownloadRow"]

_STEPS = 1000
_BUTTON_WIDTH = 84


class DownloadRow(QWidget):
    """State, size and licence with `Download`; while it runs, a bar with `Cancel`.

    Parameters
    ----------
    model_files : ModelFiles
    """

    def __init__(self, model_files: ModelFiles) -> None:
        super().__init__()
        self._model_files = model_files
        self.card: ModelCard | None = None
        # The licence that is waiting for an answer.
        self.question: QMessageBox | None = None
        self.text = QLabel()
        self.text.setWordWrap(True)
        self.download = button("Download", "", self._on_download)
        self.bar = QProgressBar()
        self.bar.setTextVisible(True)
        self.cancel = button(
            "Cancel", "Stop; what has arrived is kept for the next download", self._on_cancel
        )
        for push in (self.download, self.cancel):
            push.setFixedWidth(_BUTTON_WIDTH)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.addLayout(row(self.text, self.download, self.bar, self.cancel))

    def show_model(self, card: ModelCard | None) -> None:
        """Show what is missing of a model; None, and one that is ready, hides the row."""
        self.card = card
        model_files = self._model_files
        transfer = None if card is None else model_files.transfer(card.name)
        state = "ready" if card is None else model_files.state(card.name)
        self.setVisible(transfer is not None or state != "ready")
        self.text.setVisible(transfer is None)
        self.download.setVisible(transfer is None)
        self.bar.setVisible(transfer is not None)
        self.cancel.setVisible(transfer is not None)
        if card is None:
            return
        if transfer is None:
            self._show_state(card, state)
        else:
            self._show_transfer(card, transfer)

    def _show_state(self, card: ModelCard, state: State) -> None:
        kept = self._model_files.kept(card.name)
        self.download.setVisible(card.source is not None)
        if card.folder is not None:
            text = f"{state}: {card.filename}\nrestore it or fine-tune again"
        elif card.package is not None:
            text = f"{state}:\ninstall {card.package} again"
        elif card.source is None:
            text = "no weights of its own:\nchoose them under More"
        elif kept is not None:
            text = f"{in_mb(kept.done, kept.total)} are here\n{card.licence}"
        else:
            text = f"{state}\n{facts(card)}"
        self.text.setText(text[0].upper() + text[1:])
        going_on = "Go on with the download" if kept is not None else "Download the weights"
        self.download.setToolTip(f"{going_on}, from {card.url}")

    def _show_transfer(self, card: ModelCard, transfer: Transfer) -> None:
        total = transfer.total or card.bytes
        # Without a total the bar runs to and fro; with nothing yet it waits.
        steps = _STEPS if total or not transfer.done else 0
        value = round(_STEPS * transfer.done / total) if total else 0
        show_bar(self.bar, min(value, _STEPS), steps, str(transfer))

    def _on_download(self) -> None:
        card = self.card
        if card is None:
            return
        if is_permissive(card):
            self._model_files.download(card.name)
        else:
            self._ask(card)

    def _ask(self, card: ModelCard) -> None:
        """Show the licence and download once it is accepted; does not wait for the answer."""
        if self.question is not None:
            self.question.close()
        licence, *others = (f"{text[0].upper()}{text[1:]}" for text in notices(card))
        question = QMessageBox(self)
        question.setIcon(QMessageBox.Icon.Question)
        question.setWindowTitle(f"Licence of {card.title}")
        question.setText(f"Accept the licence {card.licence} of {card.title}?")
        question.setInformativeText("\n\n".join((licence, *others, f"From {card.url}")))
        accept = question.addButton("Accept and download", QMessageBox.ButtonRole.AcceptRole)
        refuse = question.addButton(QMessageBox.StandardButton.Cancel)
        question.setDefaultButton(refuse)
        question.setEscapeButton(refuse)

        def answered(*_: object) -> None:
            is_accepted = question.clickedButton() is accept
            self.question = None
            question.deleteLater()
            if is_accepted:
                self._model_files.download(card.name)

        question.finished.connect(answered)
        self.question = question
        question.open()

    def _on_cancel(self) -> None:
        if self.card is not None:
            self._model_files.cancel(self.card.name)
