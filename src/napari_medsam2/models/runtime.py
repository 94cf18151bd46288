"""What must be so before torch and its companions are loaded into a process with a window."""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from importlib.util import find_spec
from pathlib import Path

__all__ = ["prepare"]


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
    """
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    if sys.platform != "linux" or not hasattr(os, "RTLD_DEEPBIND"):
        return
    spec = find_spec("triton")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        library = Path(folder) / "_C" / "libtriton.so"
        if library.is_file():
            ctypes.CDLL(str(library), mode=os.RTLD_NOW | os.RTLD_LOCAL | os.RTLD_DEEPBIND)
