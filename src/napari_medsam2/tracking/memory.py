"""Memory banks: what is kept of an object's past, and what of it a frame gets to see."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from napari_medsam2.errors import InputError
from napari_medsam2.models.base import Recalled

from .self_sorting import SelfSortingBank

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import torch

    from napari_medsam2.models.base import MemoryRules, Trace

__all__ = [
    "MEMORY_BANKS",
    "MemoryBank",
    "Sam2Bank",
    "closest_conditioning",
    "make_bank",
]


class MemoryBank(Protocol):
    """The past of one object during one sweep over the frames in one direction."""

    def condition(self, frame: int, trace: Trace) -> None:
        """Keep a frame that a person has prompted; it may lie ahead."""

    def add(self, frame: int, trace: Trace) -> None:
        """Keep a frame that was tracked, and forget what can no longer be read."""

    def recall(self, frame: int) -> Recalled:
        """Return what the model sees of the past on a frame."""

    def looked_at(self, frame: int) -> set[int]:
        """Return the conditioning frames that `recall` may look at on a frame."""


class Sam2Bank:
    """The memory of SAM 2's video predictor, holding only what can still be read.

    For frame t, going forwards, it gives the memories of all conditioning frames (or the closest
    ones, if the rules limit them), that of t - 1, and those of five frames before on a grid of
    `rules.stride`; and the pointers of the conditioning frames that lie behind and of the 15 frames
    before. Going backwards it is the mirror image. (Ravi et al., "SAM 2: Segment Anything in Images
    and Videos", 2024, section 4; facebookresearch/sam2, sam2_base.py.)

    Parameters
    ----------
    rules : MemoryRules
    n_frames : int
        Of the whole volume; fewer than 16 shorten the reach of the pointers.
    step : {1, -1}
    """

    def __init__(self, rules: MemoryRules, n_frames: int, step: int) -> None:
        if rules.max_conditioning not in (-1, *range(2, 1000)):
            raise InputError(
                f"at least 2 conditioning frames must be looked at, not {rules.max_conditioning}; "
                "-1 looks at all"
            )
        self.rules = rules
        self.n_frames = n_frames
        self.step = step
        self._conditioning: dict[int, Trace] = {}
        self._memories: dict[int, torch.Tensor] = {}
        self._pointers: dict[int, torch.Tensor] = {}

    def __len__(self) -> int:
        """Return the number of tracked frames of which something is held."""
        return len({*self._memories, *self._pointers})

    def condition(self, frame: int, trace: Trace) -> None:
        """Keep a frame that a person has prompted; it may lie ahead."""
        self._conditioning[frame] = trace
        self._memories.pop(frame, None)
        self._pointers.pop(frame, None)

    def add(self, frame: int, trace: Trace) -> None:
        """Keep a frame that was tracked, and forget what can no longer be read."""
        self._memories[frame] = trace.memory
        self._pointers[frame] = trace.pointer
        following, stride = frame + self.step, self.rules.stride
        grid = self._grid(following)
        oldest = self._age(grid[-1], following) if grid else 0
        # Later frames look at the last frame and at the grid, no farther back than the next does.
        self._memories = {
            f: memory
            for f, memory in self._memories.items()
            if f == frame or (f % stride == 0 and self._age(f, following) <= oldest)
        }
        reach = self._reach
        self._pointers = {
            f: p for f, p in self._pointers.items() if self._age(f, following) < reach
        }

    def recall(self, frame: int) -> Recalled:
        """Return what the model sees of the past on a frame.

        Parameters
        ----------
        frame : int

        Returns
        -------
        Recalled
        """
        chosen, others = closest_conditioning(
            frame, self._conditioning, self.rules.max_conditioning
        )
        memories = [(0, trace.memory) for trace in chosen.values()]
        for slot, past in enumerate(self._slots(frame), start=1):
            memory = self._memories.get(past)
            if memory is None and past in others:
                memory = others[past].memory
            if memory is not None:
                memories.append((slot, memory))
        pointers = [
            (distance if self.rules.signed_distance else abs(distance), trace.pointer)
            for f, trace in chosen.items()
            if (distance := self._age(f, frame)) >= 0 or not self.rules.past_pointers_only
        ]
        for distance in range(1, self._reach):
            past = frame - distance * self.step
            if not 0 <= past < self.n_frames:
                break
            pointer = self._pointers.get(past)
            if pointer is None and past in others:
                pointer = others[past].pointer
            if pointer is not None:
                pointers.append((distance, pointer))
        return Recalled(tuple(memories), tuple(pointers), max(1, self._reach - 1))

    def looked_at(self, frame: int) -> set[int]:
        """Return the conditioning frames that `recall` may look at on a frame."""
        chosen, others = closest_conditioning(
            frame, self._conditioning, self.rules.max_conditioning
        )
        # Those that lie behind take the place of tracked frames.
        return {*chosen, *(f for f in others if self._age(f, frame) > 0)}

    @property
    def _reach(self) -> int:
        return min(self.n_frames, self.rules.pointers)

    def _age(self, past: int, frame: int) -> int:
        return (frame - past) * self.step

    def _slots(self, frame: int) -> list[int]:
        """Return the frames of slots 1, 2, ...: the farthest first, the one just before last."""
        return [*self._grid(frame)[::-1], frame - self.step]

    def _grid(self, frame: int) -> list[int]:
        """Return the frames before the last one that may be looked at, nearest first."""
        stride, step = self.rules.stride, self.step
        # The nearest frame of the grid that lies at least two frames behind.
        nearest = (frame - 2) // stride * stride if step > 0 else -(-(frame + 2) // stride) * stride
        return [nearest - step * k * stride for k in range(self.rules.memories - 2)]


def closest_conditioning(
    frame: int, conditioning: Mapping[int, Trace], most: int
) -> tuple[dict[int, Trace], dict[int, Trace]]:
    """Choose the conditioning frames that are looked at, as SAM 2 does.

    The closest one before the frame, the closest one at it or after it, then whichever are closest.

    Parameters
    ----------
    frame : int
    conditioning : mapping of int to Trace
    most : int
        How many at most, -1 for all.

    Returns
    -------
    (chosen, others) : dicts of int to Trace
    """
    if most == -1 or len(conditioning) <= most:
        return dict(conditioning), {}
    before = [f for f in conditioning if f < frame]
    after = [f for f in conditioning if f >= frame]
    chosen = ([max(before)] if before else []) + ([min(after)] if after else [])
    rest = sorted((f for f in conditioning if f not in chosen), key=lambda f: abs(f - frame))
    chosen += rest[: most - len(chosen)]
    return (
        {f: conditioning[f] for f in chosen},
        {f: t for f, t in conditioning.items() if f not in chosen},
    )


MEMORY_BANKS: Sequence[str] = ("sam2", "self-sorting")
"""The banks that a session can be given, by name."""


def make_bank(
    name: str, rules: MemoryRules, n_frames: int, step: int, see: Callable[[int], torch.Tensor]
) -> MemoryBank:
    """Make an empty memory bank.

    Parameters
    ----------
    name : str
        One of `MEMORY_BANKS`.
    rules, n_frames, step
        See `Sam2Bank`.
    see : callable
        Takes a frame, returns its image features; see `SelfSortingBank`.
    """
    if name == "self-sorting":
        return SelfSortingBank(rules, see)
    return Sam2Bank(rules, n_frames, step)
