"""LiteMedSAM-track against its parts run by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from napari_medsam2 import models
from napari_medsam2.errors import CheckpointError, InputError, PromptError
from napari_medsam2.models.base import FramePrompt, Recalled, has_memory
from napari_medsam2.models.device import choose_device
from napari_medsam2.models.folders import write_card
from napari_medsam2.models.litetrack import LiteTrack, new_network
from napari_medsam2.models.litetrack_memory import Past
from napari_medsam2.models.litetrack_network import EVIDENCE


def scene(shape=(256, 192), cx=0.5):
    """Return a noisy disc of 0..255, its mask, and the box around it."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[: shape[0], : shape[1]]
    cy, cx, r = shape[0] * 0.45, shape[1] * cx, min(shape) * 0.22
    disc = (y - cy) ** 2 + (x - cx) ** 2 < r**2
    image = np.where(disc, 190.0, 70.0) + rng.normal(0, 12, shape)
    box = (int(cy - r), int(cx - r), int(cy + r) + 1, int(cx + r) + 1)
    return np.clip(image, 0, 255).astype(np.float32), disc, box


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.fixture(scope="module")
def base():
    return models.build("litemedsam", device=choose_device("cpu"), precision="fp32")


@pytest.fixture(scope="module")
def network():
    """A network whose mask prompts and presence do something, as after training."""
    network = new_network()
    with torch.no_grad():
        for layer in network.object_head.children():
            layer.weight.normal_(0, 0.02, generator=torch.Generator().manual_seed(1))
    return network.eval()


@pytest.fixture(scope="module")
def track(network, base):
    return LiteTrack.of(network, base, digest="test")


def test_boxes_are_answered_by_litemedsam_itself(track, base):
    image, _, box = scene()
    embedding = track.embed(image)
    prompts = [FramePrompt(1, 0, boxes=(box,)), FramePrompt(2, 0, boxes=(box, (5, 5, 60, 60)))]
    for ours, theirs in zip(
        track.decode(embedding, prompts), base.decode(embedding, prompts), strict=True
    ):
        np.testing.assert_array_equal(ours.logits, theirs.logits)
        assert ours.predicted_iou == theirs.predicted_iou


def test_embeddings_are_those_of_litemedsam_but_answers_are_not(track, base):
    assert track.key == base.key
    assert track.answers_key != base.answers_key
    assert has_memory(track)


def test_clicks_are_taken_one_after_the_other_each_with_the_mask_before(track, network):
    image, _, _ = scene()
    embedding = track.embed(image)
    clicks, labels = ((115.0, 96.0), (60.0, 96.0), (20.0, 30.0)), (1, 1, 0)
    (ours,) = track.decode(embedding, [FramePrompt(1, 0, points=clicks, labels=labels)])
    before = None
    with torch.no_grad():
        for count in (1, 2, 3):
            xy = torch.tensor([[(x, y) for y, x in clicks[:count]]])
            answers = network(
                embedding.features[None].float(),
                (xy, torch.tensor([labels[:count]])),
                None,
                before,
            )
            before = answers.logits.clamp(-10, 10)
    np.testing.assert_allclose(ours.logits, answers.logits[0, :, :192], atol=5e-3)
    assert ours.predicted_iou == pytest.approx(float(answers.ious[0]), abs=1e-3)
    assert ours.object_score == pytest.approx(float(answers.scores[0]), abs=1e-3)


def test_of_many_clicks_the_latest_three_are_asked_with_the_mask_of_the_others(track, network):
    image, _, _ = scene((256, 256))
    embedding = track.embed(image)
    clicks = tuple((60.0 + 15 * i, 96.0) for i in range(7))
    prompts = [FramePrompt(1, 0, points=clicks[:n], labels=(1,) * n) for n in (6, 7)]
    six, seven = track.decode(embedding, prompts)
    before = torch.from_numpy(six.logits)[None]
    xy = torch.tensor([[(x, y) for y, x in clicks[4:]]])
    with torch.no_grad():
        answers = network(
            embedding.features[None].float(),
            (xy, torch.tensor([[1, 1, 1]])),
            None,
            before.clamp(-10, 10),
        )
    np.testing.assert_allclose(answers.logits[0], seven.logits, atol=5e-3)


def test_a_further_click_asks_the_network_once(track, monkeypatch):
    image, _, _ = scene()
    embedding = track.embed(image)
    asked = []
    decoder = track._mask_decoder
    answer = type(decoder).answer
    monkeypatch.setattr(
        type(decoder), "answer", lambda self, *a: asked.append(1) or answer(self, *a)
    )
    first = FramePrompt(1, 0, points=((115.0, 96.0), (60.0, 96.0)), labels=(1, 1))
    track.decode(embedding, [first])
    assert len(asked) == 2
    second = replace(first, points=(*first.points, (20.0, 30.0)), labels=(1, 1, 0))
    track.decode(embedding, [second])
    assert len(asked) == 3
    # On another embedding nothing is known, even of the same frame.
    track.decode(track.embed(image), [first])
    assert len(asked) == 5


def test_a_box_with_clicks_begins_with_the_mask_of_the_box(track, network, base):
    image, _, box = scene()
    embedding = track.embed(image)
    point = (200.0, 150.0)
    (ours,) = track.decode(
        embedding, [FramePrompt(1, 0, boxes=(box,), points=(point,), labels=(0,))]
    )
    start = base.answer(embedding, [FramePrompt(1, 0, boxes=(box,))])[0].logits
    y0, x0, y1, x1 = box
    with torch.no_grad():
        answers = network(
            embedding.features[None].float(),
            (torch.tensor([[point[::-1]]]), torch.tensor([[0]])),
            torch.tensor([[x0, y0, x1 - 1, y1 - 1]], dtype=torch.float32),
            start[None].clamp(-10, 10),
        )
    np.testing.assert_allclose(ours.logits, answers.logits[0, :, :192], atol=5e-3)


def test_a_mask_alone_is_what_was_drawn(track):
    image, disc, _ = scene()
    (ours,) = track.decode(track.embed(image), [FramePrompt(1, 0, mask=disc)])
    np.testing.assert_array_equal(ours.mask, disc)
    assert ours.predicted_iou == 1


def test_negative_clicks_alone_are_refused_but_may_correct(track):
    alone = FramePrompt(3, 7, points=((5.0, 5.0),), labels=(0,))
    with pytest.raises(PromptError, match="object 3, frame 7: negative points alone"):
        track.check(alone)
    track.check(replace(alone, refines=True))


def recalled(keys, tracked=()):
    """Return what SAM 2's bank gives: keys with their distances, then the frames before."""
    memories = [(0, trace.memory) for _, trace in keys]
    pointers = [(distance, trace.pointer) for distance, trace in keys]
    for distance, trace in sorted(tracked, key=lambda t: -t[0]):
        memories.append((4 - distance, trace.memory))
        pointers.append((distance, trace.pointer))
    return Recalled(tuple(memories), tuple(pointers), 3)


def test_an_object_is_carried_to_the_next_frame(track):
    image, disc, box = scene()
    shifted, moved, _ = scene(cx=0.53)
    (key,) = track.begin(track.embed(image), [FramePrompt(1, 0, boxes=(box,))])
    assert key.is_present
    (found,) = track.track(track.embed(shifted), [recalled([(1, key)])])
    prediction = track.predict(found, shifted.shape)
    assert prediction.logits.shape == shifted.shape
    assert dice(prediction.mask, moved) > 0.9
    assert dice(prediction.mask, moved) > dice(disc, moved)


def test_objects_are_carried_together_as_one_by_one(track):
    image, _, box = scene()
    embedding = track.embed(image)
    other = (10, 10, 60, 60)
    keys = track.begin(
        embedding, [FramePrompt(1, 0, boxes=(box,)), FramePrompt(2, 0, boxes=(other,))]
    )
    both = track.track(embedding, [recalled([(1, key)]) for key in keys])
    for key, together in zip(keys, both, strict=True):
        (alone,) = track.track(embedding, [recalled([(1, key)])])
        torch.testing.assert_close(alone.logits, together.logits, atol=5e-2, rtol=0)


def test_what_is_not_seen_is_absent_and_looked_for_where_it_was_last(network, base):
    doubtful = LiteTrack.of(network, base)
    with torch.no_grad():
        doubtful._object_head.score.bias.fill_(-50.0)
    image, _, box = scene()
    embedding = doubtful.embed(image)
    (key,) = doubtful.begin(embedding, [FramePrompt(1, 0, boxes=(box,))])
    # A person has said that it is there.
    assert key.is_present
    (gone,) = doubtful.track(embedding, [recalled([(1, key)])])
    assert not gone.is_present
    past = Past.of(recalled([(2, key)], [(1, gone)]), doubtful.rules)
    assert past.last is past.keys[0]
    assert doubtful.rules.ends_after == (1, 3)


def test_clicks_correct_what_was_tracked(track, network):
    image, _, box = scene()
    embedding = track.embed(image)
    (key,) = track.begin(embedding, [FramePrompt(1, 0, boxes=(box,))])
    past = recalled([(1, key)])
    (tracked,) = track.track(embedding, [past])
    click = FramePrompt(1, 1, points=((200.0, 150.0),), labels=(0,), refines=True)
    corrected = track.correct(embedding, click, past, tracked)
    with torch.no_grad():
        answers = network(
            embedding.features[None].float(),
            (torch.tensor([[(150.0, 200.0)]]), torch.tensor([[0]])),
            None,
            tracked.logits[None].float().clamp(-10, 10),
        )
    torch.testing.assert_close(corrected.logits.float(), answers.logits[0], atol=2e-2, rtol=0)


def test_images_without_an_order_are_searched_everywhere(track):
    image, _, box = scene(cx=0.3)
    far, moved, _ = scene(cx=0.7)
    (key,) = track.begin(track.embed(image), [FramePrompt(1, 0, boxes=(box,))])
    (found,) = track.track(track.embed(far), [Recalled(((0, key.memory),), ())])
    assert dice(track.predict(found, far.shape).mask, moved) > 0.5


def test_weights_in_half_precision_make_a_model_folder(track, network, tmp_path):
    state = {name: value.half() for name, value in network.state_dict().items()}
    save_file(state, tmp_path / "weights.safetensors")
    write_card(
        tmp_path,
        title="Mine",
        family="litetrack",
        base="litemedsam-track",
        summary="a test",
        licence="none",
        prompts=("box", "points", "mask"),
        image_size=256,
        embedding_mb=2,
    )
    model = models.build(str(tmp_path), device=choose_device("cpu"), precision="fp32")
    image, _, _ = scene()
    prompt = [FramePrompt(1, 0, points=((115.0, 96.0),), labels=(1,))]
    (ours,) = model.decode(model.embed(image), prompt)
    (theirs,) = track.decode(track.embed(image), prompt)
    np.testing.assert_allclose(ours.logits, theirs.logits, atol=0.1)
    assert model.key == track.key
    with pytest.raises(InputError, match="works at 256 pixels only"):
        models.build(str(tmp_path), device=choose_device("cpu"), image_size=512)
    save_file({"nothing": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(CheckpointError, match="another architecture"):
        models.build(
            str(tmp_path), device=choose_device("cpu"), checkpoint=tmp_path / "other.safetensors"
        )


def test_evidence_reaches_the_presence(network):
    features = torch.zeros(2, 256, 64, 64)
    boxes = torch.tensor([[10.0, 10, 90, 90]] * 2)
    evidence = torch.zeros(2, EVIDENCE)
    evidence[1] = 3.0
    with torch.no_grad():
        scores = network(features, None, boxes, None, evidence).scores
    assert float(scores[0]) != pytest.approx(float(scores[1]))
