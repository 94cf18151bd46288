"""Asking the model: segment a frame, carry objects on, vote, go through time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from .conditioning import chosen, with_accepted
from .errors import InputError, PromptError
from .history import RunRecord, corrections
from .tracking.embeddings import FrameEncoder
from .tracking.runs import Run, compute, count
from .volume import Volume

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from numpy.typing import ArrayLike

    from .labels import Edit, MaskUpdate, Write
    from .prompts import Prompt, PromptSet
    from .state import Told
    from .tracking.collection import CollectedMask
    from .tracking.tracker import Direction
    from .volume import View
from .session_base import SessionBase, channels_of

__all__ = ["SessionRuns"]


class SessionRuns(SessionBase):
    """A session that segments."""

    def segment(self, frame: int, object_ids: Iterable[int] | None = None) -> list[MaskUpdate]:
        """Segment the objects that have prompts on a frame, on this frame alone.

        Parameters
        ----------
        frame : int
        object_ids : iterable of int, optional
            Only these objects.

        Returns
        -------
        list of MaskUpdate
            Already written to `labels`.

        Raises
        ------
        PromptError
            If there is nothing to segment there or the model cannot honour a prompt.
        """
        return list(self.start_segment(frame, object_ids).complete())

    def propagate(
        self,
        direction: Direction = "both",
        start: int | None = None,
        stop: int | None = None,
        object_ids: Iterable[int] | None = None,
        patience: int | None = None,
    ) -> Iterator[MaskUpdate]:
        """Carry objects from their prompted frames along the axis.

        Each update is already in `labels` when it is yielded. Leaving the loop early keeps what is
        done; one `undo` takes all of it back.

        Parameters
        ----------
        direction : {"both", "forward", "backward"}
        start, stop : int, optional
            Half-open range of frames to fill.
        object_ids : iterable of int, optional
            Only these objects; by default all that have prompts or accepted masks.
        patience : int, optional
            Stop an object that has not been seen for so many frames in a row; None leaves it to
            the model.

        Yields
        ------
        MaskUpdate
            One for each object and frame; an empty mask where the object has ended.

        Raises
        ------
        PromptError, InputError
            Before the first frame, for anything that cannot be done.
        """
        run = self.start_propagation(direction, start, stop, object_ids, patience)
        yield from run.complete()

    def start_segment(self, frame: int, object_ids: Iterable[int] | None = None) -> Run:
        """Begin `segment` as a `Run`, whose parts may live in different threads."""
        self.stack.check_frame(frame)
        prompts = self._chosen(object_ids)
        accepted = {i for i, frames in self.accepted.items() if frame in frames}
        free = [i for i in prompts.ids if i not in accepted]
        here = [o.id for o in prompts.objects if o.on(frame)]
        if here and not {*here} - accepted:
            raise PromptError(
                f"frame {frame} is accepted for object {', '.join(map(str, here))}: take that back "
                "to change it"
            )
        return self._open(RunRecord("segment", prompts.only(free), frame=frame))

    def start_propagation(
        self,
        direction: Direction = "both",
        start: int | None = None,
        stop: int | None = None,
        object_ids: Iterable[int] | None = None,
        patience: int | None = None,
    ) -> Run:
        """Begin `propagate` as a `Run`, whose parts may live in different threads."""
        if patience is not None and patience < 1:
            raise InputError(f"patience is a number of frames from 1, got {patience!r}")
        prompts = self._started(object_ids)
        record = RunRecord(
            "propagate", prompts, direction=direction, start=start, stop=stop, patience=patience
        )
        return self._open(record)

    def vote(
        self, axes: Sequence[int | str] = ("z", "y", "x"), object_ids: Iterable[int] | None = None
    ) -> Iterator[MaskUpdate]:
        """Carry objects along several axes of a 3D image, and let these vote on each voxel.

        Parameters
        ----------
        axes : sequence of int or str
            The present one, where the prompts are, counts in any case and decides a draw.
        object_ids : iterable of int, optional

        Yields
        ------
        MaskUpdate
            What the present axis finds; then what the vote makes of it, scored by how far the
            axes agree (IoU).

        Raises
        ------
        InputError, PromptError
            Before the first frame, for anything that cannot be done.
        """
        yield from self.start_vote(axes, object_ids).complete()

    def start_vote(
        self, axes: Sequence[int | str] = ("z", "y", "x"), object_ids: Iterable[int] | None = None
    ) -> Run:
        """Begin `vote` as a `Run`, whose parts may live in different threads."""
        from .tracking.consensus import Consensus, cross_views

        views = cross_views(self.volume, self.stack.view, axes)
        prompts = self._started(object_ids)
        vote = Consensus(
            self._encoder_at(),
            views,
            prompts,
            self.settings["memory"],
            takes_masks=self._takes_masks,
            zoom=self.settings["zoom"],
        )
        ids = ", ".join(map(str, prompts.ids))
        return self.start_writing(lambda: iter(vote), lambda: vote.total, f"vote on object {ids}")

    def propagate_through_time(
        self,
        direction: Literal["forward", "backward"] = "forward",
        stop: int | None = None,
        object_ids: Iterable[int] | None = None,
    ) -> Iterator[MaskUpdate]:
        """Carry 3D objects through time: along z at each time point, seeded from the one before.

        Parameters
        ----------
        direction : {"forward", "backward"}
            From the present time point on.
        stop : int, optional
            The first time point that is not looked at; by default all are.
        object_ids : iterable of int, optional

        Yields
        ------
        MaskUpdate
            With the `view` that it belongs to.

        Raises
        ------
        InputError, PromptError
            Before the first frame, for anything that cannot be done.
        """
        yield from self.start_through_time(direction, stop, object_ids).complete()

    def start_through_time(
        self,
        direction: Literal["forward", "backward"] = "forward",
        stop: int | None = None,
        object_ids: Iterable[int] | None = None,
    ) -> Run:
        """Begin `propagate_through_time` as a `Run`, whose parts may live in different threads."""
        from .tracking.through_time import ThroughTime, time_axis

        view = self.stack.view
        time_axis(self.volume, view)
        prompts = self._started(object_ids)
        told = {view: prompts}
        for other, said in self._state.elsewhere.items():
            if other.axis == view.axis:
                known = said.prompts.only(i for i in said.prompts.ids if i in prompts)
                told[other] = self._with_accepted(known, other, said)
        journey = ThroughTime(
            self.volume,
            self._encoder_at(),
            view,
            told,
            direction,
            stop,
            self.settings["memory"],
            takes_masks=self._takes_masks,
            zoom=self.settings["zoom"],
        )
        ids = ", ".join(map(str, prompts.ids))
        text = f"carry object {ids} through time"
        return self.start_writing(lambda: iter(journey), lambda: journey.total, text)

    def start_writing(
        self, compute: Callable[[], Iterator[MaskUpdate]], total: int | Callable[[], int], text: str
    ) -> Run:
        """Begin `write_masks` as a `Run`: masks are computed in one thread, written in another.

        Parameters
        ----------
        compute : callable
            Returns the masks; must not read `labels`, which change while it computes.
        total : int or callable
            About how many there will be, for progress; a callable is asked where `compute` is.
        text : str
        """
        self._check_idle()
        kept, view = self._kept, self.stack.view
        writes: list[Write] = []

        def write(update: MaskUpdate) -> Edit | None:
            edit = self._stores.apply(update, view, kept)
            if edit is not None:
                writes.append(self._stores.written(edit))
            return edit

        def done() -> RunRecord:
            return RunRecord("write", view=view, writes=tuple(writes))

        def on_close(edits: tuple[Edit, ...], applied: int) -> None:
            self._run = self._pending = None
            if edits:
                self._step(text, self._state, edits, done())

        self._run = Run(compute, total if callable(total) else lambda: total, write, on_close)
        self._pending = lambda: (done(),) if writes else ()
        return self._run

    def segment_collection(
        self, images: Sequence[Volume | ArrayLike], prompt: Prompt | Sequence[Prompt]
    ) -> list[CollectedMask]:
        """Segment the same kind of object in an unordered set of images from one prompted image.

        One-prompt segmentation of Medical SAM 2, see `tracking.collection`; needs a model with a
        memory. The session lends its model and its choice of window; its image and its labels are
        not touched.

        Parameters
        ----------
        images : sequence of Volume or array-like
            (y, x) each, with or without a last colour axis; sizes may differ.
        prompt : Prompt or sequence of Prompt
            On one image, whose index is the prompt's `frame`.

        Returns
        -------
        list of CollectedMask
            One an image, in their order, with `mask` and `score`.

        Raises
        ------
        ModelError, InputError, PromptError
        """
        from .tracking.collection import segment_collection

        choice = self.settings["window"]
        return segment_collection(
            [i if isinstance(i, Volume) else Volume(i) for i in images],  # type: ignore[arg-type]
            list(prompt) if isinstance(prompt, Sequence) else [prompt],
            self.model,
            choice if isinstance(choice, str) else tuple(choice),
            self.cache,
        )

    # Inside

    def _chosen(self, object_ids: Iterable[int] | None, others: Iterable[int] = ()) -> PromptSet:
        return chosen(self.prompts, object_ids, self.locked, others)

    def _started(self, object_ids: Iterable[int] | None) -> PromptSet:
        """Return what objects are carried from: prompts, and accepted masks."""
        prompts = self._chosen(object_ids, self.accepted)
        return self._with_accepted(prompts, self.stack.view, self._state.told)

    def _with_accepted(self, prompts: PromptSet, view: View, told: Told) -> PromptSet:
        frames, mask_of = told.accepted_frames, self._stores.of(view).mask
        return with_accepted(prompts, frames, mask_of, takes_masks=self._takes_masks)

    @property
    def _takes_masks(self) -> bool:
        from . import models

        return "mask" in models.get(self.model_name).prompts

    def _encoder_at(self) -> Callable[[View], FrameEncoder]:
        """Return what embeds the frames of a view as those of the present one; for the thread."""
        volume, stack = self.volume, self.stack

        def encoder_at(view: View) -> FrameEncoder:
            if view == stack.view:
                return FrameEncoder(stack, self.window, self.model, self.cache)
            seen = volume.stack(view.axis or 0, view.at, stack.channel, stack.level)
            return FrameEncoder(seen, self.window, self.model, self.cache)

        return encoder_at

    def _open(self, record: RunRecord) -> Run:
        self._check_idle()
        scores, view = self._store.scores, self.stack.view

        def is_tracked(object_id: int, frame: int) -> bool:
            return object_id in scores and bool(np.isfinite(scores[object_id][frame]))

        before = [run for run in self.runs if (run.view or self._first_view) == view]
        record = replace(
            record,
            corrections=corrections(record.prompts, before, is_tracked),
            model=self._slot.choice,
            view=view,
            channel=channels_of(self.stack),
            level=self.stack.level,
            kept=self._kept,
            zoom=self.settings["zoom"],
        )

        def done(updates: int) -> RunRecord:
            return replace(record, updates=updates, window=self.window.values)

        def on_close(edits: tuple[Edit, ...], updates: int) -> None:
            self._run = self._pending = None
            if edits:
                ids = ", ".join(map(str, record.prompts.ids))
                self._step(f"{record.kind} object {ids}", self._state, edits, done(updates))

        run = Run(
            lambda: compute(self.encoder, record, self.settings["memory"]),
            lambda: count(self.encoder, record, self.settings["memory"]),
            lambda update: self._stores.apply(update, view, record.kept),
            on_close,
        )
        self._pending = lambda: (done(run.applied),) if run.applied else ()
        self._run = run
        return run
