"""The prompt tools, driven by mouse and keys on a live viewer."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from scipy import ndimage
from skimage.draw import polygon2mask
from tests.fakes import BrightModel
from tests.gui.conftest import session_maker
from tests.gui.hands import canvas, click, pixel, press, spot, stroke

from napari_medsam2 import BoxPrompt, MaskPrompt, PolygonPrompt, ScribblePrompt
from napari_medsam2.gui.keys import KEYS
from napari_medsam2.gui.widget import MedSAM2Widget
from napari_medsam2.models.base import Prediction, given

if TYPE_CHECKING:
    from napari.viewer import Viewer

SHAPE = (24, 64, 72)
CENTRE = (12, 30, 40)
LEFT = Qt.MouseButton.LeftButton
SHIFT, CONTROL = Qt.KeyboardModifier.ShiftModifier, Qt.KeyboardModifier.ControlModifier

# Frame axis, and how the layer lies in the world.
VIEWS = {
    "axial": (0, {}),
    "coronal": (1, {}),
    "placed": (0, {"scale": (3, 1, 1.5), "translate": (5, -20, 40), "rotate": 30.0}),
}


class TouchModel(BrightModel):
    """The bright parts that positive points touch, without what is near to negative ones."""

    def check(self, prompt) -> None:
        pass

    def decode(self, embedding, prompts):
        found = []
        for prompt in prompts:
            self.decoded += 1
            if prompt.is_mask:
                found.append(given(prompt))
                continue
            parts, _ = ndimage.label(embedding.image > 127)
            mask = np.zeros(parts.shape, bool) if prompt.mask is None else prompt.mask.copy()
            for y0, x0, y1, x1 in prompt.boxes:
                inside = np.zeros(parts.shape, bool)
                inside[int(y0) : int(y1), int(x0) : int(x1)] = True
                mask |= inside & (parts > 0)
            y, x = np.mgrid[: parts.shape[0], : parts.shape[1]]
            said = list(zip(prompt.points, prompt.labels, strict=True))
            for py, px in (point for point, label in said if label):
                part = parts[round(py), round(px)]
                mask |= (parts == part) & (part > 0)
            for py, px in (point for point, label in said if not label):
                mask &= np.hypot(y - py, x - px) > 3
            logits = np.where(mask, 10.0, -10.0).astype(np.float32)
            found.append(Prediction(logits, 0.9))
        return found


@pytest.fixture
def model() -> TouchModel:
    return TouchModel()


def ball() -> np.ndarray:
    places = np.stack(np.mgrid[tuple(slice(n) for n in SHAPE)])
    return np.linalg.norm(places - np.array(CENTRE).reshape(3, 1, 1, 1), axis=0) < 9


@pytest.fixture
def open_viewer(make_napari_viewer, model, cold):
    def make(view: str = "axial"):
        axis, placed = VIEWS[view]
        viewer = make_napari_viewer(show=True)
        image = np.where(ball(), 200, 20).astype(np.uint8)
        layer = viewer.add_image(image, name="ball", **placed)
        viewer.dims.order = (axis, *(i for i in range(3) if i != axis))
        world = layer.data_to_world(CENTRE)
        viewer.dims.set_point(axis, world[axis])
        viewer.reset_view()
        widget = MedSAM2Widget(viewer, make_session=session_maker(model))
        viewer.window.add_dock_widget(widget, name="MedSAM2")
        return viewer, widget

    return make


@pytest.fixture
def opened(open_viewer):
    return open_viewer()


def frame_of(array: np.ndarray, axis: int) -> np.ndarray:
    return np.take(array, CENTRE[axis], axis=axis)


def middle(axis: int) -> np.ndarray:
    return np.array([c for i, c in enumerate(CENTRE) if i != axis], float)


def place(axis: int, yx) -> list[float]:
    at = list(map(float, yx))
    at.insert(axis, CENTRE[axis])
    return at


def spots(viewer: Viewer, axis: int, path) -> list[tuple[float, float]]:
    image = viewer.layers["ball"]
    return [spot(viewer, image, place(axis, yx)) for yx in path]


def around(axis: int, radius: float, n: int = 24, turn: float = 1.0) -> np.ndarray:
    angles = np.linspace(0, 2 * np.pi * turn, n)
    return middle(axis) + radius * np.stack([np.sin(angles), np.cos(angles)], axis=1)


def touch(viewer: Viewer, axis: int, yx, modifier=Qt.KeyboardModifier.NoModifier) -> None:
    (where,) = spots(viewer, axis, [yx])
    QTest.mouseClick(canvas(viewer), LEFT, modifier, pixel(viewer, *where))


def prompts_on(widget, object_id: int = 1):
    session = widget.controller.session
    widget.controller._read_prompts()
    return session.prompts[object_id].prompts if object_id in session.prompts else ()


def result(viewer) -> np.ndarray:
    return viewer.layers["ball [MedSAM2]"].data


def settle(widget, qtbot) -> None:
    qtbot.waitUntil(lambda: not widget.controller.is_awake, timeout=10_000)


@pytest.mark.parametrize("view", VIEWS)
def test_a_click_hits_its_voxel(open_viewer, view, qtbot):
    viewer, widget = open_viewer(view)
    axis = VIEWS[view][0]
    press(viewer, Qt.Key.Key_P)
    aimed = middle(axis) + np.array((3, -4))
    touch(viewer, axis, aimed)
    settle(widget, qtbot)
    (points,) = prompts_on(widget)
    assert (points.frame, points.labels) == (CENTRE[axis], (1,))
    np.testing.assert_allclose(points.points[0], aimed, atol=0.5)
    labels = result(viewer)
    np.testing.assert_array_equal(frame_of(labels, axis) == 1, frame_of(ball(), axis))
    assert (labels > 0).sum() == frame_of(ball(), axis).sum()


@pytest.mark.parametrize("view", VIEWS)
def test_a_box_is_drawn_around_its_voxels(open_viewer, view, qtbot):
    viewer, widget = open_viewer(view)
    axis = VIEWS[view][0]
    press(viewer, Qt.Key.Key_B)
    low, high = middle(axis) - 10.6, middle(axis) + 10.4
    stroke(viewer, qtbot, spots(viewer, axis, [low, (low + high) / 2, high]))
    settle(widget, qtbot)
    (box,) = prompts_on(widget)
    assert isinstance(box, BoxPrompt)
    assert box.frame == CENTRE[axis]
    expected = (*np.floor(low + 1), *np.floor(high + 1))
    height, width = frame_of(ball(), axis).shape
    expected = np.clip(expected, 0, (height, width, height, width))
    assert np.abs(np.array(box.box) - expected).max() <= 1
    np.testing.assert_array_equal(frame_of(result(viewer), axis) == 1, frame_of(ball(), axis))


@pytest.mark.parametrize("view", VIEWS)
def test_a_lasso_makes_what_it_encloses_the_mask(open_viewer, view, qtbot):
    viewer, widget = open_viewer(view)
    axis = VIEWS[view][0]
    press(viewer, Qt.Key.Key_L)
    path = around(axis, 8.0)
    stroke(viewer, qtbot, spots(viewer, axis, path))
    settle(widget, qtbot)
    (outline,) = prompts_on(widget)
    assert isinstance(outline, PolygonPrompt)
    assert outline.frame == CENTRE[axis]
    mask = frame_of(result(viewer), axis) == 1
    np.testing.assert_array_equal(mask, polygon2mask(mask.shape, np.array(outline.vertices)))
    wanted = polygon2mask(mask.shape, path)
    assert (mask ^ wanted).sum() < 0.2 * wanted.sum()
    assert viewer.layers["ball boxes"].shape_type == ["polygon"]


@pytest.mark.parametrize("view", VIEWS)
def test_a_scribble_is_a_chain_of_clicks(open_viewer, view, qtbot):
    viewer, widget = open_viewer(view)
    axis = VIEWS[view][0]
    press(viewer, Qt.Key.Key_K)
    path = middle(axis) + np.array([(0, -6), (2, -3), (0, 0), (-2, 3), (0, 6)])
    stroke(viewer, qtbot, spots(viewer, axis, path))
    settle(widget, qtbot)
    (scribble,) = prompts_on(widget)
    assert isinstance(scribble, ScribblePrompt)
    assert (scribble.frame, scribble.label) == (CENTRE[axis], 1)
    drawn = np.array(scribble.path)
    np.testing.assert_allclose(drawn[0], path[0], atol=0.6)
    fine = np.concatenate([np.linspace(a, b, 20) for a, b in itertools.pairwise(path)])
    gaps = np.linalg.norm(drawn[:, None] - fine[None], axis=-1).min(axis=1)
    assert gaps.max() < 1
    np.testing.assert_array_equal(frame_of(result(viewer), axis) == 1, frame_of(ball(), axis))


@pytest.mark.parametrize("view", VIEWS)
def test_the_brush_paints_the_voxels_below_it(open_viewer, view, qtbot):
    viewer, widget = open_viewer(view)
    axis = VIEWS[view][0]
    press(viewer, Qt.Key.Key_R)
    labels = viewer.layers["ball [MedSAM2]"]
    assert viewer.layers.selection.active is labels
    labels.brush_size = 3
    path = middle(axis) + np.array([(0, -5), (0, 0), (0, 5)])
    stroke(viewer, qtbot, spots(viewer, axis, path))
    settle(widget, qtbot)
    (prompt,) = prompts_on(widget)
    assert isinstance(prompt, MaskPrompt)
    assert prompt.frame == CENTRE[axis]
    assert all(prompt.mask[tuple(yx)] for yx in path.astype(int))
    assert prompt.mask.sum() < 60
    np.testing.assert_array_equal(frame_of(labels.data, axis) == 1, prompt.mask)
    assert (labels.data > 0).sum() == prompt.mask.sum()


def test_keys_and_shift_say_which_side_a_stroke_is_on(opened, qtbot):
    viewer, widget = opened
    press(viewer, Qt.Key.Key_P)
    touch(viewer, 0, (30, 40))
    press(viewer, Qt.Key.Key_P, SHIFT)
    touch(viewer, 0, (30, 33))
    press(viewer, Qt.Key.Key_K)
    inside = spots(viewer, 0, [(27, 38), (27, 41), (27, 44)])
    stroke(viewer, qtbot, inside)
    stroke(viewer, qtbot, spots(viewer, 0, [(35, 36), (36, 40), (35, 44)]), SHIFT)
    stroke(viewer, qtbot, spots(viewer, 0, [(25, 38), (25, 41), (25, 44)]))
    press(viewer, Qt.Key.Key_T)
    stroke(viewer, qtbot, spots(viewer, 0, [(23, 36), (23, 40), (23, 44)]))
    settle(widget, qtbot)
    said = prompts_on(widget)
    scribbles = [p.label for p in said if isinstance(p, ScribblePrompt)]
    assert scribbles == [1, 0, 1, 0]
    (points,) = [p for p in said if not isinstance(p, ScribblePrompt)]
    assert points.labels == (1, 0)
    boxes = viewer.layers["ball boxes"]
    assert list(boxes.features["polarity"]) == ["positive", "negative", "positive", "negative"]
    assert len(np.unique(boxes.edge_color, axis=0)) == 2
    mask = result(viewer)[12] == 1
    assert mask[30, 40]
    assert not mask[36, 40]
    assert not mask[30, 33]
    assert not mask[23, 40]


def test_quick_clicks_all_count(opened, qtbot):
    viewer, widget = opened
    press(viewer, Qt.Key.Key_P)
    places = [(30, 36), (30, 44), (27, 40), (33, 40), (30, 40)]
    for number, yx in enumerate(places):
        touch(viewer, 0, yx, SHIFT if number == 3 else Qt.KeyboardModifier.NoModifier)
    settle(widget, qtbot)
    (points,) = prompts_on(widget)
    assert points.labels == (1, 1, 1, 0, 1)
    np.testing.assert_allclose(points.points, places, atol=0.5)
    mask = result(viewer)[12] == 1
    assert mask[30, 44]
    assert not mask[33, 40]


def test_a_moved_outline_takes_its_mask_along_and_a_deleted_one_away(opened, qtbot):
    viewer, widget = opened
    press(viewer, Qt.Key.Key_L)
    stroke(viewer, qtbot, spots(viewer, 0, around(0, 6.0)))
    settle(widget, qtbot)
    before = result(viewer)[12] == 1
    boxes = viewer.layers["ball boxes"]
    press(viewer, Qt.Key.Key_5)
    assert str(boxes.mode) == "select"
    touch(viewer, 0, around(0, 6.0)[0])
    stroke(viewer, qtbot, spots(viewer, 0, [(30, 40), (33, 45), (35, 50)]))
    settle(widget, qtbot)
    after = result(viewer)[12] == 1
    moved = np.subtract(ndimage.center_of_mass(after), ndimage.center_of_mass(before))
    np.testing.assert_allclose(moved, (5, 10), atol=1)
    press(viewer, Qt.Key.Key_Delete)
    settle(widget, qtbot)
    assert boxes.nshapes == 0
    assert not result(viewer).any()
    press(viewer, Qt.Key.Key_Z, CONTROL)
    press(viewer, Qt.Key.Key_Z, CONTROL)
    np.testing.assert_array_equal(result(viewer)[12] == 1, after)
    assert boxes.nshapes == 1


def test_what_was_propagated_stays_when_its_prompts_are_cleared(opened, qtbot):
    viewer, widget = opened
    press(viewer, Qt.Key.Key_P)
    touch(viewer, 0, (30, 40))
    settle(widget, qtbot)
    labels = result(viewer)
    press(viewer, Qt.Key.Key_C, SHIFT)
    assert not labels.any()
    press(viewer, Qt.Key.Key_Z, CONTROL)
    assert labels[12].any()
    assert len(viewer.layers["ball points"].data) == 1
    widget.controller.propagate(start=11, stop=14)
    settle(widget, qtbot)
    filled = labels.copy()
    press(viewer, Qt.Key.Key_C, SHIFT)
    np.testing.assert_array_equal(labels, filled)
    assert prompts_on(widget) == ()
    press(viewer, Qt.Key.Key_Z, CONTROL)
    assert len(prompts_on(widget)) == 1


def test_a_brush_stroke_is_one_step_and_changes_its_neighbours(opened, qtbot):
    viewer, widget = opened
    controller = widget.controller
    press(viewer, Qt.Key.Key_P)
    touch(viewer, 0, (30, 40))
    settle(widget, qtbot)
    before = result(viewer).copy()
    press(viewer, Qt.Key.Key_N)
    press(viewer, Qt.Key.Key_R)
    labels = viewer.layers["ball [MedSAM2]"]
    labels.brush_size = 4
    stroke(viewer, qtbot, spots(viewer, 0, [(30, 30), (30, 36), (30, 42)]))
    settle(widget, qtbot)
    painted = labels.data.copy()
    assert (painted[12] == 2).sum() > 30
    assert (painted[12] == 1).sum() < (before[12] == 1).sum()
    (mask,) = prompts_on(widget, 2)
    np.testing.assert_array_equal(mask.mask, painted[12] == 2)
    assert controller.session.undo_text == "paint object 2"
    press(viewer, Qt.Key.Key_Z, CONTROL)
    np.testing.assert_array_equal(labels.data, before)
    assert prompts_on(widget, 2) == ()
    press(viewer, Qt.Key.Key_Z, CONTROL | SHIFT)
    np.testing.assert_array_equal(labels.data, painted)
    np.testing.assert_array_equal(controller.session.replay(), painted)


def test_erasing_leaves_a_mask_in_place_of_the_click(opened, qtbot):
    viewer, widget = opened
    press(viewer, Qt.Key.Key_P)
    touch(viewer, 0, (30, 40))
    settle(widget, qtbot)
    press(viewer, Qt.Key.Key_R)
    press(viewer, Qt.Key.Key_E)
    labels = viewer.layers["ball [MedSAM2]"]
    assert str(labels.mode) == "erase"
    assert widget.controller.tools.active == "brush"
    labels.brush_size = 6
    stroke(viewer, qtbot, spots(viewer, 0, [(24, 36), (24, 40), (24, 44)]))
    settle(widget, qtbot)
    (prompt,) = prompts_on(widget)
    assert isinstance(prompt, MaskPrompt)
    assert not labels.data[12, 24, 40]
    np.testing.assert_array_equal(prompt.mask, labels.data[12] == 1)
    assert len(viewer.layers["ball points"].data) == 0
    # Asked again, the slice stays as it was painted.
    erased = labels.data.copy()
    press(viewer, Qt.Key.Key_S)
    settle(widget, qtbot)
    np.testing.assert_array_equal(labels.data, erased)
    qtbot.waitUntil(lambda: widget.tools.said.text() == "Object 1 here: 1 mask")


@pytest.mark.parametrize("how", ["locked", "accepted"])
def test_paint_does_not_touch_what_may_not_change(opened, qtbot, how):
    viewer, widget = opened
    controller = widget.controller
    press(viewer, Qt.Key.Key_P)
    touch(viewer, 0, (30, 40))
    settle(widget, qtbot)
    if how == "locked":
        controller.session.set_locked(1)
    else:
        controller.session.accept(12, [1])
    before = result(viewer).copy()
    controller.new_object()
    press(viewer, Qt.Key.Key_R)
    labels = viewer.layers["ball [MedSAM2]"]
    labels.brush_size = 4
    stroke(viewer, qtbot, spots(viewer, 0, [(30, 20), (30, 36), (30, 42)]))
    settle(widget, qtbot)
    np.testing.assert_array_equal(labels.data == 1, before == 1)
    assert (labels.data[12] == 2).any()
    assert "locked or accepted" in widget.message.text()
    controller.tools.select(1)
    only_2 = labels.data.copy()
    stroke(viewer, qtbot, spots(viewer, 0, [(10, 20), (10, 30), (10, 42)]))
    settle(widget, qtbot)
    np.testing.assert_array_equal(labels.data, only_2)


def test_the_result_layer_follows_the_tool_and_takes_nothing_out_of_the_hand(opened, qtbot):
    viewer, widget = opened
    press(viewer, Qt.Key.Key_B)
    boxes = viewer.layers.selection.active
    assert [layer.name for layer in viewer.layers] == ["ball", "ball boxes"]
    qtbot.waitUntil(lambda: "ball [MedSAM2]" in viewer.layers)
    # Right above the image, so that prompts are on top.
    assert [layer.name for layer in viewer.layers] == ["ball", "ball [MedSAM2]", "ball boxes"]
    assert viewer.layers.selection.active is boxes
    assert boxes.mode == "add_rectangle"
    assert viewer.layers["ball [MedSAM2]"].selected_label == widget.controller.tools.object_id


def test_naparis_own_polygon_tool_draws_and_fills(opened, qtbot):
    viewer, widget = opened
    press(viewer, Qt.Key.Key_R)
    labels = viewer.layers["ball [MedSAM2]"]
    overlays = viewer.window._qt_viewer.canvas._layer_overlay_to_visual[labels]
    assert labels._overlays["polygon"] not in overlays
    labels.mode = "polygon"
    corners = [(22, 34), (22, 46), (34, 46), (34, 34)]
    for corner in corners:
        touch(viewer, 0, corner)
    (drawn,) = [v for o, v in overlays.items() if o is labels._overlays["polygon"]]
    assert drawn.node.visible
    assert len(labels._overlays["polygon"].points) >= 4
    (where,) = spots(viewer, 0, corners[:1])
    QTest.mouseDClick(canvas(viewer), LEFT, pos=pixel(viewer, *where))
    settle(widget, qtbot)
    (prompt,) = prompts_on(widget)
    y, x = np.nonzero(prompt.mask)
    assert prompt.mask[28, 40]
    assert (abs(y.min() - 22) <= 1, abs(y.max() - 34) <= 1) == (True, True)
    assert (abs(x.min() - 34) <= 1, abs(x.max() - 46) <= 1) == (True, True)


def test_the_result_layer_chooses_the_object(opened, qtbot):
    viewer, widget = opened
    press(viewer, Qt.Key.Key_R)
    viewer.layers["ball [MedSAM2]"].selected_label = 5
    assert widget.controller.tools.object_id == 5
    viewer.layers["ball [MedSAM2]"].selected_label = 0
    assert widget.controller.tools.object_id == 5


def test_labels_of_another_layer_become_prompts(opened, qtbot):
    viewer, widget = opened
    truth = np.zeros(SHAPE, np.int32)
    truth[12, 10:20, 10:20] = 7
    truth[12, 40:50, 50:60] = 3
    viewer.add_labels(truth, name="truth")
    press(viewer, Qt.Key.Key_N)
    panel = widget.tools
    qtbot.waitUntil(lambda: panel.source.count() == 2)
    panel.source.setCurrentIndex(1)
    viewer.layers["truth"].selected_label = 7
    panel.value.setCurrentIndex(1)
    object_id = widget.controller.tools.object_id
    click(panel.use, qtbot)
    np.testing.assert_array_equal(result(viewer)[12] == object_id, truth[12] == 7)
    (prompt,) = prompts_on(widget, object_id)
    np.testing.assert_array_equal(prompt.mask, truth[12] == 7)
    panel.value.setCurrentIndex(0)
    click(panel.use, qtbot)
    np.testing.assert_array_equal(result(viewer)[12], truth[12])
    viewer.dims.set_point(0, 3)
    click(panel.use, qtbot)
    assert "truth has no label on this slice" in widget.message.text()


def test_the_mask_of_the_slice_becomes_a_prompt(opened, qtbot):
    viewer, widget = opened
    press(viewer, Qt.Key.Key_P)
    touch(viewer, 0, (30, 40))
    settle(widget, qtbot)
    press(viewer, Qt.Key.Key_U)
    (prompt,) = prompts_on(widget)
    np.testing.assert_array_equal(prompt.mask, ball()[12])
    press(viewer, Qt.Key.Key_Z, CONTROL)
    assert not any(isinstance(p, MaskPrompt) for p in prompts_on(widget))


def test_tools_that_the_model_cannot_use_say_why(opened, qtbot, notes):
    viewer, widget = opened
    widget.controller.bench.configure(model="litemedsam")
    buttons = widget.tools.buttons
    qtbot.waitUntil(lambda: not buttons["lasso"].isEnabled())
    enabled = {name for name, push in buttons.items() if push.isEnabled()}
    assert enabled == {"box", "brush"}
    for name in ("point", "lasso", "scribble"):
        assert "LiteMedSAM needs a box" in buttons[name].toolTip()
    assert "LiteMedSAM cannot start from a painted mask" in buttons["brush"].toolTip()
    press(viewer, Qt.Key.Key_L)
    assert widget.controller.tools.active is None
    assert "LiteMedSAM needs a box" in notes[-1].message
    widget.controller.bench.configure(model="litemedsam-track")
    qtbot.waitUntil(lambda: all(push.isEnabled() for push in buttons.values()))


def test_buttons_show_what_napari_itself_has_in_hand(opened, qtbot):
    viewer, widget = opened
    buttons = widget.tools.buttons
    in_hand = lambda: [name for name, push in buttons.items() if push.isChecked()]  # noqa: E731
    for name in buttons:
        click(buttons[name], qtbot)
        qtbot.waitUntil(lambda name=name: in_hand() == [name])
    boxes = viewer.layers["ball boxes"]
    viewer.layers.selection.active = boxes
    viewer.window._qt_viewer.controls.widgets[boxes].path_button.click()
    qtbot.waitUntil(lambda: in_hand() == ["scribble"])
    boxes.mode = "pan_zoom"
    qtbot.waitUntil(lambda: in_hand() == [])


def test_strokes_that_can_be_no_prompt_are_taken_away(opened, qtbot, notes):
    viewer, widget = opened
    press(viewer, Qt.Key.Key_L)
    boxes = viewer.layers["ball boxes"]
    outside = np.array([(-9, 40), (-5, 44), (-4, 36), (-9, 38)], float)
    stroke(viewer, qtbot, spots(viewer, 0, outside))
    settle(widget, qtbot)
    assert boxes.nshapes == 0
    assert "outline outside the image" in notes[-1].message
    # One too small for napari leaves nothing behind, and the next one has its own features.
    stroke(viewer, qtbot, spots(viewer, 0, [(30, 40), (30.6, 40.6), (30, 40.2)]))
    settle(widget, qtbot)
    press(viewer, Qt.Key.Key_Escape)
    press(viewer, Qt.Key.Key_N)
    widget.controller.tools.select(4)
    press(viewer, Qt.Key.Key_L)
    stroke(viewer, qtbot, spots(viewer, 0, around(0, 6.0)))
    settle(widget, qtbot)
    assert boxes.nshapes == 1
    assert list(boxes.features["object_id"]) == [4]
    assert widget.controller.session.prompts.prompted_ids == (4,)


def test_keys_are_told_in_the_docs():

    text = (Path(__file__).parents[2] / "docs" / "napari.md").read_text()
    table = text.split("## Keys")[1].split("\n## ")[0]
    for key in KEYS:
        names = {"Control": "Ctrl", "Escape": "Esc", "Right": "→", "Left": "←"}
        parts = [names.get(part, part) for part in key.split("-")]
        shown = "+".join(f"<kbd>{p}</kbd>" for p in parts)
        assert f"| {shown} |" in table, key
