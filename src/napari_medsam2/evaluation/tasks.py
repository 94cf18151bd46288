"""One object of one case under one protocol: prompted, segmented, measured."""

from __future__ import annotations

import math
import time
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medsam2.errors import MedSAM2Error

from .protocols import get, prompted_frames
from .records import Record
from .simulate import click_in_error, simulate

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from napari_medsam2.prompts import Prompt

    from .dataset import Case
    from .methods import Method, Opened

__all__ = [
    "Outcome",
    "Task",
    "failed",
    "measured",
    "objects_of",
    "run_task",
    "takes",
    "tasks_of",
    "told",
]

_CLICKS = 20
_GOALS = (0.8, 0.9)
_DETERMINISTIC = ("box", "point", "mask")


@dataclass(frozen=True)
class Task:
    """What is asked of a method; its name is that of the record.

    Attributes
    ----------
    object_id : int
    protocol : str
    prompt : str
        See `simulate`.
    seed : int
    """

    object_id: int
    protocol: str
    prompt: str
    seed: int = 0

    def rng(self, case: str) -> np.random.Generator:
        """Return random numbers that depend on nothing but the case and the task."""
        text = f"{case} {self.object_id} {self.protocol} {self.prompt}"
        return np.random.default_rng([self.seed, zlib.crc32(text.encode())])


def objects_of(case: Case, most: int | None, seed: int) -> tuple[int, ...]:
    """Return the objects of a case that are scored: all, or so many drawn at random.

    The draw depends on the name of the case and the seed alone, so that all methods meet the same
    objects.
    """
    ids = tuple(sorted(case.objects))
    if most is None or len(ids) <= most:
        return ids
    rng = np.random.default_rng([seed, zlib.crc32(case.id.encode())])
    return tuple(sorted(int(i) for i in rng.choice(ids, size=most, replace=False)))


def tasks_of(
    case: Case,
    method: Method,
    protocols: Sequence[str],
    prompts: Sequence[str],
    seed: int,
    most: int | None = None,
) -> list[Task]:
    """Return what can be asked of a method on a case, for at most so many objects of it.

    Left out are kinds of prompts that the method does not take, and protocols for other kinds of
    cases. Clicks begin with a box for methods that take no points alone.
    """
    found = []
    for object_id in objects_of(case, most, seed):
        for name in protocols:
            protocol = get(name)
            if case.kind not in protocol.kinds or protocol.way == "collection":
                continue
            if protocol.way == "clicks":
                if method.takes_clicks:
                    found.append(Task(object_id, name, "clicks", seed))
                continue
            found += [
                Task(object_id, name, prompt, seed) for prompt in prompts if takes(method, prompt)
            ]
    return found


def takes(method: Method, prompt: str) -> bool:
    """Whether a method takes a kind of prompt."""
    needed = "points" if prompt.startswith("point") else prompt.partition("+")[0]
    return needed in method.prompts


def run_task(
    task: Task,
    opened: Opened,
    method: Method,
    case: str,
    truth: NDArray[np.bool_],
    labelled: Sequence[int],
    done: dict[Any, Outcome] | None = None,
) -> Outcome:
    """Do what a task asks.

    Parameters
    ----------
    task : Task
    opened : Opened
        The method on the image.
    method : Method
    case : str
        Its name, for the random numbers.
    truth : ndarray of bool
        (frame, y, x).
    labelled : sequence of int
        Frames whose truth is known.
    done : dict, optional
        What was carried before on this image, which is added to: the largest slice is often the
        middle one, too.
    """
    protocol = get(task.protocol)
    rng = task.rng(case)
    frames = prompted_frames(protocol.where, truth, labelled)
    start = time.perf_counter()
    if protocol.way == "clicks":
        frame = frames[0]
        found, dices = _click(opened, method, truth[frame], frame)
        whole = np.zeros_like(truth)
        whole[frame] = found
        return Outcome(whole, (frame,), time.perf_counter() - start, tuple(dices))
    told = {frame: simulate(task.prompt, truth[frame], frame, rng) for frame in frames}
    if protocol.way == "carry":
        prompts = [prompt for frame in frames for prompt in told[frame]]
        # What a deterministic prompt says of an object depends on its frames alone.
        asked = (task.object_id, task.prompt, frames, protocol.direction)
        known = done.get(asked) if done is not None else None
        if known is None or task.prompt not in _DETERMINISTIC:
            whole = opened.carry(prompts, protocol.direction)
            known = Outcome(whole, tuple(labelled), time.perf_counter() - start)
            if done is not None:
                done[asked] = known
        return known
    whole = np.zeros_like(truth)
    for frame, prompts_there in told.items():
        whole[frame] = opened.frame(frame, prompts_there)
    # Frames without the object were not asked about, so they are not counted.
    return Outcome(whole, frames, time.perf_counter() - start)


@dataclass(frozen=True, eq=False)
class Outcome:
    """What came of a task.

    Attributes
    ----------
    found : ndarray of bool
        (frame, y, x).
    frames : tuple of int
        Those that count.
    seconds : float
    click_dice : tuple of float
    """

    found: NDArray[np.bool_]
    frames: tuple[int, ...]
    seconds: float
    click_dice: tuple[float, ...] = ()

    def clicks_to(self, goal: float) -> float:
        """Return how many clicks it took to a Dice, nan if it was not reached."""
        reached = [n for n, dice in enumerate(self.click_dice, start=1) if dice >= goal]
        return float(reached[0]) if reached else math.nan


def _click(
    opened: Opened, method: Method, truth: NDArray[np.bool_], frame: int
) -> tuple[NDArray[np.bool_], list[float]]:
    """Click where the largest error is until nothing is wrong, 20 times at most.

    The first click of a method that needs a box is the box.
    """
    from napari_medsam2.prompts import PointPrompt

    from .metrics import dice

    prompts: list[Prompt] = []
    found = np.zeros_like(truth)
    dices: list[float] = []
    while len(dices) < _CLICKS:
        if not prompts and not takes(method, "point"):
            prompts += simulate("box", truth, frame, np.random.default_rng(0))
        else:
            click = click_in_error(found, truth)
            if click is None:
                # Nothing is wrong: further clicks change nothing.
                dices += [dices[-1]] * (_CLICKS - len(dices))
                break
            prompts.append(PointPrompt(frame, (click[0],), (click[1],)))
        found = opened.frame(frame, prompts)
        dices.append(dice(found, truth))
    return found, dices


def failed(case: Case, method: str, task: Task, error: str) -> Record:
    """Return the record of a task that could not be done."""
    return Record(**_about(case, method, task), status="failed", error=error)


def measured(case: Case, method: str, task: Task, outcome: Outcome, **measures: Any) -> Record:
    """Return the record of a task, with the measures of its masks."""
    clicks: dict[str, Any] = {}
    if outcome.click_dice:
        clicks = {
            "clicks_to_80": outcome.clicks_to(_GOALS[0]),
            "clicks_to_90": outcome.clicks_to(_GOALS[1]),
            "click_auc": float(np.mean(outcome.click_dice)),
        }
    return Record(
        **_about(case, method, task),
        seconds=outcome.seconds,
        click_dice=outcome.click_dice,
        **clicks,
        **measures,
    )


def _about(case: Case, method: str, task: Task) -> dict[str, Any]:
    return {
        "case": case.id,
        "dataset": case.dataset,
        "modality": case.modality,
        "kind": case.kind,
        "split": case.split,
        "object_id": task.object_id,
        "object_name": case.objects[task.object_id],
        "method": method,
        "protocol": task.protocol,
        "prompt": task.prompt,
        "seed": task.seed,
    }


def told(error: Exception) -> str:
    """Return an error in one line; those that should not happen with their kind."""
    text = " ".join(str(error).split())[:300]
    return text if isinstance(error, MedSAM2Error) else f"{type(error).__name__}: {text}"
