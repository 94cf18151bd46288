"""SAM 2 models: files, configs, prompts, frames of all kinds, devices that fail."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter
from tests.tracking.reference import CONFIG_20, CONFIG_21, CPU, make_lively

import napari_medsam2 as nm
from napari_medsam2 import models
from napari_medsam2.errors import (
    CheckpointError,
    DeviceError,
    InputError,
    ModelError,
    PromptError,
)
from napari_medsam2.models.base import FramePrompt, Recalled
from napari_medsam2.models.sam2 import SAM2
from napari_medsam2.models.sam2_config import build_network
from napari_medsam2.models.sam2_parts import FastParts, PublishedParts
from napari_medsam2.models.sam2_prompts import mask_input, point_inputs, preprocess

SIZE = 128


@pytest.fixture(scope="module")
def net() -> Any:
    net = build_network(CONFIG_21, SIZE)
    make_lively(net)
    return net


@pytest.fixture(scope="module")
def model(net: Any) -> SAM2:
    return SAM2.of(net, CPU, "fp32")


@pytest.fixture(scope="module")
def checkpoint(net: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file as Meta saves them: the weights under "model"."""
    path = tmp_path_factory.mktemp("weights") / "tiny.pt"
    torch.save({"model": net.state_dict()}, path)
    return path


def frame(shape: tuple[int, ...] = (60, 80)) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)


# Files


def test_a_saved_checkpoint_gives_the_same_masks(model: SAM2, checkpoint: Path) -> None:
    loaded = models.build(
        "sam2.1_hiera_tiny", checkpoint=checkpoint, image_size=SIZE, precision="fp32", device=CPU
    )
    assert loaded.name == "sam2.1_hiera_tiny"
    prompt = FramePrompt(1, 0, boxes=((10, 12, 40, 50),))
    one, other = (m.decode(m.embed(frame()), [prompt])[0] for m in (model, loaded))
    np.testing.assert_array_equal(one.logits, other.logits)


def test_its_key_tells_weights_size_and_precision_apart(checkpoint: Path) -> None:
    keys = {
        models.build(
            "sam2.1_hiera_tiny", checkpoint=checkpoint, image_size=size, precision=precision
        ).key
        for size, precision in ((128, "fp32"), (160, "fp32"), (128, "bf16"))
    }
    assert len(keys) == 3


def test_weights_that_are_not_there_name_the_way_to_get_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAPARI_MEDSAM2_MODELS", str(tmp_path))
    with pytest.raises(CheckpointError, match=r"models pull sam2\.1_hiera_tiny") as error:
        models.build("sam2.1_hiera_tiny")
    assert str(tmp_path / "sam2.1_hiera_tiny.pt") in str(error.value)
    assert "7402e0d864fa82708a20fbd15bc84245c2f26dff0eb43a4b5b93452deb34be69" in str(error.value)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("sam2_hiera_tiny", "no_obj_embed_spatial"),  # of another version
        ("sam2.1_hiera_small", "missing"),  # of another size
        ("litemedsam", "another architecture"),
    ],
)
def test_weights_of_another_architecture(checkpoint: Path, name: str, complaint: str) -> None:
    with pytest.raises(CheckpointError, match=complaint):
        models.build(name, checkpoint=checkpoint)


def test_litemedsam_weights_are_no_sam2() -> None:
    with pytest.raises(CheckpointError, match=r"sam2\.1_hiera_tiny"):
        models.build("sam2.1_hiera_tiny", checkpoint=models.get("litemedsam").path)


def test_missing_keys_are_named(net: Any, tmp_path: Path) -> None:
    state = dict(net.state_dict())
    del state["maskmem_tpos_enc"]
    torch.save(state, tmp_path / "some.pt")
    with pytest.raises(CheckpointError, match="maskmem_tpos_enc"):
        models.build("sam2.1_hiera_tiny", checkpoint=tmp_path / "some.pt")


def test_a_truncated_checkpoint(checkpoint: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.pt"
    cut.write_bytes(checkpoint.read_bytes()[:100_000])
    with pytest.raises(CheckpointError, match=r"cut\.pt"):
        models.build("sam2.1_hiera_tiny", checkpoint=cut)


def test_weights_are_held_once(checkpoint: Path) -> None:
    loaded = models.build(
        "sam2.1_hiera_tiny", checkpoint=checkpoint, image_size=SIZE, precision="fp32", device=CPU
    )
    network = loaded._network
    left = sum(p.numel() for p in network.net.parameters())
    held = sum(
        t.numel() for part in vars(network.parts).values() for t in part.state_dict().values()
    )
    published = sum(p.numel() for p in build_network(CONFIG_21, SIZE).parameters())
    assert left < 0.02 * published
    assert held < 1.2 * published


# Configs

CONFIGS = sorted({card.config for card in models.list() if card.config is not None})


@pytest.mark.slow
@pytest.mark.parametrize("config", CONFIGS)
def test_every_architecture_of_the_catalogue_runs_in_its_fast_form(config: str) -> None:
    net = build_network(config, SIZE)
    make_lively(net)
    model = SAM2.of(net, CPU, "fp32")
    assert isinstance(model._network.parts, FastParts)
    embedding = model.embed(frame())
    (trace,) = model.begin(embedding, [FramePrompt(1, 0, boxes=((10, 12, 40, 50),))])
    (next_one,) = model.track(embedding, [Recalled(((0, trace.memory),), ((1, trace.pointer),))])
    assert next_one.is_present
    published = PublishedParts(net, model._network._dense_position)
    with torch.inference_mode():
        image = preprocess(frame(), SIZE)
        for level, other in zip(
            published.encode(image), model._network.parts.encode(image), strict=True
        ):
            torch.testing.assert_close(level, other, atol=1e-4, rtol=1e-4)


def test_an_unknown_config() -> None:
    with pytest.raises(ModelError, match=r"configs/sam3\.yaml: there is no such file"):
        build_network("configs/sam3.yaml", 512)


@pytest.mark.parametrize("text", ["model: [", "- 1\n- 2\n", "other: 1\n", "model: 3\n"])
def test_a_file_that_is_no_config(tmp_path: Path, text: str) -> None:
    path = tmp_path / "my.yaml"
    path.write_text(text)
    with pytest.raises(ModelError, match=r"my\.yaml"):
        build_network(path, 512)


def test_a_config_builds_parts_of_sam2_and_nothing_else(tmp_path: Path) -> None:
    marker = tmp_path / "was-here"
    path = tmp_path / "evil.yaml"
    path.write_text(
        "model:\n  directly_add_no_mem_embed: true\n"
        "  use_mask_input_as_output_without_sam: true\n"
        f"  image_encoder:\n    _target_: pathlib.Path.touch\n    self: {marker}\n"
    )
    with pytest.raises(ModelError, match=r"refused.*pathlib\.Path\.touch"):
        build_network(path, 512)
    assert not marker.exists()


def test_a_config_of_ones_own(tmp_path: Path) -> None:
    import sam2

    own = Path(sam2.__file__).parent / CONFIG_20
    path = tmp_path / "mine.yaml"
    path.write_text(own.read_text().replace("num_maskmem: 7", "num_maskmem: 4"))
    assert SAM2.of(build_network(path, SIZE), CPU, "fp32").rules.memories == 4


def test_another_config_of_the_same_name_is_another_model(checkpoint: Path, tmp_path: Path) -> None:
    import sam2

    text = (Path(sam2.__file__).parent / CONFIG_21).read_text()
    path = tmp_path / "mine.yaml"
    keys = set()
    for pointers in (16, 8):
        path.write_text(f"{text}  max_obj_ptrs_in_encoder: {pointers}\n")
        loaded = models.build(str(path), checkpoint=checkpoint, image_size=SIZE, device=CPU)
        assert loaded.rules.pointers == pointers
        keys.add(loaded.key)
    assert len(keys) == 2


@pytest.mark.parametrize("size", [96, 500, 4096])
def test_image_sizes_that_the_network_cannot_take(checkpoint: Path, size: int) -> None:
    with pytest.raises(InputError, match="multiple of 32"):
        models.build("sam2.1_hiera_tiny", checkpoint=checkpoint, image_size=size)


@pytest.mark.parametrize("name", ["sam2.1_hiera_tiny", "litemedsam"])
def test_the_image_encoder_is_compiled_on_request(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    # With the real compiler this takes a minute; here its front end alone runs.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    given = {"checkpoint": checkpoint, "image_size": SIZE} if name != "litemedsam" else {}
    compiled = models.build(name, compiled=True, precision="fp32", device=CPU, **given)
    plain = models.build(name, precision="fp32", device=CPU, **given)
    one, other = (m.embed(frame()).features for m in (compiled, plain))
    torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


# Frames and prompts


def test_frames_are_prepared_as_medsam2_does_but_in_float() -> None:
    # Smooth, for Pillow also clips between its two passes.
    image = gaussian_filter(frame((50, 90)), 2)
    image = (image - image.min()) / np.ptp(image) * 200 + 20
    prepared = preprocess(image, 64)[0].numpy()
    resized = np.asarray(
        Image.fromarray(np.clip(np.round(image), 0, 255).astype(np.uint8)).resize(
            (64, 64), Image.Resampling.BICUBIC
        ),
        dtype=np.float32,
    )
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = (resized / 255 - mean[:, None, None]) / std[:, None, None]
    # Two roundings to whole grey levels, of which there are 255, divided by 0.225.
    assert np.abs(prepared - expected).max() < 2.0 / 255 / 0.22
    assert np.abs(prepared - expected).mean() < 0.5 / 255 / 0.22


def test_a_box_is_its_first_and_last_pixel_before_the_points() -> None:
    prompt = FramePrompt(1, 0, boxes=((10, 20, 30, 61),), points=((5, 8),), labels=(0,))
    points = point_inputs([prompt], [0], (50, 100), 200)
    assert points is not None
    # (x, y), scaled by 200 / 100 and 200 / 50.
    expected = [[[40.0, 40.0], [120.0, 116.0], [16.0, 20.0]]]
    np.testing.assert_allclose(points[0].numpy(), expected, rtol=1e-6)
    assert points[1].tolist() == [[2, 3, 0]]


def test_masks_stay_masks() -> None:
    mask = np.zeros((50, 100), bool)
    mask[10:20, 30:60] = True
    small = mask_input(mask, 32)
    assert set(small.unique().tolist()) == {0.0, 1.0}
    assert small.mean().item() == pytest.approx(mask.mean(), rel=0.1)


@pytest.mark.parametrize("shape", [(7, 2000), (1, 1), (64, 64, 3), (300, 20)])
def test_frames_of_odd_shapes(model: SAM2, shape: tuple[int, ...]) -> None:
    prompt = FramePrompt(1, 0, boxes=((0, 0, shape[0], shape[1]),))
    embedding = model.embed(frame(shape))
    found = model.decode(embedding, [prompt])[0]
    assert found.logits.shape == shape[:2]
    assert np.isfinite(found.logits).all()


def test_several_boxes_are_several_parts(model: SAM2) -> None:
    embedding = model.embed(frame())
    boxes = ((5.0, 5.0, 20.0, 30.0), (35.0, 40.0, 55.0, 70.0))
    parts = [model.decode(embedding, [FramePrompt(1, 0, boxes=(b,))])[0].mask for b in boxes]
    united = model.decode(embedding, [FramePrompt(1, 0, boxes=boxes)])[0].mask
    both = np.logical_or(*parts)
    # United before they are enlarged, which moves their edges by less than a pixel.
    assert (united == both).mean() > 0.93
    assert all((united != part).any() for part in parts)


def test_a_mask_is_taken_as_it_is(model: SAM2) -> None:
    mask = frame() > 200
    found = model.decode(model.embed(frame()), [FramePrompt(1, 0, mask=mask)])[0]
    np.testing.assert_array_equal(found.mask, mask)


def test_points_refine_a_mask_that_was_given(model: SAM2) -> None:
    mask = np.zeros((60, 80), bool)
    mask[20:40, 30:50] = True
    embedding = model.embed(frame())
    alone = FramePrompt(1, 0, points=((30, 40),), labels=(1,))
    with_mask = FramePrompt(1, 0, points=((30, 40),), labels=(1,), mask=mask)
    one, other = model.decode(embedding, [alone, with_mask])
    assert np.abs(one.logits - other.logits).max() > 1e-3


def test_the_first_of_several_masks_on_request(model: SAM2) -> None:
    embedding = model.embed(frame())
    prompts = [FramePrompt(i, 0, points=((5 + 5 * i, 8 * i),), labels=(1,)) for i in range(9)]
    first = model.taking_first_mask()
    assert first.key != model.key
    # The model is asked for three masks by a single point alone.
    pairs = zip(model.decode(embedding, prompts), first.decode(embedding, prompts), strict=True)
    assert all(best.predicted_iou >= one.predicted_iou for best, one in pairs)
    best, one = (
        m.decode(embedding, [FramePrompt(1, 0, boxes=((5, 5, 30, 40),))])[0] for m in (model, first)
    )
    np.testing.assert_array_equal(best.logits, one.logits)


def test_negative_points_alone_are_no_object(model: SAM2) -> None:
    with pytest.raises(PromptError, match=r"object 3, frame 5: negative points alone"):
        model.check(FramePrompt(3, 5, points=((1, 1),), labels=(0,)))
    model.check(FramePrompt(3, 5, points=((1, 1),), labels=(0,), refines=True))


def test_a_batch_answers_as_one_by_one(model: SAM2) -> None:
    embedding = model.embed(frame())
    mask = np.zeros((60, 80), bool)
    mask[5:30, 5:30] = True
    prompts = [
        FramePrompt(1, 0, boxes=((5, 5, 30, 40),)),
        FramePrompt(2, 0, points=((30, 40),), labels=(1,)),
        FramePrompt(3, 0, mask=mask),
        FramePrompt(4, 0, boxes=((15, 25, 50, 60),)),
        FramePrompt(5, 0, points=((30, 40), (3, 3)), labels=(1, 0)),
    ]
    together = model.decode(embedding, prompts)
    for prompt, one in zip(prompts, together, strict=True):
        alone = model.decode(embedding, [prompt])[0]
        np.testing.assert_allclose(one.logits, alone.logits, atol=1e-5)
        assert one.predicted_iou == pytest.approx(alone.predicted_iou, abs=1e-5)


# Devices


def recalled(model: SAM2, count: int) -> tuple[Any, list[Recalled]]:
    embedding = model.embed(frame())
    prompts = [FramePrompt(i, 0, boxes=((5, 5, 30 + i, 40),)) for i in range(count)]
    past = [Recalled(((0, t.memory),), ((1, t.pointer),)) for t in model.begin(embedding, prompts)]
    return embedding, past


def test_too_little_memory_for_all_objects_at_once_makes_smaller_batches(
    model: SAM2, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedding, past = recalled(model, 5)
    expected = model.track(embedding, past)
    tried: list[int] = []
    attend = type(model._network).remember_with

    def short_of_memory(network: Any, features: Any, some: Any) -> Any:
        tried.append(len(some))
        if len(some) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return attend(network, features, some)

    monkeypatch.setattr(type(model._network), "remember_with", short_of_memory)
    found = model.track(embedding, past)
    assert tried == [5, 2, 3, 1, 2]
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one.logits, other.logits, atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            torch.OutOfMemoryError("CUDA out of memory"),
            "out of memory; choose a smaller image",
        ),
        (RuntimeError("CUDA error: device is lost\nmore"), "torch failed: CUDA error: device is"),
    ],
)
def test_a_device_that_fails_is_named(
    model: SAM2, monkeypatch: pytest.MonkeyPatch, error: Exception, told: str
) -> None:
    embedding, past = recalled(model, 1)

    def fail(*_: Any, **__: Any) -> Any:
        raise error

    monkeypatch.setattr(type(model._network), "remember_with", fail)
    with pytest.raises(DeviceError, match=told) as caught:
        model.track(embedding, past)
    assert "\n" not in str(caught.value)
    monkeypatch.setattr(type(model._network.parts), "encode", fail)
    with pytest.raises(DeviceError, match=told):
        model.embed(frame())


# Whole segmentations


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.float32])
def test_a_volume_of_any_depth(model: SAM2, dtype: Any) -> None:
    image = (np.random.default_rng(1).normal(0, 1, (4, 30, 200)) * 500 + 3000).astype(dtype)
    if dtype is np.float32:
        image[2] = np.nan
    session = nm.Session(image, model="sam2.1_hiera_tiny")
    session.use_model(model)
    session.add_box(1, (5, 20, 20, 60), object_id=3)
    updates = list(session.propagate())
    assert sorted(u.frame for u in updates) == [0, 1, 2, 3]
    assert set(np.unique(session.labels)) <= {0, 3}


def test_a_colour_picture_is_one_frame(model: SAM2) -> None:
    session = nm.Session(np.random.default_rng(1).integers(0, 255, (40, 50, 3), np.uint8))
    session.use_model(model)
    session.add_points(0, [(20, 25)], labels=[1])
    assert [u.frame for u in session.propagate()] == [0]
