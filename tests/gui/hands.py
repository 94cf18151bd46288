"""Mouse and keys on the canvas of a real window."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
from qtpy.QtGui import QMouseEvent
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QApplication, QScrollArea

if TYPE_CHECKING:
    from collections.abc import Sequence

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


def push(widget: Any, button: Any, qtbot: Any) -> None:
    """Click a button of the dock widget, having scrolled to it."""
    widget.findChild(QScrollArea).ensureWidgetVisible(button)
    click(button, qtbot)


def settle(viewer: Viewer) -> None:
    """Let docks that were just added take their place from the canvas."""
    sizes: list[Any] = []
    while len(sizes) < 4 or sizes[-1] != sizes[-2]:
        QApplication.processEvents()
        sizes.append(canvas(viewer).size())


def drag(viewer: Viewer, qtbot: Any, start: tuple[float, float], end: tuple[float, float]) -> None:
    """Press, move and release the left mouse button on the canvas, as a hand does."""
    settle(viewer)
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


def spot(viewer: Viewer, layer: Any, place: Any) -> tuple[float, float]:
    """Where a place of a layer, in its pixels, is in the displayed plane of the world."""
    world = layer.data_to_world(place)
    y, x = (float(world[axis]) for axis in viewer.dims.displayed[-2:])
    return y, x


def spot_of(viewer: Viewer, layer: Any, place: Any) -> tuple[float, float]:
    """As `spot`, also for a layer with fewer axes than the viewer, whose last ones it has."""
    world = layer.data_to_world(place)
    offset = viewer.dims.ndim - layer.ndim
    y, x = (float(world[axis - offset]) for axis in viewer.dims.displayed[-2:])
    return y, x


def go_to(viewer: Viewer, layer: Any, place: Any) -> None:
    """Move the sliders so that a place of a layer, in its pixels, is on show."""
    world = layer.data_to_world(place)
    offset = viewer.dims.ndim - layer.ndim
    for axis in viewer.dims.not_displayed:
        if axis >= offset:
            viewer.dims.set_point(axis, world[axis - offset])


def stroke(
    viewer: Viewer,
    qtbot: Any,
    path: Sequence[tuple[float, float]],
    modifier: Any = Qt.KeyboardModifier.NoModifier,
) -> None:
    """Press, move along a path of the displayed plane (in world units) and release."""
    settle(viewer)
    none, left = Qt.MouseButton.NoButton, Qt.MouseButton.LeftButton
    first = pixel(viewer, *path[0])
    send(viewer, QEvent.Type.MouseMove, first, none, none, modifier)
    send(viewer, QEvent.Type.MouseButtonPress, first, left, left, modifier)
    for place in path[1:]:

        def has_followed(place: tuple[float, float] = place) -> bool:
            # Moves in quick succession are dropped on the way, so they are sent until one arrives.
            send(viewer, QEvent.Type.MouseMove, pixel(viewer, *place), none, left, modifier)
            at = [viewer.cursor.position[axis] for axis in viewer.dims.displayed[-2:]]
            return bool(np.allclose(at, place, atol=1.5 / viewer.scene.camera.zoom))

        qtbot.waitUntil(has_followed)
    last = pixel(viewer, *path[-1])
    send(viewer, QEvent.Type.MouseButtonRelease, last, left, none, modifier)


def send(
    viewer: Viewer,
    kind: Any,
    where: QPoint,
    button: Any,
    buttons: Any,
    modifier: Any = Qt.KeyboardModifier.NoModifier,
) -> None:
    native = canvas(viewer)
    place = QPointF(where)
    everywhere = QPointF(native.mapToGlobal(where))
    event = QMouseEvent(kind, place, everywhere, button, buttons, modifier)
    QApplication.sendEvent(native, event)


def press(viewer: Viewer, key: Any, modifier: Any = Qt.KeyboardModifier.NoModifier) -> None:
    QTest.keyClick(canvas(viewer), key, modifier)


def click(push: Any, qtbot: Any) -> None:
    """Click on a button once it is there to be clicked on."""
    qtbot.waitUntil(lambda: push.isVisible() and push.isEnabled(), timeout=10_000)
    QTest.mouseClick(push, Qt.MouseButton.LeftButton)
