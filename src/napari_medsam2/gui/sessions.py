"""Sessions as the widget needs them: rebuilt when a choice changes what a session is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_medsam2.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_medsam2.models.base import Segmenter

    from .settings import Recipe

__all__ = ["ModelShelf", "SessionKeeper"]


class ModelShelf:
    """The model that was loaded last, for the next session that wants the same."""

    def __init__(self) -> None:
        self._held: tuple[tuple[str, str], Segmenter] | None = None

    def put(self, session: Session) -> None:
        """Keep the model of a session, if it has loaded one."""
        if session.has_model:
            self._held = (session.model_name, session.device_name), session.model

    def lend(self, session: Session) -> None:
        """Give a session the model, if it is the one it would load; may be called in the thread."""
        held = self._held
        key = (session.model_name, session.device_name)
        if not session.has_model and held is not None and held[0] == key:
            session.use_model(held[1])

    def holds(self, session: Session) -> bool:
        """Whether a session need not load its model."""
        key = (session.model_name, session.device_name)
        return session.has_model or (self._held is not None and self._held[0] == key)

    def load(self, model: str, device: str) -> None:
        """Load a model ahead of the first session that wants it; called in the thread."""
        from napari_medsam2 import models
        from napari_medsam2.models.device import choose_device

        if self._held is None:
            self._held = (model, device), models.build(model, device=choose_device(device))


class SessionKeeper:
    """Holds the session of one image for the present choices.

    A new session takes over from the old one what still holds: the label array, the loaded model,
    the embeddings and, where the frames are the same, prompts, scores and history.

    Parameters
    ----------
    shelf : ModelShelf
    make : callable
        Builds a session; `Session` itself but in tests.
    """

    def __init__(self, shelf: ModelShelf, make: Callable[..., Session] = Session) -> None:
        self._shelf = shelf
        self._make = make
        self.session: Session | None = None
        self.recipe: Recipe | None = None

    def get(self, recipe: Recipe, labels: NDArray[Any]) -> tuple[Session, bool]:
        """Return the session of a recipe, and whether it still lacks the prompts of its frames."""
        old, before = self.session, self.recipe
        if old is not None and before == recipe and old.labels is labels:
            return old, False
        new = self._make(
            recipe.volume,
            model=recipe.model,
            axis=recipe.axis,
            window=recipe.window,
            device=recipe.device,
            at=recipe.at,
            channel=recipe.channel,
            labels=labels,
        )
        needs_prompts = True
        if old is not None and before is not None:
            self._shelf.put(old)
            if before.volume is recipe.volume:
                new.cache = old.cache
            if before.has_same_frames(recipe) and old.labels is labels:
                new.take_over(old)
                needs_prompts = False
        self._shelf.lend(new)
        self.session, self.recipe = new, recipe
        return new, needs_prompts

    def adopt(self, session: Session, recipe: Recipe) -> None:
        """Go on with a session that was opened from a file."""
        self._shelf.lend(session)
        self.session, self.recipe = session, recipe

    def shelve(self) -> None:
        """Let other sessions have the model that this one has loaded."""
        if self.session is not None:
            self._shelf.put(self.session)

    def begin_history(self) -> None:
        """Make the present prompts the ones that undo cannot take back."""
        if self.session is not None:
            self.session.begin_history()
