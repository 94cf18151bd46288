"""Importing is light."""

from __future__ import annotations

import subprocess
import sys


def test_importing_io_loads_no_heavy_library() -> None:
    script = (
        "import sys, napari_medsam2.io, napari_medsam2.io.prompts; "
        "heavy = {'torch', 'SimpleITK', 'pydicom', 'tifffile', 'zarr', 'PIL', 'napari', 'npe2', "
        "'qtpy', 'scipy'}; print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
