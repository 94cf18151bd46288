"""What the widget lets a person choose, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medsam2 import models
from napari_medsam2.models import DEFAULT_MODEL
from napari_medsam2.tracking.embeddings import DEFAULT_CACHE_MB
from napari_medsam2.windows import CT_PRESETS

if TYPE_CHECKING:
    from napari_medsam2.channels import Channels
    from napari_medsam2.models import ModelCard
    from napari_medsam2.session_base import Zoom
    from napari_medsam2.volume import Volume
    from napari_medsam2.windows import WindowChoice

__all__ = [
    "DEVICES",
    "IMAGE_SIZES",
    "MEMORIES",
    "PRECISIONS",
    "WINDOWS",
    "Network",
    "Recipe",
    "Settings",
]

DEVICES: dict[str, str] = {
    "auto": "Automatic",
    "cpu": "CPU",
    "cuda": "NVIDIA GPU (CUDA)",
    "mps": "Apple GPU (MPS)",
}

WINDOWS: dict[str, str] = {
    "auto": "Automatic",
    "display": "As displayed",
    **{
        name: f"CT {name} ({width:g}/{level:g})"  # as radiologists say it: width / level
        for name, (width, level) in CT_PRESETS.items()
    },
}

PRECISIONS: dict[str, str] = {
    "auto": "Automatic",
    "fp32": "fp32 (full)",
    "bf16": "bf16 (half)",
    "fp16": "fp16 (half)",
}

MEMORIES: dict[str, str] = {
    "sam2": "SAM 2",
    "self-sorting": "Self-sorting",
}

IMAGE_SIZES = (256, 512, 768, 1024)


@dataclass(frozen=True)
class Settings:
    """The choices of the widget.

    Attributes
    ----------
    model : str
        A name of the catalogue, or the path of a model folder.
    axis : int or None
        The axis to propagate along, by index among the axes of the image layer; None follows the
        slider of the present view.
    window : str
        A key of `WINDOWS`, or "low,high".
    device : str
        A key of `DEVICES`, or "cuda:N".
    channel : int, tuple of int or None
        The colour to segment of an RGB image; None uses all three.
    level : int or None
        The level of a pyramid that the model sees; None is the coarsest that loses nothing.
    precision : str
        A key of `PRECISIONS`.
    checkpoint : str or None
        A file whose weights replace the catalogue's.
    memory : str
        A key of `MEMORIES`; for models that have one.
    image_size : int or None
        Side of the network's input, for models that can change it; None is the model's own.
    zoom : {"auto", "off"}
        Whether the model is shown the surroundings of each object of a large frame, or all of it.
    prefetch : bool
        Whether frames are embedded before they are asked for.
    cache_mb : float
        Memory for embeddings, in MiB.
    known : ModelCard, optional
        What is known of the model. It stays as it was when the model was chosen: the folder of
        one's own may go while it is in use. None looks it up.
    """

    model: str = DEFAULT_MODEL
    axis: int | None = None
    window: str = "auto"
    device: str = "auto"
    channel: Channels = None
    level: int | None = None
    precision: str = "auto"
    checkpoint: str | None = None
    memory: str = "sam2"
    image_size: int | None = None
    zoom: Zoom = "auto"
    prefetch: bool = True
    cache_mb: float = DEFAULT_CACHE_MB
    known: ModelCard | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse an unknown model at once (`ModelError`), not when its card is shown."""
        if self.known is None or self.known.name != self.model:
            card = models.get(self.model)
            object.__setattr__(self, "known", card)
            # The folder's whole path, by which it is found among the others.
            object.__setattr__(self, "model", card.name)

    @property
    def card(self) -> ModelCard:
        """What the catalogue says of the model, or the card in its folder."""
        assert self.known is not None
        return self.known

    @property
    def has_memory(self) -> bool:
        """Whether the model carries a memory, and can be given frames of another size."""
        return self.card.family == "sam2"

    @property
    def network(self) -> Network:
        """The network that is wanted."""
        own = self.card.path if self.card.folder is not None else None
        weights = own if self.checkpoint is None else Path(self.checkpoint)
        return Network(
            self.model,
            self.device,
            self.precision,
            self.checkpoint,
            None if weights is None else _stamp(weights),
            self.image_size if self.has_memory else None,
        )

    def changed(self, **changes: Any) -> Settings:
        """Return a copy with other values."""
        return replace(self, **changes)


@dataclass(frozen=True)
class Network:
    """Which network, with which weights, in which form: equal ones are interchangeable.

    Attributes
    ----------
    model, device, precision, checkpoint, image_size
        As in `Settings`; a model with an input of fixed size has None.
    stamp : (int, int) or None
        Time and size of the checkpoint file, or of the weights in a model folder, by which a new
        one of the same name is known.
    """

    model: str
    device: str
    precision: str = "auto"
    checkpoint: str | None = None
    stamp: tuple[int, int] | None = None
    image_size: int | None = None


@dataclass(frozen=True)
class Recipe:
    """All that a session is made of; a session serves as long as its recipe stays equal.

    Volumes are compared by identity. `base` is the image alone, where `volume` has its channels and
    those of others: that is what prompts, labels and history belong to. The size of the cache
    (`cache_mb`, in MiB) makes no other session.
    """

    volume: Volume
    axis: int
    at: tuple[int, ...]
    network: Network
    memory: str
    window: WindowChoice
    channel: Channels
    level: int | None = None
    zoom: Zoom = "auto"
    base: Volume | None = None
    cache_mb: float = field(default=DEFAULT_CACHE_MB, compare=False)

    def looking_at(self, other: Recipe) -> Recipe:
        """Return this recipe with the frames of another one."""
        return replace(self, axis=other.axis, at=other.at)

    def has_same_frames(self, other: Recipe) -> bool:
        """Whether prompts, labels and history of one fit the other."""
        return self.has_same_image(other) and (self.axis, self.at) == (other.axis, other.at)

    def has_same_image(self, other: Recipe) -> bool:
        """Whether both are about the same image, whatever the channels that it is blended with."""
        own, its = (r.volume if r.base is None else r.base for r in (self, other))
        return own is its


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None  # loading says what is wrong with it
    return found.st_mtime_ns, found.st_size
