"""The report's plots: boxes with all points, Dice against clicks, Dice along the axis."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .report_tables import task_name
from .statistics import condition, grouped, interval, object_values
from .svg import Drawing, Scale, shorten, spread_apart, text_width

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from .records import Record

__all__ = ["POSITIONS", "along_axis", "axis_plot", "box_plot", "click_plot", "over_clicks"]

POSITIONS = 21
"""Places along the axis at which objects are read off, ends included."""

_WIDTH = 560.0
_SIZE = 12.5
# Bold letters are that much wider.
_BOLD = 1.1 * _SIZE
_LABEL = 215.0
_ROW = 25.0
_COLOURS = 8
_DICE = (0.0, 1.0)
_GRID = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


@dataclass(frozen=True)
class Curve:
    """A middle line and a band around it.

    Attributes
    ----------
    x, middle, low, high : ndarray of float
        (n,) each.
    objects : int
        How many it stands for.
    """

    x: NDArray[np.float64]
    middle: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    objects: int


def over_clicks(records: Sequence[Record]) -> Curve | None:
    """Return mean Dice after each click with the 95 % interval; None if nothing was clicked.

    A run that ended early keeps its last Dice, for it needed no further click.
    """
    rows = [r.click_dice for r in records if r.click_dice and r.status == "ok"]
    if not rows:
        return None
    length = max(map(len, rows))
    values = np.array([[*row, *[row[-1]] * (length - len(row))] for row in rows])
    columns = [column[np.isfinite(column)] for column in values.T]
    bands = np.array([interval(column) for column in columns])
    means = np.array([column.mean() if len(column) else math.nan for column in columns])
    return Curve(np.arange(1.0, length + 1), means, bands[:, 0], bands[:, 1], len(rows))


def along_axis(records: Sequence[Record]) -> Curve | None:
    """Return median and quartiles of Dice along the axis; None if no object has three frames.

    The first frame that a record gives a Dice for lies at 0 and the last at 1, so `frame_dice`
    shall hold the true range of the object and no frames beyond it. Each object is read off at the
    same `POSITIONS` places, linearly between frames, so that each counts the same everywhere.
    """
    places = np.linspace(0, 1, POSITIONS)
    rows = []
    for record in records:
        known = np.array([(f, d) for f, d in sorted(record.frame_dice) if math.isfinite(d)])
        if len(known) >= 3:
            frames, dice = known.T
            rows.append(np.interp(places, (frames - frames[0]) / np.ptp(frames), dice))
    if not rows:
        return None
    low, middle, high = np.percentile(rows, (25, 50, 75), axis=0)
    return Curve(places, middle, low, high, len(rows))


def box_plot(records: Sequence[Record], colours: Mapping[str, int], title: str) -> str:
    """Draw Dice of every object, a row per method and prompt, the protocols one below the other.

    Parameters
    ----------
    records : sequence of Record
    colours : mapping
        Method to the number of its colour.
    title : str

    Returns
    -------
    str
        An SVG element.
    """
    tasks = grouped(records, lambda r: (r.protocol, r.prompt))
    rows = sum(len(grouped(found, condition)) for found in tasks.values())
    height = 8 + rows * _ROW + len(tasks) * _ROW + 44
    drawing = Drawing(_WIDTH, height, title)
    heads = [task_name(*task) for task in tasks]
    widths = [text_width(head, _BOLD) for head in heads]
    widths += [text_width(r.method, _SIZE) + 8 for r in records]
    label = min(_LABEL, max(widths) + 14)
    x = Scale(_DICE, (label, _WIDTH - 62))
    bottom = height - 40
    _x_axis(drawing, x, 8, bottom)
    drawing.text(_WIDTH, bottom + 36, "objects", "end", "tick")
    y = 8.0
    for head, found in zip(heads, tasks.values(), strict=True):
        y += _ROW
        drawing.text(0, y - 7, shorten(head, label - 12, _BOLD), style="head", full=head)
        for (method, _, _), own in grouped(found, condition).items():
            text = shorten(method, label - 20, _SIZE)
            drawing.text(8, y + _ROW / 2 + 4, text, full=method)
            values = np.array([v for v in object_values(own, "dice").values() if math.isfinite(v)])
            _box(drawing, values, x, y + _ROW / 2, f"s{colours[method] % _COLOURS}")
            failed = len({(r.dataset, r.case, r.object_id) for r in own if r.status == "failed"})
            count = f"{len(values)} ({failed} ✕)" if failed else str(len(values))
            drawing.text(_WIDTH, y + _ROW / 2 + 4, count, "end", "tick")
            y += _ROW
    return drawing.render()


def click_plot(records: Sequence[Record], colours: Mapping[str, int], title: str) -> str:
    """Draw mean Dice against the number of clicks, a line and an interval per method.

    Returns
    -------
    str
        An SVG element, "" if nothing was clicked.
    """
    found = {m: over_clicks(own) for m, own in grouped(records, lambda r: r.method).items()}
    curves = {method: curve for method, curve in found.items() if curve}
    if not curves:
        return ""
    room = min(170.0, max(text_width(method, _BOLD) for method in curves)) + 14
    most = max(len(curve.x) for curve in curves.values())
    height = 320.0
    drawing = Drawing(_WIDTH, height, title)
    x = Scale((1, max(2, most)), (44, _WIDTH - room))
    y = Scale(_DICE, (height - 42, 26))
    _y_axis(drawing, y, x.pixels)
    step = max(1, -(-most // 10))
    for click in range(1, most + 1):
        if click == 1 or click % step == 0:
            drawing.text(x(click), height - 24, str(click), "middle", "tick")
    drawing.text(sum(x.pixels) / 2, height - 4, "clicks", "middle", "tick")
    for method, curve in curves.items():
        style = f"s{colours[method] % _COLOURS}"
        _curve(drawing, curve, x, y, style)
        drawing.dots(zip(map(x, curve.x), map(y, curve.middle), strict=True), f"knots {style}")
    ends = [y(curve.middle[-1]) for curve in curves.values()]
    places = spread_apart(ends, 16, y.pixels[1], y.pixels[0])
    for (method, curve), place in zip(curves.items(), places, strict=True):
        name = shorten(method, room - 14, _BOLD)
        style = f"name s{colours[method] % _COLOURS}"
        drawing.text(x(curve.x[-1]) + 8, place + 4, name, style=style, full=method)
    return drawing.render()


def axis_plot(records: Sequence[Record], colours: Mapping[str, int], title: str) -> str:
    """Draw Dice along the axis, a panel per method, the others' medians behind it in grey.

    Returns
    -------
    str
        An SVG element, "" if no object has enough frames.
    """
    found = {m: along_axis(own) for m, own in grouped(records, lambda r: r.method).items()}
    curves = {method: curve for method, curve in found.items() if curve}
    if not curves:
        return ""
    columns = 2
    panel, left, gap, tall, between = 240.0, 44.0, 28.0, 170.0, 52.0
    height = -(-len(curves) // columns) * (tall + between)
    drawing = Drawing(_WIDTH, height, title)
    for i, (method, curve) in enumerate(curves.items()):
        row, column = divmod(i, columns)
        x0, top = left + column * (panel + gap), row * (tall + between) + 22
        x = Scale((0, 1), (x0, x0 + panel))
        y = Scale(_DICE, (top + tall - 12, top + 6))
        _y_axis(drawing, y, x.pixels, named=column == 0)
        name = f"{shorten(method, panel - 50, _BOLD)} ({curve.objects})"
        drawing.text(x0, top - 6, name, style="head", full=method)
        for other in curves.values():
            points = zip(map(x, other.x), map(y, other.middle), strict=True)
            drawing.lines([list(points)], "ghost")
        _curve(drawing, curve, x, y, f"s{colours[method] % _COLOURS}")
        for place, text in ((0, "first"), (0.5, "middle"), (1, "last frame")):
            anchor = "start" if place == 0 else "middle" if place < 1 else "end"
            drawing.text(x(place), y.pixels[0] + 17, text, anchor, "tick")
    return drawing.render()


def _box(drawing: Drawing, values: NDArray[np.float64], x: Scale, y: float, colour: str) -> None:
    if not len(values):
        return
    # Steps of the golden ratio spread neighbours over the row, the same way each time.
    offsets = (np.arange(len(values)) * 0.618034) % 1 - 0.5
    centres = [(x(v), y + 15 * o) for v, o in zip(np.sort(values), offsets, strict=True)]
    low, middle, high = np.percentile(values, (25, 50, 75))
    reach = 1.5 * (high - low)
    inside = values[(values >= low - reach) & (values <= high + reach)]
    ends = x(float(inside.min())), x(float(inside.max()))
    drawing.lines(
        [((ends[0], y), (x(low), y)), ((x(high), y), (ends[1], y))]
        + [((end, y - 3.5), (end, y + 3.5)) for end in ends],
        f"whisker {colour}",
    )
    drawing.rectangle(x(low), y - 6, x(high) - x(low), 12, f"box {colour}")
    drawing.dots(centres, f"dots {colour}")
    drawing.line(x(middle), y - 7.5, x(middle), y + 7.5, f"median {colour}")


def _curve(drawing: Drawing, curve: Curve, x: Scale, y: Scale, colour: str) -> None:
    across = [x(value) for value in curve.x]
    known = np.isfinite(curve.low) & np.isfinite(curve.high)
    upper = [(p, y(v)) for p, v, k in zip(across, curve.high, known, strict=True) if k]
    lower = [(p, y(v)) for p, v, k in zip(across, curve.low, known, strict=True) if k]
    if len(upper) > 1:
        drawing.area([*upper, *lower[::-1]], f"band {colour}")
    middle = [(p, y(v)) for p, v in zip(across, curve.middle, strict=True) if math.isfinite(v)]
    drawing.lines([middle], f"curve {colour}")


def _x_axis(drawing: Drawing, x: Scale, top: float, bottom: float) -> None:
    drawing.lines([((x(v), top), (x(v), bottom)) for v in _GRID], "grid")
    for value in _GRID:
        drawing.text(x(value), bottom + 17, f"{value:.1f}", "middle", "tick")
    drawing.text(sum(x.pixels) / 2, bottom + 36, "Dice", "middle", "tick")


def _y_axis(drawing: Drawing, y: Scale, across: tuple[float, float], named: bool = True) -> None:
    drawing.lines([((across[0], y(v)), (across[1], y(v))) for v in _GRID], "grid")
    for value in _GRID if named else ():
        drawing.text(across[0] - 8, y(value) + 4, f"{value:.1f}", "end", "tick")
    if named:
        drawing.text(across[0] - 8, y.pixels[1] - 13, "Dice", "end", "tick")
