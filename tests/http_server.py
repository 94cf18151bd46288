"""A local server for downloads, that does everything wrong that servers do."""

from __future__ import annotations

import re
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

__all__ = ["HALF", "PIECE", "WEIGHTS", "Server", "no_proxies", "serving"]

PIECE = 1000
WEIGHTS = bytes(range(256)) * 2000
HALF = len(WEIGHTS) // 2


@dataclass
class Server:
    """One file over HTTP; the lists hold what happens to the first, second, ... request."""

    content: bytes = WEIGHTS
    ranges: bool = True
    etag: str = '"one"'
    headers: dict[str, str] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    stalls: list[int] = field(default_factory=list)
    gets: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    url: str = ""
    stalled: threading.Event = field(default_factory=threading.Event)
    resume: threading.Event = field(default_factory=threading.Event)

    @property
    def ranges_asked(self) -> list[str | None]:
        return [headers.get("Range") for _, headers in self.gets]

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        self.gets.append((request.path, dict(request.headers)))
        status = self.statuses.pop(0) if self.statuses else 200
        start = 0
        asked = re.fullmatch(r"bytes=(\d+)-", request.headers.get("Range", ""))
        same = request.headers.get("If-Range", self.etag) == self.etag
        if status == 200 and asked and self.ranges and same:
            start = int(asked[1])
            status = 206 if start < len(self.content) else 416
        body = self.content[start:] if status in (200, 206) else b""
        request.send_response(status)
        headers = {"Content-Length": str(len(body)), "ETag": self.etag, **self.headers}
        if status == 206:
            headers["Content-Range"] = f"bytes {start}-{len(self.content) - 1}/{len(self.content)}"
        if status == 302:
            headers["Location"] = "/kept/elsewhere?signature=secret"
        for name, value in headers.items():
            if value:
                request.send_header(name, value)
        request.end_headers()
        if self.stalls:
            count = self.stalls.pop(0)
            request.wfile.write(body[:count])
            self.stalled.set()
            assert self.resume.wait(20)
            body = body[count:]
        request.wfile.write(body[: self.cuts.pop(0)] if self.cuts else body)


@contextmanager
def serving() -> Iterator[Server]:
    """Serve while the block lasts."""
    script = Server()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            try:
                script.answer(self)
            except ConnectionError:  # the client has left
                return

        def log_message(self, *args: object) -> None:
            """Be quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        script.url = f"http://127.0.0.1:{listener.server_port}"
        thread = threading.Thread(target=listener.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield script
        finally:
            script.resume.set()
            listener.shutdown()
            thread.join()


def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no proxy of the surroundings come between."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
