"""One value a name."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medsam2.semantics import NamedValue, semantic_labels


def test_objects_of_one_name_share_the_value_of_the_first():
    labels = np.array([[0, 1, 2], [3, 4, 300]], dtype=np.uint16)
    names = {1: "vessel", 2: "liver", 3: " vessel ", 4: "", 300: "liver"}
    named, table = semantic_labels(labels, names)
    np.testing.assert_array_equal(named, [[0, 1, 2], [1, 4, 2]])
    assert named.dtype == np.uint16
    assert table == (
        NamedValue(1, "vessel", (1, 3)),
        NamedValue(2, "liver", (2, 300)),
        NamedValue(4, "", (4,)),
    )
    assert labels[1, 0] == 3


def test_a_name_without_labels_keeps_its_value_and_unnamed_labels_are_listed():
    labels = np.array([0, 7, 9], dtype=np.uint8)
    named, table = semantic_labels(labels, {2: "bone", 9: "bone"})
    assert named.tolist() == [0, 7, 2]
    assert [(row.value, row.name) for row in table] == [(2, "bone"), (7, "")]


def test_names_differ_by_case_and_nothing_is_without_rows():
    labels = np.array([1, 2], dtype=np.uint8)
    assert semantic_labels(labels, {1: "Liver", 2: "liver"})[0].tolist() == [1, 2]
    assert semantic_labels(np.zeros((2, 2), np.uint8), {})[1] == ()


@pytest.mark.parametrize("shape", [(0,), (3, 4, 5)])
def test_any_shape(shape):
    named, _ = semantic_labels(np.zeros(shape, np.uint32), {1: "a"})
    assert named.shape == shape
