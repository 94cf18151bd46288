"""Passing a signal on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from psygnal import SignalInstance

__all__ = ["relay"]


def relay(source: SignalInstance, target: SignalInstance) -> None:
    """Emit one signal whenever another one is emitted, with the same arguments.

    Connecting an ``emit`` itself makes psygnal call it once, to learn its arguments.
    """

    def forward(*arguments: Any) -> None:
        target.emit(*arguments)

    source.connect(forward, check_nargs=False)
