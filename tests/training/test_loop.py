"""The loop that trains: it learns, stops when told, and goes on exactly where it was."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import torch
from tests.training.toy import SEED, TRUTH, Toy, trainer, weights

from napari_medsam2.errors import InputError, ReadError
from napari_medsam2.training import loop
from napari_medsam2.training.loop import Progress, Schedule

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Path]:
    """Return a trainer that was never interrupted, and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    one = trainer(folder)
    assert one.run()
    return one, folder


def log_of(folder: Path) -> list[str]:
    return (folder / "log.csv").read_text().splitlines()


def assert_same(one: Any, other: Any) -> None:
    """Compare all that a run ends with, bit by bit."""
    assert log_of(one.folder) == log_of(other.folder)
    assert torch.equal(weights(one.recipe), weights(other.recipe))
    assert (one.best, one.before, one.step) == (other.best, other.before, other.step)
    states = [torch.load(t.folder / "checkpoint.pt", weights_only=True) for t in (one, other)]
    for name in ("weights", "average", "best_weights"):
        for key, value in states[0][name].items():
            assert torch.equal(value, states[1][name][key]), (name, key)


# Learning


def test_it_learns(whole: tuple[Any, Path]) -> None:
    one, _ = whole
    assert one.step == one.total == 40
    assert one.best["score"] > one.before["score"] * 0.1  # the error, below 0, is a tenth
    losses = [value for _, value in one._log.read()["loss"]]
    assert len(losses) == 40
    assert sum(losses[-5:]) < 0.3 * sum(losses[:5])


def test_the_network_is_left_with_the_best_weights(whole: tuple[Any, Path]) -> None:
    one, _ = whole
    assert one.recipe.validate() == one.best
    off = (one.recipe.net[1].weight - TRUTH).abs().max().item()
    assert off < 1.0


def test_what_is_in_no_group_stays_as_it_is(whole: tuple[Any, Path]) -> None:
    one, _ = whole
    assert one.recipe.net[2].weight.item() == 1.0
    assert one.recipe.net[2].bias.item() == 0.0


def test_the_log_holds_every_step_and_every_look(whole: tuple[Any, Path]) -> None:
    one, _ = whole
    found = one._log.read()
    assert [step for step, _ in found["loss"]] == list(range(1, 41))
    assert [step for step, _ in found["val score"]] == [0, 10, 20, 30, 40]
    assert max(value for _, value in found["val score"]) == pytest.approx(
        one.best["score"], rel=1e-5
    )


def test_it_tells_of_each_step(tmp_path: Path) -> None:
    seen: list[Progress] = []
    trainer(tmp_path, steps=12).run(seen.append)
    assert [p.step for p in seen] == list(range(13))
    assert [p.step for p in seen if p.scores] == [0, 10, 12]
    assert all(p.total == 12 for p in seen)
    assert set(seen[-1].losses) == {"loss"}


def test_the_gradient_is_clipped(tmp_path: Path) -> None:
    class Steep(Toy):
        def accumulate(self, batch: torch.Tensor) -> Mapping[str, float]:
            super().accumulate(batch)
            for parameter in self.net[1].parameters():
                parameter.grad.mul_(1e6)
            return {"loss": 0.0}

    one = trainer(tmp_path, Steep(), steps=1, clip=0.5)
    one.run()
    squares = [float((p.grad**2).sum()) for p in one.recipe.net[1].parameters()]
    assert sum(squares) ** 0.5 == pytest.approx(0.5, rel=1e-4)


def test_rates_rise_then_fall_to_a_twentieth() -> None:
    schedule = Schedule(steps=100, warm_up=10)
    assert schedule.rate(0, 1000) == pytest.approx(0.1)
    assert schedule.rate(4, 10**9) == pytest.approx(0.5)
    # Half way down the cosine: 0.05 + 0.95 / 2.
    assert schedule.rate(50, 100) == pytest.approx(0.525)
    assert schedule.rate(100, 100) == schedule.rate(200, 100) == pytest.approx(0.05)
    # Not known how many there will be: as fast as allowed.
    assert schedule.rate(50, None) == 1.0


def test_groups_have_rates_of_their_own(tmp_path: Path) -> None:
    one = trainer(tmp_path, steps=1)
    one.run()
    rates = [group["lr"] for group in one._optimizer.param_groups]
    assert rates == pytest.approx([0.1 / 5, 0.01 / 5])


# Ends


@pytest.mark.parametrize(
    "facts", [{}, {"steps": 3, "minutes": 1.0}, {"steps": 0}, {"minutes": -1.0}, {"minutes": 0.0}]
)
def test_a_run_has_one_end(facts: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        Schedule(**facts)


class Forgetting(Toy):
    """Gets worse by every step."""

    def accumulate(self, batch: torch.Tensor) -> Mapping[str, float]:
        told = super().accumulate(batch)
        for parameter in self.net[1].parameters():
            parameter.grad.neg_()
        return told


def test_it_gives_up_where_nothing_gets_better(tmp_path: Path) -> None:
    toy = Forgetting()
    before = weights(toy)
    one = trainer(tmp_path, toy, give_up_after=2)
    assert one.run()
    assert one.step == 20
    assert one.best == one.before
    assert torch.equal(weights(toy), before)


def test_it_does_not_give_up_unasked(tmp_path: Path) -> None:
    one = trainer(tmp_path, Forgetting())
    one.run()
    assert one.step == 40


class Clock:
    """A clock that advances by so much whenever it is read."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, by: float) -> None:
        self.now, self.by = 0.0, by
        monkeypatch.setattr(loop.time, "perf_counter", self.read)

    def read(self) -> float:
        self.now += self.by
        return self.now


def test_minutes_become_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch, 0.5)
    one = trainer(tmp_path, minutes=0.5)
    totals: list[int] = []
    one.run(lambda now: totals.append(now.total))
    # 30 seconds, half a second each; known after the first fifteen.
    assert one.step == 60
    assert totals[:15] == [0] * 15
    assert set(totals[15:]) == {60}


def test_a_slow_start_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch, 2.0)
    one = trainer(tmp_path, minutes=0.5)

    def told(now: Progress) -> None:
        clock.by = 2.0 if now.step < 3 else 0.5

    one.run(told)
    # Three steps of 2 s; then 24 s of half a second each.
    assert one.step == 3 + 48


def test_the_timing_goes_on_after_a_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Clock(monkeypatch, 0.5)
    one = trainer(tmp_path, minutes=0.5)
    one.run(cancelled=lambda: one.step == 9)
    two = trainer(tmp_path, minutes=0.5)
    assert two.resume()
    assert two.run()
    assert two.step == 60


def test_a_machine_that_becomes_slow_makes_it_half_as_long_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch, 0.5)
    one = trainer(tmp_path, minutes=0.5)

    def told(now: Progress) -> None:
        clock.by = 0.5 if now.step < 15 else 4.0

    one.run(told)
    # 7.5 s, then 4 s each until 45 s are over.
    assert one.step == 15 + 10
    assert one.best["score"] > one.before["score"]


def test_a_cancelled_run_keeps_the_best_until_then(tmp_path: Path) -> None:
    one = trainer(tmp_path)
    kept: dict[int, torch.Tensor] = {}

    def told(now: Progress) -> None:
        if now.scores:
            kept[now.step] = one.average.weights()["1.weight"]

    assert not one.run(told, lambda: one.step == 23)
    assert one.step == 23
    assert one.best["score"] > one.before["score"]
    assert torch.equal(one.recipe.net[1].weight.detach(), kept[20])


# Going on


@pytest.mark.parametrize("step", [1, 10, 17, 39])
def test_a_stopped_run_goes_on_exactly(step: int, whole: tuple[Any, Path], tmp_path: Path) -> None:
    one = trainer(tmp_path)
    assert not one.run(cancelled=lambda: one.step == step)
    two = trainer(tmp_path, Toy(init=99))  # whatever it begins with, the checkpoint counts
    assert two.resume()
    assert two.step == step
    assert two.run()
    assert_same(two, whole[0])


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system cannot kill -9")
@pytest.mark.parametrize("step", [3, 17])
def test_a_killed_run_goes_on_exactly(step: int, whole: tuple[Any, Path], tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.training.toy", str(step), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    # The log is ahead of the checkpoint, which is written every fifth step.
    assert int(log_of(tmp_path)[-1].split(",")[0]) == step
    two = trainer(tmp_path)
    assert two.resume() == (step > 5)
    assert two.step == step // 5 * 5
    assert two.run()
    assert_same(two, whole[0])


def test_a_run_that_has_ended_stays_as_it_is(whole: tuple[Any, Path], tmp_path: Path) -> None:
    one = trainer(tmp_path)
    one.run()
    two = trainer(tmp_path)
    assert two.resume()
    assert two.run()
    assert_same(two, whole[0])


def test_another_seed_is_another_run(whole: tuple[Any, Path], tmp_path: Path) -> None:
    one = trainer(tmp_path, seed=SEED + 1)
    one.run()
    assert log_of(tmp_path) != log_of(whole[1])


def test_without_a_checkpoint_nothing_is_resumed(tmp_path: Path) -> None:
    one = trainer(tmp_path)
    assert not one.resume()
    assert one.step == 0


def test_a_checkpoint_of_other_data_is_refused(tmp_path: Path) -> None:
    trainer(tmp_path, steps=5).run()
    one = trainer(tmp_path, steps=5)
    one.facts += " other"
    with pytest.raises(ReadError, match=r"checkpoint.pt: is of a run with other data or settings"):
        one.resume()


def test_a_checkpoint_of_another_schedule_is_refused(tmp_path: Path) -> None:
    trainer(tmp_path, steps=5).run()
    with pytest.raises(ReadError, match="other data or settings; choose another folder"):
        trainer(tmp_path, steps=5, decay=0.5).resume()


@pytest.mark.parametrize("content", [b"", b"no checkpoint", None])
def test_a_damaged_checkpoint_is_told(tmp_path: Path, content: bytes | None) -> None:
    trainer(tmp_path, steps=5).run()
    path = tmp_path / "checkpoint.pt"
    path.write_bytes(path.read_bytes()[:-300] if content is None else content)
    with pytest.raises(ReadError, match=r"checkpoint.pt: is a damaged checkpoint; delete it"):
        trainer(tmp_path, steps=5).resume()


def test_a_file_that_is_no_checkpoint_is_told(tmp_path: Path) -> None:
    torch.save({"weights": {}}, tmp_path / "checkpoint.pt")
    with pytest.raises(ReadError, match="is a damaged checkpoint"):
        trainer(tmp_path).resume()
