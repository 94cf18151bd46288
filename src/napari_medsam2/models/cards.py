"""The card of a model folder: what stands on it, and what it tells people."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import TYPE_CHECKING, Any

from napari_medsam2.errors import ReadError

from .catalogue import ModelCard

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CARD", "FAMILIES", "VERSION", "bare_name", "card_of", "story"]

CARD = "card.toml"
FAMILIES = ("litemedsam", "litetrack", "sam2")
"""The builders that a card may name."""

VERSION = 1
_PROMPTS = ("box", "points", "mask")
_FREE = ("data", "recipe", "scores")
"""Tables for people, which are not interpreted."""
_TEXTS = ("title", "family", "base", "summary", "licence", "weights", "sha256")
_NUMBERS = ("image_size", "embedding_mb", "bytes")
_REQUIRED = ("version", *_TEXTS, *_NUMBERS, "prompts")
# Of one line that tells people of a table.
_LONGEST = 160


def card_of(folder: Path, fields: Mapping[str, Any]) -> ModelCard:
    """Return what the fields of a card say of the model in a folder.

    Raises
    ------
    ReadError
        If a key is missing, unknown or of another kind than it should be.
    """
    file = folder / CARD
    _check_keys(file, fields)
    family, config = fields["family"], fields.get("config")
    if family not in FAMILIES:
        raise _error(file, "family", f"unknown {family!r}; use {', '.join(FAMILIES)}")
    if (config is not None) != (family == "sam2"):
        problem = "only a model of the family sam2 has one; leave it out"
        needed = "a model of the family sam2 needs the name of its config"
        raise _error(file, "config", needed if config is None else problem)
    if config is not None and not re.fullmatch(r"configs(/\w[\w.+-]*)+\.yaml", config):
        raise _error(
            file, "config", f"must be one of SAM 2's own, as configs/sam2.1/…yaml, got {config!r}"
        )
    weights = bare_name(file, fields["weights"])
    if not Path(os.path.realpath(folder / weights)).is_relative_to(os.path.realpath(folder)):
        raise _error(file, "weights", f"{weights} is a link out of the folder; put the file here")
    if not re.fullmatch("[0-9a-f]{64}", fields["sha256"]):
        raise _error(file, "sha256", "must be 64 digits of 0-9 and a-f")
    return ModelCard(
        name=str(folder),
        title=fields["title"],
        family=family,
        summary=fields["summary"],
        licence=fields["licence"],
        url="",
        image_size=fields["image_size"],
        prompts=tuple(fields["prompts"]),
        embedding_mb=fields["embedding_mb"],
        filename=weights,
        bytes=fields["bytes"],
        sha256=fields["sha256"],
        config=config,
        folder=str(folder),
        base=fields["base"],
        notes={key: fields[key] for key in _FREE if key in fields},
    )


def bare_name(file: Path, name: str) -> str:
    """Return the name of a weights file, which must name a file beside the card on any system."""
    is_bare = name == PurePosixPath(name).name == PureWindowsPath(name).name
    if not is_bare or name in ("", ".", "..", CARD) or not name.isprintable():
        raise _error(
            file, "weights", f"must be the bare name of a file in the folder, got {name!r}"
        )
    return name


def story(card: ModelCard) -> tuple[str, ...]:
    """Return what a model of one's own came from, its data and its scores, a line each."""
    base = () if card.base is None else (f"Made from {card.base}",)
    told = ((key, ", ".join(_pairs(card.notes.get(key, {})))) for key in ("data", "scores"))
    return (*base, *(f"{key.capitalize()}: {_cut(text)}" for key, text in told if text))


def _check_keys(file: Path, fields: Mapping[str, Any]) -> None:
    """Check that all keys are there, none is unknown, and each holds its kind of value."""
    version = fields.get("version")
    if version != VERSION or isinstance(version, bool):
        raise _error(
            file,
            "version",
            f"is {version!r}, and this program reads {VERSION}; if the model was made by a newer "
            "napari-medsam2, install that one",
        )
    for key in _REQUIRED:
        if key not in fields:
            raise _error(file, key, "is missing; add it, or let `finetune` write the card")
    known = (*_REQUIRED, "config", *_FREE)
    for key in fields:
        if key not in known:
            raise _error(file, key, f"unknown key; known are {', '.join(known)}")
    for key in (*_TEXTS, *(("config",) if "config" in fields else ())):
        text = fields[key]
        if not isinstance(text, str) or not text.strip() or not text.isprintable():
            raise _error(file, key, f"must be text on one line in quotes, got {text!r}")
    for key in _NUMBERS:
        number, whole = fields[key], key != "embedding_mb"
        is_number = isinstance(number, int if whole else int | float)
        if not is_number or isinstance(number, bool) or not 0 < number < float("inf"):
            kind = "a whole number" if whole else "a number"
            raise _error(file, key, f"must be {kind} above 0, got {number!r}")
    prompts = fields["prompts"]
    if not isinstance(prompts, list) or not prompts or any(p not in _PROMPTS for p in prompts):
        raise _error(file, "prompts", f"must be a list of some of {', '.join(_PROMPTS)}")
    for key in _FREE:
        if not isinstance(fields.get(key, {}), dict):
            raise _error(file, key, f"must be a table [{key}]")


def _error(file: Path, key: str, problem: str) -> ReadError:
    return ReadError(f"{file}: {key}: {problem}")


def _pairs(table: Mapping[str, Any], place: str = "") -> Iterator[str]:
    """Yield "key value" for all that a table holds, "outer.inner value" from tables inside it."""
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _pairs(value, f"{place}{key}.")
        elif isinstance(value, list):
            yield f"{place}{key} {' '.join(map(_shown, value))}"
        else:
            yield f"{place}{key} {_shown(value)}"


def _shown(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else " ".join(str(value).split())


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
