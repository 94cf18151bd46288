"""How LiteMedSAM's own mask decoder is fine-tuned: by boxes, the only prompt that it knows.

Ma et al., "Segment anything in medical images", Nature Communications 15, 654 (2024): boxes are a
little off, the prompt encoder stays as it is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_medsam2.errors import InputError
from napari_medsam2.evaluation.metrics import dice

from .losses import Weights, mask_losses
from .recipe import Group
from .source import Source

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from napari_medsam2.models.litetrack_network import PromptNetwork

    from .embedded import EmbeddedClips
    from .source import Question

__all__ = ["LiteMedSAMRecipe"]

# LiteMedSAM does not say whether an object is there, and every box is drawn around one.
_WEIGHTS = Weights(presence=0.0)
_DECODER = "mask_decoder."
_JUDGED_OF_A_DATASET = 20


class LiteMedSAMRecipe:
    """Trains LiteMedSAM's mask decoder over embedded clips.

    Parameters
    ----------
    network : PromptNetwork
        Of LiteMedSAM's prompt encoder and mask decoder.
    state : mapping of str to Tensor
        All of LiteMedSAM's weights, for `weights`.
    train, val : EmbeddedClips
    device : torch.device
    size : int
        Objects of a batch.
    rate : float
        The highest learning rate.
    half : bool
        Whether the network runs in bf16 (autocast).

    Raises
    ------
    InputError
        If no clip to learn from, or none to judge by, shows an object that is large enough.
    """

    def __init__(
        self,
        network: PromptNetwork,
        state: Mapping[str, Tensor],
        train: EmbeddedClips,
        val: EmbeddedClips,
        device: torch.device,
        *,
        size: int = 8,
        rate: float = 1e-4,
        half: bool = True,
    ) -> None:
        self.network = network.to(device).requires_grad_(False)
        self.device, self.size, self.half = device, size, half
        self._rate, self._state = rate, state
        dtype = torch.bfloat16 if half else torch.float32
        self._train, self._val = Source(train, device, dtype), Source(val, device, dtype)
        self._judged = {
            name: objects for name, (objects, _) in self._val.chosen(_JUDGED_OF_A_DATASET).items()
        }
        if not self._judged or not self._train.datasets:
            which = "learn from" if self._judged else "judge by"
            raise InputError(f"no clip to {which} shows an object that is large enough")
        self.network.mask_decoder.requires_grad_(True)

    @property
    def module(self) -> torch.nn.Module:
        """The network."""
        return self.network

    def groups(self) -> list[Group]:
        """Return the mask decoder."""
        return [Group(tuple(self.network.mask_decoder.parameters()), self._rate)]

    def weights(self) -> dict[str, Tensor]:
        """Return all of LiteMedSAM's weights, the mask decoder's as they have become."""
        own = self.network.mask_decoder.state_dict()
        learnt = {_DECODER + name: value.detach().cpu().clone() for name, value in own.items()}
        return {**self._state, **learnt}

    def batch(self, rng: np.random.Generator) -> Question:
        """Draw objects, and boxes around them that are a little off."""
        return self._train.prompt("box", [self._train.object(rng) for _ in range(self.size)], rng)

    def accumulate(self, batch: Question) -> dict[str, float]:
        """Answer the boxes."""
        self.network.train()
        truth = torch.from_numpy(batch.truth).to(self.device).float()
        with self._lowered():
            answers = batch.ask(self.network)
        losses = mask_losses(
            answers.logits.float(), answers.ious.float(), answers.scores.float(), truth, _WEIGHTS
        )
        losses["loss"].backward()  # type: ignore[no-untyped-call]
        return {name: float(losses[name].detach()) for name in ("loss", "focal", "dice", "iou")}

    def validate(self) -> dict[str, float]:
        """Answer tight boxes on what is held back.

        Returns
        -------
        dict
            "score" and "box", which are one here: the mean over data sets of the mean Dice.
        """
        self.network.eval()
        means = []
        for objects in self._judged.values():
            question = self._val.prompt("box", objects, np.random.default_rng(0), centred=True)
            with torch.no_grad(), self._lowered():
                masks = (question.ask(self.network).logits > 0).cpu().numpy()
            means.append(np.mean([dice(m, t) for m, t in zip(masks, question.truth, strict=True)]))
        score = float(np.mean(means))
        return {"score": score, "box": score}

    def _lowered(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.half)
