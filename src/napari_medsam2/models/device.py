"""Which device computes, and why; and what to do when it fails."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from napari_medsam2.errors import DeviceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch

__all__ = ["Device", "choose_device", "device_errors", "in_batches"]

_T = TypeVar("_T")
_R = TypeVar("_R")


@dataclass(frozen=True)
class Device:
    """A compute device and the reason for it.

    Attributes
    ----------
    name : str
        torch's name: "cpu", "cuda", "cuda:1", "mps".
    reason : str
        One line for a person.
    """

    name: str
    reason: str

    @property
    def torch(self) -> torch.device:
        """The device as torch knows it."""
        import torch

        return torch.device(self.name)


def choose_device(wanted: str = "auto") -> Device:
    """Choose a device: CUDA before Apple's MPS before the CPU, or the one asked for.

    Parameters
    ----------
    wanted : str
        "auto", "cpu", "cuda", "cuda:N" or "mps".

    Raises
    ------
    DeviceError
        If the device that was asked for is unknown or not there.
    """
    from .runtime import prepare

    prepare()
    import torch

    if wanted == "auto":
        if torch.cuda.is_available():
            return Device("cuda", f"cuda: {torch.cuda.get_device_name()} was found")
        if torch.backends.mps.is_available():
            return Device("mps", "mps: Apple GPU was found, no CUDA")
        n = torch.get_num_threads()
        return Device("cpu", f"cpu: no CUDA or MPS device ({n} thread{'s' * (n > 1)})")
    kind, _, index = wanted.partition(":")
    if kind not in ("cpu", "cuda", "mps") or (index and (kind != "cuda" or not index.isdigit())):
        raise DeviceError(f"unknown device {wanted!r}; use auto, cpu, cuda, cuda:N or mps")
    if kind == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if int(index or 0) >= count:
            raise DeviceError(f"device {wanted!r} is not there: torch sees {count} CUDA devices")
    if kind == "mps" and not torch.backends.mps.is_available():
        raise DeviceError("device 'mps' is not there: torch sees no Apple GPU")
    return Device(wanted, f"{wanted}: as asked for")


@contextmanager
def device_errors(device: Device) -> Iterator[None]:
    """Turn what torch raises of a device (a RuntimeError) into an error that reaches the user."""
    import torch

    try:
        yield
    except torch.OutOfMemoryError as error:
        raise DeviceError(
            f"{device.name}: out of memory; choose a smaller image size or model, close other "
            "programs that use the device, or choose cpu"
        ) from error
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise DeviceError(
            f"{device.name}: torch failed: {reason}; choose another device (cpu always works) or "
            "start again"
        ) from error


def in_batches(
    work: Callable[[Sequence[_T]], Sequence[_R]], items: Sequence[_T], device: Device
) -> list[_R]:
    """Do work on all items at once or, where the memory of the device is too small, in parts.

    Parameters
    ----------
    work : callable
        Takes some items, returns as many results.
    items : sequence
    device : Device

    Raises
    ------
    torch.OutOfMemoryError
        If one item alone is too much.
    """
    import torch

    try:
        return [*work(items)]
    except torch.OutOfMemoryError:
        if len(items) == 1:
            raise
    if device.torch.type == "cuda":
        torch.cuda.empty_cache()
    middle = len(items) // 2
    return [*in_batches(work, items[:middle], device), *in_batches(work, items[middle:], device)]
