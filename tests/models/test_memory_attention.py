"""The fast memory attention against SAM 2's own, on random weights."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import pytest
import sam2  # noqa: F401 - tells Hydra where its configurations are
import torch
from hydra import compose
from hydra.utils import instantiate

from napari_medsam2.models import layers
from napari_medsam2.models import memory_attention as module
from napari_medsam2.models.memory_attention import fast_memory_attention

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari_medsam2.models.tinyvit import Precision

CPU = torch.device("cpu")
GRID = (16, 16)


@pytest.fixture(autouse=True)
def inference() -> Iterator[None]:
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def original() -> Any:
    torch.manual_seed(0)
    config = compose("configs/sam2.1/sam2.1_hiera_t.yaml").model.memory_attention
    net = instantiate(config).eval().requires_grad_(False)
    for name, value in net.named_parameters():
        if value.ndim == 1:
            value.add_(0.2 * torch.randn_like(value))
        elif "q_proj" in name:
            value.mul_(4)  # or all weights are nearly the same, whatever the keys are
    return net


def inputs(objects: int, frames: int, pointers: int, grid: tuple[int, int] = GRID) -> list[Any]:
    generator = torch.Generator().manual_seed(objects)
    tokens = frames * grid[0] * grid[1] + pointers
    shapes = (1, 256, *grid), (1, 256, *grid), (objects, tokens, 64), (tokens, 64)
    return [*(torch.randn(shape, generator=generator) for shape in shapes), pointers]


def reference(net: Any, args: list[Any]) -> torch.Tensor:
    """Run the original as SAM 2 does, object by object."""
    image, image_pos, memory, memory_pos, pointers = args
    flat, flat_pos = (x.flatten(2).permute(2, 0, 1) for x in (image, image_pos))
    results = []
    for one, position in zip(memory, memory_pos.expand(memory.shape), strict=True):
        tokens = net([flat], one[:, None], [flat_pos], position[:, None], pointers)
        results.append(tokens.permute(1, 2, 0).reshape(image.shape))
    return torch.cat(results)


def relative_error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return ((found - expected).norm() / expected.norm()).item()


@pytest.mark.parametrize(
    ("objects", "frames", "pointers"), [(1, 7, 64), (3, 2, 8), (1, 1, 0), (2, 0, 4)]
)
def test_fp32_equals_the_original(original: Any, objects: int, frames: int, pointers: int) -> None:
    args = inputs(objects, frames, pointers)
    found = fast_memory_attention(original, GRID, CPU, "fp32")(*args)
    torch.testing.assert_close(found, reference(original, args), rtol=0, atol=1e-5)
    assert found.dtype == torch.float32
    assert found.permute(0, 2, 3, 1).is_contiguous()


def test_every_part_of_the_memory_counts(original: Any) -> None:
    """The comparison above would be worth nothing if the memory hardly changed the result."""
    args = inputs(1, 3, 8)
    expected = reference(original, args)
    cells = GRID[0] * GRID[1]
    for changed in (slice(cells, cells + 64), slice(3 * cells, None)):
        other = copy.deepcopy(args)
        other[2][:, changed] *= -1
        assert (reference(original, other) - expected).abs().max() > 1e-2
    other = copy.deepcopy(args)
    other[3] = other[3].roll(1, 0)
    assert (reference(original, other) - expected).abs().max() > 1e-2


def test_more_pointers_than_pixels_are_not_taken_for_frames(original: Any) -> None:
    args = inputs(2, 2, 40, grid=(4, 4))
    found = fast_memory_attention(original, (4, 4), CPU, "fp32")(*args)
    torch.testing.assert_close(found, reference(original, args), rtol=0, atol=1e-5)


def test_positions_shared_or_one_an_object(original: Any) -> None:
    args = inputs(2, 2, 4)
    args[3] = torch.stack([args[3], args[3].flip(0)])
    found = fast_memory_attention(original, GRID, CPU, "fp32")(*args)
    torch.testing.assert_close(found, reference(original, args), rtol=0, atol=1e-5)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_stays_close(original: Any, precision: Precision) -> None:
    args = inputs(2, 3, 8)
    expected = reference(original, args)
    fast = fast_memory_attention(original, GRID, CPU, precision)
    found = fast(*args)
    assert found.dtype == torch.float32
    error = relative_error(found, expected)
    print("relative error", error)
    assert error < {"bf16": 0.01, "fp16": 0.002}[precision]
    stored = [x.to(torch.bfloat16) if isinstance(x, torch.Tensor) else x for x in args]
    assert relative_error(fast(*stored), expected) < 0.02


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_chunks_make_no_difference(
    original: Any, precision: Precision, monkeypatch: pytest.MonkeyPatch
) -> None:
    args = inputs(1, 2, 4)
    fast = fast_memory_attention(original, GRID, CPU, precision)
    whole = fast(*args)
    monkeypatch.setattr(layers, "_SCORE_BYTES", 100 * 516 * 4)
    monkeypatch.setattr(layers, "_SCORE_ROWS", 90)
    monkeypatch.setattr(module, "_MLP_ROWS", 70)
    atol = 1e-5 if precision == "fp32" else 0.05
    torch.testing.assert_close(fast(*args), whole, rtol=0, atol=atol)


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_shapes_and_types_fit_together_off_the_cpu(original: Any, precision: Precision) -> None:
    """The meta device takes the path of graphics cards, without their arithmetic."""
    meta = torch.device("meta")
    args = [x.to(meta) if isinstance(x, torch.Tensor) else x for x in inputs(2, 2, 4)]
    found = fast_memory_attention(original, GRID, meta, precision)(*args)
    assert found.shape == (2, 256, *GRID)
    assert found.dtype == torch.float32


def test_the_original_stays_as_it_was_and_unshared(original: Any) -> None:
    before = copy.deepcopy(original.state_dict())
    fast = fast_memory_attention(original, GRID, CPU, "fp32")
    after = original.state_dict()
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=0, atol=0)
    theirs = {value.untyped_storage().data_ptr() for value in after.values()}
    assert theirs.isdisjoint(v.untyped_storage().data_ptr() for v in fast.state_dict().values())


def test_what_does_not_fit_is_named(original: Any) -> None:
    fast = fast_memory_attention(original, GRID, CPU, "fp32")
    image, image_pos, memory, memory_pos, _ = inputs(1, 1, 4)
    with pytest.raises(ValueError, match=r"of \(1, 256, 16, 16\), got \(1, 256, 8, 16\)"):
        fast(image[:, :, :8], image_pos, memory, memory_pos, 4)
    with pytest.raises(ValueError, match="260 memory tokens with 3 pointer tokens"):
        fast(image, image_pos, memory, memory_pos, 3)
    other = copy.deepcopy(original)
    other.layers[0].pos_enc_at_attn = True
    with pytest.raises(ValueError, match="to its memory alone"):
        fast_memory_attention(other, GRID, CPU, "fp32")
    other = copy.deepcopy(original)
    other.layers[1].cross_attn_image.num_heads = 2
    with pytest.raises(ValueError, match="one head"):
        fast_memory_attention(other, GRID, CPU, "fp32")
