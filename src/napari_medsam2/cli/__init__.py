"""The command line, `napari-medsam2 COMMAND`: thin, every command asks the layers below.

Nothing heavy is imported until a command needs it, so that --help and --version answer at once.
"""

from __future__ import annotations

import os
import signal
import sys

from .app import app

__all__ = ["app", "main"]

# As in `models`, which may be too late: another library can load OpenMP first.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")


def main() -> None:
    """Run the program; the entry point of the package."""
    # A cluster that ends a job sends SIGTERM: leave in order, so that no temporary file stays.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    app(prog_name="napari-medsam2")
