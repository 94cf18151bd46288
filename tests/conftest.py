"""Fixtures that tests of several folders share."""

from __future__ import annotations

from pathlib import Path

import pytest

_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real biomedical images, beside the checkout; tests that need it skip without."""
    if not (_DATA / "README.md").is_file():
        pytest.skip("the folder ../shared/data with real images is not there")
    return _DATA
