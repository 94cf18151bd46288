"""Downloading weights, from a local server that does everything wrong that servers do."""

from __future__ import annotations

import hashlib
import os
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from tests.http_server import HALF, PIECE, WEIGHTS, Server, no_proxies, serving

from napari_medsam2.errors import CheckpointError
from napari_medsam2.models import DownloadCancelled, ModelCard, download, pull

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
def server() -> Iterator[Server]:
    with serving() as script:
        yield script


@pytest.fixture(autouse=True)
def _own_surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    no_proxies(monkeypatch)
    monkeypatch.setenv("NAPARI_MEDSAM2_MODELS", str(tmp_path / "models"))
    monkeypatch.setattr(download, "_PAUSES_S", (0.0, 0.0))
    monkeypatch.setattr(download, "_CHUNK_BYTES", PIECE)


@pytest.fixture
def card(server: Server) -> ModelCard:
    return ModelCard(
        name="toy",
        title="Toy",
        family="sam2",
        summary="",
        licence="MIT",
        url="https://example.org",
        image_size=1024,
        prompts=("box",),
        embedding_mb=1,
        filename="toy.pt",
        bytes=len(WEIGHTS),
        sha256=hashlib.sha256(WEIGHTS).hexdigest(),
        source=f"{server.url}/toy.pt",
    )


@pytest.fixture
def unpublished(card: ModelCard, server: Server, tmp_path: Path) -> ModelCard:
    """Return a model whose authors publish neither size nor hash."""
    torch.save({"a": torch.arange(50_000.0)}, tmp_path / "made.pt")
    server.content = (tmp_path / "made.pt").read_bytes()
    return replace(card, bytes=None, sha256=None)


def part(card: ModelCard, content: bytes | None = None) -> Path:
    path = card.path.with_name("toy.pt.part")
    if content is not None:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    return path


def files(card: ModelCard) -> list[str]:
    return sorted(p.name for p in card.path.parent.iterdir() if not p.name.endswith(".lock"))


class TestWhole:
    def test_the_file_gets_its_name_when_it_is_complete(self, card, server):
        seen = []

        def progress(done: int, total: int | None) -> None:
            assert not card.path.exists()
            seen.append((done, total))

        assert card.state == "needs download"
        assert pull(card, progress=progress) == card.path
        assert card.path.read_bytes() == WEIGHTS
        assert card.state == "ready"
        assert files(card) == ["toy.pt"]
        assert seen == sorted(seen)
        assert seen[-1] == (len(WEIGHTS), len(WEIGHTS))

    def test_what_is_there_is_not_fetched_again(self, card, server):
        pull(card)
        pull(card)
        assert len(server.gets) == 1

    @pytest.mark.parametrize("content", [b"short", bytes(len(WEIGHTS))])
    def test_a_damaged_file_is_replaced(self, card, content):
        card.path.parent.mkdir()
        card.path.write_bytes(content)
        pull(card)
        assert card.path.read_bytes() == WEIGHTS

    def test_a_redirect_is_followed(self, card, server):
        server.statuses = [302]
        pull(card)
        assert [path for path, _ in server.gets] == ["/toy.pt", "/kept/elsewhere?signature=secret"]

    def test_the_proxy_of_the_environment_is_asked(self, card, server, monkeypatch):
        monkeypatch.setenv("HTTP_PROXY", server.url)
        monkeypatch.setenv("http_proxy", server.url)
        pull(replace(card, source="http://weights.invalid/toy.pt"))
        assert [path for path, _ in server.gets] == ["http://weights.invalid/toy.pt"]
        assert card.path.read_bytes() == WEIGHTS

    def test_weights_of_a_package_are_only_verified(self, card):
        installed = replace(card, source=None, package="no_such_package")
        with pytest.raises(Exception, match="pip install no-such-package"):
            pull(installed)


class TestResumed:
    def test_a_cut_transfer_is_continued_at_once(self, card, server):
        server.cuts = [HALF, PIECE]
        pull(card)
        assert server.ranges_asked == [None, f"bytes={HALF}-", f"bytes={HALF + PIECE}-"]
        assert card.path.read_bytes() == WEIGHTS

    def test_more_cuts_than_attempts_without_news_are_survived(self, card, server):
        server.cuts = [50_000] * 8
        pull(card)
        assert card.path.read_bytes() == WEIGHTS

    def test_what_an_earlier_process_left_is_continued(self, card, server):
        part(card, WEIGHTS[:HALF])
        pull(card)
        assert server.ranges_asked == [f"bytes={HALF}-"]
        assert card.path.read_bytes() == WEIGHTS
        assert files(card) == ["toy.pt"]

    def test_what_arrived_whole_is_not_fetched_again(self, card, server):
        part(card, WEIGHTS)
        pull(card)
        assert server.gets == []
        assert card.path.read_bytes() == WEIGHTS

    def test_a_server_that_ignores_ranges_is_read_from_the_start(self, card, server):
        server.ranges = False
        server.cuts = [HALF]
        pull(card)
        assert server.ranges_asked == [None, f"bytes={HALF}-"]
        assert card.path.read_bytes() == WEIGHTS

    @pytest.mark.parametrize("left", [b"x" * HALF, b"x" * len(WEIGHTS), b"x" * (len(WEIGHTS) + 1)])
    def test_a_first_part_of_another_file_is_fetched_again(self, card, server, left):
        part(card, left)
        pull(card)
        assert server.ranges_asked[-1] is None
        assert card.path.read_bytes() == WEIGHTS

    def test_another_version_on_the_server_is_not_glued_to_the_first(self, card, server):
        stop = iter([False] * 4 + [True])
        with pytest.raises(DownloadCancelled):
            pull(card, cancelled=lambda: next(stop))
        assert part(card).stat().st_size > 0
        server.etag = '"two"'
        pull(card)
        assert server.gets[-1][1]["If-Range"] == '"one"'
        assert card.path.read_bytes() == WEIGHTS
        assert len(server.gets) == 2

    def test_a_server_that_answers_with_another_range(self, card, server):
        part(card, WEIGHTS[:HALF])
        server.statuses = [206]
        server.headers = {"Content-Range": "bytes 7-9/10"}
        pull(card)
        assert server.ranges_asked == [f"bytes={HALF}-", None]
        assert card.path.read_bytes() == WEIGHTS


class TestCancelled:
    def test_what_arrived_is_kept_and_continued(self, card, server):
        arrived = []
        with pytest.raises(DownloadCancelled, match=r"continues after the \d+ bytes"):
            pull(card, progress=lambda *a: arrived.append(a), cancelled=lambda: len(arrived) == 2)
        assert not card.path.exists()
        assert part(card).read_bytes() == WEIGHTS[: 2 * PIECE]
        pull(card)
        assert server.ranges_asked == [None, f"bytes={2 * PIECE}-"]
        assert card.path.read_bytes() == WEIGHTS

    def test_before_anything_was_asked(self, card, server):
        with pytest.raises(DownloadCancelled):
            pull(card, cancelled=lambda: True)
        assert server.gets == []


class TestFailed:
    """No file under the final name, and a message that says what to do."""

    def fails(self, card: ModelCard, match: str, **options: float) -> str:
        with pytest.raises(CheckpointError, match=match) as caught:
            pull(card, **options)
        assert not card.path.exists()
        return str(caught.value)

    def test_a_corrupt_transfer(self, card, server):
        server.content = b"x" + WEIGHTS[1:]
        said = self.fails(card, f"expected {card.sha256}; it was not kept")
        assert hashlib.sha256(server.content).hexdigest() in said
        assert files(card) == []
        assert len(server.gets) == 1

    def test_a_corrupt_transfer_that_was_continued_is_tried_once_more(self, card, server):
        server.content = b"x" + WEIGHTS[1:]
        server.cuts = [HALF]
        self.fails(card, "it was not kept")
        assert server.ranges_asked == [None, f"bytes={HALF}-", None]

    def test_a_server_that_cuts_every_time(self, card, server):
        server.cuts = [HALF] + [0] * 10
        said = self.fails(card, "the connection was cut")
        assert f"continues after the {HALF} bytes" in said
        assert len(server.gets) == 4
        assert part(card).read_bytes() == WEIGHTS[:HALF]

    def test_a_server_that_ignores_ranges_and_cuts_every_time(self, card, server):
        server.ranges = False
        server.cuts = [HALF] * 10
        self.fails(card, "the connection was cut")
        assert len(server.gets) == 4

    def test_a_stalled_server(self, card, server):
        server.stalls = [HALF] + [0] * 10
        self.fails(card, "no answer within the time limit", timeout=0.1)
        assert server.stalled.is_set()

    def test_no_server(self, card, server):
        gone = replace(card, source="http://127.0.0.1:9/toy.pt")
        said = self.fails(gone, "Connection refused|refused")
        assert "check the network and the proxy" in said
        assert f"download http://127.0.0.1:9/toy.pt and put it at {card.path}" in said
        assert f"({len(WEIGHTS)} bytes, SHA-256 {card.sha256})" in said
        assert files(card) == []

    def test_no_such_host(self, card):
        self.fails(replace(card, source="http://weights.invalid/toy.pt"), "from weights.invalid")

    def test_no_web_address(self, card):
        self.fails(replace(card, source="http:///toy.pt"), "failed: ")

    def test_not_found(self, card, server):
        server.statuses = [404]
        self.fails(card, "the server answers 404 Not Found")
        assert len(server.gets) == 1

    def test_a_busy_server_is_asked_again(self, card, server):
        server.statuses = [503, 429]
        pull(card)
        assert card.path.read_bytes() == WEIGHTS
        server.statuses = [503] * 10
        card.path.unlink()
        self.fails(card, "503")

    @pytest.mark.parametrize("content", [b"<html>please log in</html>", WEIGHTS + b"more"])
    def test_a_file_of_another_length_is_refused_before_it_is_read(self, card, server, content):
        server.content = content
        self.fails(card, f"sends {len(content)} bytes, expected {len(WEIGHTS)}: another file")
        assert files(card) == []

    def test_a_server_that_sends_more_than_it_said(self, card, server):
        server.content += b"more"
        server.headers = {"Content-Length": str(len(WEIGHTS))}
        pull(card)
        assert card.path.read_bytes() == WEIGHTS

    def test_a_server_that_tells_no_length(self, card, server):
        server.headers = {"Content-Length": ""}
        server.cuts = [HALF]
        pull(card)
        assert server.ranges_asked == [None, f"bytes={HALF}-"]
        card.path.unlink()
        server.content += b"more"
        self.fails(card, f"the server sends more than {len(WEIGHTS)} bytes")
        server.content = WEIGHTS
        pull(card)
        assert card.path.read_bytes() == WEIGHTS

    def test_a_disk_that_refuses_more(self, card):
        resource = pytest.importorskip("resource")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (HALF, hard))
        try:
            self.fails(card, r"cannot write to .* \(File too large\)")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        assert part(card).read_bytes() == WEIGHTS[:HALF]

    def test_a_full_disk_is_found_before_the_download(self, card, monkeypatch):
        usage = type("usage", (), {"free": 1000})
        monkeypatch.setattr("shutil.disk_usage", lambda path: usage)
        said = self.fails(card, f"needs {len(WEIGHTS)} bytes in ")
        assert "1000 are free" in said
        assert files(card) == []

    def test_a_folder_that_is_a_file(self, card, tmp_path, monkeypatch):
        (tmp_path / "taken").touch()
        monkeypatch.setenv("NAPARI_MEDSAM2_MODELS", str(tmp_path / "taken"))
        self.fails(card, "let NAPARI_MEDSAM2_MODELS name another folder")

    def test_passwords_in_an_address_are_not_told(self, card, server):
        server.statuses = [302, 404]
        secret = server.url.replace("://", "://user:hunter2@")
        said = self.fails(replace(card, source=f"{secret}/toy.pt?token=hunter3"), "404")
        assert "hunter" not in said


class TestFirstUse:
    """Without a published hash the first copy is trusted, and the later ones held against it."""

    def test_size_and_hash_are_remembered(self, unpublished, server):
        pull(unpublished)
        sha256 = hashlib.sha256(server.content).hexdigest()
        memory = unpublished.path.with_name("toy.pt.sha256").read_text()
        assert memory == f"# {len(server.content)} bytes\n{sha256}  toy.pt\n"
        assert unpublished.state == "ready"
        unpublished.path.write_bytes(server.content[:-1])
        assert unpublished.state == "wrong file"
        unpublished.path.write_bytes(server.content[:-1] + b"x")
        with pytest.raises(CheckpointError, match=r"\(as first seen, see toy.pt.sha256\)"):
            unpublished.verify()
        pull(unpublished)
        assert unpublished.path.read_bytes() == server.content

    def test_a_new_version_is_not_taken_silently(self, unpublished, server):
        pull(unpublished)
        unpublished.path.unlink()
        server.content = server.content[:-1] + b"x"
        with pytest.raises(CheckpointError, match=r"delete .*toy.pt.sha256 to trust a new version"):
            pull(unpublished)
        assert not unpublished.path.exists()

    def test_a_cut_transfer_is_noticed_and_continued(self, unpublished, server):
        server.cuts = [PIECE]
        pull(unpublished)
        assert server.ranges_asked == [None, f"bytes={PIECE}-"]
        assert unpublished.path.read_bytes() == server.content

    def test_a_part_of_an_unknown_version_is_not_continued(self, unpublished, server):
        part(unpublished, server.content[:1000])
        pull(unpublished)
        assert server.ranges_asked == [None]

    def test_the_hash_that_the_server_tells_counts(self, unpublished, server):
        server.headers = {"X-Linked-ETag": f'"{"0" * 64}"'}
        with pytest.raises(CheckpointError, match=f"expected {'0' * 64}"):
            pull(unpublished)
        server.headers = {"X-Linked-ETag": f'"{hashlib.sha256(server.content).hexdigest()}"'}
        pull(unpublished)

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            (b"<html>please log in</html>", "is no checkpoint"),
            (None, "is cut off"),
            (b"", "sends nothing"),
        ],
    )
    def test_a_log_in_page_is_no_checkpoint(self, unpublished, server, content, said):
        server.content = server.content[:-1000] if content is None else content
        with pytest.raises(CheckpointError, match=said):
            pull(unpublished)
        assert files(unpublished) == []


def test_two_pulls_at_once_fetch_the_file_once(card, server):
    server.stalls = [HALF]
    waiting = threading.Event()
    paths = []
    first = threading.Thread(target=lambda: paths.append(pull(card)))
    second = threading.Thread(
        target=lambda: paths.append(pull(card, progress=lambda *_: waiting.set()))
    )
    first.start()
    assert server.stalled.wait(10)
    second.start()
    assert waiting.wait(10)
    server.resume.set()
    first.join(10)
    second.join(10)
    assert paths == [card.path, card.path]
    assert card.path.read_bytes() == WEIGHTS
    assert len(server.gets) == 1


@pytest.mark.skipif(
    not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere"
)
def test_a_folder_that_others_own_is_read_all_the_same(card):
    pull(card)
    card.path.parent.chmod(0o555)
    try:
        assert pull(card) == card.path
        with pytest.raises(CheckpointError, match="Permission denied"):
            pull(replace(card, filename="other.pt"))
    finally:
        card.path.parent.chmod(0o755)
