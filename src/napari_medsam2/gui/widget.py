"""The dock widget `MedSAM2`: thin panels over the controller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qtpy.QtCore import QEvent, Qt, QTimer
from qtpy.QtWidgets import QApplication, QFrame, QLabel, QScrollArea, QVBoxLayout, QWidget

from napari_medsam2.session import Session

from .cleanup_panel import CleanupPanel
from .compare_panel import ComparePanel
from .controller import Controller
from .documentation import HelpButton
from .hints import HintPanel
from .image_panel import ImagePanel
from .key_tips import KeyTips
from .keys import Keys
from .learn_panel import LearnPanel
from .measure_panel import MeasurePanel
from .models_panel import ModelsPanel
from .objects_panel import ObjectsPanel
from .parts import button
from .remembering import Remembering
from .resume_bar import ResumeBar
from .review_dock import ReviewDock
from .save_panel import SavePanel
from .segment_panel import SegmentPanel
from .tools_panel import ToolsPanel
from .unnoticed import unnoticed

if TYPE_CHECKING:
    from collections.abc import Callable

    from napari.viewer import Viewer

    from .preferences import Preferences

__all__ = ["MedSAM2Widget"]

_GAP = 8  # pixels between panels
_POLL_MS = 15
# While nothing happens, to see whether the work is to be saved.
_SLOW_POLL_MS = 1000
# Once the window has been drawn: importing torch holds Python up for parts of a second.
_WARM_UP_MS = 300
# How long a setting must rest before it is called wrong: it is told letter by letter.
_TYPING_MS = 1500
# How long a slice may take before the panels show that it is at work.
_ANSWER_MS = 120
# How long the slider must rest before the frames around it are prepared.
_REST_MS = 100


class MedSAM2Widget(QWidget):
    """Segment volumes and movies from boxes and points.

    Parameters
    ----------
    napari_viewer : napari.viewer.Viewer
        Given by napari, by the name of this parameter.
    parent : QWidget, optional
    make_session : callable
        Builds sessions; for tests.

    Attributes
    ----------
    controller : Controller
        Does everything that the widget does, for scripts.
    """

    # Until it is built, also for events that reach it meanwhile.
    _is_open = False

    @unnoticed()
    def __init__(
        self,
        napari_viewer: Viewer,
        parent: QWidget | None = None,
        *,
        make_session: Callable[..., Session] = Session,
    ) -> None:
        super().__init__(parent)
        # napari hands out a proxy whose layers are proxies too, none identical to the real ones.
        viewer: Viewer = getattr(napari_viewer, "__wrapped__", napari_viewer)
        self.controller = Controller(viewer, make_session)
        self.controller.pump = QApplication.processEvents
        self.remembering = Remembering(self.controller)
        self.hints = HintPanel()
        self.resume_bar = ResumeBar(self.controller)
        self.image = ImagePanel(self.controller)
        self.models = ModelsPanel(self.controller)
        self.tools = ToolsPanel(self.controller)
        self.objects = ObjectsPanel(self.controller)
        self.segment = SegmentPanel(self.controller)
        self.cleanup = CleanupPanel(self.controller)
        self.measure = MeasurePanel(self.controller)
        self.save = SavePanel(self.controller)
        self.compare = ComparePanel(self.controller)
        self.learn = LearnPanel(self.controller)
        self.review = ReviewDock(viewer, self.controller)
        self.review_strip = button(
            "Review strip",
            "Show all slices along the slider again, coloured by confidence",
            self.review.open,
        )
        self.message = _line("What happened last")
        self.message.setContentsMargins(6, 3, 6, 3)
        self.message.hide()
        self.engine = _line("Model, device and intensity window in use")
        self.panels = (
            *(self.image, self.models, self.tools, self.objects, self.segment),
            *(self.cleanup, self.measure, self.save, self.compare, self.learn),
        )
        self._lay_out()
        self._keys = Keys(viewer, self.controller, self.remembering.preferences.keys)
        self._key_tips = KeyTips(self)
        self._is_open = True
        self._was_docked = False
        self._timer = QTimer(self)
        self._timer.setInterval(_POLL_MS)
        self._timer.timeout.connect(self._poll)
        self._slow_timer = QTimer(self)
        self._slow_timer.setInterval(_SLOW_POLL_MS)
        self._slow_timer.timeout.connect(self._poll_seldom)
        self._slow_timer.start()
        # Many changes in a row are shown once.
        self._refresh_later = QTimer(self)
        self._refresh_later.setSingleShot(True)
        self._refresh_later.timeout.connect(self._show)
        self._look_later = QTimer(self)
        self._look_later.setSingleShot(True)
        self._look_later.setInterval(_REST_MS)
        self._look_later.timeout.connect(self.controller.look_ahead)
        self._warn_later = QTimer(self)
        self._warn_later.setSingleShot(True)
        self._warn_later.setInterval(_TYPING_MS)
        self._warn_later.timeout.connect(self.remembering.warn)
        self.remembering.troubled.connect(lambda: self._warn_later.start())
        self._connect(viewer)
        self.refresh()
        QTimer.singleShot(_WARM_UP_MS, self._warm_up)

    def refresh(self) -> None:
        """Show the present state."""
        if self._is_open:
            for panel in self.panels:
                panel.refresh()
            self.resume_bar.refresh()
            if not self.resume_bar.isHidden():
                # Whose work waits to be resumed knows the first steps.
                self.hints.hide()
            if self._was_docked:
                self.review.refresh()
            self.review_strip.setVisible(self.review.can_open and not self.review.is_open)

    def shut_down(self, *_: Any) -> None:
        """Stop what runs and give keys and layers back to napari; called when the widget goes."""
        if self._is_open:
            self._is_open = False
            for event, slot in self._watched:
                event.disconnect(slot)
            self._keys.close()
            self.review.shut_down()
            self.remembering.close()
            self.controller.close()

    def event(self, event: QEvent | None) -> bool:
        """Shut down when napari takes the widget out of its dock, which no other event tells."""
        if event is not None and event.type() == QEvent.Type.ParentChange:
            if self.parentWidget() is not None:
                self._was_docked = True
                self._show_soon()
            elif self._was_docked:
                self._timer.stop()
                self._slow_timer.stop()
                self.shut_down()
        return bool(super().event(event))

    def _lay_out(self) -> None:
        inside = QWidget()
        column = QVBoxLayout(inside)
        column.setContentsMargins(6, 4, 6, 4)
        column.setSpacing(_GAP)
        column.addWidget(self.resume_bar)
        column.addWidget(self.hints)
        self.image.heading.addWidget(HelpButton())
        for panel in self.panels:
            column.addWidget(panel)
            if panel is self.segment:
                column.addWidget(self.review_strip)
        column.addWidget(self.engine)
        column.addStretch(1)
        scroll = QScrollArea()
        scroll.setWidget(inside)
        scroll.setWidgetResizable(True)
        scroll.setFrameShape(QFrame.Shape.NoFrame)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.setSpacing(0)
        outer.addWidget(scroll)
        # Always in sight, wherever one has scrolled to.
        outer.addWidget(self.message)
        self.setMinimumWidth(350)

    def _connect(self, viewer: Viewer) -> None:
        controller = self.controller
        controller.woken.connect(self._wake)
        controller.changed.connect(self._show_soon)
        controller.state_changed.connect(self._show_soon)
        controller.message.connect(self._show_message)
        self.review.changed.connect(self._show_soon)
        controller.ready.connect(self._show_engine)
        controller.bench.layer_created.connect(self._follow_mode)
        self.remembering.changed.connect(self._show_preferences)
        self.hints.declined.connect(lambda: self.remembering.remember(show_hints=False))
        self.models.chosen.connect(lambda name, value: self.remembering.remember(**{name: value}))
        self.segment.while_drawing.toggled.connect(
            lambda on: self.remembering.remember(segment_while_drawing=on)
        )
        self._show_preferences(self.remembering.preferences)
        for layer in controller.bench.layers:
            self._follow_mode(layer)
        dims, layers = viewer.dims.events, viewer.layers.events
        self._watched = [
            (event, self._show_soon)
            for event in (
                dims.order,
                dims.ndim,
                dims.ndisplay,
                layers.inserted,
                layers.removed,
                layers.reordered,
                layers.renamed,
                viewer.layers.selection.events.active,
            )
        ]
        controller.warmed_up.connect(self._look_soon)
        controller.state_changed.connect(self._look_soon)
        controller.bench.changed.connect(self._look_soon)
        self._watched.append((dims.current_step, self._look_soon))
        self._watched.append((dims.current_step, self._follow_frame))
        for event, slot in self._watched:
            event.connect(slot)
        # Not the method itself: Qt drops slots of what is being destroyed before it calls them.
        self.destroyed.connect(lambda *_: self.shut_down())
        # A window that is closed by its button takes the program along, and nothing is destroyed.
        application = QApplication.instance()
        if application is not None:
            application.aboutToQuit.connect(self.shut_down)

    def _warm_up(self) -> None:
        if self._is_open:
            self.controller.recovery.start()
            self.controller.warm_up()

    def _wake(self) -> None:
        if not self._timer.isActive():
            self._timer.start()
            # What was drawn is looked at before the window is painted again.
            QTimer.singleShot(0, self._poll)

    def _poll(self) -> None:
        if not self.controller.poll():
            self._timer.stop()

    def _poll_seldom(self) -> None:
        if self._is_open:
            self.controller.autosaver.poll()

    def _show_message(self, text: str) -> None:
        self.message.setText(text)
        self.message.setVisible(bool(text))

    def _show_preferences(self, preferences: Preferences) -> None:
        self.hints.show_keys(preferences.keys)
        self._key_tips.show_keys(preferences.keys)
        self._keys.use(preferences.keys)
        self.hints.setVisible(preferences.show_hints and not self.hints.is_dismissed)

    def _show_engine(self, text: str) -> None:
        self.engine.setText(text)

    def _follow_mode(self, layer: Any) -> None:
        """Let the tool buttons follow napari's own."""
        layer.events.mode.connect(self._show_soon)

    def _follow_frame(self, *_: Any) -> None:
        if self._is_open:
            self.compare.follow()
            self.tools.follow()

    def _show_soon(self, *_: Any) -> None:
        if self._is_open and not (self._refresh_later.isActive() and self._answer_is_near):
            self._refresh_later.start(0)

    def _show(self) -> None:
        # Showing that a slice is at work, and a moment later that it is done, would take as long
        # as the work.
        if self._answer_is_near:
            self._refresh_later.start(_ANSWER_MS)
        else:
            self.refresh()

    @property
    def _answer_is_near(self) -> bool:
        seconds = self.controller.seconds_segmenting
        return seconds is not None and 1e3 * seconds < _ANSWER_MS

    def _look_soon(self, *_: Any) -> None:
        if self._is_open:
            self._look_later.start()


def _line(tip: str) -> QLabel:
    label = QLabel("")
    label.setWordWrap(True)
    label.setToolTip(tip)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label
