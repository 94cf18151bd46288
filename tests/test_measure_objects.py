"""Objects of volumes, movies and planes, against numbers by hand, scipy and scikit-image."""

from __future__ import annotations

import math

import numpy as np
import pytest
from skimage.measure import regionprops

from napari_medsam2.measure_intensity import Intensity
from napari_medsam2.measure_objects import measure_objects
from napari_medsam2.volume import Volume

MM = ("mm",) * 3


class Planes:
    """An array that is read a plane at a time, and says which."""

    def __init__(self, data: np.ndarray) -> None:
        self.data, self.asked = data, []

    @property
    def shape(self) -> tuple[int, ...]:
        return self.data.shape

    @property
    def dtype(self) -> np.dtype:
        return self.data.dtype

    def __getitem__(self, key) -> np.ndarray:
        self.asked.append(key)
        got = self.data[key]
        assert got.ndim == 2, "read whole"
        return got


@pytest.fixture
def noise() -> np.ndarray:
    return np.random.default_rng(0).integers(-1000, 1000, (6, 20, 30)).astype(np.int16)


@pytest.fixture
def blobs() -> np.ndarray:
    labels = np.zeros((6, 20, 30), np.uint16)
    labels[1:4, 2:8, 3:13] = 2
    labels[2, 12, 20:25] = 700
    labels[4, 13, 25] = 700
    return labels


def test_a_block_in_millimetres(noise, blobs):
    volume = Volume(noise, "zyx", spacing=(3.0, 0.5, 0.8), units=MM)
    block, _ = measure_objects(blobs, volume.stack(0), {2: "liver"})
    assert (block.object_id, block.name, block.time) == (2, "liver", None)
    assert block.voxels == 3 * 6 * 10
    assert block.size == pytest.approx(180 * 3 * 0.5 * 0.8)
    assert (block.unit, block.size_unit) == ("mm", "mm3")
    assert block.bbox == ((1, 4), (2, 8), (3, 13))
    assert block.centre == (2.0, 4.5, 7.5)
    assert block.n_parts == 1
    assert math.isnan(block.perimeter)
    sides = 2 * (9 * 3 + 9 * 8 + 3 * 8)  # 9 x 3 x 8 mm
    assert 0.75 * sides < block.surface < sides
    assert block.axis == "z"
    assert block.diameters.frame in range(1, 4)
    assert block.diameters.long.length == pytest.approx(math.hypot(5 * 0.5, 10 * 0.8))
    assert {block.diameters.long.start[1], block.diameters.long.end[1]} == {2.5, 12.5}


def test_parts_and_intensities_are_those_of_the_object(noise, blobs):
    volume = Volume(noise, "zyx", spacing=(3.0, 0.5, 0.8), units=MM)
    _, other = measure_objects(blobs, volume.stack(0))
    inside = noise[blobs == 700].astype(float)
    assert (other.object_id, other.n_parts, other.voxels) == (700, 2, 6)
    assert other.intensity.n == 6
    assert other.intensity.mean == pytest.approx(inside.mean())
    assert other.intensity.sd == pytest.approx(inside.std())
    assert (other.intensity.low, other.intensity.high) == (inside.min(), inside.max())
    (expected,) = regionprops((blobs == 700).astype(np.uint8))
    assert other.centre == pytest.approx(expected.centroid)
    flat = expected.bbox
    assert other.bbox == tuple(zip(flat[:3], flat[3:], strict=True))


def test_a_lazy_image_is_read_a_plane_at_a_time_and_only_where_objects_are(noise, blobs):
    lazy = Planes(noise)
    volume = Volume(lazy, "zyx")
    list(measure_objects(blobs, volume.stack(2)))
    assert [key[0] for key in lazy.asked] == [1, 2, 3, 4]


def test_diameters_follow_the_axis_of_the_slices(noise, blobs):
    volume = Volume(noise, "zyx", spacing=(3.0, 0.5, 0.8), units=MM)
    block, _ = measure_objects(blobs, volume.stack("x"))
    assert block.axis == "x"
    assert 3 <= block.diameters.frame < 13
    # On z, y: 3 x 6 pixels of 3 x 0.5 mm.
    assert block.diameters.long.length == pytest.approx(math.hypot(9, 2.5))
    assert sorted([block.diameters.long.start[0], block.diameters.long.end[0]]) == [0.5, 3.5]


def test_a_movie_is_measured_at_every_time_point(noise, blobs):
    volume = Volume(noise, "tyx", spacing=(0.1, 2.0, 2.0), units=("s", "um", "um"))
    scores = {2: np.full(6, 0.5), 9: np.full(6, 0.3)}
    scores[2][2] = 0.9
    rows = list(measure_objects(blobs, volume.stack("t"), {9: "gone"}, scores))
    assert [(m.object_id, m.time) for m in rows] == [
        *((2, 1), (2, 2), (700, 2), (2, 3), (700, 4), (9, None))
    ]
    first = rows[0]
    assert (first.size, first.size_unit, first.unit) == (60 * 4.0, "um2", "um")
    assert first.perimeter == pytest.approx(2 * (2 * 5 + 2 * 9) + 4 * math.hypot(2, 2) / 2)
    assert math.isnan(first.surface)
    assert first.bbox == ((1, 2), (2, 8), (3, 13))
    assert first.centre == (1.0, 4.5, 7.5)
    assert first.axis == ""
    assert first.diameters.long.length == pytest.approx(math.hypot(5 * 2, 10 * 2))
    assert (first.n_frames, first.mean_score) == (1, 0.5)
    assert rows[1].mean_score == 0.9
    assert rows[1].intensity.mean == pytest.approx(noise[2, 2:8, 3:13].mean())
    assert (rows[-1].name, rows[-1].voxels, rows[-1].bbox) == ("gone", 0, ())
    assert math.isnan(rows[-1].mean_score)


def test_volumes_over_time(noise, blobs):
    labels, image = np.stack([blobs * 0, blobs]), np.stack([noise, noise + 5])
    volume = Volume(image, "tzyx", (60, 3, 0.5, 0.8), ("s", *MM))
    scores = {2: np.array([0, 0.4, 0.5, 0.6, 0, 0])}
    here = list(measure_objects(labels, volume.stack("z", (1,)), scores=scores))
    assert [(m.object_id, m.time) for m in here] == [(2, 1), (700, 1)]
    alone = next(measure_objects(blobs, Volume(noise + 5, "zyx", (3, 0.5, 0.8), MM).stack(0)))
    assert here[0].surface == alone.surface
    assert here[0].intensity == alone.intensity
    assert here[0].diameters == alone.diameters
    assert here[0].bbox == ((1, 2), *alone.bbox)
    assert here[0].n_frames == 3
    assert here[0].mean_score == pytest.approx(0.5)
    elsewhere = next(measure_objects(labels, volume.stack("z", (0,)), scores=scores))
    assert elsewhere.n_frames == 0
    assert math.isnan(elsewhere.mean_score)
    along = next(measure_objects(labels, volume.stack("t", (2,)), scores={2: np.array([0.1, 0.7])}))
    assert (along.axis, along.n_frames, along.mean_score) == ("z", 1, 0.7)


def test_a_plane(noise, blobs):
    rows = list(measure_objects(blobs[2], Volume(noise[2], "yx").stack(0)))
    assert [(m.size, m.size_unit, m.n_frames) for m in rows] == [(60, "px2", 1), (5, "px2", 1)]
    assert rows[1].diameters.long.length == pytest.approx(5)
    assert rows[1].bbox == ((12, 13), (20, 25))


@pytest.mark.parametrize(
    ("units", "size", "unit"),
    [
        (("um", "nm", "nm"), 180 * 2000 * 500 * 500, "nm"),
        (("px", "mm", "mm"), 180, "px"),
    ],
    ids=["lengths become one", "else in pixels"],
)
def test_axes_of_different_units(noise, blobs, units, size, unit):
    volume = Volume(noise, "zyx", spacing=(2.0, 500.0, 500.0), units=units)
    block = next(measure_objects(blobs, volume.stack(0)))
    assert block.unit == unit
    assert block.size == pytest.approx(size)


def test_colours_are_averaged_and_one_channel_is_taken(noise, blobs):
    image = np.stack([np.abs(noise)] * 3, axis=-1).astype(np.uint8)
    image[..., 1] = 7
    volume = Volume(image, "zyxc")
    mean = next(measure_objects(blobs, volume.stack(0))).intensity.mean
    assert mean == pytest.approx(image[blobs == 2].mean())
    assert next(measure_objects(blobs, volume.stack(0, channel=1))).intensity.mean == 7


def test_values_that_are_no_numbers_are_left_out(blobs):
    image = np.ones(blobs.shape, np.float32)
    image[1, 2, 3], image[1, 2, 4] = np.nan, np.inf
    found = next(measure_objects(blobs, Volume(image, "zyx").stack(0))).intensity
    assert (found.n, found.mean, found.sd, found.high) == (178, 1, 0, 1)
    assert math.isnan(Intensity().with_values(np.array([np.nan])).mean)


def test_ids_that_are_very_large(noise, blobs):
    volume = Volume(noise, "zyx")
    rows = list(measure_objects(blobs.astype(np.uint32) * 1_000_000, volume.stack(0)))
    assert [m.object_id for m in rows] == [2_000_000, 700_000_000]
    assert rows[1].bbox == list(measure_objects(blobs, volume.stack(0)))[1].bbox


def test_nothing(noise):
    assert list(measure_objects(np.zeros(noise.shape, np.uint16), Volume(noise).stack(0))) == []
