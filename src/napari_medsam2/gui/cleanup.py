"""Cleaning up the result: what an operation would change is shown first, then written. No Qt here.

The thread copies the labels before it works on them, so that the window waits for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from napari.layers import Labels
from napari.utils.colormaps import CyclicLabelColormap
from psygnal import Signal

from .cleanup_order import Kind, Order, is_solid, scale_of, text_of, work_of
from .layers import add_behind_selection, placement, preview_name, spare_overlays, take_out
from .views import position, show_frame
from .worker import Ended, Worker

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from napari_medsam2.labels import MaskUpdate
    from napari_medsam2.session import Run, Session
    from napari_medsam2.volume import View

    from .bench import Bench
    from .worker import Job

__all__ = ["COLOURS", "COME", "GONE", "Cleaner", "Kind", "Order", "Preview"]

GONE, COME = 1, 2
# Apart in brightness, too, for those who see red and green alike.
COLOURS = {GONE: "#ff2d55", COME: "#d0ff14"}


@dataclass(frozen=True)
class Preview:
    """What an order would change.

    Attributes
    ----------
    order : Order
    view : View
        Whose frames they are.
    updates : tuple of MaskUpdate
    removed, added : int
        Pixels.
    frames : tuple of int
        Where, ascending.
    """

    order: Order
    view: View
    updates: tuple[MaskUpdate, ...]
    removed: int
    added: int
    frames: tuple[int, ...]

    def __str__(self) -> str:
        """Return it in words."""
        if not self.updates:
            return "Nothing to change"
        return f"{self.removed:,} px removed, {self.added:,} px added on {self.where}"

    @property
    def where(self) -> str:
        """On which slices, in words."""
        n = len(self.frames)
        return f"slice {self.frames[0]}" if n == 1 else f"{n} slices"


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
        work = work_of(session, order)
        volume, stack = session.volume, session.stack

        def run(job: Job) -> tuple[Preview, NDArray[np.uint8]] | None:
            updates: list[MaskUpdate] = []
            changes = np.zeros(volume.label_shape, np.uint8)
            before, after = stack.of_labels(session.labels), stack.of_labels(changes)
            counts = np.zeros(2, np.int64)
            for update in work():
                if job.is_cancelled:
                    return None
                was = before[update.frame] == update.object_id
                counts += _mark(after[update.frame], was, update)
                updates.append(update)
            frames = tuple(sorted({u.frame for u in updates}))
            removed, added = counts.tolist()
            return Preview(order, stack.view, tuple(updates), removed, added, frames), changes

        self._job = self._worker.submit(run)
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
        is_good = known is not None and (known.order, known.view) == (order, session.stack.view)
        # The layer to restrict to may have been painted on since.
        if known is None or not is_good or order.kind == "restrict":
            work, total = work_of(session, order), len(order.object_ids) * len(session.stack)
        else:
            found = known.updates
            work, total = (lambda: iter(found)), len(found)
        return session.start_writing(work, total, text_of(order))

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
        if desk is None or preview is None or not preview.frames or preview.view.axis is None:
            return
        axis, dims = preview.view.axis, self._bench.viewer.dims
        here = position(dims, desk.image, axis)
        following = next((f for f in preview.frames if f > here), preview.frames[0])
        rest = [i for i in range(desk.image.ndim) if i != axis][:-2]
        at = dict(zip(rest, preview.view.at, strict=True))
        show_frame(dims, desk.image, {**at, axis: following})

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
        if desk is None or self.preview is None or not self.preview.updates:
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


def _mark(
    changes: NDArray[np.uint8], before: NDArray[np.bool_], update: MaskUpdate
) -> tuple[int, int]:
    """Mark what an update changes on a frame; return how many pixels go and come."""
    height, width = before.shape
    mask = update.full_mask((height, width))
    gone, come = before & ~mask, mask & ~before
    changes[gone], changes[come] = GONE, COME
    return int(np.count_nonzero(gone)), int(np.count_nonzero(come))
