"""`demo`: the main job on sample data, with everything it makes in a folder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .console import say, table

if TYPE_CHECKING:
    from napari_medsam2.demo import Echo, Phantom

__all__ = ["demo"]


def demo(
    output: Annotated[Path, typer.Option(help="The folder for the results.")] = Path(
        "napari-medsam2-demo"
    ),
    view: Annotated[bool, typer.Option("--view", help="Open the results in napari.")] = False,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:N or mps.")] = "auto",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the files of an earlier demo.")
    ] = False,
) -> None:
    """Segment sample data, offline: a CT phantom and a beating heart.

    The phantom comes with the truth, so the table shows how right the labels are.
    """
    from napari_medsam2 import demo as job

    from . import view as window
    from .runs import Plan, load_model, run

    if view:
        window.check_screen()
    job.check_folder(output, overwrite)

    phantom = job.prepare_phantom(device)
    load_model(phantom.session)
    run(phantom.session, Plan(), "phantom")
    files = job.write_phantom(phantom, output, overwrite)
    echo = job.prepare_echo(device)
    run(echo.session, Plan(), "echocardiogram")
    files += job.write_echo(echo, output, overwrite)

    _show_phantom(phantom)
    _show_echo(echo)
    say("wrote")
    for path in files:
        say(f"  {path}")
    say("try next")
    for line in job.next_steps(output):
        say(f"  {line}")
    if view:
        for result in (phantom, echo):
            window.open_window(result.session.volume.name, job.layers(result))
        window.start()


def _show_phantom(phantom: Phantom) -> None:
    scored = phantom.dice
    rows: list[tuple[object, ...]] = [
        (d.object_id, d.name, d.voxels, d.true_voxels, f"{d.dice:.3f}") for d in scored
    ]
    rows.append(("", "mean", "", "", f"{phantom.mean_dice:.3f}"))
    table(
        ("object", "name", "voxels", "true voxels", "Dice"),
        rows,
        title="CT phantom: one box per object on its largest slice, Dice over all 40 slices",
    )


def _show_echo(echo: Echo) -> None:
    large, small = echo.extremes
    say(
        f"Echocardiogram: one box around the left ventricle on frame {echo.box_frame}, tracked "
        f"through {len(echo.areas)} frames"
    )
    say(
        f"  area {large.pixels} px on frame {large.frame}, {small.pixels} px on frame "
        f"{small.frame}: fractional area change {echo.area_change:.0%}"
    )
    say()
