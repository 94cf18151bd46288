"""TIFF: axes, spacing, laziness, and labels that ImageJ and OME readers understand."""

from __future__ import annotations

import gc
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import tifffile

from napari_medsam2.errors import ReadError, WriteError
from napari_medsam2.io import read, read_labels, write_labels
from napari_medsam2.volume import Volume

if TYPE_CHECKING:
    from pathlib import Path

RNG = np.random.default_rng(5)


def test_imagej_hyperstack(tmp_path: Path) -> None:
    array = RNG.integers(0, 60_000, (2, 3, 4, 5, 6)).astype(np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif",
        array,
        imagej=True,
        resolution=(1 / 0.25, 1 / 0.5),
        metadata={"axes": "TZCYX", "spacing": 2.0, "unit": "micron", "finterval": 30.0},
    )
    volume = read(tmp_path / "a.tif")
    assert volume.axes == "tzcyx"
    assert volume.spacing == (30, 2, 0.5, 0.25)
    assert volume.units == ("s", "um", "um", "um")
    np.testing.assert_array_equal(volume.data[:], array)


def test_imagej_without_unit_states_no_spacing(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif",
        np.zeros((7, 4, 5), np.uint8),
        imagej=True,
        resolution=(72, 72),
        metadata={"axes": "ZYX"},
    )
    assert read(tmp_path / "a.tif").units == ("px", "px", "px")


def test_ome(tmp_path: Path) -> None:
    array = RNG.integers(0, 255, (2, 3, 4, 5)).astype(np.uint8)
    tifffile.imwrite(
        tmp_path / "a.ome.tif",
        array,
        metadata={
            "axes": "TZYX",
            "PhysicalSizeX": 100.0,
            "PhysicalSizeXUnit": "nm",
            "PhysicalSizeY": 0.2,
            "PhysicalSizeZ": 1.5,
            "TimeIncrement": 5.0,
            "TimeIncrementUnit": "min",
        },
    )
    volume = read(tmp_path / "a.ome.tif")
    assert volume.name == "a"
    assert volume.axes == "tzyx"
    assert volume.spacing == (5, 1.5, 0.2, 100)
    assert volume.units == ("min", "um", "um", "nm")
    np.testing.assert_array_equal(volume.data[:], array)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["?", "u1", "i1", "u2", "i2", "u4", "i4", "f2", "f4", "f8"])
def test_types_of_either_byte_order(tmp_path: Path, dtype: str, order: str) -> None:
    array = RNG.integers(0, 2, (3, 4, 5)).astype(dtype)
    tifffile.imwrite(tmp_path / "a.tif", array, byteorder=order, photometric="minisblack")
    frame = read(tmp_path / "a.tif").stack().frame(1)
    assert frame.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(frame, array[1])


@pytest.mark.parametrize("bigtiff", [False, True])
def test_unnamed_axis_is_time_unless_told_otherwise(tmp_path: Path, bigtiff: bool) -> None:
    array = np.zeros((6, 4, 5), np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif", bigtiff=bigtiff) as file:
        for page in array:
            file.write(page, contiguous=False, metadata=None)
    assert read(tmp_path / "a.tif").axes == "tyx"
    assert read(tmp_path / "a.tif", axes="zyx").axes == "zyx"
    with pytest.raises(ReadError, match="axes 'yx' name 2 axes"):
        read(tmp_path / "a.tif", axes="yx")


def test_colour(tmp_path: Path) -> None:
    array = RNG.integers(0, 255, (7, 4, 5, 3)).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", array, photometric="rgb")
    volume = read(tmp_path / "a.tif")
    assert volume.axes == "tyxc"
    np.testing.assert_array_equal(volume.stack().frame(6), array[6])


def test_axes_that_cannot_be_named_are_asked_for(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "a.tif", np.zeros((2, 3, 4, 5, 3), np.uint8), photometric="rgb",
        metadata={"axes": "TCYXS"},
    )  # fmt: skip
    with pytest.raises(ReadError, match=r"axes 'TCYXS' of shape \(2, 3, 4, 5, 3\); name them"):
        read(tmp_path / "a.tif")


def write_pyramid(path: Path, levels: list[np.ndarray], **options: object) -> None:
    """Write an OME pyramid, the coarser levels as sub-images of the full one."""
    with tifffile.TiffWriter(path, bigtiff=True, ome=True) as tif:
        tif.write(levels[0], subifds=len(levels) - 1, **options)
        for level in levels[1:]:
            tif.write(level, subfiletype=1, **options)


class TestPyramids:
    @pytest.mark.parametrize("colour", [False, True])
    def test_levels_of_a_slide(self, tmp_path: Path, colour: bool) -> None:
        full = RNG.integers(0, 255, (256, 192, 3) if colour else (256, 192)).astype(np.uint8)
        levels = [full, full[::2, ::2], full[::4, ::4]]
        write_pyramid(tmp_path / "a.ome.tif", levels, tile=(64, 64),
                      photometric="rgb" if colour else "minisblack")  # fmt: skip
        volume = read(tmp_path / "a.ome.tif")
        assert volume.axes == ("yxc" if colour else "yx")
        for found, level in zip((volume.data, *volume.levels), levels, strict=True):
            np.testing.assert_array_equal(np.asarray(found[:]), level)
        np.testing.assert_array_equal(volume.stack(level=2).seen(0), levels[2])

    def test_levels_of_channels_in_depth(self, tmp_path: Path) -> None:
        full = RNG.integers(0, 9000, (5, 2, 64, 64)).astype(np.uint16)
        write_pyramid(tmp_path / "a.ome.tif", [full, full[..., ::2, ::2]],
                      metadata={"axes": "ZCYX"}, photometric="minisblack")  # fmt: skip
        volume = read(tmp_path / "a.ome.tif")
        assert (volume.axes, volume.shape) == ("zcyx", (5, 2, 64, 64))
        seen = volume.stack("z", channel=[1, 0], level=1).seen(4)
        np.testing.assert_array_equal(seen, np.moveaxis(full[4, ::-1, ::2, ::2], 0, -1))

    def test_a_coarse_level_outlives_the_volume(self, tmp_path: Path) -> None:
        full = np.full((128, 128), 7, np.uint8)
        write_pyramid(tmp_path / "a.ome.tif", [full, full[::2, ::2]], tile=(64, 64))
        level = read(tmp_path / "a.ome.tif").levels[0]
        gc.collect()
        assert np.asarray(level[:]).min() == 7


class TestLazy:
    @pytest.mark.parametrize("compression", [None, "zlib"])
    def test_a_frame_reads_its_own_page_only(
        self, tmp_path: Path, compression: str | None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        array = RNG.integers(0, 9, (40, 64, 64)).astype(np.uint8)
        tifffile.imwrite(
            tmp_path / "a.tif", array, compression=compression, photometric="minisblack",
            rowsperstrip=64,
        )  # fmt: skip
        volume = read(tmp_path / "a.tif")
        pages = count_reads(monkeypatch)
        np.testing.assert_array_equal(volume.stack().frame(33), array[33])
        assert len(pages) == 1

    def test_opening_reads_no_page(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        tifffile.imwrite(tmp_path / "a.tif", np.zeros((9, 64, 64), np.uint8), compression="zlib")
        pages = count_reads(monkeypatch)
        assert read(tmp_path / "a.tif").shape == (9, 64, 64)
        assert not pages

    def test_the_array_outlives_the_volume(self, tmp_path: Path) -> None:
        tifffile.imwrite(tmp_path / "a.tif", np.full((9, 8, 8), 7, np.uint8), imagej=True)
        data = read(tmp_path / "a.tif").data
        assert np.asarray(data[8]).min() == 7

    def test_a_sparse_file_beyond_memory_opens_at_once(self, tmp_path: Path) -> None:
        tifffile.memmap(tmp_path / "a.tif", shape=(4096, 2048, 2048), dtype=np.uint16, bigtiff=True)
        volume = read(tmp_path / "a.tif")
        assert volume.nbytes == 2**35
        assert volume.stack().frame(4095).max() == 0


def count_reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Collect the sizes of the chunks that are read from TIFF files from now on."""
    sizes: list[int] = []
    original = tifffile.FileHandle.read_segments

    def counting(self: Any, *args: Any, **kwargs: Any) -> Any:
        for segment in original(self, *args, **kwargs):
            sizes.append(len(segment[0] or b""))
            yield segment

    plain = tifffile.FileHandle.read

    def reading(self: Any, size: int = -1, /) -> Any:
        if size > 1000:
            sizes.append(size)
        return plain(self, size)

    monkeypatch.setattr(tifffile.FileHandle, "read_segments", counting)
    monkeypatch.setattr(tifffile.FileHandle, "read", reading)
    return sizes


class TestWritten:
    VOLUME = Volume(
        np.zeros((3, 4, 5), np.uint8),
        axes="zyx",
        spacing=(3.0, 0.9765625, 0.9),
        units=("mm", "mm", "mm"),
    )

    @pytest.mark.parametrize(("top", "dtype"), [(1, "u1"), (300, "u2"), (70_000, "u4")])
    def test_axes_and_spacing_return(self, tmp_path: Path, top: int, dtype: str) -> None:
        labels = RNG.integers(0, top + 1, (3, 4, 5))
        labels[0, 0, 0] = top
        path = write_labels(tmp_path / "a.tif", labels, self.VOLUME)
        again = read(path)
        assert again.dtype == np.dtype(dtype)
        assert again.axes == "zyx"
        assert again.spacing == pytest.approx(self.VOLUME.spacing, rel=1e-6)
        assert again.units == ("mm", "mm", "mm")
        np.testing.assert_array_equal(tifffile.imread(path), labels)

    def test_time_lapse(self, tmp_path: Path) -> None:
        volume = Volume(
            np.zeros((2, 3, 4, 5), np.uint8), "tzyx", (0.5, 2, 1, 1), ("s", "um", "um", "um")
        )
        path = write_labels(tmp_path / "a.tiff", np.ones((2, 3, 4, 5), np.uint8), volume)
        with tifffile.TiffFile(path) as file:
            assert file.is_imagej
            assert file.series[0].axes == "TZYX"
        again = read(path)
        assert (again.spacing, again.units) == (volume.spacing, volume.units)

    def test_pixels_stay_pixels(self, tmp_path: Path) -> None:
        volume = Volume(np.zeros((4, 5), np.uint8))
        again = read(write_labels(tmp_path / "a.tif", np.ones((4, 5), np.uint8), volume))
        assert (again.axes, again.units) == ("yx", ("px", "px"))

    def test_order_that_tiff_has_not(self, tmp_path: Path) -> None:
        volume = Volume(np.zeros((4, 5, 6), np.uint8), axes="yxz")
        with pytest.raises(WriteError, match=r"write \.npz"):
            write_labels(tmp_path / "a.tif", np.ones((4, 5, 6), np.uint8), volume)
        assert not list(tmp_path.iterdir())


class TestWithoutImagecodecs:
    SCRIPT = """
import sys
sys.modules["imagecodecs"] = None
import numpy as np
from napari_medsam2.io import read, write_labels
labels = np.arange(60).reshape(3, 4, 5)
assert (read(write_labels(sys.argv[1] + "/out.tif", labels)).data[:] == labels).all()
try:
    read(sys.argv[1] + "/lzw.tif")
except ValueError as error:
    print(error)
"""

    def test_zlib_works_and_lzw_says_what_to_install(self, tmp_path: Path) -> None:
        pytest.importorskip("imagecodecs")
        tifffile.imwrite(tmp_path / "lzw.tif", np.zeros((8, 8), np.uint8), compression="lzw")
        done = subprocess.run(
            [sys.executable, "-c", self.SCRIPT, str(tmp_path)],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert done.stdout == (
            "lzw.tif: is compressed with LZW, which needs more codecs: "
            'pip install "napari-medsam2[all]" (or imagecodecs)\n'
        )
        assert done.stderr == ""


class TestRealFiles:
    def test_time_lapse(self, shared_data: Path) -> None:
        volume = read(shared_data / "formats" / "timelapse_6pages.tif")
        assert (volume.axes, volume.shape, volume.dtype) == ("tyx", (6, 200, 200), np.uint16)
        data = np.asarray(volume.data)
        assert (data.min(), data.max()) == (222, 65_535)

    def test_ome_channels(self, shared_data: Path) -> None:
        volume = read(shared_data / "formats" / "ome_labels.tif")
        assert (volume.axes, volume.shape) == ("cyx", (4, 2508, 2500))
        assert volume.spacing == pytest.approx((0.12408, 0.12408), rel=1e-4)
        assert volume.units == ("um", "um")
        assert read_labels(shared_data / "formats" / "ome_labels.tif").max() == 443

    def test_colour(self, shared_data: Path) -> None:
        pytest.importorskip("imagecodecs")
        volume = read(shared_data / "formats" / "rgb_lzw.tif")
        assert (volume.axes, volume.shape) == ("yxc", (584, 565, 3))
