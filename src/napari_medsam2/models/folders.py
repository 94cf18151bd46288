"""Models of one's own: folders with a card and weights, usable wherever a catalogue name is.

A model folder holds ``card.toml`` and the weights that it names, and nothing outside it is
followed. Those that a person wants to see in lists are kept in ``own.json`` in the models folder.
"""

from __future__ import annotations

import json
import logging
import os
import tomllib
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medsam2.errors import CheckpointError, ModelError, ReadError, WriteError

from .cards import CARD, VERSION, bare_name, card_of
from .catalogue import models_folder
from .checkpoints import file_sha256

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from .catalogue import ModelCard

__all__ = [
    "forget",
    "read_card",
    "register",
    "registered",
    "write_card",
]

_LIST_VERSION = 1
_LIST = "own.json"

_log = logging.getLogger(__name__)


def read_card(folder: str | Path) -> ModelCard:
    """Read the card of a model folder.

    Parameters
    ----------
    folder : path
        With ``~`` or relative to the working folder, too.

    Returns
    -------
    ModelCard
        Its name is the absolute path of the folder. The weights are not looked at, see
        `ModelCard.verify`.

    Raises
    ------
    ModelError
        If this is no model folder.
    ReadError
        If its card cannot be understood; it names the file, the key and what is wrong.
    """
    path = _absolute(folder)
    if not os.path.isdir(path):  # unlike Path's, it never raises
        what = "is a file; give the folder" if os.path.exists(path) else "there is no such folder"
        raise ModelError(
            f"model folder {path}: {what}; if it was moved, bring it back or give its new path"
        )
    file = path / CARD
    try:
        fields = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ModelError(
            f"model folder {path}: holds no {CARD}, so it is no model folder; give the one that "
            "`finetune` has written"
        ) from None
    except OSError as error:
        raise ReadError(f"{file}: cannot be opened ({error.strerror})") from error
    except (ValueError, RecursionError) as error:  # no UTF-8, or no TOML
        raise ReadError(f"{file}: is no valid TOML ({error}); correct it there") from error
    return card_of(path, fields)


def write_card(
    folder: str | Path,
    *,
    title: str,
    family: str,
    base: str,
    summary: str,
    licence: str,
    prompts: Sequence[str],
    image_size: int,
    embedding_mb: float,
    weights: str = "weights.safetensors",
    config: str | None = None,
    data: Mapping[str, Any] | None = None,
    recipe: Mapping[str, Any] | None = None,
    scores: Mapping[str, Any] | None = None,
) -> ModelCard:
    """Write the card of a model folder, whole or not at all, over one that is there.

    Parameters
    ----------
    folder : path
        Holds the weights already; their size and SHA-256 go onto the card.
    title, family, base, summary, licence, prompts, image_size, embedding_mb, config
        As in `ModelCard`; family is one of `FAMILIES`, and config for "sam2" alone.
    weights : str
        The name of the weights file in the folder.
    data, recipe, scores : mapping, optional
        For people: what it was trained on, how, and how well it does. Anything that TOML can
        express, see `io.toml_text.dump`.

    Returns
    -------
    ModelCard
        As `read_card` reads it.

    Raises
    ------
    CheckpointError
        If there are no weights.
    ReadError, InputError
        For values that a card cannot hold.
    WriteError
        If the folder cannot be written.
    """
    from napari_medsam2.io.atomic import atomic_path
    from napari_medsam2.io.toml_text import dump

    path = _absolute(folder)
    file = path / bare_name(path / CARD, weights)
    if not file.is_file():
        raise CheckpointError(f"{file}: there are no weights; write them before their card")
    fields: dict[str, Any] = {
        "version": VERSION,
        "title": title,
        "family": family,
        "base": base,
        "summary": summary,
        "licence": licence,
        "prompts": list(prompts),
        "image_size": image_size,
        "embedding_mb": embedding_mb,
        "weights": weights,
        "sha256": file_sha256(file),
        "bytes": file.stat().st_size,
    }
    tables = {"config": config, "data": data, "recipe": recipe, "scores": scores}
    text = dump(fields | {key: value for key, value in tables.items() if value is not None})
    # Nothing is written that could not be read again.
    card = card_of(path, tomllib.loads(text))
    with atomic_path(path / CARD, overwrite=True) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return card


def registered() -> tuple[Path, ...]:
    """Return the model folders that were registered and are there, in the order of registering.

    A list that cannot be read counts as empty, with a warning in the log.
    """
    return tuple(path for path in _listed() if os.path.isdir(path))


def register(folder: str | Path) -> ModelCard:
    """Add a model folder to the list of one's own models; harmless if it is there.

    Returns
    -------
    ModelCard

    Raises
    ------
    ModelError, ReadError, CheckpointError
        If it is no model folder, or its weights are not those of its card.
    WriteError
        If the list cannot be written.
    """
    card = read_card(folder)
    card.verify()
    path = _absolute(folder)
    with _list_alone():
        listed = _listed()
        if path not in listed:
            _write_list((*listed, path))
    return card


def forget(folder: str | Path) -> None:
    """Take a model folder, which may be gone, off the list; its files stay as they are.

    Raises
    ------
    ModelError
        If it is not on the list.
    WriteError
        If the list cannot be written.
    """
    path = _absolute(folder)
    with _list_alone():
        listed = _listed()
        if path not in listed:
            known = ", ".join(map(str, listed)) or "none"
            raise ModelError(f"{path}: is not among your own models; these are: {known}")
        _write_list([other for other in listed if other != path])


def _absolute(folder: str | Path) -> Path:
    # Links stay as they are named: one may be kept to point at the newest model.
    return Path(os.path.abspath(os.path.expanduser(folder)))


def _listed() -> tuple[Path, ...]:
    """Return the list as it stands in the file."""
    file = models_folder() / _LIST
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ()
    except (OSError, ValueError, RecursionError) as error:
        return _damaged(file, str(error))
    folders = content.get("folders") if isinstance(content, dict) else None
    if not isinstance(folders, list) or not all(isinstance(f, str) for f in folders):
        return _damaged(file, "it holds no list of folders")
    if content.get("version") != _LIST_VERSION:
        return _damaged(file, f"its version is {content.get('version')!r}, not {_LIST_VERSION}")
    return tuple(Path(folder) for folder in folders)


def _damaged(file: Path, why: str) -> tuple[Path, ...]:
    _log.warning(
        "the list of your own models, %s, cannot be used (%s); register them again with "
        "`napari-medsam2 models add FOLDER`",
        file,
        " ".join(why.split()),
    )
    return ()


def _write_list(folders: Sequence[Path]) -> None:
    from napari_medsam2.io.atomic import atomic_path

    content = {"version": _LIST_VERSION, "folders": [str(folder) for folder in folders]}
    with atomic_path(models_folder() / _LIST, overwrite=True) as temporary:
        temporary.write_text(f"{json.dumps(content, indent=2)}\n", encoding="utf-8")


@contextmanager
def _list_alone() -> Iterator[None]:
    """Keep other processes from changing the list between reading and writing it."""
    from filelock import FileLock

    folder = models_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / f".{_LIST}.lock")
        lock.acquire()
    except OSError as error:
        raise WriteError(
            f"{folder}: the list of your own models cannot be kept there ({error.strerror}); name "
            "another folder with NAPARI_MEDSAM2_MODELS"
        ) from error
    try:
        yield
    finally:
        lock.release()
