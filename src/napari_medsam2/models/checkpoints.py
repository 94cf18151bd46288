"""Weights from files: checked by size and hash, and loaded without running their code."""

from __future__ import annotations

import hashlib
import pickle
from typing import TYPE_CHECKING, Any

from napari_medsam2.errors import CheckpointError

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from .catalogue import ModelCard

__all__ = ["file_sha256", "load_state", "verify"]


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file as hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def verify(path: Path, card: ModelCard) -> None:
    """Check that a file is the checkpoint that the catalogue describes.

    Raises
    ------
    CheckpointError
        If it is missing, or its size or hash differs.
    """
    if not path.is_file():
        raise CheckpointError(f"{card.name}: no weights at {path}")
    size = path.stat().st_size
    if size != card.bytes:
        raise CheckpointError(
            f"{card.name}: {path.name} has {size} bytes, expected {card.bytes}; it is cut off or "
            "another file: install or download it again"
        )
    if (found := file_sha256(path)) != card.sha256:
        raise CheckpointError(
            f"{card.name}: {path.name} has SHA-256 {found}, expected {card.sha256}; it was "
            "altered: install or download it again"
        )


def load_state(path: Path) -> dict[str, torch.Tensor]:
    """Load a state dict, from the file itself or under its "model" or "state_dict" key.

    Only tensors and plain containers are accepted (``weights_only``): a file with code in it is
    refused, never run.

    Raises
    ------
    CheckpointError
        If the file is missing, no checkpoint, or holds more than tensors.
    """
    import torch

    if not path.is_file():
        raise CheckpointError(f"checkpoint {path}: there is no such file")
    try:
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise CheckpointError(
            f"checkpoint {path.name}: refused, it is no checkpoint or holds more than tensors, "
            "which could run code; save its state_dict alone"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise CheckpointError(
            f"checkpoint {path.name}: cannot be read, it is truncated or no torch file"
        ) from error
    for key in ("model", "state_dict"):
        if isinstance(state, dict) and isinstance(state.get(key), dict):
            state = state[key]
    if (
        not isinstance(state, dict)
        or not state
        or not all(isinstance(v, torch.Tensor) for v in state.values())
    ):
        raise CheckpointError(f"checkpoint {path.name}: holds no state dict of tensors")
    return state
