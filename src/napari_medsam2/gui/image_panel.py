"""Panel: which image, along which axis, seen how."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QMenu

from .layers import axis_letters, full_resolution
from .parts import Choice, Section, button
from .settings import WINDOWS
from .splitting import channel_axes
from .ticks import Ticks

if TYPE_CHECKING:
    from napari.layers import Image

    from .controller import Controller

__all__ = ["ImagePanel"]

_COLOURS = {None: "RGB", 0: "red", 1: "green", 2: "blue"}
_AXES = {"t": "t (time)", "z": "z", "y": "y", "x": "x", "c": "c (channels)"}


class ImagePanel(Section):
    """Image, axis and window; channels, colour and level where there are any."""

    def __init__(self, controller: Controller) -> None:
        super().__init__("Image")
        self._controller = controller
        self._bench = controller.bench
        self.image = Choice("The image layer to segment")
        self.axis = Choice(
            "The axis to propagate along: by default the one that the slider moves along, so turn "
            "the view (Ctrl+E) to work on other cuts"
        )
        self.colour = Choice("The colour to segment", _COLOURS)
        self.channels = Ticks(
            "Other channels that the model sees together with the image, as colours: tick the "
            "layers, say nuclei and membranes. They are laid over each other pixel by pixel, each "
            "with its own window"
        )
        self.split = button(
            "Split channels",
            "One axis of this image holds channels: put a layer for each in its place, then choose "
            "among them",
            self._split,
        )
        self.menu = QMenu(self)  # the axes to split at, where it is not clear which
        self.level = Choice(
            "The level of the pyramid that the model sees; results are always at full resolution. "
            "Automatic is the coarsest whose frames still have 1024 pixels on their shorter side, "
            "as much as any model takes in"
        )
        self.intensities = Choice(
            "Which intensities the model sees as black and white: found from the data, the "
            "contrast limits of the layer, or a CT preset (width/level in Hounsfield units)",
            WINDOWS,
        )
        self._form = self.form()
        for label, field in (
            ("Image", self.image),
            ("Channels", self.channels),
            ("Channels", self.split),
            ("Colour", self.colour),
            ("Along", self.axis),
            ("Window", self.intensities),
            ("Level", self.level),
        ):
            self._form.addRow(label, field)
        self.image.on_chosen(self._bench.use)
        for name, choice in (
            ("axis", self.axis),
            ("channel", self.colour),
            ("window", self.intensities),
            ("level", self.level),
        ):
            choice.on_chosen(partial(self._configure, name))
        self.channels.ticked.connect(lambda: controller.blend_channels(self.channels.chosen()))

    def refresh(self) -> None:
        """Show the present choices."""
        image = self._bench.image
        images = [(layer, layer.name) for layer in self._bench.images]
        self.image.show_choices(images or [(None, "open an image first")], image)
        self.image.setEnabled(bool(images))
        settings = self._bench.settings
        self.axis.show_choices(self._axes(image), settings.axis)
        self.axis.setEnabled(image is not None and image.ndim > 2)
        self.intensities.show_value(settings.window, _window_text(settings.window))
        self._refresh_channels(image)
        self._refresh_level(image)

    def _refresh_channels(self, image: Image | None) -> None:
        is_rgb = image is not None and bool(image.rgb)
        self._form.setRowVisible(self.colour, is_rgb)
        channel = self._bench.settings.channel
        self.colour.show_value(channel, str(channel))
        desk = self._bench.desk
        layers = [] if desk is None else desk.source.candidates()
        axes = () if image is None else channel_axes(image)
        must_split = image is not None and (image.ndim > 4 or "c" in (axis_letters(image) or ""))
        self._form.setRowVisible(self.channels, len(layers) > 1 and not must_split)
        self._form.setRowVisible(self.split, bool(axes))
        if desk is not None and len(layers) > 1:
            named = [(layer, layer.name) for layer in layers]
            self.channels.show_ticks(named, desk.source.layers, image)

    def _refresh_level(self, image: Image | None) -> None:
        desk, settings = self._bench.desk, self._bench.settings
        axis = None if desk is None else desk.axis(settings)
        shapes = [] if desk is None or axis is None else desk.source.frame_shapes(axis)
        self._form.setRowVisible(self.level, len(shapes) > 1)
        if desk is None or axis is None or not shapes:
            return
        sizes = [f"{n}: {width} x {height}" for n, (height, width) in enumerate(shapes)]
        automatic = f"Automatic ({sizes[desk.source.auto_level(axis)]})"
        chosen = None if settings.level is None else min(settings.level, len(shapes) - 1)
        self.level.show_choices([(None, automatic), *enumerate(sizes)], chosen)

    def _split(self) -> None:
        image = self._bench.image
        axes = () if image is None else channel_axes(image)
        if image is None or not axes:
            return
        if len(axes) == 1:
            self._split_at(axes[0])
            return
        self.menu.clear()
        for axis in axes:
            text = f"Axis {axis} ({int(full_resolution(image).shape[axis])} channels)"
            action = self.menu.addAction(text)
            assert action is not None
            action.triggered.connect(partial(self._split_at, axis))
        self.menu.popup(self.split.mapToGlobal(self.split.rect().bottomLeft()))

    def _split_at(self, axis: int, *_: Any) -> None:
        self._controller.split_channels(axis)

    def _configure(self, name: str, value: Any) -> None:
        self._bench.configure(**{name: value})

    def _axes(self, image: Image | None) -> list[tuple[Any, str]]:
        if image is None:
            return [(None, "–")]
        if image.ndim == 2:
            return [(None, "single image")]
        letters = self._letters(image)
        desk = self._bench.desk
        assert desk is not None
        slider = desk.axis(self._bench.settings.changed(axis=None))
        named = [_AXES.get(letter, letter) for letter in letters]
        return [(None, f"slider: {named[slider]}"), *enumerate(named)]

    def _letters(self, image: Image) -> list[str]:
        letters = axis_letters(image)
        if letters is not None:
            return list(letters)
        return list("tzyx"[-image.ndim :]) if image.ndim <= 4 else list(image.axis_labels)


def _window_text(window: str) -> str:
    """Return intensities as a person reads them: 0 to 900, and 5 to 60."""
    numbers = window.split(",")
    pairs = zip(numbers[::2], numbers[1::2], strict=False)
    return ", ".join(f"{low} to {high}" for low, high in pairs) or window
