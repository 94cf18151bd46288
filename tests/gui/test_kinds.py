"""Images with channels, of pyramids and of five axes, in a viewer without a window."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dask.array as da
import numpy as np
import pytest
from napari.components import ViewerModel
from tests.gui.common import counts, draw
from tests.gui.conftest import BOX, SHAPE, disc, rectangle, session_maker
from tests.test_session_kinds import WatchingModel
from tests.tracking.test_zoom import SmallInput

import napari_medsam2 as nm
from napari_medsam2.gui.controller import Controller
from napari_medsam2.gui.splitting import channel_axes
from napari_medsam2.io.layers import image_layers

if TYPE_CHECKING:
    from napari_medsam2.volume import Volume


@pytest.fixture
def watching() -> WatchingModel:
    return WatchingModel()


@pytest.fixture
def open_controller(watching):
    """Return what builds a controller, closed at the end."""
    made = []

    def build(viewer) -> Controller:
        controller = Controller(viewer, session_maker(watching))
        controller.warm_up = lambda: None
        made.append(controller)
        return controller

    yield build
    for controller in made:
        controller.close()


def halves() -> tuple[np.ndarray, np.ndarray]:
    """The disc's left half at 900, and its right half at 60,000, each in an image of its own."""
    left, right = (np.zeros(SHAPE, np.uint16) for _ in range(2))
    columns = np.arange(SHAPE[2]) < 40
    left[:, disc() & columns] = 900
    right[:, disc() & ~columns] = 60_000
    return left, right


@pytest.fixture
def two() -> ViewerModel:
    viewer = ViewerModel()
    for name, data in zip(("nuclei", "walls"), halves(), strict=True):
        viewer.add_image(data, name=name, scale=(3.0, 1.0, 1.0))
    viewer.dims.set_current_step(0, 2)
    return viewer


def segmented(controller: Controller, frame: int = 2) -> np.ndarray:
    controller.segment_slice(frame)
    assert controller.wait(60)
    assert controller.last_error is None
    return controller.session.labels[frame] == 1


def test_other_layers_are_blended_as_channels(two, open_controller, watching):
    controller = open_controller(two)
    nuclei, walls = two.layers["nuclei"], two.layers["walls"]
    controller.bench.use(nuclei)
    assert controller.bench.desk.source.candidates() == [nuclei, walls]
    draw(controller)
    controller.blend_channels([walls])
    segmented(controller)
    frame = watching.seen[-1]
    np.testing.assert_allclose(frame[30, 35], [0, 255, 0])
    np.testing.assert_allclose(frame[30, 45], [255, 0, 255])
    assert controller.session.stack.channel == (0, 1)
    assert controller.session.labels.shape == SHAPE
    assert two.layers["nuclei [MedSAM2]"].data.shape == SHAPE


@pytest.mark.parametrize("is_blended_first", [True, False])
def test_masks_lie_above_the_channels_and_below_the_prompts(two, open_controller, is_blended_first):
    controller = open_controller(two)
    controller.bench.use(two.layers["nuclei"])
    draw(controller)
    if not is_blended_first:
        segmented(controller)
    controller.blend_channels([two.layers["walls"]])
    segmented(controller)
    assert [layer.name for layer in two.layers] == [
        *("nuclei", "walls", "nuclei [MedSAM2]", "nuclei boxes")
    ]


def test_prompts_and_history_outlive_another_choice_of_channels(two, open_controller):
    controller = open_controller(two)
    controller.bench.use(two.layers["nuclei"])
    draw(controller)
    left = segmented(controller)
    np.testing.assert_array_equal(left, disc() & (np.arange(SHAPE[2]) < 40))
    controller.blend_channels([two.layers["walls"]])
    session = controller.session
    assert session.prompts.ids == (1,)
    np.testing.assert_array_equal(session.labels[2] == 1, left)
    segmented(controller)
    np.testing.assert_array_equal(controller.session.replay(), session.labels)
    controller.undo()
    controller.undo()
    assert controller.session.stack.channel == 0
    assert controller.session.undo_text == "segment object 1"
    np.testing.assert_array_equal(controller.session.labels[2] == 1, left)
    controller.redo()
    assert controller.session.stack.channel == (0, 1)
    controller.blend_channels([])
    assert controller.session.stack.channel == 0
    assert controller.session.prompts.ids == (1,)


def test_a_channel_that_is_deleted_is_no_longer_blended(two, open_controller):
    controller = open_controller(two)
    controller.bench.use(two.layers["nuclei"])
    controller.blend_channels([two.layers["walls"]])
    assert controller.session.stack.channel == (0, 1)
    two.layers.remove("walls")
    assert controller.session.stack.channel == 0


def test_contrast_limits_of_each_layer_are_its_window(two, open_controller):
    controller = open_controller(two)
    controller.bench.use(two.layers["nuclei"])
    controller.blend_channels([two.layers["walls"]])
    two.layers["nuclei"].contrast_limits = (100, 800)
    two.layers["walls"].contrast_limits = (2000, 9000)
    controller.bench.configure(window="display")
    assert controller.session.window.values == (100, 800, 2000, 9000)


def test_windows_of_several_channels_go_with_them(two, open_controller):
    controller = open_controller(two)
    controller.bench.use(two.layers["nuclei"])
    controller.blend_channels([two.layers["walls"]])
    controller.bench.configure(window="0,900,0,60000")
    assert controller.session.window.values == (0, 900, 0, 60_000)
    controller.blend_channels([])
    assert controller.bench.settings.window == "auto"


def test_only_grey_images_of_the_same_shape_can_be_channels(two, open_controller):
    two.add_image(np.zeros((5, 64, 63)), name="other")
    two.add_image(np.zeros((*SHAPE, 3), np.uint8), name="colour", rgb=True)
    controller = open_controller(two)
    controller.bench.use(two.layers["nuclei"])
    names = [layer.name for layer in controller.bench.desk.source.candidates()]
    assert names == ["nuclei", "walls"]
    controller.bench.use(two.layers["colour"])
    assert controller.bench.desk.source.candidates() == []


@pytest.fixture
def cells(tmp_path) -> Volume:
    """Five slices of two channels, from a file."""
    np.savez(
        tmp_path / "cells.npz", image=np.stack(halves(), axis=1), meta=np.array('{"axes": "zcyx"}')
    )
    return nm.read(tmp_path / "cells.npz")


def opened(volume: Volume) -> ViewerModel:
    viewer = ViewerModel()
    for data, kwargs, _ in image_layers(volume):
        viewer.add_image(data, **kwargs)
    viewer.dims.set_current_step(0, 2)
    return viewer


def test_channels_of_a_file_are_those_of_its_volume(cells, open_controller):
    viewer = opened(cells)
    controller = open_controller(viewer)
    first, second = viewer.layers
    controller.bench.use(second)
    assert controller.session.volume is cells
    assert controller.session.stack.channel == 1
    controller.blend_channels([first])
    assert controller.session.volume is cells
    assert controller.session.stack.channel == (0, 1)


def test_a_session_on_channels_finds_its_file_and_its_layers(cells, open_controller, tmp_path):
    viewer = opened(cells)
    controller = open_controller(viewer)
    controller.bench.use(viewer.layers[0])
    controller.blend_channels([viewer.layers[1]])
    draw(controller)
    found = segmented(controller)
    path = tmp_path / "cells.medsam2.json"
    controller.save_session(path)
    assert controller.wait(60)
    loaded = nm.Session.load(path)
    assert loaded.stack.channel == (0, 1)

    empty = ViewerModel()
    other = open_controller(empty)
    other.open_session(path)
    assert other.wait(60)
    assert other.last_error is None
    assert [layer.name for layer in empty.layers][:1] == ["cells channel 0"]
    assert [layer.name for layer in other.bench.desk.source.layers] == [
        "cells channel 0",
        "cells channel 1",
    ]
    assert other.session.stack.channel == (0, 1)
    np.testing.assert_array_equal(other.session.labels[2] == 1, found)


def test_a_session_on_one_channel_opens_on_that_channel(cells, open_controller, tmp_path):
    viewer = opened(cells)
    controller = open_controller(viewer)
    controller.bench.use(viewer.layers[1])
    draw(controller)
    found = segmented(controller)
    controller.save_session(tmp_path / "cells.medsam2.json")
    assert controller.wait(60)

    other = open_controller(opened(cells))
    other.bench.use(other.viewer.layers[0])
    other.open_session(tmp_path / "cells.medsam2.json")
    assert other.wait(60)
    assert other.last_error is None
    assert other.bench.image.name == "cells channel 1"
    assert other.session.stack.channel == 1
    np.testing.assert_array_equal(other.session.labels[2] == 1, found)


def stack_of(axes: str) -> np.ndarray:
    """The halves as two channels of a movie of stacks, with its axes in some order; time is 2."""
    movie = np.stack([np.stack([half // 2, half]) for half in halves()])  # ctzyx
    order = ["ctzyx".index(letter) for letter in axes]
    chosen = np.transpose(movie, order + [i for i in range(5) if i not in order])
    return chosen[(..., *[-1] * (5 - len(axes)))] if len(axes) < 5 else chosen


@pytest.mark.parametrize("labels", ["ctzyx", "tczyx", None])
def test_five_axes_are_split_into_channels_and_segmented(labels, open_controller, watching):
    axes = labels or "tczyx"
    image = da.from_array(stack_of(axes), chunks=(1, 1, *SHAPE))
    viewer = ViewerModel()
    named = {} if labels is None else {"axis_labels": tuple(labels)}
    viewer.add_image(image, name="cells", scale=(1.0, 1.0, 3.0, 0.5, 0.5), **named)
    controller = open_controller(viewer)
    assert not controller.segment_slice(0)
    assert "press Split channels under Image" in str(controller.last_error)
    axis = axes.index("c")
    assert axis in channel_axes(viewer.layers[0])
    controller.split_channels(axis)
    assert [layer.name for layer in viewer.layers] == ["cells channel 0", "cells channel 1"]
    assert all(isinstance(layer.data, object) for layer in viewer.layers)
    np.testing.assert_array_equal(viewer.layers[1].scale, (1, 3, 0.5, 0.5))
    assert controller.bench.image is viewer.layers[0]
    viewer.dims.set_current_step(0, 1)
    viewer.dims.set_current_step(1, 2)
    controller.blend_channels(list(viewer.layers))
    assert (controller.session.stack.axis, controller.session.stack.at) == (1, (1,))
    controller.use_box_tool()
    corners = np.insert(rectangle(2), 0, 1, axis=1)
    controller.bench.desk.prompts.boxes.add_rectangles(corners)
    controller.segment_slice(2)
    assert controller.wait(60)
    assert controller.last_error is None
    assert watching.seen[-1].shape == (64, 64, 3)
    assert controller.session.labels.shape == (2, *SHAPE)
    assert controller.session.labels[1, 2].any()
    assert not controller.session.labels[0].any()

    controller.bench.configure(axis=0)
    assert (controller.session.stack.axis, controller.session.stack.at) == (0, (2,))


def test_channels_between_depth_and_plane_are_split(open_controller):
    image = np.stack(halves(), axis=1)
    viewer = ViewerModel()
    viewer.add_image(image, name="cells", axis_labels=("z", "channel", "y", "x"))
    controller = open_controller(viewer)
    assert channel_axes(viewer.layers[0]) == (1,)
    controller.split_channels(1)
    np.testing.assert_array_equal(viewer.layers[1].data, image[:, 1])
    assert controller.session.stack.channel == 0


def test_split_channels_lie_where_their_image_lay(open_controller):
    viewer = ViewerModel()
    angle = np.deg2rad(30)
    rotation = np.eye(4)
    rotation[2:, 2:] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    image = viewer.add_image(
        np.zeros((3, 5, 64, 64)),
        name="cells",
        scale=(1.0, 3.0, 0.5, 0.25),
        translate=(0, 10, 20, 30),
        rotate=rotation,
    )
    places = np.array([[0, 0, 0], [2, 40, 7], [4, 63, 63]])
    before = [np.asarray(image.data_to_world((1, *place)))[1:] for place in places]
    controller = open_controller(viewer)
    controller.split_channels(0)
    for layer in viewer.layers:
        after = [layer.data_to_world(place) for place in places]
        np.testing.assert_allclose(after, before)
        np.testing.assert_allclose(layer.scale, (3, 0.5, 0.25))


@pytest.mark.parametrize(
    ("shape", "labels", "axes"),
    [
        ((3, 64, 64), None, (0,)),
        ((30, 64, 64), None, ()),
        ((3, 64, 64), ("z", "y", "x"), ()),
        ((12, 5, 64, 64), None, (1,)),
        ((2, 3, 30, 64, 64), None, (0, 1, 2)),
        ((30, 9, 64, 64), ("t", "c", "y", "x"), (1,)),
    ],
)
def test_axes_that_may_hold_channels(shape, labels, axes):
    viewer = ViewerModel()
    named = {} if labels is None else {"axis_labels": labels}
    assert channel_axes(viewer.add_image(np.zeros(shape), **named)) == axes


@pytest.fixture
def slide() -> tuple[ViewerModel, np.ndarray]:
    full = np.full((3, 128, 128), 20, np.uint8)
    inside = np.kron(disc(), np.ones((2, 2), bool))
    full[:, inside] = 200
    viewer = ViewerModel()
    viewer.add_image([full, full[:, ::2, ::2], full[:, ::4, ::4]], name="slide", multiscale=True)
    viewer.dims.set_current_step(0, 1)
    return viewer, inside


def test_the_chosen_level_is_seen_and_results_are_on_the_full_image(
    slide, open_controller, watching
):
    viewer, inside = slide
    controller = open_controller(viewer)
    source = controller.bench.desk.source
    assert source.frame_shapes(0) == [(128, 128), (64, 64), (32, 32)]
    assert controller.session.stack.level == 0
    controller.bench.configure(level=1)
    draw(controller, frame=1, box=tuple(2 * v for v in BOX))
    found = segmented(controller, 1)
    assert watching.seen[-1].shape == (64, 64)
    assert found.shape == (128, 128)
    np.testing.assert_array_equal(found, inside)
    assert viewer.layers["slide [MedSAM2]"].data.shape == (3, 128, 128)


def test_a_level_is_kept_within_those_of_each_image(slide, open_controller, stack):
    viewer, _ = slide
    controller = open_controller(viewer)
    controller.bench.configure(level=2)
    assert controller.session.stack.level == 2
    controller.bench.use(viewer.add_image(stack, name="flat"))
    assert controller.session.stack.level == 0
    assert counts(controller) == [0] * 5


def test_another_level_keeps_prompts_and_history(slide, open_controller):
    viewer, _ = slide
    controller = open_controller(viewer)
    draw(controller, frame=1, box=tuple(2 * v for v in BOX))
    segmented(controller, 1)
    found = segmented(controller, 1)
    controller.bench.configure(level=1)
    assert controller.session.prompts.ids == (1,)
    assert controller.session.stack.level == 1
    controller.undo()
    assert controller.session.stack.level == 0
    assert controller.session.undo_text == "segment object 1"
    np.testing.assert_array_equal(controller.session.labels[1] == 1, found)


def test_zoom_is_a_choice_that_undo_and_files_know(tmp_path):
    image = np.zeros((1024, 1024), np.uint8)
    image[500:512, 300:312] = 200
    viewer = ViewerModel()
    viewer.add_image(image, name="slide")
    small = SmallInput()
    controller = Controller(viewer, session_maker(small))
    try:
        controller.use_box_tool()
        boxes = controller.bench.desk.prompts.boxes
        boxes.add_rectangles(rectangle(0, (498, 298, 514, 314))[:, 1:])
        assert controller.wait(30)
        assert max(small.shapes[-1]) < 1024
        np.testing.assert_array_equal(controller.session.labels > 0, image > 0)
        controller.bench.configure(zoom="off")
        controller.segment_slice()
        assert controller.wait(30)
        assert small.shapes[-1] == (1024, 1024)
        path = tmp_path / "slide.medsam2.json"
        controller.save_session(path)
        assert controller.wait(30)
        controller.undo()
        controller.undo()
        assert controller.bench.settings.zoom == "auto"
        controller.open_session(path)
        assert controller.wait(30)
        assert controller.bench.settings.zoom == "off"
        assert controller.last_error is None
    finally:
        controller.close()
