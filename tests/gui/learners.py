"""Corrected slices, and a training that learns nothing and waits for the test."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from tests.gui.conftest import BOX
from tests.own_models import few_bytes

from napari_medsam2.training.finetune import Report

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from napari_medsam2.gui.controller import Controller
    from napari_medsam2.models import ModelCard


def correct(controller: Controller, frames: Iterable[int] = range(5)) -> None:
    """Put a box around the disc on some slices, and segment each of them."""
    for frame in frames:
        controller.session.add_box(frame, BOX, 1, name="disc")
        assert controller.segment_slice(frame)
        assert controller.wait(30)


class Training:
    """Stands in for `finetune`.

    It embeds four clips and takes ten steps, at each of which it waits until the test lets it go on
    (at once unless `hold` was called), then writes a model folder with the scores it was given.
    """

    def __init__(self, before: float = 0.7, after: float = 0.8, last: float = 0.75) -> None:
        self.before, self.after, self.last = before, after, last
        self.error: BaseException | None = None
        self.calls: list[dict[str, Any]] = []
        self.steps = 0
        self.ended = threading.Event()
        self._gate = threading.Semaphore(1000)

    def hold(self) -> None:
        self._gate = threading.Semaphore(0)

    def go_on(self, steps: int = 1000) -> None:
        for _ in range(steps):
            self._gate.release()

    def __call__(self, cases: Any, choices: Any, output: Path, **options: Any) -> ModelCard:
        self.calls.append({"cases": cases, "choices": choices, "output": output, **options})
        try:
            return self._train(output, choices.title, options["progress"], options["cancelled"])
        finally:
            self.ended.set()

    def _train(self, output: Path, title: str, progress: Any, cancelled: Any) -> ModelCard:
        (output / "training").mkdir(parents=True)
        for number in range(4):
            self._wait()
            progress(Report("embedding", number + 1, 4))
        progress(Report("training", 0, 10, {}, {"score": self.before}))
        for number in range(10):
            self._wait()
            self.steps += 1
            if self.error is not None:
                raise self.error
            looked = {"score": self.last} if number in (4, 9) else {}
            progress(Report("training", number + 1, 10, {"loss": 1 - number / 10}, looked))
            if cancelled():
                break
        scores = {"before": {"score": self.before}, "after": {"score": self.after}}
        return few_bytes(output, title=title, scores=scores)

    def _wait(self) -> None:
        if not self._gate.acquire(timeout=30):
            raise TimeoutError("the test never let it go on")
