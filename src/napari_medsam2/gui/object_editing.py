"""The objects of the image in use: named, locked, hidden, put in order, merged, removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .census import Census
from .editing import Editing
from .objects import free_id, list_objects
from .relay import relay

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from napari.components import ViewerModel

    from napari_medsam2.session import Session

    from .objects import ObjectInfo

__all__ = ["ObjectEditing"]


class ObjectEditing(Editing):
    """What a person does with objects; each step can be undone.

    Parameters
    ----------
    viewer : ViewerModel
    make_session : callable
        Builds sessions; for tests.

    Attributes
    ----------
    census : Census
        Counts the pixels of objects.
    """

    def __init__(self, viewer: ViewerModel, make_session: Callable[..., Session]) -> None:
        super().__init__(viewer, make_session)
        self.census = Census()
        relay(self.census.changed, self.changed)
        relay(self.relabelled, self.woken)
        self.changed.connect(self._hide)

    @property
    def objects(self) -> list[ObjectInfo]:
        """The objects of the image, with the one that is drawn now."""
        desk = self.bench.desk
        if desk is None:
            return []
        return list_objects(desk.session, self.tools.object_id, desk.colour, self.census.pixels)

    def new_object(self) -> int:
        """Select the next id that has neither prompts nor labels, and return it."""
        self._read_prompts()
        desk = self.bench.desk
        layer = None if desk is None else desk.results.layer
        self.tools.select(free_id(None if desk is None else desk.session, layer))
        how = "draw a box around it" + (" or click on it" if self.tools.takes_points else "")
        self.message.emit(f"Object {self.tools.object_id}: {how}")
        return self.tools.object_id

    def rename_object(self, object_id: int, name: str) -> bool:
        """Give an object a name."""
        return self._guarded(lambda: self._change(lambda s: s.rename_object(object_id, name)))

    def lock_object(self, object_id: int, locked: bool = True) -> bool:
        """Let nothing overwrite an object, or let it be changed again."""
        return self._decide(lambda s: s.set_locked(object_id, locked))

    def hide_object(self, object_id: int, hidden: bool = True) -> bool:
        """Hide an object and its prompts, or show them again."""
        return self._decide(lambda s: s.set_hidden(object_id, hidden))

    def reorder_objects(self, object_ids: Sequence[int]) -> bool:
        """Say who wins where objects overlap, first wins; empty: the model tells."""
        return self._decide(lambda s: s.reorder(object_ids))

    def merge_objects(self, object_ids: Iterable[int], into: int) -> bool:
        """Make several objects one; stops a run first."""
        ids = tuple(object_ids)

        def merge() -> None:
            self._change(lambda s: s.merge_objects(ids, into))
            self.relabelled.emit()
            self.tools.select(into)

        return self._when_idle(merge, stop=True)

    def remove_object(self, object_id: int) -> bool:
        """Remove an object with its prompts and labels; undo brings it back."""
        return self.remove_objects([object_id])

    def remove_objects(self, object_ids: Iterable[int]) -> bool:
        """Remove several objects as one step; stops a run first."""
        ids = tuple(object_ids)

        def remove() -> None:
            session = self._session_in_line()
            known = [i for i in ids if i in session.prompts or i in session.scores]
            if known:
                self._change(lambda s: s.remove_objects(known))
            self.relabelled.emit()
            left = [o.id for o in self.objects if o.id not in ids]
            if self.tools.object_id in ids:
                self.tools.select(left[-1] if left else 1)

        return self._when_idle(remove, stop=True)

    # Inside

    def _decide(self, decision: Callable[[Session], Any]) -> bool:
        """Do what changes neither prompts nor labels; a run that goes on is not disturbed."""

        def decide() -> None:
            session = self._session_in_line()
            # An object that was only chosen to be drawn is not yet known.
            session_knows = self.tools.object_id in session.prompts
            if not session_knows and self.tools.object_id not in session.scores:
                session.rename_object(self.tools.object_id, "")
            decision(session)
            self.changed.emit()

        return self._guarded(decide)

    def _count(self) -> None:
        """Have the objects counted where labels have changed."""
        desk = self.bench.desk
        session = None if desk is None else desk.session
        if session is None:
            self.census.watch(None)
        else:
            view = session.stack.view
            self.census.watch(session.frames_of(view))
            changes = session.take_changes("census")
            if any(v != view for v, _ in changes):
                self.census.touch()
            elif changes:
                self.census.touch(frame for _, frame in changes)
        self.census.poll()

    def _hide(self) -> None:
        desk = self.bench.desk
        if desk is not None and desk.session is not None:
            known = {*desk.session.prompts.ids, *desk.session.scores, *self.census.object_ids}
            desk.hide(desk.session.hidden, known)
