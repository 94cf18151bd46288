"""Several processes that train one model, started as a user starts them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tests.training.toy import Mean, trainer, weights
from torch import nn

from napari_medsam2.training.parallel import Team, team

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_two_processes_learn_what_one_learns_from_both_batches(tmp_path: Path) -> None:
    run = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    done = subprocess.run(
        [*run, "-m", "tests.training.toy", "together", str(tmp_path / "two")],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    zero, one = (torch.load(tmp_path / "two" / f"{rank}.pt") for rank in (0, 1))
    # The second process began with other weights.
    assert torch.equal(zero, one)
    alone = Mean(2)
    trainer(tmp_path / "one", alone).run()
    torch.testing.assert_close(zero, weights(alone), rtol=1e-5, atol=1e-6)
    single = Mean(1)
    trainer(tmp_path / "single", single).run()
    assert not torch.allclose(zero, weights(single), rtol=1e-3)
    # One of them wrote the log, once each step.
    assert (tmp_path / "two" / "log.csv").read_text().count(",loss,") == 40


def test_alone_there_is_nothing_to_agree_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with team(torch.device("cpu")) as together:
        assert together == Team(0, 1)
        assert together.leads
        parameter = nn.Parameter(torch.ones(2))
        together.average([parameter])
        together.share([parameter])
        assert parameter.grad is None
        assert together.agree(0.25) == 0.25
