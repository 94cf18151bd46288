"""The fast encoder against the published one, judged by its embedding and by decoded masks."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch

from napari_medsam2.models.tinyvit import best_precision, fast_encoder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_medsam2.models.tinyvit import Precision

CPU = torch.device("cpu")
BOXES = [(22.0, 34.0, 98.0, 112.0), (136.0, 52.0, 196.0, 104.0), (86.0, 134.0, 162.0, 206.0)]
"""(x0, y0, x1, y1) around the three discs of `scene`."""


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    noise = torch.rand(3, 256, 256, generator=torch.Generator().manual_seed(0))
    return torch.stack([noise, scene(1, 0.3), scene(2, 0.15)])


@pytest.fixture(scope="module")
def published(net: Any, images: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        embedding: torch.Tensor = net.image_encoder(images)
    return embedding


def scene(seed: int, contrast: float) -> torch.Tensor:
    """Three smooth discs on a shaded, noisy ground; zeros at the bottom, as wide images get."""
    y, x = np.mgrid[0:256, 0:256].astype(np.float32)
    image = 0.3 + 0.1 * np.sin(x / 40) * np.cos(y / 55)
    for sign, (x0, y0, x1, y1) in zip((1, -0.7, 0.8), BOXES, strict=True):
        radius = np.hypot((2 * x - x0 - x1) / (x1 - x0), (2 * y - y0 - y1) / (y1 - y0))
        image += sign * contrast * (1 - np.tanh(15 * (radius - 0.9))) / 2
    image += np.random.default_rng(seed).normal(0, 0.02, image.shape)
    image = (image - image.min()) / (image.max() - image.min())
    image[220:] = 0
    return torch.from_numpy(image.astype(np.float32)).expand(3, 256, 256)


def masks(net: Any, embeddings: torch.Tensor) -> torch.Tensor:
    """Decode a mask per image and box with LiteMedSAM's own decoder: (images, boxes, y, x)."""
    boxes = torch.tensor(BOXES)[:, None]
    sparse, dense = net.prompt_encoder(points=None, boxes=boxes, masks=None)
    pe = net.prompt_encoder.get_dense_pe()
    decoded = [net.mask_decoder(one[None], pe, sparse, dense, False)[0] for one in embeddings]
    return torch.cat(decoded, dim=1).transpose(0, 1) > 0


def test_fp32_equals_the_published_encoder(
    net: Any, images: torch.Tensor, published: torch.Tensor
) -> None:
    fast = fast_encoder(net.image_encoder, CPU, "fp32")(images)
    torch.testing.assert_close(fast, published, rtol=0, atol=2e-5)
    assert fast.is_contiguous()


def test_fp32_follows_every_weight(net: Any, images: torch.Tensor, published: torch.Tensor) -> None:
    """Trained biases and norms may be near their defaults; random ones leave nothing unseen."""
    changed = copy.deepcopy(net.image_encoder)
    generator = torch.Generator().manual_seed(3)
    for name, value in changed.state_dict().items():
        if value.is_floating_point():
            noise = torch.rand(value.shape, generator=generator)
            value.mul_(0.9 + 0.2 * noise) if "running" in name else value.add_(0.02 * noise - 0.01)
    changed.eval()  # recomputes the attention bias that the original caches
    expected = changed(images[1:2])
    assert (expected - published[1:2]).abs().max() > 0.05
    fast = fast_encoder(changed, CPU, "fp32")(images[1:2])
    torch.testing.assert_close(fast, expected, rtol=0, atol=5e-5)


def test_bf16_gives_the_same_masks(net: Any, images: torch.Tensor, published: torch.Tensor) -> None:
    embedding = fast_encoder(net.image_encoder, CPU, "bf16")(images[1:])
    assert embedding.dtype == torch.float32
    assert embedding.shape == (2, 256, 64, 64)
    expected, found = masks(net, published[1:]), masks(net, embedding)
    areas = expected.sum((-2, -1)), found.sum((-2, -1))
    dice = 2 * (expected & found).sum((-2, -1)) / (areas[0] + areas[1])
    print("areas", areas[0].tolist(), "Dice", dice.tolist())
    assert areas[0].min() > 500  # empty or tiny masks would agree by chance
    assert dice.min() >= 0.98


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_shapes_and_types_fit_together_off_the_cpu(net: Any, precision: Precision) -> None:
    """The meta device takes the path of graphics cards, without their arithmetic."""
    meta = torch.device("meta")
    fast = fast_encoder(net.image_encoder, meta, precision)
    embedding = fast(torch.empty(2, 3, 256, 256, device=meta))
    assert embedding.shape == (2, 256, 64, 64)
    assert embedding.dtype == torch.float32


def test_the_original_stays_as_it_was_and_unshared(net: Any) -> None:
    before = copy.deepcopy(net.image_encoder.state_dict())
    fast = fast_encoder(net.image_encoder, CPU, "fp32")
    after = net.image_encoder.state_dict()
    assert before.keys() == after.keys()
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=0, atol=0)
    theirs = {value.untyped_storage().data_ptr() for value in after.values()}
    assert theirs.isdisjoint(v.untyped_storage().data_ptr() for v in fast.state_dict().values())


def test_wrong_image_size_is_named(net: Any) -> None:
    with pytest.raises(ValueError, match=r"\(B, 3, 256, 256\), got \(1, 3, 128, 256\)"):
        fast_encoder(net.image_encoder, CPU, "fp32")(torch.zeros(1, 3, 128, 256))


def test_best_precision_follows_the_device(monkeypatch: pytest.MonkeyPatch) -> None:
    probes = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    for probe in probes:
        monkeypatch.setattr(torch.cpu, probe, lambda: False, raising=False)
    assert best_precision(CPU) == "fp32"
    monkeypatch.setattr(torch.cpu, probes[1], lambda: True)
    assert best_precision(CPU) == "bf16"
    for probe in probes:
        monkeypatch.delattr(torch.cpu, probe)  # as in builds for other processors
    assert best_precision(CPU) == "fp32"
    assert best_precision(torch.device("mps")) == "fp32"
    assert best_precision(torch.device("cuda")) == "fp16"
