"""Writing labels: types, refusals, and files that appear whole or not at all."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from napari_medsam2.errors import WriteError
from napari_medsam2.io import files, read_labels, write_labels
from napari_medsam2.io.atomic import atomic_path
from napari_medsam2.volume import Volume

if TYPE_CHECKING:
    from pathlib import Path

SUFFIXES = [".nii", ".nii.gz", ".nrrd", ".mha", ".tif", ".tiff", ".ome.tif", ".npy", ".npz"]
LABELS = np.arange(24, dtype=np.uint16).reshape(2, 3, 4)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(
    ("top", "dtype"), [(255, "u1"), (256, "u2"), (65_535, "u2"), (65_536, "u4")]
)
def test_the_smallest_type_that_holds_the_ids(
    tmp_path: Path, suffix: str, top: int, dtype: str
) -> None:
    labels = LABELS.astype(np.int64)
    labels[1, 2, 3] = top
    again = read_labels(write_labels(tmp_path / f"a{suffix}", labels))
    assert again.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(again, labels)


@pytest.mark.parametrize("dtype", ["?", "u1", "i1", ">u2", ">i4", "u8", "i8"])
def test_any_integer_type(tmp_path: Path, dtype: str) -> None:
    labels = (LABELS % 2).astype(dtype)
    np.testing.assert_array_equal(read_labels(write_labels(tmp_path / "a.nrrd", labels)), labels)


def test_views_that_are_not_contiguous(tmp_path: Path) -> None:
    labels = np.asfortranarray(np.arange(210).reshape(5, 6, 7))[::-1, ::2]
    for suffix in SUFFIXES:
        again = read_labels(write_labels(tmp_path / f"a{suffix}", labels))
        np.testing.assert_array_equal(again, labels)


@pytest.mark.parametrize("name", ["a.doc", "a", "a.gz", "a.dcm"])
def test_unknown_suffix(tmp_path: Path, name: str) -> None:
    with pytest.raises(WriteError, match=r"names no label format; use \.nii\.gz, \.nii, \.nrrd"):
        write_labels(tmp_path / name, LABELS)


def test_an_upper_case_suffix_is_the_same(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read_labels(write_labels(tmp_path / "A.NRRD", LABELS)), LABELS)


@pytest.mark.parametrize(
    ("labels", "match"),
    [
        (LABELS * 1.0, "labels are of type float64"),
        (LABELS.astype(int) - 1, "labels are 0 or more, found -1"),
        (LABELS[:0], "empty"),
        (np.array(["a"]), "labels are of type <U1"),
    ],
)
def test_what_are_no_labels(tmp_path: Path, labels: Any, match: str) -> None:
    with pytest.raises(WriteError, match=match):
        write_labels(tmp_path / "a.npz", labels)


def test_labels_of_another_image(tmp_path: Path) -> None:
    with pytest.raises(WriteError, match=r"labels of shape \(2, 3, 4\) do not fit ct \(5, 6, 7\)"):
        write_labels(tmp_path / "a.npz", LABELS, Volume(np.zeros((5, 6, 7)), name="ct"))


class TestPlace:
    def test_an_existing_file_stays(self, tmp_path: Path) -> None:
        path = tmp_path / "a.npy"
        path.write_text("precious")
        with pytest.raises(WriteError, match=r"^a.npy: exists in .*overwrite"):
            write_labels(path, LABELS)
        assert path.read_text() == "precious"
        write_labels(path, LABELS, overwrite=True)
        np.testing.assert_array_equal(np.load(path), LABELS)

    def test_no_such_folder(self, tmp_path: Path) -> None:
        with pytest.raises(WriteError, match=r"^a.npy: the folder .*new does not exist; make it"):
            write_labels(tmp_path / "new" / "a.npy", LABELS)

    def test_a_file_in_place_of_the_folder(self, tmp_path: Path) -> None:
        (tmp_path / "f").touch()
        with pytest.raises(WriteError, match="is not a folder"):
            write_labels(tmp_path / "f" / "a.npy", LABELS)

    def test_a_folder_in_place_of_the_file(self, tmp_path: Path) -> None:
        (tmp_path / "a.npy").mkdir()
        with pytest.raises(WriteError, match="is a folder; give a file name"):
            write_labels(tmp_path / "a.npy", LABELS, overwrite=True)

    @pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write anywhere")
    def test_a_folder_that_may_not_be_written(self, tmp_path: Path) -> None:
        tmp_path.chmod(0o500)
        with pytest.raises(WriteError, match="cannot be written"):
            write_labels(tmp_path / "a.npy", LABELS)

    @pytest.mark.parametrize("suffix", SUFFIXES)
    def test_nothing_else_is_left_beside_it(self, tmp_path: Path, suffix: str) -> None:
        write_labels(tmp_path / f"a{suffix}", LABELS)
        assert [p.name for p in tmp_path.iterdir()] == [f"a{suffix}"]


class TestAtomic:
    @pytest.mark.parametrize("error", [OSError(28, "No space left on device"), RuntimeError("ITK")])
    def test_a_writer_that_fails_half_way_leaves_the_old_file(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        path = write_labels(tmp_path / "a.mha", LABELS)
        before = path.read_bytes()

        def half(temporary: Path, labels: Any, volume: Any) -> None:
            temporary.write_bytes(b"half")
            raise error

        monkeypatch.setitem(files._WRITERS, ".mha", half)
        with pytest.raises(WriteError, match=r"^a\.mha: could not be written"):
            write_labels(path, LABELS, overwrite=True)
        assert path.read_bytes() == before
        assert [p.name for p in tmp_path.iterdir()] == ["a.mha"]

    def test_an_interruption_leaves_the_old_file(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        path.write_text("old")

        def interrupted() -> None:
            with atomic_path(path, overwrite=True) as temporary:
                temporary.write_text("new")
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert path.read_text() == "old"
        assert [p.name for p in tmp_path.iterdir()] == ["a.txt"]

    def test_the_name_appears_only_when_all_is_written(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"
        with atomic_path(path) as temporary:
            temporary.write_text("new")
            assert not path.exists()
            assert temporary.suffix == ".txt"
        assert path.read_text() == "new"

    def test_a_file_that_came_meanwhile_is_not_overwritten(self, tmp_path: Path) -> None:
        path = tmp_path / "a.txt"

        def race() -> None:
            with atomic_path(path) as temporary:
                temporary.write_text("mine")
                path.write_text("theirs")

        with pytest.raises(WriteError, match="exists"):
            race()
        assert path.read_text() == "theirs"

    def test_a_very_long_name(self, tmp_path: Path) -> None:
        path = write_labels(tmp_path / ("n" * 240 + ".nii.gz"), LABELS)
        np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), LABELS)
