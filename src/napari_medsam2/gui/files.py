"""Saving and opening, as functions for the thread."""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_medsam2.io import write_labels
from napari_medsam2.session import Session

if TYPE_CHECKING:
    from pathlib import Path

    from napari_medsam2.volume import Volume

__all__ = ["LABEL_FILTER", "SESSION_FILTER", "open_session", "save_labels", "save_session"]

LABEL_FILTER = (
    "NIfTI (*.nii.gz *.nii);;NRRD (*.nrrd);;MetaImage (*.mha);;TIFF (*.tif *.tiff);;"
    "NumPy (*.npz *.npy)"
)
SESSION_FILTER = "MedSAM2 session (*.medsam2.json)"


def save_labels(session: Session, path: str | Path) -> Path:
    """Write a session's labels; an older file is replaced."""
    return write_labels(path, session.labels, session.volume, overwrite=True)


def save_session(session: Session, path: str | Path) -> Path:
    """Write a session."""
    return session.save(path)


def open_session(path: str | Path, image: Volume | None, device: str) -> Session:
    """Read a session, on an image or on its own."""
    return Session.load(path, image, device=device)
