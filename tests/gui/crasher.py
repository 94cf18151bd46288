"""A program that is killed while it propagates: napari, an image file, our widget, a slow model.

    python -m tests.gui.crasher IMAGE FRAMES

After so many frames of the propagation the model gives no more answers. Each time that the work was
saved in the background a line tells which frames are done: "saved 2 3 4".
"""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import napari
from qtpy.QtCore import QTimer
from tests.fakes import BrightModel
from tests.gui.conftest import rectangle, session_maker

import napari_medsam2 as nm
from napari_medsam2.gui.controller import Controller
from napari_medsam2.gui.widget import MedSAM2Widget
from napari_medsam2.io.layers import image_layers

if TYPE_CHECKING:
    import numpy as np

    from napari_medsam2.models.base import Embedding


class FadingModel(BrightModel):
    """Answers until it is told to answer only so many times more."""

    left: int | None = None

    def embed(self, frame: np.ndarray) -> Embedding:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                threading.Event().wait()
        return super().embed(frame)


def main(image: Path, frames: int) -> None:
    Controller.warm_up = Controller.look_ahead = lambda self: None  # type: ignore[method-assign]
    viewer, model = napari.Viewer(), FadingModel()
    for data, kwargs, _ in image_layers(nm.read(image)):
        viewer.add_image(data, **kwargs)
    viewer.dims.set_current_step(0, 2)
    widget = MedSAM2Widget(viewer, make_session=session_maker(model))
    viewer.window.add_dock_widget(widget, name="MedSAM2")
    widget.remembering.remember(autosave_seconds=5)
    controller = widget.controller
    # It is told boxes alone, as our model wants it, also of what was accepted.
    controller.bench.configure(model="litemedsam")
    controller.use_box_tool()
    controller.bench.desk.prompts.boxes.add_rectangles(rectangle(2))
    controller.wait(60)
    controller.session.accept(2)

    def tell() -> None:
        done = [str(i) for i, f in enumerate(controller.session.labels) if f.any()]
        print("saved", *done, flush=True)

    controller.autosaver.saved.connect(tell)
    # For a test that has lost sight of us.
    QTimer.singleShot(240_000, lambda: os._exit(1))
    model.left = frames
    controller.propagate("forward")
    napari.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
