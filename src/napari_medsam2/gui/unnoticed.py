"""How much is loaded and made without the window standing still for it."""

from __future__ import annotations

import gc
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Undisturbed", "sparing_the_old", "unnoticed"]

# Seconds after which a thread that computes lets the window's thread go on; Python's own 0.005 add
# up when the window needs many turns for one answer.
_TURN = 0.001

_NEVER = 1_000_000_000

_lock = threading.Lock()
_within = 0
_before = (False, 0.0)


@contextmanager
def unnoticed() -> Iterator[None]:
    """Let the window live while much is made that will stay; a decorator too.

    Imports, a widget and a network are so many objects that Python would look through all of
    napari's for garbage, several times, and the window stands still for a tenth of a second and
    more each time. Here Python does not look meanwhile, and afterwards what was made counts as
    looked at. Threads take shorter turns. Several may be within at once.
    """
    _enter()
    try:
        yield
    finally:
        _leave()


@contextmanager
def sparing_the_old() -> Iterator[None]:
    """Let a look for garbage that somebody asks for go by what was there before.

    napari asks for one with each layer that is removed, a third of a second. What it does not look
    at now it will look at when it does so by itself.
    """
    if gc.get_freeze_count():
        yield
        return
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class Undisturbed:
    """A time in which Python does not look through all objects for garbage, begun and ended.

    With napari and torch in a process that takes a third of a second, in which nothing is drawn or
    heard. What is young is still looked at; the rest has to wait until no run is under way.
    """

    _open = 0
    _threshold = (0, 0, 0)

    def __init__(self) -> None:
        self._is_on = False

    def begin(self) -> None:
        """Begin, if it has not begun."""
        with _lock:
            if self._is_on:
                return
            self._is_on = True
            if Undisturbed._open == 0:
                Undisturbed._threshold = gc.get_threshold()
                gc.set_threshold(*Undisturbed._threshold[:2], _NEVER)
            Undisturbed._open += 1

    def end(self) -> None:
        """End, if it has begun."""
        with _lock:
            if not self._is_on:
                return
            self._is_on = False
            Undisturbed._open -= 1
            if Undisturbed._open == 0:
                gc.set_threshold(*Undisturbed._threshold)


def _enter() -> None:
    global _within, _before
    with _lock:
        if _within == 0:
            _before = gc.isenabled(), sys.getswitchinterval()
            gc.disable()
            sys.setswitchinterval(min(_TURN, _before[1]))
        _within += 1


def _leave() -> None:
    global _within
    with _lock:
        _within -= 1
        if _within:
            return
        was_on, turn = _before
        sys.setswitchinterval(turn)
        if not was_on:
            return
        # Both together move all objects to the oldest generation without a look at them. What
        # another program has frozen for good must stay so.
        if not gc.get_freeze_count():
            gc.freeze()
            gc.unfreeze()
        gc.enable()
