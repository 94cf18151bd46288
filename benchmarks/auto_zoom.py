"""Small and large objects on large images, with and without auto-zoom: Dice, seconds, memory.

    python benchmarks/auto_zoom.py FILE.npz ... [--side 5000] [--enlarge] [--objects 12]
        [--least 12] [--model litemedsam-track] [--device cpu]

Each FILE is an npz with `image` and `labels`, frames first; the first frame is taken. Images are
laid out, turned and flipped, to a mosaic of `--side` pixels, in which every object keeps its size;
with --enlarge the first image alone is scaled up to it instead, and its objects with it. Objects
are drawn at random among those of at least `--least` pixels a side on the large image, and
prompted one by one: with their box, and with one click on the pixel that is farthest from their
border. Each zoom runs in a process of its own. Seconds are those of `Session.segment`, the first
prompt in a part of the image included; the peak is that of the process, above what it held once
the image was there and the model loaded.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from napari_medsam2 import Session

ZOOMS = ("off", "auto")


def peak_mb() -> float:
    """Return the peak of the resident set of this process so far."""
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Bytes on macOS, KiB elsewhere.
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6


def load(path: Path) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Return the first frame of a file and its labels."""
    import numpy as np

    with np.load(path) as file:
        image = file["image"][0]
        image = image.astype(np.float32) if image.dtype == np.float16 else image
        return image, file["labels"][0].astype(np.int32)


def mosaic(paths: list[Path], side: int) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Lay images out side by side, every object with an id of its own."""
    import numpy as np

    tiles = [load(path) for path in paths]
    rng = np.random.default_rng(0)
    image = np.zeros((side, side, *tiles[0][0].shape[2:]), tiles[0][0].dtype)
    labels = np.zeros((side, side), np.int32)
    step = min(min(tile.shape[:2]) for tile, _ in tiles)
    count = ids = 0
    for y in range(0, side, step):
        for x in range(0, side, step):
            turns, flip = int(rng.integers(4)), slice(None, None, int(rng.choice([1, -1])))
            tile, truth = (np.rot90(a, turns)[flip] for a in tiles[count % len(tiles)])
            height, width = min(step, side - y), min(step, side - x)
            image[y : y + height, x : x + width] = tile[:height, :width]
            truth = np.where(truth > 0, truth + ids, 0)[:height, :width]
            labels[y : y + height, x : x + width] = truth
            count, ids = count + 1, max(ids, int(truth.max()))
    return image, labels


def enlarged(path: Path, side: int) -> tuple[NDArray[Any], NDArray[np.int32]]:
    """Scale an image up."""
    import numpy as np
    from scipy import ndimage

    image, labels = load(path)
    scale = side / max(labels.shape)
    zoom = (scale, scale) + (1,) * (image.ndim - 2)
    return (
        ndimage.zoom(image.astype(np.float32), zoom, order=1).astype(image.dtype),
        ndimage.zoom(labels, (scale, scale), order=0),
    )


def chosen(
    labels: NDArray[np.int32], most: int, least: int
) -> list[tuple[int, tuple[int, int, int, int], tuple[int, int]]]:
    """Return id, box and innermost pixel of objects drawn at random."""
    import numpy as np
    from scipy import ndimage

    found = []
    boxes = ndimage.find_objects(labels)
    for i in np.random.default_rng(0).permutation(len(boxes)) + 1:
        box = boxes[i - 1]
        if box is None or min(s.stop - s.start for s in box) < least:
            continue
        inside = np.pad(labels[box] == i, 1)
        y, x = np.unravel_index(ndimage.distance_transform_edt(inside).argmax(), inside.shape)
        (y0, y1), (x0, x1) = ((s.start, s.stop) for s in box)
        found.append((int(i), (y0, x0, y1, x1), (int(y) + y0 - 1, int(x) + x0 - 1)))
        if len(found) == most:
            break
    return found


def dice(update: Any, truth: NDArray[np.int32], object_id: int) -> float:
    """Return the overlap of a mask with an object."""
    import numpy as np

    y0, x0, y1, x1 = update.bbox
    both = np.count_nonzero(update.mask & (truth[y0:y1, x0:x1] == object_id))
    return 2 * both / (update.area + np.count_nonzero(truth == object_id))


def prompted(session: Session, box: tuple[int, ...] | None, point: tuple[int, int]) -> Any:
    """Segment one object from its box or from a click, and forget it again."""
    if box is None:
        session.add_points(0, [point])
    else:
        session.add_box(0, box)
    start = time.perf_counter()
    [update] = session.segment(0)
    seconds = time.perf_counter() - start
    session.remove_object(1)
    return update, seconds


def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Prompt the objects with one setting of zoom."""
    os.environ.setdefault("GOMP_SPINCOUNT", "1000")
    from napari_medsam2 import Session

    make = enlarged(options.files[0], options.side) if options.enlarge else None
    image, truth = make or mosaic(options.files, options.side)
    session = Session(image, options.model, device=options.device, zoom=options.zoom)
    assert session.model
    assert session.window
    objects = chosen(truth, options.objects, options.least)
    if not objects:
        raise SystemExit(f"no object of {options.least} pixels a side; give a smaller --least")
    before = peak_mb()
    found: dict[str, Any] = {"sides": [max(b[2] - b[0], b[3] - b[1]) for _, b, _ in objects]}
    for kind in ("box", "click"):
        answers = [prompted(session, b if kind == "box" else None, p) for _, b, p in objects]
        found[kind] = [dice(u, truth, i) for (u, _), (i, *_) in zip(answers, objects, strict=True)]
        found[f"{kind} seconds"] = [seconds for _, seconds in answers]
    return found | {"peak": peak_mb() - before, "shape": image.shape}


def in_a_process(zoom: str) -> dict[str, Any]:
    """Measure in a process of its own, whose peak is its own."""
    command = [sys.executable, __file__, *sys.argv[1:], "--zoom", zoom]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return dict(json.loads(done.stdout))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("files", nargs="+", type=Path)
    parser.add_argument("--side", type=int, default=5000)
    parser.add_argument("--enlarge", action="store_true")
    parser.add_argument("--objects", type=int, default=12)
    parser.add_argument("--least", type=int, default=12)
    parser.add_argument("--model", default="litemedsam-track")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--zoom", choices=ZOOMS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.zoom:
        print(json.dumps(measure(options)))
        return
    import numpy as np

    print("zoom  Dice: box  click   seconds: box  first  click  first   peak MB")
    for zoom in ZOOMS:
        found = in_a_process(zoom)
        box, click = (found[f"{kind} seconds"] for kind in ("box", "click"))
        print(
            f"{zoom:<5}{np.mean(found['box']):10.3f}{np.mean(found['click']):7.3f}"
            f"{np.median(box):14.2f}{box[0]:7.2f}{np.median(click):7.2f}{click[0]:7.2f}"
            f"{found['peak']:10.0f}"
        )
    sides = found["sides"]
    shape = " x ".join(map(str, found["shape"]))
    print(f"{len(sides)} objects of {min(sides)} to {max(sides)} pixels on {shape}")


if __name__ == "__main__":
    main()
