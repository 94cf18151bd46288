"""How long the GUI thread is ever busy while a volume propagates in a real window.

A timer on the GUI thread asks to be called every 5 ms; the gap between two calls is how long
everything else held the thread. Organs of the phantom propagate through a real viewer, and results
fill in on the slice on show.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/gui_responsiveness.py

Two lines a phase: all gaps, and the gaps without the time that Qt and OpenGL took to paint the
window. Without a GPU, Mesa paints in software: a single repaint of napari's window then takes 20 to
100 ms with or without this plugin (the line "no work" shows it: nothing runs, the slider moves).

Exits with 1 if the plugin held the thread for longer than the limit, painting apart; with --strict,
painting included.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import dataclass, field

import numpy as np

TICK_MS = 5


@dataclass
class Clock:
    """Milliseconds between the calls of a timer, and those spent painting, by phase."""

    phase: str = ""
    last: float = 0.0
    painted: float = 0.0
    gaps: dict[str, list[float]] = field(default_factory=dict)
    paints: dict[str, list[float]] = field(default_factory=dict)

    def enter(self, phase: str) -> None:
        self.phase, self.last, self.painted = phase, time.perf_counter(), 0.0
        self.gaps[phase], self.paints[phase] = [], []

    def tick(self) -> None:
        now = time.perf_counter()
        if self.phase:
            self.gaps[self.phase].append((now - self.last) * 1e3)
            self.paints[self.phase].append(self.painted * 1e3)
        self.last, self.painted = now, 0.0

    def watch_painting(self, window: object) -> None:
        from qtpy.QtCore import QEvent

        kind = type(window)
        handle = kind.event

        def event(instance: object, event: QEvent) -> bool:
            if event.type() != QEvent.Type.UpdateRequest:
                return bool(handle(instance, event))
            started = time.perf_counter()
            handled = handle(instance, event)
            self.painted += time.perf_counter() - started
            return bool(handled)

        kind.event = event  # type: ignore[method-assign]

    def report(self, phase: str) -> tuple[float, float]:
        gaps = np.array(self.gaps[phase] or [0.0])
        apart = gaps - np.minimum(gaps, np.array(self.paints[phase] or [0.0]))
        for name, values in (("all", gaps), ("painting apart", apart)):
            p50, p99, p999 = np.percentile(values, (50, 99, 99.9))
            print(
                f"{phase:<28}{name:<15}{gaps.sum() / 1e3:5.1f} s {len(gaps):5d} calls  "
                f"median {p50:4.1f}  p99 {p99:5.1f}  p99.9 {p999:5.1f}  max {values.max():5.1f} ms"
            )
        return float(gaps.max()), float(apart.max())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=12, help="slices to propagate through")
    parser.add_argument("--zoom", type=int, default=1, help="enlarge the slices of 192 x 192")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--slide", action="store_true", help="move the slider twice a second")
    parser.add_argument("--limit", type=float, default=50.0, help="milliseconds")
    parser.add_argument("--strict", action="store_true", help="count painting too")
    options = parser.parse_args()

    import napari
    from qtpy.QtCore import QTimer
    from qtpy.QtWidgets import QApplication

    from napari_medsam2.io.samples import phantom
    from napari_medsam2.labels import bounding_box

    volume, truth = phantom()
    middle, half = len(truth) // 2, options.frames // 2
    chosen = slice(middle - half, middle - half + options.frames)
    image, truth = (
        np.asarray(array)[chosen].repeat(options.zoom, axis=1).repeat(options.zoom, axis=2)
        for array in (volume.data, truth)
    )

    clock = Clock()
    viewer = napari.Viewer()
    window = viewer.window._qt_window
    clock.watch_painting(window)
    window.resize(1000, 800)
    viewer.add_image(image, name="phantom", scale=volume.spacing)
    _, widget = viewer.window.add_plugin_dock_widget("napari-medsam2", "MedSAM2")
    controller = widget.controller
    for object_id in (1, 2, 4):
        y0, x0, y1, x1 = bounding_box(truth[half] == object_id)
        controller.session.add_box(half, (y0 - 2, x0 - 2, y1 + 2, x1 + 2), object_id)
    viewer.dims.set_current_step(0, half)
    controller.use_box_tool()

    timer, slider = QTimer(), QTimer()
    timer.setInterval(TICK_MS)
    timer.timeout.connect(clock.tick)
    slider.setInterval(500)
    slider.timeout.connect(
        lambda: viewer.dims.set_current_step(0, (viewer.dims.current_step[0] + 1) % len(image))
    )

    def follow(phase: str, seconds: float = 0.0) -> None:
        clock.enter(phase)
        ends = time.perf_counter() + seconds
        while controller.is_awake or time.perf_counter() < ends:
            QApplication.processEvents()
            time.sleep(0.0005)  # as an event loop does while there is nothing to do
        clock.phase = ""

    for _ in range(50):
        QApplication.processEvents()
    timer.start()
    phases = ["first use, loads the model", "no work, slider moves"]
    controller.segment_slice(half)
    follow(phases[0])
    slider.start()
    follow(phases[1], seconds=4.0)
    if not options.slide:
        slider.stop()
    viewer.dims.set_current_step(0, half)
    for number in range(options.repeat):
        # Else the second pass would find every embedding and take no time.
        controller.session.cache.clear()
        phases.append(f"propagation {number + 1}")
        controller.propagate()
        follow(phases[-1])
    timer.stop()
    slider.stop()
    if controller.last_error is not None:
        print(controller.last_error, file=sys.stderr)
        return 1
    print(
        f"{len(image)} slices of {image.shape[1:]}, 3 objects, canvas {window.size().width()} wide"
    )
    worst = [clock.report(phase)[0 if options.strict else 1] for phase in phases][2:]
    viewer.close()
    over = max(worst) > options.limit
    what = "painting included" if options.strict else "painting apart"
    print(
        f"longest gap while propagating, {what}: {max(worst):.1f} ms (limit {options.limit:g} ms)"
        f" -> {'too long' if over else 'ok'}"
    )
    return int(over)


if __name__ == "__main__":
    sys.exit(main())
