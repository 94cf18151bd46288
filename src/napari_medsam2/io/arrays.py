"""Numpy's own files: .npy (memory-mapped) and .npz (an array, its spacing, a JSON of facts)."""

from __future__ import annotations

import json
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medsam2.axes import guess_axes
from napari_medsam2.errors import ReadError
from napari_medsam2.volume import Geometry, Volume

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["read_npy", "read_npz", "read_npz_labels", "write_npy", "write_npz"]

_IMAGE_KEYS = ("image", "imgs")
_LABEL_KEYS = ("labels", "label", "gts", "mask", "masks", "segs")
_FACT_KEYS = ("spacing", "meta")


def read_npy(path: Path, axes: str | None) -> Volume:
    """Read a .npy file as a memory map: nothing is loaded before it is used."""
    data = np.load(path, mmap_mode="r", allow_pickle=False)
    return Volume(data, axes=axes or "", metadata={"format": "npy"})


def read_npz(path: Path, axes: str | None) -> Volume:
    """Read the image of a .npz file.

    Parameters
    ----------
    path : Path
        With the array ``image`` or ``imgs``, or one array alone; optionally ``spacing`` (one number
        an axis without colours, nan where unknown) and ``meta`` (a JSON text, of which axes,
        spacing_unit or units, modality, origin and direction are used).
    axes : str, optional
        Overrides those of the file.

    Returns
    -------
    Volume
    """
    with _open(path) as archive:
        data = archive[_pick(archive.files, _IMAGE_KEYS, "an image")]
        spacing = np.atleast_1d(archive["spacing"]) if "spacing" in archive.files else None
        meta = _meta(archive)
    axes = axes or str(meta.get("axes", "")).lower() or guess_axes(data.shape)
    n = len(axes.replace("c", ""))
    facts = _spacing(None if spacing is None else spacing.tolist(), meta, n)
    geometry = None
    if "origin" in meta and "direction" in meta:
        geometry = Geometry(tuple(meta["origin"]), tuple(meta["direction"]))
    return Volume(
        data,
        axes=axes,
        spacing=tuple(s for s, _ in facts),
        units=tuple(u for _, u in facts),
        geometry=geometry,
        modality=str(meta.get("modality") or ""),
        metadata={"format": "npz"},
    )


def read_npz_labels(path: Path) -> NDArray[Any]:
    """Read the labels of a .npz file: labels, label, gts, mask, masks, segs or the only array."""
    with _open(path) as archive:
        return np.asarray(archive[_pick(archive.files, _LABEL_KEYS, "labels")])


def write_npy(path: Path, labels: NDArray[Any], volume: Volume | None) -> None:
    """Write labels alone; the format has no room for spacing."""
    del volume
    with path.open("wb") as file:
        np.save(file, labels, allow_pickle=False)


def write_npz(path: Path, labels: NDArray[Any], volume: Volume | None) -> None:
    """Write labels with spacing, units, axes and geometry, as `read_npz` understands them."""
    facts: dict[str, Any] = {}
    arrays: dict[str, Any] = {"labels": labels}
    if volume is not None:
        arrays["spacing"] = np.array(volume.spacing)
        facts = {"axes": volume.label_axes, "units": list(volume.units)}
        if volume.modality:
            facts["modality"] = volume.modality
        if volume.geometry is not None:
            facts["origin"] = list(volume.geometry.origin)
            facts["direction"] = list(volume.geometry.direction)
        arrays["meta"] = np.array(json.dumps(facts))
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays)


@contextmanager
def _open(path: Path) -> Iterator[Any]:
    """Open an archive; unlike numpy alone, close the file if it turns out to be none."""
    with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
        yield archive


def _pick(names: Sequence[str], known: Sequence[str], what: str) -> str:
    for name in known:
        if name in names:
            return name
    others = [n for n in names if n not in _FACT_KEYS]
    if len(others) == 1:
        return others[0]
    found = ", ".join(names) or "nothing"
    raise ReadError(f"holds no array that is clearly {what} ({found}); name it {known[0]!r}")


def _meta(archive: Any) -> dict[str, Any]:
    if "meta" not in archive.files:
        return {}
    try:
        meta = json.loads(str(archive["meta"]))
    except ValueError as error:
        raise ReadError(f"its 'meta' is no valid JSON ({error})") from error
    if not isinstance(meta, dict):
        raise ReadError("its 'meta' must be a JSON object with keys such as axes and spacing_unit")
    return meta


def _spacing(values: list[float] | None, meta: dict[str, Any], n: int) -> list[tuple[float, str]]:
    """Return (spacing, unit) for each of `n` axes; what is unknown is one pixel."""
    values = values or [math.nan] * n
    unit = meta.get("spacing_unit") or "px"
    units = meta.get("units") or [unit] * len(values)
    if len(values) != n or len(units) != n:
        raise ReadError(f"its spacing has {len(values)} values, but the image {n} axes to measure")
    return [
        (float(s), str(u)) if math.isfinite(s) and s > 0 else (1.0, "px")
        for s, u in zip(values, units, strict=True)
    ]
