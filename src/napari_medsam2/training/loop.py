"""The loop that trains: steps, averages, judges, keeps what is best, and can go on after a kill.

A step draws from random numbers that depend on the seed and its number alone, the learning rate
depends on its number alone, and a checkpoint holds everything else; so a run that was killed and
resumed takes the same steps as one that was not.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from napari_medsam2.errors import InputError, ReadError
from napari_medsam2.io.atomic import atomic_path

from .average import Average
from .log import Log
from .parallel import Team

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from .recipe import Recipe

__all__ = ["Progress", "Schedule", "Trainer"]

_LAST_RATE = 0.05
# Steps that are timed to tell how many fit into the minutes; the first ones are slower.
_UNTIMED, _TIMED = 3, 12
# A machine that becomes busy later makes a run this much longer, and no more.
_PATIENCE = 1.5
_CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """How long and how fast is learnt.

    Attributes
    ----------
    steps : int, optional
        How many; None: as many as fit into `minutes`.
    minutes : float, optional
        Of training, judging aside.
    warm_up : int
        Steps in which the rate rises from 0; then it falls as a cosine to a twentieth.
    clip : float
        The gradients' norm at most.
    decay : float
        Weight decay (AdamW).
    average : float
        Of the moving average of the weights, which is what is kept.
    judge_every : int
        Steps between two looks at what is held back.
    give_up_after : int
        Looks without a better score until training stops; 0: never.
    save_every : int
        Steps between two checkpoints.
    seed : int
    """

    steps: int | None = None
    minutes: float | None = None
    warm_up: int = 20
    clip: float = 1.0
    decay: float = 0.01
    average: float = 0.998
    judge_every: int = 200
    give_up_after: int = 0
    save_every: int = 100
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a run without an end."""
        if (self.steps is None) == (self.minutes is None):
            raise InputError("say how long to train: either steps or minutes")
        length = self.steps if self.minutes is None else self.minutes
        if length is None or not 0 < length < math.inf:
            raise InputError("steps and minutes must be above 0")

    def rate(self, step: int, total: int | None) -> float:
        """Return the share of the highest learning rate for a step, of so many in all."""
        risen = min(1.0, (step + 1) / max(self.warm_up, 1))
        if total is None:
            return risen
        left = 0.5 * (1 + math.cos(math.pi * min(1.0, step / total)))
        return risen * (_LAST_RATE + (1 - _LAST_RATE) * left)


@dataclass(frozen=True)
class Progress:
    """Where a run is.

    Attributes
    ----------
    step, total : int
        `total` is 0 until it is known.
    losses, scores : dict of str to float
        The newest ones.
    """

    step: int
    total: int
    losses: dict[str, float] = field(default_factory=dict)
    scores: dict[str, float] = field(default_factory=dict)


class Trainer:
    """Trains by a recipe into a folder.

    Parameters
    ----------
    recipe : Recipe
    schedule : Schedule
    folder : Path
        For checkpoint and log; see `Log`.
    facts : str
        What the run depends on besides (data, recipe): a checkpoint of other facts is refused.
    together : Team, optional
    """

    def __init__(
        self,
        recipe: Recipe,
        schedule: Schedule,
        folder: Path,
        facts: str = "",
        together: Team | None = None,
    ) -> None:
        self.recipe, self.schedule, self.folder = recipe, schedule, folder
        self.facts = f"{facts} {_fixed(schedule)}"
        self.team = together or Team()
        groups = recipe.groups()
        self._parameters = [p for group in groups for p in group.parameters]
        self.team.share(self._parameters)
        self._rates = [group.rate for group in groups]
        self._optimizer = torch.optim.AdamW(
            [{"params": list(g.parameters), "lr": g.rate} for g in groups],
            weight_decay=schedule.decay,
        )
        self.average = Average(recipe.module, self._parameters)
        self.step = 0
        self.total = schedule.steps
        self.seconds = 0.0
        self.before: dict[str, float] = {}
        self.best: dict[str, float] = {}
        self._waited = 0
        # When the steps that are timed began, in seconds of training.
        self._since = 0.0
        self._best_weights = self.average.weights()
        self._log = Log(folder / "log.csv")

    def resume(self) -> bool:
        """Take up the checkpoint in the folder; False if there is none.

        Raises
        ------
        ReadError
            If it cannot be read or is of another run.
        """
        path = self.folder / _CHECKPOINT
        if not path.exists():
            return False
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            facts = state["facts"]
        except Exception as error:  # a damaged file makes torch's reader stumble in many ways
            raise ReadError(f"{path}: is a damaged checkpoint; delete it to begin anew") from error
        if facts != self.facts:
            raise ReadError(
                f"{path}: is of a run with other data or settings; choose another folder, or "
                "delete it to begin anew"
            )
        self.average.restore(state["average"], state["weights"])
        self._optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]
        # Whoever names another number of steps wants it; without, it is the one that fitted.
        self.total = self.schedule.steps or state["total"]
        self.before, self.best, self._waited = state["before"], state["best"], state["waited"]
        self._best_weights, self._since = state["best_weights"], state["since"]
        if self.team.leads:
            self._log.cut(self.step)
        return True

    def run(
        self,
        progress: Callable[[Progress], None] | None = None,
        cancelled: Callable[[], bool] | None = None,
    ) -> bool:
        """Train to the end, and leave the best weights in the network.

        Parameters
        ----------
        progress : callable, optional
            Told after every step and every look at what is held back.
        cancelled : callable, optional
            Asked after every step; what was best until then is kept.

        Returns
        -------
        bool
            Whether the end was reached.
        """
        tell = progress or (lambda _: None)
        if not self.step and self.team.leads:
            # What a run left that was killed before its first checkpoint.
            self._log.cut(-1)
        if not self.before:
            self.before = self._judge()
            self.best = self.before
            if self.team.leads:
                self._log.write(0, 0.0, {}, self.before)
            tell(Progress(0, self.total or 0, {}, self.before))
        ended = False
        while not (ended := self._is_over()):
            losses = self._take_step()
            looked = self.step % self.schedule.judge_every == 0 or self._is_over()
            scores = self._look() if looked else {}
            if self.team.leads:
                self._log.write(self.step, self._optimizer.param_groups[0]["lr"], losses, scores)
                if self.step % self.schedule.save_every == 0 or scores:
                    self._save()
            tell(Progress(self.step, self.total or 0, losses, scores))
            if self.team.agree(float(cancelled is not None and cancelled())):
                break
        if self.team.leads:
            self._save()
        self.average.put(self._best_weights)
        return ended

    # Inside

    def _is_over(self) -> bool:
        limit = (self.schedule.minutes or math.inf) * 60
        over = self.total is not None and self.step >= self.total
        over = over or self.seconds > limit * _PATIENCE
        patience = self.schedule.give_up_after
        over = over or (patience > 0 and self._waited >= patience)
        return bool(self.team.agree(float(over)))

    def _take_step(self) -> dict[str, float]:
        start = time.perf_counter()
        rng = np.random.default_rng([self.schedule.seed, self.step, self.team.rank])
        torch.manual_seed(int(rng.integers(2**31)))
        share = self.schedule.rate(self.step, self.total)
        for group, rate in zip(self._optimizer.param_groups, self._rates, strict=True):
            group["lr"] = rate * share
        self._optimizer.zero_grad(set_to_none=True)
        losses = dict(self.recipe.accumulate(self.recipe.batch(rng)))
        self.team.average(self._parameters)
        torch.nn.utils.clip_grad_norm_(self._parameters, self.schedule.clip)
        self._optimizer.step()
        self.step += 1
        decay = min(self.schedule.average, (1 + self.step) / (10 + self.step))
        self.average.update(decay)
        self.seconds += time.perf_counter() - start
        if self.step == _UNTIMED:
            self._since = self.seconds
        if self.total is None and self.step == _UNTIMED + _TIMED:
            self.total = self._fitting()
        return losses

    def _fitting(self) -> int:
        """Return how many steps fit into the minutes, as the first ones tell."""
        assert self.schedule.minutes is not None
        each = (self.seconds - self._since) / _TIMED
        left = self.schedule.minutes * 60 - self.seconds
        return int(self.team.agree(self.step + max(0, int(left / each))))

    def _look(self) -> dict[str, float]:
        """Judge the averaged weights, and keep them if they are the best so far."""
        with self.average.in_place():
            scores = self._judge()
        if scores["score"] > self.best["score"]:
            self.best, self._waited = scores, 0
            self._best_weights = self.average.weights()
        else:
            self._waited += 1
        return scores

    def _judge(self) -> dict[str, float]:
        scores = dict(self.recipe.validate()) if self.team.leads else {"score": 0.0}
        scores["score"] = self.team.agree(scores["score"])
        return scores

    def _save(self) -> None:
        state: dict[str, Any] = {
            "facts": self.facts,
            "step": self.step,
            "total": self.total,
            "seconds": self.seconds,
            "since": self._since,
            "before": self.before,
            "best": self.best,
            "waited": self._waited,
            "weights": self.average.present(),
            "average": self.average.weights(),
            "best_weights": self._best_weights,
            "optimizer": self._optimizer.state_dict(),
        }
        with atomic_path(self.folder / _CHECKPOINT, overwrite=True) as temporary:
            torch.save(state, temporary)


def _fixed(schedule: Schedule) -> str:
    """Return what may not change between a run and its continuation."""
    return (
        f"{schedule.warm_up} {schedule.clip} {schedule.decay} {schedule.average} {schedule.seed} "
        f"{schedule.judge_every}"
    )
