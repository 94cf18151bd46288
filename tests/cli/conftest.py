"""An image of two squares, and a model without a network."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import tifffile
from tests.cli.common import squares
from tests.fakes import BrightModel

from napari_medsam2 import models

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, squares(), imagej=True, metadata={"axes": "ZYX"})
    return path


@pytest.fixture
def bright(monkeypatch: pytest.MonkeyPatch) -> BrightModel:
    """Compute with brightness instead of a network."""
    model = BrightModel()
    monkeypatch.setattr(models, "build", lambda *args, **kwargs: model)
    return model


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fail if a model is loaded: what is wrong with the input must be found before."""

    def build(*args: object, **kwargs: object) -> None:
        pytest.fail("the model was loaded")

    monkeypatch.setattr(models, "build", build)
