"""The fast mask decoder against the published one."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from napari_medsam2 import models
from napari_medsam2.models.base import FramePrompt
from napari_medsam2.models.device import choose_device
from napari_medsam2.models.sam_batch_decoder import BatchMaskDecoder
from napari_medsam2.models.sam_decoder import fast_mask_decoder

if TYPE_CHECKING:
    from collections.abc import Iterator

CPU = torch.device("cpu")
BOXES = [[22.0, 34.0, 98.0, 112.0], [136.0, 52.0, 196.0, 104.0], [86.0, 134.0, 162.0, 206.0]]
"""(x0, y0, x1, y1) around the three discs of `features`."""


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def features(net: Any) -> torch.Tensor:
    """Embed three discs on a noisy ground."""
    y, x = np.mgrid[0:256, 0:256]
    image = np.random.default_rng(0).normal(0.3, 0.02, (256, 256))
    for x0, y0, x1, y1 in BOXES:
        radius = np.hypot((2 * x - x0 - x1) / (x1 - x0), (2 * y - y0 - y1) / (y1 - y0))
        image += 0.3 * (radius < 0.9)
    image = (image - image.min()) / (image.max() - image.min())
    with torch.no_grad():
        planes = torch.from_numpy(image.astype(np.float32)).expand(1, 3, 256, 256)
        embedding: torch.Tensor = net.image_encoder(planes)
    return embedding


def fast(net: Any, decoder: Any = None) -> Any:
    position = net.prompt_encoder.get_dense_pe()
    return fast_mask_decoder(net.mask_decoder if decoder is None else decoder, position, CPU)


def prompts(net: Any, objects: int, points: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Embed a box an object, with clicks at random places; boxes repeat after three objects."""
    boxes = torch.tensor([BOXES[n % 3] for n in range(objects)])[:, None]
    clicks = None
    if points:
        generator = torch.Generator().manual_seed(points)
        xy = 255 * torch.rand(objects, points, 2, generator=generator)
        clicks = xy, torch.randint(0, 2, (objects, points), generator=generator)
    sparse, dense = net.prompt_encoder(points=clicks, boxes=boxes, masks=None)
    assert sparse.shape == (objects, points + 2, 256)
    return sparse, dense


def assert_equal_answers(
    found: tuple[torch.Tensor, torch.Tensor], expected: tuple[torch.Tensor, torch.Tensor]
) -> None:
    """Compare logits, which reach some 50, and predicted IoU."""
    logits, iou = found
    assert logits.dtype == iou.dtype == torch.float32
    torch.testing.assert_close(logits, expected[0][:, 0], rtol=0, atol=3e-4)
    torch.testing.assert_close(iou, expected[1][:, 0], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("objects", "points"), [(1, 0), (1, 1), (3, 0), (3, 3), (2, 8), (10, 1)])
def test_equals_the_published_decoder(
    net: Any, features: torch.Tensor, objects: int, points: int
) -> None:
    sparse, dense = prompts(net, objects, points)
    position = net.prompt_encoder.get_dense_pe()
    expected = net.mask_decoder(features, position, sparse, dense, False)
    no_mask = net.prompt_encoder.no_mask_embed.weight[0]
    assert_equal_answers(fast(net)(features, sparse, no_mask), expected)
    if not points:
        areas = (expected[0] > 0).sum((1, 2, 3))
        assert areas.min() > 500  # not vacuous: there are masks


def test_dense_embeddings_shared_or_one_an_object(net: Any, features: torch.Tensor) -> None:
    sparse, _ = prompts(net, 3, 1)
    masks = torch.randn(3, 1, 256, 256, generator=torch.Generator().manual_seed(1))
    dense = net.prompt_encoder._embed_masks(masks)
    position = net.prompt_encoder.get_dense_pe()
    decoder = fast(net)
    for some in (dense, dense[:1]):
        expected = net.mask_decoder(features, position, sparse, some, False)
        assert_equal_answers(decoder(features, sparse, some), expected)
    with pytest.raises(ValueError, match="got 2 dense embeddings for 3 objects"):
        decoder(features, sparse, dense[:2])


def test_follows_every_weight(net: Any, features: torch.Tensor) -> None:
    """Trained biases and norms may be near their defaults; random ones leave nothing unseen."""
    changed = copy.deepcopy(net.mask_decoder)
    generator = torch.Generator().manual_seed(3)
    for value in changed.state_dict().values():
        spread = 0.5 if value.ndim == 1 else 0.02
        value.add_(spread * torch.randn(value.shape, generator=generator))
    sparse, dense = prompts(net, 2, 1)
    position = net.prompt_encoder.get_dense_pe()
    expected = changed(features, position, sparse, dense, False)
    untouched = net.mask_decoder(features, position, sparse, dense, False)
    assert (expected[0] - untouched[0]).abs().max() > 1
    found, iou = fast(net, changed)(features, sparse, dense)
    torch.testing.assert_close(found, expected[0][:, 0], rtol=1e-5, atol=1e-3)
    torch.testing.assert_close(iou, expected[1][:, 0], rtol=1e-5, atol=1e-4)


def test_half_precision_features_are_taken_as_they_are(net: Any, features: torch.Tensor) -> None:
    sparse, dense = prompts(net, 1, 0)
    decoder = fast(net)
    half = features.half()
    for one, other in zip(
        decoder(half, sparse, dense), decoder(half.float(), sparse, dense), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_the_original_stays_as_it_was_and_unshared(net: Any) -> None:
    before = copy.deepcopy(net.mask_decoder.state_dict())
    position = net.prompt_encoder.get_dense_pe()
    decoder = fast_mask_decoder(net.mask_decoder, position, CPU)
    after = net.mask_decoder.state_dict()
    assert before.keys() == after.keys()
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=0, atol=0)
    theirs = {value.untyped_storage().data_ptr() for value in (*after.values(), position)}
    ours = {value.untyped_storage().data_ptr() for value in decoder.state_dict().values()}
    assert theirs.isdisjoint(ours)
    assert not any(value.requires_grad for value in decoder.parameters())


def test_shapes_fit_together_off_the_cpu(net: Any) -> None:
    """The meta device takes the path of graphics cards, without their arithmetic."""
    meta = torch.device("meta")
    decoder = fast_mask_decoder(net.mask_decoder, net.prompt_encoder.get_dense_pe(), meta)
    shapes = (1, 256, 64, 64), (3, 4, 256), (256,)
    logits, iou = decoder(*(torch.empty(shape, device=meta) for shape in shapes))
    assert logits.shape == (3, 256, 256)
    assert iou.shape == (3,)


@pytest.mark.parametrize(("objects", "points"), [(1, 0), (3, 1), (10, 1)])
def test_the_form_for_graphics_cards_answers_as_that_for_processors(
    net: Any, features: torch.Tensor, objects: int, points: int
) -> None:
    sparse, dense = prompts(net, objects, points)
    batched = BatchMaskDecoder(net.mask_decoder, net.prompt_encoder.get_dense_pe())
    masks = torch.randn(objects, 1, 256, 256, generator=torch.Generator().manual_seed(1))
    drawn = net.prompt_encoder._embed_masks(masks)
    for told in (net.prompt_encoder.no_mask_embed.weight[0], dense[:1], drawn):
        for one, other in zip(
            batched.answer(features, sparse, told),
            fast(net).answer(features, sparse, told),
            strict=True,
        ):
            torch.testing.assert_close(one, other, rtol=1e-5, atol=3e-4)
    with pytest.raises(ValueError, match=r"\(1, 256, 64, 64\), got \(1, 256, 32, 64\)"):
        batched(torch.zeros(1, 256, 32, 64), sparse, dense)


def test_wrong_feature_size_is_named(net: Any) -> None:
    with pytest.raises(ValueError, match=r"\(1, 256, 64, 64\), got \(1, 256, 32, 64\)"):
        fast(net)(torch.zeros(1, 256, 32, 64), torch.zeros(1, 2, 256), torch.zeros(256))


def test_objects_with_and_without_clicks_are_answered_in_order() -> None:
    """LiteMedSAM decodes prompts of equally many tokens together, whatever their order."""
    model = models.build("litemedsam", device=choose_device("cpu"), precision="fp32")
    y, x = np.mgrid[0:128, 0:160].astype(np.float32)
    image = 80 + 90 * (np.hypot(x - 50, y - 60) < 25) + 60 * (np.hypot(x - 120, y - 40) < 18)
    embedding = model.embed(image.astype(np.float32))
    left, right = (33.0, 24.0, 87.0, 77.0), (20.0, 100.0, 60.0, 140.0)
    asked = [
        FramePrompt(1, 0, boxes=(left,)),
        FramePrompt(2, 0, boxes=(right,), points=((40.0, 120.0),), labels=(1,)),
        FramePrompt(3, 0, boxes=(right, left)),
        FramePrompt(4, 0, boxes=(left, right), points=((60.0, 50.0),), labels=(0,)),
    ]
    for prompt, together in zip(asked, model.decode(embedding, asked), strict=True):
        (alone,) = model.decode(embedding, [prompt])
        np.testing.assert_allclose(together.logits, alone.logits, atol=1e-3)
        assert together.predicted_iou == pytest.approx(alone.predicted_iou, abs=1e-5)
    assert model.decode(embedding, []) == []
