"""Labels by what things are called, instead of one value for each of them. Numpy only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["NamedValue", "semantic_labels"]


@dataclass(frozen=True)
class NamedValue:
    """What a label value stands for.

    Attributes
    ----------
    value : int
    name : str
        "" for an object without a name.
    object_ids : tuple of int
        The objects that share the value, ascending.
    """

    value: int
    name: str
    object_ids: tuple[int, ...]


def semantic_labels(
    labels: NDArray[Any], names: Mapping[int, str]
) -> tuple[NDArray[Any], tuple[NamedValue, ...]]:
    """Give objects of the same name one value, that of the lowest id.

    Objects without a name keep a value of their own. Names are compared without spaces around
    them, and as they are written.

    Parameters
    ----------
    labels : ndarray of unsigned int
        Any shape; object ids, 0 is background.
    names : mapping of int to str
        Object id to name; ids that are left out have none.

    Returns
    -------
    labels : ndarray
        A new array of the same shape and type.
    table : tuple of NamedValue
        One for each value that may occur, ascending: of the objects with a name or with labels.

    Examples
    --------
    >>> labels = np.array([0, 1, 2, 3], dtype=np.uint16)
    >>> semantic_labels(labels, {1: "vessel", 2: "liver", 3: "vessel"})[0].tolist()
    [0, 1, 2, 1]
    """
    told = {object_id: name.strip() for object_id, name in names.items() if object_id > 0}
    top = max(int(labels.max(initial=0)), *told, 0)
    seen = np.zeros(top + 1, dtype=bool)
    seen[labels] = True
    value_of = np.arange(top + 1, dtype=labels.dtype)
    first: dict[str, int] = {}
    members: dict[int, list[int]] = {}
    for object_id in sorted({*told, *np.flatnonzero(seen).tolist()} - {0}):
        name = told.get(object_id, "")
        value = first.setdefault(name, object_id) if name else object_id
        value_of[object_id] = value
        members.setdefault(value, []).append(object_id)
    table = tuple(
        NamedValue(value, told.get(value, ""), tuple(ids)) for value, ids in sorted(members.items())
    )
    return value_of[labels], table
