"""Intensity windows."""

import numpy as np
import pytest

from napari_medsam2.errors import InputError
from napari_medsam2.volume import Volume
from napari_medsam2.windows import CT_PRESETS, Window, resolve_window, window_of


def stack_of(data, **options):
    return Volume(np.asarray(data), name="scan", **options).stack(0)


def test_a_window_maps_low_to_0_and_high_to_255_and_clips():
    mapped = Window(-160, 240).apply(np.array([[-1000, -160, 40, 240, 3000]], dtype=np.int16))
    np.testing.assert_allclose(mapped, [[0, 0, 127.5, 255, 255]])
    assert mapped.dtype == np.float32


def test_nan_is_black_and_infinities_are_the_ends():
    mapped = Window(0, 10).apply(np.array([[np.nan, -np.inf, np.inf, 5.0]]))
    np.testing.assert_allclose(mapped, [[0, 0, 255, 127.5]])


@pytest.mark.parametrize("dtype", [bool, "u1", "i2", "u2", "i4", "i8", "f2", "f4", "f8"])
def test_every_dtype_is_mapped_alike(dtype):
    mapped = Window(0, 1).apply(np.array([[0, 1]]).astype(dtype))
    np.testing.assert_array_equal(mapped, [[0, 255]])


def test_large_integers_keep_their_differences():
    base = 2_000_000_000
    mapped = Window(base, base + 255).apply(np.array([[base + 1, base + 2]], dtype=np.int32))
    np.testing.assert_allclose(mapped, [[1, 2]], atol=1e-4)


def test_the_preset_of_the_radiologist():
    # Abdomen: width 400, level 40.
    data = np.tile(np.linspace(-1000, 1000, 100), (3, 4, 1))
    window = resolve_window(stack_of(data), "abdomen")
    assert (window.low, window.high) == (-160, 240)
    assert set(CT_PRESETS) == {"abdomen", "lung", "brain", "mediastinum", "bone"}
    lung = resolve_window(stack_of(data), "lung")
    assert (lung.low, lung.high) == (-1350, 150)


def test_a_preset_on_other_data_is_refused():
    data = np.tile(np.arange(200, dtype=np.uint8), (3, 4, 1))
    with pytest.raises(InputError, match="scan: the CT window 'bone' needs Hounsfield units"):
        resolve_window(stack_of(data), "bone")


def test_auto_is_the_percentiles_of_the_intensities():
    rng = np.random.default_rng(0)
    data = rng.normal(100, 20, size=(8, 64, 64))
    window = resolve_window(stack_of(data))
    low, high = np.percentile(data, [0.5, 99.5])
    assert window.low == pytest.approx(low, abs=1)
    assert window.high == pytest.approx(high, abs=1)


def test_auto_does_not_count_a_constant_background():
    rng = np.random.default_rng(0)
    data = np.zeros((8, 64, 64))
    data[:, 20:40, 20:40] = rng.uniform(500, 1500, size=(8, 20, 20))
    window = resolve_window(stack_of(data))
    assert window.low == pytest.approx(505, abs=10)
    assert window.high == pytest.approx(1495, abs=10)


def test_auto_is_not_moved_by_a_few_hot_pixels():
    rng = np.random.default_rng(0)
    data = rng.uniform(0, 100, size=(4, 64, 64))
    data[0, 0, :3] = 60_000
    assert resolve_window(stack_of(data)).high < 101


def test_auto_reads_sixteen_frames_at_most():
    class Counting:
        shape = (1000, 8, 8)
        dtype = np.dtype("u2")
        reads = 0

        def __getitem__(self, key):
            Counting.reads += 1
            return np.arange(64, dtype="u2").reshape(8, 8)

    resolve_window(Volume(Counting(), axes="zyx").stack(0))
    assert Counting.reads == 16


def test_auto_ignores_nan_and_inf():
    data = np.tile(np.arange(100.0), (2, 10, 1))
    data[0, 0, 0], data[0, 0, 1], data[0, 0, 2] = np.nan, np.inf, -np.inf
    window = resolve_window(stack_of(data))
    assert 0 <= window.low < window.high <= 99


def test_eight_bit_colour_keeps_its_range():
    rng = np.random.default_rng(0)
    data = rng.integers(50, 90, size=(2, 8, 8, 3), dtype=np.uint8)
    assert resolve_window(stack_of(data)) == Window(0, 255)


def test_a_binary_image_has_a_window():
    data = np.zeros((2, 8, 8), dtype=bool)
    data[:, 2:4] = True
    assert resolve_window(stack_of(data)) == Window(0, 1)


def test_a_constant_image_is_refused():
    with pytest.raises(InputError, match=r"scan: the image is constant \(7 everywhere\)"):
        resolve_window(stack_of(np.full((3, 4, 5), 7)))


def test_an_image_of_nan_is_refused():
    with pytest.raises(InputError, match="scan: holds no finite intensity"):
        resolve_window(stack_of(np.full((3, 4, 5), np.nan)))


def test_display_is_what_the_file_says():
    data = np.tile(np.arange(100.0), (2, 10, 1))
    assert resolve_window(stack_of(data, display=(10.0, 20.0)), "display") == Window(10, 20)
    with pytest.raises(InputError, match="scan: states no display window"):
        resolve_window(stack_of(data), "display")


def test_explicit_windows():
    data = np.tile(np.arange(100.0), (2, 10, 1))
    assert resolve_window(stack_of(data), (1, 2.5)) == Window(1, 2.5)
    assert resolve_window(stack_of(data), "-160,240") == Window(-160, 240)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ("liver", "unknown window 'liver'; use auto, display, abdomen"),
        ("1,b", "must be numbers"),
        ("5,5", "low < high"),
        ((3, 1), "low < high"),
        ((float("nan"), 1), "low < high"),
    ],
)
def test_bad_windows_are_refused(choice, message):
    with pytest.raises(InputError, match=message):
        resolve_window(stack_of(np.tile(np.arange(100.0), (2, 10, 1))), choice)


def cells():
    """Dim nuclei and walls a hundred times as bright, in two channels."""
    rng = np.random.default_rng(0)
    data = np.stack([rng.uniform(0, 10, (3, 32, 32)), rng.uniform(500, 1500, (3, 32, 32))])
    return Volume(data, axes="czyx", name="cells").stack(0, channel=[0, 1])


def test_blended_channels_are_windowed_each_by_itself():
    stack = cells()
    window = resolve_window(stack)
    assert window.values == pytest.approx((0, 10, 500, 1500), abs=8)
    frame = np.zeros((1, 2, 2))
    frame[0] = [[window.values[1], window.values[2]], [0, (window.values[2] + 1500) / 2]]
    shown = window.apply(frame)
    np.testing.assert_allclose(shown[0], [[0, 255, 0], [127.5, 0, 127.5]], atol=1)


def test_intensities_for_blended_channels():
    stack = cells()
    assert resolve_window(stack, (0, 100)).values == (0, 100, 0, 100)
    assert resolve_window(stack, "0,10,500,900").values == (0, 10, 500, 900)
    with pytest.raises(InputError, match="2 channels are blended; give low and high once, or 2"):
        resolve_window(stack, (0, 1, 2, 3, 4, 5))
    with pytest.raises(InputError, match="cells: a window is a low and a high, not 4 numbers"):
        resolve_window(stack.volume.stack(0, channel=0), "0,10,500,900")


def test_a_channel_without_contrast_is_named():
    data = np.stack([np.arange(48.0).reshape(3, 4, 4), np.zeros((3, 4, 4))])
    stack = Volume(data, axes="czyx", name="cells").stack(0, channel=[0, 1])
    with pytest.raises(InputError, match="cells channel 1: the image is constant"):
        resolve_window(stack)


@pytest.mark.parametrize("values", [(0.0, 1.0), (0.0, 1.0, 5.0, 9.0)])
def test_windows_are_built_again_from_their_values(values):
    assert window_of(values).values == values
    with pytest.raises(InputError, match="a pair for each; got 3"):
        window_of((0, 1, 2))


def test_the_window_of_a_pyramid_is_measured_on_what_the_model_sees():
    full = np.zeros((2, 8, 8))
    full[:, ::2] = 100
    small = np.tile(np.linspace(40, 60, 16).reshape(4, 4), (2, 1, 1))
    stack = Volume(full, levels=(small,)).stack(0, level=1)
    window = resolve_window(stack)
    assert window.low >= 40
    assert window.high <= 60


class _Recorded:
    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype
        self.read = 0

    def __getitem__(self, key):
        part = self.array[key]
        self.read += part.size
        return part


@pytest.mark.parametrize("frames", [1, 3, 40])
def test_large_frames_are_sampled_and_not_read(frames):
    ramp = np.linspace(0, 1000, 3000, dtype=np.float32)
    data = _Recorded(np.broadcast_to(ramp, (frames, 3000, 3000)))
    window = resolve_window(Volume(data, axes="zyx").stack(0))
    assert 0 <= window.low < 100
    assert 900 < window.high <= 1000
    assert data.read <= min(frames, 16) * 65_536
