"""The models that can be fine-tuned: how each is loaded, trained and saved."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from napari_medsam2 import models
from napari_medsam2.errors import InputError
from napari_medsam2.models.checkpoints import load_state, load_strict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from napari_medsam2.evaluation.dataset import Case
    from napari_medsam2.models import ModelCard
    from napari_medsam2.models.device import Device

    from .clips import Clip
    from .finetune import Choices
    from .recipe import Recipe

__all__ = ["PARTS", "Kit", "make_kit"]

PARTS: dict[str, tuple[str, ...]] = {
    "litemedsam": ("decoder", "track"),
    "litetrack": ("decoder",),
    "sam2": ("decoder", "memory", "encoder"),
}
"""What can be learnt, by family. "track" makes LiteMedSAM-track out of LiteMedSAM."""

_USUAL: dict[str, tuple[str, ...]] = {
    "litemedsam": ("decoder",),
    "litetrack": ("decoder",),
    "sam2": ("decoder", "memory"),
}


class Kit(Protocol):
    """What is needed to fine-tune one model.

    Attributes
    ----------
    family : str
        Of what comes of it.
    parts, prompts : tuple of str
    """

    family: str
    parts: tuple[str, ...]
    prompts: tuple[str, ...]

    def prepare(
        self,
        train: Sequence[Clip],
        val: Sequence[Clip],
        cases: Sequence[Case],
        folder: Path,
        progress: Callable[[int, int], None],
    ) -> Recipe:
        """Bring the data into the form that it is learnt from, and return the recipe."""

    def weights(self) -> dict[str, Any]:
        """Return all weights that a model folder holds."""


def make_kit(card: ModelCard, parts: Sequence[str], device: Device, choices: Choices) -> Kit:
    """Load a base model for fine-tuning.

    Parameters
    ----------
    card : ModelCard
    parts : sequence of str
        Of `PARTS`; empty: what is usual.
    device : Device
    choices : Choices

    Raises
    ------
    InputError
        For a family or a part that cannot be learnt.
    """
    if card.family not in PARTS:
        raise InputError(f"{card.name}: models of the family {card.family!r} cannot be fine-tuned")
    chosen = tuple(dict.fromkeys(parts)) or _USUAL[card.family]
    wrong = [part for part in chosen if part not in PARTS[card.family]]
    if wrong:
        raise InputError(
            f"{card.name}: there is no part {wrong[0]!r} to learn; use "
            f"{', '.join(PARTS[card.family])}"
        )
    if card.family == "litetrack" or "track" in chosen:
        if len(chosen) > 1:
            raise InputError(f"{card.name}: 'track' includes the decoder; name it alone")
        return _LiteTrackKit(card, chosen, device, choices)
    raise InputError(f"{card.name}: models of the family {card.family!r} cannot be fine-tuned")


class _LiteTrackKit:
    """LiteMedSAM-track, or LiteMedSAM on its way to it."""

    family = "litetrack"
    prompts: tuple[str, ...] = ("box", "points", "mask")

    def __init__(
        self, card: ModelCard, parts: tuple[str, ...], device: Device, choices: Choices
    ) -> None:
        from napari_medsam2.models.litetrack import new_network

        self.parts, self.device, self.choices = parts, device, choices
        self.network = new_network()
        if card.family == "litetrack":
            path = card.verify()
            load_strict(self.network, load_state(path), path, card.name)

    def prepare(
        self,
        train: Sequence[Clip],
        val: Sequence[Clip],
        cases: Sequence[Case],
        folder: Path,
        progress: Callable[[int, int], None],
    ) -> Recipe:
        from .embedded import embed_clips
        from .litetrack import LiteTrackRecipe

        encoder = models.build("litemedsam", device=self.device)
        total = len(train) + len(val)
        seen = embed_clips(train, cases, encoder, folder / "train", lambda n, _: progress(n, total))
        judged = embed_clips(
            val, cases, encoder, folder / "val", lambda n, _: progress(len(train) + n, total)
        )
        return LiteTrackRecipe(
            self.network,
            seen,
            judged,
            self.device.torch,
            size=self.choices.size,
            rate=1.5e-4 * self.choices.rate,
            new_rate=1e-3 * self.choices.rate,
            half=self.choices.half and self.device.torch.type != "mps",
        )

    def weights(self) -> dict[str, Any]:
        return dict(self.network.state_dict())
