"""Sample data: what they promise, measured."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from napari_medsam2.io.samples import (
    CELL_DIVISION_FRAMES,
    ECHO_LEFT_VENTRICLE,
    PHANTOM_NAMES,
    cells,
    echocardiogram,
    phantom,
)


class TestEchocardiogram:
    def test_is_a_colour_cine(self) -> None:
        volume = echocardiogram()
        assert (volume.axes, volume.shape, volume.name) == (
            "tyxc",
            (30, 240, 320, 3),
            "echocardiogram",
        )
        assert volume.units == ("s", "px", "px")
        assert volume.spacing[0] == pytest.approx(1 / 30, rel=1e-3)

    def test_the_box_holds_a_dark_cavity_between_bright_walls(self) -> None:
        frame, (y0, x0, y1, x1) = ECHO_LEFT_VENTRICLE
        grey = echocardiogram().stack().frame(frame).mean(axis=-1)
        rows, columns = slice(y0 + 15, y1 - 15), slice(x0 + 15, x1 - 15)
        cavity = grey[rows, columns].mean()
        septum, lateral = grey[rows, x0 - 8 : x0].mean(), grey[rows, x1 : x1 + 8].mean()
        assert cavity < 0.6 * min(septum, lateral)


@pytest.fixture(scope="module")
def made() -> tuple[np.ndarray, np.ndarray]:
    volume, labels = phantom()
    return np.asarray(volume.data).astype(float), labels


class TestPhantom:
    def test_what_it_says_of_itself(self) -> None:
        volume, labels = phantom()
        assert (volume.axes, volume.shape, volume.dtype) == ("zyx", (40, 192, 192), np.int16)
        assert volume.spacing == (3.0, 1.8, 1.8)
        assert volume.modality == "CT"
        assert labels.dtype == np.uint8
        assert set(np.unique(labels)) == {0, *PHANTOM_NAMES}

    @pytest.mark.parametrize(
        ("name", "hu"),
        [
            ("liver", 110),
            ("spleen", 130),
            ("right kidney", 180),
            ("left kidney", 180),
            ("aorta", 220),
            ("gallbladder", 12),
            ("liver lesion", 60),
        ],
    )
    def test_hounsfield_units_and_noise_inside(
        self, made: tuple[np.ndarray, np.ndarray], name: str, hu: float
    ) -> None:
        image, labels = made
        label = next(i for i, n in PHANTOM_NAMES.items() if n == name)
        values = image[ndimage.binary_erosion(labels == label, iterations=2)]
        assert values.mean() == pytest.approx(hu, abs=6)
        assert values.std() == pytest.approx(15, abs=4)

    @pytest.mark.parametrize("label", PHANTOM_NAMES)
    def test_every_object_is_one_piece(
        self, made: tuple[np.ndarray, np.ndarray], label: int
    ) -> None:
        _, labels = made
        pieces, count = ndimage.label(labels == label)
        assert np.bincount(pieces.ravel())[1:].max() > 0.98 * (labels == label).sum(), count

    def test_organs_begin_and_end_within(self, made: tuple[np.ndarray, np.ndarray]) -> None:
        _, labels = made
        through = {n for i, n in PHANTOM_NAMES.items() if i in labels[0] and i in labels[-1]}
        assert through == {"aorta", "spine"}
        assert set(np.unique(labels[[0, -1]])) - {0} == {5, 6}

    def test_edges_are_between_the_tissues(self, made: tuple[np.ndarray, np.ndarray]) -> None:
        image, labels = made
        kidney = labels == 4
        edge = kidney & ~ndimage.binary_erosion(kidney)
        inside = image[ndimage.binary_erosion(kidney, iterations=2)].mean()
        assert 20 < image[edge].mean() < inside - 20

    def test_the_seed_changes_noise_alone(self) -> None:
        (a, truth), (b, same), (c, _) = phantom(), phantom(seed=1), phantom()
        np.testing.assert_array_equal(truth, same)
        np.testing.assert_array_equal(a.data, c.data)
        assert (np.asarray(a.data) != np.asarray(b.data)).mean() > 0.5


class TestCells:
    def test_what_it_says_of_itself(self) -> None:
        volume, labels = cells()
        assert (volume.axes, volume.shape, volume.dtype) == ("tyx", (24, 256, 256), np.uint16)
        assert volume.units == ("s", "um", "um")
        assert labels.shape == volume.shape

    def test_lineage_says_who_is_where(self) -> None:
        volume, labels = cells()
        lineage = volume.metadata["lineage"]
        assert len(lineage) == 18
        for frame, image in enumerate(labels):
            expected = {i for i, first, last, _ in lineage if first <= frame <= last}
            assert set(np.unique(image)) - {0} == expected

    def test_division(self) -> None:
        volume, labels = cells()
        for mother, frame in CELL_DIVISION_FRAMES.items():
            daughters = [
                i for i, first, _, parent in volume.metadata["lineage"] if parent == mother
            ]
            assert len(daughters) == 2
            assert min(daughters) > labels[:frame].max()
            before = ndimage.center_of_mass(labels[frame - 1] == mother)
            after = ndimage.center_of_mass(np.isin(labels[frame], daughters))
            assert np.hypot(*np.subtract(before, after)) < 8

    def test_cells_are_brighter_than_the_background(self) -> None:
        volume, labels = cells()
        image = np.asarray(volume.data).astype(float)
        background = image[ndimage.binary_dilation(labels > 0, iterations=5) == 0]
        assert background.mean() == pytest.approx(140, abs=1)
        # Poisson noise of 40 photons and read noise of 3.
        assert background.std() == pytest.approx(np.sqrt(40 + 9), rel=0.03)
        for label in np.unique(labels)[1:]:
            inside = ndimage.binary_erosion(labels == label, np.ones((1, 3, 3)))
            assert image[inside].mean() > background.mean() + 4 * background.std()

    def test_seeded(self) -> None:
        np.testing.assert_array_equal(cells()[0].data, cells()[0].data)
        assert (cells()[1] != cells(seed=1)[1]).any()
