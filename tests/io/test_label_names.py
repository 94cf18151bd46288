"""Labels by name, with their table beside them."""

from __future__ import annotations

import csv

import numpy as np
import pytest

from napari_medsam2.errors import WriteError
from napari_medsam2.io import read_labels
from napari_medsam2.io.label_names import names_path, write_named_labels

LABELS = np.array([[0, 1], [2, 3]], dtype=np.uint16)
NAMES = {1: "cell, dividing", 2: "Zelle", 3: "cell, dividing"}


@pytest.mark.parametrize("name", ["ct.v2.nii.gz", "ct.v2.tif", "ct.v2.ome.tif"])
def test_the_table_is_named_after_the_labels(tmp_path, name):
    assert names_path(tmp_path / name) == tmp_path / "ct.v2.names.csv"


def test_labels_and_table(tmp_path):
    path = write_named_labels(tmp_path / "cells.tif", LABELS, NAMES)
    np.testing.assert_array_equal(read_labels(path), [[0, 1], [2, 1]])
    with (tmp_path / "cells.names.csv").open(newline="", encoding="utf-8") as file:
        assert list(csv.reader(file)) == [
            ["value", "name", "objects"],
            ["1", "cell, dividing", "1 3"],
            ["2", "Zelle", "2"],
        ]


@pytest.mark.parametrize("existing", ["cells.tif", "cells.names.csv"])
def test_neither_file_is_written_over(tmp_path, existing):
    (tmp_path / existing).write_text("mine")
    with pytest.raises(WriteError, match="exists"):
        write_named_labels(tmp_path / "cells.tif", LABELS, NAMES)
    assert [p.name for p in tmp_path.iterdir()] == [existing]
    assert (tmp_path / existing).read_text() == "mine"
    write_named_labels(tmp_path / "cells.tif", LABELS, NAMES, overwrite=True)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_format_that_is_unknown_leaves_no_table(tmp_path):
    with pytest.raises(WriteError, match="names no label format"):
        write_named_labels(tmp_path / "cells.doc", LABELS, NAMES)
    assert not list(tmp_path.iterdir())
