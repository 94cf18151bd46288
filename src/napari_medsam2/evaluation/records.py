"""What one evaluation of one object came to: the row of every table."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

__all__ = ["MEASURES", "Record"]

MEASURES = (
    "dice",
    "iou",
    "nsd",
    "hd95",
    "volume_error",
    "dice_range",
    "nsd_range",
    "j",
    "f",
    "jf",
    "presence_precision",
    "presence_recall",
    "frames_beyond",
    "clicks_to_80",
    "clicks_to_90",
    "click_auc",
)
"""The measures by name, as fields of `Record`."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One object of one case, segmented by one method under one protocol.

    Measures that do not apply are nan.

    Attributes
    ----------
    case, dataset, modality, kind, split : str
        Of the case; kind is "2d", "3d" or "video".
    object_id, object_name
        The label value and its name, "" if it has none.
    method : str
        A model's name, or a baseline's.
    protocol : str
        A key of `protocols.PROTOCOLS`.
    prompt : str
        Such as "box", "point", "points3", "mask", "box+10px".
    seed : int
        Of whatever was drawn at random.
    status, error : str
        "ok", or "failed" and why.
    seconds : float
        For the object, loading aside.
    dice, iou, nsd, hd95, volume_error : float
        Over all labelled frames. HD95 in the unit of the spacing; the volume error is relative,
        positive if too much was found.
    dice_range, nsd_range : float
        Over the frames where the truth shows the object.
    j, f, jf : float
        Region overlap, contour accuracy and their mean, as for videos.
    presence_precision, presence_recall : float
        Of the frames where the object was found.
    frames_beyond : int or nan
        Frames with a mask before the first or after the last true one.
    clicks_to_80, clicks_to_90, click_auc : float
        Interactive protocol: clicks until that Dice, nan if never; mean Dice over the clicks.
    frame_dice : tuple of (int, float)
        Frame and Dice, for plots along the axis.
    click_dice : tuple of float
        Dice after each click.
    """

    case: str
    dataset: str
    modality: str
    kind: Literal["2d", "3d", "video"]
    split: str
    object_id: int
    object_name: str
    method: str
    protocol: str
    prompt: str
    seed: int = 0
    status: Literal["ok", "failed"] = "ok"
    error: str = ""
    seconds: float = math.nan
    dice: float = math.nan
    iou: float = math.nan
    nsd: float = math.nan
    hd95: float = math.nan
    volume_error: float = math.nan
    dice_range: float = math.nan
    nsd_range: float = math.nan
    j: float = math.nan
    f: float = math.nan
    jf: float = math.nan
    presence_precision: float = math.nan
    presence_recall: float = math.nan
    frames_beyond: float = math.nan
    clicks_to_80: float = math.nan
    clicks_to_90: float = math.nan
    click_auc: float = math.nan
    frame_dice: tuple[tuple[int, float], ...] = field(default=(), repr=False)
    click_dice: tuple[float, ...] = field(default=(), repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return plain values that JSON can hold; nan becomes None."""
        plain = asdict(self)
        for name, value in plain.items():
            if isinstance(value, float) and math.isnan(value):
                plain[name] = None
        plain["frame_dice"] = [[f, None if math.isnan(d) else d] for f, d in self.frame_dice]
        plain["click_dice"] = [None if math.isnan(d) else d for d in self.click_dice]
        return plain

    @classmethod
    def from_json(cls, plain: dict[str, Any]) -> Record:
        """Return the record that `to_json` wrote."""
        found: dict[str, Any] = {
            f.name: math.nan if plain[f.name] is None else plain[f.name] for f in fields(cls)
        }
        found["frame_dice"] = tuple(
            (int(frame), math.nan if dice is None else float(dice))
            for frame, dice in plain["frame_dice"]
        )
        found["click_dice"] = tuple(
            math.nan if dice is None else float(dice) for dice in plain["click_dice"]
        )
        return cls(**found)
