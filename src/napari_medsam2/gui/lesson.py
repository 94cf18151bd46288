"""What there is to learn from, how far it is, what came of it, and how it is done in the thread."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import shutil
import sys
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from napari_medsam2.models.device import choose_device, device_errors
from napari_medsam2.training.finetune import finetune

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from napari_medsam2.evaluation.dataset import Case
    from napari_medsam2.models import ModelCard
    from napari_medsam2.training.finetune import Choices, Report

    from .worker import Job

__all__ = ["Lesson", "Material", "Stage", "Task", "delete"]

# Segmenting comes before it, and the window before both.
_NICENESS = 10
# Of a loss that jumps from step to step, how much of what is shown is the newest one.
_NEW = 0.1
# Differences of Dice below it are nothing.
_LEAST_GAIN = 0.0005

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Material:
    """What there is to learn from.

    Attributes
    ----------
    frames : dict of int to int
        How many frames count as truth, by object.
    learnt, held_back : int
        Frames that would be learnt from and judged by; 0 if there are too few.
    """

    frames: Mapping[int, int]
    learnt: int = 0
    held_back: int = 0

    @property
    def is_enough(self) -> bool:
        """Whether an object has enough of them."""
        return self.held_back > 0


@dataclass(frozen=True)
class Stage:
    """How far learning is.

    Attributes
    ----------
    name : {"preparing", "embedding", "training"}
    done, total : int
        Of this stage; total is 0 while it is unknown.
    loss : float
        Smoothed; nan while there is none.
    before, score : float
        Dice on what is held back, of the model it began from and last; nan while there is none.
    """

    name: Literal["preparing", "embedding", "training"] = "preparing"
    done: int = 0
    total: int = 0
    loss: float = math.nan
    before: float = math.nan
    score: float = math.nan

    def after(self, report: Report) -> Stage:
        """Return the stage that a report tells of."""
        loss, score, before = self.loss, self.score, self.before
        if "loss" in report.losses:
            new = report.losses["loss"]
            loss = new if math.isnan(loss) else loss + _NEW * (new - loss)
        if "score" in report.scores:
            score = report.scores["score"]
            before = before if report.done else score
        return Stage(report.stage, report.done, report.total, loss, before, score)

    def __str__(self) -> str:
        """Return it in words."""
        of = f" of {self.total}" if self.total else ""
        if self.name == "embedding":
            return f"looking at clip {self.done}{of}"
        return f"step {self.done}{of}" if self.name == "training" and self.done else "preparing…"


@dataclass(frozen=True)
class Lesson:
    """A model that has learnt, and waits to be kept or discarded.

    Attributes
    ----------
    card : ModelCard
        Of its folder.
    image : str
        The name of the image it learnt from.
    learnt, held_back : int
        Frames that it learnt from, and that it was judged by.
    before, after : dict of str to float
        Mean Dice on the latter, by how objects were prompted; "score" sums it up.
    last : float
        The score when learning ended, which may be below that of the weights that are kept.
    """

    card: ModelCard
    image: str
    learnt: int
    held_back: int
    before: Mapping[str, float]
    after: Mapping[str, float]
    last: float

    @property
    def gain(self) -> float:
        """How much the score has grown, nan if it is unknown."""
        return self.after.get("score", math.nan) - self.before.get("score", math.nan)

    @property
    def is_better(self) -> bool:
        """Whether it is worth keeping."""
        return self.gain > _LEAST_GAIN

    def __str__(self) -> str:
        """Return the verdict in words."""
        slices = f"{self.held_back} held-back slice{'s' * (self.held_back > 1)}"
        before, after = self.before.get("score", math.nan), self.after.get("score", math.nan)
        if math.isnan(self.gain):
            return f"What it learnt could not be judged on {slices}: objects are too small there."
        if self.is_better:
            return f"Better: Dice on {slices} rose from {before:.3f} to {after:.3f}."
        worst = after if math.isnan(self.last) else min(after, self.last)
        if worst < before - _LEAST_GAIN:
            return (
                f"It became worse: Dice on {slices} fell from {before:.3f} to {worst:.3f}. There "
                "is nothing to gain by keeping it."
            )
        return f"No better: Dice on {slices} is {after:.3f}, as before."


@dataclass(frozen=True, eq=False)
class Task:
    """All that the thread needs to know.

    Attributes
    ----------
    learn, held_back : Case
        Copies, see `correction_cases`.
    choices : Choices
    folder : Path
        A new one.
    image : str
    """

    learn: Case
    held_back: Case
    choices: Choices
    folder: Path
    image: str
    _lock: threading.Lock = field(default_factory=threading.Lock)
    # "left" or "ended", whichever was first.
    _fate: list[str] = field(default_factory=list)

    def run(self, job: Job) -> Lesson | None:
        """Learn; called in the thread. None if it was stopped before there was anything."""
        _step_back()
        last = math.nan

        def tell(report: Report) -> None:
            nonlocal last
            last = report.scores.get("score", last)
            job.report(report)
            if job.is_cancelled and report.stage == "embedding":
                raise _Stopped

        try:
            with device_errors(choose_device(self.choices.device)):
                card = finetune(
                    [self.learn],
                    self.choices,
                    self.folder,
                    val=[self.held_back],
                    progress=tell,
                    cancelled=lambda: job.is_cancelled,
                )
            scores = card.notes["scores"]
            # Embeddings are large, and of no use without the copies that they were made of.
            shutil.rmtree(self.folder / "training", ignore_errors=True)
        except _Stopped:
            delete(self.folder)
            return None
        except Exception as error:
            delete(self.folder)
            if not self._end("ended"):
                _log.error("learning from corrections has failed, unseen", exc_info=error)
            raise
        if not self._end("ended"):
            delete(self.folder)
            return None
        return Lesson(
            card=card,
            image=self.image,
            learnt=len(self.learn.labelled_frames or ()),
            held_back=len(self.held_back.labelled_frames or ()),
            before=scores["before"],
            after=scores["after"],
            last=last,
        )

    def leave(self) -> None:
        """Say that nobody is left to decide: nothing stays of it, whether it has ended or not."""
        if not self._end("left"):
            delete(self.folder)

    def _end(self, how: str) -> bool:
        """Return whether nothing else was before it."""
        with self._lock:
            self._fate.append(how)
            return self._fate[0] == how


class _Stopped(Exception):  # noqa: N818 - not an error
    """It was cancelled where nothing else asks."""


def delete(folder: Path) -> None:
    """Delete a folder of which nothing is needed; what hinders it goes to the log."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        _log.warning("%s could not be deleted (%s); it is not needed", folder, error.strerror)


def _step_back() -> None:
    """Let all else have the processor first, where the system knows priorities of threads."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
