"""From exceptions to exit codes: one line on stderr, no traceback unless --debug asks for it."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup

from napari_medsam2.errors import MedSAM2Error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = ["DEBUG_FLAG", "Shell"]

DEBUG_FLAG = "--debug"

DONE, INTERNAL, BAD_USE, INTERRUPTED = 0, 1, 2, 130

_CHATTY_LOGGERS = ("pydicom", "timm", "tifffile", "napari")


class Shell(TyperGroup):
    """The group of all commands, which turns what goes wrong into a line and an exit code.

    0 done, 1 internal error, 2 bad use or bad input, 130 interrupted.
    """

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run a command line and exit."""
        words = list(sys.argv[1:] if args is None else args)
        debug = DEBUG_FLAG in words
        # Allowed anywhere, so that it can be added at the end of the line that failed.
        words = [word for word in words if word != DEBUG_FLAG]
        try:
            with _quiet(debug):
                code = super().main(words, prog_name, complete_var, False, False, **extra)
        except (KeyboardInterrupt, typer.Abort):
            code = INTERRUPTED
        except Exception as error:
            if debug:
                raise
            code = _report(error)
        if code == INTERRUPTED:
            _say("interrupted; no unfinished result was left")
        sys.exit(code if isinstance(code, int) else DONE)


def _report(error: Exception) -> int:
    """Say what went wrong in one line and return the exit code."""
    if isinstance(error, BrokenPipeError):
        # Whoever read our output has left; keep Python from complaining about it at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return INTERNAL
    if isinstance(error, MedSAM2Error):
        _say(str(error))
        return BAD_USE
    if hasattr(error, "format_message"):
        _say(f"{error.format_message()} (--help tells more)")
        return BAD_USE
    reason = str(error) or "no reason given"
    _say(
        f"internal error, {type(error).__name__}: {reason}; add {DEBUG_FLAG} to see where, and "
        "please report it"
    )
    return INTERNAL


def _say(text: str) -> None:
    print(f"napari-medsam2: {' '.join(text.split())}", file=sys.stderr)


@contextmanager
def _quiet(debug: bool) -> Iterator[None]:
    """Keep the warnings of other libraries off the terminal, unless debugging."""
    if debug:
        yield
        return
    loggers = [logging.getLogger(name) for name in _CHATTY_LOGGERS]
    before = [logger.level for logger in loggers]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
