"""A recipe that takes no time: a line through noisy points. As a program it trains until killed."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from napari_medsam2.training.loop import Progress, Schedule, Trainer
from napari_medsam2.training.parallel import team
from napari_medsam2.training.recipe import Group

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari_medsam2.training.parallel import Team

TRUTH = torch.tensor([[1.0, -2.0, 0.5]])
SEED = 3


class Toy:
    """Finds `TRUTH`; with dropout, so that torch's random numbers count, too."""

    def __init__(self, init: int = 0, dropout: float = 0.1) -> None:
        torch.manual_seed(init)
        self.net = nn.Sequential(nn.Dropout(dropout), nn.Linear(3, 1), nn.Linear(1, 1))
        self.net[2].requires_grad_(False)
        nn.init.ones_(self.net[2].weight)
        nn.init.zeros_(self.net[2].bias)

    @property
    def module(self) -> nn.Module:
        return self.net

    def groups(self) -> list[Group]:
        layer = self.net[1]
        return [Group((layer.weight,), 0.1), Group((layer.bias,), 0.01)]

    def batch(self, rng: np.random.Generator) -> torch.Tensor:
        return torch.from_numpy(rng.normal(size=(16, 3)).astype(np.float32))

    def accumulate(self, batch: torch.Tensor) -> Mapping[str, float]:
        self.net.train()
        loss = self._loss(batch)
        loss.backward()
        return {"loss": float(loss.detach())}

    def validate(self) -> Mapping[str, float]:
        self.net.eval()
        with torch.no_grad():
            off = self._loss(torch.eye(3))
        return {"score": -float(off), "off": float(off)}

    def _loss(self, inputs: torch.Tensor) -> torch.Tensor:
        return ((self.net(inputs) - inputs @ TRUTH.T) ** 2).mean()


class Mean(Toy):
    """Learns in one process what so many would learn together."""

    def __init__(self, size: int) -> None:
        super().__init__(dropout=0.0)
        self.size, self.step = size, 0

    def accumulate(self, batch: torch.Tensor) -> Mapping[str, float]:
        losses = []
        for rank in range(self.size):
            rng = np.random.default_rng([SEED, self.step, rank])
            rng.integers(2**31)  # torch's seed, which the loop draws first
            losses.append(self._loss(self.batch(rng)))
        self.step += 1
        torch.stack(losses).mean().backward()
        return {"loss": float(losses[0].detach())}


def schedule(**changes: Any) -> Schedule:
    facts = {"steps": 40, "warm_up": 5, "judge_every": 10, "save_every": 5, "seed": SEED}
    if "minutes" in changes:
        del facts["steps"]
    return Schedule(**(facts | changes))


def trainer(folder: Path, recipe: Any = None, together: Team | None = None, **changes: Any) -> Any:
    folder.mkdir(parents=True, exist_ok=True)
    recipe = recipe or Toy()
    return Trainer(recipe, schedule(**changes), folder, "toy", together)


def weights(recipe: Any) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in recipe.module.parameters()])


def _until_killed(folder: Path, step: int) -> None:
    def killed(now: Progress) -> None:
        if now.step == step and now.losses:
            os.kill(os.getpid(), signal.SIGKILL)

    trainer(folder).run(killed)


def _together(folder: Path) -> None:
    """Train as one of several: the leader stops once, then all go on."""
    with team(torch.device("cpu")) as together:
        toy = Toy(init=together.rank, dropout=0.0)
        first = trainer(folder, toy, together)
        assert not first.run(cancelled=lambda: together.leads and first.step == 13)
        toy = Toy(init=together.rank, dropout=0.0)
        then = trainer(folder, toy, together)
        assert then.resume()
        assert then.step == 13
        assert then.run()
        torch.save(weights(toy), folder / f"{together.rank}.pt")


if __name__ == "__main__":
    if sys.argv[1] == "together":
        _together(Path(sys.argv[2]))
    else:
        _until_killed(Path(sys.argv[2]), int(sys.argv[1]))
