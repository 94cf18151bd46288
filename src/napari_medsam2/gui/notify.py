"""Telling a person what went wrong, in napari's own way."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from napari.utils.notifications import show_error, show_info, show_warning

from napari_medsam2.errors import InputError

from .worker import InternalError

if TYPE_CHECKING:
    from napari_medsam2.errors import MedSAM2Error

__all__ = ["report", "show_info", "warn"]

_log = logging.getLogger("napari_medsam2")


def report(error: MedSAM2Error) -> None:
    """Show an error: a warning for what the user can put right, else an error.

    The traceback of something unexpected goes to the log.
    """
    if isinstance(error, InternalError):
        _log.error("%s", error, exc_info=error.__cause__)
        show_error(f"MedSAM2: {error}. This is a fault of the plugin; the log has the details.")
    elif isinstance(error, InputError):
        show_warning(f"MedSAM2: {error}")
    else:
        show_error(f"MedSAM2: {error}")


def warn(text: str) -> None:
    """Show a warning."""
    show_warning(f"MedSAM2: {text}")
