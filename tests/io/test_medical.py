"""NIfTI, NRRD and MetaImage, made and read back by nibabel and SimpleITK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813

from napari_medsam2.io import read, read_labels, write_labels
from napari_medsam2.volume import Volume

if TYPE_CHECKING:
    from pathlib import Path

RNG = np.random.default_rng(3)
# A rotation about an oblique axis: no row or column is zero.
OBLIQUE = (
    0.936293,
    -0.275096,
    0.218351,
    0.289629,
    0.956425,
    -0.036957,
    -0.198669,
    0.097843,
    0.975170,
)
DTYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"]


def sitk_image(array: np.ndarray, spacing: tuple[float, ...], oblique: bool = False) -> Any:
    image = sitk.GetImageFromArray(array, isVector=False)
    image.SetSpacing(spacing)
    image.SetOrigin((-12.5, 30.25, 7.0, 0.0)[: array.ndim])
    if oblique:
        matrix, _ = np.linalg.qr(np.reshape(OBLIQUE, (3, 3)))
        image.SetDirection((-matrix).ravel().tolist())
    return image


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd"])
def test_volume_with_spacing_and_geometry(tmp_path: Path, suffix: str) -> None:
    array = RNG.integers(-1000, 1000, (4, 5, 6)).astype(np.int16)
    image = sitk_image(array, (0.7, 0.8, 2.5), oblique=True)
    sitk.WriteImage(image, str(tmp_path / f"case{suffix}"))
    volume = read(tmp_path / f"case{suffix}")
    assert volume.name == "case"
    assert volume.axes == "zyx"
    assert volume.units == ("mm", "mm", "mm")
    assert volume.dtype == np.int16
    np.testing.assert_array_equal(volume.data, array)
    np.testing.assert_allclose(volume.spacing, (2.5, 0.8, 0.7), rtol=1e-6)
    assert volume.geometry is not None
    np.testing.assert_allclose(volume.geometry.origin, image.GetOrigin(), rtol=1e-6)
    np.testing.assert_allclose(volume.geometry.direction, image.GetDirection(), atol=1e-6)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_nifti_types_of_either_byte_order(tmp_path: Path, dtype: str, order: str) -> None:
    array = RNG.integers(0, 100, (6, 5, 4)).astype(order + dtype)
    header = nibabel.Nifti1Header(endianness=order)
    nibabel.save(
        nibabel.Nifti1Image(array, np.eye(4), header, dtype=array.dtype), tmp_path / "a.nii"
    )
    volume = read(tmp_path / "a.nii")
    assert volume.dtype == np.dtype(dtype)
    assert volume.dtype.isnative
    np.testing.assert_array_equal(volume.data, array.T)


def test_affine_of_nibabel_is_geometry_of_itk(tmp_path: Path) -> None:
    affine = np.diag([-2.0, 3.0, 4.0, 1.0])
    affine[:3, 3] = (10, 20, 30)
    nibabel.save(nibabel.Nifti1Image(np.zeros((5, 6, 7), np.int16), affine), tmp_path / "a.nii.gz")
    volume = read(tmp_path / "a.nii.gz")
    assert volume.shape == (7, 6, 5)
    assert volume.spacing == (4, 3, 2)
    assert volume.geometry is not None
    # RAS of NIfTI against LPS of ITK: x and y change sign.
    assert volume.geometry.origin == (-10, -20, 30)
    np.testing.assert_array_equal(
        np.diag(np.reshape(volume.geometry.direction, (3, 3))), (1, -1, 1)
    )


@pytest.mark.parametrize(
    ("slope", "intercept", "dtype"),
    [(1, -1024, np.int16), (2, 0, np.int16), (1, 40_000, np.uint16), (0.5, 0, np.float32)],
)
def test_nifti_scaling_keeps_integers_whole(
    tmp_path: Path, slope: float, intercept: float, dtype: type
) -> None:
    array = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    image = nibabel.Nifti1Image(array, np.eye(4))
    image.header.set_slope_inter(slope, intercept)
    nibabel.save(image, tmp_path / "a.nii")
    # Nibabel scales on saving; put the stored values back beside the new scale.
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[352:] = array.tobytes(order="F")
    content[112:120] = np.array([slope, intercept], "<f4").tobytes()
    (tmp_path / "a.nii").write_bytes(content)
    volume = read(tmp_path / "a.nii")
    assert volume.dtype == dtype
    np.testing.assert_array_equal(volume.data, array.T * float(slope) + intercept)


def test_time_series(tmp_path: Path) -> None:
    array = RNG.integers(0, 100, (5, 4, 3, 2)).astype(np.int16)
    image = nibabel.Nifti1Image(array, np.diag([2, 2, 3, 1]))
    image.header.set_xyzt_units("mm", "msec")
    image.header["pixdim"][4] = 1500
    nibabel.save(image, tmp_path / "a.nii.gz")
    volume = read(tmp_path / "a.nii.gz")
    assert volume.axes == "tzyx"
    assert volume.spacing == (1.5, 3, 2, 2)
    assert volume.units == ("s", "mm", "mm", "mm")
    np.testing.assert_array_equal(volume.data, array.T)


def test_time_without_unit_is_not_called_seconds(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((5, 4, 3, 2), np.int16), np.eye(4))
    nibabel.save(image, tmp_path / "a.nii")
    assert read(tmp_path / "a.nii").units == ("px", "mm", "mm", "mm")


def test_micrometres_become_millimetres(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((5, 4, 3), np.uint8), np.diag([50, 50, 100, 1]))
    image.header.set_xyzt_units("micron")
    nibabel.save(image, tmp_path / "a.nii")
    np.testing.assert_allclose(read(tmp_path / "a.nii").spacing, (0.1, 0.05, 0.05), rtol=1e-6)


def test_colour_comes_last(tmp_path: Path) -> None:
    array = RNG.integers(0, 255, (4, 5, 6, 3)).astype(np.uint8)
    sitk.WriteImage(sitk.GetImageFromArray(array, isVector=True), str(tmp_path / "a.nrrd"))
    volume = read(tmp_path / "a.nrrd")
    assert volume.axes == "zyxc"
    np.testing.assert_array_equal(volume.data, array)


def test_two_dimensions(tmp_path: Path) -> None:
    sitk.WriteImage(sitk_image(np.ones((5, 6), np.uint8), (0.5, 0.25)), str(tmp_path / "a.mha"))
    volume = read(tmp_path / "a.mha")
    assert (volume.axes, volume.spacing) == ("yx", (0.25, 0.5))


def test_content_decides_and_not_the_suffix(tmp_path: Path) -> None:
    sitk.WriteImage(sitk_image(np.ones((3, 4, 5), np.uint8), (1, 1, 2)), str(tmp_path / "a.nrrd"))
    (tmp_path / "a.nrrd").rename(tmp_path / "a.mha")
    assert read(tmp_path / "a.mha").metadata["format"] == "NRRD"


def test_axes_can_be_named(tmp_path: Path) -> None:
    sitk.WriteImage(sitk_image(np.ones((3, 4, 5), np.uint8), (1, 1, 2)), str(tmp_path / "a.nrrd"))
    volume = read(tmp_path / "a.nrrd", axes="tyx")
    assert (volume.axes, volume.spacing) == ("tyx", (2, 1, 1))


class TestRealFiles:
    @pytest.mark.parametrize(
        ("name", "shape", "spacing", "low", "high"),
        [
            ("ct_abdomen.nii.gz", (30, 101, 122), (3, 3, 3), -1100, 1207),
            ("mr_oblique_anisotropic.nii.gz", (5, 40, 40), (17, 0.84375, 0.84375), 4, 871),
            ("mr_breast.nrrd", (21, 120, 45), (2.1, 0.664062, 0.664062), 6, 248),
        ],
    )
    def test_image(
        self,
        shared_data: Path,
        name: str,
        shape: tuple[int, ...],
        spacing: Any,
        low: int,
        high: int,
    ) -> None:
        volume = read(shared_data / "formats" / name)
        assert volume.shape == shape
        assert volume.dtype == np.int16
        assert (volume.data[...].min(), volume.data[...].max()) == (low, high)
        np.testing.assert_allclose(volume.spacing, spacing)

    def test_labels(self, shared_data: Path) -> None:
        labels = read_labels(shared_data / "formats" / "ct_abdomen_label.nii.gz")
        assert labels.dtype == np.uint8
        assert len(np.unique(labels)) == 42
        np.testing.assert_array_equal(
            np.unique(read_labels(shared_data / "formats" / "mr_breast_label.nrrd")), (0, 1)
        )

    @pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
    def test_labels_lie_on_their_image(
        self, shared_data: Path, tmp_path: Path, suffix: str
    ) -> None:
        source = shared_data / "formats" / "mr_oblique_anisotropic.nii.gz"
        volume = read(source)
        labels = RNG.integers(0, 4, volume.label_shape).astype(np.int64)
        path = write_labels(tmp_path / f"labels{suffix}", labels, volume)
        image, written = sitk.ReadImage(str(source)), sitk.ReadImage(str(path))
        np.testing.assert_array_equal(sitk.GetArrayFromImage(written), labels)
        for fact in ("GetOrigin", "GetSpacing", "GetDirection"):
            np.testing.assert_allclose(getattr(written, fact)(), getattr(image, fact)(), atol=1e-5)
        if suffix.startswith(".nii"):
            ours, theirs = nibabel.load(path), nibabel.load(source)
            np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-4)
            np.testing.assert_array_equal(np.asarray(ours.dataobj), labels.T)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_oblique_labels_return_to_the_same_place(tmp_path: Path, suffix: str) -> None:
    image = sitk_image(np.zeros((3, 4, 5), np.int16), (0.7, 0.8, 2.5), oblique=True)
    sitk.WriteImage(image, str(tmp_path / "image.nrrd"))
    volume = read(tmp_path / "image.nrrd")
    path = write_labels(tmp_path / f"out{suffix}", np.ones((3, 4, 5), np.uint8), volume)
    again = read(path)
    assert again.geometry is not None
    assert volume.geometry is not None
    np.testing.assert_allclose(again.geometry.origin, volume.geometry.origin, atol=1e-5)
    np.testing.assert_allclose(again.geometry.direction, volume.geometry.direction, atol=1e-5)
    np.testing.assert_allclose(again.spacing, volume.spacing, rtol=1e-6)


def test_labels_of_a_time_series(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.zeros((5, 4, 3, 2), np.int16), np.diag([-2, -2, 3, 1]))
    image.header.set_xyzt_units("mm", "sec")
    image.header["pixdim"][4] = 0.5
    nibabel.save(image, tmp_path / "image.nii")
    volume = read(tmp_path / "image.nii")
    labels = np.arange(120).reshape(2, 3, 4, 5)
    path = write_labels(tmp_path / "labels.nii.gz", labels, volume)
    written = nibabel.load(path)
    np.testing.assert_array_equal(np.asarray(written.dataobj), labels.T)
    np.testing.assert_allclose(written.affine, image.affine)
    assert written.header.get_zooms() == (2, 2, 3, 0.5)


def test_micrometres_are_written_as_millimetres(tmp_path: Path) -> None:
    volume = Volume(np.zeros((3, 4, 5)), "zyx", (2.0, 0.5, 0.25), ("um", "um", "um"))
    for suffix in (".nii.gz", ".nrrd", ".mha"):
        path = write_labels(tmp_path / f"a{suffix}", np.ones((3, 4, 5), np.uint8), volume)
        np.testing.assert_allclose(read(path).spacing, (2e-3, 5e-4, 2.5e-4), rtol=1e-6)


def test_labels_of_a_colour_volume_have_no_colour(tmp_path: Path) -> None:
    volume = Volume(np.zeros((4, 6, 7, 3), np.uint8), axes="tyxc", spacing=(0.04, 1, 1))
    path = write_labels(tmp_path / "labels.nii.gz", np.ones((4, 6, 7), bool), volume)
    assert nibabel.load(path).shape == (7, 6, 4)
