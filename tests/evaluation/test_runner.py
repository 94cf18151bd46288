"""A whole comparison on small cases: right numbers, failures that do not end it, resuming."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pytest
from tests.evaluation.common import facts, moving_square, write_cases

from napari_medsam2.errors import InputError, MedSAM2Error, ModelError
from napari_medsam2.evaluation import runner
from napari_medsam2.evaluation.dataset import read_manifest
from napari_medsam2.evaluation.methods import BASELINES, ModelOptions, make_method, random_walk
from napari_medsam2.evaluation.runner import Plan, run
from napari_medsam2.evaluation.tasks import Task, objects_of, run_task, tasks_of
from napari_medsam2.prompts import BoxPrompt, PointPrompt
from napari_medsam2.tracking.collection import CollectedMask
from napari_medsam2.volume import Volume

if TYPE_CHECKING:
    from pathlib import Path

WALK = ("random-walker",)


def plan(**asked: object) -> Plan:
    return Plan(
        **{"methods": WALK, "protocols": ("frames", "largest"), "prompts": ("box",), **asked}
    )


def by_task(records: list) -> dict:
    return {(r.case, r.protocol, r.prompt): r for r in records}


def test_a_comparison_finds_what_is_there(tmp_path: Path) -> None:
    cases = read_manifest(write_cases(tmp_path))
    records = by_task(run(cases, plan(), tmp_path / "out"))
    assert set(records) == {
        (case, protocol, "box")
        for case in ("squares/one", "squares/two")
        for protocol in ("frames", "largest")
    }
    frames = records["squares/two", "frames", "box"]
    assert frames.dice > 0.95
    assert frames.object_name == "square"
    assert frames.modality == "synthetic"
    # Frames without the object were not asked about.
    assert [frame for frame, _ in frames.frame_dice] == [0, 1, 2, 3]
    carried = records["squares/two", "largest", "box"]
    # It never stops, so it goes on to the last frame, where nothing is.
    assert carried.frames_beyond == 1
    assert carried.presence_recall == 1
    assert carried.presence_precision == pytest.approx(4 / 5)
    assert carried.dice_range > carried.dice


def test_what_is_done_is_not_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cases = read_manifest(write_cases(tmp_path))
    first = run(cases[:1], plan(), tmp_path / "one")
    asked = []
    evaluate = runner.evaluate
    monkeypatch.setattr(
        runner, "evaluate", lambda case, *a: asked.append(case.id) or evaluate(case, *a)
    )
    # As if killed after the first of two.
    store_of_one = (tmp_path / "one" / "parts").iterdir()
    full = tmp_path / "full"
    with pytest.raises(KeyboardInterrupt):
        run(cases, plan(), full, progress=interrupt)
    assert asked == ["squares/one"]
    records = run(cases, plan(), full, resume=True)
    assert asked == ["squares/one", "squares/two"]
    assert len(records) == 2 * len(first)
    assert next(store_of_one).name in {p.name for p in (full / "parts").iterdir()}
    assert facts(full)["seed"] == 0


def test_a_further_method_costs_that_method_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases, out = read_manifest(write_cases(tmp_path)), tmp_path / "out"
    first = run(cases, plan(), out)
    asked = []
    evaluate = runner.evaluate
    monkeypatch.setattr(
        runner, "evaluate", lambda case, name, p: asked.append(name) or evaluate(case, name, p)
    )
    both = run(cases, plan(methods=("copy",)), out, resume=True)
    assert asked == ["copy", "copy"]
    assert [r for r in both if r.method == "random-walker"] == first
    assert {r.method for r in both} == {"random-walker", "copy"}
    assert list(facts(out)["methods"]) == ["random-walker", "copy"]


def test_weights_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for folder in ("old", "new"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "best.pt").write_bytes(b"")
    old, new = (f"sam2.1_hiera_tiny={tmp_path / folder / 'best.pt'}" for folder in ("old", "new"))
    with pytest.raises(InputError, match=r"two methods are called 'sam2.1_hiera_tiny \(best.pt\)'"):
        plan(methods=(old, new))


def interrupt(done: int, total: int, last: str) -> None:
    raise KeyboardInterrupt


def test_two_processes_find_what_one_finds(tmp_path: Path) -> None:
    cases = read_manifest(write_cases(tmp_path))
    asked = plan(prompts=("box", "box+4px"), seed=7)
    alone = run(cases, asked, tmp_path / "alone")
    together = run(cases, asked, tmp_path / "together", workers=2)
    assert [(r.case, r.protocol, r.prompt, r.dice) for r in alone] == [
        (r.case, r.protocol, r.prompt, r.dice) for r in together
    ]
    boxes = by_task(alone)
    one, moved = (boxes["squares/one", "frames", p].dice for p in ("box", "box+4px"))
    assert one != moved


def test_a_case_that_cannot_be_read_fails_alone(tmp_path: Path) -> None:
    cases = read_manifest(write_cases(tmp_path))
    (tmp_path / "one_image.npy").write_bytes(b"no image")
    records = by_task(run(cases, plan(), tmp_path / "out"))
    bad = records["squares/one", "frames", "box"]
    assert bad.status == "failed"
    assert "one_image.npy" in bad.error
    assert "\n" not in bad.error
    assert math.isnan(bad.dice)
    assert records["squares/two", "frames", "box"].status == "ok"


def test_a_worker_that_is_killed_is_told(tmp_path: Path) -> None:
    case, *_ = read_manifest(write_cases(tmp_path))
    deadly = [replace(case, id=f"squares/{i}", loader=partial(os._exit, 9)) for i in range(2)]
    with pytest.raises(MedSAM2Error, match="--resume and fewer --workers"):
        run(deadly, plan(), tmp_path / "out", workers=2)


def test_a_model_takes_the_prompts_that_it_knows() -> None:
    case = type("C", (), {"objects": {1: ""}, "kind": "3d"})()
    every = ("box", "point", "points3", "mask", "box+5px")
    options = ModelOptions()
    asked = {
        name: [
            (t.protocol, t.prompt) for t in tasks_of(case, make_method(name, options), p, every, 0)
        ]
        for name in ("litemedsam", "sam2.1_hiera_tiny", *BASELINES)
        for p in [("largest", "video", "clicks")]
    }
    boxes = [("largest", "box"), ("largest", "box+5px")]
    assert asked["litemedsam"] == [*boxes, ("clicks", "clicks")]
    assert asked["sam2.1_hiera_tiny"] == [*(("largest", p) for p in every), ("clicks", "clicks")]
    assert asked["random-walker"] == asked["box-chain"] == boxes
    assert asked["copy"] == [("largest", "box"), ("largest", "mask"), ("largest", "box+5px")]


class Clicked:
    """Finds the left half after one click, the whole after two."""

    def __init__(self, truth: np.ndarray) -> None:
        self.truth = truth
        self.seen: list[int] = []

    def frame(self, frame: int, prompts: list) -> np.ndarray:
        self.seen.append(len(prompts))
        found = self.truth.copy()
        if len(prompts) == 1:
            found[:, found.shape[1] // 2 :] = False
        return found


def test_clicks_are_counted_until_nothing_is_wrong() -> None:
    truth = np.zeros((1, 40, 40), bool)
    truth[0, 10:30, 10:30] = True
    model = make_method("sam2.1_hiera_tiny", ModelOptions())
    opened = Clicked(truth[0])
    outcome = run_task(Task(1, "clicks", "clicks"), opened, model, "c", truth, [0])
    assert opened.seen == [1, 2]
    # Half of it: 2 * 200 / (200 + 400).
    assert outcome.click_dice[0] == pytest.approx(2 / 3)
    assert outcome.click_dice[1:] == (1.0,) * 19
    assert outcome.clicks_to(0.8) == 2
    assert math.isnan(outcome.clicks_to(1.5))


def test_a_method_that_needs_a_box_gets_one_first() -> None:
    truth = np.zeros((1, 40, 40), bool)
    truth[0, 10:30, 10:30] = True
    told: list = []

    class Told(Clicked):
        def frame(self, frame: int, prompts: list) -> np.ndarray:
            told.append(tuple(prompts))
            return super().frame(frame, prompts)

    run_task(
        Task(1, "clicks", "clicks"),
        Told(truth[0]),
        make_method("litemedsam", ModelOptions()),
        "c",
        truth,
        [0],
    )
    assert told[0] == (BoxPrompt(0, (10, 10, 30, 30)),)
    assert isinstance(told[1][1], PointPrompt)
    assert told[1][1].labels == (1,)


def test_the_random_walker_follows_borders() -> None:
    image, labels = moving_square()
    found = random_walk(image[0], (10, 8, 30, 28))
    truth = labels[0] > 0
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.95
    whole = random_walk(np.zeros((20, 20)), (0, 0, 20, 20))
    assert whole.all()


def test_three_boxes_are_each_carried_to_the_nearer_frames() -> None:
    image, labels = moving_square(9)
    opened = make_method("random-walker", ModelOptions()).open(Volume(image))
    asked: list[int] = []
    frame = opened.frame
    opened.frame = lambda f, prompts: asked.append(f) or frame(f, prompts)
    boxes = [BoxPrompt(f, (12, 10 + 2 * f, 28, 26 + 2 * f)) for f in (0, 4, 7)]
    found = opened.carry(boxes, "both")
    assert sorted(asked) == list(range(9))
    truth = labels > 0
    assert 2 * (found & truth).sum() / (found.sum() + truth.sum()) > 0.85


@pytest.mark.parametrize(
    ("asked", "error", "told"),
    [
        ({"methods": ("sam9",)}, ModelError, "unknown model 'sam9'"),
        ({"methods": ("litemedsam=nowhere.pt",)}, InputError, "there is no file nowhere.pt"),
        ({"protocols": ("best",)}, InputError, "unknown protocol 'best'"),
        ({"prompts": ("boxes",)}, InputError, "unknown prompt 'boxes'"),
        ({"methods": ()}, InputError, "nothing to compare"),
    ],
)
def test_what_cannot_be_compared(asked: dict, error: type, told: str) -> None:
    with pytest.raises(error, match=told):
        plan(**asked)


def test_no_case_is_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no case"):
        run([], plan(), tmp_path / "out")


class OnePrompt:
    """A method that knows the squares of a collection from one of them."""

    name = key = "one-prompt"
    prompts = ("box", "points", "mask")
    takes_clicks = True
    has_memory = True

    def __init__(self) -> None:
        self.asked: list = []

    def collect(self, volumes: list, prompts: list) -> list:
        self.asked.append((len(volumes), prompts))
        return [CollectedMask(i, np.asarray(v.data)[0] > 100, 0.9) for i, v in enumerate(volumes)]


def test_one_prompt_for_the_images_of_a_data_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = OnePrompt()
    monkeypatch.setattr(runner, "make_method", lambda name, options: method)
    names = ("one", "two", "three")
    rows = ["image\tlabels\tobjects\tkind\tdataset\tcase\tspacing"]
    for name in names:
        image, labels = moving_square(2)
        np.save(tmp_path / f"{name}.npy", image[:1])
        np.save(tmp_path / f"{name}_truth.npy", labels[:1])
        rows.append(f"{name}.npy\t{name}_truth.npy\t3:square\t2d\tflat\t{name}\t1,1,1")
    (tmp_path / "cases.tsv").write_text("\n".join(rows) + "\n")
    cases = read_manifest(tmp_path / "cases.tsv")
    records = run(cases, plan(protocols=("collection",)), tmp_path / "out")
    # The first image is prompted, and the two others count.
    assert [(n, prompts) for n, prompts in method.asked] == [(3, (BoxPrompt(0, (12, 10, 28, 26)),))]
    assert {(r.case, r.protocol, r.dice) for r in records} == {
        ("flat/two", "collection", 1.0),
        ("flat/three", "collection", 1.0),
    }
    assert run(cases, plan(protocols=("collection",)), tmp_path / "out", resume=True) == records


def test_of_many_objects_all_methods_meet_the_same() -> None:
    case = type("C", (), {"objects": dict.fromkeys(range(1, 200), ""), "id": "a/1"})()
    drawn = objects_of(case, 10, seed=0)
    assert len(set(drawn)) == 10
    assert set(drawn) <= set(case.objects)
    assert objects_of(case, 10, seed=0) == drawn
    assert objects_of(case, 10, seed=1) != drawn
    assert len(objects_of(case, None, seed=0)) == 199
    assert objects_of(type("C", (), {"objects": {5: "", 2: ""}, "id": "a/2"})(), 10, 0) == (2, 5)


def test_other_images_are_other_results(tmp_path: Path) -> None:
    cases = read_manifest(write_cases(tmp_path))
    run(cases[:1], plan(), tmp_path / "out")
    image = np.load(tmp_path / "one_image.npy")
    np.save(tmp_path / "one_image.npy", image + 1)
    with pytest.raises(InputError, match="made with cases_sha256"):
        run(cases[:1], plan(), tmp_path / "out", resume=True)


def test_the_same_question_is_asked_once() -> None:
    truth = moving_square(6)[1] > 0

    class Carried:
        def __init__(self) -> None:
            self.asked: list = []

        def carry(self, prompts: list, direction: str) -> np.ndarray:
            self.asked.append((prompts, direction))
            return truth

    opened, done = Carried(), {}
    method = make_method("litemedsam", ModelOptions())
    # All slices are equally large, so the first is the largest; the middle is another one.
    for protocol in ("largest", "largest", "middle", "first"):
        for prompt in ("box", "box+3px"):
            task = Task(3, protocol, prompt)
            run_task(task, opened, method, "c", truth, range(6), done)
    assert [(p[0].frame, direction) for p, direction in opened.asked] == [
        *[(0, "both"), (0, "both"), (0, "both")],
        *[(2, "both"), (2, "both")],
        *[(0, "forward"), (0, "forward")],
    ]


def test_results_of_baselines_depend_on_the_model_inside_them() -> None:
    """Otherwise a run at another precision would be gone on with, and mixed in."""
    low, full = ModelOptions(precision="bf16"), ModelOptions(precision="fp32")
    for name in ("litemedsam", "box-chain", "copy"):
        assert make_method(name, low).key != make_method(name, full).key
    assert make_method("litemedsam", full) is make_method("litemedsam", full)
