"""Take the recordings of the documentation from a real window: docs/images/*.webp.

    python scripts/recordings.py                 on a desktop
    xvfb-run -a -s "-screen 0 1600x1000x24" python scripts/recordings.py

Mouse and keys are events of Qt, masks are the model's own, and time is that of this machine, but
for what the model computes, which is shown at four times its speed at most.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from screenshots import IMAGES, ORGANS, SLICE, dock, settle, window

if TYPE_CHECKING:
    from collections.abc import Callable

    import napari
    from PIL.Image import Image

SIZE = (1280, 800)
SHOWN = (1024, 640)
FRAME = 0.1  # seconds
_QUALITY = 55


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, default=IMAGES)
    parser.add_argument("only", nargs="*", choices=[[], *RECORDINGS], help="default: all")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        from napari.settings import get_settings

        os.environ["NAPARI_MEDSAM2_STATE"] = folder
        get_settings(path=Path(folder) / "settings.yaml")
        for name in options.only or RECORDINGS:
            path = options.output / f"{name}.webp"
            with window() as viewer:
                viewer.window.resize(*SIZE)
                film = Film(viewer)
                RECORDINGS[name](viewer, film)
                film.save(path)
            print(f"{path.name}  {path.stat().st_size // 1024} kB, {len(film.frames)} frames")
    return 0


class Film:
    """Pictures of a window with the pointer in them, and a person's hand on mouse and keys.

    Parameters
    ----------
    viewer : napari.Viewer
    """

    def __init__(self, viewer: napari.Viewer) -> None:
        self.viewer = viewer
        self.frames: list[tuple[Image, float]] = []
        self._at = (SIZE[0] // 2, SIZE[1] // 2)
        self._is_down = False
        self._said = ""

    def say(self, text: str, seconds: float = 1.2) -> None:
        """Show a caption from now on."""
        self._said = text
        self.hold(seconds)

    def hold(self, seconds: float) -> None:
        """Let nothing happen for a while."""
        settle(lambda: True, 0.15)
        self._take(seconds)

    def watch(self, until: Callable[[], bool], faster: float = 4.0) -> None:
        """Take pictures until something is so."""
        while not until():
            started = time.monotonic()
            settle(lambda: True, FRAME * faster)
            self._take((time.monotonic() - started) / faster)
        self.hold(0.3)

    def move(self, y: float, x: float, seconds: float = 0.5) -> None:
        """Move the pointer to a place of the image on show, in its pixels."""
        self._glide(self._place(y, x), seconds)

    def drag(self, start: tuple[float, float], end: tuple[float, float]) -> None:
        """Press, move and release the left button on the canvas."""
        self.move(*start)
        self._mouse("MouseButtonPress", down=True)
        self._glide(self._place(*end), 0.8)
        self._mouse("MouseMove")
        self._mouse("MouseButtonRelease", down=False)

    def click(self, y: float, x: float) -> None:
        """Click on the canvas."""
        self.move(y, x)
        self._mouse("MouseButtonPress", down=True)
        self._mouse("MouseButtonRelease", down=False)

    def push(self, button: Any) -> None:
        """Click on a button."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        centre = button.mapTo(self._window, button.rect().center())
        self._glide((centre.x(), centre.y()), 0.6)
        self._is_down = True
        self._take(FRAME)
        self._is_down = False
        QTest.mouseClick(button, Qt.MouseButton.LeftButton)

    def key(self, name: str) -> None:
        """Press a letter on the canvas."""
        from qtpy.QtCore import Qt
        from qtpy.QtTest import QTest

        QTest.keyClick(self._canvas, getattr(Qt.Key, f"Key_{name}"))
        settle(lambda: True, 0.1)

    def save(self, path: Path) -> None:
        """Write an animated WebP."""
        first, *others = [image for image, _ in self.frames]
        first.save(
            path,
            save_all=True,
            append_images=others,
            duration=[max(20, round(1000 * seconds)) for _, seconds in self.frames],
            loop=0,
            quality=_QUALITY,
            method=4,
        )

    @property
    def _window(self) -> Any:
        return self.viewer.window._qt_window

    @property
    def _canvas(self) -> Any:
        return self.viewer.window._qt_viewer.canvas.native

    def _place(self, y: float, x: float) -> tuple[int, int]:
        """Return where a place of the image is in the window."""
        from qtpy.QtCore import QPoint

        image = self.viewer.layers[0]
        y, x = image.data_to_world([*[0] * (image.ndim - 2), y, x])[-2:]
        size, camera = self._canvas.size(), self.viewer.scene.camera
        _, cy, cx = camera.center
        on_canvas = QPoint(
            round((x - cx) * camera.zoom + size.width() / 2),
            round((y - cy) * camera.zoom + size.height() / 2),
        )
        place = self._canvas.mapTo(self._window, on_canvas)
        return place.x(), place.y()

    def _glide(self, to: tuple[int, int], seconds: float) -> None:
        steps = max(1, round(seconds / FRAME))
        (x0, y0), (x1, y1) = self._at, to
        for step in range(1, steps + 1):
            share = step / steps
            self._at = round(x0 + share * (x1 - x0)), round(y0 + share * (y1 - y0))
            self._mouse("MouseMove")
            settle(lambda: True, 0.03)
            self._take(FRAME)

    def _mouse(self, kind: str, down: bool | None = None) -> None:
        from qtpy.QtCore import QEvent, QPoint, QPointF, Qt
        from qtpy.QtGui import QMouseEvent
        from qtpy.QtWidgets import QApplication

        left, none = Qt.MouseButton.LeftButton, Qt.MouseButton.NoButton
        changed = down is not None
        self._is_down = self._is_down if down is None else down
        where = self._canvas.mapFrom(self._window, QPoint(*self._at))
        event = QMouseEvent(
            getattr(QEvent.Type, kind),
            QPointF(where),
            QPointF(self._canvas.mapToGlobal(where)),
            left if changed else none,
            left if self._is_down else none,
            Qt.KeyboardModifier.NoModifier,
        )
        QApplication.sendEvent(self._canvas, event)
        settle(lambda: True, 0.05)

    def _take(self, seconds: float) -> None:
        picture = self._picture()
        if self.frames and picture.tobytes() == self.frames[-1][0].tobytes():
            before, lasted = self.frames[-1]
            self.frames[-1] = before, lasted + seconds
        else:
            self.frames.append((picture, seconds))

    def _picture(self) -> Image:
        """Return the window with pointer and caption in it."""
        from PIL import Image, ImageDraw, ImageFont

        pixels = self.viewer.screenshot(canvas_only=False, flash=False)[..., :3]
        image = Image.fromarray(pixels).resize(SHOWN, Image.Resampling.LANCZOS)
        draw = ImageDraw.Draw(image)
        scale = SHOWN[0] / pixels.shape[1]
        x, y = (v * scale for v in self._at)
        arrow = [(0, 0), (0, 17), (4, 13.5), (7, 20), (10, 18.6), (7.2, 12.4), (12.5, 12)]
        fill = "#ffd166" if self._is_down else "white"
        draw.polygon([(x + dx, y + dy) for dx, dy in arrow], fill=fill, outline="black")
        if self._said:
            font = ImageFont.load_default(18)
            left, top, right, bottom = draw.textbbox((0, 0), self._said, font=font)
            cx, cy = SHOWN[0] * 0.46, 40
            width, height = right - left + 28, bottom - top + 16
            box = (cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2)
            draw.rounded_rectangle(box, 8, fill="#0b3954")
            draw.text((cx, cy), self._said, font=font, fill="white", anchor="mm")
        return image


def from_one_box(viewer: napari.Viewer, film: Film) -> None:
    """One box, one mask, the whole organ."""
    controller, widget = _phantom(viewer)
    y0, x0, y1, x1 = ORGANS[1][1]
    film.say("Press B, and draw a box around the liver")
    film.key("B")
    film.drag((y0, x0), (y1, x1))
    film.watch(lambda: bool(controller.session.scores), faster=1)
    film.say("Its mask is there when you let go")
    film.say("Propagate it to the other slices", 0.6)
    film.push(widget.segment.propagate)
    film.watch(lambda: controller.state == "idle")
    film.say("Look through them", 0.5)
    for z in (*range(SLICE, 34, 2), *range(34, 5, -3), SLICE):
        viewer.dims.set_current_step(0, z)
        film.hold(0.15)
    film.hold(1.5)


def review_and_correct(viewer: napari.Viewer, film: Film) -> None:
    """The worst slice, a click, accepted; and on to the next."""
    controller, widget = _phantom(viewer)
    controller.session.add_box(SLICE, ORGANS[1][1], 1, name=ORGANS[1][0])
    if not (controller.propagate() and controller.wait(600)):
        raise SystemExit("did not finish in ten minutes")
    film.say("Confidence of each slice, below the image", 2.0)
    film.say("W: to the worst slice", 0.8)
    film.key("W")
    film.hold(1.0)
    film.say("P: click where something is missing", 0.8)
    film.key("P")
    film.click(*_missing(controller))
    film.watch(lambda: controller.state == "idle" and not controller.is_awake, faster=1)
    film.hold(0.8)
    film.say("A: accept the slice; it stays as it is", 0.8)
    film.key("A")
    film.hold(1.2)
    film.say("Propagate again: from this slice, too", 0.6)
    film.push(widget.segment.propagate)
    film.watch(lambda: controller.state == "idle")
    film.say("Ctrl+Z takes back each step, on all slices", 2.0)


RECORDINGS: dict[str, Callable[[Any, Film], None]] = {
    "from-one-box": from_one_box,
    "review-and-correct": review_and_correct,
}


def _phantom(viewer: napari.Viewer) -> tuple[Any, Any]:
    viewer.open_sample("napari-medsam2", "phantom")
    viewer.layers.remove("phantom truth")
    viewer.dims.set_current_step(0, SLICE)
    controller, widget = dock(viewer)
    controller.bench.configure(window="abdomen")
    settle(lambda: not controller.is_awake, 2.0)
    settle(lambda: True, 4.0)
    return controller, widget


def _missing(controller: Any) -> tuple[float, float]:
    """Return a place of the liver, on the slice on show, that its mask lacks; else its middle."""
    import numpy as np
    from scipy import ndimage

    from napari_medsam2.io.sample_phantom import phantom

    frame = controller.bench.desk.current_frame()
    truth = phantom()[1][frame] == 1
    lacking = truth & (controller.session.labels[frame] != 1)
    inside = ndimage.distance_transform_edt(lacking if lacking.any() else truth)
    y, x = np.unravel_index(int(inside.argmax()), inside.shape)
    return float(y), float(x)


if __name__ == "__main__":
    sys.exit(main())
