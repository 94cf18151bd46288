"""The commands and their options."""

from __future__ import annotations

from typing import Annotated

import typer

from napari_medsam2.errors import InputError

from .benchmark import benchmark
from .demo import demo
from .finetune import finetune
from .info import info
from .models import app as models
from .segment import segment
from .shell import DEBUG_FLAG, Shell
from .view import view

__all__ = ["app"]

app = typer.Typer(
    cls=Shell,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("demo")(demo)
app.command("view")(view)
app.command("segment")(segment)
app.command("info")(info)
app.command("benchmark")(benchmark)
app.command("finetune")(finetune)
app.add_typer(models, name="models")


def _print_version(wanted: bool) -> None:
    if wanted:
        from napari_medsam2 import __version__

        typer.echo(f"napari-medsam2 {__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def common(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
    debug: Annotated[
        bool,
        typer.Option(
            DEBUG_FLAG, help="Show the traceback of an error, and warnings of other libraries."
        ),
    ] = False,
) -> None:
    """Segment biomedical volumes and movies from a box or a few clicks.

    Exit codes: 0 done, 1 internal error, 2 bad use or bad input, 130 interrupted.
    """
    if context.invoked_subcommand is None:
        raise InputError(
            "give a command: demo, view, segment, info, benchmark or models (--help explains them)"
        )
