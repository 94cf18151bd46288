"""Summaries and comparisons, against numbers worked out by hand and scipy."""

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from napari_medsam2.errors import InputError
from napari_medsam2.evaluation.comparison import compare, comparisons
from napari_medsam2.evaluation.records import Record
from napari_medsam2.evaluation.report_plots import along_axis, over_clicks
from napari_medsam2.evaluation.statistics import (
    Condition,
    interval,
    object_values,
    summarise,
    summarise_datasets,
    worst,
)

A, B = Condition("a", "middle", "box"), Condition("b", "middle", "box")


def record(dice: float = math.nan, **changed: Any) -> Record:
    plain: dict[str, Any] = {
        "case": "c",
        "dataset": "d",
        "modality": "CT",
        "kind": "3d",
        "split": "val",
        "object_id": 1,
        "object_name": "",
        "method": "a",
        "protocol": "middle",
        "prompt": "box",
    }
    return Record(**{**plain, "dice": dice, **changed})


def failed(**changed: Any) -> Record:
    return record(status="failed", error="out of memory", **changed)


def many(values: list[float], **changed: Any) -> list[Record]:
    return [record(v, case=f"c{i}", **changed) for i, v in enumerate(values)]


def test_a_summary_is_worked_out_by_hand():
    found = summarise(many([0.2, 0.4, 0.9]))
    assert (found.n, found.objects, found.failed, found.undefined) == (3, 3, 0, 0)
    assert found.mean == pytest.approx(0.5)
    assert found.sd == pytest.approx(math.sqrt((0.09 + 0.01 + 0.16) / 2))
    assert found.median == 0.4
    assert found.mean_with_failures == pytest.approx(0.5)


def test_failed_objects_are_counted_and_also_taken_as_zero():
    found = summarise([*many([0.6, 0.9]), failed(case="x")])
    assert (found.n, found.failed, found.undefined) == (2, 1, 0)
    assert found.mean == pytest.approx(0.75)
    assert found.mean_with_failures == pytest.approx(0.5)


def test_a_distance_has_no_worst_value_for_failures():
    rows = [record(0.5, hd95=4.0), record(0.0, case="empty"), failed(case="x")]
    found = summarise(rows, "hd95")
    assert (found.n, found.failed, found.undefined) == (1, 1, 1)
    assert found.mean == 4.0
    assert math.isnan(found.mean_with_failures)


def test_runs_of_one_object_are_averaged_first():
    rows = [record(0.2, seed=0), record(0.4, seed=1), record(0.9, case="e"), failed(seed=2)]
    found = summarise(rows)
    assert (found.n, found.failed) == (2, 1)
    assert found.mean == pytest.approx((0.3 + 0.9) / 2)
    assert found.mean_with_failures == pytest.approx((0.6 / 3 + 0.9) / 2)


def test_every_data_set_weighs_the_same():
    rows = [*many([0.2, 0.4, 0.6]), record(0.8, dataset="e"), failed(dataset="f")]
    found = summarise_datasets(rows)
    assert (found.n, found.objects, found.failed) == (2, 4, 1)
    assert found.mean == pytest.approx((0.4 + 0.8) / 2)
    assert found.sd == pytest.approx(np.std([0.4, 0.8], ddof=1))
    # The data set of which everything failed counts as zero.
    assert found.mean_with_failures == pytest.approx((0.4 + 0.8 + 0) / 3)


def test_the_interval_agrees_with_scipy_and_not_with_the_order():
    values = np.random.default_rng(3).beta(8, 2, size=40)
    low, high = interval(values)
    expected = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="BCa", random_state=5
    ).confidence_interval
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=0.005)
    assert low < values.mean() < high
    assert interval(values[::-1]) == (low, high)


@pytest.mark.parametrize("values", [[], [0.5]])
def test_too_few_values_have_no_interval(values):
    assert np.isnan(interval(values)).all()
    found = summarise(many(values))
    assert found.n == len(values)
    assert math.isnan(found.sd)
    assert math.isnan(found.low)


def test_equal_values_have_an_interval_of_no_width():
    assert interval([0.7, 0.7, 0.7]) == (0.7, 0.7)


def test_an_unknown_measure_is_named():
    with pytest.raises(InputError, match=r"'dise'.*dice"):
        object_values(many([0.5]), "dise")


def test_pairs_agree_with_scipy():
    rng = np.random.default_rng(0)
    a = np.round(rng.uniform(size=30), 3)
    b = np.round(np.clip(a + rng.normal(-0.05, 0.1, size=30), 0, 1), 3)
    found = compare([*many(list(a)), *many(list(b), method="b")], A, B)
    assert found.pairs == 30
    assert found.left_out == 0
    assert found.median_difference == pytest.approx(np.median(a - b))
    assert found.p == pytest.approx(stats.wilcoxon(np.round(a - b, 12)).pvalue)


def test_six_wins_of_six_have_the_least_p_by_hand():
    a, b = [0.6, 0.7, 0.8, 0.9, 0.75, 0.85], [0.5, 0.58, 0.66, 0.74, 0.57, 0.65]
    found = compare([*many(a), *many(b, method="b")], A, B)
    assert found.p == pytest.approx(2 / 2**6)


def test_only_objects_that_both_have_are_compared():
    rows = [*many([0.5, 0.6, 0.7]), *many([0.4, 0.4], method="b"), failed(case="c2", method="b")]
    found = compare(rows, A, B)
    assert (found.pairs, found.left_out) == (2, 1)
    assert found.median_difference == pytest.approx(0.15)
    assert math.isnan(found.p)
    assert found.reason == "only 2 pairs differ; 6 are needed"


def test_equal_methods_and_strangers_have_no_p():
    values = list(np.linspace(0, 1, 10))
    found = compare([*many(values), *many(values, method="b")], A, B)
    assert (found.pairs, found.median_difference, found.reason) == (10, 0, "all pairs are equal")
    assert math.isnan(found.p)
    found = compare([record(0.5), record(0.5, case="e", method="b")], A, B)
    assert (found.pairs, found.left_out) == (0, 2)
    assert found.reason == "no object has a value of both"


def test_comparisons_are_adjusted_by_holm():
    rng = np.random.default_rng(1)
    base = rng.uniform(0.3, 0.8, size=12)
    rows = many(list(base))
    for method, shift in (("b", 0.02), ("c", 0.05)):
        rows += many(list(base + rng.normal(shift, 0.05, size=12)), method=method)
    found = comparisons(rows)
    assert [(p.first.method, p.second.method) for p in found] == [
        ("a", "b"),
        ("a", "c"),
        ("b", "c"),
    ]
    ordered = sorted(found, key=lambda pair: pair.p)
    by_hand = [3 * ordered[0].p, 2 * ordered[1].p, ordered[2].p]
    assert [p.p_holm for p in ordered] == pytest.approx(
        np.minimum(1, np.maximum.accumulate(by_hand))
    )


def test_a_reference_is_compared_with_each_other_method():
    rows = [record(0.5, method=m) for m in "abc"] + [record(0.5, prompt="point")]
    found = comparisons(rows, reference="b")
    assert [(p.first.method, p.second.method) for p in found] == [("b", "a"), ("b", "c")]
    assert all(math.isnan(p.p_holm) for p in found)


def test_the_worst_are_the_lowest_and_each_object_comes_once():
    rows = [*many([0.9, 0.1, 0.5]), record(0.05, case="c1", method="b"), failed(case="z")]
    assert [(r.case, r.dice) for r in worst(rows, 2)] == [("c1", 0.05), ("c2", 0.5)]


def test_of_equals_the_worst_are_of_different_data_sets() -> None:
    rows = [
        record(dice, case=f"{dataset}/{i}", dataset=dataset)
        for dataset, i, dice in (("d", 0, 0.0), ("d", 1, 0.0), ("e", 0, 0.2), ("f", 0, 0.0))
    ]
    assert [r.case for r in worst(rows, 4)] == ["d/0", "f/0", "d/1", "e/0"]


def test_a_run_that_ended_early_keeps_its_last_dice():
    rows = [record(case="a", click_dice=(0.2, 0.9)), record(click_dice=(0.4, 0.5, 0.6))]
    found = over_clicks([*rows, failed(case="x")])
    assert found is not None
    assert found.x.tolist() == [1, 2, 3]
    assert found.middle == pytest.approx([0.3, 0.7, 0.75])
    assert found.objects == 2
    assert over_clicks([record(0.5)]) is None


def test_objects_of_any_length_meet_along_the_axis():
    short = record(frame_dice=((4, 0.0), (5, 0.5), (6, 1.0)))
    long = record(frame_dice=tuple((f, f / 10) for f in range(11)), case="long")
    nowhere = record(frame_dice=((0, math.nan), (1, 0.5), (2, 0.5)), case="two frames")
    found = along_axis([short, long, nowhere])
    assert found is not None
    assert found.objects == 2
    for curve in (found.low, found.middle, found.high):
        assert curve == pytest.approx(np.linspace(0, 1, 21))
    assert along_axis([nowhere]) is None
