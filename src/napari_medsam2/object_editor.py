"""What a person decides about objects: lock, hide, order, accept, merge, remove."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .errors import PromptError
from .history import RunRecord
from .labels import MaskUpdate
from .prompt_editor import PromptEditor
from .prompts import ObjectPrompts, PromptSet, check_object_id
from .state import Kept
from .stores import LabelStores

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from numpy.typing import NDArray

    from .frames import FrameStack
    from .labels import Edit, LabelStore, Write
    from .state import State

__all__ = ["ObjectEditor"]


class ObjectEditor(PromptEditor):
    """The objects of an image, their prompts and their labels.

    Parameters
    ----------
    stack : FrameStack
    labels : ndarray of unsigned int
        Of the volume's label shape; written into.
    """

    def __init__(self, stack: FrameStack, labels: NDArray[Any]) -> None:
        super().__init__(stack)
        self._labels = labels
        self._stores = LabelStores(stack.volume, labels)

    @property
    def labels(self) -> NDArray[Any]:
        """The labels, shaped like the volume without channels; live, so copy what must stay."""
        return self._labels

    @property
    def scores(self) -> dict[int, NDArray[np.float64]]:
        """Confidence in [0, 1] per object and frame, nan where the object was not segmented."""
        return self._store.scores

    @property
    def locked(self) -> frozenset[int]:
        """The objects that nothing overwrites."""
        return self._state.standing.locked

    @property
    def hidden(self) -> frozenset[int]:
        """The objects that are not to be shown."""
        return self._state.standing.hidden

    @property
    def order(self) -> tuple[int, ...]:
        """Who wins where objects overlap, first wins; empty where the model decides."""
        return self._state.standing.order

    @property
    def accepted(self) -> dict[int, frozenset[int]]:
        """For each object the frames, of those looked at, whose mask was accepted."""
        return self._state.told.accepted_frames

    def set_locked(self, object_id: int, locked: bool = True) -> None:
        """Let nothing overwrite an object, or let it be changed again."""
        object_id = self._known(object_id)
        standing = self._state.standing
        changed = standing.locked | {object_id} if locked else standing.locked - {object_id}
        text = f"{'lock' if locked else 'unlock'} object {object_id}"
        self._decide(text, replace(self._state, standing=replace(standing, locked=changed)))

    def set_hidden(self, object_id: int, hidden: bool = True) -> None:
        """Hide an object, or show it again; its labels stay as they are."""
        object_id = self._known(object_id)
        standing = self._state.standing
        changed = standing.hidden | {object_id} if hidden else standing.hidden - {object_id}
        text = f"{'hide' if hidden else 'show'} object {object_id}"
        self._decide(text, replace(self._state, standing=replace(standing, hidden=changed)))

    def reorder(self, object_ids: Sequence[int]) -> None:
        """Say who wins where objects overlap, from the next run on.

        Parameters
        ----------
        object_ids : sequence of int
            First wins; objects that are not listed come after. Empty: the model's logits tell.

        Raises
        ------
        PromptError
            For an object that does not exist or is listed twice.
        """
        order = tuple(self._known(i) for i in object_ids)
        if len(set(order)) != len(order):
            raise PromptError(f"an object is listed twice in the order {list(order)}")
        standing = replace(self._state.standing, order=order)
        self._decide("reorder objects", replace(self._state, standing=standing))

    def accept(self, frame: int, object_ids: Iterable[int] | None = None) -> None:
        """Accept masks as they are on a frame: they never change, and tracking starts from them.

        Parameters
        ----------
        frame : int
        object_ids : iterable of int, optional
            By default all that were segmented there.

        Raises
        ------
        PromptError
            If nothing was segmented there.
        """
        self.stack.check_frame(frame)
        ids = self._segmented(frame) if object_ids is None else [*map(self._known, object_ids)]
        if not ids:
            raise PromptError(f"frame {frame} has no mask to accept: segment it first")
        accepted = self._state.told.accepted | {(i, frame) for i in ids}
        told = replace(self._state.told, accepted=accepted)
        self._decide(f"accept frame {frame}", replace(self._state, told=told))

    def unaccept(self, frame: int, object_ids: Iterable[int] | None = None) -> None:
        """Let masks of a frame be changed again, all of them by default."""
        self.stack.check_frame(frame)
        ids = None if object_ids is None else {*map(self._known, object_ids)}
        accepted = frozenset(
            (i, at)
            for i, at in self._state.told.accepted
            if at != frame or (ids is not None and i not in ids)
        )
        told = replace(self._state.told, accepted=accepted)
        self._decide(f"take back frame {frame}", replace(self._state, told=told))

    def remove_object(self, object_id: int) -> None:
        """Remove an object: its prompts, its labels on every frame of every view, its scores."""
        self.remove_objects([object_id])

    def remove_objects(self, object_ids: Iterable[int]) -> None:
        """Remove several objects as one step (`PromptError` for an unknown or a locked one)."""
        self._check_idle()
        ids = sorted({self._known(i) for i in object_ids})
        self._check_unlocked(ids)
        edits = tuple(e for store in self._everywhere() for i in ids for e in store.erase(i))
        known = self.prompts
        gone = tuple(known[i] if i in known else ObjectPrompts(i) for i in ids)
        record = RunRecord("remove", PromptSet(gone), view=self.stack.view)
        text = f"remove object {', '.join(map(str, ids))}"
        self._step(text, self._state.without(ids), edits, record)

    def merge_objects(self, object_ids: Iterable[int], into: int) -> None:
        """Make several objects one: its labels, prompts and name are those of all.

        Parameters
        ----------
        object_ids : iterable of int
            Those that cease to exist.
        into : int
            The one that stays.

        Raises
        ------
        PromptError
            For an unknown or a locked object, or if there is nothing to merge.
        """
        self._check_idle()
        into = self._known(into)
        others = sorted({self._known(i) for i in object_ids} - {into})
        if not others:
            raise PromptError(f"choose at least one other object to merge into object {into}")
        self._check_unlocked([into, *others])
        edits, writes = self._apply(self._united(others, into), Kept())
        after = self._state.without(others)
        for i in others:
            moved = self.prompts[i].prompts if i in self.prompts else ()
            prompts = after.told.prompts.add(into, *moved)
            after = replace(after, told=replace(after.told, prompts=prompts))
        record = RunRecord("write", view=self.stack.view, writes=writes)
        text = f"merge objects {', '.join(map(str, others))} into {into}"
        self._step(text, after, edits, record)

    def write_masks(
        self, updates: Iterable[MaskUpdate], text: str, prompts: PromptSet | None = None
    ) -> None:
        """Write masks that no model has made, as one step that can be undone and replayed.

        Locked objects and accepted masks stay as they are.

        Parameters
        ----------
        updates : iterable of MaskUpdate
        text : str
            What was done, for a person ("fill holes of object 1").
        prompts : PromptSet, optional
            What is said in this view from now on, as part of the same step.

        Raises
        ------
        PromptError
            For a prompt that does not fit; nothing is written.
        """
        self._check_idle()
        after = self._state
        if prompts is not None:
            prompts.check(len(self.stack), self.stack.shape)
            after = replace(after, told=replace(after.told, prompts=prompts))
        edits, writes = self._apply(updates, self._kept)
        if edits:
            record = RunRecord("write", view=self.stack.view, writes=writes)
            self._step(text, after, edits, record)
        else:
            self._decide(text, after)

    # Inside

    @property
    def _store(self) -> LabelStore:
        return self._stores.of(self.stack.view)

    @property
    def _kept(self) -> Kept:
        return Kept.of(self._state)

    def _apply(
        self, updates: Iterable[MaskUpdate], kept: Kept
    ) -> tuple[tuple[Edit, ...], tuple[Write, ...]]:
        """Write masks; return the edits, and the masks as they came to be."""
        edits, writes = [], []
        for update in updates:
            edit = self._stores.apply(update, self.stack.view, kept)
            if edit is not None:
                edits.append(edit)
                writes.append(self._stores.written(edit))
        return tuple(edits), tuple(writes)

    def _united(self, others: Sequence[int], into: int) -> Iterator[MaskUpdate]:
        """Yield the union of objects, and then what is left of the others: nothing."""
        nothing = np.zeros((0, 0), dtype=bool)
        for store in self._everywhere():
            scores = store.scores
            for frame, image in enumerate(store.frames):
                told = [
                    float(s[frame]) for i in (into, *others) if (s := scores.get(i)) is not None
                ]
                told = [score for score in told if np.isfinite(score)]
                if np.isin(image, others).any():
                    mask = np.isin(image, [into, *others])
                    score = min(told, default=np.nan)
                    yield MaskUpdate.from_mask(frame, into, mask, score, store.view)
                for i in others:
                    if i in scores and np.isfinite(scores[i][frame]):
                        yield MaskUpdate(frame, i, (0, 0, 0, 0), nothing, np.nan, store.view)

    def _everywhere(self) -> Iterator[LabelStore]:
        """Yield stores that together show every voxel once, this view's first axis first."""
        for view in self._stores.parallel(self.stack.view):
            yield self._stores.of(view)

    def _segmented(self, frame: int) -> list[int]:
        return [i for i, scores in self.scores.items() if np.isfinite(scores[frame])]

    def _known(self, object_id: int) -> int:
        object_id = check_object_id(object_id)
        if object_id not in self.prompts and object_id not in self._store.scores:
            self.prompts[object_id]  # says which there are
        return object_id

    def _check_unlocked(self, object_ids: Iterable[int]) -> None:
        for object_id in object_ids:
            if object_id in self.locked:
                raise PromptError(f"object {object_id} is locked: unlock it first")

    def _check_idle(self) -> None:
        """Raise `InputError` while a run is in progress."""

    def _decide(self, text: str, after: State) -> None:
        if after != self._state:
            self._step(text, after)
