"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

from napari_medsam2.errors import MedSAM2Error, WriteError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["atomic_path", "check_target"]


def check_target(path: Path, overwrite: bool) -> None:
    """Check that a file may be written, before any work goes into it.

    Raises
    ------
    WriteError
        If the folder is missing or cannot be written, if the path is a folder, or if the file
        exists and `overwrite` is false.
    """
    folder = path.parent
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise WriteError(f"{path.name}: the folder {folder} {what}; make it or choose another")
    if path.is_dir():
        raise WriteError(f"{path.name}: is a folder; give a file name")
    if path.exists() and not overwrite:
        raise WriteError(f"{path.name}: exists in {folder}; choose another name or overwrite it")
    if not os.access(folder, os.W_OK):
        raise WriteError(f"{path.name}: the folder {folder} cannot be written; choose another")


@contextmanager
def atomic_path(path: Path, overwrite: bool = False) -> Iterator[Path]:
    """Give a temporary name beside `path` to write to, and move it there at the end.

    On an error nothing is left behind and an older file stays as it was.

    Parameters
    ----------
    path : Path
        Where the file shall be.
    overwrite : bool
        Replace a file that exists.

    Yields
    ------
    Path
        A hidden name in the same folder with the same suffixes, which does not exist yet.

    Raises
    ------
    WriteError
        As `check_target`, and for whatever the system or a library says while writing.
    """
    check_target(path, overwrite)
    # The name's end stays, because libraries choose the format by it.
    temporary = path.with_name(f".{secrets.token_hex(6)}-{path.name[-100:]}")
    try:
        yield temporary
        _flush(temporary)
        check_target(path, overwrite)
        os.replace(temporary, path)
    except MedSAM2Error:
        raise
    except (OSError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        reason = reason.replace(str(temporary), str(path))
        raise WriteError(f"{path.name}: could not be written ({reason[:300]})") from error
    finally:
        temporary.unlink(missing_ok=True)


def _flush(path: Path) -> None:
    """Have the system put the file's bytes on the disk before it gets its name."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
