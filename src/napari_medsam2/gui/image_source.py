"""What the model is shown of a viewer's layers: one image, or several as channels of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image

from napari_medsam2.channels import join_channels
from napari_medsam2.levels import auto_level
from napari_medsam2.volume import Volume

from .layers import METADATA_KEY, full_resolution, volume_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.components import ViewerModel

    from napari_medsam2.channels import Channels

    from .settings import Settings

__all__ = ["ImageSource", "whole_of"]


class ImageSource:
    """The pixels of one image, with those of the layers that are blended with it.

    Parameters
    ----------
    viewer : ViewerModel
    image : Image
    """

    def __init__(self, viewer: ViewerModel, image: Image) -> None:
        self.viewer = viewer
        self.image = image
        # The image among them, in the order of the channels.
        self.layers: tuple[Image, ...] = (image,)
        self._volume: Volume | None = None
        self._arrays: tuple[Any, ...] = ()
        self._base: Volume | None = None
        self._base_array: Any = None

    def base(self) -> Volume:
        """Return the image alone as a volume (`InputError` if it cannot be one)."""
        array = full_resolution(self.image)
        if self._base is None or array is not self._base_array:
            self._base, self._base_array = volume_of(self.image), array
        return self._base

    def volume(self) -> Volume:
        """Return the volume whose channels the layers are; the image alone if it is no channel."""
        arrays = tuple(full_resolution(layer) for layer in self.layers)
        known = len(arrays) == len(self._arrays) and all(
            a is b for a, b in zip(arrays, self._arrays, strict=True)
        )
        if self._volume is None or not known:
            self._volume, self._arrays = self._build(), arrays
        return self._volume

    def channel(self, settings: Settings) -> Channels:
        """Return which channels of the volume the model sees."""
        if self.image.rgb:
            return settings.channel
        if "c" not in self.volume().axes:
            return None
        numbers = self._numbers() or tuple(range(len(self.layers)))
        return numbers[0] if len(numbers) == 1 else numbers

    def window(self, settings: Settings) -> str | tuple[float, ...]:
        """Return the choice of window; contrast limits of the layers as numbers."""
        if settings.window != "display":
            return settings.window
        limits = [None if layer.rgb else layer.contrast_limits for layer in self.layers]
        if any(pair is None for pair in limits):
            return "auto"
        return tuple(float(value) for pair in limits for value in pair)

    def level(self, settings: Settings) -> int | None:
        """Return the level that the model sees, None for the one by default."""
        n = len(self.volume().levels)
        return None if settings.level is None else min(settings.level, n)

    def frame_shapes(self, axis: int) -> list[tuple[int, int]]:
        """Return (height, width) of the frames along an axis at every level, the full one first."""
        if not self.image.multiscale:
            return []
        y, x = [i for i in range(self.image.ndim) if i != axis or self.image.ndim == 2][-2:]
        return [(int(level.shape[y]), int(level.shape[x])) for level in self.image.data]

    def auto_level(self, axis: int) -> int:
        """Return the level by default of the frames along an axis."""
        return auto_level(self.frame_shapes(axis))

    def candidates(self) -> list[Image]:
        """Return the layers that could be channels of the image, the image among them."""
        if self.image.rgb:
            return []
        shape = _shape(self.image)
        return [
            layer
            for layer in self.viewer.layers
            if isinstance(layer, Image) and not layer.rgb and _shape(layer) == shape
        ]

    def blend(self, layers: Iterable[Image]) -> bool:
        """Let the model see these layers as channels of the image; False if it does already."""
        wanted = set(layers)
        chosen = tuple(
            layer for layer in self.candidates() if layer in wanted or layer is self.image
        )
        changed = set(chosen) != set(self.layers)
        if changed:
            self.layers = chosen
        return changed

    def forget(self, layer: Any) -> bool:
        """Do without a layer that was deleted; False if it was no channel."""
        if layer is self.image or layer not in self.layers:
            return False
        self.layers = tuple(other for other in self.layers if other is not layer)
        return True

    def adopt(self, volume: Volume, channel: Channels) -> None:
        """Take the volume of a session that was opened in place of one's own, which is its like."""
        whole = whole_of(self.image)
        if whole is not None and volume.shape == whole[0].shape and channel is not None:
            numbers = (channel,) if isinstance(channel, int) else channel
            self.blend(layer for layer in self.candidates() if _number(layer, whole[0]) in numbers)
        self._volume = volume
        self._arrays = tuple(full_resolution(layer) for layer in self.layers)

    def _build(self) -> Volume:
        found = whole_of(self.image)
        if found is not None and self._numbers():
            return found[0]
        if len(self.layers) == 1:
            return self.base()
        return join_channels([volume_of(layer) for layer in self.layers])

    def _numbers(self) -> tuple[int, ...]:
        """Return the layers' channels of the volume that all were read from, () if they were not.

        Such a volume, unlike one that is put together here, knows its file.
        """
        found = whole_of(self.image)
        if found is None:
            return ()
        numbers = [_number(layer, found[0]) for layer in self.layers]
        return () if None in numbers else tuple(n for n in numbers if n is not None)


def whole_of(image: Image) -> tuple[Volume, int] | None:
    """Return the volume of which an image layer is one channel, and which; None if it is none."""
    known = image.metadata.get(METADATA_KEY) or {}
    own, whole, channel = (known.get(name) for name in ("volume", "whole", "channel"))
    if not (isinstance(own, Volume) and isinstance(whole, Volume) and isinstance(channel, int)):
        return None
    return (whole, channel) if _shape(image) == own.shape == whole.label_shape else None


def _number(layer: Image, whole: Volume) -> int | None:
    found = whole_of(layer)
    return found[1] if found is not None and found[0] is whole else None


def _shape(image: Image) -> tuple[int, ...]:
    return tuple(int(n) for n in full_resolution(image).shape)
