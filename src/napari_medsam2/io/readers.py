"""The npe2 reader: any file that `read` knows, as image layers with spacing, units and window."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from napari_medsam2.errors import ReadError

from .files import read
from .kinds import sniff
from .layers import image_layers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .layers import LayerData

__all__ = ["get_reader"]

_PROBED_FILES = 20


def get_reader(path: str | Sequence[str]) -> Callable[[str], list[LayerData]] | None:
    """Return a reader if the path is a file of a known kind or a folder with DICOM files.

    Parameters
    ----------
    path : str or sequence of str
        Several paths (a stack) are left to other readers.
    """
    if not isinstance(path, str | Path):
        return None
    if Path(path).is_dir():
        return read_layers if _holds_dicom(Path(path)) else None
    # A damaged file is ours too: reading it says what is wrong with it.
    return read_layers


def read_layers(path: str) -> list[LayerData]:
    """Read a file or folder as napari layers (`ReadError` if it cannot be read)."""
    return image_layers(read(path))


def _holds_dicom(folder: Path) -> bool:
    files = sorted(p for p in folder.iterdir() if p.is_file() and not p.name.startswith("."))
    for file in files[:_PROBED_FILES]:
        try:
            if sniff(file) == "DICOM":
                return True
        except ReadError:
            continue
    return False
