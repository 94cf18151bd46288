"""PNG, JPEG, BMP and GIF through Pillow, with the ids of paletted label images kept."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medsam2.errors import ReadError
from napari_medsam2.volume import Volume

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["read_image", "read_indices"]

_MODES = {"LA": "L", "PA": "RGBA", "CMYK": "RGB", "YCbCr": "RGB", "LAB": "RGB", "HSV": "RGB"}


def read_image(path: Path) -> Volume:
    """Read a picture as it looks: palettes become colours, an animation becomes a movie.

    Returns
    -------
    Volume
        yx or yxc; tyx or tyxc for an animated GIF, with the mean duration of a frame in seconds.
    """
    frames, durations = _frames(path, as_seen=True)
    movie = len(frames) > 1
    data = np.stack(frames) if movie else frames[0]
    seconds = float(np.mean(durations)) / 1000 if movie and all(durations) else 0.0
    return Volume(
        data,
        axes="t" * movie + "yx" + "c" * (frames[0].ndim == 3),
        spacing=(seconds or 1.0,) * movie + (1.0, 1.0),
        units=("s" if seconds else "px",) * movie + ("px", "px"),
        metadata={"format": path.suffix.lstrip(".").upper()},
    )


def read_indices(path: Path) -> NDArray[Any]:
    """Read a label picture: the index of each pixel in the palette, not its colour.

    A picture in colour is accepted where red, green and blue are equal everywhere.
    """
    frames, _ = _frames(path, as_seen=False)
    labels = np.stack(frames) if len(frames) > 1 else frames[0]
    if (labels.ndim == frames[0].ndim and labels.ndim == 3) or labels.ndim == 4:
        colours = labels[..., :3]
        if (colours != colours[..., :1]).any():
            raise ReadError(
                "is a picture in colour; labels have one value per pixel (save it in grey or with "
                "a palette)"
            )
        labels = colours[..., 0]
    return np.ascontiguousarray(labels)


def _frames(path: Path, as_seen: bool) -> tuple[list[NDArray[Any]], list[float]]:
    from PIL import Image, ImageSequence

    frames, durations = [], []
    with Image.open(path) as picture:
        keep_palette = not as_seen and picture.mode == "P"
        for image in ImageSequence.Iterator(picture):
            durations.append(float(image.info.get("duration", 0)))
            frames.append(np.array(image if keep_palette else _decoded(image)))
    if len({f.shape for f in frames}) > 1:
        frames = [np.array(f) for f in _same_mode(path)]
    return frames, durations


def _same_mode(path: Path) -> list[Any]:
    """Return the frames of an animation that turns from grey to colour, all in colour."""
    from PIL import Image, ImageSequence

    with Image.open(path) as picture:
        return [frame.convert("RGB") for frame in ImageSequence.Iterator(picture)]


def _decoded(image: Any) -> Any:
    """Turn palettes and rare colour models into grey, RGB or RGBA."""
    if image.mode == "P":
        colours = np.reshape(image.getpalette("RGB"), (-1, 3))
        used = colours[np.unique(np.asarray(image))]
        grey = (used == used[:, :1]).all()
        return image.convert("L" if grey else "RGB")
    return image.convert(_MODES[image.mode]) if image.mode in _MODES else image
