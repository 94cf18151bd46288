"""JSON read strictly, with the place of every mistake, and written so that people can read it."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from napari_medsam2.errors import ReadError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

__all__ = ["Node", "dump", "plain_number", "plain_pairs", "read_object"]

_WIDTH = 100


@dataclass(frozen=True)
class Node:
    """A value of a JSON document that knows where it stands.

    Parameters
    ----------
    value : object
    where : str
        Place in the document, such as ``objects[0].prompts[2].box``; "" for the whole.
    document : str
        Name of the file.
    """

    value: Any
    where: str
    document: str

    def error(self, problem: str) -> ReadError:
        """Return an error at this place."""
        return ReadError(": ".join(filter(None, (self.document, self.where, problem))))

    def __contains__(self, key: str) -> bool:
        """Whether the object has a key."""
        return key in self.mapping()

    def get(self, key: str) -> Node:
        """Return the value of a key, which must be there."""
        here = self.mapping()
        if key not in here:
            raise self.error(f"the key {key!r} is missing")
        return Node(here[key], f"{self.where}.{key}".lstrip("."), self.document)

    def keys(self, required: Sequence[str], optional: Sequence[str] = ()) -> None:
        """Check that all required keys are there and none that is unknown."""
        known = (*required, *optional)
        for key in self.mapping():
            if key not in known:
                near = get_close_matches(key, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"known are {', '.join(known)}"
                raise Node(None, f"{self.where}.{key}".lstrip("."), self.document).error(
                    f"unknown key, {hint}"
                )
        for key in required:
            self.get(key)

    def mapping(self) -> Mapping[str, Any]:
        """Return the value, which must be an object."""
        if not isinstance(self.value, dict):
            raise self.error(f"must be an object {{...}}, got {_shown(self.value)}")
        return self.value

    def items(self) -> list[Node]:
        """Return the entries, of what must be a list."""
        if not isinstance(self.value, list):
            raise self.error(f"must be a list [...], got {_shown(self.value)}")
        return [Node(v, f"{self.where}[{i}]", self.document) for i, v in enumerate(self.value)]

    def integer(self) -> int:
        """Return the value, which must be a whole number."""
        if isinstance(self.value, bool) or not isinstance(self.value, int):
            raise self.error(f"must be a whole number, got {_shown(self.value)}")
        return self.value

    def number(self) -> float:
        """Return the value, which must be a finite number."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            raise self.error(f"must be a number, got {_shown(self.value)}")
        try:
            number = float(self.value)
        except OverflowError:
            number = math.inf
        if not math.isfinite(number):
            raise self.error("is too large a number")
        return number

    def string(self) -> str:
        """Return the value, which must be text."""
        if not isinstance(self.value, str):
            raise self.error(f"must be text in quotes, got {_shown(self.value)}")
        return self.value

    def numbers(self, count: int, names: str) -> tuple[float, ...]:
        """Return the value, which must be a list of so many numbers."""
        items = self.items()
        if len(items) != count:
            raise self.error(f"must be {count} numbers [{names}], got {_shown(self.value)}")
        return tuple(item.number() for item in items)

    def pairs(self) -> tuple[tuple[float, float], ...]:
        """Return the value, which must be a list of [y, x]."""
        pairs = (item.numbers(2, "y, x") for item in self.items())
        return tuple((y, x) for y, x in pairs)


def read_object(path: Path) -> dict[str, Any]:
    """Read a JSON file whose top is an object.

    Raises
    ------
    ReadError
        If there is no such file, or it is no JSON, or a key comes twice, or a number is nan.
    """

    def refuse(constant: str) -> Any:
        raise ReadError(f"{path.name}: {constant} is not a number that JSON knows")

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        content = dict(pairs)
        if len(content) < len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise ReadError(f"{path.name}: the key {twice!r} comes twice in one object")
        return content

    try:
        text = path.read_text(encoding="utf-8-sig")
        content = json.loads(text, parse_constant=refuse, object_pairs_hook=unique)
    except ReadError:
        raise
    except FileNotFoundError as error:
        raise ReadError(f"{path}: there is no such file") from error
    except OSError as error:
        raise ReadError(f"{path.name}: cannot be opened ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise ReadError(f"{path.name}: is no text, so no JSON file of prompts") from error
    except json.JSONDecodeError as error:
        raise ReadError(
            f"{path.name}: is no valid JSON: {error.msg} in line {error.lineno}, "
            f"column {error.colno}"
        ) from error
    except (RecursionError, ValueError) as error:
        raise ReadError(f"{path.name}: is no reasonable JSON ({error})") from error
    if not isinstance(content, dict):
        raise ReadError(f"{path.name}: must hold one object {{...}}, got {_shown(content)}")
    return content


def dump(value: Any) -> str:
    """Write JSON with what is short on one line.

    Raises
    ------
    TypeError, ValueError
        For what JSON cannot express: nan, infinity, keys that are no text.
    """
    _check_keys(value)
    return _laid_out(value, 0)


def _check_keys(value: Any) -> None:
    """Raise `TypeError` for keys that json would quietly turn into text."""
    if isinstance(value, dict):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("keys must be text")
        value = list(value.values())
    if isinstance(value, list | tuple):
        for item in value:
            _check_keys(item)


def _laid_out(value: Any, indent: int) -> str:
    flat = json.dumps(value, allow_nan=False, ensure_ascii=False)
    if len(flat) + indent <= _WIDTH or not isinstance(value, dict | list | tuple) or not value:
        return flat
    if not isinstance(value, dict) and not _nested(value):
        return flat
    pad = " " * (indent + 2)
    if isinstance(value, dict):
        lines = [f"{_laid_out(k, 0)}: {_laid_out(v, indent + 2)}" for k, v in value.items()]
        opening, closing = "{", "}"
    else:
        lines = [_laid_out(v, indent + 2) for v in value]
        opening, closing = "[", "]"
    joined = f",\n{pad}".join(lines)
    return f"{opening}\n{pad}{joined}\n{' ' * indent}{closing}"


def plain_number(value: float) -> int | float:
    """Return a whole number as int, so that JSON says 3 and not 3.0; nothing is lost."""
    whole = value.is_integer() and abs(value) < 2**53 and repr(value) != "-0.0"
    return int(value) if whole else value


def plain_pairs(values: Iterable[tuple[float, float]]) -> list[list[int | float]]:
    """Return (y, x) pairs as JSON lists."""
    return [[plain_number(y), plain_number(x)] for y, x in values]


def _nested(value: Any) -> bool:
    """Whether a list holds objects somewhere: lists of numbers stay on one line."""
    return any(isinstance(v, dict) or (isinstance(v, list | tuple) and _nested(v)) for v in value)


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
