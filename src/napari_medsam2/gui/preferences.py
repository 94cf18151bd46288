"""What the widget remembers from one day to the next, as plain values that are always good.

A value that is broken or unknown falls back to its default, with a sentence that names it.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any

from napari.utils.key_bindings import coerce_keybinding

from napari_medsam2 import models
from napari_medsam2.errors import MedSAM2Error
from napari_medsam2.models import DEFAULT_MODEL
from napari_medsam2.tracking.embeddings import DEFAULT_CACHE_MB

from .actions import ACTIONS
from .settings import DEVICES, PRECISIONS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["DEFAULT_KEYS", "MAX_CACHE_MB", "Preferences", "checked", "told_key"]

# Action, and its key as napari writes it; "" is none.
DEFAULT_KEYS: dict[str, str] = {name: action.key for name, action in ACTIONS.items()}

MAX_CACHE_MB = 262_144
_AUTOSAVE = (5, 60)
_SPOKEN = {"Control": "Ctrl", "Meta": "Cmd", "Escape": "Esc"}


@dataclass(frozen=True)
class Preferences:
    """The choices that outlive a window.

    Attributes
    ----------
    model : str
        A name of the catalogue, or the path of a model folder.
    device, precision : str
        Keys of `settings.DEVICES` and `settings.PRECISIONS`.
    cache_mb : int
        Memory for embeddings, in MiB.
    segment_while_drawing : bool
        Whether a slice is segmented as soon as a prompt is drawn on it.
    prefetch : bool
        Whether frames are embedded before they are asked for.
    autosave : bool
        Whether the session is written in the background.
    autosave_seconds : int
        How often, 5 to 60.
    show_hints : bool
        Whether the first steps are shown when the widget opens.
    keys : mapping of str to str
        Action to key, as napari writes it ("Control-Z"); "" is no key. No two are the same.
    """

    model: str = DEFAULT_MODEL
    device: str = "auto"
    precision: str = "auto"
    cache_mb: int = int(DEFAULT_CACHE_MB)
    segment_while_drawing: bool = True
    prefetch: bool = True
    autosave: bool = True
    autosave_seconds: int = 60
    show_hints: bool = True
    keys: Mapping[str, str] = field(default_factory=lambda: dict(DEFAULT_KEYS))

    def changed(self, **changes: Any) -> Preferences:
        """Return a copy with other values."""
        return replace(self, **changes)

    def differences(self, other: Preferences) -> dict[str, Any]:
        """Return what another one has different, by name."""
        return {
            f.name: getattr(other, f.name)
            for f in fields(self)
            if getattr(self, f.name) != getattr(other, f.name)
        }


def checked(
    values: Mapping[str, Any], otherwise: Preferences | None = None
) -> tuple[Preferences, tuple[str, ...]]:
    """Turn values from outside into preferences.

    Parameters
    ----------
    values : mapping
        By name; what is missing or unknown has its default.
    otherwise : Preferences, optional
        What to use in place of values that cannot be used; by default the defaults. Keys always
        fall back to the usual ones.

    Returns
    -------
    Preferences
    problems : tuple of str
        A sentence for each value that could not be used.
    """
    spare = asdict(otherwise or Preferences())
    good: dict[str, Any] = {}
    problems = []
    for name, is_good in _CHECKS.items():
        if name not in values:
            continue
        wrong = is_good(values[name])
        if wrong is None:
            good[name] = values[name]
        else:
            good[name] = spare[name]
            problems.append(f"setting {name} = {values[name]!r} {wrong}; {spare[name]!r} is used")
    keys, clashes = _checked_keys(values.get("keys", {}))
    return Preferences(**good, keys=keys), (*problems, *clashes)


def told_key(key: str) -> str:
    """Return a key as people write it: "Ctrl+Shift+Z"."""
    *modifiers, last = key[:-1].split("-") if key.endswith("-") else key.split("-")
    last = "-" if key.endswith("-") else last
    return "+".join(_SPOKEN.get(part, part) for part in (*modifiers, last) if part)


def _one_of(choices: Mapping[str, str]) -> Callable[[Any], str | None]:
    def wrong(value: Any) -> str | None:
        return None if value in choices else f"is none of {', '.join(choices)}"

    return wrong


def _between(low: int, high: int) -> Callable[[Any], str | None]:
    def wrong(value: Any) -> str | None:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return None if whole and low <= value <= high else f"is no whole number {low} to {high}"

    return wrong


def _truth(value: Any) -> str | None:
    return None if isinstance(value, bool) else "is neither true nor false"


def _known_model(value: Any) -> str | None:
    if not isinstance(value, str):
        return "is no name of a model"
    try:
        models.get(value)
    except MedSAM2Error as error:
        return f"cannot be used ({error})"
    return None


_CHECKS: dict[str, Callable[[Any], str | None]] = {
    "model": _known_model,
    "device": _one_of(DEVICES),
    "precision": _one_of(PRECISIONS),
    "cache_mb": _between(0, MAX_CACHE_MB),
    "segment_while_drawing": _truth,
    "prefetch": _truth,
    "autosave": _truth,
    "autosave_seconds": _between(*_AUTOSAVE),
    "show_hints": _truth,
}


def _checked_keys(values: Mapping[str, Any]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return a key for every action, and what is wrong with the keys that were wanted."""
    problems = []
    wanted = dict(DEFAULT_KEYS)
    for action, default in DEFAULT_KEYS.items():
        key = values.get(action, default)
        if isinstance(key, str) and (not key or _is_key(key)):
            wanted[action] = key
        else:
            problems.append(
                f"setting keys.{action} = {key!r} is no key as napari writes it, such as "
                f"Control-Shift-B; {default!r} is used"
            )
    # Who keeps the usual key comes first, so that a new key cannot take it away; who loses a key
    # comes last, so that it takes none that was asked for.
    owners: dict[str, str] = {}
    losers = []
    for action in sorted(wanted, key=lambda a: wanted[a] != DEFAULT_KEYS[a]):
        key = wanted[action]
        if key and owners.setdefault(_code(key), action) != action:
            losers.append(action)
    for action in losers:
        key, default = wanted[action], DEFAULT_KEYS[action]
        owner = owners[_code(key)]
        is_free = default and owners.setdefault(_code(default), action) == action
        wanted[action] = default if is_free else ""
        problems.append(
            f"setting keys.{action} = {key!r} is the key of {owner} already; "
            f"{wanted[action]!r} is used"
        )
    return wanted, tuple(problems)


def _is_key(text: str) -> bool:
    try:
        parts = coerce_keybinding(text).parts
    except (ValueError, KeyError, IndexError):
        return False
    # Chords of two keys are left to napari; "UNKNOWN" is its answer to nonsense.
    return len(parts) == 1 and parts[0].key.name not in ("UNKNOWN", *_MODIFIERS)


def _code(key: str) -> str:
    return str(coerce_keybinding(key))


_MODIFIERS = ("Ctrl", "Alt", "Shift", "Meta")
