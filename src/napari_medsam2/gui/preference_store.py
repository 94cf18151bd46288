"""Preferences in napari's own settings, where they have a page of their own."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from psygnal import Signal

from . import notify
from .preferences import Preferences, checked

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["PreferenceStore"]

PLUGIN = "napari-medsam2"


class PreferenceStore:
    """Reads and writes preferences; without napari's settings they last as long as the window.

    Attributes
    ----------
    preferences : Preferences
        As they are now.
    problems : tuple of str
        What is wrong with values that are there and cannot be used.
    """

    # The preferences before and after: somebody else has changed them.
    changed = Signal(object, object)
    # A value that somebody else has set cannot be used: see `problems`, and `warn` before long.
    troubled = Signal()

    def __init__(self) -> None:
        self._warned: set[str] = set()
        self._is_writing = False
        self._settings = _plugin_settings()
        self.problems: tuple[str, ...] = ()
        self.preferences = self._load()
        self.warn()
        if self._settings is not None:
            self._settings.events.changed.connect(self._on_changed)

    def save(self, **changes: Any) -> None:
        """Remember other values, by name."""
        before = self.preferences
        self.preferences = before.changed(**changes)
        if self._settings is None:
            return
        self._is_writing = True
        try:
            for name, value in before.differences(self.preferences).items():
                self._write(name, value)
        finally:
            self._is_writing = False

    def warn(self) -> None:
        """Say each problem once.

        Not done while somebody types in napari's dialog, which tells every letter.
        """
        for problem in self.problems:
            self._warn(problem)

    def close(self) -> None:
        """Follow napari's settings no longer."""
        if self._settings is not None:
            self._settings.events.changed.disconnect(self._on_changed)
            self._settings = None

    def _write(self, name: str, value: Any) -> None:
        if name == "keys":
            self._settings.keys.update(dict(value))
            return
        try:
            setattr(self._settings.general, name, value)
        except ValueError as error:
            self._warn(f"setting {name} = {value!r} cannot be remembered ({_brief(error)})")

    def _load(self, otherwise: Preferences | None = None) -> Preferences:
        if self._settings is None:
            return Preferences()
        preferences, self.problems = checked(_values(self._settings), otherwise)
        return preferences

    def _warn(self, problem: str) -> None:
        if problem not in self._warned:
            self._warned.add(problem)
            notify.warn(problem)

    def _on_changed(self, event: Any) -> None:
        if self._is_writing:
            return
        before = self.preferences
        self.preferences = self._load(before)
        if self.problems:
            self.troubled.emit()
        if before != self.preferences:
            self.changed.emit(before, self.preferences)


def _plugin_settings() -> Any:
    """Return napari's settings of this plugin, None if there are none."""
    try:
        from napari.settings import get_plugin_settings

        with _manifests_as_they_are():
            return get_plugin_settings(PLUGIN)
    except (ImportError, KeyError):
        # An older napari, or a plugin that was not installed but put on the path.
        return None
    except Exception as error:
        # napari builds the settings of all plugins at once: one that is broken breaks ours.
        notify.warn(f"napari's plugin settings cannot be read ({_brief(error)}): defaults are used")
        return None


@contextmanager
def _manifests_as_they_are() -> Iterator[None]:
    """Keep npe2 from reading the manifests of all plugins again, which napari has just done.

    Parsing them takes a tenth of a second of the window's time.
    """
    from npe2 import PluginManager

    manager = PluginManager.instance()
    if PLUGIN not in manager:
        yield
        return
    manager.discover = lambda *_, **__: 0  # type: ignore[method-assign]
    try:
        yield
    finally:
        del manager.discover


def _values(settings: Any) -> Mapping[str, Any]:
    general: Mapping[str, Any] = settings.general.model_dump()
    return {**general, "keys": settings.keys.model_dump()}


def _brief(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
