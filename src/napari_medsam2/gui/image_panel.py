"""Panel: which image, along which axis, seen how."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from .parts import Choice, Section
from .settings import WINDOWS

if TYPE_CHECKING:
    from napari.layers import Image

    from .controller import Controller

__all__ = ["ImagePanel"]

_COLOURS = {None: "RGB", 0: "red", 1: "green", 2: "blue"}
_AXES = {"t": "t (time)", "z": "z", "y": "y", "x": "x"}


class ImagePanel(Section):
    """Image, axis, colour and window."""

    def __init__(self, controller: Controller) -> None:
        super().__init__("Image")
        self._bench = controller.bench
        self.image = Choice("The image layer to segment")
        self.axis = Choice(
            "The axis to propagate along: by default the one that the slider moves along, so turn "
            "the view (Ctrl+E) to work on other cuts"
        )
        self.channel = Choice("The colour to segment", _COLOURS)
        self.intensities = Choice(
            "Which intensities the model sees as black and white: found from the data, the "
            "contrast limits of the layer, or a CT preset (width/level in Hounsfield units)",
            WINDOWS,
        )
        self._form = self.form()
        for label, field in (
            ("Image", self.image),
            ("Along", self.axis),
            ("Colour", self.channel),
            ("Window", self.intensities),
        ):
            self._form.addRow(label, field)
        self.image.on_chosen(self._bench.use)
        for name, choice in (
            ("axis", self.axis),
            ("channel", self.channel),
            ("window", self.intensities),
        ):
            choice.on_chosen(partial(self._configure, name))

    def refresh(self) -> None:
        """Show the present choices."""
        image = self._bench.image
        images = [(layer, layer.name) for layer in self._bench.images]
        self.image.show_choices(images or [(None, "open an image first")], image)
        self.image.setEnabled(bool(images))
        settings = self._bench.settings
        self.axis.show_choices(self._axes(image), settings.axis)
        self.axis.setEnabled(image is not None and image.ndim > 2)
        is_rgb = image is not None and bool(image.rgb)
        self._form.setRowVisible(self.channel, is_rgb)
        self.channel.show_value(settings.channel, str(settings.channel))
        self.intensities.show_value(settings.window, settings.window.replace(",", " to "))

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
        labels = list(image.axis_labels)
        if len(set("".join(labels))) == image.ndim == len("".join(labels)):
            return labels
        return list("tzyx"[-image.ndim :]) if image.ndim <= 4 else labels
