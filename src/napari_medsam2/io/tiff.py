"""TIFF stacks through tifffile: axes and spacing of OME and ImageJ, pages read one at a time."""

from __future__ import annotations

import logging
import math
import struct
import weakref
from contextlib import contextmanager
from operator import le
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medsam2.errors import ReadError, WriteError
from napari_medsam2.volume import Volume

from .tiff_metadata import imagej_facts, ome_facts, stated_spacing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from .tiff_metadata import Spacing

__all__ = ["read_tiff", "write_tiff"]

# Tifffile's letters: S samples (colours), I and Q axes that the file does not name.
_LETTERS = {"T": "t", "Z": "z", "Y": "y", "X": "x", "C": "c", "S": "c", "I": "t", "Q": "t"}


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
        A stack is a zarr array that decodes a page when it is asked for; a single page is loaded,
        unless it is tiled. A pyramid's coarser levels are `Volume.levels`.
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
            _check_complete(tif, series, path)
            names = axes or _axes(series)
            stated = stated_spacing(tif, series)
            data, levels = _lazy(tif, series)
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
        levels=levels,
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
    spacing: Spacing = {}
    if volume is not None:
        spacing = dict(zip(axes, zip(volume.spacing, volume.units, strict=True), strict=True))
    named_ome = path.name.lower().endswith((".ome.tif", ".ome.tiff"))
    imagej = labels.dtype.itemsize <= 2 and not named_ome
    metadata = {"axes": axes.upper()} | (imagej_facts(spacing) if imagej else ome_facts(spacing))
    x, y = (spacing.get(a, (1.0, "px"))[0] for a in "xy")
    tifffile.imwrite(
        path,
        labels,
        imagej=imagej,
        ome=not imagej,
        compression="zlib",
        # The window needs the other cores, and a program that is about to end can start no threads.
        maxworkers=1,
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


def _lazy(tif: Any, series: Any) -> tuple[Any, tuple[Any, ...]]:
    """Return a zarr array over the pages, or the loaded array of a single, untiled page.

    With it come the coarser levels of a pyramid, if there are any.
    """
    is_small = len(series) == 1 and math.prod(series.shape[:-2]) <= 4
    if is_small and not series.keyframe.is_tiled and len(series.levels) == 1:
        return series.asarray(), ()
    import zarr

    stores = [series.aszarr(level=level) for level in _pyramid(series)]
    open_ = set(range(len(stores)))

    def close(number: int) -> None:
        open_.discard(number)
        if not open_:
            tif.close()

    # The file stays open as long as somebody can read from any of them.
    for number, store in enumerate(stores):
        weakref.finalize(store, close, number)
    data, *levels = (zarr.open(store, mode="r") for store in stores)
    return data, tuple(levels)


def _pyramid(series: Any) -> list[int]:
    """Return the levels that are the image again, only smaller."""
    chosen = [0]
    for number, level in enumerate(series.levels[1:], start=1):
        before, shape = series.levels[chosen[-1]].shape, level.shape
        if len(shape) == len(before) and shape != before and all(map(le, shape, before)):
            chosen.append(number)
    return chosen


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


def _check_complete(tif: Any, series: Any, path: Path) -> None:
    """Check that the chain of pages and the last page's data end within the file."""
    if not series.pages or math.prod(series.shape) == 0:
        raise ReadError("holds no image")
    last = series.pages[len(series) - 1]
    size = path.stat().st_size
    if series.dataoffset is not None:
        end = series.dataoffset + series.nbytes
    elif last is not None:
        _check_chain(tif)
        pairs = zip(last.dataoffsets, last.databytecounts, strict=False)
        end = max((offset + count for offset, count in pairs), default=0)
    else:
        return
    if end > size:
        raise ReadError(
            f"is truncated: {size:,} bytes of at least {end:,} are there; copy or export it again"
        )


def _check_chain(tif: Any) -> None:
    """Check that the last page says that it is the last; tifffile would only log a broken chain."""
    pages, layout = tif.pages, tif.tiff
    start = pages[len(pages) - 1].offset
    tif.filehandle.seek(start)
    (n_tags,) = struct.unpack(layout.tagnoformat, tif.filehandle.read(layout.tagnosize))
    tif.filehandle.seek(start + layout.tagnosize + n_tags * layout.tagsize)
    (following,) = struct.unpack(layout.offsetformat, tif.filehandle.read(layout.offsetsize))
    if following and following not in {page.offset for page in pages}:
        raise ReadError(
            f"is truncated: {len(pages)} pages are there, and more are announced; copy or export "
            "it again"
        )
