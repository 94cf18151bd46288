"""The fast image encoder against SAM 2's own, on random weights."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import sam2  # noqa: F401 - tells Hydra where its configurations are
import torch
from hydra import compose
from hydra.utils import instantiate
from torch import nn

from napari_medsam2.models import hiera
from napari_medsam2.models.hiera import fast_image_encoder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_medsam2.models.tinyvit import Precision

    Levels = tuple[torch.Tensor, torch.Tensor, torch.Tensor]

CPU = torch.device("cpu")
NARROW_LARGE = (
    "trunk.embed_dim=32",
    "trunk.num_heads=2",
    "trunk.stages=[2,2,4,2]",
    "trunk.global_att_blocks=[6]",
    "trunk.window_spec=[8,4,16,8]",
    "neck.backbone_channel_list=[256,128,64,32]",
)
"""The large trunk's windows, heads, and global attention amidst a stage, with fewer channels."""


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


def build(*overrides: str) -> tuple[Any, Any, Any]:
    """Return an encoder and the decoder's convolutions, with nothing left at zero or one."""
    torch.manual_seed(0)
    changes = [f"++model.image_encoder.{override}" for override in overrides]
    config = compose("configs/sam2.1/sam2.1_hiera_t.yaml", overrides=changes)
    net = instantiate(config.model.image_encoder).eval().requires_grad_(False)
    for name, value in net.named_parameters():
        if value.ndim == 1 or "pos_embed" in name:
            value.add_(0.2 * torch.randn_like(value))
    convolutions = (nn.Conv2d(256, n, 1).requires_grad_(False) for n in (32, 64))
    return net, *convolutions


@pytest.fixture(scope="module")
def tiny() -> tuple[Any, Any, Any]:
    return build()


def images(size: int) -> torch.Tensor:
    return torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(size))


def reference(parts: tuple[Any, Any, Any], image: torch.Tensor) -> Levels:
    """Return what `SAM2Base.forward_image` does."""
    net, conv_s0, conv_s1 = parts
    s0, s1, top = net(image)["backbone_fpn"]
    return top, conv_s0(s0), conv_s1(s1)


def assert_equal_levels(found: Levels, expected: Levels) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)
        assert one.is_contiguous()


@pytest.mark.parametrize("size", [256, 320])
def test_fp32_equals_the_original(tiny: Any, size: int) -> None:
    """At 256 and 320 windows of 14 divide no stage, so that they are padded."""
    found = fast_image_encoder(*tiny, CPU, "fp32")(images(size))
    assert_equal_levels(found, reference(tiny, images(size)))
    assert [tuple(level.shape[1:]) for level in found] == [
        (256, size // 16, size // 16),
        (32, size // 4, size // 4),
        (64, size // 8, size // 8),
    ]


def test_fp32_equals_another_configuration() -> None:
    parts = build(*NARROW_LARGE)
    found = fast_image_encoder(*parts, CPU, "fp32")(images(256))
    assert_equal_levels(found, reference(parts, images(256)))


def test_strips_make_no_difference(tiny: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hiera, "_STRIP_PIXELS", 500)
    found = fast_image_encoder(*tiny, CPU, "fp32")(images(320))
    assert_equal_levels(found, reference(tiny, images(320)))


def test_one_encoder_takes_images_of_several_sizes(tiny: Any) -> None:
    fast = fast_image_encoder(*tiny, CPU, "fp32")
    for size in (256, 128, 256):
        assert_equal_levels(fast(images(size)), reference(tiny, images(size)))


@pytest.mark.parametrize(("precision", "limit"), [("bf16", 0.015), ("fp16", 0.003)])
def test_half_precision_stays_close(tiny: Any, precision: Precision, limit: float) -> None:
    found = fast_image_encoder(*tiny, CPU, precision)(images(128))
    for one, other in zip(found, reference(tiny, images(128)), strict=True):
        assert one.dtype == torch.float32
        error = ((one - other).norm() / other.norm()).item()
        print("relative error", error)
        assert error < limit


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_shapes_and_types_fit_together_off_the_cpu(tiny: Any, precision: Precision) -> None:
    """The meta device takes the path of graphics cards, without their arithmetic."""
    meta = torch.device("meta")
    found = fast_image_encoder(*tiny, meta, precision)(torch.empty(1, 3, 256, 256, device=meta))
    assert [level.shape[1] for level in found] == [256, 32, 64]
    assert {level.dtype for level in found} == {torch.float32}


def test_the_original_stays_as_it_was_and_unshared(tiny: Any) -> None:
    before = copy.deepcopy([part.state_dict() for part in tiny])
    fast = fast_image_encoder(*tiny, CPU, "fp32")
    theirs = set()
    for part, state in zip(tiny, before, strict=True):
        for name, value in part.state_dict().items():
            torch.testing.assert_close(value, state[name], rtol=0, atol=0)
            theirs.add(value.untyped_storage().data_ptr())
    assert theirs.isdisjoint(v.untyped_storage().data_ptr() for v in fast.state_dict().values())


def test_what_does_not_fit_is_named(tiny: Any) -> None:
    with pytest.raises(ValueError, match=r"\(1, 3, S, S\), got \(2, 3, 128, 128\)"):
        fast_image_encoder(*tiny, CPU, "fp32")(torch.zeros(2, 3, 128, 128))
    other = copy.copy(tiny[0])
    other.scalp = 0
    with pytest.raises(ValueError, match="the neck of SAM 2"):
        fast_image_encoder(other, *tiny[1:], CPU, "fp32")
