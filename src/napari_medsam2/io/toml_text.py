"""Writing TOML 1.0, which Python's tomllib can read but not write."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date, datetime, time
from numbers import Integral, Real
from pathlib import PurePath
from typing import Any

import numpy as np

from napari_medsam2.errors import InputError

__all__ = ["dump"]

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_SHORT = {"\\": r"\\", '"': r"\"", "\b": r"\b", "\t": r"\t", "\n": r"\n", "\f": r"\f", "\r": r"\r"}


def dump(content: Mapping[str, Any]) -> str:
    """Write a document; what tomllib reads from it equals what was given.

    Parameters
    ----------
    content : mapping
        Of text to text, bool, numbers (NumPy's too), paths (as text), dates and times, lists and
        tuples of these, and mappings, which become tables.

    Raises
    ------
    InputError
        For what TOML cannot express, such as None; it names the key.
    """
    return "\n\n".join(_tables(content, ())) + "\n"


def _tables(content: Mapping[str, Any], place: tuple[str, ...]) -> list[str]:
    """Return a table and those inside it, each as its lines; values stand before tables."""
    values = [(key, value) for key, value in content.items() if not isinstance(value, Mapping)]
    inner = [(key, value) for key, value in content.items() if isinstance(value, Mapping)]
    lines = [f"[{'.'.join(_key(part, place) for part in place)}]"] if place else []
    lines += [f"{_key(key, place)} = {_value(value, (*place, key))}" for key, value in values]
    # A table of tables alone needs no heading of its own.
    shown = ["\n".join(lines)] if values or not inner else []
    for key, value in inner:
        shown += _tables(value, (*place, key))
    return shown


def _key(key: object, place: tuple[str, ...]) -> str:
    if not isinstance(key, str):
        raise InputError(f"{'.'.join(place) or 'TOML'}: the key {key!r} is no text")
    return key if _BARE.fullmatch(key) else _text(key, place)


def _value(value: Any, place: tuple[str, ...]) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    match value:
        case bool():
            return "true" if value else "false"
        case Integral():
            return str(int(value))
        case Real():
            # repr gives the shortest form that reads back as the same number.
            return repr(float(value))
        case str() | PurePath():
            return _text(str(value), place)
        case datetime() | date() | time():
            return value.isoformat()
        case list() | tuple():
            return f"[{', '.join(_value(item, place) for item in value)}]"
        case Mapping():
            pairs = (f"{_key(k, place)} = {_value(v, (*place, k))}" for k, v in value.items())
            return f"{{{', '.join(pairs)}}}"
    raise InputError(
        f"{'.'.join(map(str, place))}: TOML cannot express {type(value).__name__}; leave it out or "
        "write it as text"
    )


def _text(text: str, place: tuple[str, ...]) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(f"{'.'.join(map(str, place))}: {text!r} is no valid Unicode") from error
    return f'"{"".join(_escaped(character) for character in text)}"'


def _escaped(character: str) -> str:
    if character in _SHORT:
        return _SHORT[character]
    is_control = character < " " or character == "\x7f"
    return f"\\u{ord(character):04X}" if is_control else character
