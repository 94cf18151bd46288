"""Channels: separate images as one, one out of several, and what they look like blended."""

import numpy as np
import pytest

from napari_medsam2.channels import blend, join_channels, one_channel
from napari_medsam2.errors import InputError
from napari_medsam2.volume import Volume


class Unread:
    """An array that tells how much of it was read."""

    def __init__(self, array):
        self.array, self.shape, self.dtype, self.read = array, array.shape, array.dtype, 0

    def __getitem__(self, key):
        part = self.array[key]
        self.read += part.size
        return part


@pytest.mark.parametrize(
    ("values", "colour"),
    [
        ([100], [100, 100, 100]),
        ([100, 30], [30, 100, 30]),
        ([100, 30, 7], [100, 30, 7]),
        ([100, 0, 0, 0], [100, 0, 0]),
        ([0, 0, 100, 0], [0, 100, 100]),
    ],
)
def test_each_channel_has_its_colour(values, colour):
    planes = np.broadcast_to(np.array(values, np.float32), (2, 3, len(values)))
    np.testing.assert_allclose(blend(planes), np.broadcast_to(colour, (2, 3, 3)), atol=1e-3)


def test_no_blend_is_brighter_than_white():
    assert blend(np.full((2, 2, 7), 255, np.float32)).max() == 255


def test_separate_images_are_joined_without_reading_them():
    nuclei = Unread(np.arange(60, dtype=np.uint8).reshape(3, 4, 5))
    walls = Unread(np.arange(60, dtype=np.uint16).reshape(3, 4, 5) * 100)
    joined = join_channels(
        [Volume(nuclei, name="nuclei", spacing=(2, 1, 1)), Volume(walls, name="walls")]
    )
    assert (joined.axes, joined.shape, joined.name) == ("czyx", (2, 3, 4, 5), "nuclei")
    assert joined.spacing == (2, 1, 1)
    assert joined.dtype == np.uint16
    assert nuclei.read == walls.read == 0
    frame = joined.stack(0, channel=[1, 0]).frame(2)
    np.testing.assert_array_equal(frame[..., 0], walls.array[2])
    np.testing.assert_array_equal(frame[..., 1], nuclei.array[2])
    assert (nuclei.read, walls.read) == (20, 20)
    joined.stack(0, channel=0).frame(0)
    assert (nuclei.read, walls.read) == (40, 20)


def test_images_of_other_shapes_cannot_be_joined():
    first = Volume(np.zeros((3, 4, 5)), name="a")
    with pytest.raises(InputError, match=r"b: has the shape \(2, 4, 5\), a \(3, 4, 5\)"):
        join_channels([first, Volume(np.zeros((2, 4, 5)), name="b")])
    with pytest.raises(InputError, match="b: has channels of its own"):
        join_channels([first, Volume(np.zeros((3, 4, 5, 2)), name="b", axes="zyxc")])


def test_pyramids_are_joined_level_by_level():
    def slide(value):
        return Volume(
            np.full((1, 8, 8), value), levels=(np.full((1, 4, 4), value),), name=str(value)
        )

    joined = join_channels([slide(3), slide(5)])
    seen = joined.stack(0, channel=[0, 1], level=1).seen(0)
    assert seen.shape == (4, 4, 2)
    assert (seen == [3, 5]).all()
    without = join_channels([slide(3), Volume(np.zeros((1, 8, 8)))])
    assert without.levels == ()


def test_a_channel_alone_reads_itself_only_and_keeps_its_levels():
    data = np.arange(2 * 3 * 8 * 8).reshape(3, 2, 8, 8)
    lazy = Unread(data)
    volume = Volume(lazy, axes="zcyx", name="cells", levels=(Unread(data[..., ::2, ::2]),))
    one = one_channel(volume, 1)
    assert (one.axes, one.shape, one.name) == ("zyx", (3, 8, 8), "cells channel 1")
    np.testing.assert_array_equal(one.data[..., 2], data[:, 1, :, 2])
    assert lazy.read == 24
    np.testing.assert_array_equal(one.stack(0, level=1).seen(2), data[2, 1, ::2, ::2])
    np.testing.assert_array_equal(np.asarray(one.data), data[:, 1])
