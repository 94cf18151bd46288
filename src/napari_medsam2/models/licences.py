"""What the licence of a model's weights asks of whoever uses them; one rule for every face."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .catalogue import ModelCard

__all__ = ["is_permissive", "notices"]

# Licences that ask for nothing before use; every other one is shown and must be accepted.
_PERMISSIVE = ("Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "MIT")
_WHAT_IT_ASKS = {
    "CC-BY-SA-4.0": "it allows use and change, also commercial, if you name the authors "
    "(attribution) and pass on what you derive from the weights under the same licence (share "
    "alike): https://creativecommons.org/licenses/by-sa/4.0/",
}


def is_permissive(card: ModelCard) -> bool:
    """Whether a model's licence need only be shown; any other one must be accepted first."""
    return card.licence in _PERMISSIVE


def notices(card: ModelCard) -> tuple[str, ...]:
    """Return what a person should read before a model's weights are downloaded.

    Returns
    -------
    tuple of str
        The licence and what it asks; then, where nobody has published a hash of the file, what
        that means.
    """
    asks = _WHAT_IT_ASKS.get(card.licence)
    licence = f"licence: {card.licence}{f'; {asks}' if asks else ''}"
    if card.sha256 is not None:
        return (licence,)
    return (
        licence,
        "its authors publish no hash: this first copy is trusted, and every later use is held "
        "against it",
    )
