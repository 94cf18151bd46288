"""Tooltips that name the keys in use, where a person has chosen others than the usual ones."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from qtpy.QtCore import QEvent, QObject
from qtpy.QtGui import QHelpEvent
from qtpy.QtWidgets import QToolTip, QWidget

from .preferences import DEFAULT_KEYS, told_key

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["KeyTips", "with_keys"]

_IN_BRACKETS = re.compile(r" \(([^()\s]+)\)")


def with_keys(tip: str, keys: Mapping[str, str]) -> str:
    """Return a tip whose usual keys, in brackets, are replaced by those in use."""
    actions = {told_key(key): action for action, key in DEFAULT_KEYS.items()}

    def replaced(found: re.Match[str]) -> str:
        action = actions.get(found[1])
        if action is None:
            return found[0]
        return f" ({told_key(keys[action])})" if keys[action] else ""

    return _IN_BRACKETS.sub(replaced, tip)


class KeyTips(QObject):
    """Shows the tips of a widget's parts with the keys in use.

    Parameters
    ----------
    window : QWidget
        The tips of all that is in it are watched.
    """

    def __init__(self, window: QWidget) -> None:
        super().__init__(window)
        self._window = window
        self._keys: Mapping[str, str] = DEFAULT_KEYS

    def show_keys(self, keys: Mapping[str, str]) -> None:
        """Use these keys from now on; with the usual ones nothing has to be watched."""
        self._keys = keys
        for part in self._window.findChildren(QWidget):
            part.removeEventFilter(self)
            if keys != DEFAULT_KEYS:
                part.installEventFilter(self)

    def eventFilter(self, part: QObject | None, event: QEvent | None) -> bool:
        """Show a tip that names keys in place of the part's own."""
        if isinstance(part, QWidget) and isinstance(event, QHelpEvent):
            tip = with_keys(part.toolTip(), self._keys)
            if event.type() == QEvent.Type.ToolTip and tip != part.toolTip():
                QToolTip.showText(event.globalPos(), tip, part)
                return True
        return False
