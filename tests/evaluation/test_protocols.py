"""Which frames each protocol prompts, on a volume whose areas are known."""

from __future__ import annotations

import numpy as np
import pytest

from napari_medsam2.errors import InputError
from napari_medsam2.evaluation.protocols import PROTOCOLS, get, prompted_frames


def volume(areas: list[int]) -> np.ndarray:
    truth = np.zeros((len(areas), 4, 25), bool)
    for frame, area in enumerate(areas):
        truth[frame].ravel()[:area] = True
    return truth


AREAS = [0, 2, 4, 20, 20, 10, 8, 2, 0, 0]


@pytest.mark.parametrize(
    ("where", "frames"),
    [
        ("all", (1, 2, 3, 4, 5, 6, 7)),
        ("first", (1,)),
        ("largest", (3,)),  # the lower of the two of 20
        ("middle", (4,)),
        # (2 + 8 + 60 + 80 + 50 + 48 + 14) / 66 = 3.97
        ("centre", (4,)),
        ("uniform3", (1, 4, 7)),
    ],
)
def test_prompted_frames(where: str, frames: tuple[int, ...]) -> None:
    assert prompted_frames(where, volume(AREAS), range(10)) == frames


def test_only_frames_with_known_truth_are_prompted() -> None:
    assert prompted_frames("all", volume(AREAS), [0, 2, 6, 9]) == (2, 6)
    assert prompted_frames("largest", volume(AREAS), [0, 2, 6, 9]) == (6,)
    assert prompted_frames("first", volume(AREAS), [8, 9]) == ()
    assert prompted_frames("uniform3", volume(AREAS), [3]) == (3,)


def test_protocols_say_where_they_are_from() -> None:
    assert all(protocol.source for protocol in PROTOCOLS.values())
    assert get("largest").kinds == ("3d",)
    with pytest.raises(InputError, match="unknown protocol 'best'; use frames"):
        get("best")
