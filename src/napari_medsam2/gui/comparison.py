"""Comparing the result with a labels layer that holds the truth, in a thread; no Qt here.

The thread reads the labels where they lie, copying the frames first, so that the window waits for
nothing. A change in that moment is told like any later one: the comparison is stale.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from psygnal import Signal

from napari_medsam2.errors import InputError
from napari_medsam2.evaluation.metrics import default_tolerance

from .adapters import FrameView
from .layers import labels_name, preview_name
from .scoring import Comparison, Sums, Task, checksum, frame_key
from .views import position, show_frame, shows_frames
from .worker import Ended, Worker

if TYPE_CHECKING:
    from collections.abc import Mapping

    from napari.layers import Image

    from napari_medsam2.session import Session
    from napari_medsam2.volume import Volume

    from .bench import Bench
    from .worker import Job

__all__ = ["Comparer"]


class Comparer:
    """Compares the result of the image in use with another labels layer.

    Parameters
    ----------
    bench : Bench

    Attributes
    ----------
    is_stale : bool
        Whether labels have changed since the comparison began, or a layer is gone.
    progress : (int, int)
        Objects done, objects in all; (0, 0) while that is unknown.
    """

    # Something to show has changed.
    changed = Signal()
    # It has ended, with an error or None.
    ended = Signal(object)
    # It was stopped, since this layer is gone.
    stopped = Signal(str)

    def __init__(self, bench: Bench) -> None:
        self.is_stale = False
        self.progress = (0, 0)
        self._bench = bench
        self._worker = Worker()
        self._job: Job | None = None
        self._comparison: Comparison | None = None
        self._image: Image | None = None
        self._layers: tuple[Labels, ...] = ()
        self._view: FrameView | None = None
        self._sums: Sums | None = None
        bench.leaving.connect(self.cancel)
        bench.viewer.layers.events.removed.connect(self._on_removed)

    @property
    def comparison(self) -> Comparison | None:
        """The comparison of the image in use, None if there is none."""
        return self._comparison if self._image is self._bench.image else None

    @property
    def is_busy(self) -> bool:
        """Whether a comparison is under way."""
        return self._job is not None

    def candidates(self) -> list[Labels]:
        """Return the labels layers that could be the truth of the image in use."""
        desk = self._bench.desk
        if desk is None:
            return []
        try:
            shape = desk.volume().label_shape
        except InputError:
            return []
        own = desk.results.layer
        return [
            layer
            for layer in self._bench.viewer.layers
            if isinstance(layer, Labels)
            and layer is not own
            and (own is not None or layer.name != labels_name(desk.image))
            and layer.name != preview_name(desk.image)
            and _shape(layer) == shape
        ]

    def start(
        self, session: Session, truth: Labels, partners: Mapping[int, int] | None = None
    ) -> None:
        """Begin; an older comparison that is under way is dropped.

        Parameters
        ----------
        session : Session
            Of the image in use.
        truth : Labels
        partners : mapping of int to int, optional
            True value of some objects, where it is not the one that would be chosen.

        Raises
        ------
        InputError
            For a layer that cannot be the truth.
        """
        desk = self._bench.require_desk()
        result = desk.results.layer
        if result is None:
            raise InputError("there is nothing to compare yet: segment something first")
        if truth is result:
            raise InputError(f"{truth.name} is the result itself; choose another labels layer")
        if not isinstance(truth, Labels) or _shape(truth) != session.labels.shape:
            raise InputError(
                f"{truth.name} is no labels layer of shape {session.labels.shape}, as the result is"
            )
        self.cancel()
        self._forget()
        view, volume = FrameView.of(session.stack), session.volume
        unit = _unit(volume, view)
        spacing = session.stack.spacing
        task = Task(
            truth=truth.name,
            view=view,
            found_data=session.labels,
            truth_data=truth.data[0] if truth.multiscale else truth.data,
            spacing=spacing,
            unit=unit,
            tolerance=default_tolerance(spacing, unit),
            solid=view.axis is not None and volume.label_axes[view.axis] != "t",
            known=tuple(session.scores),
            partners=dict(partners or {}),
        )
        self._image, self._layers, self._view = desk.image, (result, truth), view
        for layer in self._layers:
            layer.events.set_data.connect(self._look)
            for event in _edits(layer):
                event.connect(self.note_change)
        self._job = self._worker.submit(task.run)
        self.changed.emit()

    def poll(self) -> None:
        """Take in what the thread has done."""
        job = self._job
        while job is not None and job is self._job:
            message = job.receive()
            if message is None:
                return
            if isinstance(message, Ended):
                self._job = None
                if message.error is not None:
                    self._forget()
                self._comparison = message.value
                self.ended.emit(message.error)
            elif isinstance(message, Sums):
                self._sums = message
            else:
                self.progress = message
            self.changed.emit()

    def note_change(self, *_: Any) -> None:
        """Note that labels are not what they were."""
        if not self.is_stale and self._image is not None:
            self.is_stale = True
            self.changed.emit()

    def frame_on_show(self) -> int | None:
        """Return which of the compared frames the viewer shows, None if it shows none of them."""
        view, image, dims = self._view, self._image, self._bench.viewer.dims
        if view is None or image is None or image is not self._bench.image:
            return None
        if view.axis is None:
            return 0
        if not shows_frames(dims, image, view):
            return None
        if any(position(dims, image, axis) != at for axis, at in view.fixed):
            return None
        return position(dims, image, view.axis)

    def show_frame(self, frame: int) -> None:
        """Move the sliders to one of the compared frames."""
        view, image, dims = self._view, self._image, self._bench.viewer.dims
        if view is None or image is None or view.axis is None:
            return
        show_frame(dims, image, dict((*view.fixed, (view.axis, frame))))

    def cancel(self) -> None:
        """Drop what is under way; the thread ends with the object that it is at."""
        if self._job is not None:
            self._job.cancel()
            self._job = None
            self._forget()
            self.changed.emit()

    def close(self) -> None:
        """Stop for good and let go of the layers."""
        self.cancel()
        self._forget()
        self._bench.viewer.layers.events.removed.disconnect(self._on_removed)
        self._worker.close()

    def _forget(self) -> None:
        for layer in self._layers:
            layer.events.set_data.disconnect(self._look)
            for event in _edits(layer):
                event.disconnect(self.note_change)
        self._layers, self._image, self._comparison = (), None, None
        self._view = self._sums = None
        self.is_stale, self.progress = False, (0, 0)

    def _look(self, *_: Any) -> None:
        """Check the frame on show, as not every change is told: napari's own undo is not."""
        frame = self.frame_on_show()
        if frame is None or self._view is None or self._sums is None or self.is_stale:
            return
        key = frame_key(self._view, frame)
        for layer, sums in zip(self._layers, (self._sums.found, self._sums.truth), strict=True):
            if isinstance(layer.data, np.ndarray) and checksum(layer.data[key]) != sums[frame]:
                self.note_change()

    def _on_removed(self, event: Any) -> None:
        layer = event.value
        if layer is self._image:
            self.cancel()
            self._forget()
            self.changed.emit()
        elif any(layer is own for own in self._layers):
            if self.is_busy:
                self.cancel()
                self.stopped.emit(layer.name)
            else:
                self.note_change()


def _unit(volume: Volume, view: FrameView) -> str:
    """Return the unit that surfaces are measured in, "px" if the axes differ in it."""
    letters = volume.label_axes
    axes = {*view.plane, *(() if view.axis is None or letters[view.axis] == "t" else (view.axis,))}
    units = {volume.units[axis] for axis in axes}
    return units.pop() if len(units) == 1 else "px"


def _shape(layer: Labels) -> tuple[int, ...]:
    data = layer.data[0] if layer.multiscale else layer.data
    return tuple(int(n) for n in data.shape)


def _edits(layer: Labels) -> tuple[Any, ...]:
    """Return the events that tell of changed labels."""
    return layer.events.data, layer.events.paint, layer.events.labels_update
