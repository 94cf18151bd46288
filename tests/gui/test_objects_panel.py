"""The table of objects in a real window, with the mouse."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from tests.gui.conftest import session_maker
from tests.gui.hands import click

from napari_medsam2.gui.objects import ObjectInfo
from napari_medsam2.gui.objects_table import (
    ID,
    LOCKED,
    NAME,
    PROMPTS,
    SEEN,
    SIZE,
    SLICES,
    WORST,
    ObjectsTable,
    told_size,
)
from napari_medsam2.gui.widget import MedSAM2Widget
from napari_medsam2.labels import MaskUpdate

LEFT, RIGHT = (10, 10, 30, 20), (10, 40, 30, 50)


@pytest.fixture
def viewer(make_napari_viewer, stack):
    viewer = make_napari_viewer(show=True)
    viewer.add_image(stack, name="disc", scale=(3.0, 1.0, 1.0), units=("mm", "mm", "mm"))
    viewer.dims.set_current_step(0, 2)
    return viewer


@pytest.fixture
def widget(viewer, model, cold):
    widget = MedSAM2Widget(viewer, make_session=session_maker(model))
    viewer.window.add_dock_widget(widget, name="MedSAM2")
    session = widget.controller.session
    session.add_box(2, LEFT, 1, name="left")
    session.add_points(2, [(15, 45), (16, 46)], None, 2, name="right")
    session.write_masks(
        [square(f, i, box, 0.5 + 0.1 * f) for f in (1, 2) for i, box in ((1, LEFT), (2, RIGHT))],
        "made",
    )
    session.accept(1, [2])
    widget.controller.bench.desk.show_results()
    widget.controller._show_all()
    return widget


def square(frame, object_id, box, score):
    y0, x0, y1, x1 = box
    return MaskUpdate(frame, object_id, box, np.ones((y1 - y0, x1 - x0), bool), score)


def row(widget, number: int) -> list[str]:
    table = widget.objects.table
    return [table.item(number, c).text() for c in (ID, NAME, PROMPTS, SLICES, SIZE, WORST)]


def click_cell(widget, number: int, column: int, modifier=Qt.KeyboardModifier.NoModifier) -> None:
    table = widget.objects.table
    rect = table.visualItemRect(table.item(number, column))
    left = Qt.MouseButton.LeftButton
    QTest.mouseClick(table.viewport(), left, modifier, rect.center())


def counts(widget) -> dict[int, int]:
    labels = widget.controller.session.labels
    return {i: int((labels == i).sum()) for i in (1, 2)}


def test_what_the_table_tells(widget, qtbot):
    # 200 pixels of 3 x 1 x 1 mm on each of two slices.
    qtbot.waitUntil(lambda: row(widget, 0) == ["1", "left", "1", "2", "1.20 ml", "0.60"])
    assert row(widget, 1) == ["2", "right", "2", "2 ✓1", "1.20 ml", "0.60"]
    widget.controller.session.write_masks([square(4, 1, (0, 0, 10, 10), 0.2)], "more")
    widget.controller.relabelled.emit()
    qtbot.waitUntil(lambda: row(widget, 0) == ["1", "left", "1", "3", "1.50 ml", "0.20"])


def test_a_hidden_object_is_not_drawn_and_its_colour_stays_in_the_table(widget, viewer, qtbot):
    labels = viewer.layers["disc [MedSAM2]"]
    before = labels.colormap.map(np.array([1, 2], np.uint16))
    click_cell(widget, 0, SEEN)
    assert widget.controller.session.hidden == {1}
    qtbot.waitUntil(lambda: labels.colormap.map(np.array([1], np.uint16))[0, 3] == 0)
    np.testing.assert_allclose(labels.colormap.map(np.array([2], np.uint16))[0], before[1])
    np.testing.assert_allclose(widget.controller.bench.desk.colour(1), before[0])
    boxes = viewer.layers["disc boxes"]
    assert boxes.edge_color[0, 3] == 0
    click_cell(widget, 0, SEEN)
    qtbot.waitUntil(lambda: labels.colormap.map(np.array([1], np.uint16))[0, 3] == 1)
    assert boxes.edge_color[0, 3] == 1


def test_a_locked_object_is_not_painted_over(widget, qtbot):
    click_cell(widget, 1, LOCKED)
    assert widget.controller.session.locked == {2}
    widget.controller.session.write_masks([square(2, 1, (0, 0, 64, 64), 1.0)], "over")
    assert counts(widget)[2] == 400
    widget.controller.undo()
    widget.controller.undo()
    assert widget.controller.session.locked == frozenset()


def test_merging_the_selected_objects(widget, qtbot):
    click_cell(widget, 0, NAME)
    click_cell(widget, 1, NAME, Qt.KeyboardModifier.ControlModifier)
    assert widget.objects.table.selected_ids == [1, 2]
    click(widget.objects.merge, qtbot)
    into = widget.controller.tools.object_id
    qtbot.waitUntil(lambda: widget.objects.table.rowCount() == 1)
    assert counts(widget)[into] == 800
    widget.controller.undo()
    qtbot.waitUntil(lambda: widget.objects.table.rowCount() == 2)
    assert counts(widget) == {1: 400, 2: 400}


def test_deleting_and_bringing_back(widget, viewer, qtbot):
    click_cell(widget, 0, NAME)
    click(widget.objects.delete, qtbot)
    qtbot.waitUntil(lambda: widget.objects.table.rowCount() == 1)
    assert counts(widget) == {1: 0, 2: 400}
    assert len(viewer.layers["disc boxes"].data) == 0
    widget.controller.undo()
    qtbot.waitUntil(lambda: widget.objects.table.rowCount() == 2)
    assert len(viewer.layers["disc boxes"].data) == 1


def test_several_are_deleted_and_brought_back_in_one_step(widget, qtbot):
    click_cell(widget, 0, NAME)
    click_cell(widget, 1, NAME, Qt.KeyboardModifier.ControlModifier)
    click(widget.objects.delete, qtbot)
    qtbot.waitUntil(lambda: counts(widget) == {1: 0, 2: 0})
    session = widget.controller.session
    np.testing.assert_array_equal(session.replay(), session.labels)
    widget.controller.undo()
    assert counts(widget) == {1: 400, 2: 400}
    assert session.prompts.prompted_ids == (1, 2)


def test_the_order_of_the_rows_says_who_wins(widget, qtbot):
    click_cell(widget, 1, NAME)
    click(widget.objects.up, qtbot)
    qtbot.waitUntil(lambda: row(widget, 0)[0] == "2")
    assert widget.controller.session.order == (2, 1)
    qtbot.waitUntil(lambda: widget.objects.order.isChecked())
    click(widget.objects.order, qtbot)
    assert widget.controller.session.order == ()
    qtbot.waitUntil(lambda: row(widget, 0)[0] == "1")


@pytest.mark.parametrize(
    ("size", "unit", "text"),
    [
        (None, "mm3", "…"),
        (0.0, "mm3", "0 mm³"),
        (4.25, "mm3", "4.25 mm³"),
        (56.78, "um3", "56.8 µm³"),
        (999.4, "mm3", "999 mm³"),
        (12345.0, "mm3", "12.3 ml"),
        (99999.0, "px", "99,999 px"),
        (1234567.0, "px", "1.23M px"),
        (250000.0, "um3", "0.25M µm³"),
        (8400.0, "um2", "8,400 µm²"),
    ],
)
def test_sizes_in_words(size, unit, text):
    assert told_size(ObjectInfo(1, "", 0, 0, (1, 1, 1, 1), size=size, unit=unit)) == text


def test_sizes_to_the_last_pixel():
    info = ObjectInfo(1, "", 0, 0, (1, 1, 1, 1), size=1234567.0, unit="px")
    assert told_size(info, exactly=True) == "1,234,567 px"


def test_names_have_the_room_that_numbers_leave(qtbot):
    table = ObjectsTable()
    qtbot.addWidget(table)
    table.resize(340, 200)
    table.show()
    colour = (1.0, 0.0, 0.0, 1.0)
    table.show_objects([ObjectInfo(3, "right kidney", 1, 30, colour, 4, 118e3, "mm3", 0.36)], 3)
    qtbot.waitUntil(
        lambda: table.columnWidth(NAME) > table.fontMetrics().horizontalAdvance("right kidney")
    )
    table.show_objects([ObjectInfo(65535, "x", 1, 30, colour, 4, 99_999.0, "px", 0.36)], 65535)
    for column, text in ((ID, "65535"), (SLICES, "30 ✓4"), (SIZE, "99,999 px")):
        assert table.item(0, column).text() == text
        assert table.columnWidth(column) > table.fontMetrics().horizontalAdvance(text) + 4
