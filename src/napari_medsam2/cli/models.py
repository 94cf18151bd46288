"""`models`: what the catalogue knows, where the weights lie, and downloading them."""

from __future__ import annotations

import json
import math
import sys
from contextlib import ExitStack
from dataclasses import asdict
from datetime import date, time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_medsam2.errors import InputError, ModelError

from .console import note, out, progress, say, table

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari_medsam2.models import ModelCard

__all__ = ["app"]

app = typer.Typer(help="List the models, download, find and verify their weights; add your own.")

_Name = Annotated[
    str, typer.Argument(help="A name from `models list`, or a model folder of your own.")
]
_Folder = Annotated[
    Path, typer.Argument(help="A model folder of your own, as `finetune` writes it.")
]

_MB = 10**6


@app.command("list")
def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the models of the catalogue, then those of your own that were added."""
    from napari_medsam2 import models

    cards = models.list()
    if as_json:
        out(json.dumps([_as_dict(card) for card in cards], indent=2))
        return
    table(
        ("name", "title", "licence", "state", "input", "size"),
        [
            (c.name, c.title, c.licence, c.state, f"{c.image_size} px", _size(c.bytes))
            for c in cards
        ],
    )


@app.command("pull")
def pull(
    name: _Name,
    accept_licence: Annotated[
        bool,
        typer.Option("--accept-licence", help="Accept the licence without being asked."),
    ] = False,
) -> None:
    """Download the weights of a model, after showing their licence.

    They go to the folder that NAPARI_MEDSAM2_MODELS names. What an earlier download left
    unfinished is continued.
    """
    from napari_medsam2 import models
    from napari_medsam2.models.download import pull
    from napari_medsam2.models.licences import is_permissive

    card = models.get(name)
    if card.source is None:
        card.verify()
        own = f"lies in {card.folder}"
        where = f"came with the package {card.package}" if card.folder is None else own
        say(f"{card.name}: {where}, nothing to download")
        return
    if not card.is_ready:
        _show_licence(card)
        if not is_permissive(card) and not accept_licence:
            _ask(card)
    try:
        with ExitStack() as stack:
            path = pull(card, progress=_bar(card, stack))
    except KeyboardInterrupt:
        note(f"{card.name}: what has arrived is kept for the next `models pull {card.name}`")
        raise
    say(f"{card.name}: {_checked(card)}, at {path}")


@app.command("path")
def path(name: _Name) -> None:
    """Print where the weights of a model lie or shall lie."""
    from napari_medsam2 import models

    out(str(models.get(name).path))


@app.command("verify")
def verify(name: _Name) -> None:
    """Check the weights of a model against the size and SHA-256 of the catalogue or of its card."""
    from napari_medsam2 import models

    card = models.get(name)
    card.verify()
    say(f"{card.name}: {_checked(card)}")


@app.command("add")
def add(folder: _Folder) -> None:
    """Add a model folder of your own to the lists here and in napari, after checking its weights.

    The folder stays where it is. `--model FOLDER` takes any model folder, added or not.
    """
    from napari_medsam2 import models

    card = models.register(folder)
    say(f"added {card.title}, in {card.folder}")


@app.command("forget")
def forget(folder: _Folder) -> None:
    """Take a model folder of your own off the lists; its files stay as they are."""
    from napari_medsam2 import models

    models.forget(folder)
    say(f"forgot {folder}; its files are as they were")


def _checked(card: ModelCard) -> str:
    """Say what the weights were held against."""
    from napari_medsam2.models.checkpoints import expected

    size, sha256 = expected(card.path, card)
    facts = f"{size} bytes, SHA-256 {sha256}"
    if card.sha256 is not None:
        return f"{facts} as it should be"
    if sha256 is None:
        return "no hash is published, and none could be remembered in its folder"
    return f"{facts} as first seen here; its authors publish no hash"


def _show_licence(card: ModelCard) -> None:
    from napari_medsam2.models.licences import notices

    size = f", {_size(card.bytes)}" if card.bytes else ""
    note(f"{card.name}: {card.title}{size}, from {card.url}")
    for line in notices(card):
        note(line)


def _ask(card: ModelCard) -> None:
    """Have the licence accepted (`InputError` if it is not)."""
    if not _is_interactive():
        raise InputError(
            f"{card.name}: its licence {card.licence} must be accepted; add --accept-licence"
        )
    if not typer.confirm(f"Accept the licence {card.licence}?", err=True):
        raise InputError(f"{card.name}: not downloaded, its licence was not accepted")


def _is_interactive() -> bool:
    return sys.stdin.isatty()


def _bar(card: ModelCard, stack: ExitStack) -> Callable[[int, int | None], None]:
    """Return what shows progress, from the moment when the whole size is known."""
    show: Callable[[int], None] | None = None

    def update(done: int, total: int | None) -> None:
        nonlocal show
        if not total:
            return
        whole = max(round(total / _MB), 1)
        if show is None:
            show = stack.enter_context(progress(f"downloading {card.name}, MB", whole))
        show(done * whole // total)

    return update


def _size(size: int | None) -> str:
    return "not published" if size is None else f"{size / _MB:.0f} MB"


def _as_dict(card: ModelCard) -> dict[str, Any]:
    try:
        path = str(card.path)
    except ModelError:
        path = None
    return {**_in_json(asdict(card)), "state": card.state, "path": path}


def _in_json(value: Any) -> Any:
    """Return what a card holds in the terms of JSON, which lacks TOML's dates, nan and infinity."""
    if isinstance(value, dict):
        return {key: _in_json(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_in_json(inner) for inner in value]
    if isinstance(value, date | time):
        return value.isoformat()
    return None if isinstance(value, float) and not math.isfinite(value) else value
