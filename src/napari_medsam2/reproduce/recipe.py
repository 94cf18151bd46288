"""What both forms of text need to know: the one recipe that all runs of a session share."""

from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from napari_medsam2.history import ModelChoice
from napari_medsam2.prompts import MaskPrompt

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from napari_medsam2.history import RunRecord
    from napari_medsam2.session import Session
    from napari_medsam2.volume import View, Volume

__all__ = [
    "Copied",
    "Inexpressible",
    "Recipe",
    "labels_name",
    "must_have_ended",
    "number",
    "numbers",
    "saved_as",
]

SESSION_PLACEHOLDER = "SESSION.medsam2.json"


class Inexpressible(Exception):  # noqa: N818
    """Text alone cannot say this; the message says why, as the start of a sentence."""


@dataclass(frozen=True)
class Copied:
    """Text that reproduces a session, and what to tell whoever asked for it.

    Attributes
    ----------
    text : str
    note : str
        What is special about the text, a sentence; "" if it needs nothing but the image's file.
    is_complete : bool
        Whether the text can be run as it is.
    """

    text: str
    note: str = ""
    is_complete: bool = True


@dataclass(frozen=True)
class Recipe:
    """The runs of a session and the settings that all of them share.

    Attributes
    ----------
    settings : mapping
        Arguments of `Session` that are not its defaults, without the model.
    model : str
    first_view : View
        The frames that the session has to begin with.
    views : tuple of View
        Of each run.
    runs : tuple of RunRecord
    """

    settings: Mapping[str, Any]
    model: str
    first_view: View
    views: tuple[View, ...]
    runs: tuple[RunRecord, ...]

    @classmethod
    def of(cls, session: Session) -> Recipe:
        """Return the recipe of a session.

        Raises
        ------
        Inexpressible
            If the runs had different settings, or text cannot hold what was given to them.
        """
        runs = session.runs
        for run in runs:
            _check(run)
        begun = session.saved(session.labels).first_view
        views = tuple(begun if run.view is None else run.view for run in runs)
        first = views[0] if views else session.stack.view
        settings: dict[str, Any] = dict(session.settings)
        computed = [run for run in runs if run.kind != "remove"]
        if computed:
            # What was in force then counts, not what is chosen now.
            last = computed[-1]
            choice = last.model or ModelChoice(**_of_the_model(session.settings))
            settings |= asdict(choice)
            settings |= {"window": last.window, "zoom": last.zoom}
            if last.level != session.stack.level:
                settings["level"] = last.level
            if last.channel is not None:
                settings["channel"] = last.channel[0] if last.channel else None
            _check_shared(computed)
        settings |= {"axis": first.axis or 0, "at": list(first.at)}
        model = settings.pop("model")
        return cls(_unusual(settings, session), model, first, views, runs)


def saved_as(session: Session, saved: Path | None, reason: str, text: str) -> Copied:
    """Return text that replays a saved session, with the reason why it has to.

    Parameters
    ----------
    session : Session
    saved : Path or None
        The file that holds the session as it is now.
    reason : str
        Why text alone does not do, as the start of a sentence.
    text : str
    """
    if saved is None:
        return Copied(
            text, f"{reason}: save the session and put its file into the text", is_complete=False
        )
    return Copied(text, f"{reason}, so it replays {saved.name}", bool(session.volume.source))


def labels_name(volume: Volume) -> str:
    """Return a name for the file of the labels, in a format that can hold their geometry."""
    name = volume.name.replace("/", "_").strip() or "image"
    return f"{name}_labels{'.nii.gz' if volume.geometry is not None else '.tif'}"


def number(value: float) -> str:
    """Return a number as exactly as Python reads it back, whole ones without a point."""
    return str(int(value)) if float(value).is_integer() else repr(float(value))


def numbers(value: Any) -> tuple[float, ...] | None:
    """Return a sequence of numbers as a tuple, None for anything else."""
    if isinstance(value, list | tuple) and all(isinstance(v, int | float) for v in value):
        return tuple(value)
    return None


def must_have_ended(run: RunRecord, n_frames: int) -> bool:
    """Whether a run has certainly gone to its end, rather than been stopped.

    It is certain where every object is stated once on every frame; not where objects that begin on
    different frames may be stated again to settle an overlap.
    """
    if run.kind == "segment":
        return run.updates == sum(1 for o in run.prompts.objects if o.on(run.frame or 0))
    if run.kind == "propagate":
        stop = n_frames if run.stop is None else run.stop
        frames = {o.frames for o in run.prompts.objects}
        begins_at_once = len(run.prompts.ids) == 1 or (
            len(frames) == 1 and len(next(iter(frames))) == 1
        )
        expected = len(run.prompts.ids) * (stop - (run.start or 0))
        return run.direction == "both" and begins_at_once and run.updates == expected
    return True


def _check(run: RunRecord) -> None:
    if run.writes or run.kind == "write":
        raise Inexpressible("Painted or computed masks cannot be written as text")
    if any(isinstance(p, MaskPrompt) for o in run.prompts.objects for p in o.prompts):
        raise Inexpressible("A mask that was given cannot be written as text")
    if run.kept.accepted:
        raise Inexpressible("Accepted masks cannot be written as text")


def _check_shared(runs: Sequence[RunRecord]) -> None:
    for what, values in (
        ("model", [run.model for run in runs]),
        ("window", [run.window for run in runs]),
        ("channel", [run.channel for run in runs]),
        ("level", [run.level for run in runs]),
        ("zoom", [run.zoom for run in runs]),
    ):
        if any(value != values[0] for value in values):
            raise Inexpressible(f"The {what} was changed between runs")
    if runs[0].channel is not None and len(runs[0].channel) > 1:
        raise Inexpressible("Several channels were blended")


def _of_the_model(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: settings[name] for name in ModelChoice.__dataclass_fields__}


def _unusual(settings: Mapping[str, Any], session: Session) -> dict[str, Any]:
    """Return the arguments of `Session` that have to be said."""
    parameters = inspect.signature(type(session)).parameters
    said = {name: value if (n := numbers(value)) is None else n for name, value in settings.items()}
    if any(size != 1 for size in session.volume.spacing):
        said["spacing"] = tuple(session.volume.spacing)
    said["device"] = session.device_name
    return {
        name: value
        for name, value in said.items()
        if value not in (parameters[name].default, ()) and value is not None
    }
