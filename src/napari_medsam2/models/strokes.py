"""Scribbles as clicks: a network is told only where it disagrees with a stroke.

Clicks in training lie where the mask is wrong. Points of a stroke that the mask agrees with already
are unlike any of them: eight negative clicks around a good mask take most of it away.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from .base import FramePrompt

__all__ = ["Stroke", "in_turn"]

YX = tuple[float, float]


@dataclass(frozen=True)
class Stroke:
    """Points (y, x) along a scribble in their order, with one label, 1 or 0."""

    points: tuple[YX, ...]
    label: int

    def point_of_dispute(self, logits: Tensor | None, scale: float) -> YX | None:
        """Return the point to click on next, None if the mask agrees with the stroke.

        It is the middle of the longest part of the stroke that the mask is wrong about.

        Parameters
        ----------
        logits : Tensor, optional
            (rows, columns), positive in the mask; None is an empty mask.
        scale : float
            Rows, and columns, for each pixel of the frame.
        """
        wrong = [
            index
            for index, point in enumerate(self.points)
            if _is_inside(point, logits, scale) != bool(self.label)
        ]
        if not wrong:
            return None
        runs = np.split(wrong, np.flatnonzero(np.diff(wrong) > 1) + 1)
        longest = max(runs, key=len)
        return self.points[int(longest[len(longest) // 2])]


def in_turn(prompt: FramePrompt) -> Iterator[tuple[YX, int] | Stroke]:
    """Yield what was said by points, in order: clicks with their labels, and strokes."""
    numbers: Sequence[int] = prompt.strokes or (0,) * len(prompt.points)
    said = zip(numbers, prompt.points, prompt.labels, strict=True)
    for number, group in itertools.groupby(said, key=lambda one: one[0]):
        points = [(point, label) for _, point, label in group]
        if number:
            yield Stroke(tuple(point for point, _ in points), points[0][1])
        else:
            yield from points


def _is_inside(point: YX, logits: Tensor | None, scale: float) -> bool:
    if logits is None:
        return False
    row, column = (
        min(max(int((v + 0.5) * scale), 0), n - 1) for v, n in zip(point, logits.shape, strict=True)
    )
    return bool(logits[row, column] > 0)
