"""Measuring the objects of the image in use, in a thread; no Qt here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels, Shapes
from psygnal import Signal

from napari_medsam2.errors import InputError
from napari_medsam2.io.atomic import atomic_path
from napari_medsam2.io.tables import write_measurements
from napari_medsam2.measure_objects import measure_objects

from .adapters import nearest
from .layers import add_behind_selection, align, full_resolution, placement, take_out
from .views import show_frame, slider_axes
from .worker import Ended, Worker

if TYPE_CHECKING:
    from collections.abc import Iterable

    from napari.layers import Image
    from numpy.typing import NDArray

    from napari_medsam2.measure_objects import ObjectMeasures
    from napari_medsam2.measure_shape import Line
    from napari_medsam2.session import Session

    from .bench import Bench
    from .worker import Job

__all__ = ["TABLE_FILTER", "Measurer", "diameters_name", "save_table", "suggestion"]

TABLE_FILTER = "Table (*.csv)"

_LINE = 1.5  # width in screen pixels, roughly: napari scales it with the voxel


def diameters_name(image: Image) -> str:
    """Return the name of an image's layer of measured diameters."""
    return f"{image.name} diameters"


def save_table(measures: Iterable[ObjectMeasures], path: str | Path) -> Path:
    """Write what was measured as CSV; an older file is replaced."""
    with atomic_path(Path(path), overwrite=True) as temporary:
        write_measurements(temporary, measures)
    return Path(path)


def suggestion(bench: Bench) -> str:
    """Return a file name for the table, beside the image if that came from a file."""
    name = "image" if bench.image is None else bench.image.name.replace("/", "_")
    source = Path(bench.desk.volume().source) if bench.desk is not None else Path()
    folder = source if source.is_dir() else source.parent
    is_known = bool(source.name) and folder.is_dir()
    return str((folder if is_known else Path.cwd()) / f"{name}_measurements.csv")


class Measurer:
    """Measures the objects of the image in use.

    Parameters
    ----------
    bench : Bench

    Attributes
    ----------
    is_stale : bool
        Whether labels have changed since they were measured, or their layer is gone.
    n_done : int
        Rows that are measured, while it is busy.
    """

    # Something to show has changed.
    changed = Signal()
    # It has ended, with an error or None.
    ended = Signal(object)

    def __init__(self, bench: Bench) -> None:
        self.is_stale = False
        self.n_done = 0
        self._bench = bench
        self._worker = Worker()
        self._job: Job | None = None
        self._table: tuple[ObjectMeasures, ...] | None = None
        self._axes = ""
        self._image: Image | None = None
        self._watched: Labels | None = None
        self._lines: Shapes | None = None
        self._lines_of: Image | None = None
        bench.leaving.connect(self.cancel)
        bench.viewer.layers.events.removed.connect(self._on_removed)

    @property
    def is_busy(self) -> bool:
        """Whether measuring is under way."""
        return self._job is not None

    @property
    def table(self) -> tuple[ObjectMeasures, ...] | None:
        """What was measured of the image in use, by object and time; None if nothing was."""
        return self._table if self._image is self._bench.image else None

    @property
    def shows_lines(self) -> bool:
        """Whether the diameters are drawn on the image."""
        return self._lines is not None

    def start(self, session: Session) -> None:
        """Begin; what was measured before is dropped.

        Raises
        ------
        InputError
            If there is nothing to measure.
        """
        desk = self._bench.require_desk()
        result = desk.results.layer
        if result is None:
            raise InputError("there is nothing to measure yet: segment something first")
        self.cancel()
        self._watch(result)
        stack, scores = session.stack, session.scores
        names = {entry.id: entry.name for entry in session.prompts.objects}

        def run(job: Job) -> tuple[ObjectMeasures, ...] | None:
            found: list[ObjectMeasures] = []
            # A copy, as labels may change meanwhile.
            labels = np.array(session.labels)
            for measures in measure_objects(labels, stack, names, scores):
                if job.is_cancelled:
                    return None
                found.append(measures)
                job.report(len(found))
            return tuple(sorted(found, key=_order))

        self._image, self._axes = desk.image, session.volume.label_axes
        self.is_stale, self.n_done, self._table = False, 0, None
        self._job = self._worker.submit(run)
        self.changed.emit()

    def poll(self) -> None:
        """Take in what the thread has done."""
        job, message = self._job, None
        while job is not None and (newer := job.receive()) is not None:
            message = newer
            if isinstance(message, Ended):
                self._job = None
                self._table = message.value
                if self.shows_lines:
                    self._draw()
                self.ended.emit(message.error)
                break
            self.n_done = message
        if message is not None:
            self.changed.emit()

    def note_change(self, *_: Any) -> None:
        """Note that labels are not what they were."""
        if not self.is_stale and self._image is not None:
            self.is_stale = True
            self.changed.emit()

    def go_to(self, measures: ObjectMeasures) -> None:
        """Move the sliders to where an object's diameter is, or to its centre."""
        if self._image is None or not measures.bbox:
            return
        place = [nearest(c) for c in measures.centre]
        if measures.diameters is not None and measures.axis:
            place[self._axes.index(measures.axis)] = measures.diameters.frame
        dims = self._bench.viewer.dims
        show_frame(dims, self._image, {i: place[i] for i in slider_axes(dims, self._image)})

    def show_lines(self, shown: bool) -> None:
        """Draw long and short axis of every object on the image, or take them away."""
        if shown:
            self._draw()
        else:
            self._erase()
        self.changed.emit()

    def cancel(self, *_: Any) -> None:
        """Drop what is under way; the thread ends with the object that it is at."""
        if self._job is not None:
            self._job.cancel()
            self._job = None
            self.changed.emit()

    def close(self) -> None:
        """Stop for good and let go of the layers."""
        self.cancel()
        self._watch(None)
        self._lines = None
        self._bench.viewer.layers.events.removed.disconnect(self._on_removed)
        self._worker.close()

    def _draw(self) -> None:
        table, image, desk = self.table, self._image, self._bench.desk
        if not table or image is None or desk is None:
            self._erase()
            return
        drawn = [
            (self._lifted(m, line), tuple(float(v) for v in desk.colour(m.object_id)))
            for m in table
            if m.diameters is not None
            for line in (m.diameters.long, m.diameters.short)
        ]
        if not drawn:
            self._erase()
            return
        ends, colours = [ends for ends, _ in drawn], [colour for _, colour in drawn]
        if self._lines is not None and self._lines_of is not image:
            self._erase()
        if self._lines is not None:
            self._lines.data = [(pair, "line") for pair in ends]
            self._lines.edge_color = colours
            align(self._lines, image)
            return
        self._lines = Shapes(
            ends,
            shape_type="line",
            edge_color=colours,
            edge_width=max(0.5, _LINE * min(full_resolution(image).shape[: image.ndim][-2:]) / 256),
            name=diameters_name(image),
            opacity=1.0,
            **placement(image),
        )
        self._lines_of = image
        self._lines.editable = False
        add_behind_selection(self._bench.viewer, self._lines)

    def _erase(self) -> None:
        lines, self._lines = self._lines, None
        if lines is not None:
            take_out(self._bench.viewer, lines)

    def _lifted(self, measures: ObjectMeasures, line: Line) -> NDArray[np.float64]:
        """Return the ends of a line in the coordinates of the image's layer, (2, ndim)."""
        assert measures.diameters is not None
        fixed = {} if measures.time is None else {self._axes.index("t"): measures.time}
        if measures.axis:
            fixed[self._axes.index(measures.axis)] = measures.diameters.frame
        ends = np.zeros((2, len(self._axes)))
        for axis, position in fixed.items():
            ends[:, axis] = position
        ends[:, [i for i in range(len(self._axes)) if i not in fixed]] = line.start, line.end
        return ends

    def _watch(self, layer: Labels | None) -> None:
        if self._watched is not None:
            for event in _edits(self._watched):
                event.disconnect(self.note_change)
        self._watched = layer
        if layer is not None:
            for event in _edits(layer):
                event.connect(self.note_change)

    def _on_removed(self, event: Any) -> None:
        layer = event.value
        if layer is self._lines:
            self._lines = None
            self.changed.emit()
        elif layer is self._watched:
            self.cancel()
            self._watch(None)
            self.note_change()
        elif layer is self._image:
            self.cancel()
            self._erase()
            self._image, self._table = None, None
            self.changed.emit()


def _order(measures: ObjectMeasures) -> tuple[int, int]:
    return measures.object_id, -1 if measures.time is None else measures.time


def _edits(layer: Labels) -> tuple[Any, ...]:
    return layer.events.data, layer.events.paint, layer.events.labels_update
