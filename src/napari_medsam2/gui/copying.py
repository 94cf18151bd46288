"""The session as text to take away: a script or a command that makes its labels again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from napari_medsam2.history import RunRecord
    from napari_medsam2.reproduce import Copied
    from napari_medsam2.session import Session

__all__ = ["Copier", "Form"]

Form = Literal["python", "command"]


class Copier:
    """Writes sessions as text, and knows which file holds one as it is."""

    def __init__(self) -> None:
        self._saved: tuple[Path, tuple[RunRecord, ...]] | None = None

    def note_saved(self, path: Any, runs: tuple[RunRecord, ...]) -> None:
        """Note that a file was written, and what had made the labels until then."""
        if str(path).endswith(".json"):
            self._saved = Path(path), runs

    def copy(self, session: Session, form: Form) -> Copied:
        """Return a session as text.

        Parameters
        ----------
        session : Session
        form : {"python", "command"}
        """
        from napari_medsam2.reproduce import as_command, as_python

        write = as_python if form == "python" else as_command
        return write(session, self._file_of(session))

    def _file_of(self, session: Session) -> Path | None:
        """Return the file that holds what made the labels, None if it is older or gone."""
        if self._saved is None:
            return None
        path, runs = self._saved
        now = session.runs
        is_same = len(runs) == len(now) and all(a is b for a, b in zip(runs, now, strict=True))
        return path if is_same and path.is_file() else None
