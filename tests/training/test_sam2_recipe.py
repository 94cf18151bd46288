"""SAM 2 is fine-tuned: a random tiny at 128 pixels learns to follow discs."""

from __future__ import annotations

import copy
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tests.own_models import of_sam2
from tests.tracking.reference import CONFIG_21, CPU, make_lively
from tests.training.common import case, disc_case, discs, flat_case

from napari_medsam2 import models
from napari_medsam2.errors import InputError
from napari_medsam2.models.base import FramePrompt
from napari_medsam2.models.sam2_config import build_network
from napari_medsam2.models.sam2_prompts import preprocess
from napari_medsam2.training.clips import Clip, made_up_clips, plan_clips
from napari_medsam2.training.frames import Course, Frames, Kept
from napari_medsam2.training.loop import Schedule, Trainer
from napari_medsam2.training.sam2 import PARTS, SAM2Recipe
from napari_medsam2.training.sam2_steps import Follower, encode, tight_boxes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

SIZE = 128
DEVICE = torch.device("cpu")


@cache
def _net() -> Any:
    net = build_network(CONFIG_21, SIZE)
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, torch.nn.Linear | torch.nn.Conv2d):
            module.reset_parameters()
    return net


def new_net() -> Any:
    return copy.deepcopy(_net())


@cache
def frames(first: int = 0, count: int = 4, n: int = 6) -> Frames:
    cases = [disc_case(str(s), s, n, absent=n // 3) for s in range(first, first + count)]
    return Frames(plan_clips(cases, n * count), cases, SIZE)


def recipe(net: Any, parts: Sequence[str] = ("decoder",), n: int = 6, **options: Any) -> SAM2Recipe:
    facts = {"rate": 1e-3, "half": False} | options
    return SAM2Recipe(net, frames(n=n), frames(50, 2, n), DEVICE, parts=parts, **facts)


# Steps


@pytest.fixture(scope="module")
def lively() -> Any:
    net = build_network(CONFIG_21, SIZE)
    make_lively(net)
    return net.eval()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    image, _ = discs(4, side=SIZE)
    return torch.cat([preprocess(frame.astype(np.float32), SIZE) for frame in image])


def reference(
    net: Any, images: torch.Tensor, points: Any, mask: Any, correction: Any
) -> list[dict[str, Any]]:
    """Follow two objects by the steps of SAM 2's own base class."""
    past: dict[str, dict[int, Any]] = {"cond_frame_outputs": {}, "non_cond_frame_outputs": {}}
    answers = []
    for t, image in enumerate(images):
        out = net.forward_image(image[None])
        _, features, positions, sizes = net._prepare_backbone_features(out)
        features, positions = ([x.expand(-1, 2, -1) for x in xs] for xs in (features, positions))
        shared = {
            "frame_idx": t,
            "is_init_cond_frame": t == 0,
            "current_vision_feats": features,
            "current_vision_pos_embeds": positions,
            "feat_sizes": sizes,
            "output_dict": past,
            "num_frames": len(images),
        }
        given = {"point_inputs": points if t == 0 else None, "mask_inputs": None}
        if t == 0:
            given["mask_inputs"] = mask
        answer = net.track_step(**shared, **given)
        if t == 2:
            former = answer["pred_masks"].clamp(-32, 32)
            answer = net.track_step(
                **shared, point_inputs=correction, mask_inputs=None, prev_sam_mask_logits=former
            )
        if t in (0, 2):
            # As the video predictor does: from the coarse mask, and as one that a person has given.
            high = F.interpolate(answer["pred_masks"], (SIZE, SIZE), mode="bilinear")
            answer["maskmem_features"], _ = net._encode_new_memory(
                features, sizes, high, answer["object_score_logits"], is_mask_from_pts=True
            )
        kind = "cond_frame_outputs" if t in (0, 2) else "non_cond_frame_outputs"
        past[kind][t] = answer
        answers.append(answer)
    return answers


@pytest.mark.parametrize("kind", ["box", "mask"])
def test_every_step_is_that_of_sam2(kind: str, lively: Any, images: torch.Tensor) -> None:
    boxes = torch.tensor([[30.0, 40.0, 80.0, 90.0], [20.0, 20.0, 60.0, 70.0]])
    points = tight_boxes(boxes)
    mask = torch.zeros(2, 1, SIZE, SIZE)
    mask[0, 0, 40:91, 30:81] = mask[1, 0, 20:71, 20:61] = 1
    clicks = torch.tensor([[[60.0, 60.0]], [[30.0, 40.0]]]), torch.ones(2, 1, dtype=torch.int32)
    as_dicts = [{"point_coords": p[0], "point_labels": p[1]} for p in (points, clicks)]
    with torch.no_grad():
        wanted = reference(
            lively,
            images,
            as_dicts[0] if kind == "box" else None,
            mask if kind == "mask" else None,
            as_dicts[1],
        )
        follower = Follower(lively, encode(lively, images), 2)
        for t in range(len(images)):
            if t == 0:
                answer = follower.start(points) if kind == "box" else follower.take(mask)
            else:
                answer = follower.track(t)
            if t == 2:
                answer = follower.correct(t, answer, clicks)
            follower.keep(t, answer, prompted=t in (0, 2))
            for name, mine in (("pred_masks", answer.mask), ("obj_ptr", answer.pointers)):
                torch.testing.assert_close(mine, wanted[t][name], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(
                answer.scores[:, None], wanted[t]["object_score_logits"], rtol=1e-4, atol=1e-5
            )
        # The objects are there, and neither prompt nor memory is without effect.
        assert (answer.scores > 0).all()
        assert (answer.mask[0] - answer.mask[1]).abs().max() > 1e-3
        del follower._past["cond_frame_outputs"][2]
        assert (answer.mask - follower.track(3).mask).abs().max() > 1e-3


# Learning


@pytest.mark.parametrize(
    "parts", [PARTS[:1], PARTS[:2], pytest.param(PARTS, marks=pytest.mark.slow)]
)
def test_the_loss_falls_and_only_what_is_meant_to_learn_changes(
    parts: tuple[str, ...], tmp_path: Path
) -> None:
    net = new_net()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    one = recipe(net, parts, n=3 if "encoder" in parts else 4)
    first = one.validate()
    trainer = Trainer(one, Schedule(steps=10, warm_up=2, judge_every=10, average=0.5), tmp_path)
    trainer.run()
    losses = [value for _, value in trainer._log.read()["loss"]]
    assert np.mean(losses[-4:]) < 0.5 * np.mean(losses[:2])
    assert trainer.best["score"] > first["score"] + 0.1
    belongs = {
        "decoder": ("sam_mask_decoder.", "obj_ptr_proj.", "no_obj_ptr"),
        "memory": ("memory_", "maskmem_", "no_mem_embed", "no_obj_embed", "obj_ptr_tpos"),
        "encoder": ("image_encoder.",),
    }
    changed = {n for n, value in net.state_dict().items() if not torch.equal(value, before[n])}
    learnt = tuple(prefix for part in parts for prefix in belongs[part])
    assert all(name.startswith(learnt) for name in changed)
    for part in parts:
        assert any(name.startswith(belongs[part]) for name in changed), part


def test_memory_learns_through_the_frames_that_come_later() -> None:
    net = new_net()
    with torch.no_grad():
        # Believed to be there: otherwise a constant stands for what is remembered of it.
        net.sam_mask_decoder.pred_obj_score_head.layers[-1].bias.fill_(5.0)
    one = recipe(net, PARTS)
    one.accumulate(([Course(disc_clip(), (0, 1, 2), (1,))], np.random.default_rng(0)))
    for name in (
        "memory_encoder.out_proj.weight",
        "memory_attention.layers.0.cross_attn_image.k_proj.weight",
        "maskmem_tpos_enc",
        "obj_ptr_proj.layers.0.weight",
        "sam_mask_decoder.conv_s0.weight",
        "sam_mask_decoder.pred_obj_score_head.layers.0.weight",
        "image_encoder.trunk.patch_embed.proj.weight",
    ):
        gradient = one.net.get_parameter(name).grad
        assert gradient is not None, name
        assert gradient.abs().max() > 0, name
    assert all(p.grad is None for p in one.net.sam_prompt_encoder.parameters())


def disc_clip() -> Clip:
    return frames().by_dataset["discs"][0]


def test_a_batch_depends_on_its_random_numbers_alone() -> None:
    one = recipe(new_net(), ("decoder",))
    told = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        told.append(one.accumulate(one.batch(np.random.default_rng(seed))))
    assert told[0] == told[1] != told[2]


def test_the_encoder_learns_at_a_tenth_of_the_rate() -> None:
    groups = recipe(new_net(), ("encoder", "decoder"), rate=1e-3).groups()
    assert [group.rate for group in groups] == pytest.approx([1e-3, 1e-4])


def test_courses_of_a_batch_count_alike() -> None:
    one = recipe(new_net(), ("decoder",))
    one.net.eval()
    weight = one.net.sam_mask_decoder.iou_token.weight
    courses = [Course(clip, (0, 1), (1,)) for clip in frames().by_dataset["discs"][:2]]
    gradients = []
    for some in (courses[:1], courses[1:], courses):
        weight.grad = None
        # The prompt is drawn anew for each course: a box alone, whatever the numbers.
        one.accumulate((some, _Same()))  # type: ignore[arg-type]
        gradients.append(weight.grad.clone())
    torch.testing.assert_close(gradients[2], (gradients[0] + gradients[1]) / 2)


class _Same:
    """Random numbers that are always the same: a box, no correction."""

    def choice(self, *_: Any, **__: Any) -> int:
        return 0

    def integers(self, low: int, *_: Any) -> int:
        return 0

    def random(self) -> float:
        return 0.9

    def normal(self, *_: Any) -> np.ndarray:
        return np.zeros(4)

    def uniform(self, *_: Any) -> float:
        return 0.0


@pytest.mark.parametrize("seed", range(3))
def test_low_precision_learns_too(seed: int) -> None:
    one = recipe(new_net(), PARTS[:2], half=True)
    told = one.accumulate(one.batch(np.random.default_rng(seed)))
    assert np.isfinite(list(told.values())).all()
    gradients = [p.grad for group in one.groups() for p in group.parameters if p.grad is not None]
    assert gradients
    assert all(torch.isfinite(g).all() and g.dtype == torch.float32 for g in gradients)


# Judging and saving


def test_scores_are_those_of_the_masks(monkeypatch: pytest.MonkeyPatch) -> None:
    one = recipe(new_net())
    _, courses = next(iter(one._judged.items()))
    shown = [frames(50, 2).show(c.clip).labels[list(c.frames)] == c.objects[0] for c in courses]
    # A model that finds on each frame what a disc's first frame shows.
    firsts = iter([truth[0] for truth in shown])

    class Stubborn(Follower):
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.found = torch.from_numpy(next(firsts)).float()[None, None] * 20 - 10

        def enlarged(self, logits: torch.Tensor) -> torch.Tensor:
            return self.found.expand(logits.shape[0], 1, -1, -1)

    monkeypatch.setattr("napari_medsam2.training.sam2.Follower", Stubborn)
    scores = one.validate()
    assert scores["box"] == 1.0
    wanted = []
    for truth in shown:
        first = truth[0]
        both = (truth & first).sum((1, 2)) * 2 / (truth.sum((1, 2)) + first.sum())
        wanted.append(both.mean())
    assert scores["score"] == pytest.approx(np.mean(wanted))
    assert scores["presence"] == pytest.approx(np.mean([t.any((1, 2)).mean() for t in shown]))
    assert scores["presence"] < 1  # the discs end


def test_saved_weights_load_and_answer(tmp_path: Path) -> None:
    net = new_net()
    one = recipe(net, ("decoder", "memory"))
    one.accumulate(one.batch(np.random.default_rng(0)))
    with torch.no_grad():
        for group in one.groups():
            for parameter in group.parameters:
                if parameter.grad is not None:
                    parameter.sub_(0.1 * parameter.grad)
    weights = one.weights()
    torch.save({"model": weights}, tmp_path / "tiny.pt")
    other = build_network(CONFIG_21, SIZE)
    other.load_state_dict(weights, strict=True)
    card = of_sam2(tmp_path / "own", other, SIZE)
    loaded = [
        models.build(card.name, precision="fp32", device=CPU),
        models.build(
            "sam2.1_hiera_tiny",
            checkpoint=tmp_path / "tiny.pt",
            image_size=SIZE,
            precision="fp32",
            device=CPU,
        ),
    ]
    image, _ = discs(1, absent=0, side=SIZE)
    prompt = FramePrompt(1, 0, boxes=((30, 40, 80, 90),))
    found = [m.decode(m.embed(image[0].astype(np.float32)), [prompt])[0].logits for m in loaded]
    np.testing.assert_array_equal(found[0], found[1])
    net.eval()
    with torch.no_grad():
        levels = encode(net, preprocess(image[0].astype(np.float32), SIZE))
        follower = Follower(net, levels, 1)
        answer = follower.start(tight_boxes(torch.tensor([[40.0, 30.0, 89.0, 79.0]])))
        wanted = follower.enlarged(answer.mask)[0, 0].numpy()
    np.testing.assert_allclose(found[0], wanted, rtol=1e-3, atol=1e-3)


def test_weights_are_copies() -> None:
    one = recipe(new_net())
    weights = one.weights()
    name = "sam_mask_decoder.iou_token.weight"
    with torch.no_grad():
        one.net.get_parameter(name).add_(1.0)
    assert not torch.equal(weights[name], one.net.get_parameter(name))


# Refusals


@pytest.mark.parametrize("parts", [(), ("head",), ("decoder", "prompts")])
def test_parts_that_there_are_not_are_refused(parts: tuple[str, ...]) -> None:
    with pytest.raises(InputError, match="choose among decoder, memory, encoder"):
        recipe(new_net(), parts)


def test_frames_of_another_size_are_refused() -> None:
    cases = [disc_case("a", 0)]
    small = Frames(plan_clips(cases, 6), cases, 64)
    with pytest.raises(InputError, match="frames of 64 pixels were prepared for a network of 128"):
        SAM2Recipe(new_net(), frames(), small, DEVICE)


# Frames


def test_courses_begin_where_the_object_is() -> None:
    data = frames()
    seen: set[str] = set()
    for seed in range(200):
        course = data.draw(np.random.default_rng(seed))
        labels = data.show(course.clip).labels
        for value in course.objects:
            assert (labels[course.frames[0]] == value).any()
        steps = np.diff(course.frames)
        assert len(set(steps.tolist())) <= 1
        if len(steps):
            seen.add("forward" if steps[0] > 0 else "backward")
            seen.add("gaps" if abs(steps[0]) > 1 else "every frame")
        if any(not (labels[f] == course.objects[0]).any() for f in course.frames):
            seen.add("absent")
    assert seen >= {"forward", "backward", "every frame", "absent"}


def test_long_clips_are_seen_with_gaps_and_several_objects() -> None:
    labels = np.zeros((8, 64, 64), np.uint8)
    for value in range(1, 6):
        labels[:, 10 * value : 10 * value + 8, 20:40] = value
    one = case("many", labels * 40, labels)
    data = Frames([Clip(one.id, 0, tuple(range(8)), (1, 2, 3, 4, 5))], [one], SIZE)
    courses = [data.draw(np.random.default_rng(seed)) for seed in range(60)]
    assert any(abs(np.diff(c.frames)[0]) == 2 for c in courses)
    assert {len(c.objects) for c in courses} == {3}
    assert all(len(set(c.objects)) == 3 for c in courses)
    assert all(4 <= len(c.frames) <= 8 for c in courses)


def test_data_sets_and_made_up_clips_are_drawn_by_their_shares() -> None:
    cases = [disc_case(str(n), n) for n in range(4)] + [flat_case("f", 9, dataset="flats")]
    data = Frames([*plan_clips(cases, 48), *made_up_clips(3)], cases, SIZE, made_up=0.25)
    drawn = [data._clip(np.random.default_rng(seed)).case.split("/")[0] for seed in range(800)]
    shares = {name: drawn.count(name) / 800 for name in ("", "discs", "flats")}
    assert shares[""] == pytest.approx(0.25, abs=0.05)
    assert shares["discs"] == pytest.approx(shares["flats"], abs=0.07)


def test_squares_are_what_sam2_sees() -> None:
    image, labels = discs(2, absent=0)
    wide = case("wide", image[:, :32], labels[:, :32])
    data = Frames([Clip(wide.id, 0, (0, 1), (1,))], [wide], SIZE)
    squares = data.show(Clip(wide.id, 0, (0, 1), (1,)))
    assert squares.images.shape == (2, 3, SIZE, SIZE)
    # Pulled to a square: every pixel of 32 x 64 has become 4 x 2.
    np.testing.assert_array_equal(
        squares.labels, labels[:, :32].repeat(4, axis=1).repeat(2, axis=2)
    )
    bright = squares.images[0, 0].float().numpy()
    assert bright[squares.labels[0] == 1].mean() > bright[squares.labels[0] == 0].mean() + 1


def test_what_is_too_small_is_not_learnt() -> None:
    labels = np.zeros((2, 256, 256), np.uint8)
    labels[:, 10:13, 10:13] = 1
    one = case("dot", labels * 200, labels)
    data = Frames([Clip(one.id, 0, (0, 1), (1,))], [one], SIZE)
    with pytest.raises(InputError, match="show no object of 20 pixels"):
        data.draw(np.random.default_rng(0))
    with pytest.raises(InputError, match="held back shows an object that is large enough"):
        SAM2Recipe(new_net(), frames(), data, DEVICE)


def test_no_clips_are_told() -> None:
    with pytest.raises(InputError, match="there are no clips"):
        Frames([], [], SIZE)


def test_what_was_used_longest_ago_makes_room() -> None:
    kept, made = Kept(0.0025), []

    def make(name: str) -> np.ndarray:
        def maker() -> np.ndarray:
            made.append(name)
            return np.zeros(1000, np.uint8)

        return kept.get(name, maker)

    for name in "abacab":
        make(name)
    # There is room for two: c drove out b, which then drove out c.
    assert made == ["a", "b", "c", "b"]
