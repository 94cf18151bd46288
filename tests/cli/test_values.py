"""`segment --values`: one value an object, or one a name."""

from __future__ import annotations

import json

import numpy as np
import pytest
from tests.cli.common import one_line, segment, table

pytestmark = pytest.mark.usefixtures("bright")


@pytest.fixture
def named(image):
    """Prompts of two objects of one name."""
    path = image.parent / "prompts.json"
    boxes = {2: (2, [8, 6, 22, 20]), 5: (1, [10, 28, 26, 46])}
    objects = [
        {"id": i, "name": "square", "prompts": [{"type": "box", "frame": frame, "box": box}]}
        for i, (frame, box) in boxes.items()
    ]
    path.write_text(json.dumps({"version": 1, "axis": 0, "objects": objects}))
    return path


def test_objects_of_one_name_share_a_value(image, named):
    result = segment(image, "--prompts", named, "--values", "names")
    assert result.exit_code == 0, result.output
    labels = np.load(image.parent / "labels.npy")
    assert set(np.unique(labels)) == {0, 2}
    assert (labels[:, 12:24, 30:44] == 2).all()
    assert table(image.parent / "labels.names.csv") == [
        {"value": "2", "name": "square", "objects": "2 5"}
    ]
    assert "labels.names.csv" in result.output


def test_instances_are_the_default(image, named):
    assert segment(image, "--prompts", named).exit_code == 0
    assert set(np.unique(np.load(image.parent / "labels.npy"))) == {0, 2, 5}
    assert not (image.parent / "labels.names.csv").exists()


def test_an_unknown_word_is_told(image, named):
    said = one_line(segment(image, "--prompts", named, "--values", "classes"))
    assert '--values "classes": use instances or names' in said


def test_a_table_that_is_there_is_kept(image, named):
    (image.parent / "labels.names.csv").write_text("mine")
    said = one_line(segment(image, "--prompts", named, "--values", "names"))
    assert "labels.names.csv" in said
    assert "--overwrite" in said
