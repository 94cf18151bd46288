"""Files that are missing, damaged or something else: one sentence each, and silence besides."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import tifffile
from PIL import Image

from napari_medsam2.errors import ReadError
from napari_medsam2.io import read, read_labels

if TYPE_CHECKING:
    from pathlib import Path

ARRAY = np.random.default_rng(1).integers(0, 4000, (8, 20, 30)).astype(np.int16)


def good(path: Path) -> Path:
    """Write a good file of the kind that the name says."""
    match path.suffix:
        case ".tif":
            tifffile.imwrite(path, ARRAY, photometric="minisblack", compression="zlib")
        case ".npy":
            np.save(path, ARRAY)
        case ".npz":
            np.savez(path, image=ARRAY)
        case ".png" | ".jpg" | ".gif" | ".bmp":
            Image.fromarray((ARRAY[0] >> 4).astype(np.uint8)).save(path)
        case _:
            sitk.WriteImage(sitk.GetImageFromArray(ARRAY), str(path), path.suffix != ".nii")
    return path


def message(path: Path) -> str:
    """Return the one line that reading says, from both readers alike."""
    with pytest.raises(ReadError) as caught:
        read(path)
    with pytest.raises(ReadError):
        read_labels(path)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("share", [0.02, 0.6, 0.97])
@pytest.mark.parametrize(
    "name", ["a.nii", "a.nii.gz", "a.nrrd", "a.mha", "a.tif", "a.npy", "a.npz", "a.png"]
)
def test_truncated(
    tmp_path: Path, name: str, share: float, capfd: pytest.CaptureFixture[str]
) -> None:
    path = good(tmp_path / name)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    assert message(path).startswith(f"{name}: ")
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("compressed", [False, True])
def test_data_file_of_a_header_cut_or_missing(
    tmp_path: Path, compressed: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(ARRAY), str(tmp_path / "a.mhd"), compressed)
    data = tmp_path / ("a.zraw" if compressed else "a.raw")
    data.write_bytes(data.read_bytes()[:500])
    assert "a.mhd: is truncated: 500 bytes of" in message(tmp_path / "a.mhd")
    data.unlink()
    assert f"needs its data file '{data.name}'" in message(tmp_path / "a.mhd")
    assert capfd.readouterr() == ("", "")


def test_damaged_inside(tmp_path: Path) -> None:
    path = good(tmp_path / "a.nii.gz")
    content = bytearray(path.read_bytes())
    content[-8:-4] = b"\0\0\0\0"
    path.write_bytes(content)
    assert "damaged" in message(path)


def test_whole_but_short(tmp_path: Path) -> None:
    path = good(tmp_path / "a.nii")
    with gzip.open(tmp_path / "a.nii.gz", "wb") as file:
        file.write(path.read_bytes()[:5000])
    assert message(tmp_path / "a.nii.gz") == (
        "a.nii.gz: is truncated: 5,000 bytes of 9,952 are there; copy or export it again"
    )


def test_gzip_of_several_members(tmp_path: Path) -> None:
    content = good(tmp_path / "a.nii").read_bytes()
    (tmp_path / "a.nii.gz").write_bytes(
        gzip.compress(content[:4000]) + gzip.compress(content[4000:])
    )
    np.testing.assert_array_equal(read(tmp_path / "a.nii.gz").data, ARRAY)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.dcm", "a.tif", "a"])
def test_empty(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert message(tmp_path / name) == (
        f"{name}: the file is empty (0 bytes); copy or export it again"
    )


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nrrd", "a.mha", "a.tif", "a.npz", "a.png"])
@pytest.mark.parametrize(
    ("content", "found"),
    [("<html>Größe</html>".encode() * 99, "text"), (bytes(range(5, 256)), "else")],
)
def test_something_else_inside(tmp_path: Path, name: str, content: bytes, found: str) -> None:
    (tmp_path / name).write_bytes(content)
    assert f"{name}: is named like" in message(tmp_path / name)
    assert found in message(tmp_path / name)


def test_missing(tmp_path: Path) -> None:
    assert message(tmp_path / "a.nii").endswith("a.nii: there is no such file")
    assert "nor is there a folder" in message(tmp_path / "b" / "a.nii")


@pytest.mark.parametrize("name", ["a.mp4", "a.docx", "a"])
def test_unknown_kind(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(bytes(range(256)) * 10)
    assert "is no image of a known kind; readable are NIfTI" in message(tmp_path / name)


def test_text_named_dicom(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_text("hello " * 100)
    assert message(tmp_path / "a.dcm").startswith("a.dcm: ")


def test_sheared_nifti(tmp_path: Path) -> None:
    nibabel: Any = pytest.importorskip("nibabel")
    affine = np.eye(4)
    affine[0, 1] = 0.5
    image = nibabel.Nifti1Image(ARRAY, None)
    image.set_sform(affine, 1)
    image.set_qform(None, 0)
    nibabel.save(image, tmp_path / "a.nii")
    assert "orthonormal" in message(tmp_path / "a.nii")
