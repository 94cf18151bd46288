"""`segment`: prompts in, labels and tables out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from napari_medsam2.errors import CheckpointError, InputError
from napari_medsam2.models import DEFAULT_MODEL

from .console import say, table
from .options import (
    add_prompts,
    check_prompts,
    parse_box,
    parse_channels,
    parse_numbers,
    parse_objects,
    parse_point,
    parse_positions,
    parse_range,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari_medsam2.io import PromptDocument
    from napari_medsam2.prompts import PromptSet
    from napari_medsam2.session import Session
    from napari_medsam2.volume import Volume

__all__ = ["segment"]


def segment(
    ctx: typer.Context,
    image: Annotated[Path, typer.Argument(help="An image file, or the folder of a DICOM series.")],
    output: Annotated[
        Path,
        typer.Option(help="Where the labels go; the suffix chooses the format (.nii.gz, .tif...)."),
    ],
    prompts: Annotated[
        Path | None,
        typer.Option(
            help="A prompts JSON file, or a saved session: that is replayed to identical labels, "
            "unless options say how to segment anew."
        ),
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(metavar="FRAME,Y0,X0,Y1,X1[@ID]", help="A box; may be repeated."),
    ] = None,
    point: Annotated[
        list[str] | None,
        typer.Option(metavar="FRAME,Y,X,+|-[@ID]", help="A click; may be repeated."),
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            help="A name from `models list`, a model folder, or a SAM 2 config (.yaml) of your own."
        ),
    ] = DEFAULT_MODEL,
    checkpoint: Annotated[
        Path | None, typer.Option(help="A file whose weights replace the model's own.")
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(help="Side of the network's input in pixels, for SAM 2 models."),
    ] = None,
    memory: Annotated[
        str, typer.Option(help="What SAM 2 models remember by: sam2 or self-sorting.")
    ] = "sam2",
    precision: Annotated[str, typer.Option(help="auto, fp32, bf16 or fp16.")] = "auto",
    compiled: Annotated[
        bool,
        typer.Option(
            "--compile", help="Compile the image encoder: a minute at the start, for GPUs."
        ),
    ] = False,
    cache: Annotated[
        Path | None, typer.Option(help="A folder that keeps embeddings for later calls.")
    ] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    axis: Annotated[
        str | None, typer.Option(help="The axis to propagate along: an index or a letter (z, t).")
    ] = None,
    at: Annotated[
        str | None, typer.Option(help="From 4D on: the position on each remaining axis, as 2,1.")
    ] = None,
    channel: Annotated[
        str | None,
        typer.Option(help="The channel to segment, or several to blend, as 0,2; from 0."),
    ] = None,
    level: Annotated[
        int | None,
        typer.Option(
            help="The level of a pyramid that the model sees, 0 the full image; by default the "
            "coarsest that loses nothing."
        ),
    ] = None,
    window: Annotated[
        str,
        typer.Option(
            help="Intensities shown to the model: auto, display, abdomen, lung, brain, "
            "mediastinum, bone or LOW,HIGH (of blended channels LOW,HIGH,LOW,HIGH...)."
        ),
    ] = "auto",
    zoom: Annotated[
        str, typer.Option(help="auto looks at large frames in regions around the prompts; or off.")
    ] = "auto",
    spacing: Annotated[
        str | None, typer.Option(help="Voxel size along each axis, in place of the file's.")
    ] = None,
    direction: Annotated[
        str | None, typer.Option(help="both, forward or backward from the prompted frames.")
    ] = None,
    frames: Annotated[
        str | None,
        typer.Option("--range", metavar="A:B", help="Only frames A to B - 1; A: and :B work too."),
    ] = None,
    patience: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Stop an object that is not found on N frames in a row; by default the model's "
            "own rule.",
        ),
    ] = None,
    objects: Annotated[
        str | None, typer.Option(help="Only these objects of the prompts, as 1,3.")
    ] = None,
    slice_only: Annotated[
        bool, typer.Option("--slice-only", help="Segment the prompted frames alone.")
    ] = False,
    scores: Annotated[
        Path | None, typer.Option(help="A CSV file for the confidence per object and frame.")
    ] = None,
    measurements: Annotated[
        Path | None, typer.Option(help="A CSV file for volume, surface, diameters and intensity.")
    ] = None,
    values: Annotated[
        str,
        typer.Option(
            help="instances: one value an object. names: one value a name, with a table of names "
            "beside the labels."
        ),
    ] = "instances",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace output files that exist.")
    ] = False,
) -> None:
    """Segment objects of an image and write their labels.

    Everything is checked before the first frame is computed.
    """
    from . import results
    from .replaying import is_replay, replayed
    from .runs import Plan, load_model, run

    plan = Plan.of(direction, parse_range(frames), parse_objects(objects), slice_only, patience)
    boxes = [(f'--box "{text}"', parse_box(text)) for text in box or ()]
    clicks = [(f'--point "{text}"', parse_point(text)) for text in point or ()]
    positions, voxel = parse_positions(at), parse_numbers(spacing, "--spacing")
    inputs = (image, prompts, checkpoint)
    results.check_outputs(output, scores, measurements, overwrite, inputs, values)
    if checkpoint is not None and not checkpoint.is_file():
        raise CheckpointError(f"--checkpoint {checkpoint}: there is no such file")
    document = _document(prompts)
    told = [*boxes, *clicks]
    if document is None and not told:
        raise InputError("nothing to segment: give --box, --point or --prompts")

    from napari_medsam2.io import read
    from napari_medsam2.session import Session

    volume = read(image)
    if prompts is not None and document is not None and is_replay(ctx, document):
        session = replayed(prompts, volume, device, cache)
        _report(session, results.write(session, output, scores, measurements, overwrite, values))
        return
    session = Session(
        volume,
        model=model,
        axis=_axis(axis, document, volume),
        spacing=voxel,
        window=window,
        device=device,
        checkpoint=checkpoint,
        image_size=image_size,
        precision=precision,
        cache=cache,
        memory=memory,
        compiled=compiled,
        at=positions,
        channel=parse_channels(channel),
        level=level,
        zoom=zoom,  # type: ignore[arg-type]
    )
    check_prompts(told, session.stack)
    session.set_prompts(_all_prompts(document, told))
    plan.check(session)
    load_model(session)
    run(session, plan)
    _report(session, results.write(session, output, scores, measurements, overwrite, values))


def _report(session: Session, written: Iterable[Path]) -> None:
    _summarise(session)
    for path in written:
        say(f"wrote {path}")


def _document(path: Path | None) -> PromptDocument | None:
    if path is None:
        return None
    from napari_medsam2.io import read_prompts

    return read_prompts(path)


def _axis(wanted: str | None, document: PromptDocument | None, volume: Volume) -> int | str:
    """Return the propagation axis: the option's, else that of the prompts file, else the first."""
    if document is None:
        return wanted or 0
    if wanted is not None and volume.axis_index(wanted) != document.axis:
        raise InputError(
            f"--axis {wanted}: the prompts were made along axis {document.axis}; leave --axis out"
        )
    return document.axis


def _all_prompts(document: PromptDocument | None, told: list[tuple[str, tuple]]) -> PromptSet:  # type: ignore[type-arg]
    from napari_medsam2.prompts import PromptSet

    start = PromptSet() if document is None else document.prompts
    return add_prompts(start, (prompt for _, prompt in told))


def _summarise(session: Session) -> None:
    from .results import summaries

    rows = summaries(session)
    unit = rows[0].unit if rows else ""
    table(
        ("object", "name", "frames", "voxels", f"size ({unit})", "mean score"),
        [(r.object_id, r.name, r.n_frames, r.voxels, r.size, r.mean_score) for r in rows],
    )
