"""How an object is prompted and carried, and where that was published.

- Dong et al., "Segment anything model 2: an application to 2D and 3D medical images" (2024,
  arXiv:2408.00756; mazurowski-lab/segment-anything2-medical-evaluation);
- Ma et al., "Segment Anything in Medical Images and Videos: Benchmark and Deployment" (2024,
  arXiv:2408.03322);
- Yan et al., "Biomedical SAM 2: Segment Anything in Biomedical Images and Videos" (2024,
  arXiv:2408.03286);
- Zhu et al., "Medical SAM 2: Segment medical images as video via Segment Anything Model 2" (2024,
  arXiv:2408.00874).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from napari_medsam2.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["PROTOCOLS", "Protocol", "get", "prompted_frames"]

Way = Literal["frames", "carry", "clicks", "collection"]
Where = Literal["all", "first", "centre", "largest", "middle", "uniform3"]


@dataclass(frozen=True)
class Protocol:
    """One way of asking.

    Attributes
    ----------
    name, title : str
    source : str
        Where it was published.
    kinds : tuple of str
        The kinds of cases that it is for.
    way : {"frames", "carry", "clicks", "collection"}
        Each prompted frame for itself; carried from the prompted frames; clicks on one frame; one
        image of a data set prompted for all of its images.
    where : str
        Which frames are prompted: all with the object, the first, the centre of gravity along the
        axis, the largest, the middle of the true range, or three evenly spread ones.
    direction : {"both", "forward"}
    """

    name: str
    title: str
    source: str
    kinds: tuple[str, ...]
    way: Way
    where: Where
    direction: Literal["both", "forward"] = "both"


_DONG, _MA, _YAN = "Dong et al. 2024", "Ma et al. 2024", "Yan et al. 2024 (BioSAM-2)"
_ALL = ("2d", "3d", "video")

PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("frames", "every frame prompted", f"{_YAN}; {_DONG}", _ALL, "frames", "all"),
        Protocol("first", "3D from the first slice", _DONG, ("3d",), "carry", "first", "forward"),
        Protocol("centre", "3D from the centre slice", _DONG, ("3d",), "carry", "centre"),
        Protocol("largest", "3D from the largest slice", _DONG, ("3d",), "carry", "largest"),
        Protocol("uniform3", "3D from three slices", _DONG, ("3d",), "carry", "uniform3"),
        Protocol("middle", "3D from the middle slice", _MA, ("3d",), "carry", "middle"),
        Protocol(
            "video",
            "video from the first frame",
            f"{_YAN}; {_MA}",
            ("video",),
            "carry",
            "first",
            "forward",
        ),
        Protocol(
            "clicks",
            "clicks in the largest error",
            "as in SAM and SAM 2",
            _ALL,
            "clicks",
            "largest",
        ),
        Protocol(
            "collection",
            "one prompt for a set of images",
            "Zhu et al. 2024 (Medical SAM 2)",
            ("2d",),
            "collection",
            "first",
        ),
    )
}


def get(name: str) -> Protocol:
    """Return a protocol by name (`InputError` if there is none)."""
    try:
        return PROTOCOLS[name]
    except KeyError:
        raise InputError(f"unknown protocol {name!r}; use {', '.join(PROTOCOLS)}") from None


def prompted_frames(
    where: Where, truth: NDArray[np.bool_], labelled: Sequence[int]
) -> tuple[int, ...]:
    """Return which frames are prompted.

    Parameters
    ----------
    where : str
        See `Protocol`.
    truth : ndarray of bool
        (frame, y, x).
    labelled : sequence of int
        Frames whose truth is known.

    Returns
    -------
    tuple of int
        Ascending, each with the object on it; empty if it is on none.
    """
    areas = {frame: int(np.count_nonzero(truth[frame])) for frame in labelled}
    shown = sorted(frame for frame, area in areas.items() if area)
    if not shown:
        return ()
    if where == "all":
        return tuple(shown)
    if where == "first":
        return (shown[0],)
    if where == "largest":
        # The lowest of equals, so that the answer does not hang on their order.
        return (max(shown, key=lambda frame: (areas[frame], -frame)),)
    if where == "middle":
        return (shown[len(shown) // 2],)
    if where == "centre":
        total = sum(areas[frame] for frame in shown)
        centre = sum(frame * areas[frame] for frame in shown) / total
        return (min(shown, key=lambda frame: (abs(frame - centre), frame)),)
    parts = np.linspace(0, len(shown) - 1, 3).round().astype(int)
    return tuple(dict.fromkeys(shown[index] for index in parts))
