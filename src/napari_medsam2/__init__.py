"""Interactive segmentation of biomedical volumes and movies with SAM-2-family models.

Importing this package loads neither torch nor Qt; what needs them is loaded on first use (PEP 562).
Coordinates are always those of the array: (frame, y, x); boxes are half-open (y0, x0, y1, x1).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import errors, models
    from .channels import join_channels
    from .io import read, write_labels
    from .labels import MaskUpdate
    from .oneliner import segment
    from .prompts import (
        BoxPrompt,
        MaskPrompt,
        PointPrompt,
        PolygonPrompt,
        PromptSet,
        ScribblePrompt,
    )
    from .session import Session
    from .volume import Volume

__all__ = [
    "BoxPrompt",
    "MaskPrompt",
    "MaskUpdate",
    "PointPrompt",
    "PolygonPrompt",
    "PromptSet",
    "ScribblePrompt",
    "Session",
    "Volume",
    "__version__",
    "errors",
    "join_channels",
    "models",
    "read",
    "segment",
    "write_labels",
]

_HOME = {
    "BoxPrompt": "prompts",
    "MaskPrompt": "prompts",
    "MaskUpdate": "labels",
    "PointPrompt": "prompts",
    "PolygonPrompt": "prompts",
    "PromptSet": "prompts",
    "ScribblePrompt": "prompts",
    "Session": "session",
    "Volume": "volume",
    "join_channels": "channels",
    "read": "io",
    "segment": "oneliner",
    "write_labels": "io",
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    import importlib

    if name == "__version__":
        from importlib.metadata import version

        return version("napari-medsam2")
    if name in ("errors", "models"):
        return importlib.import_module(f".{name}", __name__)
    if name in _HOME:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
