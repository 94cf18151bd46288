"""How long it takes from a click on an embedded slice to the mask in the result layer.

A real window with the widget; the slice on show is embedded before the clock starts, as the widget
does by itself while nothing else is to be done. Points are clicked with the mouse (for models that
take them), boxes are added as napari adds them on release. The clock starts with the event and
stops when the label array has changed; the second number is when the layer was redrawn.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/preview_latency.py

Exits with 1 if the median of any model is above the limit.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

MODELS = ("litemedsam-track", "litemedsam")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", action="append", help=f"by default {' and '.join(MODELS)}")
    parser.add_argument("--clicks", type=int, default=12)
    parser.add_argument("--zoom", type=int, default=1, help="enlarge the slices of 192 x 192")
    parser.add_argument("--limit", type=float, default=150.0, help="milliseconds")
    options = parser.parse_args()

    import napari

    from napari_medsam2.io.samples import phantom

    volume, truth = phantom()
    frame = len(truth) // 2
    image, truth = (
        np.asarray(a).repeat(options.zoom, axis=1).repeat(options.zoom, axis=2)
        for a in (volume.data, truth)
    )
    viewer = napari.Viewer()
    viewer.window._qt_window.resize(1280, 800)
    viewer.add_image(image, name="phantom", scale=volume.spacing)
    viewer.dims.set_current_step(0, frame)
    _, widget = viewer.window.add_plugin_dock_widget("napari-medsam2", "MedSAM2")
    controller = widget.controller
    medians = []
    for name in options.model or MODELS:
        for info in controller.objects:
            controller.remove_object(info.id)
        controller.bench.configure(model=name)
        takes_points = controller.tools.takes_points
        embed(controller, frame)
        rest(0.3)
        times = []
        for number in range(options.clicks):
            controller.new_object()
            said = click if takes_points else box
            at = inside(truth[frame], 1 + number % 4, number)
            times.append(measure(viewer, controller, frame, lambda s=said, a=at: s(viewer, a)))
            controller.wait(30)
        masks, shown = (np.array(column) * 1e3 for column in zip(*times, strict=True))
        medians.append(statistics.median(masks))
        what = "clicks" if takes_points else "boxes"
        print(
            f"{name:<18}{len(times)} {what} on {image.shape[1:]}:  mask in the layer: median "
            f"{np.median(masks):5.0f}, worst {masks.max():5.0f} ms;  on the screen: median "
            f"{np.median(shown):5.0f}, worst {shown.max():5.0f} ms",
            flush=True,
        )
    viewer.close()
    over = max(medians) > options.limit
    print(f"longest median {max(medians):.0f} ms (limit {options.limit:g} ms)")
    return int(over)


def embed(controller: Any, frame: int) -> None:
    """Load the model and embed the slice, as the widget does in the background."""
    session = controller.session
    session.encoder(frame)
    controller.bench.desk.keeper.shelve()
    controller.look_ahead()
    controller.lookahead.wait(600)


def rest(seconds: float) -> None:
    """Let the window live for a while."""
    from qtpy.QtWidgets import QApplication

    ends = time.perf_counter() + seconds
    while time.perf_counter() < ends:
        QApplication.processEvents()
        time.sleep(0.005)


def inside(truth: np.ndarray, organ: int, seed: int) -> tuple[int, int]:
    places = np.argwhere(truth == organ)
    y, x = places[np.random.default_rng(seed).integers(len(places))]
    return int(y), int(x)


def click(viewer: Any, place: tuple[int, int]) -> None:
    from qtpy.QtCore import QPoint, Qt
    from qtpy.QtTest import QTest

    image = viewer.layers["phantom"]
    _, y, x = image.data_to_world((viewer.dims.current_step[0], *place))
    _, cy, cx = viewer.scene.camera.center
    canvas, zoom = viewer.window._qt_viewer.canvas.native, viewer.scene.camera.zoom
    size = canvas.size()
    where = QPoint(
        round((x - cx) * zoom + size.width() / 2), round((y - cy) * zoom + size.height() / 2)
    )
    QTest.mouseClick(canvas, Qt.MouseButton.LeftButton, pos=where)


def box(viewer: Any, place: tuple[int, int]) -> None:
    frame, (y, x), side = viewer.dims.current_step[0], place, 14
    corners = [(-side, -side), (-side, side), (side, side), (side, -side)]
    layer = viewer.layers["phantom boxes"]
    layer.add_rectangles(np.array([[frame, y + dy - 0.5, x + dx - 0.5] for dy, dx in corners]))


def measure(
    viewer: Any, controller: Any, frame: int, say: Callable[[], None]
) -> tuple[float, float]:
    """Return the seconds from the event to the labels, and to the refreshed layer."""
    from qtpy.QtWidgets import QApplication

    controller.use_tool("point" if controller.tools.takes_points else "box")
    rest(0.2)  # as a hand does that has just pressed N for a new object
    labels = controller.session.labels[frame]
    object_id = controller.tools.object_id
    results = controller.bench.desk.results
    started = time.perf_counter()
    say()
    written = None
    while time.perf_counter() - started < 30:
        QApplication.processEvents()
        if written is None and (labels == object_id).any():
            written = time.perf_counter()
        if written is not None and not results.is_stale:
            break
        time.sleep(0.0005)
    if written is None:
        viewer.close()
        raise SystemExit(f"no mask came: {controller.last_error or 'the answer was empty'}")
    return written - started, time.perf_counter() - started


if __name__ == "__main__":
    sys.exit(main())
