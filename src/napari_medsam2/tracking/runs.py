"""A run: masks computed in one place and written in another, as one undoable step.

What was asked is recorded as a `RunRecord`; asking it again gives the same masks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from napari_medsam2.state import Kept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from napari_medsam2.history import RunRecord
    from napari_medsam2.labels import Edit, MaskUpdate
    from napari_medsam2.stores import LabelStores
    from napari_medsam2.volume import View

    from .embeddings import FrameEncoder
    from .tracker import Propagation
    from .zoomed import ZoomedPropagation

__all__ = ["Run", "compute", "count", "replay"]


class Run:
    """A request to segment that is under way.

    `updates` computes and touches neither prompts nor labels, so it may run in a worker thread.
    `apply` and `close` write, and belong to the thread that owns the labels. `complete` does all of
    it in one thread. A run must be closed, also when it fails or is stopped: what was applied until
    then stays, as one step of the history.

    Parameters
    ----------
    compute : callable
        Returns the mask updates; called on the first step of `updates`.
    count : callable
        Returns how many updates there will be.
    apply : callable
        Writes an update; returns the edit, None if nothing changed.
    on_close : callable
        Takes the edits and the number of updates applied.
    """

    def __init__(
        self,
        compute: Callable[[], Iterator[MaskUpdate]],
        count: Callable[[], int],
        apply: Callable[[MaskUpdate], Edit | None],
        on_close: Callable[[tuple[Edit, ...], int], None],
    ) -> None:
        self._compute = compute
        self._count = count
        self._apply = apply
        self._on_close = on_close
        self._edits: list[Edit] = []
        self.applied = 0
        self.is_closed = False

    @property
    def edits(self) -> tuple[Edit, ...]:
        """What was changed until now."""
        return tuple(self._edits)

    def total(self) -> int:
        """Count the updates to come; loads the model, so call it where `updates` runs."""
        return self._count()

    def updates(self) -> Iterator[MaskUpdate]:
        """Compute the mask updates, one after the other."""
        return self._compute()

    def apply(self, update: MaskUpdate) -> None:
        """Write an update into the labels; ignored once the run is closed."""
        if self.is_closed:
            return
        edit = self._apply(update)
        self.applied += 1
        if edit is not None:
            self._edits.append(edit)

    def close(self) -> None:
        """End the run and enter what was applied into the history; harmless if repeated."""
        if not self.is_closed:
            self.is_closed = True
            self._on_close(self.edits, self.applied)

    def complete(self) -> Iterator[MaskUpdate]:
        """Compute, write and yield every update; closes when done, left early, or failing."""
        try:
            for update in self.updates():
                self.apply(update)
                yield update
        finally:
            self.close()


def compute(encoder: FrameEncoder, record: RunRecord, memory: str = "sam2") -> Iterator[MaskUpdate]:
    """Compute the mask updates that a "segment" or "propagate" record asks for."""
    if record.kind == "segment":
        yield from _segmented(encoder, record, memory)
    else:
        for updates in _propagation(encoder, record, memory):
            yield from updates


def count(encoder: FrameEncoder, record: RunRecord, memory: str = "sam2") -> int:
    """Count the (object, frame) pairs that `compute` will state."""
    if record.kind == "segment":
        assert record.frame is not None
        return sum(1 for o in record.prompts.objects if o.on(record.frame))
    return _propagation(encoder, record, memory).total


def replay(
    encoder_of: Callable[[RunRecord], FrameEncoder],
    stores: LabelStores,
    view: View,
    record: RunRecord,
) -> None:
    """Do again what is recorded, as far as it went.

    Parameters
    ----------
    encoder_of : callable
        Takes a record, returns an encoder of its frames with its model and its window.
    stores : LabelStores
    view : View
        Whose frames it is about.
    record : RunRecord
    """
    if record.kind == "remove":
        for other in stores.parallel(view):
            for object_id in record.prompts.ids:
                stores.of(other).erase(object_id)
    elif record.kind == "write":
        for write in record.writes:
            stores.apply(write.update(), view, Kept())
    else:
        memory = record.model.memory if record.model else "sam2"
        for number, update in enumerate(compute(encoder_of(record), record, memory)):
            if number == record.updates:
                break
            stores.apply(update, view, record.kept)


def _segmented(encoder: FrameEncoder, record: RunRecord, memory: str) -> list[MaskUpdate]:
    from .tracker import segment_frame
    from .zoom import Zoom
    from .zoomed import segment_zoomed

    assert record.frame is not None
    prompts = record.prompts.only(o.id for o in record.prompts.objects if o.on(record.frame))
    zoom = Zoom.of(encoder) if record.zoom == "auto" else None
    if zoom is None:
        return segment_frame(
            encoder, prompts, record.frame, record.corrections, memory, record.kept.order
        )
    return segment_zoomed(
        encoder, zoom, prompts, record.frame, record.corrections, memory, record.kept.order
    )


def _propagation(
    encoder: FrameEncoder, record: RunRecord, memory: str
) -> Propagation | ZoomedPropagation:
    from .tracker import Propagation
    from .zoomed import with_zoom

    whole = Propagation(
        encoder,
        record.prompts,
        record.direction,
        record.start,
        record.stop,
        record.corrections,
        memory,
        record.patience,
        record.kept.order,
    )
    return with_zoom(whole, record.zoom)
