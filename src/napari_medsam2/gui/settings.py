"""What the widget lets a person choose, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from napari_medsam2.models import DEFAULT_MODEL
from napari_medsam2.windows import CT_PRESETS

if TYPE_CHECKING:
    from napari_medsam2.volume import Volume
    from napari_medsam2.windows import WindowChoice

__all__ = ["DEVICES", "WINDOWS", "Recipe", "Settings"]

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


@dataclass(frozen=True)
class Settings:
    """The choices of the widget.

    Attributes
    ----------
    model : str
        A name of the catalogue.
    axis : int or None
        The axis to propagate along, by index among the axes of the image layer; None follows the
        slider of the present view.
    window : str
        A key of `WINDOWS`, or "low,high".
    device : str
        A key of `DEVICES`, or "cuda:N".
    channel : int or None
        The colour to segment of an RGB image; None uses all three.
    """

    model: str = DEFAULT_MODEL
    axis: int | None = None
    window: str = "auto"
    device: str = "auto"
    channel: int | None = None

    def changed(self, **changes: Any) -> Settings:
        """Return a copy with other values."""
        return replace(self, **changes)


@dataclass(frozen=True)
class Recipe:
    """All that a session is made of; a session serves as long as its recipe stays equal.

    Volumes are compared by identity.
    """

    volume: Volume
    axis: int
    at: tuple[int, ...]
    model: str
    window: WindowChoice
    device: str
    channel: int | None

    def has_same_frames(self, other: Recipe) -> bool:
        """Whether prompts, labels and history of one fit the other."""
        return (self.volume, self.axis, self.at) == (other.volume, other.axis, other.at)
