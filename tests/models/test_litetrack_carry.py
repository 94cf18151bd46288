"""Prompts that an object's past makes, on blocks whose features are known."""

import pytest
import torch

from napari_medsam2.models.litetrack_carry import box_of, carry, remember

SIDE = 256


def frame(y, x, height=64, width=48, share=1.0):
    """Return unit features (2, 32, 32) and a mask (256, 256) of a rectangle of pixels."""
    mask = torch.zeros(SIDE, SIDE)
    mask[y : y + height, x : x + width] = 1
    cells = torch.nn.functional.avg_pool2d(mask[None], 8)[0] * share
    features = torch.stack([1 - cells, cells])
    return features / features.norm(dim=0), mask


def test_a_box_and_a_rough_mask_move_with_the_object():
    features, mask = frame(80, 96)
    key = remember(features, mask)
    now, moved = frame(96, 104)
    carried = carry(now, [key], key, (SIDE, SIDE))
    # 16 down, 8 right, and 4 pixels around; the last pixels, not the ones beyond.
    assert carried.box.tolist() == pytest.approx([100, 92, 155, 163], abs=1)
    inside = (carried.logits > 0).float()
    assert float((inside * moved).sum() / moved.sum()) > 0.95
    assert float((inside * (1 - moved)).sum() / moved.sum()) < 0.15
    contrast, alike, surest, growth, since, overlap = carried.evidence.tolist()
    assert contrast == pytest.approx(1, abs=0.05)
    assert alike == pytest.approx(1, abs=0.01)
    assert surest == pytest.approx(1, abs=0.01)
    assert growth == pytest.approx(0, abs=0.1)
    assert since == pytest.approx(0, abs=0.1)
    assert overlap > 0.9


def test_the_evidence_of_an_object_that_is_gone_is_low():
    features, mask = frame(80, 96)
    key = remember(features, mask)
    nothing = torch.stack([torch.ones(32, 32), torch.zeros(32, 32)])
    contrast, _, surest, growth, _, overlap = carry(nothing, [key], key, (SIDE, SIDE)).evidence
    assert contrast < 0.2
    # Carried labels cannot tell where all cells look alike: what tells is how unsure they are.
    assert surest <= 1
    assert growth < 0.5
    assert overlap <= 1


def test_the_box_stays_inside_the_frame():
    features, mask = frame(0, 0, 40, 60)
    key = remember(features, mask)
    box = carry(features, [key], key, (100, SIDE)).box.tolist()
    assert box == pytest.approx([0, 0, 63, 43])


def test_labels_do_not_fade_at_the_border_of_the_frame():
    # The frame ends in the middle of a row of cells, and the object with it.
    features, mask = frame(60, 96, 40, 48)
    key = remember(features, mask)
    carried = carry(features, [key], key, (100, SIDE))
    assert float(carried.logits[92:100, 104:136].min()) > 6
    assert float(carried.logits[112:].max()) < -6


def test_a_memory_keeps_two_pixels():
    _, mask = frame(81, 97, 31, 50)
    past = remember(torch.zeros(2, 32, 32), mask)
    assert past.mask.shape == (128, 128)
    assert past.shows
    y0, x0, y1, x1 = box_of(past.mask)
    assert (y0, y1) == pytest.approx((81, 112), abs=2)
    assert (x0, x1) == pytest.approx((97, 147), abs=2)
    assert float(past.cells.sum()) == pytest.approx(31 * 50 / 64)
    assert not remember(torch.zeros(2, 32, 32), torch.zeros(SIDE, SIDE)).shows


def test_an_object_thinner_than_what_is_remembered_still_has_a_box():
    mask = torch.zeros(SIDE, SIDE)
    mask[101, 40:90] = 1
    past = remember(torch.zeros(2, 32, 32), mask)
    assert past.shows
    assert box_of(past.mask) == pytest.approx((100, 40, 102, 90))
    features = torch.nn.functional.normalize(torch.ones(2, 32, 32), dim=0)
    box = carry(features, [past], past, (SIDE, SIDE)).box
    assert bool((box[2:] >= box[:2]).all())
