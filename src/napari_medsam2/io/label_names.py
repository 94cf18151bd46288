"""Labels by name as files: the label image, and a table of what its values stand for."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medsam2.semantics import semantic_labels

from .atomic import atomic_path, check_target
from .files import StrPath, write_labels
from .kinds import suffix_of
from .tables import write_csv

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from napari_medsam2.volume import Volume

__all__ = ["names_path", "write_named_labels"]

_COLUMNS = ("value", "name", "objects")


def names_path(labels: StrPath) -> Path:
    """Return where the table of a label file lies: ``ct.names.csv`` beside ``ct.nii.gz``."""
    path = Path(labels)
    return path.with_name(f"{path.name[: len(path.name) - len(suffix_of(path))]}.names.csv")


def write_named_labels(
    path: StrPath,
    labels: NDArray[Any],
    names: Mapping[int, str],
    volume: Volume | None = None,
    *,
    overwrite: bool = False,
) -> Path:
    """Write labels with one value a name, and the table ``<stem>.names.csv`` beside them.

    Parameters
    ----------
    path, labels, volume, overwrite
        As for `write_labels`.
    names : mapping of int to str
        Object id to name, see `semantics.semantic_labels`.

    Returns
    -------
    Path
        The label file.

    Raises
    ------
    WriteError
        As `write_labels`; neither file appears unless both could be written.
    """
    table_path = names_path(path)
    check_target(table_path, overwrite)
    named, table = semantic_labels(labels, names)
    with atomic_path(table_path, overwrite) as temporary:
        rows = [(row.value, row.name, " ".join(map(str, row.object_ids))) for row in table]
        write_csv(temporary, _COLUMNS, rows)
        return write_labels(path, named, volume, overwrite=overwrite)
