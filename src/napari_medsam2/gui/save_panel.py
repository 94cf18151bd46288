"""Panel: labels to files, sessions to and from files, and all of it as text."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QApplication, QFileDialog

from .files import LABEL_FILTER, SESSION_FILTER, VALUES
from .parts import Choice, Fold, button, row

if TYPE_CHECKING:
    from .controller import Controller
    from .copying import Form

__all__ = ["SavePanel"]

_SESSION_SUFFIX = ".medsam2.json"
_FORMS: dict[Form, str] = {"python": "as Python", "command": "as a command"}


class SavePanel(Fold):
    """`Save labels…`, `Save session…`, `Open session…`, `Copy as Python`, `Copy as command`."""

    def __init__(self, controller: Controller) -> None:
        super().__init__("Save", "Labels and sessions to files, and as text that makes them again")
        # It stands among sections, whose titles are bold.
        self.toggle.setStyleSheet(f"{self.toggle.styleSheet()}; font-weight: bold")
        self._controller = controller
        self.values = Choice(
            "What a value in the file stands for: each object has its own, or objects with the "
            "same name share one, and a table of the names is written beside the labels",
            VALUES,
        )
        self.labels = button(
            "Save labels…",
            "Write the labels with the geometry of the image: NIfTI, NRRD, MetaImage, TIFF, NumPy",
            self._save_labels,
        )
        self.session = button(
            "Save session…",
            "Write prompts, settings, scores and labels, to go on another day",
            self._save_session,
        )
        self.open = button(
            "Open session…", "Go on with a session that was saved", self._open_session
        )
        self.python = button(
            "Copy as Python",
            "Copy a script that makes these labels again",
            lambda: self._copy("python"),
        )
        self.command = button(
            "Copy as command",
            "Copy a shell command that makes these labels again",
            lambda: self._copy("command"),
        )
        self.form.addRow("Values", self.values)
        self.form.addRow(self.labels)
        self.form.addRow(row(self.session, self.open))
        self.form.addRow(row(self.python, self.command))

    def refresh(self) -> None:
        """Show what can be done now."""
        desk = self._controller.bench.desk
        is_idle = self._controller.state == "idle"
        has_session = desk is not None and desk.session is not None
        for push in (self.labels, self.session, self.python, self.command):
            push.setEnabled(has_session and is_idle)
        self.open.setEnabled(is_idle)
        saved_at = self._controller.autosaver.saved_at
        self.show_note("" if saved_at is None else f"autosaved {saved_at:%H:%M}")

    def _copy(self, form: Form) -> None:
        copied = self._controller.copy_as(form)
        clipboard = QApplication.clipboard()
        if copied is not None and clipboard is not None:
            clipboard.setText(copied.text)
            note = f". {copied.note}" if copied.note else ""
            self._controller.message.emit(f"Copied {_FORMS[form]}{note}")

    def _save_labels(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Save labels", self._suggestion("_labels.nii.gz"), LABEL_FILTER
        )
        if path:
            name = path if Path(path).suffix else f"{path}.nii.gz"
            self._controller.save_labels(name, values=self.values.currentData())

    def _save_session(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Save session", self._suggestion(_SESSION_SUFFIX), SESSION_FILTER
        )
        if path:
            self._controller.save_session(
                path if path.endswith(".json") else f"{path}{_SESSION_SUFFIX}"
            )

    def _open_session(self) -> None:
        path, _ = QFileDialog.getOpenFileName(
            self, "Open session", str(self._folder()), SESSION_FILTER
        )
        if path:
            self._controller.open_session(path)

    def _suggestion(self, ending: str) -> str:
        image = self._controller.bench.image
        name = "image" if image is None else image.name.replace("/", "_")
        return str(self._folder() / f"{name}{ending}")

    def _folder(self) -> Path:
        desk = self._controller.bench.desk
        source = Path(desk.volume().source) if desk is not None else Path()
        folder = source if source.is_dir() else source.parent
        return folder if source.name and folder.is_dir() else Path.cwd()
