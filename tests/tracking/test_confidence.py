"""Confidence, on hand-worked numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from napari_medsam2.models.base import Prediction
from napari_medsam2.tracking.confidence import confidence, stability


def logits(*values):
    return np.array([values], dtype=np.float32)


def test_stability_is_the_iou_of_two_thresholds():
    # Above +1: 2 pixels; above -1: 4 pixels.
    assert stability(logits(5, 2, 0.5, -0.5, -3)) == 0.5
    assert stability(logits(-5, -6)) == 0
    assert stability(logits(5, -5)) == 1


def test_confidence_is_the_product():
    assert confidence(Prediction(logits(5, 2, 0.5, -0.5, -3), 0.8)) == pytest.approx(0.4)
    assert confidence(Prediction(logits(5, -5), 0.8, 0.0)) == pytest.approx(0.4)
    assert confidence(Prediction(logits(5, -5), 1.7)) == 1
    assert confidence(Prediction(logits(5, -5), -0.2)) == 0


@given(st.floats(-1, 2), st.floats(-1, 2), st.floats(-20, 20), st.floats(-20, 20))
def test_confidence_is_monotone_and_within_0_and_1(iou_a, iou_b, object_a, object_b):
    low = Prediction(logits(5, 0.5), min(iou_a, iou_b), min(object_a, object_b))
    high = Prediction(logits(5, 0.5), max(iou_a, iou_b), max(object_a, object_b))
    assert 0 <= confidence(low) <= confidence(high) <= 1
