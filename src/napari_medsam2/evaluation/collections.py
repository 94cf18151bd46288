"""One prompted image for all images of a data set: the protocol of Medical SAM 2.

Zhu et al., "Medical SAM 2: Segment medical images as video via Segment Anything Model 2" (2024).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .metrics import default_tolerance, measure_object
from .simulate import simulate
from .tasks import Outcome, Task, failed, measured, takes, told

if TYPE_CHECKING:
    from collections.abc import Sequence

    from napari_medsam2.volume import Volume

    from .dataset import Case
    from .methods import Method
    from .records import Record
    from .runner import Plan

__all__ = ["Collection", "collections_of", "evaluate_collection", "tolerance_of"]

PROTOCOL = "collection"


@dataclass(frozen=True)
class Collection:
    """The single images of a data set that show an object of the same label value.

    Attributes
    ----------
    dataset : str
    object_id : int
    cases : tuple of Case
        The first one is prompted.
    """

    dataset: str
    object_id: int
    cases: tuple[Case, ...] = field(repr=False)

    @property
    def id(self) -> str:
        """A name that no case has."""
        return f"{self.dataset} (all images) object {self.object_id}"


def collections_of(cases: Sequence[Case]) -> list[Collection]:
    """Return the collections of two images or more among some cases."""
    found: dict[tuple[str, int], list[Case]] = {}
    for case in cases:
        if case.kind == "2d":
            for object_id in case.objects:
                found.setdefault((case.dataset, object_id), []).append(case)
    return [Collection(*key, tuple(some)) for key, some in found.items() if len(some) > 1]


def evaluate_collection(collection: Collection, method: Method, plan: Plan) -> list[Record]:
    """Prompt the first image, and measure all others.

    The prompted image itself makes no record: nothing had to be found on it.
    """
    records: list[Record] = []
    for prompt in plan.prompts:
        task = Task(collection.object_id, PROTOCOL, prompt, plan.seed)
        if not takes(method, prompt):
            continue
        try:
            records += _found(collection, method, task, plan)
        except Exception as error:  # one bad image must not end the comparison
            records += [
                failed(case, method.name, task, told(error)) for case in collection.cases[1:]
            ]
    return records


def tolerance_of(case: Case, volume: Volume, plan: Plan) -> float:
    """Return the tolerance of the surface Dice in the unit of the spacing."""
    if plan.tolerance is not None:
        return plan.tolerance
    return default_tolerance(tuple(volume.spacing), case.unit or volume.units[-1])


def _found(collection: Collection, method: Method, task: Task, plan: Plan) -> list[Record]:
    loaded = [case.load() for case in collection.cases]
    first = loaded[0][1][0] == collection.object_id
    prompts = simulate(task.prompt, first, 0, task.rng(collection.id))
    start = time.perf_counter()
    masks = method.collect([volume for volume, _ in loaded], prompts)  # type: ignore[attr-defined]
    seconds = (time.perf_counter() - start) / len(masks)
    records = []
    for case, (volume, labels), mask in list(zip(collection.cases, loaded, masks, strict=True))[1:]:
        found, truth = mask.mask[None], labels == collection.object_id
        measures = measure_object(
            found,
            truth,
            tuple(volume.spacing),
            kind="2d",
            tolerance_mm=tolerance_of(case, volume, plan),
        )
        outcome = Outcome(found, (0,), seconds)
        records.append(measured(case, method.name, task, outcome, **measures))
    return records
