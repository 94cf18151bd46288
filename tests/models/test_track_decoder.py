"""The fast form of SAM 2's mask decoder against SAM 2's own, on random weights."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import sam2  # noqa: F401 - tells Hydra where its configurations are
import torch
import torch.nn.functional as F
from hydra import compose
from hydra.utils import instantiate

from napari_medsam2.models import track_decoder
from napari_medsam2.models.hiera import fast_image_encoder
from napari_medsam2.models.memory_attention import fast_memory_attention
from napari_medsam2.models.track_decoder import fast_track_decoder

if TYPE_CHECKING:
    from collections.abc import Iterator

CPU = torch.device("cpu")
OVERRIDES = (
    "++model.image_size=256",
    "++model.sam_mask_decoder_extra_args.dynamic_multimask_via_stability=true",
    "++model.sam_mask_decoder_extra_args.dynamic_multimask_stability_delta=0.05",
    "++model.sam_mask_decoder_extra_args.dynamic_multimask_stability_thresh=0.98",
)


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def net() -> Any:
    torch.manual_seed(0)
    config = compose("configs/sam2.1/sam2.1_hiera_t.yaml", overrides=list(OVERRIDES))
    net = instantiate(config.model).eval().requires_grad_(False)
    for name, value in net.named_parameters():
        if value.ndim == 1 or "pos_embed" in name:
            value.add_(0.1 * torch.randn_like(value))
    return net


def inputs(
    net: Any, objects: int, points: int = 1, masks: bool = False, shared: bool = False
) -> list[torch.Tensor]:
    """Return image, s0, s1, sparse and dense."""
    generator = torch.Generator().manual_seed(objects)
    shapes = (1 if shared else objects, 256, 16, 16), (1, 32, 64, 64), (1, 64, 32, 32)
    features = [torch.randn(shape, generator=generator) for shape in shapes]
    xy = 256 * torch.rand(objects, points, 2, generator=generator)
    clicks = xy, torch.randint(0, 2, (objects, points), generator=generator)
    drawn = torch.randn(objects, 1, 64, 64, generator=generator) if masks else None
    return [*features, *net.sam_prompt_encoder(points=clicks, boxes=None, masks=drawn)]


def reference(decoder: Any, net: Any, args: list[torch.Tensor], multimask: bool) -> Any:
    image, s0, s1, sparse, dense = args
    position = net.sam_prompt_encoder.get_dense_pe()
    repeat = len(image) < len(sparse)
    return decoder(image, position, sparse, dense, multimask, repeat, [s0, s1])


def fast(net: Any, decoder: Any = None) -> Any:
    position = net.sam_prompt_encoder.get_dense_pe()
    return fast_track_decoder(net.sam_mask_decoder if decoder is None else decoder, position, CPU)


def assert_equal_answers(found: Any, expected: Any) -> None:
    for one, other in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize(("objects", "points"), [(1, 1), (3, 2), (10, 1)])
def test_equals_the_original(net: Any, objects: int, points: int, multimask: bool) -> None:
    args = inputs(net, objects, points)
    expected = reference(net.sam_mask_decoder, net, args, multimask)
    assert_equal_answers(fast(net)(*args, multimask), expected)
    assert expected[0].shape == (objects, 3 if multimask else 1, 64, 64)
    assert expected[2].shape == (objects, 3 if multimask else 1, 256)


def test_images_and_masks_shared_or_one_an_object(net: Any) -> None:
    decoder = fast(net)
    for shared in (False, True):
        args = inputs(net, 3, masks=True, shared=shared)
        expected = reference(net.sam_mask_decoder, net, args, True)
        assert_equal_answers(decoder(*args, True), expected)
        args[4] = args[4][:1]
        expected = reference(net.sam_mask_decoder, net, args, True)
        assert_equal_answers(decoder(*args, True), expected)
    with pytest.raises(ValueError, match="got 2 dense embeddings for 3 objects"):
        decoder(*args[:4], args[4].expand(2, -1, -1, -1), True)
    with pytest.raises(ValueError, match=r"for 1 or 3 objects, got \(2, 256, 16, 16\)"):
        decoder(args[0].expand(2, -1, -1, -1), *args[1:], True)


def test_an_unstable_mask_gives_way_to_the_best_of_three(net: Any) -> None:
    """Thresholds between the objects' stabilities: some fall back, others do not."""
    args = inputs(net, 6)
    changed = copy.deepcopy(net.sam_mask_decoder)
    changed.dynamic_multimask_via_stability = False
    plain = reference(changed, net, args, False)
    assert_equal_answers(fast(net, changed)(*args, False), plain)
    changed.dynamic_multimask_via_stability = True
    stability = changed._get_stability_scores(plain[0])
    changed.dynamic_multimask_stability_thresh = stability.median().item()
    expected = reference(changed, net, args, False)
    same = (expected[0] == plain[0]).flatten(1).all(1)
    assert 0 < same.sum() < 6
    assert_equal_answers(fast(net, changed)(*args, False), expected)


def test_options_of_the_decoder_are_followed(net: Any) -> None:
    args = inputs(net, 2)
    changed = copy.deepcopy(net.sam_mask_decoder)
    changed.use_multimask_token_for_obj_ptr = changed.pred_obj_scores = False
    expected = reference(changed, net, args, True)
    assert expected[2].shape == (2, 1, 256)
    assert_equal_answers(fast(net, changed)(*args, True), expected)
    changed.use_high_res_features = False
    with pytest.raises(ValueError, match="finer levels"):
        fast(net, changed)


def test_strips_make_no_difference(net: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(track_decoder, "_STRIP_PIXELS", 100)
    args = inputs(net, 2)
    expected = reference(net.sam_mask_decoder, net, args, True)
    assert_equal_answers(fast(net)(*args, True), expected)


def test_shapes_fit_together_off_the_cpu(net: Any) -> None:
    """The meta device takes the path of graphics cards, without their arithmetic."""
    meta = torch.device("meta")
    position = net.sam_prompt_encoder.get_dense_pe()
    decoder = fast_track_decoder(net.sam_mask_decoder, position, meta)
    args = [x.to(meta) for x in inputs(net, 2)]
    for multimask, masks in ((True, 3), (False, 1)):
        logits, ious, tokens, scores = decoder(*args, multimask)
        assert logits.shape == (2, masks, 64, 64)
        assert ious.shape == (2, masks)
        assert tokens.shape == (2, masks, 256)
        assert scores.shape == (2, 1)


def test_the_original_stays_as_it_was_and_unshared(net: Any) -> None:
    before = copy.deepcopy(net.sam_mask_decoder.state_dict())
    decoder = fast(net)
    after = net.sam_mask_decoder.state_dict()
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=0, atol=0)
    theirs = {value.untyped_storage().data_ptr() for value in after.values()}
    ours = {value.untyped_storage().data_ptr() for value in decoder.state_dict().values()}
    assert theirs.isdisjoint(ours)
    assert not any(value.requires_grad for value in decoder.parameters())


def test_masks_agree_when_the_features_are_bf16(net: Any) -> None:
    """Encoder and memory attention in bf16, one after the other, against SAM 2 in fp32."""
    generator = torch.Generator().manual_seed(5)
    coarse = torch.randn(1, 3, 16, 16, generator=generator)
    image = F.interpolate(coarse, size=(256, 256), mode="bicubic")
    memory, memory_pos = (torch.randn(n, 7 * 256 + 64, 64, generator=generator) for n in (2, 1))
    _, _, _, sparse, dense = inputs(net, 2)

    backbone = net.forward_image(image)
    s0, s1, top = backbone["backbone_fpn"]
    position = backbone["vision_pos_enc"][2]
    flat, flat_pos = (x.flatten(2).permute(2, 0, 1).expand(-1, 2, -1) for x in (top, position))
    mixed = net.memory_attention(
        [flat], memory.transpose(0, 1), [flat_pos], memory_pos.transpose(0, 1).expand(-1, 2, -1), 64
    )
    mixed = mixed.permute(1, 2, 0).unflatten(2, (16, 16))
    expected = reference(net.sam_mask_decoder, net, [mixed, s0, s1, sparse, dense], True)[0] > 0

    decoder = net.sam_mask_decoder
    encode = fast_image_encoder(net.image_encoder, decoder.conv_s0, decoder.conv_s1, CPU, "bf16")
    top, s0, s1 = encode(image)
    attend = fast_memory_attention(net.memory_attention, (16, 16), CPU, "bf16")
    mixed = attend(top, position, memory, memory_pos[0], 64)
    found = fast(net)(mixed, s0, s1, sparse, dense, True)[0] > 0
    iou = (expected & found).sum((-2, -1)) / (expected | found).sum((-2, -1))
    shares = expected.float().mean((-2, -1))
    print("IoU", iou.tolist(), "of masks that cover", shares.tolist())
    assert ((shares > 0.05) & (shares < 0.95)).any()  # masks of all or nothing would always agree
    assert iou.min() >= 0.99
