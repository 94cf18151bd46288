"""TIFF stacks through tifffile: axes and spacing of OME and ImageJ, pages read one at a time."""

from __future__ import annotations

import logging
import math
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np

from napari_medsam2.errors import ReadError, WriteError
from napari_medsam2.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["read_tiff", "write_tiff"]

# Tifffile's letters: S samples (colours), I and Q axes that the file does not name.
_LETTERS = {"T": "t", "Z": "z", "Y": "y", "X": "x", "C": "c", "S": "c", "I": "t", "Q": "t"}
_UNITS = {
    "um": "um",
    "µm": "um",
    "μm": "um",
    "micron": "um",
    "microns": "um",
    "micrometer": "um",
    "nm": "nm",
    "nanometer": "nm",
    "mm": "mm",
    "millimeter": "mm",
    "cm": "cm",
    "m": "m",
    "inch": "inch",
    "in": "inch",
    "\\u00b5m": "um",
    "Å": "angstrom",
    "s": "s",
    "sec": "s",
    "second": "s",
    "seconds": "s",
    "ms": "ms",
    "msec": "ms",
    "min": "min",
    "h": "hour",
    "d": "day",
}
_Spacing = dict[str, tuple[float, str]]


def read_tiff(path: Path, axes: str | None) -> Volume:
    """Open a TIFF file, BigTIFF, OME and ImageJ included.

    Parameters
    ----------
    path : Path
    axes : str, optional
        Names for the axes, where the file does not name them: an unnamed leading axis counts as
        time.

    Returns
    -------
    Volume
        A stack is a zarr array that decodes a page when it is asked for; a single page is loaded.
        Spacing is that of OME or ImageJ metadata; the resolution of other files is about printing
        and is ignored.

    Raises
    ------
    ReadError
        For a compression that needs the codecs of the "all" extra, a truncated file, axes that are
        not known.
    """
    import tifffile

    with _quiet():
        tif = tifffile.TiffFile(path)
        try:
            series = tif.series[0]
            _check_decodable(series)
            _check_complete(series, path)
            names = axes or _axes(series)
            stated = _stated_spacing(tif, series)
            data = _lazy(tif, series)
        except BaseException:
            tif.close()
            raise
        if isinstance(data, np.ndarray):
            tif.close()
    letters = [_LETTERS.get(a, "") for a in series.axes]
    kept = [
        stated.get(old, (1.0, "px")) for old, new in zip(letters, names, strict=False) if new != "c"
    ]
    return Volume(
        data,
        axes=names,
        spacing=tuple(s for s, _ in kept),
        units=tuple(u for _, u in kept),
        metadata={"format": "TIFF", "series": len(tif.series)},
    )


def write_tiff(path: Path, labels: NDArray[Any], volume: Volume | None) -> None:
    """Write labels as a compressed TIFF that ImageJ and napari open with axes and spacing.

    8 and 16 bits are written in ImageJ's dialect, wider ids as OME-TIFF. The position in the
    patient has no place in TIFF and is lost.
    """
    import tifffile

    axes = volume.label_axes if volume is not None else "tzyx"[-labels.ndim :]
    if [a for a in "tzyx" if a in axes] != list(axes):
        raise WriteError(
            f"TIFF stores axes in the order t, z, y, x, not {axes!r}; write .npz or .nii.gz instead"
        )
    spacing: _Spacing = {}
    if volume is not None:
        spacing = dict(zip(axes, zip(volume.spacing, volume.units, strict=True), strict=True))
    named_ome = path.name.lower().endswith((".ome.tif", ".ome.tiff"))
    imagej = labels.dtype.itemsize <= 2 and not named_ome
    metadata = {"axes": axes.upper()} | (_imagej(spacing) if imagej else _ome(spacing))
    x, y = (spacing.get(a, (1.0, "px"))[0] for a in "xy")
    tifffile.imwrite(
        path,
        labels,
        imagej=imagej,
        ome=not imagej,
        compression="zlib",
        photometric="minisblack",
        metadata=metadata,
        resolution=(1 / x, 1 / y) if imagej else None,
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep tifffile's log of a damaged file off the terminal; the error says what matters."""
    logger = logging.getLogger("tifffile")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _axes(series: Any) -> str:
    """Translate tifffile's axes into ours."""
    found = [_LETTERS.get(a, "?") for a in series.axes]
    # Two unnamed axes, or one beside time: the later is depth.
    for i, letter in enumerate(found):
        if letter == "t" and "t" in found[:i] and "z" not in found:
            found[i] = "z"
    axes = "".join(found)
    if "?" in axes or len(set(axes)) < len(axes):
        raise ReadError(
            f"has the axes {series.axes!r} of shape {series.shape}; name them with letters out of "
            "'tzyxc', each once, e.g. axes='tzyx'"
        )
    return axes


def _lazy(tif: Any, series: Any) -> Any:
    """Return a zarr array over the pages, or the loaded array of a single, untiled page."""
    if len(series) == 1 and math.prod(series.shape[:-2]) <= 4 and not series.keyframe.is_tiled:
        return series.asarray()
    import zarr

    store = series.aszarr(level=0)
    array = zarr.open(store, mode="r")
    # The file stays open as long as somebody can read from the store.
    weakref.finalize(store, tif.close)
    return array


def _check_decodable(series: Any) -> None:
    import tifffile

    page = series.keyframe
    try:
        tifffile.TIFF.DECOMPRESSORS[page.compression]
        tifffile.TIFF.UNPREDICTORS[page.predictor]
    except KeyError as error:
        name = getattr(page.compression, "name", str(page.compression))
        raise ReadError(
            f"is compressed with {name}, which needs more codecs: "
            'pip install "napari-medsam2[all]" (or imagecodecs)'
        ) from error


def _check_complete(series: Any, path: Path) -> None:
    """Check that the last page's data end within the file."""
    if not series.pages or math.prod(series.shape) == 0:
        raise ReadError("holds no image")
    last = series.pages[len(series) - 1]
    size = path.stat().st_size
    if series.dataoffset is not None:
        end = series.dataoffset + series.nbytes
    elif last is not None:
        pairs = zip(last.dataoffsets, last.databytecounts, strict=False)
        end = max((offset + count for offset, count in pairs), default=0)
    else:
        return
    if end > size:
        raise ReadError(
            f"is truncated: {size:,} bytes of at least {end:,} are there; copy or export it again"
        )


def _stated_spacing(tif: Any, series: Any) -> _Spacing:
    """Return (spacing, unit) of the axes for which OME or ImageJ metadata state them."""
    if tif.is_ome and tif.ome_metadata:
        return _ome_spacing(tif.ome_metadata)
    if tif.is_imagej and tif.imagej_metadata:
        return _imagej_spacing(tif.imagej_metadata, series.keyframe.tags)
    return {}


def _ome_spacing(xml: str) -> _Spacing:
    root = ElementTree.fromstring(xml)
    pixels = next((e for e in root.iter() if e.tag.endswith("}Pixels") or e.tag == "Pixels"), None)
    found: _Spacing = {}
    for axis in "xyz":
        key = f"PhysicalSize{axis.upper()}"
        _state(found, axis, pixels, key, f"{key}Unit", "um")
    _state(found, "t", pixels, "TimeIncrement", "TimeIncrementUnit", "s")
    return found


def _state(found: _Spacing, axis: str, pixels: Any, key: str, unit_key: str, default: str) -> None:
    value = _positive(pixels.get(key) if pixels is not None else None)
    unit = _UNITS.get(str(pixels.get(unit_key, default)).strip(), "") if value else ""
    if value and unit:
        found[axis] = (value, unit)


def _imagej_spacing(facts: dict[str, Any], tags: Any) -> _Spacing:
    found: _Spacing = {}
    unit = _UNITS.get(str(facts.get("unit", "")).strip().lower(), "")
    units = {a: _UNITS.get(str(facts.get(f"{a}unit", "")).strip().lower(), unit) for a in "xyz"}
    for axis, tag in (("x", "XResolution"), ("y", "YResolution")):
        if units[axis] and tag in tags:
            pixels, per = tags[tag].value
            value = _positive(per / pixels if pixels else None)
            if value:
                found[axis] = (value, units[axis])
    depth = _positive(facts.get("spacing"))
    if depth and units["z"]:
        found["z"] = (depth, units["z"])
    interval = _positive(facts.get("finterval"))
    if interval:
        found["t"] = (interval, _UNITS.get(str(facts.get("tunit", "s")).strip().lower(), "s"))
    return found


def _positive(value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return 0.0
    # Rationals of 32 bits cannot say 0.1: twelve digits are more than they hold.
    return float(f"{number:.12g}") if math.isfinite(number) and number > 0 else 0.0


def _imagej(spacing: _Spacing) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    lengths = {u for a, (_, u) in spacing.items() if a != "t"}
    if len(lengths) == 1:
        facts["unit"] = {"px": "pixel"}.get(*lengths, *lengths)
    if "z" in spacing:
        facts["spacing"] = spacing["z"][0]
    if "t" in spacing and spacing["t"][1] == "s":
        facts["finterval"] = spacing["t"][0]
    return facts


def _ome(spacing: _Spacing) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    for axis, (value, unit) in spacing.items():
        if unit == "px":
            continue
        key = "TimeIncrement" if axis == "t" else f"PhysicalSize{axis.upper()}"
        facts[key] = value
        facts[f"{key}Unit"] = {"um": "µm"}.get(unit, unit)
    return facts
