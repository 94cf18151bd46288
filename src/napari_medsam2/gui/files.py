"""Saving and opening, as functions for the thread."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from napari_medsam2.io import write_labels
from napari_medsam2.io.label_names import write_named_labels
from napari_medsam2.session import Session

if TYPE_CHECKING:
    from pathlib import Path

    from napari_medsam2.io.autosave import Autosave, Leftover
    from napari_medsam2.volume import Volume

__all__ = [
    "LABEL_FILTER",
    "SESSION_FILTER",
    "VALUES",
    "Values",
    "open_session",
    "recover",
    "save_labels",
    "save_session",
]

Values = Literal["instances", "names"]

LABEL_FILTER = (
    "NIfTI (*.nii.gz *.nii);;NRRD (*.nrrd);;MetaImage (*.mha);;TIFF (*.tif *.tiff);;"
    "NumPy (*.npz *.npy)"
)
SESSION_FILTER = "MedSAM2 session (*.medsam2.json)"
VALUES: dict[Values, str] = {"instances": "one per object", "names": "one per name"}


def save_labels(session: Session, path: str | Path, values: Values = "instances") -> Path:
    """Write a session's labels, with one value an object or a name; older files are replaced."""
    if values == "names":
        names = {entry.id: entry.name for entry in session.prompts.objects}
        return write_named_labels(path, session.labels, names, session.volume, overwrite=True)
    return write_labels(path, session.labels, session.volume, overwrite=True)


def save_session(session: Session, path: str | Path) -> Path:
    """Write a session."""
    return session.save(path)


def open_session(path: str | Path, image: Volume | None, device: str) -> Session:
    """Read a session, on an image or on its own."""
    return Session.load(path, image, device=device)


def recover(leftover: Leftover, image: Volume | None, device: str) -> tuple[Session, Autosave]:
    """Read what was left behind, on an image or on its own; no other program can take it then."""
    place = leftover.take()
    try:
        return Session.load(place.path, image, device=device), place
    except BaseException:
        place.release()
        raise
