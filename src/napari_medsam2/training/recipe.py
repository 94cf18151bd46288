"""What a training loop needs to know of a model: which weights move, from what, towards what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    import torch

__all__ = ["Group", "Recipe"]


@dataclass(frozen=True, eq=False)
class Group:
    """Weights that are learnt at one rate.

    Attributes
    ----------
    parameters : tuple of torch.nn.Parameter
    rate : float
        The highest learning rate.
    """

    parameters: tuple[torch.nn.Parameter, ...]
    rate: float


class Recipe(Protocol):
    """How one kind of model is trained.

    All randomness of a batch comes from the numbers that it is given: that is what makes a resumed
    run the same as one that was never interrupted.
    """

    @property
    def module(self) -> torch.nn.Module:
        """The network; only parameters of `groups` change."""

    def groups(self) -> Sequence[Group]:
        """Return the weights that are learnt."""

    def batch(self, rng: np.random.Generator) -> Any:
        """Draw a batch."""

    def accumulate(self, batch: Any) -> Mapping[str, float]:
        """Add the gradients of a batch, and return its losses; "loss" is their sum."""

    def validate(self) -> Mapping[str, float]:
        """Judge the present weights on what is held back; "score" is what is to grow."""
