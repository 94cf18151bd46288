"""`info`: what an image is, before anything is computed on it."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_medsam2.models import DEFAULT_MODEL

from .console import out, table

if TYPE_CHECKING:
    from napari_medsam2.frames import FrameStack
    from napari_medsam2.volume import Volume

__all__ = ["describe", "info"]

# Air in Hounsfield units lies near -1000, and nothing else in medicine does.
_HU_AIR = -500


def info(
    image: Annotated[Path, typer.Argument(help="An image file, or the folder of a DICOM series.")],
    model: Annotated[
        str, typer.Option(help="The model whose embeddings are estimated.")
    ] = DEFAULT_MODEL,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell axes, shape, spacing, intensities and memory of an image."""
    from napari_medsam2.io import read

    facts = describe(read(image), model)
    if as_json:
        out(json.dumps(facts, indent=2, allow_nan=False))
    else:
        table(("", str(image)), _lines(facts))


def describe(volume: Volume, model: str = DEFAULT_MODEL) -> dict[str, Any]:
    """Return what is worth knowing of a volume before segmenting it, as plain values.

    Parameters
    ----------
    volume : Volume
    model : str
        A name of the catalogue; its embeddings at half precision are estimated.

    Returns
    -------
    dict
        What JSON can hold; None where the image does not say, memory in bytes.
    """
    from napari_medsam2 import models
    from napari_medsam2.tracking.embeddings import DEFAULT_CACHE_MB

    stack = _middle_stack(volume)
    values = _intensities(stack)
    embeddings = int(len(stack) * models.get(model).embedding_mb * 2**20)
    return {
        "name": volume.name,
        "modality": volume.modality or None,
        "axes": volume.axes,
        "shape": list(volume.shape),
        "spacing": list(volume.spacing),
        "units": list(volume.units),
        "dtype": volume.dtype.name,
        "frames": len(stack),
        "frame_shape": list(stack.shape),
        "sampled_intensities": values,
        "auto_window": _window(stack, "auto"),
        "display_window": _window(stack, "display") if volume.display else None,
        "window_presets": _presets(volume, values),
        "memory": {
            "image": volume.nbytes,
            "labels": math.prod(volume.label_shape) * 2,
            "embeddings": min(embeddings, int(DEFAULT_CACHE_MB * 2**20)),
        },
    }


def _middle_stack(volume: Volume) -> FrameStack:
    at = [n // 2 for n in volume.label_shape[1:-2]]
    is_plain = volume.n_channels == 1 or volume.has_colour
    return volume.stack(0, at, None if is_plain else 0)


def _intensities(stack: FrameStack) -> list[float] | None:
    from napari_medsam2.windows import sample_intensities

    values = sample_intensities(stack)
    return [float(values.min()), float(values.max())] if values.size else None


def _window(stack: FrameStack, choice: str) -> list[float] | None:
    from napari_medsam2.errors import InputError
    from napari_medsam2.windows import resolve_window

    try:
        window = resolve_window(stack, choice)
    except InputError:
        return None
    return [window.low, window.high]


def _presets(volume: Volume, values: list[float] | None) -> list[str]:
    from napari_medsam2.windows import CT_PRESETS

    is_hu = values is not None and values[0] <= _HU_AIR and volume.modality in ("", "CT")
    return list(CT_PRESETS) if is_hu else []


def _lines(facts: dict[str, Any]) -> list[tuple[str, str]]:
    axes = facts["axes"].replace("c", "")
    spacing = zip(axes, facts["spacing"], facts["units"], strict=True)
    memory = facts["memory"]
    lines = [
        ("axes", ", ".join(f"{a} {n}" for a, n in zip(facts["axes"], facts["shape"], strict=True))),
        ("spacing", ", ".join(f"{a} {s:.4g} {u}" for a, s, u in spacing)),
        ("type", facts["dtype"] + (f", {facts['modality']}" if facts["modality"] else "")),
        ("frames", f"{facts['frames']} of {' x '.join(map(str, facts['frame_shape']))} (y, x)"),
        ("intensities", _span(facts["sampled_intensities"], "none is finite") + " in a sample"),
        ("window auto", _span(facts["auto_window"], "none: the image is constant")),
        ("window display", _span(facts["display_window"], "the file states none")),
    ]
    if facts["window_presets"]:
        lines.append(("window presets", f"Hounsfield units: {', '.join(facts['window_presets'])}"))
    return [
        *lines,
        ("memory", f"image {_size(memory['image'])}, labels {_size(memory['labels'])}"),
        ("", f"embeddings of all frames up to {_size(memory['embeddings'])}"),
    ]


def _span(pair: list[float] | None, otherwise: str) -> str:
    return otherwise if pair is None else f"{pair[0]:.6g} to {pair[1]:.6g}"


def _size(n: int) -> str:
    for unit in ("B", "KiB", "MiB"):
        if n < 1024:
            return f"{n:.4g} {unit}"
        n /= 1024  # type: ignore[assignment]
    return f"{n:.4g} GiB"
