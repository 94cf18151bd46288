"""The labels of a volume in all its views, written and put back through one journal."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from .labels import LabelStore
from .volume import View

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from .labels import Edit, MaskUpdate, Write
    from .state import Kept
    from .volume import Volume

__all__ = ["LabelStores"]


class LabelStores:
    """One `LabelStore` for each view of a label array that is in use; all share its memory.

    Parameters
    ----------
    volume : Volume
    labels : ndarray of unsigned int
        Of the volume's label shape.

    """

    def __init__(self, volume: Volume, labels: NDArray[Any]) -> None:
        self.volume = volume
        self.labels = labels
        # What was written since each reader has asked last.
        self._changes: dict[str, set[tuple[View, int]]] = {"": set()}
        self._stores: dict[View, LabelStore] = {}

    def of(self, view: View) -> LabelStore:
        """Return the labels as the frames of a view."""
        if view not in self._stores:
            frames = self.frames(view)
            self._stores[view] = LabelStore(frames, view, self._on_change)
        return self._stores[view]

    def apply(self, update: MaskUpdate, view: View, kept: Kept) -> Edit | None:
        """Write a mask, but for what is to be kept.

        Parameters
        ----------
        update : MaskUpdate
        view : View
            Where it belongs, unless it says so itself.
        kept : Kept

        Returns
        -------
        Edit or None
            What changed, None if nothing did.
        """
        view = update.view or view
        if kept.stays(update.object_id, view, update.frame):
            return None
        store = self.of(view)
        keep = kept.against(update.object_id, view, update.frame)
        return store.apply(update, keep, self._fixed(update, view, kept))

    def written(self, edit: Edit) -> Write:
        """Return the mask that an edit has just left, to write it again one day."""
        assert edit.view is not None
        return self.of(edit.view).written(edit)

    def frames(self, view: View, labels: NDArray[Any] | None = None) -> NDArray[Any]:
        """See labels of the volume's shape, these by default, as (frame, y, x)."""
        channel = None if self.volume.n_channels == 1 or self.volume.has_colour else 0
        stack = self.volume.stack(view.axis or 0, view.at, channel)
        return stack.of_labels(self.labels if labels is None else labels)

    def parallel(self, view: View) -> Iterator[View]:
        """Yield the views along the same axis that together show every voxel once."""
        shape = self.volume.label_shape
        others = [i for i in range(len(shape)) if i != view.axis][:-2]
        for at in itertools.product(*(range(shape[i]) for i in others)):
            yield View(view.axis, at)

    def scores_of(self, view: View) -> dict[int, NDArray[np.float64]]:
        """Return the scores of one view, see `LabelStore.scores`."""
        store = self._stores.get(view)
        return {} if store is None else store.scores

    def scores(self) -> dict[View, dict[int, NDArray[np.float64]]]:
        """Return the scores of every view that has some."""
        found = {view: store.scores for view, store in self._stores.items()}
        return {view: scores for view, scores in found.items() if scores}

    def revert(self, edits: Sequence[Edit]) -> None:
        """Put back what was before some edits, newest first."""
        for edit in reversed(edits):
            assert edit.view is not None
            self.of(edit.view).revert(edit)

    def redo(self, edits: Sequence[Edit]) -> None:
        """Apply edits again, in their order."""
        for edit in edits:
            assert edit.view is not None
            self.of(edit.view).redo(edit)

    def take_changes(self, reader: str = "") -> frozenset[tuple[View, int]]:
        """Return which frames were written since the last call.

        Parameters
        ----------
        reader : str
            Each reader is told of every change once, from its first call on.
        """
        changes = frozenset(self._changes.get(reader, ()))
        self._changes[reader] = set()
        return changes

    def _fixed(self, update: MaskUpdate, view: View, kept: Kept) -> NDArray[np.bool_] | None:
        """Return the pixels of a frame that lie on accepted frames of other views, None if none."""
        image = self.of(view).frames[update.frame]
        fixed: NDArray[np.bool_] | None = None
        for other, accepted in kept.accepted.items():
            if other == view:
                continue
            for object_id, frame in accepted:
                cut = self._cut(view, update.frame, other, frame)
                if cut is None:
                    continue
                if fixed is None:
                    fixed = np.zeros(image.shape, dtype=bool)
                own = object_id == update.object_id
                fixed[cut] |= True if own else image[cut] == object_id
        return fixed

    def _cut(
        self, view: View, frame: int, other: View, at: int
    ) -> tuple[int | slice, int | slice] | None:
        """Return where a frame of one view meets a frame of another, None if nowhere."""
        here, there = self._places(view, frame), self._places(other, at)
        if any(there.get(axis, place) != place for axis, place in here.items()):
            return None
        y, x = (i for i in range(len(self.volume.label_shape)) if i not in here)
        return there.get(y, slice(None)), there.get(x, slice(None))

    def _places(self, view: View, frame: int) -> dict[int, int]:
        """Return the axes along which a frame has one place, and that place."""
        n = len(self.volume.label_shape)
        others = [i for i in range(n) if i != view.axis][:-2]
        places = dict(zip(others, view.at, strict=True))
        return places if view.axis is None else {**places, view.axis: frame}

    def _on_change(self, view: View | None, frame: int) -> None:
        assert view is not None
        for changes in self._changes.values():
            changes.add((view, frame))
