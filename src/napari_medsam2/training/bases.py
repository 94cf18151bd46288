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
    from .embedded import EmbeddedClips
    from .finetune import Choices
    from .litemedsam import LiteMedSAMRecipe
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
    if card.family == "litemedsam":
        return _LiteMedSAMKit(card, chosen, device, choices)
    return _SAM2Kit(card, chosen, device, choices)


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
        from .litetrack import LiteTrackRecipe

        seen, judged = _embedded(train, val, cases, self.device, folder, progress)
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


class _LiteMedSAMKit:
    """LiteMedSAM's own mask decoder, by boxes."""

    family = "litemedsam"
    prompts: tuple[str, ...] = ("box",)

    def __init__(
        self, card: ModelCard, parts: tuple[str, ...], device: Device, choices: Choices
    ) -> None:
        from napari_medsam2.models.litemedsam import build_network

        self.parts, self.device, self.choices = parts, device, choices
        self.network = build_network(card.verify(), card.name)
        self._recipe: LiteMedSAMRecipe | None = None

    def prepare(
        self,
        train: Sequence[Clip],
        val: Sequence[Clip],
        cases: Sequence[Case],
        folder: Path,
        progress: Callable[[int, int], None],
    ) -> Recipe:
        from napari_medsam2.models.litetrack_network import PromptNetwork

        from .litemedsam import LiteMedSAMRecipe

        seen, judged = _embedded(train, val, cases, self.device, folder, progress)
        network = PromptNetwork(self.network.prompt_encoder, self.network.mask_decoder)
        self._recipe = LiteMedSAMRecipe(
            network,
            self.network.state_dict(),
            seen,
            judged,
            self.device.torch,
            size=self.choices.size,
            rate=5e-5 * self.choices.rate,
            half=self.choices.half and self.device.torch.type != "mps",
        )
        return self._recipe

    def weights(self) -> dict[str, Any]:
        assert self._recipe is not None
        return self._recipe.weights()


class _SAM2Kit:
    """SAM 2, SAM 2.1 or MedSAM2, in parts."""

    family = "sam2"
    prompts: tuple[str, ...] = ("box", "points", "mask")

    def __init__(
        self, card: ModelCard, parts: tuple[str, ...], device: Device, choices: Choices
    ) -> None:
        from napari_medsam2.models.sam2_config import build_network

        assert card.config is not None
        self.parts, self.device, self.choices = parts, device, choices
        self.net = build_network(card.config, card.image_size)
        path = card.verify()
        load_strict(self.net, load_state(path), path, card.name)

    def prepare(
        self,
        train: Sequence[Clip],
        val: Sequence[Clip],
        cases: Sequence[Case],
        folder: Path,
        progress: Callable[[int, int], None],
    ) -> Recipe:
        from .frames import Frames
        from .sam2 import SAM2Recipe

        del folder, progress  # frames are shown when they are drawn
        seen, judged = (Frames(some, cases, self.net.image_size) for some in (train, val))
        return SAM2Recipe(
            self.net,
            seen,
            judged,
            self.device.torch,
            parts=self.parts,
            # A course has up to eight frames, each as much work as several objects of one frame.
            size=max(1, self.choices.size // 8),
            rate=5e-5 * self.choices.rate,
            half=self.choices.half and self.device.torch.type != "mps",
        )

    def weights(self) -> dict[str, Any]:
        return dict(self.net.state_dict())


def _embedded(
    train: Sequence[Clip],
    val: Sequence[Clip],
    cases: Sequence[Case],
    device: Device,
    folder: Path,
    progress: Callable[[int, int], None],
) -> tuple[EmbeddedClips, EmbeddedClips]:
    """Embed clips by LiteMedSAM's encoder, or take what is in the folder."""
    from .embedded import embed_clips

    encoder = models.build("litemedsam", device=device)
    total, first = len(train) + len(val), len(train)
    return (
        embed_clips(train, cases, encoder, folder / "train", lambda n, _: progress(n, total)),
        embed_clips(val, cases, encoder, folder / "val", lambda n, _: progress(first + n, total)),
    )
