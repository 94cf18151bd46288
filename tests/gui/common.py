"""Drawing with a controller, and looking at what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.gui.conftest import BOX, rectangle

if TYPE_CHECKING:
    from napari_medsam2.gui.controller import Controller


def draw(controller: Controller, frame: int = 2, box=BOX) -> None:
    controller.use_box_tool()
    controller.bench.desk.prompts.boxes.add_rectangles(rectangle(frame, box))


def counts(controller: Controller, object_id: int = 1) -> list[int]:
    return [int((frame == object_id).sum()) for frame in controller.session.labels]


def filled(controller: Controller, object_id: int = 1) -> list[bool]:
    return [n > 0 for n in counts(controller, object_id)]


def texts(notes) -> list[str]:
    return [note.message for note in notes]
