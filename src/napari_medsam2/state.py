"""What a person has said and decided, as values that a history can keep. Numpy only."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from .prompts import PromptSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .volume import View

__all__ = ["Kept", "Standing", "State", "Told"]

Accepted = frozenset[tuple[int, int]]
"""(object id, frame) of masks that a person has accepted."""


@dataclass(frozen=True)
class Told:
    """What was said on the frames of one view.

    Attributes
    ----------
    prompts : PromptSet
    accepted : frozenset of (object id, frame)
    """

    prompts: PromptSet = field(default_factory=PromptSet)
    accepted: Accepted = frozenset()

    @property
    def accepted_frames(self) -> dict[int, frozenset[int]]:
        """For each object, by ascending id, the frames whose mask was accepted."""
        frames: dict[int, set[int]] = {}
        for object_id, frame in sorted(self.accepted):
            frames.setdefault(object_id, set()).add(frame)
        return {object_id: frozenset(found) for object_id, found in frames.items()}


@dataclass(frozen=True)
class Standing:
    """What was decided about objects, in every view of the image.

    Attributes
    ----------
    locked : frozenset of int
        Objects that nothing may overwrite.
    hidden : frozenset of int
        Objects that are not shown.
    order : tuple of int
        Who wins where objects overlap, first wins; the objects that are not listed come after.
        Empty: the model's logits tell.
    """

    locked: frozenset[int] = frozenset()
    hidden: frozenset[int] = frozenset()
    order: tuple[int, ...] = ()

    def without(self, object_ids: Iterable[int]) -> Standing:
        """Return the same without some objects."""
        gone = frozenset(object_ids)
        order = tuple(i for i in self.order if i not in gone)
        return Standing(self.locked - gone, self.hidden - gone, order)


@dataclass(frozen=True)
class State:
    """Everything that undo brings back but the labels themselves.

    Attributes
    ----------
    view : View
        The frames that are looked at.
    elsewhere : mapping of View to Told
        What was said in views that were looked at before.
    told : Told
        What was said in this view.
    standing : Standing
    """

    view: View
    told: Told = field(default_factory=Told)
    elsewhere: Mapping[View, Told] = field(default_factory=dict)
    standing: Standing = field(default_factory=Standing)

    def told_in(self, view: View) -> Told:
        """Return what was said in a view, which may be this one."""
        return self.told if view == self.view else self.elsewhere.get(view, Told())

    def turned(self, view: View) -> State:
        """Return the state that looks at other frames; objects and their names come along."""
        if view == self.view:
            return self
        elsewhere = {**self.elsewhere, self.view: self.told}
        told = elsewhere.pop(view, Told())
        prompts = told.prompts
        for entry in self.told.prompts.objects:
            prompts = prompts.add(entry.id, name=entry.name)
        return replace(self, view=view, told=replace(told, prompts=prompts), elsewhere=elsewhere)

    def without(self, object_ids: Iterable[int]) -> State:
        """Return the state without some objects, in all views."""
        gone = frozenset(object_ids)
        return replace(
            self,
            told=_forget(self.told, gone),
            elsewhere={view: _forget(told, gone) for view, told in self.elsewhere.items()},
            standing=self.standing.without(gone),
        )


@dataclass(frozen=True)
class Kept:
    """Which pixels a step may not take away, as it was decided when the step began.

    Attributes
    ----------
    locked : frozenset of int
    accepted : mapping of View to frozenset of (object id, frame)
    order : tuple of int
        As in `Standing`.
    """

    locked: frozenset[int] = frozenset()
    accepted: Mapping[View, Accepted] = field(default_factory=dict)
    order: tuple[int, ...] = ()

    @classmethod
    def of(cls, state: State) -> Kept:
        """Return what a state keeps from change."""
        told = {**state.elsewhere, state.view: state.told}
        accepted = {view: t.accepted for view, t in told.items() if t.accepted}
        return cls(state.standing.locked, accepted, state.standing.order)

    def stays(self, object_id: int, view: View, frame: int) -> bool:
        """Whether an object's mask on a frame may not change at all."""
        accepted = (object_id, frame) in self.accepted.get(view, ())
        return accepted or object_id in self.locked

    def against(self, object_id: int, view: View, frame: int) -> frozenset[int]:
        """Return the objects that another one may not take pixels from, on a frame."""
        before = self.order
        if object_id in before:
            before = before[: before.index(object_id)]
        accepted = {i for i, at in self.accepted.get(view, ()) if at == frame}
        return frozenset({*self.locked, *accepted, *before} - {object_id})


def _forget(told: Told, gone: frozenset[int]) -> Told:
    return Told(
        PromptSet(tuple(o for o in told.prompts.objects if o.id not in gone)),
        frozenset((i, frame) for i, frame in told.accepted if i not in gone),
    )
