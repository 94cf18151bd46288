"""The box chain, on discs whose features are known, with a decoder that fills its box."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from napari_medsam2.masks import bounding_box
from napari_medsam2.models.base import Embedding, FramePrompt, Prediction
from napari_medsam2.models.matching import difference
from napari_medsam2.models.stopping import Evidence, StopRule, moved, overlap
from napari_medsam2.tracking.chain import BoxChain

SIZE = 256
CELL = 8


def disc(y: float, x: float, radius: float, size: int = SIZE) -> np.ndarray:
    rows, columns = np.mgrid[0:size, 0:size]
    return (rows - y) ** 2 + (columns - x) ** 2 < radius**2


def embed(mask: np.ndarray) -> Embedding:
    """Background cells have the feature (1, 0), object cells (0, 1), mixed ones lie between."""
    step = mask.shape[0] // (SIZE // CELL)
    n = SIZE // CELL
    share = torch.from_numpy(mask.reshape(n, step, n, step).mean((1, 3))).float()
    return Embedding(torch.stack([1 - share, share]), mask.shape)


def decode(mask: np.ndarray, prompt: FramePrompt) -> Prediction:
    """Find the object inside the box or, as LiteMedSAM does, something there all the same."""
    y0, x0, y1, x1 = (round(v) for v in prompt.boxes[0])
    box = np.zeros_like(mask)
    box[y0:y1, x0:x1] = True
    found = mask & box
    return predict(found if found.any() else box)


def predict(mask: np.ndarray) -> Prediction:
    return Prediction(np.where(mask, 8.0, -8.0).astype(np.float32), 0.9)


def start(mask: np.ndarray) -> BoxChain:
    return BoxChain(1, 0, predict(mask), embed(mask))


def follow(frames: list[np.ndarray]) -> list[np.ndarray]:
    """Return the masks kept on the frames after the first, until the object has ended."""
    chain = start(frames[0])
    kept = []
    for index, truth in enumerate(frames[1:], start=1):
        embedding = embed(truth)
        prompt = chain.next_prompt(index, embedding)
        if prompt is None:
            break
        prediction = chain.accept(index, decode(truth, prompt), embedding)
        if prediction is None:
            break
        kept.append(prediction.mask)
    return kept


def test_next_box_is_seven_tenths_of_the_margin_of_four_pixels() -> None:
    mask = np.zeros((SIZE, SIZE), dtype=bool)
    mask[100:140, 60:90] = True
    prompt = start(mask).next_prompt(1)
    assert prompt is not None
    assert (prompt.object_id, prompt.frame) == (1, 1)
    # 0.7 * (100 - 4) + 0.3 * 100 = 97.2, and so on.
    assert prompt.boxes[0] == pytest.approx((97.2, 57.2, 142.8, 92.8))


def test_margin_grows_with_the_frame_and_stays_inside_it() -> None:
    mask = np.zeros((512, 512), dtype=bool)
    mask[0:80, 200:512] = True
    prompt = start(mask).next_prompt(1)
    assert prompt is not None
    assert prompt.boxes[0] == pytest.approx((0.0, 194.4, 85.6, 512.0))


def test_an_unchanged_object_is_kept_as_it_is() -> None:
    truth = disc(128, 120, 40)
    kept = follow([truth] * 4)
    assert len(kept) == 3
    assert all(overlap(mask, truth) > 0.95 for mask in kept)


def test_a_disc_that_shrinks_is_followed_to_its_end_and_not_beyond() -> None:
    nothing = np.zeros((SIZE, SIZE), dtype=bool)
    frames = [disc(128, 128, r) for r in (56, 48, 40, 32, 24)] + [nothing] * 3
    kept = follow(frames)
    assert len(kept) == 4
    assert all(overlap(m, t) > 0.85 for m, t in zip(kept, frames[1:], strict=False))


def test_a_disc_that_moves_by_more_than_its_radius_is_followed() -> None:
    frames = [disc(60 + 10 * i, 40 + 24 * i, 20) for i in range(8)]
    assert overlap(frames[0], frames[1]) < 0.3
    kept = follow(frames)
    assert len(kept) == 7
    assert all(overlap(m, t) > 0.8 for m, t in zip(kept, frames[1:], strict=True))


def test_an_object_that_vanishes_ends_on_that_frame() -> None:
    truth = disc(128, 128, 40)
    nothing = np.zeros_like(truth)
    chain = start(truth)
    prompt = chain.next_prompt(1, embed(nothing))
    assert prompt is not None
    assert chain.accept(1, decode(nothing, prompt), embed(nothing)) is None
    assert chain.ended
    assert chain.next_prompt(2, embed(truth)) is None
    assert chain.accept(2, predict(truth), embed(truth)) is None


def test_a_distant_component_that_does_not_look_like_the_object_is_dropped() -> None:
    truth, distractor = disc(100, 100, 30), disc(200, 200, 20)
    chain = start(truth)
    kept = chain.accept(1, predict(truth | distractor), embed(truth))
    assert kept is not None
    assert not (kept.mask & distractor).any()
    assert overlap(kept.mask, truth) > 0.9


def test_a_small_new_part_nearby_is_dropped_though_it_looks_like_the_object() -> None:
    truth, stray = disc(100, 100, 30), disc(100, 148, 9)
    kept = start(truth).accept(1, predict(truth | stray), embed(truth | stray))
    assert kept is not None
    assert overlap(kept.mask, truth) > 0.9
    assert not (kept.mask & disc(100, 148, 5)).any()


def test_a_small_part_that_was_there_before_is_kept() -> None:
    both = disc(100, 100, 30) | disc(100, 148, 9)
    kept = start(both).accept(1, predict(both), embed(both))
    assert kept is not None
    assert kept.mask[100, 148]


def test_motion_is_not_believed_when_the_object_looks_the_same_where_it_was() -> None:
    # The carried labels of a small object may jump to a neighbour that looks alike.
    truth, twin = disc(100, 100, 10), disc(100, 125, 14)
    chain = start(truth)
    prompt = chain.next_prompt(1, embed(truth | twin))
    assert prompt is not None
    _, x0, _, x1 = prompt.boxes[0]
    assert (x0 + x1) / 2 == pytest.approx(100, abs=4)


def test_a_twin_out_of_reach_is_not_taken_for_the_object() -> None:
    truth, twin = disc(60, 60, 24), disc(200, 200, 24)
    chain = start(truth)
    embedding = embed(truth | twin)
    kept = chain.accept(1, predict(truth), embedding)
    assert kept is not None
    assert not (kept.mask & twin).any()


def test_a_mask_without_a_pixel_has_no_next_frame() -> None:
    nothing = np.zeros((SIZE, SIZE), dtype=bool)
    chain = start(nothing)
    assert chain.ended
    assert chain.next_prompt(1) is None


def test_the_same_frames_give_the_same_masks() -> None:
    frames = [disc(100 + 5 * i, 100, 30 - 2 * i) for i in range(5)]
    for one, other in zip(follow(frames), follow(frames), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("shape", [(200, 256), (256, 100), (61, 40), (512, 300)])
def test_frames_need_not_be_square(shape: tuple[int, int]) -> None:
    height, width = shape
    mask = np.zeros(shape, dtype=bool)
    mask[height // 3 : height * 2 // 3, width // 3 : width * 2 // 3] = True
    square = np.zeros((max(shape), max(shape)), dtype=bool)
    square[:height, :width] = mask
    scale = torch.from_numpy(square).float()[None, None]
    share = torch.nn.functional.adaptive_avg_pool2d(scale, SIZE // CELL)[0, 0]
    embedding = Embedding(torch.stack([1 - share, share]), shape)
    chain = BoxChain(1, 0, predict(mask), embedding)
    prompt = chain.next_prompt(1, embedding)
    assert prompt is not None
    kept = chain.accept(1, predict(mask), embedding)
    assert kept is not None
    assert kept.mask.shape == shape
    assert overlap(kept.mask, mask) > 0.9


def test_features_of_double_resolution_are_pooled() -> None:
    truth = disc(128, 128, 40)
    coarse = embed(truth)
    fine = Embedding(coarse.features.repeat_interleave(2, 1).repeat_interleave(2, 2), truth.shape)
    answers = []
    for embedding in (coarse, fine):
        kept = BoxChain(1, 0, predict(truth), embedding).accept(1, predict(truth), embedding)
        assert kept is not None
        answers.append(kept.logits)
    np.testing.assert_allclose(*answers, atol=1e-5)


def test_difference_is_inside_minus_ring() -> None:
    cells = torch.zeros(32, 32)
    cells[10:20, 10:20] = 1
    features = torch.stack([3 * (1 - cells), 5 * cells])
    everywhere = torch.ones(32, 32)
    assert difference(features, cells, everywhere).tolist() == pytest.approx([-3.0, 5.0])  # type: ignore[union-attr]


def test_an_object_that_fills_the_frame_has_no_surroundings() -> None:
    cells = torch.ones(32, 32)
    assert difference(torch.stack([cells, cells]), cells, torch.ones(32, 32)) is None


@pytest.mark.parametrize(
    ("contrast", "moved_overlap", "in_place", "ended"),
    [
        (1.0, 0.9, 0.9, False),
        (0.36, 0.9, 0.9, False),
        (0.34, 0.9, 0.9, True),  # looks like its surroundings
        (1.0, 0.29, 0.29, True),  # became something else
        (0.71, 0.8, 0.1, False),  # moved, and looks the same
        (0.69, 0.8, 0.1, True),  # jumped, and looks different
    ],
)
def test_stop_rule(contrast: float, moved_overlap: float, in_place: float, ended: bool) -> None:
    assert StopRule().ended(Evidence(contrast, moved_overlap, in_place)) is ended


def test_a_rule_may_be_given() -> None:
    truth = disc(128, 128, 40)
    chain = BoxChain(1, 0, predict(truth), embed(truth), rule=StopRule(least_contrast=1.1))
    assert chain.accept(1, predict(truth), embed(truth)) is None


def test_moved_masks_are_cut_off_at_the_border() -> None:
    mask = np.zeros((6, 6), dtype=bool)
    mask[1:3, 1:4] = True
    assert bounding_box(moved(mask, 2.4, -1.6)) == (3, 0, 5, 2)
    assert not moved(mask, 6, 0).any()
    assert not moved(mask, 0, -9).any()


def test_overlap_of_two_empty_masks_is_zero() -> None:
    nothing = np.zeros((4, 4), dtype=bool)
    assert overlap(nothing, nothing) == 0
    assert overlap(~nothing, ~nothing) == 1
