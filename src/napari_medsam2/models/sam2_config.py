"""Building SAM 2 from a config: the package's own, or a YAML file of the same form."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml
from hydra.utils import instantiate
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from napari_medsam2.errors import ModelError

__all__ = ["build_network", "config_key"]

_TARGETS = "sam2.modeling."
"""What a config may build: anything else would run code of its author's choice."""
_AS_FOR_VIDEOS = {
    "sam_mask_decoder_extra_args": {
        "dynamic_multimask_via_stability": True,
        "dynamic_multimask_stability_delta": 0.05,
        "dynamic_multimask_stability_thresh": 0.98,
    },
    "binarize_mask_from_pts_for_mem_enc": True,
}
_NEEDED = ("directly_add_no_mem_embed", "use_mask_input_as_output_without_sam")


def build_network(config: str | Path, image_size: int) -> Any:
    """Build SAM 2's base class, with random weights, from a config.

    Parameters
    ----------
    config : str or Path
        One of the package's own ("configs/sam2.1/sam2.1_hiera_t.yaml"), or a YAML file.
    image_size : int
        Side of the network's input in pixels.

    Raises
    ------
    ModelError
        For a config that is unknown, cannot be read, or builds anything but parts of SAM 2.
    """
    name = str(config)
    own = files("sam2").joinpath(name)
    path = own if not Path(name).is_absolute() and own.is_file() else Path(name)
    try:
        found = OmegaConf.create(path.read_text(encoding="utf-8"))
        chosen = OmegaConf.to_container(found.model, resolve=True)
    except FileNotFoundError:
        raise ModelError(f"config {name}: there is no such file") from None
    except (OmegaConfBaseException, yaml.YAMLError, AttributeError, OSError, ValueError) as error:
        raise ModelError(f"config {name}: is no SAM 2 config in YAML with a 'model'") from error
    _check_targets(chosen, name)
    if not isinstance(chosen, dict) or not all(chosen.get(flag) for flag in _NEEDED):
        raise ModelError(f"config {name}: needs {' and '.join(_NEEDED)}, as all SAM 2 models do")
    chosen.update(_AS_FOR_VIDEOS, image_size=image_size, compile_image_encoder=False)
    chosen["_target_"] = "sam2.modeling.sam2_base.SAM2Base"
    try:
        net = instantiate(chosen)
    except Exception as error:  # hydra wraps whatever a constructor raises
        raise ModelError(f"config {name}: does not build a SAM 2 model ({error})") from error
    return net


def config_key(config: str | Path) -> str:
    """Tell configs apart: by name those of the package, by content those of one's own."""
    path = Path(config)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_absolute() else str(config)


def _check_targets(node: Any, name: str) -> None:
    if isinstance(node, dict):
        target = node.get("_target_", _TARGETS)
        if not str(target).startswith(_TARGETS):
            raise ModelError(
                f"config {name}: refused, it builds {target!r}; only parts of {_TARGETS}* are built"
            )
    for child in (
        node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    ):
        _check_targets(child, name)
