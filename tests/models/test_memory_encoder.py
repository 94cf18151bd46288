"""The fast memory encoder against SAM 2's own, on random weights."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import sam2  # noqa: F401 - tells Hydra where its configurations are
import torch
import torch.nn.functional as F
from hydra import compose
from hydra.utils import instantiate

from napari_medsam2.models.memory_encoder import fast_memory_encoder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_medsam2.models.tinyvit import Precision

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def original() -> Any:
    torch.manual_seed(0)
    config = compose("configs/sam2.1/sam2.1_hiera_t.yaml").model.memory_encoder
    net = instantiate(config).eval().requires_grad_(False)
    for name, value in net.named_parameters():
        if name.endswith("gamma"):
            value.fill_(1)  # untrained it is 1e-6, and would hide the blocks
        if value.ndim == 1:
            value.add_(0.2 * torch.randn_like(value))
    return net


def inputs(objects: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return an embedding, and masks with soft edges from -10 to 10 as SAM 2 makes them."""
    generator = torch.Generator().manual_seed(objects)
    coarse = torch.randn(objects, 1, 16, 16, generator=generator)
    logits = F.interpolate(8 * coarse, size=(256, 256), mode="bicubic")
    return torch.randn(1, 256, 16, 16, generator=generator), 20 * logits.sigmoid() - 10


def reference(net: Any, image: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
    memories: torch.Tensor = net(image, masks, skip_mask_sigmoid=True)["vision_features"]
    return memories


@pytest.mark.parametrize("objects", [1, 3])
def test_fp32_equals_the_original(original: Any, objects: int) -> None:
    expected = reference(original, *inputs(objects))
    found = fast_memory_encoder(original, CPU, "fp32")(*inputs(objects))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    empty = reference(original, inputs(objects)[0], torch.full((objects, 1, 256, 256), -10.0))
    assert (empty - expected).abs().max() > 0.1  # not vacuous: the masks count


@pytest.mark.parametrize(("precision", "limit"), [("bf16", 0.015), ("fp16", 0.003)])
def test_half_precision_stays_close(original: Any, precision: Precision, limit: float) -> None:
    expected = reference(original, *inputs(2))
    found = fast_memory_encoder(original, CPU, precision)(*inputs(2))
    assert found.dtype == torch.float32
    error = ((found - expected).norm() / expected.norm()).item()
    print("relative error", error)
    assert error < limit


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_shapes_and_types_fit_together_off_the_cpu(original: Any, precision: Precision) -> None:
    """The meta device takes the path of graphics cards, without their arithmetic."""
    meta = torch.device("meta")
    found = fast_memory_encoder(original, meta, precision)(*(x.to(meta) for x in inputs(2)))
    assert found.shape == (2, 64, 16, 16)
    assert found.dtype == torch.float32


def test_the_original_stays_as_it_was_and_unshared(original: Any) -> None:
    before = copy.deepcopy(original.state_dict())
    fast = fast_memory_encoder(original, CPU, "fp32")
    after = original.state_dict()
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=0, atol=0)
    theirs = {value.untyped_storage().data_ptr() for value in after.values()}
    assert theirs.isdisjoint(v.untyped_storage().data_ptr() for v in fast.state_dict().values())
