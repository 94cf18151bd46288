"""Viewers with and without a window, and a controller whose model needs no network."""

from __future__ import annotations

import gc
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from napari.components import ViewerModel
from napari.utils.notifications import Notification, notification_manager
from tests.fakes import BrightModel

from napari_medsam2.gui.controller import Controller
from napari_medsam2.session import Session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_medsam2.models.base import Embedding

# A disc of 200 on 20, rows 20 to 39 and columns 30 to 49, on all five slices.
SHAPE = (5, 64, 64)
BOX = (18, 28, 42, 52)


def disc() -> np.ndarray:
    y, x = np.mgrid[: SHAPE[1], : SHAPE[2]]
    return np.hypot(y - 29.5, x - 39.5) < 10


def rectangle(frame: float, box: tuple[float, float, float, float] = BOX) -> np.ndarray:
    """Corners in a layer of a half-open box."""
    y0, x0, y1, x1 = (v - 0.5 for v in box)
    return np.array([[frame, y0, x0], [frame, y0, x1], [frame, y1, x1], [frame, y1, x0]])


class GatedModel(BrightModel):
    """Embeds a frame only when the test lets it."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Semaphore(0)
        self.asked = 0

    def open(self, frames: int = 1000) -> None:
        for _ in range(frames):
            self.gate.release()

    def embed(self, frame: np.ndarray) -> Embedding:
        self.asked += 1
        if not self.gate.acquire(timeout=30):
            raise TimeoutError("the test never opened the gate")
        return super().embed(frame)


def session_maker(model: BrightModel) -> Any:
    def make(*args: Any, **kwargs: Any) -> Session:
        session = Session(*args, **kwargs)
        session.use_model(model)
        return session

    return make


@pytest.fixture(scope="module", autouse=True)
def old_objects_rest() -> None:
    """Let full collections, of which napari's viewers ask for several a test, be short.

    They take half a second each with all that a long run has loaded; none of that is a test's.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture
def stack() -> np.ndarray:
    image = np.full(SHAPE, 20, dtype=np.uint8)
    image[:, disc()] = 200
    return image


@pytest.fixture
def viewer_model(stack: np.ndarray) -> ViewerModel:
    viewer = ViewerModel()
    viewer.add_image(stack, name="disc", scale=(3.0, 1.0, 1.0))
    viewer.dims.set_current_step(0, 2)
    return viewer


@pytest.fixture
def model() -> BrightModel:
    return BrightModel()


@pytest.fixture
def gated() -> Iterator[GatedModel]:
    model = GatedModel()
    yield model
    model.open()


@pytest.fixture
def controller(viewer_model: ViewerModel, model: BrightModel) -> Iterator[Controller]:
    controller = Controller(viewer_model, session_maker(model))
    yield controller
    controller.close()


@pytest.fixture
def gated_controller(viewer_model: ViewerModel, gated: GatedModel) -> Iterator[Controller]:
    controller = Controller(viewer_model, session_maker(gated))
    yield controller
    controller.close()


@pytest.fixture
def cold(monkeypatch: pytest.MonkeyPatch) -> None:
    """No loading of the real model in the background, and no frames embedded in advance."""
    monkeypatch.setattr(Controller, "warm_up", lambda self: None)
    monkeypatch.setattr(Controller, "look_ahead", lambda self: None)


@pytest.fixture
def notes() -> Iterator[list[Notification]]:
    """What was shown to the user."""
    seen: list[Notification] = []

    def keep(notification: Notification) -> None:
        seen.append(notification)

    notification_manager.notification_ready.connect(keep)
    yield seen
    notification_manager.notification_ready.disconnect(keep)
