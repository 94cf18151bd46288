"""`finetune`: a model learns from data with truth, and becomes a model folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_medsam2.errors import InputError
from napari_medsam2.models import DEFAULT_MODEL

from .console import note, say, table

if TYPE_CHECKING:
    from napari_medsam2.models import ModelCard
    from napari_medsam2.training.finetune import Report

__all__ = ["finetune"]

_TOLD = ("click1", "click3", "click5", "box", "track", "presence", "score")
_EVERY_CLIPS = 25


def finetune(
    manifest: Annotated[
        Path,
        typer.Argument(
            help="A table of cases (.tsv, .json), or a folder: nnU-Net, MedSAM npz, images beside "
            "labels, or saved sessions."
        ),
    ],
    output: Annotated[Path, typer.Option(help="A new folder for the model.")],
    base: Annotated[
        str, typer.Option(help="The model to begin from, by name or folder.")
    ] = DEFAULT_MODEL,
    parts: Annotated[
        str | None,
        typer.Option(
            help="What is learnt: decoder; of SAM 2 decoder,memory,encoder; of litemedsam also "
            "track, which makes litemedsam-track of it."
        ),
    ] = None,
    minutes: Annotated[
        float | None, typer.Option(help="How long to train; 30 unless --steps is given.")
    ] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="How many steps to train.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="Of the network: auto (bf16) or fp32.")] = "auto",
    frames: Annotated[
        int, typer.Option(min=1, help="About how many frames are learnt from.")
    ] = 1400,
    val_frames: Annotated[
        int, typer.Option(min=1, help="About how many frames are judged by.")
    ] = 320,
    batch: Annotated[int, typer.Option(min=1, help="Objects of a step.")] = 8,
    rate: Annotated[float, typer.Option(help="Multiplies the usual learning rates.")] = 1.0,
    judge_every: Annotated[
        int, typer.Option(min=1, help="Steps between two looks at the held-back cases.")
    ] = 200,
    give_up_after: Annotated[
        int, typer.Option(min=0, help="Looks without a better score until it stops; 0: never.")
    ] = 0,
    seed: Annotated[int, typer.Option(help="Of all that is drawn at random.")] = 0,
    title: Annotated[str | None, typer.Option(help="Name of the model in lists.")] = None,
    splits: Annotated[
        str | None, typer.Option(help="Only cases of these splits, as train,val.")
    ] = None,
    datasets: Annotated[str | None, typer.Option(help="Only cases of these data sets.")] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in the folder.")
    ] = False,
    add: Annotated[
        bool, typer.Option("--add/--no-add", help="Show the model in the lists of models.")
    ] = True,
) -> None:
    """Fine-tune a model on data with truth.

    Cases of the split "train" are learnt from and those of "val" are judged by; without splits, a
    fifth of the subjects is held back. An interrupted run can be resumed.
    """
    from napari_medsam2 import models
    from napari_medsam2.evaluation.dataset import read_manifest
    from napari_medsam2.models.runtime import prepare

    prepare()
    from napari_medsam2.training.finetune import Choices
    from napari_medsam2.training.finetune import finetune as train
    from napari_medsam2.training.parallel import leads

    if precision not in ("auto", "fp32"):
        raise InputError(f'--precision "{precision}": use auto or fp32')
    choices = Choices(
        base=base,
        parts=_names(parts),
        minutes=30.0 if minutes is None and steps is None else minutes,
        steps=steps,
        device=device,
        half=precision == "auto",
        frames=frames,
        val_frames=val_frames,
        size=batch,
        rate=rate,
        judge_every=judge_every,
        give_up_after=give_up_after,
        seed=seed,
        title=title,
    )
    cases = read_manifest(
        manifest,
        splits=_names(splits) or None,
        datasets=_names(datasets) or None,
    )
    card = train(cases, choices, output, resume=resume, progress=_tell if leads() else None)
    if not leads():
        return
    if add:
        models.register(output)
    _conclude(card, output)


def _tell(report: Report) -> None:
    """Say where the run is, at each look and now and then."""
    if report.stage == "embedding":
        if report.done % _EVERY_CLIPS == 0 or report.done == report.total:
            note(f"embedding: {report.done} of {report.total} clips")
        return
    if report.scores:
        scores = ", ".join(
            f"{name} {report.scores[name]:.3f}" for name in _TOLD if name in report.scores
        )
        total = f" of {report.total}" if report.total else ""
        note(f"step {report.done}{total}: {scores}")


def _conclude(card: ModelCard, output: Path) -> None:
    scores = card.notes["scores"]
    before, after = scores["before"], scores["after"]
    rows = [(name, before[name], after[name]) for name in _TOLD if name in after]
    table(("on what was held back", "before", "after"), rows)
    say(f"wrote {output / 'card.toml'}")
    say(f"wrote {output / 'weights.safetensors'}")
    say(f"wrote {output / 'curves.png'}")
    say(f"use it as --model {output}")


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(dict.fromkeys(n.strip() for n in (text or "").split(",") if n.strip()))
