"""What every part of a session stands on: the image, its frames, the model, the history."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .errors import InputError
from .history import ModelChoice, RunRecord
from .models.catalogue import DEFAULT_MODEL
from .models.slot import ModelSlot
from .object_editor import ObjectEditor
from .tracking.embeddings import FrameEncoder, open_cache
from .tracking.memory import MEMORY_BANKS
from .volume import Volume
from .windows import resolve_window

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import ArrayLike, NDArray

    from .channels import Channels
    from .frames import FrameStack
    from .history import Step
    from .models.base import Segmenter
    from .tracking.runs import Run
    from .windows import Window, WindowChoice
__all__ = ["SessionBase", "Zoom", "channels_of", "recorded_channel"]

Zoom = Literal["auto", "off"]
_ZOOMS: tuple[Zoom, ...] = ("auto", "off")


class SessionBase(ObjectEditor):
    """An image, looked at as frames, with a model and a history; parameters as in `Session`."""

    def __init__(
        self,
        image: Volume | ArrayLike,
        model: str | Path = DEFAULT_MODEL,
        axis: int | str = 0,
        spacing: Sequence[float] | None = None,
        window: WindowChoice = "auto",
        device: str = "auto",
        checkpoint: str | Path | None = None,
        image_size: int | None = None,
        precision: str = "auto",
        cache: float | str | Path | None = None,
        memory: str = "sam2",
        *,
        at: Sequence[int] | None = None,
        channel: int | Sequence[int] | None = None,
        level: int | None = None,
        labels: NDArray[Any] | None = None,
        compiled: bool = False,
        zoom: Zoom = "auto",
    ) -> None:
        from . import models

        volume = image if isinstance(image, Volume) else Volume(image)  # type: ignore[arg-type]
        if spacing is not None:
            volume = volume.with_data(volume.data, spacing=tuple(spacing))
        if precision not in models.PRECISIONS:
            raise InputError(f"unknown precision {precision!r}; use {', '.join(models.PRECISIONS)}")
        if memory not in MEMORY_BANKS:
            raise InputError(f"unknown memory {memory!r}; use {', '.join(MEMORY_BANKS)}")
        if zoom not in _ZOOMS:
            raise InputError(f"unknown zoom {zoom!r}; use {', '.join(_ZOOMS)}")
        self.volume = volume
        super().__init__(volume.stack(axis, at, channel, level), _label_array(volume, labels))
        self._first_view = self.stack.view
        self.model_name = models.get(model).name
        self.settings: dict[str, Any] = {
            "model": self.model_name,
            "axis": self.stack.axis or 0,
            "window": window if isinstance(window, str) else [float(v) for v in window],
            "checkpoint": None if checkpoint is None else str(checkpoint),
            "image_size": image_size,
            "precision": precision,
            "memory": memory,
            "at": list(self.stack.at),
            "channel": _as_json(self.stack.channel),
            "level": level,
            "zoom": zoom,
        }
        chosen = {f.name: self.settings[f.name] for f in fields(ModelChoice)}
        self._slot = ModelSlot(ModelChoice(**chosen), device, compiled=compiled)
        self.cache = open_cache(cache)
        self._run: Run | None = None
        # What a run in progress would leave in the history if it ended now.
        self._pending: Callable[[], tuple[RunRecord, ...]] | None = None
        self._window: Window | None = None

    @property
    def model(self) -> Segmenter:
        """The model, loaded on first use."""
        return self._slot.model

    @property
    def has_model(self) -> bool:
        """Whether the model is loaded already."""
        return self._slot.is_loaded

    @property
    def device_name(self) -> str:
        """The device as it was asked for."""
        return self._slot.device

    def use_model(self, model: Segmenter) -> None:
        """Use a model that is loaded already, instead of loading one on first use."""
        self._slot.use(model)

    @property
    def window(self) -> Window:
        """The intensities that become 0 and 255, measured on first use."""
        if self._window is None:
            choice = self.settings["window"]
            self._window = resolve_window(
                self.stack, choice if isinstance(choice, str) else tuple(choice)
            )
        return self._window

    @property
    def encoder(self) -> FrameEncoder:
        """What embeds the frames of this session, through its cache."""
        return FrameEncoder(self.stack, self.window, self.model, self.cache)

    def turn(self, axis: int | str, at: Sequence[int] | None = None) -> None:
        """Look at other frames of the image: along another axis, or at another position.

        Prompts and accepted masks belong to the frames that they were given on, and are there again
        when one comes back; labels, objects and history belong to the image.

        Parameters
        ----------
        axis, at
            As in `Session`.

        Raises
        ------
        InputError
            For frames that do not exist, or while a run is in progress.
        """
        self._check_idle()
        self._look(self._stack_of(axis, at))

    # Undo and redo

    @property
    def undo_text(self) -> str | None:
        """What `undo` would take back, None if nothing."""
        return self._history.undo_text

    @property
    def redo_text(self) -> str | None:
        """What `redo` would bring back, None if nothing."""
        return self._history.redo_text

    def undo(self) -> bool:
        """Take back the last step, prompts and masks together; False if there is none.

        The session looks at the frames that it looked at then.
        """
        return self.travel("undo") is not None

    def redo(self) -> bool:
        """Bring back the step that was undone last; False if there is none."""
        return self.travel("redo") is not None

    def travel(self, way: Literal["undo", "redo"]) -> Step | None:
        """Undo or redo, and return the step; None if there is none."""
        self._check_idle()
        back = way == "undo"
        step = self._history.undo() if back else self._history.redo()
        if step is None:
            return None
        if back:
            self._stores.revert(step.edits)
        else:
            self._stores.redo(step.edits)
        state = step.before if back else step.after
        self._look(self._stack_of(state.view.axis or 0, state.view.at))
        self._state = state
        return step

    def note(self, text: str, before: Any, after: Any) -> None:
        """Enter a step of somebody else into the history, such as other settings of a window.

        `travel` returns the step, whose `note` is (before, after); the session does nothing.
        """
        self._step(text, self._state, note=(before, after))

    def begin_history(self) -> None:
        """Make the present state the one that `undo` cannot go back from."""
        self._check_idle()
        self._history.clear()

    def take_over(self, old: SessionBase) -> None:
        """Go on with prompts, labels, scores and history of a session on the same image.

        Parameters
        ----------
        old : Session
            With other settings; it is not to be used further.

        Raises
        ------
        InputError
            If the two do not share their labels.
        """
        old._check_idle()
        if self._labels is not old._labels:
            raise InputError("only a session on the same image and labels can be taken over")
        self._stores, self._history = old._stores, old._history
        self._first_view = old._first_view
        self._state = old._state.turned(self.stack.view)

    @property
    def runs(self) -> tuple[RunRecord, ...]:
        """What led to the present labels, in order."""
        return self._history.runs

    # Inside

    def _stack_of(self, axis: int | str, at: Sequence[int] | None) -> FrameStack:
        return self.volume.stack(axis, at, self.stack.channel, self.settings["level"])

    def _look(self, stack: FrameStack) -> None:
        if stack.view != self.stack.view:
            self.stack = stack
            self._state = self._state.turned(stack.view)
            # It was measured on other frames.
            self._window = None

    def _present_settings(self) -> dict[str, Any]:
        view = self.stack.view
        return {**self.settings, "axis": view.axis or 0, "at": list(view.at)}

    def _check_idle(self) -> None:
        if self._run is not None:
            raise InputError("a run is in progress: let it finish or stop it first")


def channels_of(stack: FrameStack) -> tuple[int, ...]:
    """Return the channels of a stack as a run records them: () is all of an RGB image."""
    channel = stack.channel
    if channel is None:
        return ()
    return (channel,) if isinstance(channel, int) else tuple(channel)


def recorded_channel(record: RunRecord, stack: FrameStack) -> Channels:
    """Return the channels that a run saw, as `Volume.stack` takes them."""
    if record.channel is None:
        return stack.channel
    # An image that was alone then may be the first of several channels now.
    alone = 0 if stack.volume.n_channels > 1 and not stack.volume.has_colour else None
    return record.channel or alone


def _as_json(channel: Channels) -> int | list[int] | None:
    return list(channel) if isinstance(channel, tuple) else channel


def _label_array(volume: Volume, labels: NDArray[Any] | None) -> NDArray[Any]:
    if labels is None:
        return np.zeros(volume.label_shape, dtype=np.uint16)
    if labels.shape != volume.label_shape:
        raise InputError(f"labels have shape {labels.shape}, the image {volume.label_shape}")
    if labels.dtype.kind != "u":
        raise InputError(f"labels must be unsigned integers, got {labels.dtype}")
    return labels
