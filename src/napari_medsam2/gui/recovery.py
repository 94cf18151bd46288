"""Work that a crash, or a window closed too soon, has left behind: found in a thread, offered."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from psygnal import Signal

from napari_medsam2.errors import InputError
from napari_medsam2.io.autosave import image_key, leftovers

from .worker import Ended, Worker

if TYPE_CHECKING:
    from napari.layers import Image

    from napari_medsam2.io.autosave import Leftover
    from napari_medsam2.volume import Volume

    from .bench import Bench
    from .worker import Job

__all__ = ["Recovery"]


@dataclass(frozen=True)
class _Found:
    leftovers: tuple[Leftover, ...]
    problems: tuple[str, ...]


class Recovery:
    """Offers the leftovers that belong to the image in use, or those that know their image.

    Parameters
    ----------
    bench : Bench
    """

    # Something else is offered.
    changed = Signal()
    # Polling is needed.
    woken = Signal()
    # What could not be read, in one sentence.
    failed = Signal(str)

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._worker = Worker()
        self._job: Job | None = None
        self._found: tuple[Leftover, ...] = ()
        self._put_off: set[Path] = set()
        self._looked_at: Image | None = None
        self._is_started = False
        self._is_outdated = False

    @property
    def offers(self) -> tuple[Leftover, ...]:
        """What can be resumed now, newest first."""
        return tuple(o for o in self._found if o.folder not in self._put_off)

    @property
    def offer(self) -> Leftover | None:
        """The newest of the offers."""
        return next(iter(self.offers), None)

    @property
    def name(self) -> str:
        """What the offer is about, for a person."""
        offer, image = self.offer, self._bench.image
        if image is not None:
            return str(image.name)
        return Path(offer.source).name if offer is not None else ""

    @property
    def has_work(self) -> bool:
        """Whether there is work on the image in use, which a resumed session would replace."""
        desk = self._bench.desk
        session = None if desk is None else desk.session
        return session is not None and bool(session.prompts.objects or session.runs)

    @property
    def is_busy(self) -> bool:
        """Whether the thread is looking."""
        return self._job is not None

    def start(self) -> None:
        """Look for leftovers now, and whenever another image is in use."""
        if not self._is_started:
            self._is_started = True
            self._bench.changed.connect(self._on_bench)
            self.look()

    def look(self) -> None:
        """Look for what was left behind of the image in use, in the thread."""
        self._looked_at, desk = self._bench.image, self._bench.desk
        self._show(())
        try:
            volume = None if desk is None else desk.volume()
        except InputError:
            return  # an image that cannot be segmented has no work
        if self._job is None:
            self._job = self._worker.submit(lambda job: _look(volume))
            self.woken.emit()
        else:
            self._is_outdated = True

    def poll(self) -> None:
        """Take in what was found."""
        message = None if self._job is None else self._job.receive()
        if not isinstance(message, Ended):
            return
        self._job = None
        is_outdated, self._is_outdated = self._is_outdated, False
        if message.error is not None:
            self.failed.emit(f"unsaved work could not be looked for: {message.error}")
        elif message.value.problems:
            self.failed.emit("; ".join(message.value.problems))
        if is_outdated:
            self.look()
        elif message.error is None:
            self._show(message.value.leftovers)

    def put_off(self) -> None:
        """Offer none of these again in this window."""
        self._put_off.update(leftover.folder for leftover in self._found)
        self.changed.emit()

    def withdraw(self, leftover: Leftover) -> None:
        """Offer one no more."""
        self._put_off.add(leftover.folder)
        self.changed.emit()

    def discard(self, leftover: Leftover) -> None:
        """Delete one for good, in the thread."""
        self.withdraw(leftover)
        self._worker.submit(lambda job: leftover.discard())

    def close(self) -> None:
        """Look no more."""
        if self._is_started:
            self._bench.changed.disconnect(self._on_bench)
        self._job = None
        self._found = ()
        self._worker.finish()

    def _show(self, leftovers: tuple[Leftover, ...]) -> None:
        before, self._found = self._found, leftovers
        if before != leftovers:
            self.changed.emit()

    def _on_bench(self) -> None:
        if self._bench.image is not self._looked_at:
            self.look()


def _look(volume: Volume | None) -> _Found:
    """Return the leftovers of an image or, without one, those whose image can be opened."""
    found, problems = leftovers()
    if volume is None:
        own = [o for o in found if o.source and not o.is_exported and Path(o.source).exists()]
    else:
        key = image_key(volume)
        own = [o for o in found if o.image == key]
    return _Found(tuple(own), tuple(problems))
