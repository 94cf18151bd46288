"""DICOM: files of pydicom and datasets made with it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813
from pydicom import examples
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from napari_medsam2.errors import ReadError
from napari_medsam2.io import read


def make(path: Path, pixels: np.ndarray, **values: Any) -> Path:
    """Write a DICOM file; values of None leave an element out."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    colour = pixels.ndim > 2 and pixels.shape[-1] == 3
    stored: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "SeriesInstanceUID": "1.2.3",
        "Modality": "CT",
        "PatientName": "Secret^Person",
        "Rows": pixels.shape[-3 + (not colour)],
        "Columns": pixels.shape[-2 + (not colour)],
        "SamplesPerPixel": 3 if colour else 1,
        "PhotometricInterpretation": "RGB" if colour else "MONOCHROME2",
        "PlanarConfiguration": 0 if colour else None,
        "BitsAllocated": pixels.dtype.itemsize * 8,
        "BitsStored": pixels.dtype.itemsize * 8,
        "HighBit": pixels.dtype.itemsize * 8 - 1,
        "PixelRepresentation": int(pixels.dtype.kind == "i"),
        "NumberOfFrames": len(pixels) if pixels.ndim == 3 + colour else None,
        "PixelData": pixels.tobytes(),
    }
    for key, value in (stored | values).items():
        if value is not None:
            setattr(dataset, key, value)
    dataset.save_as(path, enforce_file_format=True)
    return path


def slices(folder: Path, heights: list[float], uid: str = "1.2.3", **values: Any) -> None:
    """Write slices whose pixels all hold ten times their height."""
    folder.mkdir(exist_ok=True)
    for i, z in enumerate(heights):
        make(
            folder / f"{uid}-{len(heights) - i:03}",
            np.full((4, 5), round(10 * z), np.int16),
            **{
                "SeriesInstanceUID": uid,
                "InstanceNumber": i,
                "ImagePositionPatient": [1, 2, z],
                "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
                "PixelSpacing": [0.5, 0.25],
                "SliceThickness": 5,
                **values,
            },
        )


class TestSeries:
    def test_slices_are_sorted_by_position(self, tmp_path: Path) -> None:
        slices(tmp_path / "ct", [30, 10, 20, 0])
        volume = read(tmp_path / "ct")
        assert volume.axes == "zyx"
        assert volume.spacing == (10, 0.5, 0.25)
        assert volume.units == ("mm", "mm", "mm")
        assert volume.modality == "CT"
        assert volume.name == "ct"
        np.testing.assert_array_equal(volume.data[:, 0, 0], (0, 100, 200, 300))
        assert volume.geometry is not None
        assert volume.geometry.origin == (1, 2, 0)

    def test_nothing_about_the_patient_is_kept(self, tmp_path: Path) -> None:
        slices(tmp_path / "ct", [0, 1])
        assert "Secret" not in repr(vars(read(tmp_path / "ct")))

    def test_sagittal_slices(self, tmp_path: Path) -> None:
        for x in (3, 1, 2):
            make(
                tmp_path / f"{x}.dcm",
                np.full((4, 5), x, np.uint16),
                ImagePositionPatient=[-x, 0, 0],
                ImageOrientationPatient=[0, 1, 0, 0, 0, -1],
                PixelSpacing=[1, 1],
            )
        volume = read(tmp_path)
        # The normal of these rows and columns is -x.
        np.testing.assert_array_equal(volume.data[:, 0, 0], (1, 2, 3))
        assert volume.geometry is not None
        assert volume.geometry.origin == (-1, 0, 0)
        np.testing.assert_array_equal(
            np.reshape(volume.geometry.direction, (3, 3)), [[0, 0, -1], [1, 0, 0], [0, -1, 0]]
        )

    def test_several_series_are_listed_and_chosen(self, tmp_path: Path) -> None:
        slices(tmp_path, [0, 1, 2], uid="1.2.3", SeriesNumber=2, SeriesDescription="thin")
        slices(tmp_path, [0, 5], uid="1.2.4", SeriesNumber=1)
        listed = "series=1: CT 2 slices of 4 x 5; series=2: CT 'thin' 3 slices of 4 x 5"
        with pytest.raises(ReadError, match=f"holds 2 series; choose one: {listed}$"):
            read(tmp_path)
        assert read(tmp_path, series=1).shape == (2, 4, 5)
        assert read(tmp_path, series="1.2.3").shape == (3, 4, 5)
        with pytest.raises(ReadError, match="no single series 3"):
            read(tmp_path, series=3)

    def test_a_localizer_in_the_same_series_is_another_stack(self, tmp_path: Path) -> None:
        slices(tmp_path, [0, 1, 2])
        make(
            tmp_path / "scout.dcm",
            np.zeros((4, 5), np.int16),
            ImagePositionPatient=[0, 0, 0],
            ImageOrientationPatient=[0, 1, 0, 0, 0, -1],
        )
        with pytest.raises(ReadError, match="holds 2 series"):
            read(tmp_path)

    def test_a_missing_slice_is_told(self, tmp_path: Path) -> None:
        slices(tmp_path, [0, 1, 2, 4])
        with pytest.warns(UserWarning, match="varies from 1 to 2 mm"):
            volume = read(tmp_path)
        assert volume.spacing[0] == pytest.approx(4 / 3)

    def test_a_tilted_gantry_is_told(self, tmp_path: Path) -> None:
        for z in range(3):
            slices(tmp_path, [z], uid="1.2", InstanceNumber=z, ImagePositionPatient=[0, z / 2, z])
            (tmp_path / "1.2-001").rename(tmp_path / f"{z}.dcm")
        with pytest.warns(UserWarning, match="tilted"):
            read(tmp_path)

    def test_repeated_positions_make_time(self, tmp_path: Path) -> None:
        for t in range(3):
            for z in (1, 0):
                make(
                    tmp_path / f"{z}{t}",
                    np.full((4, 5), 10 * t + z, np.uint8),
                    ImagePositionPatient=[0, 0, z],
                    ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
                    PixelSpacing=[1, 1],
                    TemporalPositionIdentifier=t + 1,
                )
        volume = read(tmp_path)
        assert volume.axes == "tzyx"
        np.testing.assert_array_equal(volume.data[..., 0, 0], [[0, 1], [10, 11], [20, 21]])

    def test_uneven_repeats_are_refused(self, tmp_path: Path) -> None:
        slices(tmp_path, [0, 1, 1, 2])
        with pytest.raises(ReadError, match="4 slices at 3 positions, unevenly repeated"):
            read(tmp_path)

    def test_other_files_in_the_folder_do_not_matter(self, tmp_path: Path) -> None:
        slices(tmp_path, [0, 1])
        (tmp_path / "notes.txt").write_text("not DICOM")
        (tmp_path / "README").write_text("nor this")
        (tmp_path / "thumb.dcm").write_bytes(b"\x00\x01")
        assert read(tmp_path).shape == (2, 4, 5)

    def test_a_folder_without_dicom(self, tmp_path: Path) -> None:
        (tmp_path / "a" / "b").mkdir(parents=True)
        with pytest.raises(
            ReadError, match=r"^a: the folder holds no DICOM images; open one of its sub"
        ):
            read(tmp_path / "a")
        with pytest.raises(ReadError, match="choose the folder"):
            read(tmp_path / "a" / "b")

    def test_real_series_with_empty_uid(self, shared_data: Path) -> None:
        folder = shared_data / "formats" / "ct_dicom_series"
        volume = read(folder)
        files = [str(p) for p in folder.iterdir()]
        positions = {f: float(pydicom.dcmread(f).ImagePositionPatient[2]) for f in files}
        itk = sitk.ReadImage(sorted(files, key=lambda f: positions[f]))
        np.testing.assert_array_equal(volume.data, sitk.GetArrayFromImage(itk))
        assert volume.dtype == np.int16
        np.testing.assert_allclose(volume.spacing, itk.GetSpacing()[::-1])
        assert volume.geometry is not None
        np.testing.assert_allclose(volume.geometry.origin, itk.GetOrigin())
        np.testing.assert_allclose(volume.geometry.direction, itk.GetDirection())
        assert volume.display == (40 - 150, 40 + 150)


class TestOneFile:
    def test_a_slice_with_a_position_is_a_volume_of_one_slice(self, tmp_path: Path) -> None:
        slices(tmp_path, [7])
        volume = read(tmp_path / "1.2.3-001")
        assert (volume.axes, volume.shape) == ("zyx", (1, 4, 5))
        assert volume.spacing == (5, 0.5, 0.25)

    @pytest.mark.parametrize(
        ("slope", "intercept", "dtype", "expected"),
        [
            (1, -1024, np.int16, -1004),
            (2, 0, np.int16, 40),
            (1, 70_000, np.int32, 70_020),
            (0.5, 0.25, np.float32, 10.25),
        ],
    )
    def test_rescaling(
        self, tmp_path: Path, slope: float, intercept: float, dtype: type, expected: float
    ) -> None:
        slices(tmp_path, [2], RescaleSlope=slope, RescaleIntercept=intercept)
        volume = read(tmp_path / "1.2.3-001")
        assert volume.dtype == dtype
        assert volume.data[0, 0, 0] == expected

    def test_monochrome1_is_turned_bright(self, tmp_path: Path) -> None:
        path = make(
            tmp_path / "xray.dcm",
            np.array([[0, 1000], [4000, 4095]], np.uint16),
            BitsStored=12,
            HighBit=11,
            PhotometricInterpretation="MONOCHROME1",
            ImagerPixelSpacing=[0.2, 0.1],
            WindowCenter=1000,
            WindowWidth=200,
        )
        volume = read(path)
        assert (volume.axes, volume.spacing) == ("yx", (0.2, 0.1))
        np.testing.assert_array_equal(volume.data, [[4095, 3095], [95, 0]])
        assert volume.display == (4095 - 1100, 4095 - 900)

    @pytest.mark.parametrize(
        ("timing", "seconds"),
        [
            ({"FrameTime": 40}, 0.04),
            ({"FrameTimeVector": [0, 20, 60]}, 0.04),
            ({"CineRate": 25}, 0.04),
            ({}, None),
        ],
    )
    def test_cine(self, tmp_path: Path, timing: dict[str, Any], seconds: float | None) -> None:
        frames = np.arange(3 * 4 * 5 * 3, dtype=np.uint8).reshape(3, 4, 5, 3)
        volume = read(make(tmp_path / "cine", frames, Modality="US", **timing))
        assert volume.axes == "tyxc"
        assert volume.spacing[0] == pytest.approx(seconds or 1)
        assert volume.units[0] == ("s" if seconds else "px")
        np.testing.assert_array_equal(volume.data, frames)

    @pytest.mark.parametrize(("right_edge", "spacing", "unit"), [(4, 0.5, "mm"), (9, 1.0, "px")])
    def test_ultrasound_calibration_counts_if_it_is_of_these_pixels(
        self, tmp_path: Path, right_edge: int, spacing: float, unit: str
    ) -> None:
        region = Dataset()
        region.RegionSpatialFormat = 1
        region.PhysicalUnitsXDirection = region.PhysicalUnitsYDirection = 3
        region.PhysicalDeltaX = region.PhysicalDeltaY = 0.05
        region.RegionLocationMinX0 = region.RegionLocationMinY0 = 0
        region.RegionLocationMaxX1, region.RegionLocationMaxY1 = right_edge, 3
        path = make(
            tmp_path / "us",
            np.zeros((4, 5), np.uint8),
            Modality="US",
            SequenceOfUltrasoundRegions=[region],
        )
        volume = read(path)
        assert volume.spacing == pytest.approx((spacing, spacing))
        assert volume.units == (unit, unit)

    def test_enhanced_volume_with_a_scale_for_each_frame(self, tmp_path: Path) -> None:
        groups = []
        for z, slope in ((4, 1), (0, 10), (2, 100)):
            position, scale, frame = Dataset(), Dataset(), Dataset()
            position.ImagePositionPatient = [0, 0, z]
            scale.RescaleSlope, scale.RescaleIntercept = slope, 0
            frame.PlanePositionSequence = [position]
            frame.PixelValueTransformationSequence = [scale]
            groups.append(frame)
        orientation, measures, shared = Dataset(), Dataset(), Dataset()
        orientation.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        measures.PixelSpacing = [0.5, 0.5]
        shared.PlaneOrientationSequence = [orientation]
        shared.PixelMeasuresSequence = [measures]
        path = make(
            tmp_path / "enhanced",
            np.full((3, 4, 5), 3, np.uint16),
            SharedFunctionalGroupsSequence=[shared],
            PerFrameFunctionalGroupsSequence=groups,
        )
        volume = read(path)
        assert volume.axes == "zyx"
        assert volume.spacing == (2, 0.5, 0.5)
        np.testing.assert_array_equal(volume.data[:, 0, 0], (30, 300, 3))

    def test_echocardiogram_of_pydicom(self) -> None:
        volume = read(examples.get_path("ybr_color"))
        assert (volume.axes, volume.shape) == ("tyxc", (30, 240, 320, 3))
        assert volume.spacing == pytest.approx((0.033333, 1, 1))
        assert volume.modality == "US"
        # The sector is grey in RGB, but would not be in YBR (128 in both colour planes).
        middle = np.asarray(volume.data[0, 100, 150]).astype(int)
        assert np.ptp(middle) <= 8

    def test_palette(self) -> None:
        volume = read(examples.get_path("palette_color"))
        assert (volume.axes, volume.dtype) == ("yxc", np.uint8)

    @pytest.mark.parametrize(
        "name", ["MR_small_jpeg_ls_lossless.dcm", "MR_small_jp2klossless.dcm", "MR_small_RLE.dcm"]
    )
    def test_compressed_pixels_are_exact(self, name: str) -> None:
        plain = read(get_testdata_file("MR_small.dcm"))
        np.testing.assert_array_equal(read(get_testdata_file(name)).data, plain.data)

    def test_a_tiff_header_in_the_preamble_does_not_deceive(self) -> None:
        path = Path(get_testdata_file("CT_small.dcm"))
        assert path.read_bytes()[:4] == b"II*\0"
        assert read(path).metadata["format"] == "DICOM"

    def test_without_preamble(self, tmp_path: Path) -> None:
        source = pydicom.dcmread(get_testdata_file("MR_small.dcm"))
        dataset = Dataset({e.tag: e for e in source})
        dataset.save_as(tmp_path / "bare", implicit_vr=True, little_endian=True)
        assert (tmp_path / "bare").read_bytes()[128:132] != b"DICM"
        np.testing.assert_array_equal(read(tmp_path / "bare").data[0], source.pixel_array)

    def test_truncated(self, tmp_path: Path) -> None:
        shutil.copy(get_testdata_file("MR_truncated.dcm"), tmp_path)
        with pytest.raises(ReadError, match=r"^MR_truncated.dcm: cannot be read as DICOM.*8130"):
            read(tmp_path / "MR_truncated.dcm")

    def test_without_image(self) -> None:
        with pytest.raises(
            ReadError, match=r"rtplan.dcm: is a DICOM file without an image \(RTPLAN"
        ):
            read(get_testdata_file("rtplan.dcm"))
