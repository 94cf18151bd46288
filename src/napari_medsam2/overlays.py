"""Pictures of results: frames with contours, tints and boxes, side by side."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .masks import bounding_box
from .prompts import BoxPrompt, PointPrompt, PromptSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from numpy.typing import NDArray
    from PIL import Image, ImageDraw

    from .frames import FrameStack
    from .prompts import Prompt
    from .windows import Window

__all__ = ["COLOURS", "colour", "montage", "spread"]

Colour = tuple[int, int, int]

# Told apart on grey, also by most colour-blind people: Okabe and Ito's, lightened, and four more.
COLOURS: tuple[Colour, ...] = (
    (255, 176, 59),
    (86, 200, 255),
    (64, 224, 160),
    (255, 236, 92),
    (255, 94, 94),
    (190, 150, 255),
    (160, 230, 60),
    (255, 130, 214),
)

_PANEL_WIDTH = 400
_GAP = 6
_MARGIN = 18
_TINT = 0.28
_CONTOUR = 4
_FINE = 2
_PAPER = (16, 18, 22)
_INK = (236, 238, 242)
_FAINT = (150, 156, 166)

NO_PROMPTS = PromptSet()

_Crop = tuple[int, int, int, int]


def colour(object_id: int) -> Colour:
    """Return the colour of an object; ids beyond the palette begin again."""
    return COLOURS[(object_id - 1) % len(COLOURS)]


def spread(n_frames: int, count: int, keep: Iterable[int] = ()) -> list[int]:
    """Choose frames to show: evenly spaced ones, each moved to the nearest frame to keep.

    Parameters
    ----------
    n_frames : int
    count : int
        How many; fewer if there are fewer frames.
    keep : iterable of int
        Frames that should be among them, as far as there is room.
    """
    chosen = sorted(set(keep))[:count]
    even = np.linspace(0, n_frames - 1, 4 * count).round().astype(int).tolist()
    while len(chosen) < min(count, n_frames):
        # The frame farthest from all chosen ones fills the widest gap.
        rest = [f for f in {*even, *range(n_frames)} if f not in chosen]
        chosen.append(max(rest, key=lambda f: (min((abs(f - c) for c in chosen), default=0), -f)))
    return sorted(chosen)


def montage(
    stack: FrameStack,
    labels: NDArray[Any],
    frames: Sequence[int],
    *,
    window: Window,
    prompts: PromptSet = NO_PROMPTS,
    title: str = "",
    legend: Mapping[int, str] | None = None,
    columns: int = 4,
    around: int | None = None,
) -> NDArray[np.uint8]:
    """Draw several frames with their objects side by side.

    Parameters
    ----------
    stack : FrameStack
    labels : ndarray of int
        Of the volume's label shape.
    frames : sequence of int
        The frames to show, in this order.
    window : Window
        Intensities shown as black and white.
    prompts : PromptSet, optional
        Boxes and points are drawn on their frames.
    title : str
    legend : mapping, optional
        Object id to text; one entry of the legend each.
    columns : int
    around : int, optional
        Show only the part that holds objects and boxes, with so many pixels around it.

    Returns
    -------
    ndarray of uint8
        (height, width, 3).
    """
    from PIL import Image

    masks = stack.of_labels(labels)
    crop = (0, 0, *stack.shape) if around is None else _crop(masks, prompts, around)
    panels = [_panel(stack, masks[f], f, window, prompts, crop) for f in frames]
    width, height = panels[0].size
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    top = _MARGIN + (44 if title else 0)
    full_width = 2 * _MARGIN + columns * (width + _GAP) - _GAP
    entries = _place_legend(legend or {}, full_width - 2 * _MARGIN)
    bottom = _MARGIN + (entries[-1].y + 34 if entries else 0)
    full_height = top + rows * (height + _GAP) - _GAP + bottom
    sheet = Image.new("RGB", (full_width, full_height), _PAPER)
    for i, panel in enumerate(panels):
        row, column = divmod(i, columns)
        sheet.paste(panel, (_MARGIN + column * (width + _GAP), top + row * (height + _GAP)))
    _annotate(sheet, title, entries, full_height - bottom + 10)
    return np.asarray(sheet)


@dataclass(frozen=True)
class _Entry:
    object_id: int
    text: str
    x: int
    y: int


def _panel(
    stack: FrameStack,
    mask: NDArray[Any],
    frame: int,
    window: Window,
    prompts: PromptSet,
    crop: _Crop,
) -> Image.Image:
    from PIL import Image, ImageDraw

    y0, x0, y1, x1 = crop
    spacing_y, spacing_x = stack.spacing[1:]
    scale_x = _PANEL_WIDTH / (x1 - x0)
    scale_y = scale_x * spacing_y / spacing_x
    size = (_PANEL_WIDTH, max(1, round((y1 - y0) * scale_y)))
    # Drawn twice as large and reduced, which smooths the outlines.
    drawn = (_FINE * size[0], _FINE * size[1])
    grey = window.apply(stack.frame(frame)[y0:y1, x0:x1])
    image = Image.fromarray(np.rint(grey).astype(np.uint8)).convert("RGB")
    canvas = np.asarray(image.resize(drawn, Image.Resampling.BICUBIC), dtype=np.float32)
    for object_id in np.unique(mask[y0:y1, x0:x1]):
        if object_id:
            inside = _enlarge(mask[y0:y1, x0:x1] == object_id, drawn)
            canvas = _paint(canvas, inside, colour(int(object_id)))
    panel = Image.fromarray(np.rint(canvas).astype(np.uint8)).resize(size, Image.Resampling.BOX)
    draw = ImageDraw.Draw(panel)
    for entry in prompts.objects:
        for prompt in entry.on(frame):
            _draw_prompt(draw, prompt, (y0, x0), (scale_y, scale_x), colour(entry.id))
    _shadowed(draw, (9, 6), str(frame), 20)
    return panel


def _enlarge(mask: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Enlarge a mask with a smooth outline."""
    from PIL import Image

    soft = Image.fromarray(mask.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    return np.asarray(soft) > 0.5


def _paint(
    canvas: NDArray[np.float32], inside: NDArray[np.bool_], ink: Colour
) -> NDArray[np.float32]:
    from scipy.ndimage import binary_erosion

    rim = inside & ~binary_erosion(inside, iterations=_CONTOUR, border_value=1)
    opacity = np.where(rim, 1.0, np.where(inside, _TINT, 0.0)).astype(np.float32)[..., np.newaxis]
    painted: NDArray[np.float32] = canvas + opacity * (np.asarray(ink, dtype=np.float32) - canvas)
    return painted


def _draw_prompt(
    draw: ImageDraw.ImageDraw,
    prompt: Prompt,
    corner: tuple[int, int],
    scale: tuple[float, float],
    ink: Colour,
) -> None:
    if isinstance(prompt, BoxPrompt):
        y0, x0, y1, x1 = prompt.box
        top, left = (y0 - corner[0]) * scale[0], (x0 - corner[1]) * scale[1]
        bottom, right = (y1 - corner[0]) * scale[0], (x1 - corner[1]) * scale[1]
        _dashed(draw, ((left, top), (right, top), (right, bottom), (left, bottom)), ink)
    elif isinstance(prompt, PointPrompt):
        for (y, x), label in zip(prompt.points, prompt.labels, strict=True):
            cy, cx = (y + 0.5 - corner[0]) * scale[0], (x + 0.5 - corner[1]) * scale[1]
            fill = ink if label else _PAPER
            draw.ellipse((cx - 5, cy - 5, cx + 5, cy + 5), fill=fill, outline=_INK, width=2)


def _dashed(
    draw: ImageDraw.ImageDraw, corners: Sequence[tuple[float, float]], ink: Colour, dash: float = 7
) -> None:
    for (xa, ya), (xb, yb) in zip(corners, (*corners[1:], corners[0]), strict=True):
        length = max(abs(xb - xa), abs(yb - ya))
        steps = max(1, round(length / dash)) | 1
        at = np.linspace(0, 1, steps + 1)
        for begin, end in zip(at[::2], at[1::2], strict=True):
            line = [(xa + t * (xb - xa), ya + t * (yb - ya)) for t in (begin, end)]
            draw.line(line, fill=ink, width=2)


def _crop(masks: NDArray[Any], prompts: PromptSet, around: int) -> _Crop:
    y0, x0, y1, x1 = bounding_box(np.any(masks > 0, axis=0))
    boxes = [(y0, x0, y1, x1)] if y1 else []
    boxes += [
        tuple(int(v) for v in p.box)  # type: ignore[misc]
        for o in prompts.objects
        for p in o.prompts
        if isinstance(p, BoxPrompt)
    ]
    height, width = masks.shape[1:]
    if not boxes:
        return 0, 0, height, width
    low, high = np.min(boxes, axis=0)[:2] - around, np.max(boxes, axis=0)[2:] + around
    return max(0, low[0]), max(0, low[1]), min(height, high[0]), min(width, high[1])


def _place_legend(legend: Mapping[int, str], width: int) -> list[_Entry]:
    entries: list[_Entry] = []
    x = y = 0
    for object_id, text in legend.items():
        needed = 34 + int(_font(18).getlength(text)) + 26
        if x and x + needed > width:
            x, y = 0, y + 30
        entries.append(_Entry(object_id, text, x, y))
        x += needed
    return entries


def _annotate(sheet: Image.Image, title: str, entries: Sequence[_Entry], top: int) -> None:
    from PIL import ImageDraw

    draw = ImageDraw.Draw(sheet)
    draw.text((_MARGIN, 14), title, fill=_INK, font=_font(26))
    for entry in entries:
        x, y = _MARGIN + entry.x, top + entry.y
        draw.rounded_rectangle((x, y + 3, x + 22, y + 19), 4, fill=colour(entry.object_id))
        draw.text((x + 32, y - 1), entry.text, fill=_INK, font=_font(18))


def _shadowed(draw: ImageDraw.ImageDraw, where: tuple[int, int], text: str, size: int) -> None:
    draw.text(where, text, fill=_INK, font=_font(size), stroke_width=2, stroke_fill=(0, 0, 0))


def _font(size: int) -> Any:
    from PIL import ImageFont

    return ImageFont.load_default(size)
