"""Options as text into values; every error names the option and the text."""

from __future__ import annotations

from typing import TYPE_CHECKING, ParamSpec, TypeVar

from napari_medsam2.errors import InputError
from napari_medsam2.prompts import BoxPrompt, PointPrompt, PromptSet, check_object_id, check_prompt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from napari_medsam2.frames import FrameStack
    from napari_medsam2.prompts import Prompt

__all__ = [
    "add_prompts",
    "check_prompts",
    "parse_box",
    "parse_channels",
    "parse_numbers",
    "parse_objects",
    "parse_point",
    "parse_positions",
    "parse_range",
]

BOX_FORM = "frame,y0,x0,y1,x1[@id]"
POINT_FORM = "frame,y,x,+|-[@id]"

_P = ParamSpec("_P")
_T = TypeVar("_T")
_Told = tuple[int, "Prompt"]


def parse_box(text: str) -> _Told:
    """Read a box such as "20,30,40,90,120@2"; without @id it belongs to object 1.

    Returns
    -------
    tuple of (int, BoxPrompt)
        The object id and the prompt.

    Raises
    ------
    InputError
    """
    option = f'--box "{text}"'
    fields, object_id = _split(text, option, 5, BOX_FORM)
    y0, x0, y1, x1 = (_number(field, option, BOX_FORM) for field in fields[1:])
    frame = _frame(fields[0], option, BOX_FORM)
    return object_id, _named(option, BoxPrompt, frame, (y0, x0, y1, x1))


def parse_point(text: str) -> _Told:
    """Read a click such as "20,64,80,+@2"; without @id it belongs to object 1.

    Returns
    -------
    tuple of (int, PointPrompt)
        The object id and the prompt: "+" on the object, "-" beside it.

    Raises
    ------
    InputError
    """
    option = f'--point "{text}"'
    fields, object_id = _split(text, option, 4, POINT_FORM)
    if fields[3] not in ("+", "-"):
        raise InputError(f"{option}: expected {POINT_FORM}, and {fields[3]!r} is neither + nor -")
    y, x = (_number(field, option, POINT_FORM) for field in fields[1:3])
    frame = _frame(fields[0], option, POINT_FORM)
    label = int(fields[3] == "+")
    return object_id, _named(option, PointPrompt, frame, ((y, x),), (label,))


def parse_range(text: str | None) -> tuple[int | None, int | None]:
    """Read "A:B", half-open; either side may be left out."""
    if text is None:
        return None, None
    sides = [side.strip() for side in text.split(":")]
    if len(sides) != 2 or not all(side.isdecimal() or not side for side in sides):
        raise InputError(
            f'--range "{text}": expected A:B, the first frame and the one after the last'
        )
    start, stop = (int(side) if side else None for side in sides)
    return start, stop


def parse_objects(text: str | None) -> tuple[int, ...] | None:
    """Read object ids such as "1,3"."""
    if text is None:
        return None
    option = f'--objects "{text}"'
    ids = [_whole(field, option, "object ids such as 1,3") for field in text.split(",")]
    return tuple(_named(option, check_object_id, i) for i in ids)


def parse_positions(text: str | None) -> tuple[int, ...] | None:
    """Read positions on the remaining axes such as "0" or "2,1"."""
    if text is None:
        return None
    return tuple(
        _whole(field, f'--at "{text}"', "a whole number for each remaining axis, such as 2,1")
        for field in text.split(",")
    )


def parse_channels(text: str | None) -> tuple[int, ...] | None:
    """Read the number of a channel such as "1", or several such as "0,2"."""
    if text is None:
        return None
    return tuple(
        _whole(field, f'--channel "{text}"', "a channel such as 1, or several such as 0,2")
        for field in text.split(",")
    )


def parse_numbers(text: str | None, option: str) -> tuple[float, ...] | None:
    """Read numbers such as "3,1.8,1.8"."""
    if text is None:
        return None
    option = f'{option} "{text}"'
    return tuple(
        _number(field.strip(), option, "numbers such as 3,0.5,0.5") for field in text.split(",")
    )


def add_prompts(prompts: PromptSet, told: Iterable[_Told]) -> PromptSet:
    """Return a set with further prompts, in the order given."""
    for object_id, prompt in told:
        prompts = prompts.add(object_id, prompt)
    return prompts


def check_prompts(options: Sequence[tuple[str, _Told]], stack: FrameStack) -> None:
    """Raise `InputError` for the first option whose prompt does not fit the image.

    Parameters
    ----------
    options : sequence of (text, (object id, prompt))
        The text names the option, for the message.
    stack : FrameStack
    """
    for option, (object_id, prompt) in options:
        _named(option, check_prompt, prompt, len(stack), stack.shape, object_id)


def _split(text: str, option: str, count: int, form: str) -> tuple[list[str], int]:
    body, at, suffix = text.partition("@")
    fields = [field.strip() for field in body.split(",")]
    if len(fields) != count or (at and not suffix.strip()):
        raise InputError(f"{option}: expected {form}")
    if not at:
        return fields, 1
    object_id = _whole(suffix, option, form)
    return fields, _named(option, check_object_id, object_id)


def _frame(field: str, option: str, form: str) -> int:
    frame = _whole(field, option, form)
    if frame < 0:
        raise InputError(f"{option}: frames are counted from 0, got {frame}")
    return frame


def _whole(field: str, option: str, form: str) -> int:
    try:
        return int(field)
    except ValueError:
        raise InputError(
            f"{option}: expected {form}, and {field.strip()!r} is no whole number"
        ) from None


def _number(field: str, option: str, form: str) -> float:
    try:
        return float(field)
    except ValueError:
        raise InputError(f"{option}: expected {form}, and {field!r} is no number") from None


def _named(option: str, make: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Call something, and name the option in whatever is wrong with its value."""
    try:
        return make(*args, **kwargs)
    except InputError as error:
        raise type(error)(f"{option}: {error}") from error
