"""Fixtures that tests of several folders share."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

if "PYTEST_XDIST_WORKER" in os.environ:
    # Workers share the cores: a thread each, told before torch is loaded. Programs inherit it.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real biomedical images, beside the checkout; tests that need it skip without."""
    if not (_DATA / "README.md").is_file():
        pytest.skip("the folder ../shared/data with real images is not there")
    return _DATA


@pytest.fixture(autouse=True)
def napari_config(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Keep settings and autosaves of tests apart from the user's own; programs inherit it."""
    folder = tmp_path_factory.mktemp("napari")
    path = folder / "settings.yaml"
    monkeypatch.setenv("NAPARI_CONFIG", str(path))
    monkeypatch.setenv("NAPARI_MEDSAM2_STATE", str(tmp_path_factory.mktemp("state")))
    settings = sys.modules.get("napari.settings")
    if settings is not None:
        monkeypatch.setattr(settings, "_CFG_PATH", str(path))
        settings._clear_plugin_settings_cache()
    yield folder
    settings = sys.modules.get("napari.settings")
    if settings is not None:
        settings._clear_plugin_settings_cache()
