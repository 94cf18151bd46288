"""Pictures: that what they claim to show is where it should be."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medsam2 import overlays
from napari_medsam2.prompts import BoxPrompt, PointPrompt, PromptSet
from napari_medsam2.volume import Volume
from napari_medsam2.windows import Window


def picture(n_frames: int = 3, labels: np.ndarray | None = None, **options: object) -> np.ndarray:
    data = np.full((n_frames, 40, 40), 100, np.uint8)
    stack = Volume(data).stack(0)
    labels = np.zeros(data.shape, np.uint8) if labels is None else labels
    return overlays.montage(
        stack, labels, range(n_frames), window=Window(0, 200), columns=2, **options
    )


def has(sheet: np.ndarray, ink: tuple[int, int, int]) -> bool:
    return bool((np.abs(sheet.astype(int) - ink).max(axis=-1) <= 2).any())


@pytest.mark.parametrize(
    ("n", "count", "keep", "expected"),
    [
        (9, 3, (), [0, 4, 8]),
        (3, 8, (), [0, 1, 2]),
        (10, 3, (4,), [0, 4, 9]),
        (10, 2, (3, 5, 7), [3, 5]),
    ],
)
def test_spread(n, count, keep, expected):
    assert overlays.spread(n, count, keep) == expected


def test_frames_lie_side_by_side():
    sheet = picture(3)
    assert sheet.dtype == np.uint8
    # Two columns and two rows of square panels; the fourth place stays empty.
    height, width, _ = sheet.shape
    assert height == width
    grey = np.array([round(100 / 200 * 255)] * 3)
    assert np.abs(sheet[height // 4, width // 4] - grey).max() <= 1
    assert np.abs(sheet[3 * height // 4, 3 * width // 4].astype(int) - grey).max() > 50


def test_objects_have_a_contour_and_a_tint_in_their_colour():
    labels = np.zeros((1, 40, 40), np.uint8)
    labels[0, 10:30, 10:30] = 2
    ink = np.array(overlays.colour(2))
    sheet = picture(1, labels)
    assert has(sheet, overlays.colour(2))
    middle = sheet[sheet.shape[0] // 2, sheet.shape[1] // 2].astype(int)
    towards = (middle - 128) * np.sign(ink - 128)
    assert (towards >= 0).all()
    assert towards.max() > 5


def test_prompts_are_drawn_on_their_frame_alone():
    prompts = PromptSet().add(1, BoxPrompt(1, (5, 5, 35, 35)), PointPrompt(1, ((20, 20),), (1,)))
    sheet = picture(2, prompts=prompts)
    half = sheet.shape[1] // 2
    assert not has(sheet[:, :half], overlays.colour(1))
    assert has(sheet[:, half:], overlays.colour(1))


def test_legend_wraps_and_title_takes_room():
    plain = picture(2)
    titled = picture(2, title="A title", legend={i: f"object number {i}" for i in range(1, 9)})
    assert titled.shape[1] == plain.shape[1]
    assert titled.shape[0] > plain.shape[0] + 60
    assert all(has(titled, overlays.colour(i)) for i in range(1, 9))


def test_around_shows_only_the_part_with_objects():
    labels = np.zeros((2, 40, 40), np.uint8)
    labels[1, 10:14, 10:30] = 1
    wide = picture(2, labels, around=2)
    assert wide.shape[0] < picture(2, labels).shape[0]


def test_voxels_that_are_not_square_keep_their_proportion():
    stack = Volume(np.eye(40)[np.newaxis], spacing=(1, 2, 1)).stack(0)
    sheet = overlays.montage(stack, np.zeros((1, 40, 40), int), [0], window=Window(0, 1))
    square = picture(1)
    assert sheet.shape[0] - square.shape[0] == pytest.approx(square.shape[1] - 36, abs=2)


def test_colours_begin_again():
    assert overlays.colour(1) == overlays.colour(1 + len(overlays.COLOURS))
