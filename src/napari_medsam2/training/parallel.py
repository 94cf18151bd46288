"""Several processes that train one model, as ``torchrun`` starts them."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import torch
from torch import distributed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["Team", "leads", "own_device", "team"]

# All wait while the leading process judges.
_PATIENCE = timedelta(hours=2)


@dataclass(frozen=True)
class Team:
    """The processes that train together; one, if nothing else was asked for.

    Attributes
    ----------
    rank : int
        0 writes files and judges.
    size : int
    """

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    def average(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Make the gradients the mean over all processes; one that has none adds zeros."""
        if self.size == 1:
            return
        for parameter in parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        flat = torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])
        distributed.all_reduce(flat)
        flat /= self.size
        start = 0
        for parameter in parameters:
            assert parameter.grad is not None
            count = parameter.numel()
            parameter.grad.copy_(flat[start : start + count].view_as(parameter))
            start += count

    def share(self, parameters: Sequence[torch.nn.Parameter]) -> None:
        """Begin with the leading process's weights in all of them: new ones are random."""
        if self.size == 1:
            return
        for parameter in parameters:
            distributed.broadcast(parameter.data, 0)

    @contextmanager
    def leader_first(self) -> Iterator[None]:
        """Do something in the leading process before the others do it: they find it done."""
        if self.size > 1 and not self.leads:
            distributed.barrier()
        yield
        if self.size > 1 and self.leads:
            distributed.barrier()

    def agree(self, value: float) -> float:
        """Return the leading process's value in all of them."""
        if self.size == 1:
            return value
        kind = "cuda" if distributed.get_backend() == "nccl" else "cpu"
        shared = torch.tensor([value], dtype=torch.float64, device=kind)
        distributed.broadcast(shared, 0)
        return float(shared.item())


def leads() -> bool:
    """Whether this is the process that writes, also before the team has met."""
    return int(os.environ.get("RANK", "0")) == 0


def own_device(wanted: str) -> str:
    """Return the device of this process: each one that ``torchrun`` starts has a GPU of its own."""
    local = os.environ.get("LOCAL_RANK")
    if local is not None and wanted in ("auto", "cuda") and torch.cuda.is_available():
        return f"cuda:{local}"
    return wanted


@contextmanager
def team(device: torch.device) -> Iterator[Team]:
    """Join the processes that ``torchrun`` has started; alone without it.

    Parameters
    ----------
    device : torch.device
        Of this process; CUDA devices talk by NCCL, others by Gloo.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield Team()
        return
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    distributed.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    try:
        yield Team(distributed.get_rank(), distributed.get_world_size())
        # Who leaves while another is still at work may be aborted by the threads of gloo.
        distributed.barrier()
    finally:
        distributed.destroy_process_group()
