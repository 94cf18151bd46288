"""What saving in the background costs: the GUI thread, seconds of a write, bytes.

Twelve objects in a volume of 120 x 512 x 512 change frame by frame, in a propagation whose masks
are known beforehand, and the work is saved as often as it can be. Between two polls this thread
only asks for the time every millisecond, as a window does to which nothing happens: the longest gap
says how long the writing thread kept it from running. On a machine that is busy with other things
the clock on the wall counts those, too; the processor time of a poll does not.

    python benchmarks/autosave.py [--shape 120 512 512] [--saves 5]

Exits with 1 if a poll ever worked for longer than the limit.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time

import numpy as np

N_OBJECTS = 12


def blobs(shape: tuple[int, int, int]) -> np.ndarray:
    z, y, x = np.ogrid[: shape[0], : shape[1], : shape[2]]
    labels = np.zeros(shape, np.uint16)
    rng = np.random.default_rng(0)
    for i in range(N_OBJECTS):
        centre = rng.uniform(0.2, 0.8, 3) * shape
        radius = rng.uniform(0.04, 0.14) * shape[1]
        # Borders as uneven as those of organs, which is what compression has to bear.
        uneven = 1 + 0.1 * np.sin(y / 7) + 0.1 * np.cos(x / 9 + z / 5)
        depth = (z - centre[0]) * shape[1] / shape[0]
        far = (depth**2 + (y - centre[1]) ** 2 + (x - centre[2]) ** 2) * uneven
        labels[far < radius**2] = i + 1
    return labels


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shape", type=int, nargs=3, default=(120, 512, 512))
    parser.add_argument("--saves", type=int, default=5)
    parser.add_argument("--limit", type=float, default=10.0, help="milliseconds of one poll")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["NAPARI_MEDSAM2_STATE"] = folder
        return measure(tuple(arguments.shape), arguments.saves, arguments.limit)


def measure(shape: tuple[int, int, int], saves: int, limit: float) -> int:
    from napari.components import ViewerModel

    from napari_medsam2.gui.controller import Controller
    from napari_medsam2.io.autosave import state_folder
    from napari_medsam2.labels import MaskUpdate

    wanted = blobs(shape)
    viewer = ViewerModel()
    image = np.random.default_rng(1).integers(0, 255, shape, dtype=np.uint8)
    viewer.add_image(image, name="volume")
    controller = Controller(viewer)
    session, autosaver = controller.session, controller.autosaver
    for i in range(1, N_OBJECTS + 1):
        session.add_box(0, (0, 0, 9, 9), i)
    autosaver.configure(True, 0)

    run = session.start_propagation()
    _ = session.window

    def change(frame: int) -> None:
        for i in range(1, N_OBJECTS + 1):
            run.apply(MaskUpdate.from_mask(frame, i, wanted[frame] == i, 0.9))

    polls, worked, gaps, writes = [], [], [], []
    frame, written, last, started = 0, 0, time.perf_counter(), None
    while written < saves:
        change(frame % shape[0])
        frame += 1
        begun, worked_before = time.perf_counter(), time.thread_time()
        autosaver.poll()
        now = time.perf_counter()
        polls.append(now - begun)
        worked.append(time.thread_time() - worked_before)
        if started is None and autosaver._writing is not None:
            started = now
        if started is not None and autosaver._writing is None:
            writes.append(now - started)
            written, started = written + 1, None
        # What a window does between two polls: nothing, often.
        until, last = now + 0.03, now
        while last < until:
            time.sleep(0.001)
            woken = time.perf_counter()
            gaps.append(woken - last - 0.001)
            last = woken
    files = {p.suffix: p.stat().st_size for p in state_folder().glob("*/*") if p.is_file()}
    same = frame >= shape[0] and np.array_equal(session.labels, wanted)
    run.close()
    autosaver.configure(False, 60)
    controller.close()
    print(f"labels {shape} uint16, {session.labels.nbytes / 2**20:.0f} MiB, {saves} writes")
    print(f"longest hold of the GUI thread by a poll   {max(polls) * 1e3:7.1f} ms")
    print(f"its processor time at most                 {max(worked) * 1e3:7.1f} ms")
    print(f"99 % of the polls                          {np.percentile(polls, 99) * 1e3:7.1f} ms")
    print(f"longest wait for the writing thread        {max(gaps) * 1e3:7.1f} ms")
    print(f"a write                                    {np.median(writes):7.2f} s (median)")
    print(f"longest write                              {max(writes):7.2f} s")
    print(f"bytes                                      {sum(files.values()):7,d}  {files}")
    print(f"every frame has changed meanwhile: {same}")
    return int(max(worked) * 1e3 > limit)


if __name__ == "__main__":
    sys.exit(main())
