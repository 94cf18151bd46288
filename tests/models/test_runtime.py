"""A window first and a model second: what a person does must not crash the process."""

import subprocess
import sys

import pytest

SCRIPT = """
import numpy as np
import napari
viewer = napari.Viewer(show=True)
viewer.add_image(np.random.default_rng(0).random((3, 64, 64)))
from qtpy.QtWidgets import QApplication
for _ in range(5):
    QApplication.processEvents()
viewer.screenshot()  # the renderer has drawn, so its libraries are loaded
import napari_medsam2 as nm
labels = nm.segment(np.random.default_rng(0).random((1, 32, 32)), [nm.BoxPrompt(0, (8, 8, 24, 24))])
print("segmented", labels.shape)
viewer.close()
"""


def test_a_model_can_be_loaded_after_a_window_was_shown():
    pytest.importorskip("qtpy")
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert "segmented (1, 32, 32)" in done.stdout
