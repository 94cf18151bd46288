"""The worst objects as pictures: the image with the true outline and the one that was found."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image
from scipy import ndimage

from napari_medsam2.windows import resolve_window

from .methods import make_method
from .tasks import Task, run_task

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

    from .dataset import Case
    from .records import Record
    from .runner import Plan

__all__ = ["FOUND", "TRUE", "worst_pictures"]

TRUE, FOUND = (64, 200, 120), (255, 120, 60)
"""Colours of the true outline and of the one that was found."""
_SIDE, _LINE = 560, 2
_MARGIN = 0.35


def worst_pictures(
    records: Iterable[Record], cases: Sequence[Case], plan: Plan
) -> list[tuple[Record, bytes]]:
    """Do some tasks again and draw what came of them.

    Parameters
    ----------
    records : iterable of Record
        Of tasks of the plan's methods that did not fail.
    cases : sequence of Case
    plan : Plan
        Under which the records were made.

    Returns
    -------
    list of (Record, bytes)
        With PNG pictures of the frame where most pixels are wrong, around the object.
    """
    by_id = {case.id: case for case in cases}
    return [(record, _drawn(record, by_id[record.case], plan)) for record in records]


def _drawn(record: Record, case: Case, plan: Plan) -> bytes:
    method = make_method(plan.names[record.method], plan.options)
    volume, labels = case.load()
    truth = labels == record.object_id
    task = Task(record.object_id, record.protocol, record.prompt, record.seed)
    labelled = case.labelled(record.object_id, len(labels))
    outcome = run_task(task, method.open(volume), method, case.id, truth, labelled)
    counted = list(outcome.frames)
    wrong = [int(np.count_nonzero(truth[f] ^ outcome.found[f])) for f in counted]
    frame = counted[int(np.argmax(wrong))]
    stack = volume.stack(0)
    image = resolve_window(stack, plan.options.window).apply(stack.frame(frame))
    return draw(image, truth[frame], outcome.found[frame])


def draw(image: NDArray[np.float32], truth: NDArray[np.bool_], found: NDArray[np.bool_]) -> bytes:
    """Return a PNG of a frame, 0..255, with both outlines, cut out around them."""
    rows, columns = np.nonzero(truth | found)
    height, width = truth.shape
    if rows.size:
        margin = _MARGIN * max(int(np.ptp(rows)), int(np.ptp(columns)), 16)
        top, bottom = _around(rows, margin, height)
        left, right = _around(columns, margin, width)
    else:
        top, bottom, left, right = 0, height, 0, width
    cut = slice(top, bottom), slice(left, right)
    grey = np.clip(image[cut], 0, 255).astype(np.uint8)
    colour = grey if grey.ndim == 3 else np.repeat(grey[..., None], 3, axis=2)
    # Pixels of one size where they are enlarged; what is too large for a page is made smaller.
    scale = _SIDE / max(colour.shape[:2])
    scale = float(round(scale)) if scale > 1 else scale
    height, width = (max(1, round(n * scale)) for n in colour.shape[:2])
    size = width, height
    canvas = np.asarray(Image.fromarray(colour).resize(size, Image.Resampling.BICUBIC)).copy()
    for mask, paint in ((truth, TRUE), (found, FOUND)):
        large = np.asarray(Image.fromarray(mask[cut]).resize(size, Image.Resampling.NEAREST))
        outline = large & ~ndimage.binary_erosion(large, iterations=_LINE)
        canvas[outline] = paint
    file = io.BytesIO()
    Image.fromarray(canvas).save(file, format="PNG", optimize=True)
    return file.getvalue()


def _around(places: NDArray[np.intp], margin: float, length: int) -> tuple[int, int]:
    return int(max(places.min() - margin, 0)), int(min(places.max() + margin + 1, length))
