"""Editing prompts, each edit one undoable step."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .history import History, Step
from .prompts import (
    BoxPrompt,
    MaskPrompt,
    PointPrompt,
    PolygonPrompt,
    Prompt,
    PromptSet,
    ScribblePrompt,
    check_object_id,
    check_prompt,
)
from .state import State

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from .frames import FrameStack
    from .history import RunRecord
    from .labels import Edit

__all__ = ["PromptEditor"]


class PromptEditor:
    """The prompts of all objects on the frames of a stack, and how to change them.

    Parameters
    ----------
    stack : FrameStack
        Prompts are checked against its frames.
    """

    def __init__(self, stack: FrameStack) -> None:
        self.stack = stack
        self._state = State(stack.view)
        self._history = History()

    @property
    def prompts(self) -> PromptSet:
        """The prompts of all objects on the frames that are looked at; immutable."""
        return self._state.told.prompts

    def add_box(
        self, frame: int, box: Sequence[float], object_id: int = 1, *, name: str | None = None
    ) -> None:
        """Draw a box around an object.

        Parameters
        ----------
        frame : int
        box : (y0, x0, y1, x1)
            Half-open, in pixels.
        object_id : int
            The label value, 1 to 65535.
        name : str, optional
            A name for the object.

        Raises
        ------
        PromptError
            For a box that is inverted, less than two pixels wide, or outside the image.
        """
        self._add(object_id, BoxPrompt(frame, tuple(box)), name)  # type: ignore[arg-type]

    def add_points(
        self,
        frame: int,
        points: Iterable[Sequence[float]],
        labels: Sequence[int] | None = None,
        object_id: int = 1,
        *,
        name: str | None = None,
    ) -> None:
        """Click on an object (label 1) or beside it (label 0).

        Parameters
        ----------
        frame : int
        points : iterable of (y, x)
        labels : sequence of int, optional
            One a point; all positive by default.
        object_id : int
        name : str, optional
        """
        pairs = tuple((p[0], p[1]) for p in points)
        self._add(object_id, PointPrompt(frame, pairs, tuple(labels or (1,) * len(pairs))), name)

    def add_polygon(
        self,
        frame: int,
        vertices: Iterable[Sequence[float]],
        object_id: int = 1,
        *,
        name: str | None = None,
    ) -> None:
        """Draw an outline of (y, x) vertices, whose inside is taken as the mask."""
        self._add(object_id, PolygonPrompt(frame, tuple((v[0], v[1]) for v in vertices)), name)

    def add_scribble(
        self,
        frame: int,
        path: Iterable[Sequence[float]],
        label: int = 1,
        object_id: int = 1,
        *,
        name: str | None = None,
    ) -> None:
        """Draw a stroke of (y, x) points inside (1) or outside (0) the object."""
        stroke = ScribblePrompt(frame, tuple((p[0], p[1]) for p in path), label)
        self._add(object_id, stroke, name)

    def add_mask(
        self, frame: int, mask: NDArray[Any], object_id: int = 1, *, name: str | None = None
    ) -> None:
        """Give the object's mask (y, x) on a frame; nonzero is inside."""
        self._add(object_id, MaskPrompt(frame, np.asarray(mask) != 0), name)

    def set_prompts(self, prompts: PromptSet, text: str = "edit prompts") -> None:
        """Replace all prompts, as one undoable step; nothing changes if one does not fit."""
        prompts.check(len(self.stack), self.stack.shape)
        if prompts != self.prompts:
            told = replace(self._state.told, prompts=prompts)
            self._step(text, replace(self._state, told=told))

    def rename_object(self, object_id: int, name: str) -> None:
        """Give an object a name."""
        self.set_prompts(self.prompts.add(object_id, name=name), f"rename object {object_id}")

    def clear_prompts(self, object_id: int | None = None, frame: int | None = None) -> None:
        """Take away the prompts of an object, of a frame, of both, or all; labels stay."""
        if frame is not None:
            self.stack.check_frame(frame)
        self.set_prompts(self.prompts.clear(object_id, frame), "clear prompts")

    def _add(self, object_id: int, prompt: Prompt, name: str | None) -> None:
        object_id = check_object_id(object_id)
        check_prompt(prompt, len(self.stack), self.stack.shape, object_id)
        self.set_prompts(
            self.prompts.add(object_id, prompt, name=name), f"prompt object {object_id}"
        )

    def _step(
        self,
        text: str,
        after: State,
        edits: tuple[Edit, ...] = (),
        record: RunRecord | None = None,
        note: tuple[Any, Any] | None = None,
    ) -> None:
        """Enter a step into the history, whose edits are made already."""
        self._history.push(Step(text, self._state, after, edits, record, note))
        self._state = after
