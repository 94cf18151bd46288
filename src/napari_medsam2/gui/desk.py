"""All that belongs to one image: its prompt layers, its result layer, its session."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
from psygnal import Signal

from napari_medsam2.errors import PromptError
from napari_medsam2.prompts import PromptSet

from .adapters import FrameView
from .image_source import ImageSource
from .prompt_layers import PromptLayers
from .relay import relay
from .results import ResultLayer
from .sessions import SessionKeeper
from .settings import Recipe
from .views import current_frame, frame_axis, order_for, position, shows_frames

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari.components import ViewerModel
    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_medsam2.session import Session
    from napari_medsam2.volume import Volume

    from .sessions import ModelShelf
    from .settings import Settings

__all__ = ["Desk"]

_BETWEEN = 0.03  # seconds between two new layers, for the window to be drawn and listen


class Desk:
    """One image and the work on it.

    Parameters
    ----------
    viewer : ViewerModel
    image : Image
    shelf : ModelShelf
        Where sessions of several images share their model.
    make : callable
        Builds a session.
    """

    # A layer of ours was made.
    created = Signal(object)

    def __init__(
        self, viewer: ViewerModel, image: Image, shelf: ModelShelf, make: Callable[..., Session]
    ) -> None:
        self.viewer = viewer
        self.image = image
        self.results = ResultLayer(viewer, image)
        self.prompts = PromptLayers(viewer, image, lambda: self.results.layer)
        self.keeper = SessionKeeper(shelf, make)
        self.is_edited = False
        self._wants_results = False
        self._results_due: float | None = None
        self.source = ImageSource(viewer, image)
        self._axis: int | None = None
        self._written = PromptSet()
        self.prompts.edited.connect(self._on_edited)
        relay(self.prompts.created, self.created)
        relay(self.results.created, self.created)

    @property
    def session(self) -> Session | None:
        """The session as it is, None before the first use."""
        return self.keeper.session

    @property
    def view(self) -> FrameView:
        """How the session's frames lie in the layers."""
        assert self.keeper.session is not None
        return FrameView.of(self.keeper.session.stack)

    def volume(self) -> Volume:
        """Return the image as a volume, with the channels that it is blended with.

        Raises
        ------
        InputError
            If it cannot be one.
        """
        return self.source.volume()

    def axis(self, settings: Settings) -> int:
        """Return the axis that frames are taken along."""
        self._axis = frame_axis(self.viewer.dims, self.image, settings.axis, self._axis)
        return self._axis

    def open(self, settings: Settings) -> Session:
        """Return the session for these settings and the present view, with its prompts."""
        recipe = self._recipe(settings)
        labels, old = self.results.array(recipe.volume), self.keeper.session
        session, is_fresh = self.keeper.get(recipe, labels)
        if is_fresh:
            found = self.prompts.collect(self.view, session.prompts)
            session.set_prompts(found.prompts)
            if old is None or old.labels is not labels:
                self.keeper.begin_history()
            self._written = session.prompts
            self.is_edited = False
        return session

    def follow(self) -> None:
        """Show the frames that the session looks at, after undo or redo."""
        session = self.keeper.session
        assert session is not None
        self.keeper.follow()
        self.write_prompts()
        self._show_position(session)

    def adopt(self, session: Session, settings: Settings) -> None:
        """Go on with a session that was opened, its labels and its prompts."""
        self.source.adopt(session.volume, session.stack.channel)
        self.results.replace(session.labels)
        self.results.ensure(session.volume, self.source.layers)
        self._show_position(session)
        self.keeper.adopt(session, self._recipe(settings))
        self.keeper.follow()
        self.write_prompts()

    def read_prompts(self) -> tuple[frozenset[int], tuple[str, ...]]:
        """Bring session and prompt layers into line, whichever has changed.

        Returns
        -------
        frames : frozenset of int
            Where the layers' prompts have changed.
        problems : tuple of str
            What was left out, and why.
        """
        session = self.keeper.session
        assert session is not None
        if session.prompts is not self._written:
            # A script has spoken to the session itself: the layers follow.
            self.write_prompts()
            return frozenset(), ()
        if not self.is_edited or self.prompts.is_drawing:
            return frozenset(), ()
        self.is_edited = False
        before = session.prompts
        found = self.prompts.collect(self.view, before)
        problems = found.problems
        try:
            session.set_prompts(found.prompts)
        except PromptError as error:
            problems = (*problems, str(error))
        self._written = session.prompts
        return _changed_frames(before, session.prompts), problems

    def write_prompts(self) -> None:
        """Make the prompt layers show the session's prompts."""
        session = self.keeper.session
        assert session is not None
        elsewhere = {
            FrameView.at(session.volume.label_shape, view): prompts
            for view, prompts in session.elsewhere.items()
        }
        self.prompts.write(session.prompts, self.view, elsewhere)
        self._written = session.prompts
        self.is_edited = False

    def outlook(self, settings: Settings) -> tuple[Session, int] | None:
        """Return the session and the frame on show, to embed more frames around it.

        None if the model is not loaded, or if the view is at another place than the session: going
        there would end its history.
        """
        recipe, before = self._recipe(settings), self.keeper.recipe
        moved = before is not None and not before.has_same_frames(recipe)
        if moved or self.prompts.is_drawing or not self.keeper.has_model(recipe.network):
            return None
        session, frame = self.open(settings), self.shown_frame()
        return None if frame is None else (session, frame)

    def colour(self, object_id: int) -> NDArray[np.float32]:
        """Return the RGBA of an object, hidden or not."""
        ids = np.array([object_id], dtype=np.uint16)
        rgba: NDArray[np.float32] = np.asarray(self.results.colormap.map(ids), dtype=np.float32)[0]
        return rgba

    def hide(self, hidden: frozenset[int], known: Iterable[int]) -> None:
        """Show all objects and their prompts but some."""
        if self.results.hide(hidden, known):
            self.prompts.recolour()

    @property
    def wants_results(self) -> bool:
        """Whether the result layer is to be made soon."""
        return self._wants_results and not self.prompts.is_drawing

    def want_results(self) -> None:
        """Let the result layer be made soon.

        A new layer holds the window for a moment; two in a row would hold it twice as long, and the
        first would not be drawn until then.
        """
        self._wants_results = self.results.layer is None

    def show_wanted_results(self) -> bool:
        """Make the result layer if it is time to; return whether it was."""
        if not self.wants_results:
            return False
        if self._results_due is None:
            self._results_due = time.monotonic() + _BETWEEN
        if time.monotonic() < self._results_due:
            return False
        self.show_results()
        return True

    def show_results(self) -> None:
        """Make the result layer if there is none, and put all layers where the image is."""
        self._wants_results, self._results_due = False, None
        self.results.ensure(self.volume(), self.source.layers)
        self.results.align()
        self.prompts.align()

    def current_frame(self) -> int:
        """Return the frame on show (`InputError` if it is not one)."""
        return current_frame(self.viewer.dims, self.image, self.view)

    def shown_frame(self) -> int | None:
        """Return the frame on show, None if the view cuts across frames."""
        view = self.view
        if not shows_frames(self.viewer.dims, self.image, view):
            return None
        return 0 if view.axis is None else position(self.viewer.dims, self.image, view.axis)

    def touch(self, frames: Iterable[int]) -> None:
        """Note that the labels of frames have changed."""
        self.results.touch(frames, self.shown_frame())

    def touch_all(self) -> None:
        """Note that labels may have changed anywhere."""
        self.results.touch((), None)

    def close(self) -> None:
        """Let go of the layers, which stay in the viewer."""
        self.prompts.close()

    def _recipe(self, settings: Settings) -> Recipe:
        volume = self.volume()
        axis = self.axis(settings)
        others = [i for i in range(self.image.ndim) if i != axis][:-2]
        return Recipe(
            volume=volume,
            axis=axis,
            at=tuple(position(self.viewer.dims, self.image, i) for i in others),
            network=settings.network,
            memory=settings.memory if settings.has_memory else "sam2",
            window=self.source.window(settings),
            channel=self.source.channel(settings),
            level=self.source.level(settings),
            zoom=settings.zoom,
            base=self.source.base(),
            cache_mb=settings.cache_mb,
        )

    def _show_position(self, session: Session) -> None:
        """Turn the viewer to the frames of a session."""
        view, dims = FrameView.of(session.stack), self.viewer.dims
        offset = dims.ndim - self.image.ndim
        corner = [0] * self.image.ndim
        for axis, at in view.fixed:
            corner[axis] = at
        world = self.image.data_to_world(corner)
        for axis, _ in view.fixed:
            dims.set_point(axis + offset, world[axis])
        if view.axis is not None and {i - offset for i in dims.displayed} != {*view.plane}:
            dims.order = order_for(dims, self.image, view)

    def _on_edited(self) -> None:
        self.is_edited = True


def _changed_frames(before: PromptSet, after: PromptSet) -> frozenset[int]:
    if before is after:
        return frozenset()
    frames = {*before.frames, *after.frames}
    return frozenset(f for f in frames if _on(before, f) != _on(after, f))


def _on(prompts: PromptSet, frame: int) -> list[tuple[int, Any]]:
    return [(o.id, o.on(frame)) for o in prompts.objects if o.on(frame)]
