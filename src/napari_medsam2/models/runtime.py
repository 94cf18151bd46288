"""What must be so before torch and its companions are loaded into a process with a window."""

from __future__ import annotations

import ctypes
import os
import sys
import types
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["prepare", "without_timm"]

_TORCH_LIBRARIES = ("libtorch_cpu.so", "libtorch_python.so")


@cache
def prepare() -> None:
    """Prepare this process for torch; call before anything here imports it. Takes about 50 ms.

    - OpenMP threads that wait by spinning steal the cores that other programs (napari's own
      window among them) are working on; the spin is limited, unless the environment says
      otherwise.
    - Triton, which torch's compiler and torchvision load, carries an LLVM of its own. If Mesa's
      software renderer has loaded another one before (a napari window without a GPU), their
      symbols mix and the process crashes. Loading triton's library first, bound to itself, keeps
      them apart.
    - Python stands still, and with it the window, while an import loads a library, of which torch
      has hundreds of megabytes. Here they are loaded with Python free to go on; the import finds
      them there.
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    if sys.platform != "linux" or not hasattr(os, "RTLD_DEEPBIND"):
        return
    for folder in _folders("triton"):
        _load(folder / "_C" / "libtriton.so", os.RTLD_LOCAL | os.RTLD_DEEPBIND)
    if "torch" not in sys.modules:
        for folder in _folders("torch"):
            for name in _TORCH_LIBRARIES:
                _load(folder / "lib" / name, os.RTLD_LOCAL)


@contextmanager
def without_timm() -> Iterator[None]:
    """Let what is imported meanwhile have the three small things that it takes from timm.

    LiteMedSAM's package wants a tuple, an initialiser and a base class of it. timm loads
    torchvision, and that torch's compiler with sympy and triton: two thousand modules, for which
    a window stands still again and again. If timm is there already, it serves.
    """
    if "timm" in sys.modules:
        yield
        return
    from torch import nn

    class DropPath(nn.Module):
        """Stochastic depth, which LiteMedSAM leaves off."""

        def __init__(self, drop_prob: float = 0.0) -> None:
            super().__init__()
            if drop_prob:
                raise NotImplementedError("LiteMedSAM is built without stochastic depth")

        def forward(self, x: object) -> object:
            """Return what comes in."""
            return x

    layers = types.ModuleType("timm.models.layers")
    layers.DropPath = DropPath  # type: ignore[attr-defined]
    layers.to_2tuple = lambda side: tuple(side) if hasattr(side, "__iter__") else (side, side)  # type: ignore[attr-defined]
    layers.trunc_normal_ = nn.init.trunc_normal_  # type: ignore[attr-defined]
    registry = types.ModuleType("timm.models.registry")
    registry.register_model = lambda build: build  # type: ignore[attr-defined]
    stand_ins = {
        "timm": types.ModuleType("timm"),
        "timm.models": types.ModuleType("timm.models"),
        "timm.models.layers": layers,
        "timm.models.registry": registry,
    }
    sys.modules.update(stand_ins)
    try:
        yield
    finally:
        for name in stand_ins:
            del sys.modules[name]


def _folders(package: str) -> list[Path]:
    spec = find_spec(package)
    return [Path(folder) for folder in (spec.submodule_search_locations or ())] if spec else []


def _load(library: Path, flags: int) -> None:
    """Load a library without holding Python's lock; what cannot be loaded is left to the import."""
    if library.is_file():
        # A call into C gives the lock away; `ctypes.CDLL` and an import keep it.
        dlopen = ctypes.CDLL(None).dlopen
        dlopen.argtypes, dlopen.restype = (ctypes.c_char_p, ctypes.c_int), ctypes.c_void_p
        dlopen(os.fsencode(library), os.RTLD_NOW | flags)
