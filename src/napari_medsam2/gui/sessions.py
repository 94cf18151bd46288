"""Sessions as the widget needs them: rebuilt when a choice changes what a session is."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_medsam2.session import Session

from .unnoticed import unnoticed

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from napari_medsam2.models.base import Segmenter

    from .settings import Network, Recipe

__all__ = ["ModelShelf", "SessionKeeper"]


class ModelShelf:
    """The model that was loaded last, for the next session that wants the same."""

    def __init__(self) -> None:
        self._held: tuple[Network, Segmenter] | None = None

    def put(self, network: Network, session: Session) -> None:
        """Keep the model of a session, if it has loaded one."""
        if session.has_model:
            self._held = network, session.model

    def lend(self, network: Network, session: Session) -> None:
        """Give a session the model, if it is the one it would load; may be called in the thread."""
        held = self._held
        if not session.has_model and held is not None and held[0] == network:
            session.use_model(held[1])

    def holds(self, network: Network) -> bool:
        """Whether a model is there, loaded."""
        return self._held is not None and self._held[0] == network

    def load(self, network: Network) -> None:
        """Load a model ahead of the first session that wants it; called in the thread."""
        from napari_medsam2 import models
        from napari_medsam2.models.device import choose_device

        if self._held is None:
            checkpoint = network.checkpoint
            with unnoticed():
                model = models.build(
                    network.model,
                    device=choose_device(network.device),
                    checkpoint=None if checkpoint is None else Path(checkpoint),
                    precision=network.precision,
                    image_size=network.image_size,
                )
            self._held = network, model


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
        if old is not None:
            old.cache.resize(recipe.cache_mb)
        if old is not None and before is not None and old.labels is labels:
            if before == recipe:
                return old, False
            if before.looking_at(recipe) == recipe:
                old.turn(recipe.axis, recipe.at)
                self.recipe = recipe
                return old, True
        new = self._make(
            recipe.volume,
            model=recipe.network.model,
            axis=recipe.axis,
            window=recipe.window,
            device=recipe.network.device,
            checkpoint=recipe.network.checkpoint,
            image_size=recipe.network.image_size,
            precision=recipe.network.precision,
            memory=recipe.memory,
            cache=recipe.cache_mb,
            at=recipe.at,
            channel=recipe.channel,
            level=recipe.level,
            zoom=recipe.zoom,
            labels=labels,
        )
        needs_prompts = True
        if old is not None and before is not None:
            self._shelf.put(before.network, old)
            if before.volume is recipe.volume:
                new.cache = old.cache
            if before.has_same_image(recipe) and old.labels is labels:
                new.take_over(old)
                needs_prompts = not before.has_same_frames(recipe)
        self._shelf.lend(recipe.network, new)
        self.session, self.recipe = new, recipe
        return new, needs_prompts

    def adopt(self, session: Session, recipe: Recipe) -> None:
        """Go on with a session that was opened from a file."""
        self._shelf.lend(recipe.network, session)
        session.cache.resize(recipe.cache_mb)
        self.session, self.recipe = session, recipe

    def follow(self) -> None:
        """Note that the session looks at other frames now, after undo or redo."""
        if self.session is not None and self.recipe is not None:
            view = self.session.stack.view
            axis = self.recipe.axis if view.axis is None else view.axis
            self.recipe = replace(self.recipe, axis=axis, at=view.at)

    def shelve(self) -> None:
        """Let other sessions have the model that this one has loaded."""
        if self.session is not None and self.recipe is not None:
            self._shelf.put(self.recipe.network, self.session)

    def has_model(self, network: Network) -> bool:
        """Whether a session for a network need not load it."""
        own = self.session is not None and self.session.has_model
        if own and self.recipe is not None and self.recipe.network == network:
            return True
        return self._shelf.holds(network)

    def lender(self) -> Callable[[], None]:
        """Return what gives the present session its model, if the shelf has it by then."""
        assert self.session is not None
        assert self.recipe is not None
        return partial(self._shelf.lend, self.recipe.network, self.session)

    def begin_history(self) -> None:
        """Make the present prompts the ones that undo cannot take back."""
        if self.session is not None:
            self.session.begin_history()
