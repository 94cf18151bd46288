"""Cleaning up the result: what an operation would change is shown first, then written. No Qt here.

The thread copies the labels before it works on them, so that the window waits for nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from napari.layers import Labels
from napari.utils.colormaps import CyclicLabelColormap
from psygnal import Signal

from .cleanup_order import (
    Kind,
    Order,
    further_axis,
    is_solid,
    noun_of,
    scale_of,
    text_of,
    views_of,
    work_of,
)
from .cleanup_preview import COME, GONE, Place, Preview, finder_of
from .layers import add_behind_selection, placement, preview_name, spare_overlays, take_out
from .views import position, show_frame
from .worker import Ended, Worker

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_medsam2.session import Run, Session

    from .bench import Bench
    from .worker import Job

__all__ = ["COLOURS", "COME", "GONE", "Cleaner", "Kind", "Order", "Preview"]

# Apart in brightness, too, for those who see red and green alike.
COLOURS = {GONE: "#ff2d55", COME: "#d0ff14"}


class Cleaner:
    """Previews and makes changes to the result of the image in use.

    Parameters
    ----------
    bench : Bench

    Attributes
    ----------
    preview : Preview or None
        What is shown in the preview layer now.
    """

    # Something to show has changed.
    changed = Signal()
    # A preview has ended, with an error or None.
    ended = Signal(object)

    def __init__(self, bench: Bench) -> None:
        self.preview: Preview | None = None
        self._bench = bench
        self._worker = Worker()
        self._job: Job | None = None
        self._layer: Labels | None = None
        bench.leaving.connect(self.cancel)
        bench.viewer.layers.events.removed.connect(self._on_removed)

    @property
    def is_busy(self) -> bool:
        """Whether a preview is being computed."""
        return self._job is not None

    @property
    def can_be_solid(self) -> bool:
        """Whether the frames of the image in use are slices of a body."""
        desk = self._bench.desk
        return desk is not None and desk.session is not None and is_solid(desk.session.stack)

    @property
    def beside(self) -> str:
        """What there is more of than the frames along the slider: "time point", "slice" or ""."""
        desk = self._bench.desk
        if desk is None or desk.session is None:
            return ""
        volume = desk.session.volume
        axis = further_axis(volume.label_axes, desk.axis(self._bench.settings))
        if axis is None or volume.label_shape[axis] == 1:
            return ""
        return noun_of(volume.label_axes[axis])

    def objects_everywhere(self) -> frozenset[int]:
        """Return the objects that were segmented at any place along the axis."""
        desk = self._bench.desk
        if desk is None or desk.session is None:
            return frozenset()
        session = desk.session
        return frozenset(i for view in session.parallel_views for i in session.scores_of(view))

    def unit(self, *, solid: bool) -> str:
        """Return the unit of lengths, "px" if the image has none or is not there."""
        desk = self._bench.desk
        if desk is None or desk.session is None:
            return "px"
        return scale_of(desk.session.stack, solid=solid)[1]

    def suggested_amount(self, kind: Kind, *, solid: bool) -> float:
        """Return an amount to begin with: two pixels to smooth, fifty to drop, in round numbers."""
        desk = self._bench.desk
        if desk is None or desk.session is None:
            return 1.0
        (f, y, x), _ = scale_of(desk.session.stack, solid=solid)
        amount = 50 * f * y * x if kind == "small" else 2 * min(y, x)
        return float(f"{amount:.1g}")

    def start(self, session: Session, order: Order) -> None:
        """Begin to compute a preview; an older one is dropped.

        Raises
        ------
        InputError
            For an order that makes no sense.
        """
        self.cancel()
        self._job = self._worker.submit(finder_of(session, order))
        self.changed.emit()

    def begin(self, session: Session, order: Order) -> Run:
        """Return a run that makes the changes, as one step of the history.

        What the preview of the same order has found is not computed again.

        Raises
        ------
        InputError
            For an order that makes no sense, or while another run is under way.
        """
        known = self.preview
        # The layer to restrict to may have been painted on since.
        is_good = order.kind != "restrict"
        if known is not None and is_good and known.serves(order, session.stack.view):
            found = known.writes
            return session.start_writing(
                lambda: (write.update() for write in found), len(found), text_of(order)
            )
        n_frames = len(session.stack) * len(views_of(session, order))
        total = n_frames * len(order.object_ids)
        return session.start_writing(work_of(session, order), total, text_of(order))

    def poll(self) -> None:
        """Take in what the thread has done."""
        job = self._job
        message = job.receive() if job is not None else None
        if message is None:
            return
        assert isinstance(message, Ended)
        self._job = None
        if message.value is not None:
            self.preview, changes = message.value
            self._show(changes)
        self.ended.emit(message.error)
        self.changed.emit()

    def show_next(self) -> None:
        """Go to the next slice that would change, after the last one to the first."""
        desk, preview = self._bench.desk, self.preview
        if desk is None or preview is None or not preview.places or preview.view.axis is None:
            return
        axis, dims, image = preview.view.axis, self._bench.viewer.dims, desk.image
        rest = [i for i in range(image.ndim) if i != axis][:-2]
        at = tuple(position(dims, image, i) for i in rest)
        here = Place(at, position(dims, image, axis))
        there = next((place for place in preview.places if place > here), preview.places[0])
        show_frame(dims, image, {**dict(zip(rest, there.at, strict=True)), axis: there.frame})

    def cancel(self, *_: Any) -> None:
        """Drop the preview, also one that is under way, and take its layer away."""
        if self._job is not None:
            self._job.cancel()
        was_there = self._job is not None or self.preview is not None
        self._job, self.preview = None, None
        layer, self._layer = self._layer, None
        if layer is not None:
            take_out(self._bench.viewer, layer)
        if was_there:
            self.changed.emit()

    def close(self) -> None:
        """Stop for good."""
        self.cancel()
        self._bench.viewer.layers.events.removed.disconnect(self._on_removed)
        self._worker.close()

    def _show(self, changes: NDArray[np.uint8]) -> None:
        desk = self._bench.desk
        if desk is None or self.preview is None or not self.preview.writes:
            return
        colours = ["transparent", COLOURS[GONE], COLOURS[COME]]
        self._layer = Labels(
            changes,
            name=preview_name(desk.image),
            colormap=CyclicLabelColormap(name="clean up", colors=colours),
            opacity=0.9,
            **placement(desk.image),
        )
        self._layer.editable = False
        spare_overlays(self._layer)
        add_behind_selection(self._bench.viewer, self._layer)

    def _on_removed(self, event: Any) -> None:
        if self._layer is not None and event.value is self._layer:
            self._layer = None
            self.cancel()
