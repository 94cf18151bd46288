"""Panel: labels to files, sessions to and from files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from qtpy.QtWidgets import QFileDialog

from .files import LABEL_FILTER, SESSION_FILTER
from .parts import Section, button, row

if TYPE_CHECKING:
    from .controller import Controller

__all__ = ["SavePanel"]

_SESSION_SUFFIX = ".medsam2.json"


class SavePanel(Section):
    """`Save labels…`, `Save session…`, `Open session…`."""

    def __init__(self, controller: Controller) -> None:
        super().__init__("Save")
        self._controller = controller
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
        self.body.addWidget(self.labels)
        self.body.addLayout(row(self.session, self.open))

    def refresh(self) -> None:
        """Show what can be done now."""
        desk = self._controller.bench.desk
        is_idle = self._controller.state == "idle"
        has_session = desk is not None and desk.session is not None
        self.labels.setEnabled(has_session and is_idle)
        self.session.setEnabled(has_session and is_idle)
        self.open.setEnabled(is_idle)

    def _save_labels(self) -> None:
        path, _ = QFileDialog.getSaveFileName(
            self, "Save labels", self._suggestion("_labels.nii.gz"), LABEL_FILTER
        )
        if path:
            self._controller.save_labels(path if Path(path).suffix else f"{path}.nii.gz")

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
