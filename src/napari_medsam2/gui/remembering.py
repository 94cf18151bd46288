"""Preferences at work: applied when the widget opens, followed and kept while it is open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psygnal import Signal

from .preference_store import PreferenceStore
from .relay import relay

if TYPE_CHECKING:
    from .controller import Controller
    from .preferences import Preferences

__all__ = ["Remembering"]

# The preferences that are settings of the bench, under the same names.
_OF_THE_BENCH = ("model", "device", "precision", "prefetch", "cache_mb")


class Remembering:
    """Keeps a controller and the preferences in line.

    Parameters
    ----------
    controller : Controller
        Gets what was remembered at once.
    store : PreferenceStore, optional
        napari's settings by default.
    """

    # Preferences were changed, in the widget or in napari's dialog.
    changed = Signal(object)
    # Something in the dialog cannot be used, or not yet: `warn` once it has rested.
    troubled = Signal()

    def __init__(self, controller: Controller, store: PreferenceStore | None = None) -> None:
        self._controller = controller
        self._store = PreferenceStore() if store is None else store
        self._store.changed.connect(self._on_changed)
        relay(self._store.troubled, self.troubled)
        self._apply({name: getattr(self.preferences, name) for name in _OF_THE_BENCH})
        controller.segment_while_drawing = self.preferences.segment_while_drawing
        self._apply_autosave()

    @property
    def preferences(self) -> Preferences:
        """The preferences as they are now."""
        return self._store.preferences

    def remember(self, **changes: Any) -> None:
        """Keep what a person has chosen in the widget; what is no preference is left out."""
        known = {name: value for name, value in changes.items() if hasattr(self.preferences, name)}
        before = self.preferences
        self._store.save(**known)
        if self.preferences != before:
            self._apply_autosave()
            self.changed.emit(self.preferences)

    def warn(self) -> None:
        """Say what cannot be used of the preferences, each thing once."""
        self._store.warn()

    def close(self) -> None:
        """Follow the preferences no longer."""
        self._store.changed.disconnect(self._on_changed)
        self._store.close()

    def _on_changed(self, before: Preferences, after: Preferences) -> None:
        changes = before.differences(after)
        self._apply({name: changes[name] for name in _OF_THE_BENCH if name in changes})
        if "segment_while_drawing" in changes:
            self._controller.segment_while_drawing = after.segment_while_drawing
        self._apply_autosave()
        self._controller.changed.emit()
        self.changed.emit(after)

    def _apply(self, changes: dict[str, Any]) -> None:
        self._controller.bench.configure(**changes)

    def _apply_autosave(self) -> None:
        preferences = self.preferences
        self._controller.autosaver.configure(preferences.autosave, preferences.autosave_seconds)
