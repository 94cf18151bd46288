"""Take the pictures of the documentation from a real window: docs/images/napari-*.png.

    python scripts/screenshots.py                 on a desktop
    xvfb-run -a -s "-screen 0 1600x1000x24" python scripts/screenshots.py

Everything in them is real: the samples that come with the package and with scikit-image, boxes and
clicks as a person would give them, LiteMedSAM's own masks.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import napari

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
SIZE = (1440, 860)
SLICE = 20
# Boxes on slice 20 of the phantom, (y0, x0, y1, x1), drawn a little larger than the organ.
ORGANS = {
    1: ("liver", (56, 30, 123, 84)),
    2: ("spleen", (88, 145, 131, 163)),
    3: ("left kidney", (101, 119, 131, 146)),
}
# The same and one more on a coronal slice, (z0, x0, z1, x1).
CORONAL = 108
CORONAL_ORGANS = {
    1: ("liver", (10, 32, 36, 81)),
    2: ("spleen", (12, 144, 39, 164)),
    3: ("left kidney", (7, 120, 30, 145)),
    4: ("right kidney", (5, 47, 27, 72)),
}
# Glands of scikit-image's stained section.
GLANDS = [(303, 248, 510, 388), (0, 272, 298, 464)]
# Middles of galaxies, (y, x), in its Hubble deep field of 872 x 1000 pixels.
GALAXIES = [
    *((473, 726), (440, 514), (716, 423), (402, 420)),
    *((738, 773), (358, 485), (597, 498), (406, 580)),
]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=IMAGES)
    parser.add_argument("only", nargs="*", choices=[[], *PICTURES], help="default: all")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        from napari.settings import get_settings

        os.environ["NAPARI_MEDSAM2_STATE"] = folder
        # Settings of its own: pictures as a new user sees napari, and nobody's are changed.
        get_settings(path=Path(folder) / "settings.yaml")
        for name in options.only or PICTURES:
            path = options.output / f"napari-{name}.png"
            with window() as viewer:
                PICTURES[name](viewer, path)
            print(f"{path.name}  {path.stat().st_size // 1024} kB")
    return 0


@contextmanager
def window() -> Iterator[napari.Viewer]:
    """Open a napari window, and close it."""
    import napari

    viewer = napari.Viewer()
    viewer.window.resize(*SIZE)
    try:
        yield viewer
    finally:
        viewer.close()


def first_box(viewer: napari.Viewer, path: Path) -> None:
    """A box around the liver, and its mask on this slice."""
    controller, _ = phantom(viewer)
    controller.session.add_box(SLICE, ORGANS[1][1], 1, name=ORGANS[1][0])
    finish(controller, controller.segment_slice)
    controller.use_box_tool()
    shoot(viewer, path)


def running(viewer: napari.Viewer, path: Path) -> None:
    """Three organs under way."""
    controller, widget = phantom(viewer)
    draw_organs(controller)
    finish(controller, controller.segment_slice)
    controller.propagate()
    settle(lambda: widget.segment.bar.value() >= 9)
    viewer.dims.set_current_step(0, SLICE + 4)
    shoot(viewer, path)
    controller.cancel()
    settle(lambda: controller.state == "idle")


def volume(viewer: napari.Viewer, path: Path) -> None:
    """The same organs in 3D."""
    controller, _ = phantom(viewer)
    draw_organs(controller)
    finish(controller, controller.propagate)
    viewer.layers["phantom boxes"].visible = False
    viewer.layers["phantom"].opacity = 0.35
    viewer.dims.ndisplay = 3
    viewer.scene.camera.angles = (-12, 28, 118)
    viewer.layers.selection.active = viewer.layers["phantom [MedSAM2]"]
    viewer.layers["phantom [MedSAM2]"].opacity = 0.8
    shoot(viewer, path)


def movie(viewer: napari.Viewer, path: Path) -> None:
    """The left ventricle through a heart beat."""
    from napari_medsam2.io.samples import ECHO_LEFT_VENTRICLE

    viewer.open_sample("napari-medsam2", "echocardiogram")
    controller, _ = dock(viewer)
    frame, box = ECHO_LEFT_VENTRICLE
    controller.session.add_box(frame, box, 1, name="left ventricle")
    finish(controller, controller.propagate)
    viewer.dims.set_current_step(0, frame)
    controller.use_box_tool()
    shoot(viewer, path)


def widget_alone(viewer: napari.Viewer, path: Path) -> None:
    """The widget, from top to bottom."""
    from qtpy.QtWidgets import QScrollArea

    controller, widget = phantom(viewer)
    draw_organs(controller)
    finish(controller, controller.segment_slice)
    controller.use_box_tool()
    settle(lambda: True)
    widget.findChild(QScrollArea).widget().grab().save(str(path))
    shrink(path)


def learn(viewer: napari.Viewer, path: Path) -> None:
    """The model learns from six corrected slices of the liver."""
    from qtpy.QtWidgets import QScrollArea

    controller, widget = phantom(viewer)
    for z in range(SLICE - 4, SLICE + 8, 2):
        controller.session.add_box(z, ORGANS[1][1], 1, name=ORGANS[1][0])
        finish(controller, lambda z=z: controller.segment_slice(z))
    controller.learner.options = {"steps": 60, "frames": 40, "judge_every": 20}
    widget.learn.toggle.click()
    controller.learn()
    settle(lambda: controller.learner.stage.done >= 41)
    settle(lambda: True)
    widget.findChild(QScrollArea).ensureWidgetVisible(widget.engine)
    shoot(viewer, path)
    controller.learner.cancel()


def prompting(viewer: napari.Viewer, path: Path) -> None:
    """A box around the liver; a stroke along the spleen, and one beside it."""
    controller, _ = phantom(viewer)
    controller.session.add_box(SLICE, ORGANS[1][1], 1, name=ORGANS[1][0])
    controller.session.add_scribble(SLICE, [(93, 152), (104, 154), (115, 156), (124, 154)], 1, 2)
    controller.session.add_scribble(SLICE, [(105, 128), (116, 134), (126, 130)], 0, 2)
    controller.session.rename_object(2, ORGANS[2][0])
    finish(controller, controller.segment_slice)
    controller.use_point_tool()
    shoot(viewer, path)


def objects(viewer: napari.Viewer, path: Path) -> None:
    """Three organs, one of them locked, one hidden, two slices accepted."""
    controller, _ = segmented(viewer)
    session = controller.session
    for z in (SLICE, SLICE + 1):
        session.accept(z)
    controller.lock_object(1)
    controller.hide_object(3)
    controller.tools.select(2)
    controller.use_box_tool()
    shoot(viewer, path)


def review(viewer: napari.Viewer, path: Path) -> None:
    """The worst slice of three organs, with the strip below."""
    controller, _ = segmented(viewer)
    for z in range(SLICE - 3, SLICE + 3):
        controller.session.accept(z)
    controller.tools.select(1)
    settle(lambda: True, 2.0)
    controller.review.next_worst()
    shoot(viewer, path)


def cleaning(viewer: napari.Viewer, path: Path) -> None:
    """What smoothing would change on this slice."""
    controller, widget = segmented(viewer)
    controller.tools.select(1)
    unfold(widget, widget.cleanup)
    widget.cleanup.kind.setCurrentIndex(widget.cleanup.kind.findData("smooth"))
    settle(lambda: True)
    widget.cleanup.look.click()
    settle(lambda: controller.cleaner.preview is not None)
    unfold(widget, widget.cleanup)
    shoot(viewer, path)


def measures(viewer: napari.Viewer, path: Path) -> None:
    """Volumes and diameters, the long and the short axis drawn."""
    controller, widget = segmented(viewer)
    unfold(widget, widget.measure)
    widget.measure.measure.click()
    settle(lambda: controller.measurer.table is not None)
    widget.measure.lines.click()
    unfold(widget, widget.measure)
    settle(lambda: True, 2.0)
    shoot(viewer, path)


def channels(viewer: napari.Viewer, path: Path) -> None:
    """Two glands of a section, seen by two of its stains together."""
    from skimage.color import rgb2hed
    from skimage.data import immunohistochemistry

    stains = rgb2hed(immunohistochemistry())
    layers = [
        viewer.add_image(as_uint16(stains[..., i]), name=name, colormap=colour, blending="additive")
        for i, name, colour in ((0, "haematoxylin", "green"), (2, "DAB", "magenta"))
    ]
    controller, _ = dock(viewer)
    controller.bench.use(layers[0])
    controller.blend_channels(layers)
    for object_id, box in enumerate(GLANDS, 1):
        controller.session.add_box(0, box, object_id, name="gland")
    finish(controller, controller.segment_slice)
    controller.use_box_tool()
    viewer.reset_view()
    shoot(viewer, path)


def coronal(viewer: napari.Viewer, path: Path) -> None:
    """Four organs, prompted in the coronal view and carried along y."""
    controller, _ = phantom(viewer)
    viewer.dims.order = (1, 0, 2)
    viewer.dims.set_current_step(1, CORONAL)
    for object_id, (name, box) in CORONAL_ORGANS.items():
        controller.session.add_box(CORONAL, box, object_id, name=name)
    finish(controller, controller.propagate)
    viewer.dims.set_current_step(1, CORONAL)
    fit(viewer)
    controller.use_box_tool()
    shoot(viewer, path)


def slide(viewer: napari.Viewer, path: Path) -> None:
    """Galaxies of a large picture, one click each."""
    from skimage.data import hubble_deep_field

    viewer.add_image(hubble_deep_field(), name="hubble")
    controller, _ = dock(viewer)
    for object_id, place in enumerate(GALAXIES, 1):
        controller.session.add_points(0, [place], [1], object_id)
    finish(controller, controller.segment_slice)
    controller.use_point_tool()
    viewer.scene.camera.center = (545, 595)
    viewer.scene.camera.zoom = 1.5
    shoot(viewer, path)


PICTURES: dict[str, Callable[[Any, Path], None]] = {
    "first-box": first_box,
    "running": running,
    "volume": volume,
    "movie": movie,
    "widget": widget_alone,
    "learn": learn,
    "prompting": prompting,
    "objects": objects,
    "review": review,
    "cleaning": cleaning,
    "measures": measures,
    "channels": channels,
    "coronal": coronal,
    "slide": slide,
}


def phantom(viewer: napari.Viewer) -> tuple[Any, Any]:
    viewer.open_sample("napari-medsam2", "phantom")
    viewer.layers.remove("phantom truth")
    viewer.dims.set_current_step(0, SLICE)
    controller, widget = dock(viewer)
    controller.bench.configure(window="abdomen")
    return controller, widget


def segmented(viewer: napari.Viewer) -> tuple[Any, Any]:
    controller, widget = phantom(viewer)
    draw_organs(controller)
    finish(controller, controller.propagate)
    return controller, widget


def unfold(widget: Any, panel: Any) -> None:
    """Open a closed part of the widget, and show it."""
    from qtpy.QtWidgets import QScrollArea

    if not panel.toggle.isChecked():
        panel.toggle.click()
    settle(lambda: True)
    widget.findChild(QScrollArea).ensureWidgetVisible(panel, 0, 400)


def dock(viewer: napari.Viewer) -> tuple[Any, Any]:
    _, widget = viewer.window.add_plugin_dock_widget("napari-medsam2", "MedSAM2")
    widget.hints.hide()
    # Pictures are no work that anybody would resume.
    widget.controller.autosaver.configure(False, 60)
    # The canvas has become narrower.
    fit(viewer)
    return widget.controller, widget


def fit(viewer: napari.Viewer) -> None:
    """Fit the image into the canvas."""
    settle(lambda: True)
    viewer.reset_view()
    viewer.scene.camera.zoom *= 1.15


def as_uint16(pixels: Any) -> Any:
    """Spread all but the faintest and brightest hundredth of some pixels over 16 bits."""
    import numpy as np

    low, high = np.percentile(pixels, (1, 99))
    return (np.clip((pixels - low) / (high - low), 0, 1) * 65535).astype(np.uint16)


def draw_organs(controller: Any) -> None:
    for object_id, (name, box) in ORGANS.items():
        controller.session.add_box(SLICE, box, object_id, name=name)


def finish(controller: Any, start: Callable[[], bool]) -> None:
    if not (start() and controller.wait(600)):
        raise SystemExit("did not finish in ten minutes")
    if controller.last_error is not None:
        raise SystemExit(str(controller.last_error))


def settle(until: Callable[[], bool], seconds: float = 0.5) -> None:
    """Let the window live until something is so, and paint itself."""
    from qtpy.QtWidgets import QApplication

    ends = time.monotonic() + seconds
    while time.monotonic() < ends or not until():
        QApplication.processEvents()
        time.sleep(0.002)


def shoot(viewer: napari.Viewer, path: Path) -> None:
    viewer.status = ""
    settle(lambda: True)
    viewer.screenshot(str(path), canvas_only=False, flash=False)
    shrink(path)


def shrink(path: Path) -> None:
    """Save a picture with 256 colours, a third of the size."""
    from PIL import Image

    # So that a small swatch keeps its colour beside a large grey image.
    how = Image.Quantize.MAXCOVERAGE
    with Image.open(path) as picture:
        few = picture.convert("RGB").quantize(
            256, method=how, kmeans=3, dither=Image.Dither.FLOYDSTEINBERG
        )
    few.save(path, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
