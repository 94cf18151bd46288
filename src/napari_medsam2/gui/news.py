"""What is told of downloads and comparisons: one line each, and a notification if one failed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from napari_medsam2 import models
from napari_medsam2.models import DownloadCancelled

from . import notify

if TYPE_CHECKING:
    from collections.abc import Callable

    from psygnal import SignalInstance

    from napari_medsam2.errors import MedSAM2Error
    from napari_medsam2.models import ModelCard

    from .comparison import Comparer
    from .model_files import ModelFiles

__all__ = ["News"]


class News:
    """Listens to what goes on beside the runs, for as long as it is kept.

    Parameters
    ----------
    message : SignalInstance
        Takes the line.
    woken : SignalInstance
        Says that polling is needed.
    fail : callable
        Takes the error of what a person has asked for.
    model_files : ModelFiles
    comparer : Comparer
    """

    def __init__(
        self,
        message: SignalInstance,
        woken: SignalInstance,
        fail: Callable[[MedSAM2Error], None],
        model_files: ModelFiles,
        comparer: Comparer,
    ) -> None:
        self._message, self._woken, self._fail = message, woken, fail
        self._comparer = comparer
        model_files.began.connect(self._on_download)
        model_files.ended.connect(self._on_downloaded)
        comparer.ended.connect(self._on_compared)
        comparer.stopped.connect(self._on_truth_gone)

    def _on_download(self, name: str) -> None:
        self._message.emit(f"Downloading {models.get(name).title}…")
        self._woken.emit()

    def _on_downloaded(self, card: ModelCard, error: MedSAM2Error | None) -> None:
        if error is None:
            self._message.emit(f"{card.title} is ready")
            return
        self._message.emit(str(error))
        if not isinstance(error, DownloadCancelled):
            notify.report(error)

    def _on_compared(self, error: MedSAM2Error | None) -> None:
        comparison = self._comparer.comparison
        if error is not None:
            self._fail(error)
        elif comparison is not None:
            mean = comparison.mean_dice
            said = "no object has a partner there" if math.isnan(mean) else f"mean Dice {mean:.3f}"
            self._message.emit(f"Compared with {comparison.truth}: {said}")

    def _on_truth_gone(self, name: str) -> None:
        self._message.emit(f"The comparison was stopped: {name} is gone")
