"""How LiteMedSAM-track learns clicks, masks and tracking on top of LiteMedSAM's frozen encoder."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from napari_medsam2.evaluation.metrics import dice
from napari_medsam2.evaluation.simulate import click_in_error

from .interaction import error_click
from .losses import mask_losses
from .recipe import Group
from .source import Source

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_medsam2.models.litetrack_network import PromptNetwork

    from .embedded import EmbeddedClips
    from .source import Kind, OnRow, Question, Way

__all__ = ["LiteTrackRecipe"]

_KINDS: tuple[Kind, ...] = ("click", "box", "mask", "track")
_SHARES = (0.40, 0.12, 0.13, 0.35)
# How often there are so many rounds: one answer, then corrections.
_ROUNDS: dict[Kind, tuple[float, ...]] = {
    "click": (0.25, 0.20, 0.18, 0.15, 0.12, 0.10),
    "box": (0.45, 0.30, 0.15, 0.10),
    "mask": (0.50, 0.30, 0.20),
    "track": (0.75, 0.25),
}
_JUDGED_CLICKS = 5
_SCORED = ("click1", "click5", "track", "presence")
_JUDGED_OF_A_DATASET = 6


class LiteTrackRecipe:
    """Trains a `PromptNetwork` over embedded clips.

    Parameters
    ----------
    network : PromptNetwork
    train, val : EmbeddedClips
    device : torch.device
    size : int
        Objects of a batch.
    rate, new_rate : float
        Highest learning rates of what LiteMedSAM had learnt, and of what is new to it.
    half : bool
        Whether the network runs in bf16 (autocast).
    """

    def __init__(
        self,
        network: PromptNetwork,
        train: EmbeddedClips,
        val: EmbeddedClips,
        device: torch.device,
        *,
        size: int = 8,
        rate: float = 1.5e-4,
        new_rate: float = 1e-3,
        half: bool = True,
    ) -> None:
        self.network = network.to(device).requires_grad_(False)
        self.device, self.size, self.half = device, size, half
        self._rates = rate, new_rate
        dtype = torch.bfloat16 if half else torch.float32
        self._train, self._val = Source(train, device, dtype), Source(val, device, dtype)
        self._judged = self._val.chosen(_JUDGED_OF_A_DATASET)
        for group in self.groups():
            for parameter in group.parameters:
                parameter.requires_grad_(True)

    @property
    def module(self) -> torch.nn.Module:
        """The network."""
        return self.network

    def groups(self) -> list[Group]:
        """Return the decoder, and what LiteMedSAM never learnt: clicks, masks, presence."""
        prompts = self.network.prompt_encoder
        new = [
            *prompts.point_embeddings[0].parameters(),
            *prompts.point_embeddings[1].parameters(),
            *prompts.not_a_point_embed.parameters(),
            *prompts.mask_downscaling.parameters(),
            *self.network.object_head.parameters(),
        ]
        old = tuple(self.network.mask_decoder.parameters())
        return [Group(old, self._rates[0]), Group(tuple(new), self._rates[1])]

    def batch(self, rng: np.random.Generator) -> tuple[Question, np.random.Generator]:
        """Draw a batch, all of it prompted in one way."""
        kind = _KINDS[int(rng.choice(len(_KINDS), p=_SHARES))]
        shares = _ROUNDS[kind]
        rounds = 1 + int(rng.choice(len(shares), p=shares))
        if kind == "track":
            question = self._train.track([self._train.path(rng) for _ in range(self.size)], rng)
        else:
            question = self._train.prompt(
                kind, [self._train.object(rng) for _ in range(self.size)], rng
            )
        return replace(question, rounds=rounds), rng

    def accumulate(self, batch: tuple[Question, np.random.Generator]) -> dict[str, float]:
        """Answer, correct, answer again; every answer counts alike."""
        question, rng = batch
        self.network.train()
        told: dict[str, float] = {}
        truth = torch.from_numpy(question.truth).to(self.device).float()
        for number in range(question.rounds):
            with self._lowered():
                answers = question.ask(self.network)
            losses = mask_losses(
                answers.logits.float(), answers.ious.float(), answers.scores.float(), truth
            )
            (losses["loss"] / question.rounds).backward()  # type: ignore[no-untyped-call]
            for name, value in losses.items():
                told[name] = told.get(name, 0.0) + float(value.detach()) / question.rounds
            if number + 1 < question.rounds:
                found = (answers.logits.detach() > 0).cpu().numpy()
                clicks = [
                    error_click(f, t, rng) for f, t in zip(found, question.truth, strict=True)
                ]
                question = question.corrected(clicks, answers.logits)
        told[f"loss of {question.kind}"] = told["loss"]
        return told

    def validate(self) -> dict[str, float]:
        """Judge clicks and tracking on what is held back.

        Returns
        -------
        dict
            Mean Dice over data sets: "click1", "click3", "click5", "box", "track" (one step),
            "presence" (how often it is right), and "score", the mean of those of `_SCORED`.
        """
        self.network.eval()
        found: dict[str, dict[str, list[float]]] = {}
        with torch.inference_mode():
            for dataset, (objects, paths) in self._judged.items():
                own = found.setdefault(dataset, {})
                for name, values in self._clicked(objects).items():
                    own.setdefault(name, []).extend(values)
                for name, values in self._tracked(paths).items():
                    own.setdefault(name, []).extend(values)
        names = {name for own in found.values() for name in own}
        scores = {
            name: float(np.mean([np.mean(own[name]) for own in found.values() if own.get(name)]))
            for name in sorted(names)
        }
        parts = [scores[name] for name in _SCORED if name in scores]
        return {"score": float(np.mean(parts)), **scores}

    # Inside

    def _lowered(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.half)

    def _clicked(self, objects: Sequence[OnRow]) -> dict[str, list[float]]:
        """Click where the largest error is, and box, as `evaluation` does."""
        if not objects:
            return {}
        rng = np.random.default_rng(0)
        found: dict[str, list[float]] = {}
        question = self._val.prompt("click", objects, rng, centred=True)
        for number in range(1, _JUDGED_CLICKS + 1):
            with self._lowered():
                answers = question.ask(self.network)
            masks = (answers.logits > 0).cpu().numpy()
            dices = [dice(m, t) for m, t in zip(masks, question.truth, strict=True)]
            if number in (1, 3, 5):
                found[f"click{number}"] = dices
            clicks = []
            for mask, truth in zip(masks, question.truth, strict=True):
                wrong = click_in_error(mask, truth)
                (y, x), label = wrong or (np.argwhere(truth)[0].tolist(), 1)
                clicks.append((float(x), float(y), label))
            question = question.corrected(clicks, answers.logits)
        with self._lowered():
            answers = self._val.prompt("box", objects, rng, centred=True).ask(self.network)
        masks = (answers.logits > 0).cpu().numpy()
        found["box"] = [dice(m, t) for m, t in zip(masks, question.truth, strict=True)]
        return found

    def _tracked(self, paths: Sequence[Way]) -> dict[str, list[float]]:
        if not paths:
            return {}
        question = self._val.track(paths, None)
        with self._lowered():
            answers = question.ask(self.network)
        masks = (answers.logits > 0).cpu().numpy()
        there = np.asarray((answers.scores > 0).cpu())
        true = np.asarray(question.truth.any(axis=(1, 2)))
        pairs = zip(masks, question.truth, true, strict=True)
        return {
            "track": [dice(m, t) for m, t, shows in pairs if shows],
            "presence": [float(a == b) for a, b in zip(there, true, strict=True)],
        }
