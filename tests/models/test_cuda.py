"""What runs on a CUDA device answers as on the CPU, and gets by with the memory that is there."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from tests.tracking.reference import CONFIG_21, CPU, make_lively

from napari_medsam2 import Session, models
from napari_medsam2.errors import DeviceError
from napari_medsam2.io.samples import phantom
from napari_medsam2.masks import bounding_box
from napari_medsam2.models.base import FramePrompt, Recalled
from napari_medsam2.models.device import Device
from napari_medsam2.models.sam2 import SAM2
from napari_medsam2.models.sam2_config import build_network

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from napari_medsam2.models.base import Embedding

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")

GPU = Device("cuda", "tests")
FRAMES = slice(17, 23)
LIVER, SPLEEN = 1, 2
# Of masks that both devices find; fp16 rounds a third as much as bf16.
LEAST = {"fp32": 0.995, "fp16": 0.98, "bf16": 0.95}


def iou(one: np.ndarray, other: np.ndarray) -> float:
    either = np.count_nonzero(one | other)
    return float(np.count_nonzero(one & other) / either) if either else 1.0


def sam2(device: Device, precision: Any, size: int = 256) -> SAM2:
    """Return SAM 2.1 tiny, always with the same random weights."""
    torch.manual_seed(0)
    net = build_network(CONFIG_21, size)
    make_lively(net)
    return SAM2.of(net, device, precision)


def frame(side: int = 200) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, (side, side)).astype(np.float32)


def boxes(count: int) -> list[FramePrompt]:
    return [
        FramePrompt(i + 1, 0, boxes=((5.0 + i, 8.0 + 2 * i, 60.0 + 2 * i, 90.0 + i),))
        for i in range(count)
    ]


def two_organs(model: str, device: str, precision: str, **options: Any) -> Session:
    """Return a session that has carried two organs of the phantom."""
    volume, truth = phantom()
    image, truth = np.asarray(volume.data)[FRAMES], truth[FRAMES]
    session = Session(image, model, window="abdomen", device=device, precision=precision, **options)
    for organ in (LIVER, SPLEEN):
        session.add_box(2, bounding_box(truth[2] == organ), object_id=organ)
    for _ in session.propagate():
        pass
    return session


@pytest.fixture(scope="module")
def on_the_cpu() -> dict[str, np.ndarray]:
    return {
        model: two_organs(model, "cpu", "fp32").labels
        for model in ("litemedsam", "litemedsam-track")
    }


@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("model", ["litemedsam", "litemedsam-track"])
def test_organs_are_those_of_the_cpu(
    on_the_cpu: dict[str, np.ndarray], model: str, precision: str
) -> None:
    found = two_organs(model, "cuda", precision).labels
    for organ in (LIVER, SPLEEN):
        expected = on_the_cpu[model] == organ
        assert expected.any()
        assert iou(found == organ, expected) > LEAST[precision]


@pytest.mark.parametrize(("precision", "error"), [("fp32", 2e-3), ("fp16", 1e-2), ("bf16", 5e-2)])
def test_sam2_answers_as_on_the_cpu(precision: str, error: float) -> None:
    here, there = sam2(CPU, "fp32"), sam2(GPU, precision)
    prompts = [
        *boxes(2),
        FramePrompt(3, 0, points=((50, 60),), labels=(1,)),
        FramePrompt(4, 0, mask=frame() > 128, points=((50, 60),), labels=(1,)),
        FramePrompt(5, 0, boxes=((20, 30, 90, 110), (100, 100, 150, 150))),
    ]
    answers = []
    for model in (here, there):
        embedding = model.embed(frame())
        traces = model.begin(embedding, prompts)
        past = [Recalled(((0, t.memory),), ((1, t.pointer),)) for t in traces]
        tracked = model.track(embedding, past)
        answers.append([model.predict(t, (200, 200)).logits for t in (*traces, *tracked)])
    for one, other in zip(*answers, strict=True):
        assert np.abs(one - other).max() < error * np.abs(one).max() + error
        assert one.std() > 1e-3  # not vacuous


def test_auto_is_what_the_device_computes_best() -> None:
    assert models.build("litemedsam").precision == "fp16"
    session = Session(frame()[None])
    assert session.model.device.torch.type == "cuda"  # type: ignore[attr-defined]


def test_embeddings_come_back_from_a_folder_to_the_device(tmp_path: Path) -> None:
    first, second = (
        two_organs("litemedsam-track", "cuda", "fp16", cache=tmp_path) for _ in range(2)
    )
    assert second.encoder(0).features.device.type == "cuda"
    np.testing.assert_array_equal(first.labels, second.labels)


def test_a_session_that_is_gone_leaves_no_memory_behind() -> None:
    gc.collect()
    before = torch.cuda.memory_allocated()
    session = two_organs("litemedsam-track", "cuda", "fp16")
    assert torch.cuda.memory_allocated() > before
    del session
    gc.collect()
    # Features of the last frames, and tables that do not depend on the image, stay.
    assert torch.cuda.memory_allocated() - before < 40e6


def test_a_new_length_of_the_memory_costs_no_new_plan() -> None:
    sam2(GPU, "bf16", 128)
    assert not torch.backends.cuda.cudnn_sdp_enabled()


@pytest.fixture
def crowd() -> tuple[SAM2, Embedding, list[Recalled]]:
    model = sam2(GPU, "bf16", 512)
    embedding = model.embed(frame(512))
    traces = model.begin(embedding, boxes(32))
    return model, embedding, [Recalled(((0, t.memory),), ((1, t.pointer),)) for t in traces]


@pytest.fixture
def limit() -> Iterator[Any]:
    """Give a function that leaves torch so many bytes more than it has."""

    def leave(more: int) -> None:
        gc.collect()
        torch.cuda.empty_cache()
        total = torch.cuda.get_device_properties(0).total_memory
        torch.cuda.set_per_process_memory_fraction((torch.cuda.memory_reserved() + more) / total)

    yield leave
    torch.cuda.set_per_process_memory_fraction(1.0)


def test_too_little_memory_makes_smaller_batches(
    crowd: tuple[SAM2, Embedding, list[Recalled]], limit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, embedding, past = crowd
    torch.cuda.reset_peak_memory_stats()
    expected = model.track(embedding, past)
    peak = torch.cuda.max_memory_allocated() - torch.cuda.memory_allocated()
    tried = []
    track = SAM2._track
    monkeypatch.setattr(
        SAM2, "_track", lambda self, e, some: tried.append(len(some)) or track(self, e, some)
    )
    limit(int(0.4 * peak))
    found = model.track(embedding, past)
    assert tried[0] == 32
    assert max(tried[1:]) == 16
    for one, other in zip(found, expected, strict=True):
        assert iou(np.asarray((one.logits > 0).cpu()), np.asarray((other.logits > 0).cpu())) > 0.95


def test_no_memory_at_all_is_named(
    crowd: tuple[SAM2, Embedding, list[Recalled]], limit: Any
) -> None:
    model = crowd[0]
    limit(4_000_000)
    with pytest.raises(DeviceError, match="cuda: out of memory; choose a smaller image size"):
        model.embed(frame(512))
    torch.cuda.set_per_process_memory_fraction(1.0)
    torch.testing.assert_close(model.embed(frame(512)).features, crowd[1].features)
