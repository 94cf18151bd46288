"""What a person says about objects with the tools, the brush and labels that are there already."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from napari_medsam2.errors import InputError, PromptError
from napari_medsam2.labels import MaskUpdate
from napari_medsam2.prompts import MaskPrompt, PromptSet

from .brush import Brush, Painted, painted, with_masks
from .label_prompts import bared, is_preview, masks_of, told
from .object_editing import ObjectEditing

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from napari.components import ViewerModel
    from napari.layers import Labels

    from napari_medsam2.session import Session
    from napari_medsam2.volume import View

    from .brush import Patch

__all__ = ["Prompting"]

Bare = tuple[tuple[int, int], ...]


class Prompting(ObjectEditing):
    """Prompt tools, painted corrections, labels as prompts, and taking prompts back.

    Parameters
    ----------
    viewer : ViewerModel
    make_session : callable
        Builds sessions; for tests.

    Attributes
    ----------
    brush : Brush
        Strokes on the result layer that are yet to be taken in.
    """

    def __init__(self, viewer: ViewerModel, make_session: Callable[..., Session]) -> None:
        self.brush = Brush()
        self._bare: set[tuple[View, int, int]] = set()
        super().__init__(viewer, make_session)
        self.brush.painted.connect(self._on_painted)
        for signal in (self.bench.layer_created, self.bench.changed, self.tools.changed):
            signal.connect(self._watch_result)
        self.bench.leaving.connect(self._take_paint)
        self._watch_result()

    def use_tool(self, name: str, polarity: str | None = None) -> bool:
        """Take a tool in hand.

        Parameters
        ----------
        name : str
            A key of `tools.TOOLS`.
        polarity : {"positive", "negative"}, optional
            Of clicks and scribbles; as it is by default.

        Returns
        -------
        bool
            False if the model cannot be told so, or there is no slice to draw on; `last_error` and
            a notification say why.
        """
        return self._guarded(lambda: self.tools.use(name, polarity))

    def use_labels(self, layer: Labels | None = None, value: int | None = None) -> bool:
        """Take labels of the slice on show as mask prompts: "propagate this label".

        Parameters
        ----------
        layer : Labels, optional
            Of the image's shape, or of that of its slices. The result itself by default, whose
            label is that of the object in use.
        value : int, optional
            The label in another layer that becomes the mask of the object in use. By default every
            label of the slice becomes the object of its number.

        Returns
        -------
        bool
            False if it could not begin; `last_error` and a notification say why.
        """
        return self._when_idle(lambda: self._use_labels(layer, value), stop=True)

    def clear_prompts_here(self) -> bool:
        """Take back all that was said of the object in use on the slice on show.

        Its mask there goes too if it came from these prompts alone; one that was propagated or
        painted stays. Undo brings all of it back.
        """
        return self._when_idle(self._clear_here, stop=True)

    def said_here(self) -> str:
        """Return in words what was said of the object in use on this slice, "" if nothing."""
        desk, object_id = self.bench.desk, self.tools.object_id
        if desk is None or desk.session is None or object_id not in desk.session.prompts:
            return ""
        frame = desk.shown_frame()
        return "" if frame is None else told(desk.session.prompts[object_id].on(frame))

    # Painting

    @property
    def _has_paint(self) -> bool:
        """Whether strokes can be taken in now or soon."""
        return self.brush.has_strokes and not self.brush.is_painting

    def _take_paint(self) -> None:
        """Take strokes in as soon as nothing else writes labels."""
        self.brush.read()
        if self._has_paint and not self._runner.is_busy:
            self._guarded(self._session_in_line)

    def _read_prompts(self) -> frozenset[int]:
        desk = self.bench.desk
        if desk is None or (desk.session is None and not desk.is_edited):
            return frozenset()
        session = self.session
        before = session.prompts
        frames = super()._read_prompts()
        if not desk.is_edited:
            self._is_whole = False
        view = session.stack.view
        self._bare |= {(view, *pair) for pair in bared(before, session.prompts) if frames}
        return frames

    def _session_in_line(self) -> Session:
        session = super()._session_in_line()
        self._watch_result()
        if self._has_paint and not self._runner.is_busy:
            for patch in self.brush.take():
                self._correct(session, patch)
        return session

    def _correct(self, session: Session, patch: Patch) -> None:
        """State anew what was painted, as one step; what is locked or accepted stays."""
        desk = self.bench.require_desk()
        view, frames = desk.view, session.stack.of_labels(session.labels)
        wanted = patch.put_back(session.labels)
        accepted = session.accepted

        def stays(frame: int) -> frozenset[int]:
            return session.locked | {i for i, told in accepted.items() if frame in told}

        found = list(painted(patch, wanted, frames, view, stays))
        prompts = session.prompts
        for part in found:
            prompts = with_masks(prompts, view.frame_shape, self._said(prompts, part))
        said = sorted({i for part in found for i in part.said})
        if said:
            text = f"paint object {', '.join(map(str, said))}"
            session.write_masks(_updates(found), text, prompts=prompts)
            self.message.emit(f"{text[0].upper()}{text[1:]} on {_slices(found)}")
        kept = sorted({i for part in found for i in part.kept})
        if kept:
            self.message.emit(
                f"Object {', '.join(map(str, kept))} is locked or accepted here: it was not changed"
            )
        self._show_all()
        self.relabelled.emit()

    def _said(self, prompts: PromptSet, part: Painted) -> list[MaskUpdate]:
        """Return the masks of a frame that count as prompts."""
        if self.tools.refusal_of("mask") is not None:
            return []
        given = {o.id for o in prompts.objects if _has_mask(o.on(part.frame))}
        return [update for i, update in part.updates.items() if i in part.said | given]

    # Labels as prompts

    def _use_labels(self, layer: Labels | None, value: int | None) -> None:
        refusal = self.tools.refusal_of("mask")
        if refusal is not None:
            raise InputError(refusal)
        session, desk = self._session_in_line(), self.bench.require_desk()
        frame, object_id = desk.current_frame(), self.tools.object_id
        desk.show_results()
        result = desk.results.layer
        assert result is not None
        if layer is None or layer is result:
            masks = masks_of(result, desk.view, frame, object_id, object_id)
        else:
            masks = masks_of(layer, desk.view, frame, value, object_id)
        locked = sorted(session.locked & masks.keys())
        if locked:
            raise PromptError(f"object {locked[0]} is locked: unlock it first")
        updates = [MaskUpdate.from_mask(frame, i, mask, 1.0) for i, mask in masks.items()]
        ids = ", ".join(map(str, masks))
        prompts = with_masks(session.prompts, desk.view.frame_shape, updates)
        session.write_masks(updates, f"mask of object {ids} as prompt", prompts=prompts)
        self._show_all()
        self.relabelled.emit()
        self.message.emit(f"Object {ids}: the mask on this slice is a prompt now")

    # Taking back

    def _clear_here(self) -> None:
        session, object_id = self._session_in_line(), self.tools.object_id
        frame = self.bench.require_desk().current_frame()
        if object_id not in session.prompts or not session.prompts[object_id].on(frame):
            self.message.emit(f"Object {object_id} has no prompt on this slice")
            return
        before = session.prompts
        after = before.clear(object_id, frame)
        updates = self._emptied(session, bared(before, after))
        session.write_masks(updates, f"clear prompts of object {object_id}", prompts=after)
        self._show_all()
        self.relabelled.emit()
        self.message.emit(f"Cleared the prompts of object {object_id} on this slice")

    def _take_bare(self) -> Bare:
        """Return the (object id, frame) pairs in view whose last prompt was deleted."""
        desk, bare = self.bench.desk, self._bare
        self._bare = set()
        view = desk.session.stack.view if desk is not None and desk.session is not None else None
        return tuple(sorted((i, frame) for at, i, frame in bare if at == view))

    def _erase_bare(self, bare: Bare) -> None:
        """Erase masks whose prompts were deleted, if they came from these alone."""
        session = self.session
        # A prompt may have come since.
        still = tuple((i, f) for i, f in bare if not _prompted(session.prompts, i, f))
        updates = self._emptied(session, still)
        if not updates:
            return
        ids = ", ".join(str(i) for i in sorted({u.object_id for u in updates}))
        session.write_masks(updates, f"clear object {ids}")
        desk = self.bench.require_desk()
        desk.touch({u.frame for u in updates})
        self.relabelled.emit()
        self.changed.emit()

    def _emptied(self, session: Session, bare: Bare) -> list[MaskUpdate]:
        nothing = np.zeros((0, 0), dtype=bool)
        runs, view, scores = session.runs, session.stack.view, session.scores
        return [
            MaskUpdate(frame, object_id, (0, 0, 0, 0), nothing, np.nan)
            for object_id, frame in bare
            if object_id in scores
            and np.isfinite(scores[object_id][frame])
            and is_preview(runs, view, object_id, frame)
        ]

    # Events

    def _let_go(self) -> None:
        self.brush.watch(None)
        self.tools.close()
        super()._let_go()

    def _watch_result(self, *_: Any) -> None:
        desk = self.bench.desk
        self.brush.watch(None if desk is None else desk.results.layer)

    def _on_painted(self) -> None:
        self.woken.emit()


def _updates(found: Iterable[Painted]) -> Iterator[MaskUpdate]:
    for part in found:
        yield from part.updates.values()


def _slices(found: list[Painted]) -> str:
    return f"slice {found[0].frame}" if len(found) == 1 else f"{len(found)} slices"


def _has_mask(prompts: Iterable[object]) -> bool:
    return any(isinstance(p, MaskPrompt) for p in prompts)


def _prompted(prompts: PromptSet, object_id: int, frame: int) -> bool:
    return object_id in prompts and bool(prompts[object_id].on(frame))
