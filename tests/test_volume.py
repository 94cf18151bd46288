"""Volumes: axes, spacing, frames along any axis, and laziness."""

import numpy as np
import pytest

from napari_medsam2.errors import InputError
from napari_medsam2.volume import Geometry, Volume


class Counting:
    """An array that records what is read of it and refuses to be read whole."""

    def __init__(self, array):
        self.array = array
        self.shape = array.shape
        self.dtype = array.dtype
        self.read = 0

    def __getitem__(self, key):
        part = self.array[key]
        self.read += part.size
        return part

    def __array__(self, *args, **kwargs):
        raise AssertionError("the whole array was read")


def arange(*shape, dtype=np.int32):
    return np.arange(np.prod(shape), dtype=dtype).reshape(shape)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((40, 50), "yx"),
        ((7, 40, 50), "zyx"),
        ((40, 50, 3), "yxc"),
        ((7, 40, 50, 3), "zyxc"),
        ((7, 40, 50, 4), "zyxc"),
        ((2, 7, 40, 50), "tzyx"),
        ((7, 3, 3), "zyx"),
    ],
)
def test_axes_are_guessed_from_the_shape(shape, axes):
    assert Volume(np.zeros(shape)).axes == axes


def test_frames_along_every_axis_are_the_planes_of_the_array():
    data = arange(3, 4, 5)
    volume = Volume(data)
    np.testing.assert_array_equal(volume.stack(0).frame(2), data[2])
    np.testing.assert_array_equal(volume.stack(1).frame(3), data[:, 3])
    np.testing.assert_array_equal(volume.stack("x").frame(4), data[:, :, 4])
    np.testing.assert_array_equal(volume.stack(-1).frame(0), data[:, :, 0])
    assert [len(volume.stack(a)) for a in range(3)] == [3, 4, 5]
    assert volume.stack(1).shape == (3, 5)


def test_spacing_follows_the_frame_axis():
    volume = Volume(arange(3, 4, 5), spacing=(5.0, 0.5, 0.25))
    assert volume.stack(0).spacing == (5.0, 0.5, 0.25)
    assert volume.stack(1).spacing == (0.5, 5.0, 0.25)
    assert volume.stack(2).spacing == (0.25, 5.0, 0.5)


def test_colour_frames_keep_three_channels_last():
    data = arange(2, 6, 7, 4, dtype=np.uint8)
    volume = Volume(data)
    frame = volume.stack(0).frame(1)
    np.testing.assert_array_equal(frame, data[1, :, :, :3])
    assert volume.label_shape == (2, 6, 7)


def test_channels_in_the_middle_are_found_and_moved_last():
    data = arange(2, 3, 6, 7, dtype=np.uint8)
    volume = Volume(data, axes="zcyx")
    np.testing.assert_array_equal(volume.stack(0).frame(1), np.moveaxis(data[1], 0, -1))
    np.testing.assert_array_equal(volume.stack(0, channel=2).frame(1), data[1, 2])
    assert volume.label_shape == (2, 6, 7)


@pytest.mark.parametrize("n", [2, 3, 5])
def test_channels_of_a_microscope_need_a_choice(n):
    volume = Volume(arange(2, n, 6, 7), axes="zcyx")
    with pytest.raises(InputError, match=f"has {n} channels; choose one"):
        volume.stack(0)
    assert volume.stack(0, channel=1).frame(0).shape == (6, 7)
    with pytest.raises(InputError, match=f"no channel {n}"):
        volume.stack(0, channel=n)


def test_four_dimensions_need_a_position():
    data = arange(2, 3, 4, 5)
    volume = Volume(data)
    with pytest.raises(InputError, match="fix a position for each of: t"):
        volume.stack("z")
    stack = volume.stack("z", at=[1])
    np.testing.assert_array_equal(stack.frame(2), data[1, 2])
    along_time = volume.stack("t", at=[2])
    np.testing.assert_array_equal(along_time.frame(1), data[1, 2])
    with pytest.raises(InputError, match=r"position 3 on axis 'z' is outside 0\.\.2"):
        volume.stack("t", at=[3])


@pytest.mark.parametrize(("axis", "at"), [(0, [1]), (1, [1]), (2, [1]), (3, [0])])
def test_label_frames_share_memory_with_the_labels(axis, at):
    volume = Volume(arange(2, 3, 4, 5))
    labels = np.zeros(volume.label_shape, dtype=np.uint16)
    stack = volume.stack(axis, at=at)
    view = stack.of_labels(labels)
    assert view.shape == (len(stack), *stack.shape)
    view[-1] = 7
    marked = volume.with_data(labels).stack(axis, at=at)
    assert (marked.frame(len(stack) - 1) == 7).all()
    assert np.count_nonzero(labels) == np.prod(stack.shape)


def test_a_plane_is_a_stack_of_one_frame():
    data = arange(4, 5)
    stack = Volume(data).stack(0)
    assert len(stack) == 1
    assert stack.shape == (4, 5)
    np.testing.assert_array_equal(stack.frame(0), data)
    labels = np.zeros((4, 5), np.uint16)
    stack.of_labels(labels)[0, 1, 2] = 3
    assert labels[1, 2] == 3


def test_only_the_frame_asked_for_is_read():
    data = Counting(arange(50, 20, 30))
    frame = Volume(data, axes="zyx").stack(0).frame(7)
    assert frame.shape == (20, 30)
    assert data.read == 600


def test_a_dask_array_is_read_frame_by_frame():
    da = pytest.importorskip("dask.array")
    data = arange(4, 5, 6)
    volume = Volume(da.from_array(data, chunks=(1, 5, 6)))
    np.testing.assert_array_equal(volume.stack(0).frame(2), data[2])


@pytest.mark.parametrize(
    "dtype", [bool, "u1", "i2", "u2", "i4", "f2", "f4", "f8", ">u2", ">i4", ">f4", ">f8"]
)
def test_every_real_dtype_gives_native_frames(dtype):
    data = (arange(2, 3, 4) % 2).astype(dtype)
    frame = Volume(data).stack(0).frame(1)
    assert frame.dtype.isnative
    np.testing.assert_array_equal(frame, data[1])


@pytest.mark.parametrize("dtype", [complex, "U3", object])
def test_what_is_no_intensity_is_refused(dtype):
    with pytest.raises(InputError, match="cannot be segmented"):
        Volume(np.zeros((2, 3, 4), dtype=dtype), name="scan")


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((5,), {}, "has 1 axes"),
        ((1, 2, 3, 4, 5, 6), {}, "has 6 axes"),
        ((0, 4, 5), {}, "empty"),
        ((2, 4, 5), {"axes": "yx"}, "name 2 axes"),
        ((2, 4, 5), {"axes": "zzx"}, "different letters"),
        ((2, 4, 5), {"axes": "zqx"}, "different letters"),
        ((4, 5), {"axes": "yc"}, "at least two axes"),
        ((2, 4, 5), {"spacing": (1, 2)}, "3 positive numbers"),
        ((2, 4, 5), {"spacing": (1, 0, 2)}, "3 positive numbers"),
        ((2, 4, 5), {"spacing": (1, float("nan"), 2)}, "3 positive numbers"),
        ((2, 4, 5), {"units": ("mm",)}, "3 units"),
    ],
)
def test_what_does_not_fit_is_refused(shape, options, message):
    with pytest.raises(InputError, match=message):
        Volume(np.zeros(shape), **options)


def test_an_unknown_axis_lists_the_known_ones():
    with pytest.raises(InputError, match=r"no axis 'q'; its axes are 0 \(z\), 1 \(y\), 2 \(x\)"):
        Volume(np.zeros((2, 4, 5)), name="scan").stack("q")
    with pytest.raises(InputError, match="no axis 3"):
        Volume(np.zeros((2, 4, 5))).stack(3)


def test_a_frame_that_is_not_there_is_named():
    with pytest.raises(InputError, match="scan: there is no frame 2; frames run from 0 to 1"):
        Volume(np.zeros((2, 4, 5)), name="scan").stack(0).frame(2)


def test_geometry_needs_a_square_direction():
    with pytest.raises(InputError, match="need 9 direction cosines"):
        Geometry((0.0, 0.0, 0.0), (1.0, 0.0, 0.0, 1.0))


def test_five_axes_are_seen_along_time_and_along_depth():
    data = arange(2, 3, 4, 5, 6)
    volume = Volume(data, axes="ctzyx")
    assert volume.label_shape == (3, 4, 5, 6)
    along_depth = volume.stack("z", at=[2], channel=1)
    np.testing.assert_array_equal(along_depth.frame(3), data[1, 2, 3])
    along_time = volume.stack("t", at=[3], channel=0)
    np.testing.assert_array_equal(along_time.frame(2), data[0, 2, 3])
    coronal = Volume(np.moveaxis(data, 0, 1), axes="tczyx").stack("y", at=[1], channel=1)
    np.testing.assert_array_equal(coronal.frame(4), data[1, 1, :, 4])


@pytest.mark.parametrize("axes", ["czyx", "zcyx", "zyxc"])
def test_several_channels_come_last_in_the_order_of_the_choice(axes):
    data = arange(3, 4, 5, 6)
    there = np.moveaxis(data, 0, axes.index("c"))
    stack = Volume(there, axes=axes).stack("z", channel=[2, 0])
    assert stack.channel == (2, 0)
    assert stack.is_rgb
    np.testing.assert_array_equal(stack.frame(1), np.stack([data[2, 1], data[0, 1]], axis=-1))


def test_one_channel_of_a_list_is_that_channel():
    stack = Volume(arange(3, 4, 5, 6), axes="czyx").stack(channel=[2])
    assert stack.channel == 2
    assert stack.frame(0).shape == (5, 6)


@pytest.mark.parametrize(
    ("channel", "message"),
    [([], "no channel is chosen"), ([0, 0], "name one twice"), ([0, 3], "no channel 3; it has 3")],
)
def test_bad_choices_of_channels(channel, message):
    with pytest.raises(InputError, match=message):
        Volume(arange(3, 4, 5, 6), axes="czyx", name="cells").stack(channel=channel)


def pyramid(full=64):
    """A bright square in a pyramid of three levels; depth is halved once."""
    data = np.zeros((4, full, full), np.uint8)
    data[:, full // 4 : full // 2, full // 4 : full // 2] = 200
    levels = (data[::2, ::2, ::2], data[::2, ::4, ::4])
    return Volume(data, levels=levels, name="slide")


def test_a_level_is_seen_but_frames_and_labels_are_those_of_the_full_image():
    volume = pyramid()
    stack = volume.stack(0, level=2)
    assert stack.shape == (64, 64)
    assert stack.frame(3).shape == (64, 64)
    seen = stack.seen(3)
    assert seen.shape == (16, 16)
    assert (seen[4:8, 4:8] == 200).all()
    assert np.count_nonzero(seen) == 16
    assert stack.of_labels(np.zeros(volume.label_shape)).shape == (4, 64, 64)


def test_frames_of_a_level_with_fewer_slices_lie_where_they_were():
    data = arange(5, 8, 8)
    coarse = np.stack([data[0], data[3]])  # of slices 0 to 2 and 3, 4: middles at 1/4 and 3/4
    stack = Volume(data, levels=(coarse,)).stack(0, level=1)
    places = [int(np.array_equal(stack.seen(i), data[3])) for i in range(5)]
    assert places == [0, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("sides", "level"),
    [([500, 250], 0), ([4000, 2000, 1000], 1), ([4096, 2048, 1024, 512], 2), ([1500, 750], 0)],
)
def test_by_default_the_coarsest_level_that_loses_nothing(sides, level):
    big, *others = (np.broadcast_to(np.uint8(0), (2, side, 2 * side)) for side in sides)
    assert Volume(big, levels=tuple(others)).stack(0).level == level


def test_a_plane_across_a_thin_volume_is_seen_in_full():
    big, small = (np.broadcast_to(np.uint8(0), (20, side, side)) for side in (4096, 2048))
    assert Volume(big, levels=(small,)).stack("y").level == 0


def test_bad_levels_are_refused():
    with pytest.raises(InputError, match=r"slide: there is no level 3; it has levels 0 to 2"):
        pyramid().stack(0, level=3)
    with pytest.raises(InputError, match="no level 1; it has no coarser levels"):
        Volume(arange(3, 4, 5)).stack(0, level=1)
    with pytest.raises(InputError, match=r"level 1 of the pyramid has the shape \(4, 9, 9\)"):
        Volume(arange(4, 8, 8), levels=(arange(4, 9, 9),))


def test_other_data_have_no_levels_of_the_old():
    volume = pyramid()
    assert volume.with_data(volume.data, name="a").levels == volume.levels
    assert volume.with_data(np.asarray(volume.data)[:2]).levels == ()


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_part_of_every_frame_is_read_and_no_more(axis):
    data = Counting(arange(6, 20, 30))
    part = Volume(data).stack(axis).cropped((2, 3, 5, 9))
    assert part.shape == (3, 6)
    expected = np.moveaxis(data.array, axis, 0)[1, 2:5, 3:9]
    np.testing.assert_array_equal(part.frame(1), expected)
    assert data.read == 18
    np.testing.assert_array_equal(part.of_labels(data.array)[1], expected)


def test_a_part_of_a_coloured_frame_keeps_its_colours():
    data = arange(3, 20, 30, 3)
    part = Volume(data).stack(0).cropped((2, 3, 5, 9))
    np.testing.assert_array_equal(part.frame(1), data[1, 2:5, 3:9])


def test_a_part_of_a_single_image():
    data = arange(20, 30)
    part = Volume(data).stack(0).cropped((2, 3, 5, 9))
    np.testing.assert_array_equal(part.frame(0), data[2:5, 3:9])
    np.testing.assert_array_equal(part.of_labels(data), data[np.newaxis, 2:5, 3:9])


def test_a_small_part_of_a_pyramid_is_seen_at_its_finest_level():
    full = np.kron(np.arange(16).reshape(4, 4), np.ones((1024, 1024), int)).astype(np.uint8)
    stack = Volume(full, "yx", levels=(full[::2, ::2], full[::4, ::4])).stack()
    assert stack.level == 2
    small, large = stack.cropped((0, 0, 512, 512)), stack.cropped((2048, 0, 4096, 2048))
    assert small.seen(0).shape == (512, 512)
    assert large.seen(0).shape == (1024, 1024)
    np.testing.assert_array_equal(np.unique(large.seen(0)), [8, 9, 12, 13])
    assert stack.cropped((0, 0, 4096, 4096)) is stack


@pytest.mark.parametrize("region", [(0, 0, 21, 5), (-1, 0, 5, 5), (4, 4, 4, 9)])
def test_a_part_that_is_none_of_the_frame_is_refused(region):
    with pytest.raises(InputError, match="no part of frames of"):
        Volume(arange(6, 20, 30)).stack(0).cropped(region)
