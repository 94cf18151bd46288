"""Sessions that are written while somebody works on them, and found again after a crash.

Each image that a program works on has a folder of its own, for this user alone, named by a hash of
the image. Its lock belongs to the system, which frees it when the program ends, however it ends: a
folder that can be locked was left behind. No Qt and no napari here.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

import platformdirs

from napari_medsam2.errors import ReadError, WriteError

from .atomic import atomic_path
from .json_text import Node, dump, read_object
from .sessions import fingerprint, write_session

if TYPE_CHECKING:
    from filelock import BaseFileLock

    from napari_medsam2.volume import Volume

    from .sessions import SavedSession

__all__ = ["Autosave", "Leftover", "image_key", "leftovers", "state_folder"]

_STATE = "NAPARI_MEDSAM2_STATE"
_SESSION = "session.medsam2.json"
_ABOUT = "about.json"
_LOCK = "lock"
_NAME = re.compile(r"[0-9a-f]{16}-[0-9a-f]{8}")
_BROKEN = re.compile(rf"{_NAME.pattern}\.broken")

_VERSION = 1
_DAYS = 30
_MOST = 20
# Seconds for which a folder may be without a session: its program is at the first one.
_BEGINNING = 3600
# Seconds to wait for somebody who is only looking.
_PATIENCE = 1.0

_keys: WeakKeyDictionary[Volume, str] = WeakKeyDictionary()


def state_folder() -> Path:
    """Return where autosaves lie: below ``$NAPARI_MEDSAM2_STATE``, or the user's state folder."""
    own = os.environ.get(_STATE)
    root = Path(own) if own else platformdirs.user_state_path("napari-medsam2", appauthor=False)
    return root / "autosave"


def image_key(volume: Volume) -> str:
    """Return the fingerprint of an image; it is read only the first time."""
    key = _keys.get(volume)
    if key is None:
        key = _keys[volume] = fingerprint(volume)
    return key


@dataclass(frozen=True)
class Leftover:
    """A session that a program which no longer runs has left behind.

    Attributes
    ----------
    folder : Path
    source : str
        The image's file or folder, "" for an image in memory.
    image : str
        The image's fingerprint.
    time : datetime
        When it was written.
    n_objects : int
    is_exported : bool
        Whether its labels were saved to a file, and its program has ended as it should.
    """

    folder: Path
    source: str
    image: str
    time: datetime
    n_objects: int
    is_exported: bool = False

    def take(self) -> Autosave:
        """Make it this program's own, so that no other one can take it.

        Raises
        ------
        ReadError
            If it is gone, or another program has it.
        """
        lock = _lock(self.folder, _PATIENCE)
        if lock is None:
            raise ReadError(
                f"the unsaved work of {self.time.astimezone():%Y-%m-%d %H:%M} is gone or open in "
                "another window"
            )
        return Autosave(self.folder, lock, self.image)

    def discard(self) -> None:
        """Delete it for good."""
        self.take().discard()


class Autosave:
    """Where the work on one image is written; the folder is made by the first `write`.

    All methods belong to one thread.

    Parameters
    ----------
    folder : Path, optional
    lock : BaseFileLock, optional
        Of this folder, acquired.
    image : str, optional
        Fingerprint of the image, where it is known.
    """

    def __init__(
        self,
        folder: Path | None = None,
        lock: BaseFileLock | None = None,
        image: str | None = None,
    ) -> None:
        self.folder = folder
        self._lock = lock
        self._image = image

    @property
    def path(self) -> Path:
        """The session's JSON file, once there is a folder."""
        assert self.folder is not None
        return self.folder / _SESSION

    def write(self, saved: SavedSession, *, is_exported: bool = False) -> None:
        """Write a session over the one before; a crash meanwhile leaves one of the two whole.

        Parameters
        ----------
        saved : SavedSession
        is_exported : bool
            As in `Leftover`.

        Raises
        ------
        WriteError
        """
        if self._image is None:
            self._image = image_key(saved.volume)
        if self.folder is None:
            self.folder, self._lock = _new_folder(self._image)
        write_session(self.path, saved, self._image)
        told = {saved.state.view: saved.state.told, **saved.state.elsewhere}
        objects = {i for part in told.values() for i in part.prompts.ids}
        about = {
            "version": _VERSION,
            "source": saved.volume.source,
            "image": self._image,
            "time": datetime.now(UTC).isoformat(timespec="seconds"),
            "objects": len(objects.union(*saved.scores.values())),
            "exported": is_exported,
        }
        with atomic_path(self.folder / _ABOUT, overwrite=True) as temporary:
            temporary.write_text(dump(about) + "\n", encoding="utf-8", newline="\n")

    def release(self) -> None:
        """Leave what is written for another day."""
        self.folder = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def discard(self) -> None:
        """Delete what is written."""
        folder = self.folder
        # An open lock would keep the folder alive on some systems.
        self.release()
        if folder is not None:
            _delete(folder)


def leftovers(days: float = _DAYS, most: int = _MOST) -> tuple[list[Leftover], list[str]]:
    """Find what was left behind, newest first, and delete what is too old or too much.

    Parameters
    ----------
    days : float
        For so long, leftovers are kept.
    most : int
        How many are kept.

    Returns
    -------
    found : list of Leftover
    problems : list of str
        A sentence for each that cannot be read; it is put aside and not told again.
    """
    found, problems = [], []
    for folder in _folders(_NAME):
        lock = _lock(folder)
        if lock is None:
            continue
        try:
            leftover = _read(folder)
        except ReadError as error:
            lock.release()
            problems.append(_put_aside(folder, error))
        else:
            if leftover is not None:
                found.append(leftover)
        finally:
            lock.release()
    found.sort(key=lambda leftover: leftover.time, reverse=True)
    oldest = time.time() - days * 86400
    kept = [leftover for leftover in found[:most] if leftover.time.timestamp() > oldest]
    for leftover in found:
        if leftover not in kept:
            with contextlib.suppress(ReadError):
                leftover.discard()
    for folder in _folders(_BROKEN):
        if _changed_at(folder) < oldest:
            _delete(folder)
    return kept, problems


def _new_folder(image: str) -> tuple[Path, BaseFileLock]:
    folder = state_folder() / f"{image}-{secrets.token_hex(4)}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise WriteError(
            f"{folder}: cannot be made ({error.strerror}); choose another place for autosaves with "
            f"the environment variable {_STATE}"
        ) from error
    lock = _lock(folder)
    if lock is None:
        raise WriteError(
            f"{folder}: cannot be locked; choose another place for autosaves with the environment "
            f"variable {_STATE}"
        )
    return folder, lock


def _lock(folder: Path, timeout: float = 0.0) -> BaseFileLock | None:
    """Lock a folder; None if it is gone or somebody else has it."""
    from filelock import FileLock, Timeout

    if not folder.is_dir():
        return None
    # One thread locks, another one may release.
    lock = FileLock(folder / _LOCK, timeout=timeout, thread_local=False)
    try:
        lock.acquire()
    except (Timeout, OSError, NotImplementedError):
        return None
    return lock


def _read(folder: Path) -> Leftover | None:
    """Return what a folder says of itself, None if it is not for this program to judge."""
    if not (folder / _ABOUT).exists():
        if _changed_at(folder) < time.time() - _BEGINNING:
            _delete(folder)
        return None
    node = Node(read_object(folder / _ABOUT), "", f"{folder.name}/{_ABOUT}")
    if node.get("version").integer() > _VERSION:
        return None
    node.keys(required=("version", "source", "image", "time", "objects", "exported"))
    try:
        written = datetime.fromisoformat(node.get("time").string())
    except ValueError as error:
        raise node.get("time").error("is no date and time") from error
    if not (folder / _SESSION).is_file():
        raise ReadError(f"{folder.name}/{_SESSION}: is missing")
    return Leftover(
        folder=folder,
        source=node.get("source").string(),
        image=node.get("image").string(),
        time=written if written.tzinfo is not None else written.replace(tzinfo=UTC),
        n_objects=node.get("objects").integer(),
        is_exported=bool(node.get("exported").value),
    )


def _put_aside(folder: Path, error: ReadError) -> str:
    aside = folder.with_name(f"{folder.name}.broken")
    with contextlib.suppress(OSError):
        folder.rename(aside)
    return f"an autosave cannot be read ({error}); it was put aside in {aside}"


def _folders(name: re.Pattern[str]) -> list[Path]:
    try:
        return [path for path in state_folder().iterdir() if name.fullmatch(path.name)]
    except OSError:
        return []  # nothing was ever saved


def _changed_at(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return time.time()  # gone already


def _delete(folder: Path) -> None:
    # First what makes it an offer, so that what cannot be deleted is not offered.
    with contextlib.suppress(OSError):
        (folder / _ABOUT).unlink()
    shutil.rmtree(folder, ignore_errors=True)
