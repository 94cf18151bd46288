"""`benchmark`: models and baselines under the published protocols, on data with truth."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_medsam2.errors import InputError
from napari_medsam2.models import DEFAULT_MODEL

from .console import progress, say

if TYPE_CHECKING:
    from napari_medsam2.evaluation.runner import Plan

__all__ = ["benchmark"]


def benchmark(
    manifest: Annotated[
        Path,
        typer.Argument(
            help="A table of cases (.tsv, .json), or a folder: nnU-Net, MedSAM npz, or images "
            "beside labels."
        ),
    ],
    output: Annotated[Path, typer.Option(help="A folder for results and report.")],
    models: Annotated[
        str,
        typer.Option(
            help="Models and baselines, as litemedsam,box-chain,copy,random-walker; "
            "MODEL=FILE takes weights of your own."
        ),
    ] = DEFAULT_MODEL,
    protocols: Annotated[
        str | None, typer.Option(help="Protocols, as frames,largest,video; all by default.")
    ] = None,
    prompts: Annotated[
        str, typer.Option(help="Prompts, as box,point,points3,mask,box+10px.")
    ] = "box,point,points3,mask",
    splits: Annotated[
        str | None, typer.Option(help="Only cases of these splits, as val,fixture.")
    ] = None,
    datasets: Annotated[str | None, typer.Option(help="Only cases of these data sets.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="At most so many cases.")] = None,
    objects: Annotated[
        int,
        typer.Option(
            min=0, help="At most so many objects of a case, drawn at random; 0 takes all."
        ),
    ] = 10,
    seed: Annotated[int, typer.Option(help="Of moved boxes and random points.")] = 0,
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="Of the surface Dice; by default 2 mm, or 2 pixels where no mm is known."
        ),
    ] = None,
    window: Annotated[str, typer.Option(help="Intensities shown to the model.")] = "auto",
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    image_size: Annotated[
        int | None, typer.Option(help="Side of the network's input, for SAM 2 models.")
    ] = None,
    masks: Annotated[
        str,
        typer.Option(
            help="Of several masks that a model offers: best (by its own rating) or first."
        ),
    ] = "best",
    cache: Annotated[
        Path | None, typer.Option(help="A folder that keeps embeddings, for all methods and runs.")
    ] = None,
    workers: Annotated[int, typer.Option(min=1, help="Processes; each loads the models.")] = 1,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on with the results in the folder, or add models to them."
        ),
    ] = False,
) -> None:
    """Compare models and baselines on data with truth, and write a report.

    Each case is kept when it is done, so an interrupted run can be resumed, and a further model
    can join a comparison.
    """
    from napari_medsam2.evaluation.dataset import read_manifest
    from napari_medsam2.evaluation.methods import ModelOptions
    from napari_medsam2.evaluation.protocols import PROTOCOLS
    from napari_medsam2.evaluation.runner import Plan, run, units_of

    plan = Plan(
        methods=_names(models, "--models"),
        protocols=tuple(PROTOCOLS) if protocols is None else _names(protocols, "--protocols"),
        prompts=_names(prompts, "--prompts"),
        seed=seed,
        tolerance=tolerance,
        most_objects=objects or None,
        options=ModelOptions(
            device,
            precision,
            window,
            image_size,
            None if cache is None else str(cache),
            _is_first(masks),
        ),
    )
    cases = read_manifest(
        manifest,
        splits=None if splits is None else _names(splits, "--splits"),
        datasets=None if datasets is None else _names(datasets, "--datasets"),
        limit=limit,
    )
    with progress("evaluating", len(units_of(cases, plan))) as show:
        records = run(
            cases,
            plan,
            output,
            resume=resume,
            workers=workers,
            progress=lambda done, total, last: show(done),
        )
    for path in _report(records, cases, plan, output):
        say(f"wrote {path}")


def _is_first(masks: str) -> bool:
    if masks not in ("best", "first"):
        raise InputError(f'--masks "{masks}": use best or first')
    return masks == "first"


def _names(text: str, option: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    if not names:
        raise InputError(f'{option} "{text}": name at least one')
    return names


def _report(records: list, cases: list, plan: Plan, output: Path) -> tuple[Path, ...]:  # type: ignore[type-arg]
    from datetime import UTC, datetime

    from napari_medsam2.evaluation.collections import PROTOCOL as COLLECTION
    from napari_medsam2.evaluation.methods import make_method
    from napari_medsam2.evaluation.pictures import worst_pictures
    from napari_medsam2.evaluation.report import write_report
    from napari_medsam2.evaluation.statistics import worst
    from napari_medsam2.evaluation.store import ResultStore
    from napari_medsam2.models.device import choose_device

    # What is in the folder may be of more methods than this run is.
    store = ResultStore(output, plan.facts(cases), resume=True)
    facts = store.facts
    weights = []
    for name, key in facts["methods"].items():
        done = store.count((case.id for case in cases), name)
        share = "" if done == len(cases) else f" (only {done} of {len(cases)} cases are done)"
        weights.append(f"{name}: {key}{share}")
    told = {
        "Date": datetime.now(UTC).strftime("%Y-%m-%d"),
        "Cases": f"{facts['cases']} (SHA-256 {facts['cases_sha256'][:12]})",
        "Device": choose_device(plan.options.device).reason,
        "Seed": str(facts["seed"]),
        "Objects of a case": "all" if plan.most_objects is None else f"at most {plan.most_objects}",
        "Surface tolerance": "2 mm, or 2 pixels where no mm is known"
        if plan.tolerance is None
        else f"{plan.tolerance:g}, in the unit of the spacing",
        "Methods": "\n".join(weights),
        "Versions": ", ".join(f"{name} {number}" for name, number in facts["packages"].items()),
    }
    # Against the first one named: all pairs of many methods would be a long table.
    reference = make_method(plan.methods[0], plan.options).name
    # A collection is not done again for a picture of one of its images.
    drawable = [r for r in records if r.method == reference and r.protocol != COLLECTION]
    pictures = worst_pictures(worst(drawable), cases, plan)
    return write_report(records, told, output, pictures, reference=reference, overwrite=True)
