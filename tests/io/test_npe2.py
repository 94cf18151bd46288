"""The manifest, and what napari makes of it: samples, reader, writer."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import tifffile

import napari_medsam2
from napari_medsam2.errors import ReadError
from napari_medsam2.io import read
from napari_medsam2.io.readers import get_reader
from napari_medsam2.io.writers import write_layer
from napari_medsam2.volume import Volume

if TYPE_CHECKING:
    from collections.abc import Iterator

    from napari.components import ViewerModel
    from npe2 import PluginManager

MANIFEST = Path(napari_medsam2.__file__).parent / "napari.yaml"


@pytest.fixture
def manager() -> Iterator[PluginManager]:
    """Give npe2's manager, knowing this plugin whether or not it is installed."""
    from npe2 import PluginManager, PluginManifest

    found = PluginManager.instance()
    known = "napari-medsam2" in found._manifests
    if not known:
        found.register(PluginManifest.from_file(MANIFEST))
    yield found
    if not known:
        found.unregister("napari-medsam2")


@pytest.fixture
def viewer(manager: PluginManager) -> ViewerModel:
    from napari.components import ViewerModel

    return ViewerModel()


class TestManifest:
    def test_every_command_leads_somewhere_in_io(self, manager: PluginManager) -> None:
        commands = manager.get_manifest("napari-medsam2").contributions.commands
        assert commands
        for command in commands:
            if command.python_name and ".io." in command.python_name:
                assert callable(manager.commands.get(command.id))

    def test_menu_and_widget(self, manager: PluginManager) -> None:
        contributions = manager.get_manifest("napari-medsam2").contributions
        assert contributions.widgets
        assert [w.display_name for w in contributions.widgets] == ["MedSAM2"]
        assert contributions.menus
        [item] = contributions.menus["napari/layers/segment"]
        assert item.command == contributions.widgets[0].command  # type: ignore[union-attr]

    @pytest.mark.parametrize(
        "name",
        ["a.nii", "a.nii.gz", "a.nrrd", "a.nhdr", "a.mha", "a.mhd", "a.dcm", "a.tif", "a.npz"],
    )
    def test_reader_is_asked_for(self, manager: PluginManager, name: str) -> None:
        asked = [r.plugin_name for r in manager.iter_compatible_readers([name])]
        assert "napari-medsam2" in asked


class TestSamples:
    @pytest.mark.parametrize(
        ("key", "shapes"),
        [
            ("echocardiogram", [(30, 240, 320, 3)]),
            ("phantom", [(40, 192, 192)] * 2),
            ("cells", [(24, 256, 256)] * 2),
        ],
    )
    def test_open_sample(
        self, viewer: ViewerModel, key: str, shapes: list[tuple[int, ...]]
    ) -> None:
        viewer.open_sample("napari-medsam2", key)
        assert [layer.data.shape for layer in viewer.layers] == shapes
        image = viewer.layers[0]
        assert image.metadata["napari_medsam2"]["volume"].shape == shapes[0]
        for truth in list(viewer.layers)[1:]:
            assert not truth.visible
            assert truth.name == f"{key} truth"
            np.testing.assert_array_equal(truth.scale, image.scale)
            assert truth.units == image.units


class TestReader:
    def test_layer_carries_spacing_units_axes_and_volume(
        self, viewer: ViewerModel, tmp_path: Path
    ) -> None:
        image = sitk.GetImageFromArray(np.arange(60, dtype=np.int16).reshape(3, 4, 5))
        image.SetSpacing((0.5, 0.75, 2))
        sitk.WriteImage(image, str(tmp_path / "ct.nrrd"))
        [layer] = viewer.open(tmp_path / "ct.nrrd", plugin="napari-medsam2")
        assert layer.name == "ct"
        np.testing.assert_array_equal(layer.scale, (2, 0.75, 0.5))
        assert [str(u) for u in layer.units] == ["millimeter"] * 3
        assert layer.axis_labels == ("z", "y", "x")
        volume = layer.metadata["napari_medsam2"]["volume"]
        assert volume.data is layer.data
        # Percentiles without the extremes.
        np.testing.assert_allclose(layer.contrast_limits, np.percentile(np.arange(60), (0.5, 99.5)))

    def test_a_tiff_stays_lazy(self, viewer: ViewerModel, tmp_path: Path) -> None:
        import zarr

        tifffile.imwrite(tmp_path / "a.tif", np.eye(8, dtype=np.uint8)[None].repeat(5, 0))
        [layer] = viewer.open(tmp_path / "a.tif", plugin="napari-medsam2")
        assert isinstance(layer.data, zarr.Array)

    def test_channels_become_layers(self, viewer: ViewerModel, tmp_path: Path) -> None:
        array = np.random.default_rng(0).integers(0, 99, (4, 2, 8, 9)).astype(np.uint16)
        tifffile.imwrite(tmp_path / "a.tif", array, imagej=True, metadata={"axes": "TCYX"})
        layers = viewer.open(tmp_path / "a.tif", plugin="napari-medsam2")
        assert [layer.name for layer in layers] == ["a channel 0", "a channel 1"]
        for i, layer in enumerate(layers):
            np.testing.assert_array_equal(np.asarray(layer.data), array[:, i])
            volume = layer.metadata["napari_medsam2"]["volume"]
            assert volume.axes == "tyx"
            np.testing.assert_array_equal(volume.stack().frame(3), array[3, i])

    def test_channel_layers_know_the_whole(self, viewer: ViewerModel, tmp_path: Path) -> None:
        array = np.random.default_rng(0).integers(0, 99, (4, 3, 8, 9)).astype(np.uint16)
        tifffile.imwrite(
            tmp_path / "a.ome.tif", array, photometric="minisblack",
            metadata={"axes": "ZCYX", "PhysicalSizeZ": 2.5, "PhysicalSizeX": 0.5,
                      "PhysicalSizeY": 0.5},
        )  # fmt: skip
        layers = viewer.open(tmp_path / "a.ome.tif", plugin="napari-medsam2")
        assert [layer.blending for layer in layers] == ["additive"] * 3
        assert [layer.colormap.name for layer in layers] == ["red", "green", "blue"]
        for i, layer in enumerate(layers):
            np.testing.assert_array_equal(layer.scale, (2.5, 0.5, 0.5))
            known = layer.metadata["napari_medsam2"]
            assert known["channel"] == i
            assert known["whole"] is layers[0].metadata["napari_medsam2"]["whole"]
            assert known["whole"].source == str(tmp_path / "a.ome.tif")
            assert known["volume"].spacing == (2.5, 0.5, 0.5)

    def test_a_pyramid_becomes_a_multiscale_layer(
        self, viewer: ViewerModel, tmp_path: Path
    ) -> None:
        full = np.random.default_rng(0).integers(0, 99, (2, 128, 96)).astype(np.uint16)
        with tifffile.TiffWriter(tmp_path / "a.ome.tif", ome=True) as tif:
            options = {"photometric": "minisblack", "tile": (64, 64), "metadata": {"axes": "CYX"}}
            tif.write(full, subifds=1, **options)
            tif.write(full[:, ::2, ::2], subfiletype=1, **options)
        layers = viewer.open(tmp_path / "a.ome.tif", plugin="napari-medsam2")
        assert [layer.multiscale for layer in layers] == [True, True]
        for i, layer in enumerate(layers):
            assert [level.shape for level in layer.data] == [(128, 96), (64, 48)]
            np.testing.assert_array_equal(np.asarray(layer.data[1]), full[i, ::2, ::2])

    def test_a_constant_image_opens_all_the_same(self, viewer: ViewerModel, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", image=np.zeros((3, 4, 5), np.uint8))
        assert len(viewer.open(tmp_path / "a.npz", plugin="napari-medsam2")) == 1

    def test_folders(self, shared_data: Path, tmp_path: Path) -> None:
        assert get_reader(str(tmp_path)) is None
        (tmp_path / "note.txt").write_text("x")
        assert get_reader(str(tmp_path)) is None
        assert get_reader([str(tmp_path)]) is None
        folder = str(shared_data / "formats" / "ct_dicom_series")
        reader = get_reader(folder)
        assert reader is not None
        [(data, kwargs, kind)] = reader(folder)
        assert kind == "image"
        assert data.shape == (20, 512, 512)
        assert kwargs["contrast_limits"] == (-110, 190)

    def test_a_damaged_file_says_so(self, viewer: ViewerModel, tmp_path: Path) -> None:
        (tmp_path / "a.nii").touch()
        with pytest.raises(ReadError, match=r"a\.nii: the file is empty"):
            viewer.open(tmp_path / "a.nii", plugin="napari-medsam2")


class TestWriter:
    def test_geometry_of_the_image_returns(self, viewer: ViewerModel, tmp_path: Path) -> None:
        viewer.open_sample("napari-medsam2", "phantom")
        truth = viewer.layers["phantom truth"]
        for suffix in (".nii.gz", ".nrrd", ".mha"):
            path = tmp_path / f"out{suffix}"
            assert truth.save(str(path), plugin="napari-medsam2") == [str(path)]
            written = sitk.ReadImage(str(path))
            np.testing.assert_array_equal(sitk.GetArrayFromImage(written), truth.data)
            np.testing.assert_allclose(written.GetSpacing(), (1.8, 1.8, 3.0), rtol=1e-6)
            np.testing.assert_allclose(written.GetOrigin(), (-171.9, -171.9, -58.5), rtol=1e-6)

    def test_a_layer_of_unknown_origin(self, viewer: ViewerModel, tmp_path: Path) -> None:
        layer = viewer.add_labels(
            np.ones((3, 4, 5), int),
            scale=(2, 0.5, 0.5),
            units=("um",) * 3,
            axis_labels=tuple("zyx"),
        )
        [path] = layer.save(str(tmp_path / "a.tif"), plugin="napari-medsam2")
        again = read(path)
        assert (again.axes, again.spacing, again.units) == ("zyx", (2, 0.5, 0.5), ("um",) * 3)

    def test_an_older_file_is_replaced(self, tmp_path: Path) -> None:
        (tmp_path / "a.npy").write_text("old")
        [path] = write_layer(str(tmp_path / "a.npy"), np.eye(4, dtype=int), {"scale": [1, 1]})
        np.testing.assert_array_equal(np.load(path), np.eye(4))

    def test_a_volume_of_another_shape_is_not_believed(self, tmp_path: Path) -> None:
        volume = Volume(np.zeros((9, 9, 9)), spacing=(5, 5, 5))
        attributes = {"scale": [1, 2, 3], "metadata": {"napari_medsam2": {"volume": volume}}}
        [path] = write_layer(str(tmp_path / "a.mha"), np.ones((2, 3, 4), int), attributes)
        assert sitk.ReadImage(path).GetSpacing() == (3, 2, 1)
