"""The model of a session: chosen at once, loaded when it is first needed."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from napari_medsam2.history import ModelChoice

    from .base import Segmenter

__all__ = ["ModelSlot"]


class ModelSlot:
    """A place for one model.

    Parameters
    ----------
    choice : ModelChoice
    device : str
        "auto", "cpu", "cuda", "cuda:N" or "mps".
    compiled : bool
        Whether torch compiles the image encoder, see `models.build`.
    """

    def __init__(self, choice: ModelChoice, device: str, *, compiled: bool) -> None:
        self.choice = choice
        self.device = device
        self.compiled = compiled
        self._model: Segmenter | None = None

    @property
    def model(self) -> Segmenter:
        """The model, loaded on first use."""
        if self._model is None:
            self._model = self._load(self.choice)
        return self._model

    @property
    def is_loaded(self) -> bool:
        """Whether the model is there already."""
        return self._model is not None

    def use(self, model: Segmenter) -> None:
        """Take a model that is loaded already."""
        self._model = model

    def like(self, choice: ModelChoice | None) -> Segmenter:
        """Return the model for a choice: this one, or another one for the same device."""
        if choice is None or choice == self.choice:
            return self.model
        return self._load(choice)

    def _load(self, choice: ModelChoice) -> Segmenter:
        from . import build
        from .device import choose_device

        return build(
            choice.model,
            device=choose_device(self.device),
            checkpoint=None if choice.checkpoint is None else Path(choice.checkpoint),
            precision=choice.precision,
            image_size=choice.image_size,
            compiled=self.compiled,
        )
