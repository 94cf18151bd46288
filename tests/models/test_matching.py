"""Labels carried between frames whose features are known."""

import numpy as np
import pytest
import torch

from napari_medsam2.models.base import Embedding
from napari_medsam2.models.matching import (
    CELLS,
    Seen,
    carry_labels,
    centre,
    content,
    likeness,
    pooled_features,
    to_cells,
    to_pixels,
    to_square,
    unit_features,
)


def block(y, x, height=6, width=8):
    """Return cells (32, 32) of a block, and features that tell it from what is around it."""
    cells = torch.zeros(CELLS, CELLS)
    cells[y : y + height, x : x + width] = 1
    return cells, torch.stack([1 - cells, cells])


def test_labels_follow_an_object_that_moves_within_reach():
    cells, features = block(10, 12)
    moved, seen = block(13, 8)
    carried = carry_labels(seen, [Seen(features, cells)])
    np.testing.assert_allclose(carried.cells, moved, atol=1e-5)
    assert float(carried.likeness[14, 10]) == pytest.approx(1.0)
    # Far from the object nothing was asked.
    assert float(carried.likeness[31, 31]) == 0


def test_labels_stay_behind_where_the_object_jumped_out_of_reach_unless_all_is_near():
    cells, features = block(2, 2)
    moved, seen = block(22, 22)
    assert float(carry_labels(seen, [Seen(features, cells)]).cells.max()) < 1e-5
    anywhere = carry_labels(seen, [Seen(features, cells)], reach=CELLS - 1)
    np.testing.assert_allclose(anywhere.cells, moved, atol=1e-5)


def test_an_empty_memory_carries_nothing():
    _, features = block(5, 5)
    carried = carry_labels(features, [Seen(features, torch.zeros(CELLS, CELLS))])
    assert float(carried.cells.sum()) == 0


def test_pooled_features_are_means_of_blocks_of_length_one():
    features = torch.rand(3, 64, 64, generator=torch.Generator().manual_seed(0))
    pooled = pooled_features(features)
    by_hand = features.view(3, 32, 2, 32, 2).mean((2, 4))
    by_hand = by_hand / by_hand.norm(dim=0)
    torch.testing.assert_close(pooled, by_hand)
    odd = pooled_features(torch.rand(2, 48, 48))
    torch.testing.assert_close(odd.norm(dim=0), torch.ones(32, 32))
    embedding = Embedding(features, (10, 10))
    assert unit_features(embedding) is unit_features(embedding)


def test_masks_fill_the_square_from_the_top_left():
    mask = np.zeros((64, 128), dtype=bool)
    mask[:, 64:] = True
    assert content(mask.shape) == (128, 256)
    square = to_square(mask, torch.device("cpu"))
    assert square.shape == (256, 256)
    assert float(square[:128, 130:].min()) == 1
    assert float(square[128:].sum()) == 0
    cells = to_cells(mask, torch.device("cpu"))
    assert float(cells.sum()) == pytest.approx(16 * 16, abs=0.5)
    back = to_pixels(cells, mask.shape)
    assert back.shape == mask.shape
    # Towards the padding labels fade; `litetrack_carry` makes up for it.
    assert back[:58, 80:].min() > 0.9
    assert back[:, :48].max() < 0.1


def test_centre_and_likeness():
    cells, features = block(10, 12)
    assert centre(cells) == pytest.approx((12.5, 15.5))
    _, moved = block(12, 15)
    assert likeness(Seen(features, cells), moved, 2, 3) == pytest.approx(1.0)
    # In its old place 4 x 5 of the 6 x 8 cells still look like the object.
    assert likeness(Seen(features, cells), moved, 0, 0) == pytest.approx(20 / 48)
