"""The measures agree with surface-distance, with DAVIS's definition, and with sums done by hand."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.ndimage
import surface_distance
from scipy.ndimage import binary_dilation, gaussian_filter
from skimage.metrics import hausdorff_distance
from skimage.morphology import disk
from surface_distance import metrics as reference

from napari_medsam2.errors import InputError
from napari_medsam2.evaluation.metrics import (
    contour_f,
    default_tolerance,
    dice,
    frames_beyond,
    hd95,
    iou,
    j_and_f,
    measure_object,
    nsd,
    presence_precision,
    presence_recall,
    region_j,
    volume_error,
)
from napari_medsam2.evaluation.records import MEASURES

SPACINGS = {2: [(1, 1), (0.7, 2.3)], 3: [(1, 1, 1), (5, 0.78125, 0.78125), (0.3, 1.7, 0.9)]}


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Any:
    """surface-distance 0.1, which knows numpy and scipy by names that they have given up."""

    class Old:
        filters = scipy.ndimage
        morphology = scipy.ndimage

    monkeypatch.setattr(reference, "ndimage", Old)
    monkeypatch.setattr(np, "Inf", np.inf, raising=False)
    return surface_distance


def blobs(shape: tuple[int, ...], seed: int, share: float = 0.3) -> Any:
    """Smooth random shapes, some of which touch the edges of the array."""
    noise = gaussian_filter(np.random.default_rng(seed).standard_normal(shape), 1.5)
    return noise > np.quantile(noise, 1 - share)


def box(shape: tuple[int, ...], *sides: tuple[int, int]) -> Any:
    mask = np.zeros(shape, dtype=bool)
    mask[tuple(slice(*side) for side in sides)] = True
    return mask


@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_surfaces_agree_with_the_reference_library(library: Any, ndim: int, seed: int) -> None:
    shape = (31, 40) if ndim == 2 else (12, 25, 22)
    truth = blobs(shape, seed)
    moved = np.roll(truth, 2, axis=-1)
    for found in (moved, truth, truth & ~moved, blobs(shape, seed + 100, 0.1)):
        for spacing in SPACINGS[ndim]:
            apart = library.compute_surface_distances(truth, found, spacing)
            assert hd95(found, truth, spacing) == pytest.approx(
                library.compute_robust_hausdorff(apart, 95), abs=1e-6
            )
            for tolerance in (0.0, 0.78125, 1.0, 2.0, 5.0):
                expected = library.compute_surface_dice_at_tolerance(apart, tolerance)
                assert nsd(found, truth, spacing, tolerance) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("spacing", SPACINGS[3])
def test_every_surface_element_has_the_area_of_the_reference_library(
    library: Any, spacing: tuple[float, ...]
) -> None:
    # A block of noise holds all 256 ways to fill 2 x 2 x 2 voxels.
    noise = np.random.default_rng(0).random((20, 20, 20)) < 0.5
    other = np.random.default_rng(1).random((20, 20, 20)) < 0.5
    apart = library.compute_surface_distances(noise, other, spacing)
    expected = library.compute_surface_dice_at_tolerance(apart, 0.0)
    assert nsd(other, noise, spacing, 0.0) == pytest.approx(expected, abs=1e-9)


def test_single_voxels_and_lines(library: Any) -> None:
    shape, spacing = (6, 30, 30), (5.0, 0.5, 0.5)
    voxel = box(shape, (2, 3), (4, 5), (4, 5))
    line = box(shape, (3, 4), (4, 5), (0, 30))
    apart = library.compute_surface_distances(voxel, line, spacing)
    assert hd95(line, voxel, spacing) == pytest.approx(
        library.compute_robust_hausdorff(apart, 95), abs=1e-6
    )
    assert nsd(line, voxel, spacing, 5.0) == pytest.approx(
        library.compute_surface_dice_at_tolerance(apart, 5.0), abs=1e-6
    )


def test_surfaces_of_empty_masks(library: Any) -> None:
    full, empty = box((4, 9, 9), (1, 3), (2, 6), (2, 6)), np.zeros((4, 9, 9), dtype=bool)
    apart = library.compute_surface_distances(full, empty, (1, 1, 1))
    assert library.compute_robust_hausdorff(apart, 95) == math.inf
    assert hd95(empty, full, (1, 1, 1)) == hd95(full, empty, (1, 1, 1)) == math.inf
    assert nsd(empty, full, (1, 1, 1)) == nsd(full, empty, (1, 1, 1)) == 0.0
    assert hd95(empty, empty, (1, 1, 1)) == 0.0
    assert nsd(empty, empty, (1, 1, 1)) == 1.0


def test_hd95_of_squares_moved_apart_is_their_shift() -> None:
    # All of both contours but the overlap of the short sides is 6 pixels of 0.5 mm away.
    a, b = box((40, 40), (10, 12), (5, 30)), box((40, 40), (22, 24), (5, 30))
    assert hd95(a, b, (0.5, 0.5)) == pytest.approx(6.0)
    assert hausdorff_distance(a, b) * 0.5 == pytest.approx(6.0)
    assert nsd(a, b, (0.5, 0.5), 4.9) == 0.0
    assert nsd(a, b, (0.5, 0.5), 6.0) == 1.0


def test_a_distance_of_exactly_the_tolerance_counts() -> None:
    # 20 steps of 0.1 are the 2.0 that 0.1 * 320 - 0.1 * 300 misses by a bit.
    a, b = box((3, 400), (0, 3), (0, 300)), box((3, 400), (0, 3), (0, 320))
    assert nsd(a, b, (0.1, 0.1), 2.0) == 1.0
    assert nsd(a, b, (0.1, 0.1), 1.99) < 1.0


def test_overlaps_by_hand() -> None:
    truth, found = box((5, 5), (0, 2), (0, 4)), box((5, 5), (1, 4), (0, 4))
    assert dice(found, truth) == pytest.approx(2 * 4 / 20)
    assert iou(found, truth) == pytest.approx(4 / 16)
    assert volume_error(found, truth) == pytest.approx(0.5)
    assert volume_error(truth, found) == pytest.approx(-1 / 3)


def test_overlaps_of_empty_masks() -> None:
    full, empty = np.ones((3, 3), dtype=bool), np.zeros((3, 3), dtype=bool)
    assert dice(empty, empty) == iou(empty, empty) == 1.0
    assert dice(full, empty) == dice(empty, full) == iou(full, empty) == 0.0
    assert volume_error(empty, empty) == 0.0
    assert volume_error(full, empty) == math.inf
    assert volume_error(empty, full) == -1.0


def contours(mask: Any) -> Any:
    """The boundary map of DAVIS, pixel by pixel: right, below, and right below."""
    height, width = mask.shape
    found = np.zeros_like(mask)
    for y in range(height):
        for x in range(width):
            around = [(y, x + 1), (y + 1, x), (y + 1, x + 1)]
            if x == width - 1:
                around = [(y + 1, x)]
            if y == height - 1:
                around = [(y, x + 1)]
            inside = [p for p in around if p[0] < height and p[1] < width]
            found[y, x] = any(mask[p] != mask[y, x] for p in inside)
    return found


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("shape", [(41, 37), (90, 140)])
def test_contour_accuracy_is_that_of_davis(seed: int, shape: tuple[int, int]) -> None:
    truth, found = blobs(shape, seed), blobs(shape, seed + 50)
    if seed == 5:
        truth, found = box(shape, (20, 41), (10, 37)), box(shape, (22, 41), (9, 37))
    footprint = disk(math.ceil(0.008 * math.hypot(*shape)))
    a, b = contours(found), contours(truth)
    precision = (a & binary_dilation(b, footprint)).sum() / a.sum()
    recall = (b & binary_dilation(a, footprint)).sum() / b.sum()
    expected = 2 * precision * recall / (precision + recall)
    assert contour_f(found[np.newaxis], truth[np.newaxis]) == pytest.approx(expected, abs=1e-9)


def test_j_and_f_are_means_over_the_frames() -> None:
    truth = np.stack([box((50, 50), (10, 20), (10, 20))] * 3 + [np.zeros((50, 50), dtype=bool)])
    found = truth.copy()
    found[1] = False
    found[2] = box((50, 50), (10, 20), (10, 30))
    # 1, nothing found, twice the area, and rightly nothing.
    assert region_j(found, truth) == pytest.approx((1 + 0 + 0.5 + 1) / 4)
    assert contour_f(found[[0, 1, 3]], truth[[0, 1, 3]]) == pytest.approx(2 / 3)
    assert j_and_f(found, truth) == (region_j(found, truth) + contour_f(found, truth)) / 2


def shown(*frames: int, n: int = 10) -> Any:
    masks = np.zeros((n, 4, 4), dtype=bool)
    masks[list(frames), 1, 1] = True
    return masks


def test_presence_and_frames_beyond() -> None:
    found, truth = shown(1, 2, 3, 6, 9), shown(3, 4, 6, 7)
    assert presence_precision(found, truth) == pytest.approx(2 / 5)
    assert presence_recall(found, truth) == pytest.approx(2 / 4)
    assert frames_beyond(found, truth) == 3
    assert frames_beyond(found, shown()) == 5
    assert presence_precision(shown(), shown()) == presence_recall(shown(), shown()) == 1.0
    assert math.isnan(presence_precision(shown(), truth))
    assert presence_recall(shown(), truth) == 0.0
    assert math.isnan(presence_recall(found, shown()))


def test_an_object_has_every_measure_but_those_of_clicks() -> None:
    truth = np.stack([blobs((30, 30), seed) for seed in range(4)])
    values = measure_object(truth, truth, (2, 1, 1), kind="video")
    assert {*values} == {m for m in MEASURES if "click" not in m} | {"frame_dice"}
    ones = ("dice", "iou", "nsd", "dice_range", "nsd_range", "j", "f", "jf", "presence_recall")
    assert [values[name] for name in ones] == [1.0] * len(ones)
    assert values["hd95"] == values["volume_error"] == values["frames_beyond"] == 0.0
    assert values["frame_dice"] == ((0, 1.0), (1, 1.0), (2, 1.0), (3, 1.0))
    # Plain numbers, which JSON and tables can hold.
    assert {type(value) for name, value in values.items() if name != "frame_dice"} == {float}


def test_frames_without_truth_count_nowhere() -> None:
    truth, found = (
        box((8, 20, 20), (2, 5), (5, 9), (5, 9)),
        box((8, 20, 20), (0, 8), (5, 9), (5, 9)),
    )
    values = measure_object(found, truth, (3, 1, 1), labelled_frames=[2, 3, 4])
    assert values["dice"] == values["nsd"] == 1.0
    assert values["hd95"] == values["frames_beyond"] == 0.0
    assert [frame for frame, _ in values["frame_dice"]] == [2, 3, 4]


def test_the_range_is_that_of_the_truth() -> None:
    truth, found = (
        box((8, 20, 20), (2, 5), (5, 9), (5, 9)),
        box((8, 20, 20), (1, 7), (5, 9), (5, 9)),
    )
    values = measure_object(found, truth, (3, 1, 1))
    assert values["dice"] == pytest.approx(2 * 3 / 9)
    assert values["dice_range"] == values["nsd_range"] == 1.0
    assert values["nsd"] < 1.0
    assert values["frames_beyond"] == 3.0
    assert values["presence_precision"] == 0.5
    # Frames 5 and 6 run two slices of 3 mm past the end.
    assert values["hd95"] == 6.0
    assert [math.isnan(d) for _, d in values["frame_dice"]] == [True] + [False] * 6 + [True]
    assert all(math.isnan(values[name]) for name in ("j", "f", "jf"))


def test_contours_of_a_video_are_compared_frame_by_frame(library: Any) -> None:
    truth, found = (np.stack([blobs((30, 30), s) for s in seeds]) for seeds in ((1, 2), (3, 4)))
    values = measure_object(found, truth, (9, 0.5, 0.5), kind="video")
    near, size = 0.0, 0.0
    for a, b in zip(truth, found, strict=True):
        apart = library.compute_surface_distances(a, b, (0.5, 0.5))
        for side in (("gt", "gt_to_pred"), ("pred", "pred_to_gt")):
            lengths = apart[f"surfel_areas_{side[0]}"]
            near += lengths[apart[f"distances_{side[1]}"] <= 2.0].sum()
            size += lengths.sum()
    assert values["nsd"] == pytest.approx(near / size, abs=1e-6)


def test_a_missed_frame_of_a_video_lowers_nsd_but_leaves_hd95_to_the_others() -> None:
    truth = np.stack([box((20, 20), (5, 9), (5, 9))] * 4)
    found = truth.copy()
    found[3] = False
    values = measure_object(found, truth, (1, 1, 1), kind="video")
    assert values["nsd"] == pytest.approx(2 * 3 / 7)
    assert values["hd95"] == 0.0
    assert values["presence_recall"] == 0.75


@pytest.mark.parametrize("kind", ["2d", "3d", "video"])
def test_what_has_no_finite_value_is_nan(kind: Any) -> None:
    full, empty = box((3, 9, 9), (0, 3), (2, 5), (2, 5)), np.zeros((3, 9, 9), dtype=bool)
    missed = measure_object(empty, full, (1, 1, 1), kind=kind)
    assert math.isnan(missed["hd95"])
    assert missed["dice"] == missed["nsd"] == missed["dice_range"] == 0.0
    invented = measure_object(full, empty, (1, 1, 1), kind=kind)
    assert math.isnan(invented["volume_error"])
    assert math.isnan(invented["dice_range"])
    nothing = measure_object(empty, empty, (1, 1, 1), kind=kind)
    assert nothing["dice"] == nothing["nsd"] == 1.0
    assert nothing["hd95"] == 0.0


def test_a_single_image_needs_no_frame_axis() -> None:
    truth, found = blobs((30, 30), 1), blobs((30, 30), 2)
    flat = measure_object(found, truth, (0.5, 0.5), kind="2d")
    assert flat["nsd"] == pytest.approx(nsd(found, truth, (0.5, 0.5)))
    assert flat["hd95"] == pytest.approx(hd95(found, truth, (0.5, 0.5)))
    assert math.isnan(flat["frames_beyond"])


def test_the_tolerance_is_in_millimetres_or_pixels() -> None:
    assert default_tolerance((5, 0.8, 0.8), "mm") == 2.0
    assert default_tolerance((1, 1, 1), "px") == 2.0
    assert default_tolerance((0.05, 0.004, 0.004), "um") == pytest.approx(0.008)


def test_bad_masks_are_refused() -> None:
    mask = np.ones((2, 3, 3), dtype=bool)
    with pytest.raises(InputError, match="choose one object"):
        dice(mask.astype(np.uint8), mask)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="shape"):
        iou(mask[:1], mask)
    with pytest.raises(InputError, match="spacing"):
        nsd(mask, mask, (1, 1))
    with pytest.raises(InputError, match="positive"):
        hd95(mask, mask, (1, 0, math.nan))
    with pytest.raises(InputError, match="frames 0 to 1"):
        measure_object(mask, mask, (1, 1, 1), labelled_frames=[2])
    with pytest.raises(InputError, match="no frame is labelled"):
        measure_object(mask, mask, (1, 1, 1), labelled_frames=[])
