"""Which device computes, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from napari_medsam2.errors import DeviceError

if TYPE_CHECKING:
    import torch

__all__ = ["Device", "choose_device"]


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
        return Device("cpu", f"cpu: no CUDA or MPS device ({torch.get_num_threads()} threads)")
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
