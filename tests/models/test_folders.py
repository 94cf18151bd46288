"""Model folders: what is on a card, what is refused, and the list of one's own models."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import multiprocessing
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from tests.own_models import CONFIG_21, few_bytes, of_litemedsam, of_sam2
from tests.tracking.reference import CPU, make_lively

from napari_medsam2 import models
from napari_medsam2.errors import (
    CheckpointError,
    InputError,
    ModelError,
    ReadError,
    WriteError,
)
from napari_medsam2.models.base import FramePrompt
from napari_medsam2.models.cards import story
from napari_medsam2.models.sam2 import SAM2
from napari_medsam2.models.sam2_config import build_network

if TYPE_CHECKING:
    from pathlib import Path

SIZE = 128


@pytest.fixture(autouse=True)
def own_list(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return where the list is kept, in a folder that does not exist yet."""
    monkeypatch.setenv("NAPARI_MEDSAM2_MODELS", str(tmp_path / "models"))
    return tmp_path / "models" / "own.json"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    few_bytes(tmp_path / "livers")
    return tmp_path / "livers"


def edit(folder: Path, **changes: str | None) -> None:
    """Give keys of a card other values, as TOML; None takes a key away."""
    lines = (folder / "card.toml").read_text(encoding="utf-8").splitlines()
    for key, value in changes.items():
        kept = [line for line in lines if not line.startswith(f"{key} =")]
        lines = kept if value is None else [f"{key} = {value}", *kept]
    (folder / "card.toml").write_text("\n".join(lines), encoding="utf-8")


class TestCard:
    def test_what_is_written_is_read(self, tmp_path):
        written = few_bytes(
            tmp_path / "a",
            title='Livers of "Ward 3"',
            data={"cases": 12, "since": date(2025, 1, 2)},
            recipe={"steps": 100, "rate": 1e-4, "augment": {"flip": True}},
            scores={"dice": math.inf},
        )
        read = models.read_card(tmp_path / "a")
        assert read == written == models.get(str(tmp_path / "a")) == models.get(tmp_path / "a")
        assert read.name == read.folder == str(tmp_path / "a")
        assert read.path == tmp_path / "a" / "weights.safetensors"
        assert read.title == 'Livers of "Ward 3"'
        assert (read.family, read.base, read.licence) == ("litemedsam", "litemedsam", "Apache-2.0")
        assert (read.prompts, read.image_size, read.embedding_mb) == (("box",), 256, 2)
        assert read.bytes == 7
        assert read.sha256 == hashlib.sha256(b"weights").hexdigest()
        assert (read.source, read.package, read.config) == (None, None, None)
        assert read.has_weights
        assert read.notes["data"] == {"cases": 12, "since": date(2025, 1, 2)}
        assert read.notes["recipe"]["augment"] == {"flip": True}
        assert hash(read) == hash(written)

    def test_a_card_as_a_person_writes_it(self, tmp_path):
        (tmp_path / "w.pt").write_bytes(b"123")
        (tmp_path / "card.toml").write_text(
            "\ufeff# mine\n"
            "version = 1\ntitle = 'Lesions'\nfamily = 'sam2'\nbase = 'medsam2_latest'\n"
            "summary = 'more lesions'\nlicence = 'CC-BY-SA-4.0'\nprompts = ['box', 'mask']\n"
            "image_size = 512\nembedding_mb = 2.5\nweights = 'w.pt'\nbytes = 3\n"
            f"sha256 = '{hashlib.sha256(b'123').hexdigest()}'\nconfig = '{CONFIG_21}'\n",
            encoding="utf-8",
        )
        card = models.get(tmp_path)
        assert (card.config, card.prompts, card.embedding_mb) == (CONFIG_21, ("box", "mask"), 2.5)
        assert card.verify() == tmp_path / "w.pt"
        assert card.notes == {}
        assert story(card) == ("Made from medsam2_latest",)

    def test_what_it_tells_people(self, folder):
        assert story(models.get(folder)) == (
            "Made from litemedsam",
            "Data: cases 12, source our CT",
            "Scores: dice.before 0.8125, dice.after 0.9",
        )
        long = few_bytes(folder, data={"text": "word " * 99, "sizes": [1, 2]}, scores=None)
        _, data = story(long)
        assert data.endswith("word word…")
        assert len(data) == len("Data: ") + 160
        assert story(models.get("litemedsam")) == ()

    def test_writing_again_replaces_the_card(self, folder):
        (folder / "weights.safetensors").write_bytes(b"other weights")
        models.write_card(
            folder,
            title="New",
            family="litemedsam",
            base="litemedsam",
            summary="s",
            licence="MIT",
            prompts=["box"],
            image_size=256,
            embedding_mb=2,
        )
        card = models.get(folder)
        assert (card.title, card.bytes, card.notes) == ("New", 13, {})
        assert card.verify()
        assert sorted(path.name for path in folder.iterdir()) == [
            "card.toml",
            "weights.safetensors",
        ]

    def test_nothing_is_written_that_could_not_be_read(self, folder, tmp_path):
        before = (folder / "card.toml").read_bytes()
        with pytest.raises(ReadError, match="family: unknown 'sam9'"):
            few_bytes(folder, family="sam9")
        with pytest.raises(ReadError, match="title: must be text on one line"):
            few_bytes(folder, title="two\nlines")
        with pytest.raises(ReadError, match="weights: must be the bare name"):
            few_bytes(folder, weights="../livers/weights.safetensors")
        with pytest.raises(InputError, match=r"scores\.dice: TOML cannot express NoneType"):
            few_bytes(folder, scores={"dice": None})
        with pytest.raises(CheckpointError, match=r"gone\.pt: there are no weights"):
            few_bytes(folder, weights="gone.pt")
        assert (folder / "card.toml").read_bytes() == before


class TestRefused:
    @pytest.mark.parametrize(
        ("key", "value", "told"),
        [
            ("version", "2", "is 2, and this program reads 1"),
            ("version", "true", "is True, and this program reads 1"),
            ("version", None, "is None, and"),
            ("title", None, "is missing; add it"),
            ("title", "3", "must be text on one line in quotes, got 3"),
            ("title", "2025-01-02", "must be text on one line in quotes, got datetime.date"),
            ("title", "' '", "must be text"),
            ("summary", r'"\u001b[2J"', "must be text on one line"),
            ("family", "'sam9'", "unknown 'sam9'; use litemedsam, litetrack, sam2"),
            ("family", "'sam2'", None),
            ("config", f"'{CONFIG_21}'", "only a model of the family sam2 has one"),
            ("prompts", "'box'", "must be a list of some of box, points, mask"),
            ("prompts", "[]", "must be a list of some of"),
            ("prompts", "['box', [1]]", "must be a list of some of"),
            ("image_size", "256.0", "must be a whole number above 0, got 256.0"),
            ("image_size", "true", "must be a whole number above 0, got True"),
            ("embedding_mb", "nan", "must be a number above 0, got nan"),
            ("bytes", "0", "must be a whole number above 0"),
            ("sha256", "'12'", "must be 64 digits"),
            ("scorse", "1", "unknown key; known are version, title"),
            ("recipe", "'fast'", r"must be a table \[recipe\]"),
        ],
    )
    def test_a_value_that_is_wrong_is_named(self, folder, key, value, told):
        edit(folder, **{key: value})
        where = "config" if told is None else key
        told = "a model of the family sam2 needs the name of its config" if told is None else told
        with pytest.raises(ReadError, match=f"livers.card.toml: {where}: {told}"):
            models.get(folder)

    @pytest.mark.parametrize(
        "name", ["../w.pt", "a/w.pt", r"a\\w.pt", "C:w.pt", "/etc/passwd", "..", "", "card.toml"]
    )
    def test_weights_have_a_bare_name(self, folder, name):
        edit(folder, weights=f'"{name}"')
        with pytest.raises(ReadError, match=r"weights: must be"):
            models.get(folder)

    @pytest.mark.parametrize(
        "name",
        ["/tmp/x.yaml", "configs/../../x.yaml", "x.yaml", "configs/x.toml", "configs//x.yaml"],
    )
    def test_a_config_is_one_of_the_package(self, folder, name):
        edit(folder, family="'sam2'", config=f"'{name}'")
        with pytest.raises(ReadError, match="config: must be one of SAM 2's own"):
            models.get(folder)

    def test_a_link_out_of_the_folder_is_not_followed(self, folder, tmp_path):
        (tmp_path / "elsewhere").write_bytes(b"weights")
        (folder / "weights.safetensors").unlink()
        (folder / "weights.safetensors").symlink_to(tmp_path / "elsewhere")
        with pytest.raises(ReadError, match=r"weights: .* is a link out of the folder"):
            models.get(folder)
        (folder / "real").write_bytes(b"weights")
        (folder / "weights.safetensors").unlink()
        (folder / "weights.safetensors").symlink_to("real")
        assert models.get(folder).verify()

    @pytest.mark.parametrize(
        "content", [b"title = ", b"\xff\xfe", b"a = 1\na = 2", b"a = " + b"[" * 5000]
    )
    def test_a_card_that_is_no_toml(self, folder, content):
        (folder / "card.toml").write_bytes(content)
        with pytest.raises(ReadError, match=r"card\.toml: is no valid TOML"):
            models.get(folder)

    def test_what_is_no_model_folder(self, tmp_path, folder):
        with pytest.raises(ModelError, match=f"{tmp_path}/gone: there is no such folder"):
            models.get(f"{tmp_path}/gone")
        with pytest.raises(ModelError, match=r"holds no card\.toml"):
            models.get(tmp_path)
        with pytest.raises(ModelError, match="is a file; give the folder"):
            models.get(folder / "weights.safetensors")
        with pytest.raises(ModelError, match="unknown model ''; known: litemedsam"):
            models.get("")
        with pytest.raises(ModelError, match="or give the path of a model folder"):
            models.get("livers")

    def test_altered_weights(self, folder):
        card = models.get(folder)
        (folder / "weights.safetensors").write_bytes(b"w3ights")
        assert card.state == "ready"  # sizes are compared
        with pytest.raises(
            CheckpointError, match="it was altered: restore it from a copy, or fine"
        ):
            card.verify()
        (folder / "weights.safetensors").write_bytes(b"weigh")
        assert card.state == "wrong file"
        with pytest.raises(CheckpointError, match="has 5 bytes, expected 7") as caught:
            card.verify()
        assert "models pull" not in str(caught.value)
        (folder / "weights.safetensors").unlink()
        assert card.state == "missing file"
        with pytest.raises(CheckpointError, match=r"no weights at .*: restore it"):
            card.verify()


class TestNames:
    def test_a_relative_path_and_a_home(self, folder, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", str(tmp_path))
        monkeypatch.setenv("USERPROFILE", str(tmp_path))
        for name in ("livers", "./livers", "livers/", "x/../livers", "~/livers"):
            assert models.get(name).name == str(folder)
        monkeypatch.chdir(folder)
        assert models.get(".").name == str(folder)

    def test_the_catalogue_comes_first(self, tmp_path, monkeypatch):
        few_bytes(tmp_path / "litemedsam", title="Mine")
        monkeypatch.chdir(tmp_path)
        assert models.get("litemedsam").title == "LiteMedSAM"
        assert models.get("./litemedsam").title == "Mine"


class TestList:
    def test_registered_models_follow_the_catalogue(self, folder, tmp_path, own_list, monkeypatch):
        assert models.registered() == ()
        monkeypatch.chdir(tmp_path)
        few_bytes(tmp_path / "b", title="B")
        assert models.register("b").title == "B"
        models.register(folder)
        models.register(tmp_path / "b")
        assert models.registered() == (tmp_path / "b", folder)
        assert [card.name for card in models.list()] == [
            *models.names(),
            str(tmp_path / "b"),
            str(folder),
        ]
        content = json.loads(own_list.read_text())
        assert content == {"version": 1, "folders": [str(tmp_path / "b"), str(folder)]}
        models.forget("./b")
        assert models.registered() == (folder,)
        assert (tmp_path / "b" / "card.toml").is_file()
        with pytest.raises(
            ModelError, match=f"b: is not among your own models; these are: {folder}"
        ):
            models.forget("b")

    def test_only_whole_models_are_registered(self, folder, tmp_path, own_list):
        with pytest.raises(ModelError, match="there is no such folder"):
            models.register(tmp_path / "gone")
        (folder / "weights.safetensors").write_bytes(b"altered")
        with pytest.raises(CheckpointError, match="it was altered"):
            models.register(folder)
        assert not own_list.exists()

    def test_a_folder_that_is_gone_is_left_out_until_it_is_back(self, folder, tmp_path):
        models.register(folder)
        folder.rename(tmp_path / "away")
        assert models.registered() == ()
        assert [c.name for c in models.list()] == list(models.names())
        few_bytes(tmp_path / "b")
        models.register(tmp_path / "b")
        (tmp_path / "away").rename(folder)
        assert models.registered() == (folder, tmp_path / "b")
        folder.rename(tmp_path / "away")
        models.forget(folder)
        (tmp_path / "away").rename(folder)
        assert models.registered() == (tmp_path / "b",)

    def test_a_card_that_cannot_be_read_is_left_out_with_a_warning(self, folder, caplog):
        models.register(folder)
        edit(folder, title=None)
        with caplog.at_level(logging.WARNING):
            assert [c.name for c in models.list()] == list(models.names())
        assert "title: is missing" in caplog.text
        assert "left out of the list of models" in caplog.text

    @pytest.mark.parametrize(
        "content",
        ["", "{", "[]", '{"folders": [3], "version": 1}', '{"folders": [], "version": 2}'],
    )
    def test_a_damaged_list_is_empty_and_made_anew(self, folder, own_list, caplog, content):
        own_list.parent.mkdir()
        own_list.write_text(content)
        with caplog.at_level(logging.WARNING):
            assert models.registered() == ()
        assert str(own_list) in caplog.text
        assert "register them again with `napari-medsam2 models add FOLDER`" in caplog.text
        models.register(folder)
        assert models.registered() == (folder,)

    def test_where_no_list_can_be_kept(self, folder, own_list):
        own_list.parent.write_text("a file where the models folder should be")
        assert models.registered() == ()
        with pytest.raises(WriteError, match="the list of your own models cannot be kept there"):
            models.register(folder)

    def test_two_processes_at_a_time_lose_nothing(self, tmp_path):
        folders = [tmp_path / str(i) for i in range(12)]
        for path in folders:
            few_bytes(path)
        context = multiprocessing.get_context("spawn")
        with context.Pool(2) as pool:
            pool.map(models.register, folders, chunksize=1)
            pool.close()
            pool.join()
        assert sorted(models.registered()) == sorted(folders)


# The networks


def frame(shape: tuple[int, ...] = (60, 80)) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)


def test_a_sam2_folder_is_loaded_like_a_checkpoint(tmp_path: Path) -> None:
    net = build_network(CONFIG_21, SIZE)
    make_lively(net)
    card = of_sam2(tmp_path / "lesions", net, SIZE)
    prompt = FramePrompt(1, 0, boxes=((10, 12, 40, 50),))
    loaded = models.build(tmp_path / "lesions", precision="fp32", device=CPU)
    assert isinstance(loaded, SAM2)
    assert loaded.name == card.name
    assert loaded.image_size == SIZE
    direct = SAM2.of(net, CPU, "fp32")
    one, other = (m.decode(m.embed(frame()), [prompt])[0] for m in (direct, loaded))
    np.testing.assert_array_equal(one.logits, other.logits)
    assert one.mask.any()
    assert models.build(card.name, precision="fp32", device=CPU, image_size=160).key != loaded.key


@pytest.mark.parametrize(
    ("dtype", "megabytes", "off"), [(torch.float32, 39, 0.0), (torch.float16, 19.5, 0.2)]
)
def test_a_litemedsam_folder_in_any_form(
    tmp_path: Path, dtype: torch.dtype, megabytes: float, off: float
) -> None:
    card = of_litemedsam(tmp_path / "livers", dtype)
    assert card.bytes == pytest.approx(megabytes * 1e6, rel=0.05)
    image = np.full((256, 256), 70.0, np.float32)
    image[60:150, 80:170] = 190.0
    image += np.random.default_rng(0).normal(0, 8, image.shape).astype(np.float32)
    prompt = [FramePrompt(1, 0, boxes=((60, 80, 150, 170),))]
    ours, theirs = (
        model.decode(model.embed(image), prompt)[0]
        for model in (
            models.build(name, precision="fp32", device=CPU)
            for name in (tmp_path / "livers", "litemedsam")
        )
    )
    np.testing.assert_allclose(ours.logits, theirs.logits, atol=off)
    assert (ours.mask != theirs.mask).mean() < 0.001
    assert ours.mask[60:150, 80:170].mean() > 0.95


def test_a_folder_of_another_architecture_is_refused(tmp_path: Path) -> None:
    few_bytes(tmp_path / "a")
    with pytest.raises(CheckpointError, match="truncated or no safetensors file"):
        models.build(tmp_path / "a", device=CPU)
    net = build_network(CONFIG_21, SIZE)
    of_sam2(tmp_path / "b", net, SIZE)
    edit(tmp_path / "b", family="'litemedsam'", config=None)
    with pytest.raises(CheckpointError, match="of another architecture"):
        models.build(tmp_path / "b", device=CPU)


def test_a_card_cut_anywhere_is_an_error_that_names_it(folder: Path) -> None:
    whole = (folder / "card.toml").read_text(encoding="utf-8")
    # Every key is needed but the tables for people, which come last.
    needed = whole.index("[data]") - len("bytes = 7\n\n")
    for cut in range(0, needed, 7):
        (folder / "card.toml").write_text(whole[:cut], encoding="utf-8")
        with pytest.raises(ReadError, match=f"^{folder / 'card.toml'}: "):
            models.get(folder)
