"""`models`: what the catalogue knows and where the weights lie."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .console import out, say, table

if TYPE_CHECKING:
    from napari_medsam2.models import ModelCard

__all__ = ["app"]

app = typer.Typer(help="List the models, find and verify their weights.")

_Name = Annotated[str, typer.Argument(help="A name from `models list`.")]


@app.command("list")
def list_models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the models of the catalogue."""
    from napari_medsam2 import models

    cards = models.list()
    if as_json:
        out(json.dumps([_as_dict(card) for card in cards], indent=2))
        return
    table(
        ("name", "title", "licence", "state", "input"),
        [
            (c.name, c.title, c.licence, _state(c), f"{c.image_size} x {c.image_size} px")
            for c in cards
        ],
    )


@app.command("path")
def path(name: _Name) -> None:
    """Print where the weights of a model lie."""
    from napari_medsam2 import models

    out(str(models.get(name).path))


@app.command("verify")
def verify(name: _Name) -> None:
    """Check the weights of a model against the size and SHA-256 of the catalogue."""
    from napari_medsam2 import models

    card = models.get(name)
    card.verify()
    say(f"{card.name}: {card.bytes} bytes, SHA-256 {card.sha256} as it should be")


def _state(card: ModelCard) -> str:
    return "ready" if card.is_ready else "missing"


def _as_dict(card: ModelCard) -> dict[str, Any]:
    return {**asdict(card), "state": _state(card)}
