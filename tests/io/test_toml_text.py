"""TOML that we write: tomllib reads back what was given."""

from __future__ import annotations

import math
import tomllib
from datetime import date, datetime, time, timedelta, timezone
from pathlib import PurePosixPath

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_medsam2.errors import InputError
from napari_medsam2.io.toml_text import dump

_TEXTS = st.text(st.characters(exclude_categories=("Cs",)))
_VALUES = st.recursive(
    st.one_of(
        _TEXTS,
        st.booleans(),
        st.integers(-(2**63), 2**63 - 1),
        st.floats(allow_nan=False),
        st.dates(),
        st.times(),
        st.datetimes(),
    ),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(_TEXTS, _VALUES, max_size=5))
def test_what_is_read_equals_what_was_given(content):
    assert tomllib.loads(dump(content)) == content


def test_its_form():
    content = {"scores": {"dice": 0.5, "by size": {"small": [1, 2]}}, "title": 'a "b"\n', "n": 1}
    assert dump(content) == (
        'title = "a \\"b\\"\\n"\nn = 1\n\n[scores]\ndice = 0.5\n\n[scores."by size"]\n'
        "small = [1, 2]\n"
    )


def test_what_tomllib_never_gives():
    zone = timezone(timedelta(hours=2))
    content = {
        "numbers": (np.float32(0.5), np.int64(3), np.bool_(True)),
        "path": PurePosixPath("a/b"),
        "when": [date(2025, 1, 2), time(3, 4), datetime(2025, 1, 2, 3, 4, tzinfo=zone)],
        "nan": math.nan,
        "most": -math.inf,
    }
    read = tomllib.loads(dump(content))
    assert read["numbers"] == [0.5, 3, True]
    assert read["path"] == "a/b"
    assert read["when"] == content["when"]
    assert math.isnan(read["nan"])
    assert read["most"] == -math.inf


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"a": {"b": [1, None]}}, r"a\.b: TOML cannot express NoneType"),
        ({"a": np.zeros(3)}, "a: TOML cannot express ndarray"),
        ({"a": {3: 1}}, "a: the key 3 is no text"),
        ({"a": "\ud800"}, "a: .* is no valid Unicode"),
    ],
)
def test_what_cannot_be_written_is_named(content, told):
    with pytest.raises(InputError, match=told):
        dump(content)
