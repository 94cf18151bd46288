"""Weights from files: nothing that could run code, nothing that only half fits."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from contextlib import suppress
from dataclasses import replace

import pytest
import torch

from napari_medsam2 import models
from napari_medsam2.errors import CheckpointError
from napari_medsam2.models.checkpoints import load_state, load_strict


class Harmful:
    """Pickles to a call that would create a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


class TestLoadState:
    @pytest.mark.parametrize("zipped", [True, False], ids=["zip", "pickle"])
    @pytest.mark.parametrize("key", ["model", "epoch"])
    def test_a_pickle_with_code_in_it_is_refused_and_not_run(self, tmp_path, zipped, key):
        content = {"model": {"a": torch.ones(2)}, key: Harmful(tmp_path / "proof")}
        path = tmp_path / "bad.pth"
        torch.save(content, path, _use_new_zipfile_serialization=zipped)
        with pytest.raises(CheckpointError, match=r"bad\.pth: refused"):
            load_state(path)
        assert not (tmp_path / "proof").exists()

    def test_the_harmful_file_would_have_done_it(self, tmp_path):
        torch.save({"model": Harmful(tmp_path / "proof")}, tmp_path / "bad.pth")
        torch.load(tmp_path / "bad.pth", weights_only=False)["model"].close()
        assert (tmp_path / "proof").exists()

    def test_a_whole_network_is_refused(self, tmp_path):
        torch.save(torch.nn.Linear(2, 2), tmp_path / "network.pt")
        with pytest.raises(CheckpointError, match="save its state_dict alone"):
            load_state(tmp_path / "network.pt")

    def test_truncated_and_foreign_files_are_refused(self, tmp_path):
        torch.save({"a": torch.zeros(100)}, tmp_path / "whole.pth")
        whole = (tmp_path / "whole.pth").read_bytes()
        for name, content in (
            ("cut.pth", whole[: len(whole) // 2]),
            ("cut.safetensors", b"\x90\0\0\0\0\0\0\0{"),
            ("empty.pth", b""),
            ("empty.safetensors", b""),
            ("text.pth", b"hello, this is no checkpoint"),
        ):
            (tmp_path / name).write_bytes(content)
            with pytest.raises(CheckpointError, match=name):
                load_state(tmp_path / name)

    def test_a_damaged_pickle_is_refused(self, tmp_path):
        path = tmp_path / "old.pth"
        torch.save({"a": torch.zeros(3)}, path, _use_new_zipfile_serialization=False)
        whole = path.read_bytes()
        for place in range(0, len(whole), 7):
            path.write_bytes(whole[:place] + b"\xee" + whole[place + 1 :])
            # Damage to the numbers themselves is found by the hash.
            with suppress(CheckpointError):
                load_state(path)

    def test_no_such_file(self, tmp_path):
        with pytest.raises(CheckpointError, match="no such file"):
            load_state(tmp_path / "gone.pth")

    @pytest.mark.parametrize(
        "content", [[1, 2, 3], {}, {"model": {}}, {"a": 1}, {"model": {1: torch.ones(1)}}]
    )
    def test_anything_but_named_tensors_is_refused(self, tmp_path, content):
        torch.save(content, tmp_path / "list.pth")
        with pytest.raises(CheckpointError, match="no state dict"):
            load_state(tmp_path / "list.pth")

    @pytest.mark.parametrize("keys", [(), ("model",), ("state_dict",), ("model", "state_dict")])
    def test_a_state_dict_is_found_where_it_is_kept(self, tmp_path, keys):
        content = state = {"a": torch.ones(2)}
        for key in reversed(keys):
            content = {key: content, "epoch": 3}
        torch.save(content, tmp_path / "w.pt")
        assert torch.equal(load_state(tmp_path / "w.pt")["a"], state["a"])

    def test_safetensors(self, tmp_path):
        save_file = pytest.importorskip("safetensors.torch").save_file
        save_file({"a": torch.arange(3.0)}, tmp_path / "w.safetensors")
        assert load_state(tmp_path / "w.safetensors")["a"].tolist() == [0, 1, 2]


class TestLoadStrict:
    def network(self) -> torch.nn.Module:
        layers = [(f"layer{i}", torch.nn.Linear(2, 3)) for i in range(5)]
        return torch.nn.Sequential(OrderedDict(layers))

    def refused(self, state, tmp_path) -> str:
        with pytest.raises(CheckpointError) as caught:
            load_strict(self.network(), state, tmp_path / "w.pt", "toy")
        said = str(caught.value)
        assert said.startswith("toy: w.pt is a checkpoint of another architecture or version (")
        assert "\n" not in said
        return said

    def test_what_fits_is_loaded(self, tmp_path):
        state = {key: torch.ones_like(value) for key, value in self.network().state_dict().items()}
        network = self.network()
        load_strict(network, state, tmp_path / "w.pt", "toy")
        assert all((value == 1).all() for value in network.state_dict().values())

    def test_missing_keys(self, tmp_path):
        state = self.network().state_dict()
        del state["layer1.bias"]
        said = self.refused(state, tmp_path)
        assert "(1 missing: layer1.bias);" in said

    def test_another_architecture_names_a_few_of_each(self, tmp_path):
        state = {f"other{i}.weight": torch.ones(1) for i in range(4)}
        state["layer0.weight"] = torch.ones(7, 2)
        said = self.refused(state, tmp_path)
        assert "9 missing: layer0.bias, layer1.weight, layer1.bias, ...;" in said
        assert "4 unexpected: other0.weight, other1.weight, other2.weight, ...;" in said
        assert "1 of another shape: layer0.weight (7, 2) instead of (3, 2))" in said
        assert said.endswith("choose the model that it was made for")

    def test_weights_of_sam2_for_litemedsam(self, tmp_path):
        path = tmp_path / "sam.pt"
        torch.save({"model": {"image_encoder.trunk.pos_embed": torch.ones(1, 96, 7, 7)}}, path)
        with pytest.raises(CheckpointError, match=r"litemedsam: sam\.pt is a checkpoint of anoth"):
            models.build("litemedsam", checkpoint=path)


class TestFirstUse:
    """A file without a published hash that somebody has put there by hand."""

    @pytest.fixture
    def card(self, monkeypatch, tmp_path):
        monkeypatch.setenv("NAPARI_MEDSAM2_MODELS", str(tmp_path))
        card = models.get("medsam2_latest")
        torch.save({"model": {"a": torch.ones(2)}}, card.path)
        return card

    def memory(self, card):
        return card.path.with_name("MedSAM2_latest.pt.sha256")

    def test_it_is_remembered_and_held_to(self, card):
        assert card.verify() == card.path
        whole = card.path.read_bytes()
        assert hashlib.sha256(whole).hexdigest() in self.memory(card).read_text()
        assert f"# {len(whole)} bytes\n" in self.memory(card).read_text()
        card.verify()
        card.path.write_bytes(whole[:-1])
        with pytest.raises(CheckpointError, match=f"expected {len(whole)}; it is cut off"):
            card.verify()
        card.path.write_bytes(whole[:-1] + b"x")
        with pytest.raises(CheckpointError, match=r"as first seen, see MedSAM2_latest\.pt\.sha256"):
            card.verify()

    def test_a_copy_that_is_cut_off_is_not_trusted(self, card):
        card.path.write_bytes(card.path.read_bytes()[:-10])
        with pytest.raises(CheckpointError, match="is cut off: run `napari-medsam2 models pull"):
            card.verify()
        assert not self.memory(card).exists()

    def test_a_memory_that_is_no_longer_one(self, card):
        self.memory(card).write_text("gone")
        with pytest.raises(CheckpointError, match="does not hold a size and a SHA-256; delete it"):
            card.verify()

    def test_a_memory_brought_along_counts(self, card):
        self.memory(card).write_text(
            f"# {card.path.stat().st_size} bytes\n{'0' * 64}  MedSAM2_latest.pt\n"
        )
        with pytest.raises(CheckpointError, match=f"expected {'0' * 64}"):
            card.verify()

    def test_a_published_hash_needs_no_memory(self, card):
        content = card.path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        replace(card, bytes=len(content), sha256=sha256).verify()
        assert not self.memory(card).exists()
