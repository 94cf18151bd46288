"""A session as one command for a POSIX shell."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING, Any

from napari_medsam2.prompts import BoxPrompt, PointPrompt, PromptSet

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
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from napari_medsam2.history import RunRecord
    from napari_medsam2.prompts import Prompt
    from napari_medsam2.session import Session

__all__ = ["as_command"]

_IN_MEMORY = "The image is in memory only: save it and put its file in place of IMAGE"
_COMMENT = f"# {_IN_MEMORY}.\n"
# Arguments of `Session` that are an option of the command; the others have none.
_OPTIONS = {
    "axis": "--axis",
    "at": "--at",
    "channel": "--channel",
    "checkpoint": "--checkpoint",
    "device": "--device",
    "image_size": "--image-size",
    "level": "--level",
    "memory": "--memory",
    "precision": "--precision",
    "spacing": "--spacing",
    "window": "--window",
    "zoom": "--zoom",
}


def as_command(session: Session, saved: Path | None = None) -> Copied:
    """Return a command that makes a session's labels again.

    Boxes and clicks become options where one propagation, or slices alone, made the labels. All
    else is left to a saved session, which the command replays.

    Parameters
    ----------
    session : Session
    saved : Path, optional
        A file that holds the session as it is now.

    Returns
    -------
    Copied
    """
    volume = session.volume
    image = volume.source or "IMAGE"
    comment = "" if volume.source else _COMMENT
    start = ["napari-medsam2", "segment", image, "--output", labels_name(volume)]
    try:
        recipe = Recipe.of(session)
        options = [*_prompts_and_plan(recipe, len(session.stack)), *_settings(recipe)]
    except Inexpressible as reason:
        where = SESSION_PLACEHOLDER if saved is None else str(saved)
        text = comment + _joined([start, ["--prompts", where]])
        return saved_as(session, saved, str(reason), text)
    text = comment + _joined([start, *options])
    return Copied(text, "" if volume.source else _IN_MEMORY, is_complete=bool(volume.source))


def _prompts_and_plan(recipe: Recipe, n_frames: int) -> list[list[str]]:
    computed = [at for at, run in enumerate(recipe.runs) if run.kind != "remove"]
    if not computed:
        raise Inexpressible("Nothing was segmented yet")
    runs = [recipe.runs[at] for at in computed]
    if len(set(recipe.views)) > 1:
        raise Inexpressible("Several views of the image were segmented")
    for run in runs:
        if run.kept.locked or run.kept.order:
            raise Inexpressible("Locked objects and their order have no option")
    last = runs[-1]
    if last.kind == "segment":
        if len(runs) < len(recipe.runs):
            raise Inexpressible("An object was removed between slices")
        _check_slices(runs, n_frames)
        return [*_told(_said_on_slices(runs)), ["--slice-only"]]
    _check_last(recipe.runs[: computed[-1]], last, recipe.runs[computed[-1] + 1 :], n_frames)
    plan = []
    if last.direction != "both":
        plan.append(["--direction", last.direction])
    if last.start is not None or last.stop is not None:
        sides = ("" if side is None else str(side) for side in (last.start, last.stop))
        plan.append(["--range", ":".join(sides)])
    if last.patience is not None:
        plan.append(["--patience", str(last.patience)])
    return [*_told(last.prompts), *plan]


def _check_last(
    before: Sequence[RunRecord], last: RunRecord, after: Sequence[RunRecord], n_frames: int
) -> None:
    """Raise `Inexpressible` unless the last propagation states anew all that stands."""
    if last.corrections:
        raise Inexpressible("Corrections of a propagation need the propagation before them")
    if not must_have_ended(last, n_frames):
        raise Inexpressible("The last propagation was stopped, or objects begin on several slices")
    removed = {i for run in after for i in run.prompts.ids}
    if removed & {*last.prompts.ids}:
        raise Inexpressible("An object was removed afterwards")
    for run in reversed(before):
        if run.kind == "remove":
            removed |= {*run.prompts.ids}
        elif not _restates(last, run, removed, n_frames):
            raise Inexpressible("The labels were made in several runs")


def _restates(last: RunRecord, run: RunRecord, removed: set[int], n_frames: int) -> bool:
    """Whether nothing of an earlier run is left after the last one."""
    left = {*run.prompts.ids} - removed
    if not left <= {*last.prompts.ids}:
        return False
    inside = range(last.start or 0, n_frames if last.stop is None else last.stop)
    if run.kind == "segment":
        touched = range(run.frame or 0, (run.frame or 0) + 1)
    else:
        touched = range(run.start or 0, n_frames if run.stop is None else run.stop)
    if not (inside.start <= touched.start and touched.stop <= inside.stop):
        return False
    return last.direction == "both" or (
        run.kind == "segment" and all(run.frame in last.prompts[i].frames for i in left)
    )


def _check_slices(runs: Sequence[RunRecord], n_frames: int) -> None:
    """Raise `Inexpressible` unless each slice stands as its last run has left it."""
    for number_of, run in enumerate(runs):
        if run.kind != "segment" or not must_have_ended(run, n_frames):
            raise Inexpressible("The labels were made in several runs")
        if run.corrections:
            raise Inexpressible("Corrections of a propagation need the propagation before them")
        for later in runs[number_of + 1 :]:
            if later.frame == run.frame and not {*_on(run)} <= {*_on(later)}:
                raise Inexpressible("The labels were made in several runs")


def _said_on_slices(runs: Iterable[RunRecord]) -> PromptSet:
    """Return what the last run of each slice was told there."""
    latest = {run.frame: run for run in runs}
    prompts = PromptSet()
    for frame in sorted(f for f in latest if f is not None):
        for entry in latest[frame].prompts.objects:
            if entry.on(frame):
                prompts = prompts.add(entry.id, *entry.on(frame))
    return prompts


def _on(run: RunRecord) -> list[int]:
    return [o.id for o in run.prompts.objects if o.on(run.frame or 0)]


def _told(prompts: PromptSet) -> list[list[str]]:
    return [
        option for o in prompts.objects for prompt in o.prompts for option in _option(prompt, o.id)
    ]


def _option(prompt: Prompt, object_id: int) -> list[list[str]]:
    at = "" if object_id == 1 else f"@{object_id}"
    if isinstance(prompt, BoxPrompt):
        return [["--box", f"{prompt.frame},{_numbers(prompt.box)}{at}"]]
    if isinstance(prompt, PointPrompt):
        return [
            ["--point", f"{prompt.frame},{_numbers(point)},{'+' if label else '-'}{at}"]
            for point, label in zip(prompt.points, prompt.labels, strict=True)
        ]
    raise Inexpressible("Scribbles and outlines have no option")


def _settings(recipe: Recipe) -> list[list[str]]:
    options = [["--model", recipe.model]]
    for name, value in recipe.settings.items():
        if name not in _OPTIONS:
            raise Inexpressible(f"The command has no option for {name}")
        options.append(_setting(_OPTIONS[name], value))
    return options


def _setting(option: str, value: Any) -> list[str]:
    found = numbers(value)
    text = str(value) if found is None else _numbers(found)
    # A value that begins with a minus would be read as an option.
    return [f"{option}={text}"] if text.startswith("-") else [option, text]


def _numbers(values: Iterable[float]) -> str:
    return ",".join(number(value) for value in values)


def _joined(parts: Iterable[list[str]]) -> str:
    """Return a command over several lines, quoted for the shell."""
    return " \\\n    ".join(shlex.join(part) for part in parts) + "\n"
