"""The image, its objects and their prompts: what changes without a model at work."""

from __future__ import annotations

import time
from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal

from psygnal import Signal

from . import notify
from .bench import Bench
from .relay import relay
from .requests import Requests
from .tools import Tools

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from napari.components import ViewerModel
    from napari.layers import Image

    from napari_medsam2.session import Session

    from .settings import Settings

__all__ = ["Editing"]


class Editing(Requests):
    """Keeps the session of the image in use and the layers in line, both ways.

    Parameters
    ----------
    viewer : ViewerModel
    make_session : callable
        Builds sessions; for tests.

    Attributes
    ----------
    bench : Bench
        The image and the settings in use.
    tools : Tools
        The object in use and how it is drawn.
    """

    # Labels are not what they were.
    relabelled = Signal()

    def __init__(self, viewer: ViewerModel, make_session: Callable[..., Session]) -> None:
        super().__init__()
        self.viewer = viewer
        self.bench = Bench(viewer, make_session)
        self.tools = Tools(self.bench)
        self._edited_at = 0.0
        self._is_whole = False
        self.bench.changed.connect(self._on_bench)
        self.bench.configured.connect(self._on_configured)
        self.bench.edited.connect(self._on_edited)
        self.bench.begun.connect(self._on_begun)
        relay(self.tools.changed, self.changed)
        self.tools.changed.connect(self._on_tools)
        for event in (viewer.dims.events.order, viewer.dims.events.ndisplay):
            event.connect(self._on_view)
        self.tools.apply()

    @property
    def session(self) -> Session:
        """The session of the image, for the present settings and view.

        Prompts that a script gives to it appear in the layers with the next request.

        Raises
        ------
        InputError
            If there is no image, or it cannot be segmented.
        """
        desk = self.bench.require_desk()
        if desk.session is not None and self._runner.is_busy:
            return desk.session
        return desk.open(self.bench.settings)

    def use_box_tool(self) -> bool:
        """Get ready to draw boxes around the object in use."""
        return self._guarded(self.tools.use_box)

    def use_point_tool(self) -> bool:
        """Get ready to click on the object in use, or beside it."""
        return self._guarded(self.tools.use_points)

    def blend_channels(self, layers: Iterable[Image]) -> bool:
        """Let the model see other image layers as channels of the image in use."""

        def blend() -> None:
            desk = self.bench.require_desk()
            before = desk.source.layers
            if self.bench.blend(layers) and desk.session is not None:
                desk.session.note("choose channels", before, desk.source.layers)

        return self._guarded(blend)

    def split_channels(self, axis: int) -> bool:
        """Put a layer for each channel in the place of the image in use, by its axis of them."""
        return self._guarded(lambda: self.bench.split(axis))

    def undo(self) -> bool:
        """Take back the last step, prompts and masks together; stops a run first."""
        return self._when_idle(lambda: self._travel("undo"), stop=True)

    def redo(self) -> bool:
        """Bring back the step that was undone last."""
        return self._when_idle(lambda: self._travel("redo"), stop=True)

    # Inside

    def _session_in_line(self) -> Session:
        """Return the session, with the prompts that the layers show and the reverse."""
        session = self.session
        self._read_prompts()
        return session

    def _read_prompts(self) -> frozenset[int]:
        """Take in what was drawn; return the frames on which it differs."""
        desk = self.bench.desk
        if desk is None or (desk.session is None and not desk.is_edited):
            return frozenset()
        _ = self.session
        frames, problems = desk.read_prompts()
        for problem in problems:
            notify.warn(problem)
        if frames:
            self.changed.emit()
        return frames

    def _change(self, edit: Callable[[Session], Any]) -> None:
        session = self._session_in_line()
        edit(session)
        self._show_all()

    def _travel(self, way: Literal["undo", "redo"]) -> None:
        session = self._session_in_line()
        text = session.undo_text if way == "undo" else session.redo_text
        step = session.travel(way)
        if step is not None:
            if step.note is not None:
                self.bench.restore(step.note[0] if way == "undo" else step.note[1])
            if step.edits:  # else it was a step of prompts and decisions alone
                self.relabelled.emit()
            # A step of another view is shown where it was made.
            self.bench.follow()
        self._show_all()
        done = "Undone" if way == "undo" else "Redone"
        self.message.emit(f"{done}: {text}" if step is not None else f"Nothing to {way}")

    def _show_all(self) -> None:
        """Show prompts and labels after a step that may have changed them everywhere."""
        desk = self.bench.require_desk()
        desk.write_prompts()
        desk.touch_all()
        desk.results.refresh(now=True)
        self.changed.emit()

    def _let_go(self) -> None:
        """Leave the viewer for good."""
        for event in (self.viewer.dims.events.order, self.viewer.dims.events.ndisplay):
            event.disconnect(self._on_view)
        self.bench.close()

    # Events

    def _on_bench(self) -> None:
        self.tools.apply()
        self.changed.emit()

    def _on_tools(self) -> None:
        if self.bench.desk is not None and self.bench.desk.wants_results:
            self.woken.emit()

    def _on_configured(self, before: Settings, after: Settings) -> None:
        """Let undo bring back the settings, too; the axis goes with the frames."""
        desk = self.bench.desk
        changed = [
            f.name
            for f in fields(after)
            if f.compare and f.name != "axis" and getattr(before, f.name) != getattr(after, f.name)
        ]
        if changed and desk is not None and desk.session is not None:
            desk.session.note(f"change {', '.join(changed)}", before, after)

    def _on_view(self, event: Any = None) -> None:
        desk = self.bench.desk
        if desk is not None and desk.session is not None:
            self._guarded(lambda: self.session)
        self.changed.emit()

    def _on_edited(self, at_once: bool) -> None:
        # What was added is whole, whatever is said of its features a moment later.
        self._is_whole = self._is_whole or at_once
        self._edited_at = time.monotonic()
        self.woken.emit()

    def _on_begun(self) -> None:
        # So that what is drawn now is told from what was there before, also after a change of axis.
        self._guarded(lambda: self.session)
