"""Learning from the corrections of a session: begun, watched, cancelled, kept or discarded.

What is learnt from is copied when learning begins, so images, models and labels may change
meanwhile. What comes of it waits as a model folder to be kept or discarded.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any, Literal

from psygnal import Signal

from napari_medsam2 import models
from napari_medsam2.errors import InputError
from napari_medsam2.training.bases import PARTS
from napari_medsam2.training.corrections import (
    LEAST_FRAMES,
    MINUTES,
    corrected_frames,
    correction_cases,
    gentle,
    split_frames,
)

from .lesson import Lesson, Material, Stage, Task, delete
from .worker import Ended, Worker

if TYPE_CHECKING:
    from pathlib import Path

    from napari_medsam2.errors import MedSAM2Error
    from napari_medsam2.evaluation.datasets_session import TrueFrames
    from napari_medsam2.session import Session

    from .bench import Bench
    from .model_files import ModelFiles
    from .worker import Job

__all__ = ["Learner"]

State = Literal["idle", "running", "stopping", "deciding", "keeping"]


class Learner:
    """Fine-tunes the model in use on what was corrected in the image in use.

    The owner calls `poll` as long as `is_busy`.

    Parameters
    ----------
    bench : Bench
    model_files : ModelFiles

    Attributes
    ----------
    options : dict
        Of `corrections.gentle`, in place of what is usual.
    stage : Stage
        How far it is.
    lesson : Lesson or None
        What waits to be kept or discarded.
    """

    # The state is another one.
    changed = Signal()
    # A new stage.
    progressed = Signal()
    # One line on what has happened; an error.
    told = Signal(str)
    failed = Signal(object)
    # Polling is needed.
    woken = Signal()

    def __init__(self, bench: Bench, model_files: ModelFiles) -> None:
        self.options: dict[str, Any] = {}
        self.stage = Stage()
        self.lesson: Lesson | None = None
        self._bench, self._model_files = bench, model_files
        self._worker = Worker()
        self._job: Job | None = None
        self._task: Task | None = None
        self._keeping: Job | None = None

    @property
    def state(self) -> State:
        """The state: "idle", "running", "stopping", "deciding" or "keeping"."""
        if self._job is not None:
            return "stopping" if self._job.is_cancelled else "running"
        if self._keeping is not None:
            return "keeping"
        return "idle" if self.lesson is None else "deciding"

    @property
    def is_busy(self) -> bool:
        """Whether the thread has anything to do."""
        return self._job is not None or self._keeping is not None

    def obstacle(self) -> str | None:
        """Return why the model in use cannot learn, None if it can."""
        settings = self._bench.settings
        if settings.card.family not in PARTS:
            return f"{settings.card.title} cannot learn: there is no way yet to fine-tune its kind"
        if settings.checkpoint is not None:
            return (
                "Learning begins from a model of the list: go back from the weights of your own "
                "under More"
            )
        return None

    def material(self) -> Material:
        """Count the frames with prompts and masks of the image in use."""
        desk = self._bench.desk
        session = None if desk is None else desk.session
        if session is None:
            return Material({})
        frames = corrected_frames(session)
        enough = {i: own for i, own in frames.items() if len(own) >= LEAST_FRAMES}
        held = split_frames(enough)
        used = {frame for own in enough.values() for frame in own}
        return Material(
            {object_id: len(own) for object_id, own in frames.items()}, len(used - held), len(held)
        )

    def start(
        self, session: Session, minutes: float | None = None, frames: TrueFrames = "prompted"
    ) -> None:
        """Begin.

        Parameters
        ----------
        session : Session
            What it learns from; copied now.
        minutes : float, optional
        frames : {"prompted", "segmented"}
            See `corrections.correction_cases`.

        Raises
        ------
        InputError
            If something else is under way or undecided, the model cannot learn or has no weights
            here, or there is too little to learn from.
        """
        if self.state != "idle":
            raise InputError(
                "a model is still learning: wait for it, or cancel it"
                if self.is_busy
                else "keep or discard the model that has learnt before, then learn again"
            )
        obstacle = self.obstacle()
        if obstacle is not None:
            raise InputError(obstacle)
        self._model_files.require(self._bench.settings)
        learn, held_back = correction_cases(session, frames)
        settings, image = self._bench.settings, session.volume.name
        begun = f" corrected on {image}"
        title = settings.card.title.removesuffix(begun) + begun
        options: dict[str, Any] = {
            "minutes": minutes or MINUTES,
            "device": settings.device,
            "title": title,
        }
        choices = gentle(settings.model, **(options | self.options))
        self._task = Task(learn, held_back, choices, _new_folder(image), image)
        self.stage = Stage()
        self._job = self._worker.submit(self._task.run)
        self.told.emit(f"Learning from {len(learn.labelled_frames or ())} slices of {image}…")
        self.changed.emit()
        self.woken.emit()

    def cancel(self) -> None:
        """Stop after the step that is being taken; the best until then can be kept."""
        if self._job is not None and not self._job.is_cancelled:
            self._job.cancel()
            self.changed.emit()

    def keep(self) -> None:
        """Put the model on the list of one's own and choose it, in the thread."""
        lesson = self.lesson
        if lesson is not None and not self.is_busy:
            self._keeping = self._worker.submit(lambda _: models.register(lesson.card.name))
            self.changed.emit()
            self.woken.emit()

    def discard(self) -> None:
        """Delete the model."""
        lesson = self.lesson
        if lesson is not None and not self.is_busy:
            self.lesson = self._task = None
            delete(lesson.card.path.parent)
            self.told.emit("What was learnt is discarded")
            self.changed.emit()

    def poll(self) -> None:
        """Take in what the thread has done."""
        self._poll_learning()
        self._poll_keeping()

    def close(self) -> None:
        """Stop for good; the thread ends with the step that it is at. What is not kept goes."""
        if self._job is not None:
            self._job.cancel()
        if self._task is not None and self._keeping is None:
            self._task.leave()
        self._job, self._task, self.lesson = None, None, None
        self._worker.close()

    # Inside

    def _poll_learning(self) -> None:
        job, before = self._job, self.stage
        while job is not None and job is self._job:
            message = job.receive()
            if message is None:
                break
            if isinstance(message, Ended):
                self._job = None
                self._end(message.value, message.error)
            else:
                self.stage = self.stage.after(message)
        if self.stage is not before:
            self.progressed.emit()

    def _end(self, lesson: Lesson | None, error: MedSAM2Error | None) -> None:
        self.lesson = lesson
        if lesson is None:
            self._task = None
        self.changed.emit()
        if error is not None:
            self.failed.emit(error)
        elif lesson is None:
            self.told.emit("Stopped before anything was learnt")
        else:
            told = f"Learning from {lesson.image} has ended: keep or discard the result"
            self.told.emit(told)

    def _poll_keeping(self) -> None:
        message = None if self._keeping is None else self._keeping.receive()
        if not isinstance(message, Ended):
            return
        self._keeping = None
        if message.error is not None:
            # It still waits: the disk may be full, and room can be made.
            self.changed.emit()
            self.failed.emit(message.error)
            return
        card, self.lesson, self._task = message.value, None, None
        self._model_files.look()
        self._bench.configure(model=card.name, checkpoint=None)
        self.changed.emit()
        self.told.emit(f"{card.title} is on the list of models, and in use")


def _new_folder(image: str) -> Path:
    """Return a folder in that of one's own models, which is not there yet."""
    name = re.sub(r"[^\w.-]+", "-", image).strip("-.")[:40] or "image"
    own = models.models_folder() / "own"
    plain = own / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder, number = plain, 1
    while folder.exists():
        number += 1
        folder = plain.with_name(f"{plain.name}-{number}")
    return folder
