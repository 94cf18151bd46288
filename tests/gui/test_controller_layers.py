"""The controller with layers that come, go and change, with all kinds of images, and with files."""

from __future__ import annotations

import numpy as np
import pytest
from tests.gui.common import counts, draw, filled
from tests.gui.conftest import BOX, SHAPE, disc, rectangle, session_maker

from napari_medsam2 import BoxPrompt, PromptSet, Session
from napari_medsam2.gui.controller import Controller

DISC = int(disc().sum())


def test_deleting_the_image_in_mid_run(gated_controller, gated, viewer_model):
    controller = gated_controller
    controller.segment_while_drawing = False
    draw(controller)
    controller.propagate()
    gated.open(1)
    while not any(counts(controller)):
        controller.poll(wait=0.05)
    viewer_model.layers.remove("disc")
    assert controller.state == "idle"
    assert controller.bench.image is None
    gated.open()
    assert controller.wait(10)
    assert controller.last_error is None


@pytest.mark.parametrize("name", ["disc boxes", "disc [MedSAM2]"])
def test_deleting_our_layers_in_mid_run(gated_controller, gated, viewer_model, name):
    controller = gated_controller
    controller.segment_while_drawing = False
    draw(controller)
    controller.propagate()
    viewer_model.layers.remove(name)
    gated.open()
    assert controller.wait(10)
    assert controller.last_error is None
    draw(controller)
    controller.propagate()
    assert controller.wait(10)
    assert controller.last_error is None
    assert all(filled(controller))


def test_closing_in_mid_run(gated_controller, gated):
    controller = gated_controller
    draw(controller)
    controller.propagate()
    controller.close()
    gated.open()
    assert not controller.poll()
    assert controller.state == "idle"


def test_two_images_have_their_own_prompts_and_history(controller, viewer_model, stack):
    draw(controller)
    controller.wait(10)
    other = viewer_model.add_image(stack[::-1].copy(), name="other")
    controller.bench.use(other)
    assert controller.session.prompts == PromptSet()
    draw(controller, frame=1)
    controller.wait(10)
    assert counts(controller) == [0, DISC, 0, 0, 0]
    controller.bench.use(viewer_model.layers["disc"])
    assert counts(controller) == [0, 0, DISC, 0, 0]
    assert controller.session.undo_text == "segment object 1"


def test_4d_works_at_the_time_of_the_slider(model):
    from napari.components import ViewerModel

    viewer = ViewerModel()
    image = np.full((2, *SHAPE), 20, np.uint8)
    image[1, :, disc()] = 200
    viewer.add_image(image, name="movie")
    controller = Controller(viewer, session_maker(model))
    viewer.dims.set_current_step(0, 1)
    viewer.dims.set_current_step(1, 2)
    controller.use_box_tool()
    controller.bench.desk.prompts.boxes.add_rectangles(np.insert(rectangle(2), 0, 1, axis=1))
    controller.wait(10)
    assert controller.session.stack.at == (1,)
    controller.propagate()
    controller.wait(10)
    labels = controller.session.labels
    assert labels.shape == image.shape
    assert not labels[0].any()
    assert all((frame == 1).any() for frame in labels[1])
    viewer.dims.set_current_step(0, 0)
    assert controller.session.stack.at == (0,)
    assert controller.session.prompts.prompted_ids == ()
    controller.close()


def test_rgb_2d_multiscale_and_dask(model, stack):
    import dask.array as da
    from napari.components import ViewerModel

    viewer = ViewerModel()
    controller = Controller(viewer, session_maker(model))
    viewer.add_image(np.repeat(stack[..., None], 3, axis=-1), name="rgb")
    viewer.add_image(stack[0], name="plane")
    viewer.add_image([stack, stack[:, ::2, ::2]], name="pyramid", multiscale=True)
    viewer.add_image(da.from_array(stack, chunks=(1, 64, 64)), name="dask")
    for name in ("rgb", "plane", "pyramid", "dask"):
        controller.bench.use(viewer.layers[name])
        controller.session.add_box(0, BOX)
        assert controller.segment_slice(0), name
        assert controller.wait(10)
        labels = controller.session.labels
        assert labels.shape == (SHAPE if name != "plane" else SHAPE[1:])
        assert int((labels == 1).sum()) == DISC, name
    controller.close()


def test_labels_and_session_to_files_and_back(controller, tmp_path, stack, model):
    from napari.components import ViewerModel

    from napari_medsam2.io import read_labels

    draw(controller)
    controller.wait(10)
    controller.rename_object(1, "disc")
    assert controller.save_labels(tmp_path / "labels.nii.gz")
    assert controller.wait(10)
    np.testing.assert_array_equal(
        read_labels(tmp_path / "labels.nii.gz"), controller.session.labels
    )
    assert controller.save_session(tmp_path / "work.medsam2.json")
    assert controller.wait(10)
    assert controller.last_error is None

    viewer = ViewerModel()
    viewer.add_image(stack, name="disc", scale=(3.0, 1.0, 1.0))
    again = Controller(viewer, session_maker(model))
    assert again.open_session(tmp_path / "work.medsam2.json")
    assert again.wait(10)
    assert again.last_error is None
    assert again.session.prompts == PromptSet().add(1, BoxPrompt(2, BOX), name="disc")
    np.testing.assert_array_equal(viewer.layers["disc [MedSAM2]"].data, controller.session.labels)
    assert viewer.layers["disc [MedSAM2]"].data is again.session.labels
    np.testing.assert_allclose(viewer.layers["disc boxes"].data[0], rectangle(2))
    again.close()


def test_a_file_that_cannot_be_written_is_told(controller, notes, tmp_path):
    draw(controller)
    controller.wait(10)
    controller.save_labels(tmp_path / "no" / "such" / "labels.nii.gz")
    assert controller.wait(10)
    assert [n.severity.value for n in notes] == ["error"]
    assert "labels.nii.gz" in notes[0].message or "such" in notes[0].message


def test_layers_follow_an_image_that_was_moved(controller, viewer_model):
    draw(controller)
    controller.wait(10)
    viewer_model.layers["disc"].translate = (0, 5, 7)
    controller.segment_slice(2)
    controller.wait(10)
    for name in ("disc boxes", "disc [MedSAM2]"):
        np.testing.assert_array_equal(viewer_model.layers[name].translate, (0, 5, 7))


def test_a_session_is_a_real_one_by_default(viewer_model):
    controller = Controller(viewer_model)
    assert type(controller.session) is Session
    controller.close()
