"""How long it takes to open the widget once napari's viewer is up.

Each opening is measured in a process of its own, as it is for a person who starts napari: what the
plugin imports counts, too. The numbers: until `add_plugin_dock_widget` returns (the limit is about
this one), until the window has been drawn with the widget in it, and the imports alone; "cpu" is
the processor time of `open`, which tells more than the clock on a machine that is busy otherwise.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/widget_opening.py

`--profile` prints where the time of one opening goes, `--imports` what the imports of it cost.
Exits with 1 if the median is over the limit.
"""

from __future__ import annotations

import argparse
import compileall
import cProfile
import json
import os
import pstats
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

PACKAGE = Path(__file__).resolve().parents[1] / "src" / "napari_medsam2"
SHAPE = (120, 512, 512)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--limit", type=float, default=300.0, help="milliseconds")
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--imports", action="store_true")
    parser.add_argument("--once", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # Settings of its own, set before napari is imported: nobody's are read or changed.
        os.environ["NAPARI_CONFIG"] = str(Path(folder) / "settings.yaml")
        if options.once or options.profile:
            print(json.dumps(open_once(options.profile)))
            return 0
        if options.imports:
            told = ["-X", "importtime"]
            found = subprocess.run(
                [sys.executable, *told, __file__, "--once"], capture_output=True, text=True
            )
            print(found.stderr)
            return found.returncode
        # As an installer does: else Python would compile the package again in each process.
        compileall.compile_dir(PACKAGE, quiet=2)
        rows = [run_once() for _ in range(options.repeat)]
    for name in rows[0]:
        values = np.array([row[name] for row in rows])
        print(f"{name:<10} median {np.median(values):6.0f} ms   worst {values.max():6.0f} ms")
    median = float(np.median([row["open"] for row in rows]))
    over = median > options.limit
    print(f"limit {options.limit:g} ms for `open` -> {'too long' if over else 'ok'}")
    return int(over)


def run_once() -> dict[str, float]:
    found = subprocess.run(
        [sys.executable, __file__, "--once"], capture_output=True, text=True, check=True
    )
    return dict(json.loads(found.stdout.splitlines()[-1]))


def open_once(profile: bool) -> dict[str, float]:
    import napari
    from qtpy.QtWidgets import QApplication

    viewer = napari.Viewer()
    viewer.window._qt_window.resize(1280, 800)
    viewer.add_image(np.zeros(SHAPE, np.int16), name="volume")
    for _ in range(20):
        QApplication.processEvents()
    profiler = cProfile.Profile(time.thread_time)
    if profile:
        profiler.enable()
    started, busy = time.perf_counter(), time.thread_time()
    from napari_medsam2.gui import widget

    imported = time.perf_counter()
    viewer.window.add_plugin_dock_widget("napari-medsam2", "MedSAM2")
    opened, used = time.perf_counter(), time.thread_time() - busy
    QApplication.processEvents()
    drawn = time.perf_counter()
    if profile:
        profiler.disable()
        pstats.Stats(profiler, stream=sys.stderr).sort_stats("cumulative").print_stats(90)
    viewer.close()
    del widget
    if profile:
        return {}
    seconds = {"imports": imported - started, "open": opened - started, "cpu": used}
    seconds["drawn"] = drawn - started
    return {name: value * 1e3 for name, value in seconds.items()}


if __name__ == "__main__":
    sys.exit(main())
