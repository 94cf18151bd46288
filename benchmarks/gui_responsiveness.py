"""How long the GUI thread is ever held while a person works in a real window.

A timer on the GUI thread asks to be called every 5 ms; the gap between two calls is how long
everything else held the thread. The widget opens, the model loads, boxes are drawn and previewed,
objects propagate, are undone, painted on and scrolled through: in a volume of 120 x 512 x 512, and
in an image of 5,000 x 5,000 pixels. At last layers are added without the plugin, to compare.

    xvfb-run -a -s "-screen 0 1600x1000x24" python benchmarks/gui_responsiveness.py

A line a phase: the longest hold by the clock; the longest without the time that Qt and OpenGL took
to paint the window, which Mesa does in software where there is no GPU (20 to 100 ms a time, also
without this plugin); and the longest by the processor time of the GUI thread, painting apart, which
leaves out what other programs on the machine take. Where Python has looked through all objects of
the process for garbage, which it does now and then in every program and here only while no run is
under way, that is told and left out, too. `--who` names the line of this plugin that the
thread was in during the longest hold.

Exits with 1 if the plugin held the thread for longer than the limit, painting apart.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TICK_MS = 5
SAMPLE = 0.004  # seconds between looks at what the GUI thread is doing
VOLUME, PLANE = (120, 512, 512), (5000, 5000)
PACKAGE = f"{os.sep}napari_medsam2{os.sep}"


@dataclass(frozen=True)
class Gap:
    """Milliseconds between two calls of the timer.

    Attributes
    ----------
    wall : float
        By the clock.
    apart : float
        By the clock, painting apart.
    cpu : float
        Processor time of the GUI thread, painting apart.
    end : float
        When it ended, by `time.perf_counter`.
    """

    wall: float
    apart: float
    cpu: float
    end: float


@dataclass
class Clock:
    """The gaps of each phase."""

    phase: str = ""
    gaps: dict[str, list[Gap]] = field(default_factory=dict)
    collections: dict[str, float] = field(default_factory=dict)
    is_running: Callable[[], bool] = lambda: False
    _last: tuple[float, float] = (0.0, 0.0)
    _painted: tuple[float, float] = (0.0, 0.0)
    _collecting: tuple[float, float] = (0.0, 0.0)

    def enter(self, phase: str) -> None:
        self.phase = phase
        self.gaps.setdefault(phase, [])
        self._last, self._painted = _now(), (0.0, 0.0)

    def tick(self) -> None:
        wall, cpu = _now()
        if self.phase:
            apart = max(0.0, wall - self._last[0] - self._painted[0])
            alone = max(0.0, cpu - self._last[1] - self._painted[1])
            gap = Gap(1e3 * (wall - self._last[0]), 1e3 * apart, 1e3 * alone, wall)
            self.gaps[self.phase].append(gap)
        self._last, self._painted = (wall, cpu), (0.0, 0.0)

    def watch_painting(self, window: object) -> None:
        from qtpy.QtCore import QEvent

        kind = type(window)
        handle = kind.event

        def event(instance: object, event: QEvent) -> bool:
            if event.type() != QEvent.Type.UpdateRequest:
                return bool(handle(instance, event))
            before = _now()
            handled = handle(instance, event)
            self._leave_out(before)
            return bool(handled)

        kind.event = event  # type: ignore[method-assign]

    def watch_collections(self) -> None:
        """Leave Python's full collections out, and note them, unless a run is under way."""
        gui = threading.get_ident()

        def note(step: str, info: dict[str, int]) -> None:
            if info["generation"] < 2 or threading.get_ident() != gui:
                return
            if step == "start":
                self._collecting = _now()
            elif self.phase and not self.is_running():
                took = 1e3 * (time.perf_counter() - self._collecting[0])
                self.collections[self.phase] = max(took, self.collections.get(self.phase, 0.0))
                self._leave_out(self._collecting)

        gc.callbacks.append(note)

    def _leave_out(self, since: tuple[float, float]) -> None:
        self._painted = tuple(  # type: ignore[assignment]
            p + now - then for p, now, then in zip(self._painted, _now(), since, strict=True)
        )

    def worst(self, phase: str) -> Gap:
        return max(self.gaps[phase], key=lambda gap: gap.apart, default=Gap(0, 0, 0, 0))

    def report(self, phase: str, who: Witness) -> float:
        gaps = self.gaps[phase] or [Gap(0, 0, 0, 0)]
        wall, apart, cpu = (max(getattr(g, n) for g in gaps) for n in ("wall", "apart", "cpu"))
        collected = self.collections.get(phase)
        between = "" if collected is None else f"   Python's collector: {collected:.0f} ms"
        print(
            f"{phase:<30}{sum(g.wall for g in gaps) / 1e3:6.1f} s {len(gaps):6d} calls   longest "
            f"{wall:6.1f} ms, painting apart {apart:6.1f}, cpu {cpu:6.1f}{between}   "
            f"{who.during(self.worst(phase))}",
            flush=True,
        )
        return apart


class Witness:
    """Looks at the GUI thread from another one, to tell what of this plugin holds it."""

    def __init__(self, is_on: bool) -> None:
        self._seen: list[tuple[float, str]] = []
        self._gui = threading.get_ident()
        if is_on:
            threading.Thread(target=self._look, daemon=True).start()

    def during(self, gap: Gap) -> str:
        start = gap.end - gap.wall / 1e3
        lines = Counter(line for at, line in self._seen if start <= at <= gap.end)
        return "; ".join(f"{line} x{n}" for line, n in lines.most_common(2))

    def _look(self) -> None:
        while True:
            time.sleep(SAMPLE)
            frame = sys._current_frames().get(self._gui)
            while frame is not None and PACKAGE not in frame.f_code.co_filename:
                frame = frame.f_back
            if frame is not None:
                name = Path(frame.f_code.co_filename).name
                self._seen.append((time.perf_counter(), f"{name}:{frame.f_lineno}"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=12, help="slices to propagate through")
    parser.add_argument("--only", choices=("volume", "plane"), help="one of the two images")
    parser.add_argument("--limit", type=float, default=50.0, help="milliseconds")
    parser.add_argument("--who", action="store_true", help="name the line that held the thread")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        # Settings of its own, set before napari is imported: nobody's are read or changed.
        os.environ["NAPARI_CONFIG"] = str(Path(folder) / "settings.yaml")
        return measure(options)


def measure(options: argparse.Namespace) -> int:
    import napari
    from qtpy.QtCore import QTimer

    clock, who = Clock(), Witness(options.who)
    viewer = napari.Viewer()
    window = viewer.window._qt_window
    clock.watch_painting(window)
    window.resize(1280, 800)
    timer = QTimer()
    timer.setInterval(TICK_MS)
    timer.timeout.connect(clock.tick)
    timer.start()
    desk = Person(viewer, clock)
    clock.is_running = lambda: desk.is_running
    clock.watch_collections()
    worst = []
    stories: dict[str, Callable[[Person, int], Iterator[str]]] = {
        "volume": in_a_volume,
        "plane": in_a_plane,
        "napari": in_napari_alone,
    }
    for name, story in stories.items():
        if options.only in (None, name) or name == "napari":
            for phase in story(desk, options.frames):
                longest = clock.report(phase, who)
                if name != "napari":
                    worst.append(longest)
    timer.stop()
    viewer.close()
    over = max(worst) > options.limit
    print(
        f"longest hold, painting apart: {max(worst):.1f} ms (limit {options.limit:g} ms)"
        f" -> {'too long' if over else 'ok'}"
    )
    return int(over)


class Person:
    """Does in the window what a person does, and lets the window live meanwhile."""

    def __init__(self, viewer: Any, clock: Clock) -> None:
        self.viewer = viewer
        self.clock = clock
        self.widget: Any = None

    @property
    def controller(self) -> Any:
        return self.widget.controller

    @contextmanager
    def phase(self, name: str, seconds: float = 0.3, *, until_done: bool = True) -> Iterator[None]:
        """Measure what is done inside, and what comes of it."""
        self.live(0.3)
        self.clock.enter(name)
        yield
        self.live(seconds, until_done=until_done)
        self.clock.phase = ""

    def live(self, seconds: float, *, until_done: bool = False) -> None:
        from qtpy.QtWidgets import QApplication

        ends = time.perf_counter() + seconds
        while time.perf_counter() < ends or (until_done and self._is_busy()):
            QApplication.processEvents()
            time.sleep(0.0005)  # as an event loop does while there is nothing to do
        if self.widget is not None and self.controller.last_error is not None:
            raise self.controller.last_error

    def _is_busy(self) -> bool:
        return self.widget is not None and bool(self.controller.is_awake)

    @property
    def is_running(self) -> bool:
        return self.widget is not None and self.controller.state != "idle"

    def open_widget(self) -> None:
        _, self.widget = self.viewer.window.add_plugin_dock_widget("napari-medsam2", "MedSAM2")

    def draw_box(self, frame: int | None, box: tuple[int, int, int, int]) -> None:
        y0, x0, y1, x1 = box
        corners = np.array([[y0, x0], [y0, x1], [y1, x1], [y1, x0]], dtype=float) - 0.5
        if frame is not None:
            corners = np.insert(corners, 0, frame, axis=1)
        self.controller.use_box_tool()
        self.viewer.layers.selection.active.add_rectangles(corners)

    def paint(self, frame: int | None, centre: tuple[int, int], steps: int = 20) -> None:
        layer = self.controller.bench.desk.results.layer
        layer.brush_size = 20
        with layer.block_history():
            for step in range(steps):
                at = (*(() if frame is None else (frame,)), centre[0], centre[1] + 2 * step)
                layer.paint(at, self.controller.tools.object_id)
                self.live(0.02)


def in_a_volume(person: Person, frames: int) -> Iterator[str]:
    from napari_medsam2.gui.cleanup_order import Order

    image, boxes = enlarged_phantom()
    middle = len(image) // 2
    viewer = person.viewer
    viewer.add_image(image, name="volume")
    viewer.dims.set_current_step(0, middle)
    yield from _from_opening(person, "volume", middle, boxes)
    controller = person.controller
    first = middle - frames // 2
    with person.phase("volume: propagating"):
        controller.propagate(start=first, stop=first + frames)
    yield "volume: propagating"
    with person.phase("volume: undo, redo"):
        controller.undo()
        person.live(0.5)
        controller.redo()
    yield "volume: undo, redo"
    with person.phase("volume: painting"):
        person.paint(middle, boxes[0][:2])
    yield "volume: painting"
    with person.phase("volume: scrolling"):
        for step in range(20):
            viewer.dims.set_current_step(0, middle - 10 + step)
            person.live(0.1)
    yield "volume: scrolling"
    with person.phase("volume: clean-up, preview", 1.0):
        controller.preview_cleanup(Order("smooth", (1, 2, 3), solid=True, amount=2.0))
    yield "volume: clean-up, preview"
    with person.phase("volume: clean-up"):
        controller.clean_up(Order("smooth", (1, 2, 3), solid=True, amount=2.0))
    yield "volume: clean-up"
    viewer.layers.clear()


def in_a_plane(person: Person, frames: int) -> Iterator[str]:
    rng = np.random.default_rng(0)
    image = rng.integers(20, 60, PLANE, dtype=np.uint8)
    boxes = [(1000, 1200, 1300, 1560), (3800, 900, 4100, 1200), (2400, 4000, 2600, 4400)]
    for y0, x0, y1, x1 in boxes:
        image[y0 + 20 : y1 - 20, x0 + 20 : x1 - 20] += 120
    person.viewer.add_image(image, name="plane")
    yield from _from_opening(person, "plane", None, boxes)
    controller = person.controller
    with person.phase("plane: undo, redo"):
        controller.undo()
        person.live(0.5)
        controller.redo()
    yield "plane: undo, redo"
    with person.phase("plane: painting"):
        person.paint(None, boxes[0][:2])
    yield "plane: painting"


def in_napari_alone(person: Person, frames: int) -> Iterator[str]:
    """Add layers as anybody may, to compare with."""
    viewer = person.viewer
    viewer.layers.clear()
    data = np.zeros((5, 64, 64), dtype=np.uint8)
    adders: dict[str, Callable[[], object]] = {
        "image": lambda: viewer.add_image(data),
        "shapes": lambda: viewer.add_shapes(ndim=3),
        "labels": lambda: viewer.add_labels(data),
    }
    for kind, add in adders.items():
        with person.phase(f"napari alone: adds {kind}"):
            add()
        yield f"napari alone: adds {kind}"


def _from_opening(
    person: Person, name: str, frame: int | None, boxes: list[tuple[int, int, int, int]]
) -> Iterator[str]:
    if person.widget is None:
        with person.phase("widget opens", seconds=0.1, until_done=False):
            person.open_widget()
        yield "widget opens"
        # The widget begins to load it once it has been drawn.
        with person.phase("model loads", seconds=1.0):
            person.controller.wait(60)
        yield "model loads"
    with person.phase(f"{name}: first tool, makes layers"):
        person.controller.use_box_tool()
    yield f"{name}: first tool, makes layers"
    for number, box in enumerate(boxes, start=1):
        with person.phase(f"{name}: box and preview"):
            person.controller.tools.select(number)
            person.draw_box(frame, box)
            person.live(0.4)
    yield f"{name}: box and preview"


def enlarged_phantom() -> tuple[np.ndarray, list[tuple[int, int, int, int]]]:
    """Return the phantom at the size of a CT, and boxes around three organs of its middle slice."""
    from napari_medsam2.io.samples import phantom
    from napari_medsam2.masks import bounding_box

    volume, truth = phantom()
    which = [np.arange(n) * m // n for n, m in zip(VOLUME, np.asarray(truth).shape, strict=True)]
    image, organs = (np.asarray(array)[np.ix_(*which)] for array in (volume.data, truth))
    middle = organs[len(organs) // 2]
    boxes = []
    for organ in (1, 2, 4):
        y0, x0, y1, x1 = bounding_box(middle == organ)
        boxes.append((y0 - 4, x0 - 4, y1 + 4, x1 + 4))
    return np.ascontiguousarray(image), boxes


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.thread_time()


if __name__ == "__main__":
    sys.exit(main())
