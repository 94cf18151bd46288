"""The moving average of weights: what is kept of a run, and judged."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Average"]

Weights = dict[str, torch.Tensor]


class Average:
    """An exponential moving average of the parameters of a network that are learnt.

    Parameters
    ----------
    module : torch.nn.Module
    parameters : sequence of torch.nn.Parameter
        Those of its parameters that change.
    """

    def __init__(self, module: torch.nn.Module, parameters: Sequence[torch.nn.Parameter]) -> None:
        wanted = {id(parameter) for parameter in parameters}
        self._own = {n: p for n, p in module.named_parameters() if id(p) in wanted}
        self._average = self.present()

    def update(self, decay: float) -> None:
        """Move the average towards the present weights."""
        with torch.no_grad():
            for name, parameter in self._own.items():
                self._average[name].lerp_(parameter.detach(), 1 - decay)

    def weights(self) -> Weights:
        """Return a copy of the average."""
        return {name: value.clone() for name, value in self._average.items()}

    def present(self) -> Weights:
        """Return a copy of the present weights."""
        return {name: p.detach().clone() for name, p in self._own.items()}

    def put(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Make some weights the present ones."""
        with torch.no_grad():
            for name, parameter in self._own.items():
                parameter.copy_(weights[name])

    def restore(
        self, average: Mapping[str, torch.Tensor], present: Mapping[str, torch.Tensor]
    ) -> None:
        """Go back to an average and to present weights."""
        for name, value in average.items():
            self._average[name].copy_(value)
        self.put(present)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Make the average the present weights for as long as it is judged."""
        present = self.present()
        self.put(self._average)
        try:
            yield
        finally:
            self.put(present)
