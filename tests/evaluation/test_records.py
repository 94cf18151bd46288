"""Records survive being written and read."""

import json
import math

from napari_medsam2.evaluation.records import MEASURES, Record


def test_a_record_comes_back_as_it_was() -> None:
    record = Record(
        case="a/1",
        dataset="a",
        modality="CT",
        kind="3d",
        split="val",
        object_id=2,
        object_name="liver",
        method="litemedsam",
        protocol="slice",
        prompt="box",
        dice=0.5,
        frame_dice=((3, 0.25), (4, math.nan)),
        click_dice=(0.5, math.nan),
    )
    back = Record.from_json(json.loads(json.dumps(record.to_json(), allow_nan=False)))
    assert repr(back) == repr(record)
    assert back.dice == 0.5
    assert math.isnan(back.hd95)
    assert back.frame_dice[0] == (3, 0.25)
    assert math.isnan(back.frame_dice[1][1])
    assert math.isnan(back.click_dice[1])


def test_every_measure_is_a_field() -> None:
    assert set(MEASURES) <= set(Record.__dataclass_fields__)
