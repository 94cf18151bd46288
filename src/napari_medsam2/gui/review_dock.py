"""The dock of the review strip, below the canvas of a real window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from psygnal import Signal
from qtpy.compat import isalive
from qtpy.QtCore import Qt
from qtpy.QtWidgets import QDockWidget, QMainWindow

from .review_panel import ReviewPanel

if TYPE_CHECKING:
    from napari.components import ViewerModel

    from .controller import Controller

__all__ = ["TITLE", "ReviewDock"]

TITLE = "MedSAM2 review"


class ReviewDock:
    """Opens and closes the strip; does nothing for a viewer without a window.

    Parameters
    ----------
    viewer : ViewerModel
    controller : Controller
    """

    # It was opened or closed.
    changed = Signal()

    def __init__(self, viewer: ViewerModel, controller: Controller) -> None:
        self._viewer, self._controller = viewer, controller
        self._panel: ReviewPanel | None = None
        self._is_wanted = True
        self._is_closed = False

    @property
    def panel(self) -> ReviewPanel | None:
        """What is in the dock, None while it is closed."""
        return self._panel

    @property
    def is_open(self) -> bool:
        """Whether the strip can be seen."""
        dock = self._dock()
        return dock is not None and not dock.isHidden()

    @property
    def can_open(self) -> bool:
        """Whether there is a window, and an image with several slices."""
        has_window = getattr(self._viewer, "window", None) is not None
        return has_window and not self._is_closed and self._controller.review.n_frames > 1

    def refresh(self) -> None:
        """Open the strip the first time that there is something to show."""
        if self._is_wanted and self._panel is None and self.can_open:
            self.open()

    def open(self) -> None:
        """Show the strip below the canvas."""
        if self._panel is None and self.can_open:
            self._is_wanted = False  # from now on a person decides
            panel = self._panel = ReviewPanel(self._controller)
            panel.undocked.connect(self._on_undocked)
            window: Any = self._viewer.window
            dock = window.add_dock_widget(
                panel, name=TITLE, area="bottom", allowed_areas=["bottom", "top"]
            )
            dock.visibilityChanged.connect(self._on_visible)
            _put_below(dock)
        elif (dock := self._dock()) is not None:
            dock.show()
        self.changed.emit()

    def close(self) -> None:
        """Take the strip out of the window; `open` brings it back."""
        dock, window = self._dock(), getattr(self._viewer, "window", None)
        # A window that is closing has let go of its Qt window, and takes the dock along.
        main = getattr(window, "_qt_window", None)
        if window is not None and dock is not None and main is not None and _is_alive(main):
            window.remove_dock_widget(dock)

    def shut_down(self) -> None:
        """Close for good."""
        self._is_closed = True
        dock = self._dock()
        if self._panel is not None:
            self._panel.close_down()
            self.close()
        window = None if dock is None else dock.parentWidget()
        if isinstance(window, QMainWindow):
            window.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.BottomDockWidgetArea)

    # Inside

    def _dock(self) -> QDockWidget | None:
        """Return the dock that is around the panel."""
        panel = self._panel
        if panel is None or not _is_alive(panel):
            return None
        dock = panel.parentWidget()
        return dock if isinstance(dock, QDockWidget) else None

    def _on_undocked(self) -> None:
        panel, self._panel = self._panel, None
        if panel is not None:
            panel.close_down()
            panel.deleteLater()
            self.changed.emit()

    def _on_visible(self, *_: Any) -> None:
        self.changed.emit()


def _is_alive(thing: Any) -> bool:
    return bool(isalive(thing))  # type: ignore[no-untyped-call]


def _put_below(dock: QDockWidget) -> None:
    """Put the dock below what else is at the bottom (napari's console), and beside ours.

    The panels at the right keep the whole height of the window: on a small screen they need it.
    """
    window = dock.parentWidget()
    assert isinstance(window, QMainWindow)
    window.setCorner(Qt.Corner.BottomRightCorner, Qt.DockWidgetArea.RightDockWidgetArea)
    others = [
        other
        for other in window.findChildren(QDockWidget)
        if other is not dock and window.dockWidgetArea(other) == window.dockWidgetArea(dock)
    ]
    if others:
        window.splitDockWidget(others[-1], dock, Qt.Orientation.Vertical)
