"""Downloading weights: resumable, checked, and never half a file under the final name.

What arrives goes to ``<file>.part``, which a later attempt continues. Only a file of the right size
and hash gets its name, in one step. Proxies and certificates are those of the environment
(HTTPS_PROXY, NO_PROXY, REQUESTS_CA_BUNDLE), because the requests are pooch's and requests' own.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from napari_medsam2.errors import CheckpointError, MedSAM2Error

from .checkpoints import (
    by_hand,
    expected,
    file_sha256,
    first_trust,
    memory_path,
    remember,
)

if TYPE_CHECKING:
    import io
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .catalogue import ModelCard

__all__ = ["DownloadCancelled", "pull"]

TIMEOUT_S = 30.0

# Small enough that a cancel is heard soon on a slow line.
_CHUNK_BYTES = 2**16
# Before each further attempt that follows one without a single new byte.
_PAUSES_S = (1.0, 5.0)
_POLL_S = 0.1
_CUT = "the connection was cut"
_TEMPORARY_STATUS = (408, 425, 429, 500, 502, 503, 504)
_FULL, _PARTIAL, _BEYOND_THE_END = 200, 206, 416


class DownloadCancelled(MedSAM2Error):  # noqa: N818 - it was wanted
    """A download that was stopped on request; what arrived is kept for the next one."""


class _CutError(Exception):
    """The transfer stopped early for a reason that may pass."""


def pull(
    card: ModelCard,
    *,
    progress: Callable[[int, int | None], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    timeout: float = TIMEOUT_S,
) -> Path:
    """Bring a model's weights into place and return their path.

    Weights that are there and whole are left alone, damaged ones are replaced. A second process
    that pulls the same model waits for the first.

    Parameters
    ----------
    card : ModelCard
        From `models.get`.
    progress : callable, optional
        Takes the bytes that are there and the bytes of the whole file, None if unknown.
    cancelled : callable, optional
        Asked for each piece that arrives; true stops the download.
    timeout : float
        Seconds to wait for a connection, and for more data on it.

    Raises
    ------
    CheckpointError
        If the file cannot be had or is not the right one; the message says how to bring it by
        hand, and what its hash must be.
    DownloadCancelled
        If `cancelled` said so.
    """
    if card.source is None:
        return card.verify()
    if _is_whole(card):
        return card.path
    download = _Download(card, progress or _ignore, cancelled or _never, timeout)
    with download.alone():
        # Another process may have brought it while this one waited.
        return card.path if _is_whole(card) else download.run()


def _is_whole(card: ModelCard) -> bool:
    try:
        return card.is_ready and bool(card.verify())
    except CheckpointError:
        return False


class _Download:
    """One pull; to pooch it is the file that it writes to."""

    _file: io.BufferedWriter

    def __init__(
        self,
        card: ModelCard,
        progress: Callable[[int, int | None], None],
        cancelled: Callable[[], bool],
        timeout: float,
    ) -> None:
        self.card = card
        self.path = card.path
        self.part = self.path.with_name(f"{self.path.name}.part")
        # The server's name for this version of the file: another version is not continued.
        self.tag = self.path.with_name(f"{self.part.name}.etag")
        self.size, self.sha256 = expected(self.path, card)
        self.total = self.size
        self.told_sha256: str | None = None
        self.resumed = False
        self.reached = False
        self._progress = progress
        self._cancelled = cancelled
        self._timeout = timeout
        self._response: Any = None

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Wait until no other process downloads this file."""
        from filelock import FileLock, Timeout

        # The system frees this lock if its holder dies, so a stale one cannot block for ever.
        lock = FileLock(self.path.with_name(f".{self.path.name}.lock"))
        with self._file_errors():
            self.path.parent.mkdir(parents=True, exist_ok=True)
            while not lock.is_locked:
                self._stop_if_cancelled()
                try:
                    lock.acquire(timeout=_POLL_S)
                except Timeout:
                    self._progress(_size(self.part), self.total)
        try:
            yield
        finally:
            lock.release()

    def run(self) -> Path:
        """Download, check and put into place."""
        for _ in range(2):
            self._transfer()
            with self._file_errors():
                found = file_sha256(self.part)
                problem = self._problem(found)
                if problem is None:
                    self._place(found)
                    return self.path
                self._forget()
            if not self.resumed:
                break
            # The first part may have been another file's, or damaged: once more, all of it.
        raise CheckpointError(
            f"{self.card.name}: what was downloaded {problem}; it was not kept. Try again later, "
            f"or {by_hand(self.card)}"
        )

    def _problem(self, sha256: str) -> str | None:
        """Say what is wrong with the file that arrived."""
        wanted = self.sha256 or self.told_sha256
        if wanted is not None and sha256 != wanted:
            first_seen = self.sha256 is not None and self.card.sha256 is None
            return f"has SHA-256 {sha256}, expected {wanted}" + (
                f" (as first seen; delete {memory_path(self.path)} to trust a new version)"
                if first_seen
                else ""
            )
        return first_trust(self.part) if wanted is None else None

    def _place(self, sha256: str) -> None:
        with self.part.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(self.part, self.path)
        self._forget()
        if self.sha256 is None:
            remember(self.path, sha256)

    def _forget(self) -> None:
        self.part.unlink(missing_ok=True)
        self.tag.unlink(missing_ok=True)

    def _transfer(self) -> None:
        """Fill the part file, over as many connections as it takes."""
        best, failures = _size(self.part), 0
        while True:
            self._stop_if_cancelled()
            try:
                self._connect()
                return
            except _CutError as problem:
                if not self.reached or failures == len(_PAUSES_S):
                    raise CheckpointError(self._failure(str(problem))) from problem
            # Attempts that bring something do not count, so a bad line gets there in the end.
            here = _size(self.part)
            failures = 0 if here > best else failures + 1
            best = max(best, here)
            self._pause(_PAUSES_S[max(failures - 1, 0)])

    def _connect(self) -> None:
        """Ask for what is missing and write it to the part file."""
        import pooch

        start = self._start()
        self.resumed = start > 0
        if start and start == self.size:
            return
        # Unpacking on the way would break the count of bytes.
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers["Range"] = f"bytes={start}-"
            if self.tag.exists():
                headers["If-Range"] = self.tag.read_text(encoding="latin-1")
        downloader = pooch.HTTPDownloader(
            chunk_size=_CHUNK_BYTES,
            timeout=self._timeout,
            headers=headers,
            hooks={"response": self._answered},
        )
        with self._file_errors():
            self._file = self.part.open("ab")
        try:
            downloader(self.card.source, self, None)
        except OSError as error:
            reason, final = _reason(error)
            if final:
                raise CheckpointError(self._failure(reason)) from error
            raise _CutError(reason) from error
        finally:
            if self._response is not None:
                self._response.close()
            with self._file_errors():
                self._file.close()
            if not _size(self.part):
                self._forget()
        here = _size(self.part)
        if not here:
            raise _CutError("the server sends nothing")
        if self.total is not None and here < self.total:
            raise _CutError(_CUT)

    def _start(self) -> int:
        """Return from which byte on to ask; what cannot be continued is deleted."""
        start = _size(self.part)
        too_long = self.size is not None and start > self.size
        checkable = self.sha256 or self.told_sha256 or self.tag.exists()
        if too_long or not checkable:
            with self._file_errors():
                self._forget()
            return 0
        return start

    def _answered(self, response: Any, **_: object) -> None:
        """Look at the server's answer before anything is written (a hook of requests)."""
        # Hugging Face tells the hash of a large file before it redirects to where it is kept.
        told = response.headers.get("X-Linked-ETag", "").strip('"').lower()
        if re.fullmatch("[0-9a-f]{64}", told):
            self.told_sha256 = told
        if response.is_redirect:
            return
        self._response = response
        self.reached = True
        start = _size(self.part)
        self.total = self._total(response, start)
        if self.size is not None and self.total not in (None, self.size):
            raise CheckpointError(
                self._failure(
                    f"the server sends {self.total} bytes, expected {self.size}: another file, or "
                    "the log-in page of a network or proxy"
                )
            )
        if response.status_code == _FULL:
            with self._file_errors():
                self._begin(response.headers.get("ETag", ""))
            self.resumed, start = False, 0
        self._check_room(start)

    def _total(self, response: Any, start: int) -> int | None:
        """Return the length of the whole file according to the server."""
        status, headers = response.status_code, response.headers
        span = re.match(r"bytes (?:(\d+)-\d+|\*)/(\d+)", headers.get("Content-Range", ""))
        if status == _FULL:
            length = headers.get("Content-Length", "")
            return int(length) if length.isdigit() else self.size
        if status == _PARTIAL and span and span[1] == str(start):
            return int(span[2])
        if status in (_PARTIAL, _BEYOND_THE_END) and start:
            with self._file_errors():
                self._begin("")
            raise _CutError("the server cannot continue where the last download stopped")
        reason = f"the server answers {status} {response.reason}"
        if status in _TEMPORARY_STATUS:
            raise _CutError(reason)
        raise CheckpointError(self._failure(reason))

    def _begin(self, tag: str) -> None:
        """Start at zero, and keep the tag by which the server can tell whether it may go on."""
        self._file.truncate(0)
        if tag.startswith('"'):
            self.tag.write_text(tag, encoding="latin-1")
        else:
            self.tag.unlink(missing_ok=True)

    def _check_room(self, start: int) -> None:
        free = shutil.disk_usage(self.path.parent).free
        if self.total is not None and self.total - start > free:
            raise CheckpointError(
                f"{self.card.name}: needs {self.total - start} bytes in {self.path.parent}, where "
                f"{free} are free; make room, or let NAPARI_MEDSAM2_MODELS name another folder"
            )

    def write(self, chunk: bytes) -> None:
        """Take a piece of the file; called by pooch."""
        self._stop_if_cancelled()
        with self._file_errors():
            self._file.write(chunk)
            self._file.flush()
        done = self._file.tell()
        if self.total is not None and done > self.total:
            raise CheckpointError(self._failure(f"the server sends more than {self.total} bytes"))
        self._progress(done, self.total)

    def flush(self) -> None:
        """Do nothing: pieces are written at once; called by pooch."""

    def _failure(self, reason: str) -> str:
        kept = _size(self.part)
        again = "check the network and the proxy (HTTPS_PROXY), then try again"
        if kept:
            again = f"try again, which continues after the {kept} bytes that arrived"
        host = urlsplit(self.card.source or "").hostname
        return (
            f"{self.card.name}: download from {host} failed: {reason}; {again}, or "
            f"{by_hand(self.card)}"
        )

    def _stop_if_cancelled(self) -> None:
        if self._cancelled():
            raise DownloadCancelled(
                f"{self.card.name}: the download was cancelled; the next one continues after the "
                f"{_size(self.part)} bytes that arrived"
            )

    def _pause(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self._stop_if_cancelled()
            time.sleep(min(left, _POLL_S))

    @contextmanager
    def _file_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise CheckpointError(
                f"{self.card.name}: cannot write to {self.path.parent} ({_last(error)}); free it "
                "or let NAPARI_MEDSAM2_MODELS name another folder"
            ) from error


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _reason(error: BaseException) -> tuple[str, bool]:
    """Say in a few words why a request failed, and whether another attempt is of no use."""
    import http.client
    import ssl

    # requests wraps urllib3, which wraps the system: the innermost error says it plainly.
    root = error
    while (inner := root.__cause__ or root.__context__) is not None:
        root = inner
    if isinstance(root, ssl.SSLCertVerificationError):
        return f"its certificate cannot be verified ({root.verify_message})", True
    if isinstance(root, TimeoutError):
        return "no answer within the time limit", False
    if isinstance(root, ConnectionResetError | http.client.IncompleteRead):
        return _CUT, False
    return _last(root), isinstance(error, ValueError)


def _last(error: BaseException) -> str:
    """Return an error's own words, without the address that was asked for."""
    text = getattr(error, "strerror", None) or " ".join(str(error).split())
    return text[:200] or type(error).__name__


def _ignore(done: int, total: int | None) -> None:
    """Show no progress."""


def _never() -> bool:
    return False
