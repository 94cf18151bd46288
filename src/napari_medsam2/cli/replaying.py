"""A saved session, done again from its image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .console import note, progress

if TYPE_CHECKING:
    from pathlib import Path

    import typer

    from napari_medsam2.io import PromptDocument
    from napari_medsam2.session import Session
    from napari_medsam2.volume import Volume

__all__ = ["is_replay", "replayed"]

# What does not change the labels; any other option asks to segment anew.
_NEUTRAL = {
    "image",
    "output",
    "prompts",
    "device",
    "cache",
    "scores",
    "measurements",
    "overwrite",
    "values",
}


def is_replay(ctx: typer.Context, document: PromptDocument) -> bool:
    """Whether a saved session is to be replayed: nothing else was asked of its prompts."""
    asked = {name for name in ctx.params if _is_given(ctx, name)}
    has_runs = document.session is not None and bool(document.session.get("runs"))
    return has_runs and asked <= _NEUTRAL


def replayed(path: Path, volume: Volume, device: str, cache: Path | None) -> Session:
    """Return a saved session whose labels were made anew, by all that led to them.

    Raises
    ------
    ReadError
        If its image is another one, or its files are missing.
    """
    from napari_medsam2.session import Session
    from napari_medsam2.tracking.embeddings import open_cache

    from .runs import load_model

    session = Session.load(path, volume, device=device)
    if cache is not None:
        session.cache = open_cache(cache)
    load_model(session)
    steps = len(session.runs)
    with progress("replaying", steps) as show:
        show(0)
        labels = session.replay(told=show)
    if (labels != session.labels).any():
        note(
            "the labels differ from the saved ones: another version, device or precision computes "
            "a little differently, or they were changed outside the session"
        )
    session.labels[...] = labels
    return session


def _is_given(ctx: typer.Context, name: str) -> bool:
    source = ctx.get_parameter_source(name)
    # By its name: typer may bring a click of its own.
    return source is not None and source.name == "COMMANDLINE"
