"""What the model is shown of a viewer's layers: one image, or several as channels of one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image

from napari_medsam2.channels import join_channels, one_channel
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
        # Layers that are no channels of the image's own file. None is ever taken away: channels
        # keep their numbers, by which the history knows them.
        self._others: tuple[Image, ...] = ()
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
        arrays = self._present_arrays()
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
        numbers = tuple(self._number(layer) for layer in self.layers)
        return numbers[0] if len(numbers) == 1 else numbers

    def window(self, settings: Settings) -> str | tuple[float, ...]:
        """Return the choice of window; contrast limits of the layers as numbers."""
        if settings.window != "display":
            return settings.window
        limits: list[float] = []
        for layer in self.layers:
            if layer.rgb or layer.contrast_limits is None:
                return "auto"
            limits += (float(value) for value in layer.contrast_limits)
        return tuple(limits)

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
        wanted = {self.image, *layers}
        chosen = [layer for layer in self.candidates() if layer in wanted]
        known = (*self._others, *self._own_layers())
        self._others += tuple(layer for layer in chosen if layer not in known)
        before, self.layers = self.layers, tuple(sorted(chosen, key=self._number))
        return before != self.layers

    def forget(self, layer: Any) -> bool:
        """Do without a layer that was deleted; False if it was no channel."""
        if layer is self.image or layer not in self.layers:
            return False
        self.layers = tuple(other for other in self.layers if other is not layer)
        return True

    def adopt(self, volume: Volume, channel: Channels) -> None:
        """Take the volume of a session that was opened in place of one's own, which is its like."""
        if channel is not None and not self.image.rgb:
            numbers = (channel,) if isinstance(channel, int) else channel
            known = (*self._own_layers(), *self._others)
            self.blend(layer for layer in known if self._number(layer) in numbers)
        self._volume, self._arrays = volume, self._present_arrays()

    def _build(self) -> Volume:
        found = whole_of(self.image)
        if not self._others:
            return self.base() if found is None else found[0]
        own = [self.base()]
        if found is not None:
            own = [one_channel(found[0], i) for i in range(found[0].n_channels)]
        return join_channels([*own, *(volume_of(layer) for layer in self._others)])

    def _present_arrays(self) -> tuple[Any, ...]:
        return tuple(full_resolution(layer) for layer in (self.image, *self._others))

    def _own_layers(self) -> list[Image]:
        """Return the image and the other channels of its file."""
        found = whole_of(self.image)
        if found is None:
            return [self.image]
        others = ((layer, whole_of(layer)) for layer in self.candidates())
        return [layer for layer, own in others if own is not None and own[0] is found[0]]

    def _number(self, layer: Image) -> int:
        """Return which channel of the volume a layer is."""
        found = whole_of(self.image)
        if layer in self._others:
            n_own = 1 if found is None else found[0].n_channels
            return n_own + self._others.index(layer)
        own = whole_of(layer)
        return 0 if found is None or own is None else own[1]


def whole_of(image: Image) -> tuple[Volume, int] | None:
    """Return the volume of which an image layer is one channel, and which; None if it is none."""
    known = image.metadata.get(METADATA_KEY) or {}
    own, whole, channel = (known.get(name) for name in ("volume", "whole", "channel"))
    if not (isinstance(own, Volume) and isinstance(whole, Volume) and isinstance(channel, int)):
        return None
    return (whole, channel) if _shape(image) == own.shape == whole.label_shape else None


def _shape(image: Image) -> tuple[int, ...]:
    return tuple(int(n) for n in full_resolution(image).shape)
