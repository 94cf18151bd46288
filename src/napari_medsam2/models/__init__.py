"""Models: the catalogue, and building one by name.

Importing this package does not load torch.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from napari_medsam2.errors import InputError, MedSAM2Error, ModelError

from .catalogue import DEFAULT_MODEL, ModelCard, get, models_folder, names
from .download import DownloadCancelled, pull
from .folders import forget, read_card, register, registered, write_card

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .base import Segmenter
    from .device import Device

__all__ = [
    "DEFAULT_MODEL",
    "PRECISIONS",
    "DownloadCancelled",
    "ModelCard",
    "build",
    "forget",
    "get",
    "list",
    "models_folder",
    "names",
    "pull",
    "read_card",
    "register",
    "registered",
    "write_card",
]

PRECISIONS = ("auto", "fp32", "bf16", "fp16")

_log = logging.getLogger(__name__)


def list() -> tuple[ModelCard, ...]:  # noqa: A001 - nm.models.list() reads best
    """Return the cards of all models: the catalogue's, then one's own that were registered.

    A model folder whose card cannot be read is left out, with a warning in the log.
    """
    return (*(get(name) for name in names()), *_own())


def build(
    name: str | Path = DEFAULT_MODEL,
    *,
    device: Device | None = None,
    checkpoint: Path | None = None,
    precision: str = "auto",
    image_size: int | None = None,
    compiled: bool = False,
) -> Segmenter:
    """Load a model.

    Parameters
    ----------
    name : str or Path
        A name of the catalogue, or a path as `get` takes it.
    device : Device, optional
        From `models.device.choose_device`; None chooses.
    checkpoint : Path, optional
        A file whose weights replace the catalogue's.
    precision : str
        "auto", "fp32", "bf16" or "fp16": the numerical form of the image encoder.
    image_size : int, optional
        Side of the network's input, for models that can change it.
    compiled : bool
        Whether torch compiles the image encoder, at the first frame: that takes half a minute or
        more and a compiler, and makes CPUs slower (docs/performance.md); it is meant for GPUs.

    Raises
    ------
    ModelError, CheckpointError, DeviceError
        For an unknown name, weights that do not fit, a device that is not there.
    InputError
        For an unknown precision or an image size that the model cannot take.
    """
    from .device import choose_device
    from .runtime import prepare

    prepare()
    card = get(name)
    if precision not in PRECISIONS:
        raise InputError(f"unknown precision {precision!r}; use {', '.join(PRECISIONS)}")
    device = device or choose_device()
    if card.family == "litemedsam":
        from .litemedsam import LiteMedSAM

        return LiteMedSAM.load(
            card,
            device,
            checkpoint=checkpoint,
            precision=precision,
            image_size=image_size,
            compiled=compiled,
        )
    if card.family == "litetrack":
        from .litetrack import LiteTrack

        return LiteTrack.load(
            card,
            device,
            checkpoint=checkpoint,
            precision=precision,
            image_size=image_size,
            compiled=compiled,
        )
    if card.family == "sam2":
        from .sam2 import SAM2

        return SAM2.load(
            card,
            device,
            checkpoint=checkpoint,
            precision=precision,
            image_size=image_size,
            compiled=compiled,
        )
    raise ModelError(f"model {card.name!r} is of an unknown family {card.family!r}")


def _own() -> Iterator[ModelCard]:
    for folder in registered():
        try:
            yield read_card(folder)
        except MedSAM2Error as error:
            _log.warning("%s; it is left out of the list of models", error)
