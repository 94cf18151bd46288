"""The result layer of one image, refreshed no more often than the screen and the GUI can bear."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import DirectLabelColormap
from psygnal import Signal

from .layers import (
    add_behind_selection,
    align,
    existing,
    label_colormap,
    labels_name,
    new_labels,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.components import ViewerModel
    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_medsam2.volume import Volume

__all__ = ["ResultLayer"]

_GREY, _CLEAR = (0.5, 0.5, 0.5, 1.0), (0.0, 0.0, 0.0, 0.0)
_INTERVAL = 0.08  # seconds between two refreshes
_SHARE = 0.1  # of the GUI thread's time that refreshes may take


class ResultLayer:
    """Labels that share their memory with a session.

    Sessions write into the array; `touch` says on which frames, and `refresh` shows it, in good
    time and only where it can be seen. Assigning pixels through the layer would take seconds on a
    large volume and fill its undo history.

    Parameters
    ----------
    viewer : ViewerModel
    image : Image
    """

    # The layer was made.
    created = Signal(object)

    def __init__(self, viewer: ViewerModel, image: Image) -> None:
        self.viewer = viewer
        self.image = image
        self.layer: Labels | None = None
        self._array: NDArray[Any] | None = None
        # The colours of the layer while some objects are hidden, which take those away.
        self._colours: Any = None
        self._hidden: tuple[frozenset[int], frozenset[int]] | None = None
        self._is_stale = False
        self._not_before = 0.0

    def array(self, volume: Volume) -> NDArray[Any]:
        """Return the label array of the image: that of its result layer, or a new one."""
        if self.layer is None:
            found = existing(self.viewer, labels_name(self.image), Labels)
            if found is not None and _serves(found, volume):
                self.layer = found
        if self.layer is not None and _serves(self.layer, volume):
            self._array = self.layer.data
        elif self._array is None or self._array.shape != volume.label_shape:
            self._array = np.zeros(volume.label_shape, dtype=np.uint16)
        assert self._array is not None
        return self._array

    def ensure(self, volume: Volume, blended: Iterable[Image] = ()) -> Labels:
        """Return the result layer; if there is none, make it above the image and its channels."""
        array = self.array(volume)
        if self.layer is None:
            layer = new_labels(self.image, array, volume)
            add_behind_selection(self.viewer, layer)
            self.layer = layer
            # Right above the image, so that prompts stay on top.
            self._move_above((self.image, *blended))
            self.created.emit(layer)
        return self.layer

    def rise(self, blended: Iterable[Image]) -> None:
        """Lie above other channels, too, which would tint the masks."""
        images = (self.image, *blended)
        if self.layer is not None and self._top(images) > self.viewer.layers.index(self.layer):
            self._move_above(images)

    def _move_above(self, images: Iterable[Image]) -> None:
        layers = self.viewer.layers
        layers.move(layers.index(self.layer), self._top(images) + 1)

    def _top(self, images: Iterable[Image]) -> int:
        """Return the place of the uppermost of some images."""
        layers = self.viewer.layers
        return max(int(layers.index(image)) for image in images)

    def replace(self, array: NDArray[Any]) -> None:
        """Show another array of the same shape, as a session that was opened brings it."""
        self._array = array
        if self.layer is not None:
            self.layer.data = array

    @property
    def colormap(self) -> Any:
        """The colours of objects, hidden or not."""
        if self._colours is not None:
            return self._colours
        return label_colormap() if self.layer is None else self.layer.colormap

    def hide(self, hidden: frozenset[int], known: Iterable[int]) -> bool:
        """Show all objects but some; return whether that changed anything.

        Parameters
        ----------
        hidden : frozenset of int
        known : iterable of int
            All objects that may be in the layer; others are grey while some are hidden.
        """
        if self.layer is None:
            return False
        if not hidden:
            if self._colours is None:
                return False
            self.layer.colormap, self._colours = self._colours, None
            return True
        ids = frozenset({*known, *hidden})
        if self._colours is not None and (hidden, ids) == self._hidden:
            return False
        self._colours, self._hidden = self.colormap, (hidden, ids)
        table: dict[int | None, Any] = {None: _GREY, 0: _CLEAR}
        for i in sorted(ids):
            table[i] = _CLEAR if i in hidden else self._colours.map(i)
        self.layer.colormap = DirectLabelColormap(color_dict=table)
        return True

    def align(self) -> None:
        """Put the layer where the image is."""
        if self.layer is not None:
            align(self.layer, self.image)

    def forget(self, layer: Any) -> bool:
        """Let go of the layer if this is it, with its labels."""
        if layer is not self.layer:
            return False
        self.layer = self._colours = None
        self._array = None
        return True

    def touch(self, frames: Iterable[int], shown: int | None) -> None:
        """Note that frames have changed; `shown` is the one on the screen, None for all."""
        if shown is None or shown in frames:
            self._is_stale = True

    @property
    def is_stale(self) -> bool:
        """Whether the screen does not yet show the labels."""
        return self._is_stale

    def refresh(self, *, now: bool = False) -> None:
        """Show the labels if the screen is stale and the last refresh long enough ago."""
        started = time.monotonic()
        if self.layer is None or not self._is_stale or (started < self._not_before and not now):
            return
        self._is_stale = False
        self.layer.refresh(extent=False, highlight=False, thumbnail=False)
        finished = time.monotonic()
        # In 3D one refresh of a large volume takes seconds: let the user work in between.
        self._not_before = finished + max(_INTERVAL, (finished - started) / _SHARE)


def _serves(layer: Labels, volume: Volume) -> bool:
    data = layer.data
    return (
        isinstance(data, np.ndarray)
        and data.dtype.kind == "u"
        and data.shape == volume.label_shape
        and data.flags.writeable
    )
