"""Numpy files and pictures."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from napari_medsam2.errors import ReadError
from napari_medsam2.io import read, read_labels, write_labels
from napari_medsam2.volume import Geometry, Volume

if TYPE_CHECKING:
    from pathlib import Path

DTYPES = ["?", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8"]


class TestNpy:
    @pytest.mark.parametrize("order", ["<", ">"])
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_types_of_either_byte_order(self, tmp_path: Path, dtype: str, order: str) -> None:
        array = np.arange(60).reshape(3, 4, 5).astype(order + dtype)
        np.save(tmp_path / "a.npy", array)
        volume = read(tmp_path / "a.npy")
        assert isinstance(volume.data, np.memmap)
        frame = volume.stack().frame(2)
        assert frame.dtype.isnative
        np.testing.assert_array_equal(frame, array[2])

    def test_axes(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", np.zeros((3, 4, 5)))
        assert read(tmp_path / "a.npy").axes == "zyx"
        assert read(tmp_path / "a.npy", axes="tyx").axes == "tyx"
        with pytest.raises(ReadError, match=r"^a\.npy: "):
            read(tmp_path / "a.npy", axes="qyx")

    def test_pickles_are_refused(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", np.array([{}, None]), allow_pickle=True)
        with pytest.raises(ReadError, match=r"^a\.npy: cannot be read as npy"):
            read(tmp_path / "a.npy")

    def test_complex_numbers_are_refused(self, tmp_path: Path) -> None:
        np.save(tmp_path / "a.npy", np.zeros((3, 4, 5), complex))
        with pytest.raises(ReadError, match="complex128"):
            read(tmp_path / "a.npy")


class TestNpz:
    def test_image_with_facts(self, tmp_path: Path) -> None:
        meta = {"axes": "ZYX", "spacing_unit": "mm", "modality": "CT", "whatever": [1]}
        np.savez_compressed(
            tmp_path / "a.npz",
            image=np.ones((3, 4, 5), np.int16),
            labels=np.full((3, 4, 5), 2, np.uint8),
            spacing=np.array([2.0, 0.5, np.nan]),
            meta=np.array(json.dumps(meta)),
        )
        volume = read(tmp_path / "a.npz")
        assert volume.axes == "zyx"
        assert volume.spacing == (2, 0.5, 1)
        assert volume.units == ("mm", "mm", "px")
        assert volume.modality == "CT"
        assert volume.data[0, 0, 0] == 1
        assert read_labels(tmp_path / "a.npz").max() == 2

    @pytest.mark.parametrize("key", ["imgs", "anything"])
    def test_other_names(self, tmp_path: Path, key: str) -> None:
        np.savez(tmp_path / "a.npz", **{key: np.ones((3, 6, 7, 3), np.uint8)}, spacing=np.ones(3))
        assert read(tmp_path / "a.npz").axes == "zyxc"

    def test_unclear_contents(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", one=np.ones(3), two=np.ones(3))
        with pytest.raises(
            ReadError, match=r"^a.npz: holds no array that is clearly an image \(one, tw"
        ):
            read(tmp_path / "a.npz")

    def test_wrong_spacing(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", image=np.ones((3, 4, 5)), spacing=np.ones(2))
        with pytest.raises(ReadError, match="its spacing has 2 values, but the image 3 axes"):
            read(tmp_path / "a.npz")

    def test_labels_return_with_everything(self, tmp_path: Path) -> None:
        volume = Volume(
            np.zeros((3, 4, 5), np.uint8),
            "zyx",
            (3.0, 0.1, 0.2),
            ("mm", "um", "um"),
            Geometry((1.0, 2.0, 0.1), (1.0, 0, 0, 0, 0, 1.0, 0, -1.0, 0)),
            modality="MR",
        )
        labels = np.arange(60).reshape(3, 4, 5)
        path = write_labels(tmp_path / "a.npz", labels, volume)
        again = read(path)
        for fact in ("axes", "spacing", "units", "geometry", "modality"):
            assert getattr(again, fact) == getattr(volume, fact)
        np.testing.assert_array_equal(read_labels(path), labels)

    @pytest.mark.parametrize(
        ("case", "axes"),
        [
            ("vocalfolds_video/patient1_seq1.npz", "tyxc"),
            ("hippocampus_mr/hippocampus_014.npz", "zyx"),
            ("hc18_ultrasound/000_HC.npz", "tyx"),
        ],
    )
    def test_real_cases(self, shared_data: Path, case: str, axes: str) -> None:
        volume = read(shared_data / case)
        assert volume.axes == axes
        assert read_labels(shared_data / case).shape == volume.label_shape


class TestPictures:
    @pytest.mark.parametrize(
        ("name", "mode", "axes"),
        [
            ("a.png", "L", "yx"),
            ("a.png", "RGB", "yxc"),
            ("a.png", "RGBA", "yxc"),
            ("a.png", "LA", "yx"),
            ("a.png", "1", "yx"),
            ("a.png", "I;16", "yx"),
            ("a.jpg", "L", "yx"),
            ("a.jpg", "RGB", "yxc"),
            ("a.jpg", "CMYK", "yxc"),
            ("a.bmp", "RGB", "yxc"),
            ("a.gif", "L", "yx"),
        ],
    )
    def test_modes(self, tmp_path: Path, name: str, mode: str, axes: str) -> None:
        Image.new(mode, (8, 6), 1 if mode in ("L", "1", "I;16") else None).save(tmp_path / name)
        volume = read(tmp_path / name)
        assert volume.axes == axes
        assert volume.label_shape == (6, 8)

    def test_sixteen_bits(self, tmp_path: Path) -> None:
        array = np.arange(48, dtype=np.uint16).reshape(6, 8) * 1000
        Image.fromarray(array).save(tmp_path / "a.png")
        np.testing.assert_array_equal(read(tmp_path / "a.png").data, array)

    def test_palette_is_colour_to_look_at_and_ids_as_labels(self, tmp_path: Path) -> None:
        ids = np.arange(48, dtype=np.uint8).reshape(6, 8) % 3
        picture = Image.fromarray(ids).convert("P")
        picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
        picture.save(tmp_path / "a.png")
        np.testing.assert_array_equal(read_labels(tmp_path / "a.png"), ids)
        seen = read(tmp_path / "a.png")
        assert seen.axes == "yxc"
        np.testing.assert_array_equal(seen.data[0, 1], (128, 0, 0))

    def test_animated_gif(self, tmp_path: Path) -> None:
        frames = [Image.new("L", (8, 6), 60 * i) for i in range(4)]
        frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:], duration=40)
        volume = read(tmp_path / "a.gif")
        assert volume.shape[:3] == (4, 6, 8)
        assert volume.axes.startswith("tyx")
        assert (volume.spacing[0], volume.units[0]) == (0.04, "s")

    def test_grey_labels_in_colour_are_accepted_and_colours_not(self, tmp_path: Path) -> None:
        ids = np.arange(48, dtype=np.uint8).reshape(6, 8)
        Image.fromarray(np.stack([ids] * 3, axis=-1)).save(tmp_path / "grey.png")
        np.testing.assert_array_equal(read_labels(tmp_path / "grey.png"), ids)
        Image.new("RGB", (8, 6), (255, 0, 0)).save(tmp_path / "red.png")
        with pytest.raises(ReadError, match=r"^red\.png: is a picture in colour"):
            read_labels(tmp_path / "red.png")

    def test_real_masks(self, shared_data: Path) -> None:
        png = read_labels(shared_data / "formats" / "paletted_mask.png")
        assert (png.shape, png.dtype) == ((512, 512), np.uint8)
        np.testing.assert_array_equal(np.unique(png), (0, 1, 2))
        gif = read_labels(shared_data / "formats" / "mask.gif")
        assert gif.shape == (584, 565)
        np.testing.assert_array_equal(np.unique(gif), (0, 255))


class TestLabelsOfAnyFile:
    @pytest.mark.parametrize(("values", "dtype"), [([0.0, 2.0], "i8"), ([True, False], "u1")])
    def test_whole_numbers(self, tmp_path: Path, values: Any, dtype: str) -> None:
        np.save(tmp_path / "a.npy", np.array([values] * 3))
        assert read_labels(tmp_path / "a.npy").dtype == np.dtype(dtype)

    @pytest.mark.parametrize("value", [0.5, np.nan])
    def test_fractions_are_refused(self, tmp_path: Path, value: float) -> None:
        np.save(tmp_path / "a.npy", np.full((4, 4), value))
        with pytest.raises(ReadError, match=r"^a\.npy: holds fractions"):
            read_labels(tmp_path / "a.npy")
