"""Mouse and keys on the canvas of a real window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication

if TYPE_CHECKING:
    from napari.viewer import Viewer


def canvas(viewer: Viewer) -> Any:
    return viewer.window._qt_viewer.canvas.native


def pixel(viewer: Viewer, y: float, x: float) -> QPoint:
    """Where a place of the displayed plane (in world units) is on the canvas."""
    size = canvas(viewer).size()
    _, cy, cx = viewer.scene.camera.center
    zoom = viewer.scene.camera.zoom
    return QPoint(
        round((x - cx) * zoom + size.width() / 2), round((y - cy) * zoom + size.height() / 2)
    )


def drag(viewer: Viewer, qtbot: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Press, move and release the left mouse button on the canvas, as a hand does."""
    # A dock that was just added has yet to take its place from the canvas.
    QApplication.processEvents()
    layer = viewer.layers.selection.active
    first, last = pixel(viewer, *start), pixel(viewer, *end)
    none, left = Qt.MouseButton.NoButton, Qt.MouseButton.LeftButton
    send(viewer, QEvent.Type.MouseMove, first, none, none)
    send(viewer, QEvent.Type.MouseButtonPress, first, left, left)
    before = layer.data[-1].max(axis=0)

    def has_followed() -> bool:
        # Moves in quick succession are dropped on the way, so they are sent until one arrives.
        send(viewer, QEvent.Type.MouseMove, last, none, left)
        return bool((layer.data[-1].max(axis=0)[1:] > before[1:] + 1).all())

    qtbot.waitUntil(has_followed)
    send(viewer, QEvent.Type.MouseButtonRelease, last, left, none)


def send(viewer: Viewer, kind: Any, where: QPoint, button: Any, buttons: Any) -> None:
    native = canvas(viewer)
    place = QPointF(where)
    everywhere = QPointF(native.mapToGlobal(where))
    event = QMouseEvent(kind, place, everywhere, button, buttons, Qt.KeyboardModifier.NoModifier)
    QApplication.sendEvent(native, event)


def press(viewer: Viewer, key: Any, modifier: Any = Qt.KeyboardModifier.NoModifier) -> None:
    QTest.keyClick(canvas(viewer), key, modifier)


def click(push: Any, qtbot: Any) -> None:
    """Click on a button once it is there to be clicked on."""
    qtbot.waitUntil(lambda: push.isVisible() and push.isEnabled(), timeout=10_000)
    QTest.mouseClick(push, Qt.MouseButton.LeftButton)
