from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

from napari_medsam2.io.samples import phantom
from napari_medsam2.models.prompting import frame_prompt
from napari_medsam2.models.strokes import Stroke, in_turn
from napari_medsam2.prompts import MaskPrompt, ObjectPrompts, PointPrompt, ScribblePrompt
from napari_medsam2.session import Session

FRAME, SPLEEN = 20, 2


def mask(rows: slice, columns: slice) -> torch.Tensor:
    logits = torch.full((16, 16), -1.0)
    logits[rows, columns] = 1.0
    return logits


def test_the_middle_of_the_longest_disputed_part_is_clicked():
    stroke = Stroke(tuple((4.0, float(x)) for x in range(10)), 1)
    assert stroke.point_of_dispute(None, 1.0) == (4.0, 5.0)
    # Columns 3 and 4 are right; of 0..2 and 5..9 the second is the longer.
    assert stroke.point_of_dispute(mask(slice(0, 9), slice(3, 5)), 1.0) == (4.0, 7.0)
    assert stroke.point_of_dispute(mask(slice(0, 9), slice(0, 10)), 1.0) is None


def test_a_negative_stroke_disputes_the_mask_alone():
    stroke = Stroke(tuple((4.0, float(x)) for x in range(10)), 0)
    assert stroke.point_of_dispute(None, 1.0) is None
    assert stroke.point_of_dispute(mask(slice(0, 9), slice(2, 5)), 1.0) == (4.0, 3.0)
    # Half the resolution: pixel (4, 3) of the frame is pixel (2, 1) of the mask.
    assert stroke.point_of_dispute(mask(slice(2, 3), slice(1, 2)), 0.5) == (4.0, 3.0)


def test_clicks_and_strokes_are_told_apart_in_their_order():
    told = ObjectPrompts(
        1,
        prompts=(
            PointPrompt(0, ((1, 1), (2, 2)), (1, 0)),
            ScribblePrompt(0, ((3, 3), (3, 5)), 1),
            ScribblePrompt(0, ((9, 3), (9, 5)), 0),
        ),
    )
    prompt = frame_prompt(told, 0, (20, 20))
    assert prompt.strokes == (0, 0, 1, 1, 1, 2, 2, 2)
    assert list(in_turn(prompt)) == [
        ((1, 1), 1),
        ((2, 2), 0),
        Stroke(((3, 3), (3, 4), (3, 5)), 1),
        Stroke(((9, 3), (9, 4), (9, 5)), 0),
    ]
    assert frame_prompt(ObjectPrompts(1, prompts=told.prompts[:1]), 0, (20, 20)).strokes == ()


@pytest.fixture(scope="module")
def answer():
    """What LiteMedSAM-track makes of prompts on a slice of the phantom, and the true spleen."""
    volume, truth = phantom()
    session = Session(volume, "litemedsam-track", device="cpu")
    model, embedding = session.model, session.encoder(FRAME)
    spleen = np.asarray(truth[FRAME]) == SPLEEN

    def dice(*prompts) -> float:
        told = frame_prompt(ObjectPrompts(1, prompts=prompts), FRAME, spleen.shape)
        found = model.decode(embedding, [told])[0].logits > 0
        return 2 * (found & spleen).sum() / (found.sum() + spleen.sum())

    return dice, spleen


def middle_line(region: np.ndarray) -> tuple[tuple[float, float], ...]:
    ys, xs = np.nonzero(region)
    return tuple((float(y), float(np.median(xs[ys == y]))) for y in np.unique(ys)[::2])


def test_a_scribble_along_the_object_finds_it(answer):
    dice, spleen = answer
    inside = middle_line(ndimage.binary_erosion(spleen, iterations=3))
    assert dice(ScribblePrompt(FRAME, inside, 1)) > 0.75


def test_a_scribble_around_a_good_mask_does_not_spoil_it(answer):
    dice, spleen = answer
    left = np.arange(spleen.shape[1]) < np.nonzero(spleen)[1].mean()
    edge = left & (ndimage.distance_transform_cdt(~spleen, "chessboard") == 5)
    around = ScribblePrompt(FRAME, middle_line(edge), 0)
    given = MaskPrompt(FRAME, spleen)
    assert dice(given, around) > 0.95
    inside = ScribblePrompt(FRAME, middle_line(ndimage.binary_erosion(spleen, iterations=3)), 1)
    assert dice(inside, around) >= dice(inside) - 0.05


def test_a_scribble_through_a_leak_takes_it_away(answer):
    dice, spleen = answer
    right = np.arange(spleen.shape[1]) > np.nonzero(spleen)[1].mean()
    leak = ndimage.binary_dilation(spleen, iterations=8) & right & ~spleen
    leaking = MaskPrompt(FRAME, spleen | leak)
    core = middle_line(leak & ~ndimage.binary_dilation(spleen, iterations=3))
    assert dice(leaking) < 0.75
    assert dice(leaking, ScribblePrompt(FRAME, core, 0)) > 0.8
