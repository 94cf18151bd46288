"""A session as a Python script."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari_medsam2.prompts import (
    BoxPrompt,
    ObjectPrompts,
    PointPrompt,
    PolygonPrompt,
    PromptSet,
    ScribblePrompt,
)

from .recipe import (
    SESSION_PLACEHOLDER,
    Copied,
    Inexpressible,
    Recipe,
    labels_name,
    must_have_ended,
    number,
    numbers,
    saved_as,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from napari_medsam2.history import RunRecord
    from napari_medsam2.prompts import Prompt
    from napari_medsam2.session import Session
    from napari_medsam2.volume import View, Volume

__all__ = ["as_python"]

_IN_MEMORY = "The image is in memory only: put its array where it says so"


def as_python(session: Session, saved: Path | None = None) -> Copied:
    """Return a script that makes a session's labels again.

    Parameters
    ----------
    session : Session
    saved : Path, optional
        A file that holds the session as it is now, for what a script cannot say.

    Returns
    -------
    Copied
    """
    try:
        recipe = Recipe.of(session)
        steps = _Steps(recipe, len(session.stack)).lines()
    except Inexpressible as reason:
        return _from_file(session, saved, str(reason))
    lines = [*_image(session.volume), *_session(recipe), "", *steps]
    lines += ["", _write(session.volume, "session.labels", "session.volume")]
    head = ["from itertools import islice", ""] if any("islice(" in s for s in steps) else []
    text = "\n".join([*head, "import napari_medsam2 as nm", "", *lines, ""])
    has_file = bool(session.volume.source)
    return Copied(text, "" if has_file else _IN_MEMORY, is_complete=has_file)


class _Steps:
    """Statements that give prompts and run, keeping track of what the script has said so far."""

    def __init__(self, recipe: Recipe, n_frames: int) -> None:
        self._recipe = recipe
        self._n_frames = n_frames
        self._told: dict[View, PromptSet] = {}
        self._view = recipe.first_view
        self._locked: frozenset[int] = frozenset()
        self._order: tuple[int, ...] = ()

    def lines(self) -> list[str]:
        return [line for step in self._all() for line in step]

    def _all(self) -> Iterator[list[str]]:
        recipe = self._recipe
        for run, view in zip(recipe.runs, recipe.views, strict=True):
            yield self._turn(view)
            if run.kind == "remove":
                yield self._remove(run)
                continue
            yield self._lock(run.kept.locked)
            for entry in run.prompts.objects:
                yield self._tell(entry)
            yield self._put_in_order(run.kept.order)
            yield self._run(run)

    def _turn(self, view: View) -> list[str]:
        if view == self._view:
            return []
        self._view = view
        at = f", at={_pair(view.at)}" if view.at else ""
        return [f"session.turn({view.axis or 0}{at})"]

    @property
    def _prompts(self) -> PromptSet:
        return self._told.get(self._view, PromptSet())

    def _tell(self, entry: ObjectPrompts) -> list[str]:
        """Return what makes the object's prompts in the script those of the run."""
        known = self._prompts
        old = known[entry.id] if entry.id in known else ObjectPrompts(entry.id)
        before = old.prompts
        lines = []
        if before != entry.prompts[: len(before)]:
            lines.append(f"session.clear_prompts({entry.id})")
            before = ()
        name = old.name
        for prompt in entry.prompts[len(before) :]:
            told = "" if name == entry.name else f", name={entry.name!r}"
            lines.append(f"session.{_call(prompt, entry.id)}{told})")
            name = entry.name
        if name != entry.name:
            lines.append(f"session.rename_object({entry.id}, {entry.name!r})")
        others = tuple(o for o in known.objects if o.id != entry.id)
        self._told[self._view] = PromptSet((*others, entry))
        return lines

    def _remove(self, run: RunRecord) -> list[str]:
        gone = [i for i in run.prompts.ids if any(i in told for told in self._told.values())]
        for view, told in self._told.items():
            left = tuple(o for o in told.objects if o.id not in gone)
            self._told[view] = PromptSet(left)
        return [f"session.remove_object({i})" for i in gone]

    def _lock(self, wanted: frozenset[int]) -> list[str]:
        self._must_know(wanted)
        lines = [f"session.set_locked({i}, True)" for i in sorted(wanted - self._locked)]
        lines += [f"session.set_locked({i}, False)" for i in sorted(self._locked - wanted)]
        self._locked = wanted
        return lines

    def _put_in_order(self, wanted: tuple[int, ...]) -> list[str]:
        self._must_know(wanted)
        if wanted == self._order:
            return []
        self._order = wanted
        return [f"session.reorder({list(wanted)})"]

    def _must_know(self, object_ids: Iterable[int]) -> None:
        known = {i for told in self._told.values() for i in told.ids}
        if not {*object_ids} <= known:
            raise Inexpressible("Objects that were never segmented are locked or in order")

    def _run(self, run: RunRecord) -> list[str]:
        ids = set(run.prompts.ids)
        all_ids = {*self._prompts.prompted_ids} - self._locked
        only = "" if ids == all_ids else f"object_ids={sorted(ids)}"
        has_ended = must_have_ended(run, self._n_frames)
        if run.kind == "segment":
            if not has_ended:
                raise Inexpressible("A slice was stopped half-way")
            return [f"session.segment({_arguments(str(run.frame), only)})"]
        said = [
            "" if run.direction == "both" else f"direction={run.direction!r}",
            "" if run.start is None else f"start={run.start}",
            "" if run.stop is None else f"stop={run.stop}",
            only,
            "" if run.patience is None else f"patience={run.patience}",
        ]
        call = f"session.propagate({_arguments(*said)})"
        counted = call if has_ended else f"islice({call}, {run.updates})"
        return [f"for _ in {counted}:", "    pass"]


def _from_file(session: Session, saved: Path | None, reason: str) -> Copied:
    volume = session.volume
    where = SESSION_PLACEHOLDER if saved is None else str(saved)
    image = [] if volume.source else _image(volume)
    given = "" if volume.source else ", volume"
    lines = [
        "import napari_medsam2 as nm",
        "",
        *image,
        f"# {reason}: the saved session holds it.",
        f"session = nm.Session.load({where!r}{given})",
        "labels = session.replay()",
        _write(volume, "labels", "session.volume"),
        "",
    ]
    return saved_as(session, saved, reason, "\n".join(lines))


def _image(volume: Volume) -> list[str]:
    if volume.source:
        return [f"volume = nm.read({volume.source!r})"]
    return [
        f"# The image is in memory only; put its array {_pair(volume.shape)} here.",
        "array = ...",
        f"volume = nm.Volume(array, axes={volume.axes!r}, spacing={_pair(volume.spacing)})",
    ]


def _session(recipe: Recipe) -> list[str]:
    said = [f"model={recipe.model!r}"]
    said += [f"{name}={_value(value)}" for name, value in recipe.settings.items()]
    line = f"session = nm.Session(volume, {', '.join(said)})"
    if len(line) <= 100:
        return [line]
    return ["session = nm.Session(", "    volume,", *(f"    {part}," for part in said), ")"]


def _write(volume: Volume, labels: str, of: str) -> str:
    return f"nm.write_labels({labels_name(volume)!r}, {labels}, {of})"


def _call(prompt: Prompt, object_id: int) -> str:
    """Return a call that gives a prompt, without its closing bracket."""
    match prompt:
        case BoxPrompt():
            said = f"add_box({prompt.frame}, {_pair(prompt.box)}"
        case PointPrompt():
            said = (
                f"add_points({prompt.frame}, {_pairs(prompt.points)}, labels={list(prompt.labels)}"
            )
        case PolygonPrompt():
            said = f"add_polygon({prompt.frame}, {_pairs(prompt.vertices)}"
        case ScribblePrompt():
            said = f"add_scribble({prompt.frame}, {_pairs(prompt.path)}, label={prompt.label}"
        case _:
            raise Inexpressible("A mask that was given cannot be written as text")
    return f"{said}, object_id={object_id}"


def _value(value: Any) -> str:
    found = numbers(value)
    return repr(value) if found is None else _pair(found)


def _pair(values: Sequence[float]) -> str:
    inside = ", ".join(number(v) for v in values)
    return f"({inside},)" if len(values) == 1 else f"({inside})"


def _pairs(values: Iterable[Sequence[float]]) -> str:
    return f"[{', '.join(_pair(v) for v in values)}]"


def _arguments(*said: str) -> str:
    return ", ".join(filter(None, said))
