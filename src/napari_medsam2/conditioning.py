"""What a run starts from: the prompts of the objects that it is about, and accepted masks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import PromptError
from .masks import bounding_box
from .prompts import BoxPrompt, MaskPrompt, ObjectPrompts, PromptSet

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from .prompts import Prompt

__all__ = ["chosen", "mask_start", "with_accepted"]


def chosen(
    prompts: PromptSet,
    object_ids: Iterable[int] | None,
    locked: frozenset[int],
    others: Iterable[int] = (),
) -> PromptSet:
    """Return the prompts of objects: those asked for, or all that have some and may change.

    Parameters
    ----------
    prompts : PromptSet
    object_ids : iterable of int or None
    locked : frozenset of int
    others : iterable of int
        Objects that need no prompts, for they have accepted masks.

    Raises
    ------
    PromptError
        If there is nothing to begin with, or it is locked.
    """
    for i in others:
        prompts = prompts if i in prompts else prompts.add(i)
    if object_ids is not None:
        asked = prompts.only(object_ids)
        for object_id in asked.ids:
            if object_id in locked:
                raise PromptError(f"object {object_id} is locked: unlock it first")
        return asked
    found = {*prompts.prompted_ids, *others}
    if not found:
        raise PromptError("there are no prompts yet: draw a box around an object first")
    if found <= locked:
        raise PromptError("all objects with prompts are locked: unlock one first")
    return prompts.only(found - locked)


def with_accepted(
    prompts: PromptSet,
    accepted: Mapping[int, frozenset[int]],
    mask_of: Callable[[int, int], NDArray[np.bool_]],
    *,
    takes_masks: bool,
) -> PromptSet:
    """Return prompts in which accepted masks stand in place of what was said on their frames.

    Parameters
    ----------
    prompts : PromptSet
    accepted : mapping of int to frozenset of int
        Frames by object id.
    mask_of : callable
        Takes object id and frame, returns the mask (y, x).
    takes_masks : bool
        Whether the model can start from a mask; else it gets the box around it.
    """
    entries = []
    for entry in prompts.objects:
        kept = list(entry.prompts)
        for frame in sorted(accepted.get(entry.id, ())):
            start = mask_start(frame, mask_of(entry.id, frame), takes_masks=takes_masks)
            if start is not None:
                kept = [*(p for p in kept if p.frame != frame), start]
        entries.append(ObjectPrompts(entry.id, entry.name, tuple(kept)))
    return PromptSet(tuple(entries))


def mask_start(frame: int, mask: NDArray[np.bool_], *, takes_masks: bool) -> Prompt | None:
    """Return the prompt by which a model starts from a mask (y, x), None if it cannot.

    A model that takes no masks gets the box around it, which must be two pixels wide.
    """
    y0, x0, y1, x1 = box = bounding_box(mask)
    if y1 == y0:
        return None
    if takes_masks:
        return MaskPrompt(frame, mask)
    return BoxPrompt(frame, box) if min(y1 - y0, x1 - x0) > 1 else None
