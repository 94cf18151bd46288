"""Which image is worked on, with which settings; follows the layers of the viewer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Image
from psygnal import Signal

from napari_medsam2.errors import InputError
from napari_medsam2.io.layers import image_layers

from .desk import Desk
from .image_source import whole_of
from .relay import relay
from .sessions import ModelShelf
from .settings import Settings
from .splitting import split_channels

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

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
    # The settings before and after `configure`.
    configured = Signal(object, object)
    # The prompts in the layers were edited; a shape or point is about to be added.
    edited = Signal(bool)
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
    def desks(self) -> tuple[Desk, ...]:
        """The desks of all images that were in use, in the viewer still."""
        return tuple(self._desks.values())

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
        before, settings = self.settings, self.settings.changed(**changes)
        if settings != before:
            self.settings = settings
            self.configured.emit(before, settings)
            self.changed.emit()

    def restore(self, kept: Settings | tuple[Image, ...]) -> None:
        """Go back to earlier settings, or to the layers that were blended, as undo does."""
        if isinstance(kept, tuple):
            self.require_desk().source.blend(kept)
        else:
            self.settings = kept
        self.changed.emit()

    def require_desk(self) -> Desk:
        """Return the desk in use (`InputError` if there is no image)."""
        if self.desk is None:
            raise InputError("there is no image: open or choose one first")
        return self.desk

    def follow(self) -> None:
        """Show the frames that the session in use looks at, after undo or redo."""
        desk = self.require_desk()
        session = desk.session
        if session is None:
            return
        axis = session.stack.view.axis
        if self.settings.axis not in (None, axis):
            # Else the session would be turned back to the axis that was chosen.
            self.settings = self.settings.changed(axis=axis)
        desk.follow()
        if axis is not None and desk.axis(self.settings) != axis:
            self.settings = self.settings.changed(axis=axis)
        self.changed.emit()

    def adopt(self, session: Session) -> None:
        """Go on with a session that was opened; its image is shown if there is none."""
        if self.desk is None:
            for data, kwargs, _ in image_layers(session.volume):
                self.viewer.add_image(data, **kwargs)
        self.use(self._home(session))
        chosen = session.settings
        window, channel = chosen["window"], session.stack.channel
        self.settings = self.settings.changed(
            model=chosen["model"],
            axis=chosen["axis"] if len(session.volume.label_axes) > 2 else None,
            window=window if isinstance(window, str) else ",".join(f"{v:g}" for v in window),
            channel=channel if session.volume.has_colour else None,
            level=chosen["level"],
            zoom=chosen["zoom"],
            **{name: chosen[name] for name in _OF_THE_MODEL},
        )
        self.require_desk().adopt(session, self.settings)
        self.changed.emit()

    def blend(self, layers: Iterable[Image]) -> bool:
        """Let the model see layers as channels of the image in use, which is always one of them.

        Returns
        -------
        bool
            False if it does so already.

        Raises
        ------
        InputError
            If there is no image.
        """
        desk = self.require_desk()
        changed = desk.source.blend(layers)
        if changed:
            desk.results.rise(desk.source.layers)
            self._reset_window()
            self.changed.emit()
        return changed

    def split(self, axis: int) -> None:
        """Put a layer for each entry of an axis of channels in the place of the image in use.

        Raises
        ------
        InputError
            If there is no image, or its other axes are too many.
        """
        layers = split_channels(self.viewer, self.require_desk().image, axis)
        self.use(layers[0])

    def close(self) -> None:
        """Let go of the viewer."""
        for event, slot in self._watched:
            event.disconnect(slot)
        for desk in self._desks.values():
            desk.close()
        self._desks.clear()
        self.desk = None

    def _home(self, session: Session) -> Image | None:
        """Return the layer that a session is to be on: that in use, or a channel beside it."""
        image, channel = self.image, session.stack.channel
        own = None if image is None else whole_of(image)
        if own is None or channel is None or own[0].shape != session.volume.shape:
            return image
        numbers = (channel,) if isinstance(channel, int) else channel
        if own[1] in numbers:
            return image
        beside = ((layer, whole_of(layer)) for layer in self.images)
        return next((layer for layer, found in beside if found == (own[0], numbers[0])), image)

    def _reset_window(self) -> None:
        """Do without intensities that were given for each of other channels."""
        if self.settings.window.count(",") > 1:
            self.settings = self.settings.changed(window="auto")

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
            if desk.source.forget(layer) and desk is self.desk:
                self._reset_window()
                self.changed.emit()
            desk.prompts.forget(layer)
            if desk.results.forget(layer) and desk is self.desk:
                self.leaving.emit()
                self.changed.emit()
