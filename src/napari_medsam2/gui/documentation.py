"""The way to the documentation, from the window."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, metadata
from typing import TYPE_CHECKING

from qtpy.QtCore import Qt, QUrl
from qtpy.QtGui import QDesktopServices
from qtpy.QtWidgets import QToolButton

from .notify import warn

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["HelpButton", "docs_url", "open_docs"]

_WANTED = ("Documentation", "Homepage")
_SIDE = 20
_ROUND = f"""
QToolButton {{
    background: rgba(128, 128, 128, 70); border: none; margin: 0;
    min-width: {_SIDE}px; max-width: {_SIDE}px; min-height: {_SIDE}px; max-height: {_SIDE}px;
    padding: 0; border-radius: {_SIDE // 2}px; font-weight: bold;
}}
"""


def docs_url() -> str | None:
    """Return the address of the documentation that the installed package states, None if none."""
    try:
        stated = metadata("napari-medsam2").get_all("Project-URL") or []
    except PackageNotFoundError:
        return None
    urls = dict(_pairs(stated))
    return next((urls[name] for name in _WANTED if name in urls), None)


def open_docs() -> bool:
    """Open the documentation in the browser; a warning tells its address if that fails."""
    url = docs_url()
    if url is None:
        warn("the installed package does not say where its documentation is; see the README")
        return False
    if not QDesktopServices.openUrl(QUrl(url)):
        warn(f"no browser could be opened; the documentation is at {url}")
        return False
    return True


class HelpButton(QToolButton):
    """A round ? that opens the documentation."""

    def __init__(self) -> None:
        super().__init__()
        self.setText("?")
        self.setToolTip(f"Open the documentation in the browser: {docs_url() or 'see the README'}")
        self.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.setStyleSheet(_ROUND)
        self.clicked.connect(lambda *_: open_docs())


def _pairs(stated: Iterable[str]) -> Iterable[tuple[str, str]]:
    for line in stated:
        name, _, url = line.partition(",")
        yield name.strip(), url.strip()
