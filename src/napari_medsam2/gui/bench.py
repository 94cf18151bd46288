"""Which image is worked on, with which settings; follows the layers of the viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image
from psygnal import Signal

from napari_medsam2.errors import InputError
from napari_medsam2.io.layers import image_layers

from .desk import Desk
from .relay import relay
from .sessions import ModelShelf
from .settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.components import ViewerModel

    from napari_medsam2.session import Session

__all__ = ["Bench"]

_OF_THE_MODEL = ("precision", "checkpoint", "memory", "image_size")


class Bench:
    """A desk for each image of the viewer, one of them in use.

    Parameters
    ----------
    viewer : ViewerModel
    make_session : callable
        Builds a session.
    """

    # The desk in use is about to be left, or has lost its labels.
    leaving = Signal()
    # Images, settings, layers or the choice among them are not what they were.
    changed = Signal()
    # The prompts in the layers were edited; a shape or point is about to be added.
    edited = Signal()
    begun = Signal()
    # A layer of ours was made.
    layer_created = Signal(object)

    def __init__(self, viewer: ViewerModel, make_session: Callable[..., Session]) -> None:
        self.viewer = viewer
        self.desk: Desk | None = None
        self.settings = Settings()
        self._make = make_session
        self.shelf = ModelShelf()
        self._desks: dict[Image, Desk] = {}
        events = viewer.layers.events
        self._watched = (
            (events.inserted, self._on_inserted),
            (events.removed, self._on_removed),
        )
        for event, slot in self._watched:
            event.connect(slot)
        active = viewer.layers.selection.active
        images = self.images
        self.use(active if active in images else (images[-1] if images else None))

    @property
    def images(self) -> list[Image]:
        """The image layers of the viewer."""
        return [layer for layer in self.viewer.layers if isinstance(layer, Image)]

    @property
    def image(self) -> Image | None:
        """The image in use."""
        return None if self.desk is None else self.desk.image

    @property
    def layers(self) -> tuple[Any, ...]:
        """The prompt and result layers of the image in use."""
        if self.desk is None:
            return ()
        result = self.desk.results.layer
        return (*self.desk.prompts.layers, *(() if result is None else (result,)))

    def use(self, image: Image | None) -> None:
        """Change to an image."""
        if image is self.image:
            return
        if self.desk is not None:
            self.leaving.emit()
            self.desk.keeper.shelve()
            self.desk.prompts.rest()
        if image is not None and image not in self._desks:
            desk = Desk(self.viewer, image, self.shelf, self._make)
            relay(desk.prompts.edited, self.edited)
            relay(desk.prompts.begun, self.begun)
            relay(desk.created, self.layer_created)
            self._desks[image] = desk
        self.desk = None if image is None else self._desks[image]
        self.changed.emit()

    def configure(self, **changes: Any) -> None:
        """Change settings by name."""
        settings = self.settings.changed(**changes)
        if settings != self.settings:
            self.settings = settings
            self.changed.emit()

    def require_desk(self) -> Desk:
        """Return the desk in use (`InputError` if there is no image)."""
        if self.desk is None:
            raise InputError("there is no image: open or choose one first")
        return self.desk

    def adopt(self, session: Session) -> None:
        """Go on with a session that was opened; its image is shown if there is none."""
        if self.desk is None:
            data, kwargs, _ = image_layers(session.volume)[0]
            self.viewer.add_image(data, **kwargs)
        chosen = session.settings
        window = chosen["window"]
        self.configure(
            model=chosen["model"],
            axis=chosen["axis"] if len(session.volume.label_axes) > 2 else None,
            window=window if isinstance(window, str) else f"{window[0]:g},{window[1]:g}",
            channel=chosen["channel"],
            **{name: chosen[name] for name in _OF_THE_MODEL},
        )
        self.require_desk().adopt(session, self.settings)
        self.changed.emit()

    def close(self) -> None:
        """Let go of the viewer."""
        for event, slot in self._watched:
            event.disconnect(slot)
        for desk in self._desks.values():
            desk.close()
        self._desks.clear()
        self.desk = None

    def _on_inserted(self, event: Any) -> None:
        if isinstance(event.value, Image):
            if self.desk is None:
                self.use(event.value)
            else:
                self.changed.emit()

    def _on_removed(self, event: Any) -> None:
        layer = event.value
        gone = self._desks.get(layer) if isinstance(layer, Image) else None
        if gone is not None:
            if gone is self.desk:
                images = self.images
                self.use(images[-1] if images else None)
            gone.close()
            del self._desks[layer]
            self.changed.emit()
        for desk in self._desks.values():
            desk.prompts.forget(layer)
            if desk.results.forget(layer) and desk is self.desk:
                self.leaving.emit()
                self.changed.emit()
